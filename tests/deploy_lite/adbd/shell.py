"""The services `shell,v2` (split output, exit code) and `shell` (merged output, no exit code)."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from deploy_lite.adbd.wire import Gone, Stream

if TYPE_CHECKING:
    from deploy_lite.adbd.daemon import Daemon

STDOUT, STDERR, EXIT = 1, 2, 3


class Shell:
    """One command, run when called with its stream."""

    def __init__(self, phone: Daemon, command: str, framed: bool, fault: str) -> None:
        self.phone, self.command, self.framed, self.fault = phone, command, framed, fault

    def __call__(self, stream: Stream) -> None:
        if self.fault == "hang":
            stream.ended.wait(120)
            raise Gone
        if self.fault in ("restart", "vanish"):
            self._leave()
        child = self._start()
        self.phone.started.append(child)
        stream.on_end = lambda: _hang_up(child)
        threading.Thread(target=self._feed, args=(stream, child), daemon=True).start()
        if self.fault == "drop":
            stream.link.cut()
        if self.fault in ("truncated", "garbage", "no_exit", "drop_late"):
            return self._spoil(stream, child)
        readers = [threading.Thread(target=self._copy, args=(stream, child.stdout, STDOUT), daemon=True)]
        if child.stderr:
            readers.append(threading.Thread(target=self._copy, args=(stream, child.stderr, STDERR), daemon=True))
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self._exit(stream, child.wait())

    def _leave(self) -> None:
        if self.fault == "restart":
            self.phone.away(1.0)
        else:
            self.phone.stop()
        time.sleep(0.2)
        raise Gone

    def _start(self) -> subprocess.Popen:
        path = f"{self.phone.root}/system/bin:{os.environ['PATH']}"
        return subprocess.Popen(
            ["/bin/sh", "-c", self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self.framed else subprocess.STDOUT,
            env={**os.environ, "PATH": path, "ADBD_ROOT": str(self.phone.root)},
            cwd=self.phone.root,
            start_new_session=True,
        )

    def _feed(self, stream: Stream, child: subprocess.Popen) -> None:
        with contextlib.suppress(Gone, OSError, ValueError):
            while True:
                if not self.framed:
                    data = stream.read_some()
                else:
                    kind, length = struct.unpack("<BI", stream.read(5))
                    data = stream.read(length)
                    if kind == 3 + 1:  # close stdin
                        child.stdin.close()
                        return
                    if kind != 0:
                        continue
                child.stdin.write(data)
                child.stdin.flush()

    def _copy(self, stream: Stream, source, kind: int) -> None:
        with contextlib.suppress(Gone, OSError, ValueError):
            while data := os.read(source.fileno(), 32768):
                self._send(stream, kind, data)

    def _send(self, stream: Stream, kind: int, data: bytes) -> None:
        stream.write(struct.pack("<BI", kind, len(data)) + data if self.framed else data)

    def _exit(self, stream: Stream, code: int) -> None:
        if self.framed:
            stream.write(struct.pack("<BIB", EXIT, 1, (code if code >= 0 else 128 - code) & 0xFF))

    def _spoil(self, stream: Stream, child: subprocess.Popen) -> None:
        output = child.stdout.read()
        child.wait()
        if self.fault == "garbage":
            output = bytes(range(256)) * 4
        elif self.fault == "truncated":
            output = output[: len(output) // 2]
        elif self.fault == "no_exit":
            output = output.rstrip(b"\n").rpartition(b"\n")[0]
        if output:
            self._send(stream, STDOUT, output)
        if self.fault == "drop_late":
            time.sleep(0.05)
            stream.link.cut()
            raise Gone
        if self.fault != "no_exit":
            self._exit(stream, 0)


def _hang_up(child: subprocess.Popen) -> None:
    """As adbd does when the other side has gone: the shell is told, and what runs in it goes on."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGHUP)
