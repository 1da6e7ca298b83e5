"""The service `sync`, version 1: STAT, SEND, RECV, QUIT. What newer versions add is not advertised."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_lite.adbd.wire import Gone, Stream

if TYPE_CHECKING:
    from deploy_lite.adbd.daemon import Daemon

_CHUNK = 64 * 1024


class Sync:
    """One session of requests, served when called with its stream."""

    def __init__(self, phone: Daemon) -> None:
        self.phone = phone

    def __call__(self, stream: Stream) -> None:
        while True:
            request, length = struct.unpack("<4sI", stream.read(8))
            if request == b"QUIT":
                return
            argument = stream.read(length).decode("utf-8", "surrogateescape")
            if request == b"STAT":
                self._stat(stream, argument)
            elif request == b"SEND":
                self._send(stream, argument)
            elif request == b"RECV":
                self._receive(stream, argument)
            else:
                return _fail(stream, f"unknown request {request!r}")

    def _stat(self, stream: Stream, remote: str) -> None:
        try:
            found = os.lstat(self.phone.path(remote))
            answer = found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)
        except OSError:
            answer = 0, 0, 0
        stream.write(struct.pack("<4s3I", b"STAT", *answer))

    def _send(self, stream: Stream, argument: str) -> None:
        """A file from the host. A failure is told only after the last byte was taken."""
        remote, _, mode = argument.rpartition(",")
        self.phone.pushed.append(remote)
        fault = self.phone.faults.hit("push_", remote)
        target = self.phone.path(remote)
        if fault == "hang":
            stream.ended.wait(120)
            raise Gone
        content = bytearray()
        while True:
            kind, length = struct.unpack("<4sI", stream.read(8))
            if kind == b"DONE":
                break
            content += stream.read(length)
            if fault in ("drop", "vanish"):
                self._break(stream, fault, target, bytes(content))
        if fault == "full":
            return _fail(stream, "couldn't write: No space left on device")
        if fault == "readonly":
            return _fail(stream, "couldn't create file: Read-only file system")
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "flip":
            content[len(content) // 2] ^= 1
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(stat.S_IMODE(int(mode)))
        except OSError as error:
            return _fail(stream, f"couldn't create file: {error.strerror}")
        stream.write(struct.pack("<4sI", b"OKAY", 0))

    def _break(self, stream: Stream, fault: str, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content[: max(1, len(content) // 2)])
        if fault == "vanish":
            self.phone.stop()
        stream.link.cut()
        raise Gone

    def _receive(self, stream: Stream, remote: str) -> None:
        fault = self.phone.faults.hit("pull_", remote)
        if fault == "hang":
            stream.ended.wait(120)
            raise Gone
        if fault == "readonly":
            return _fail(stream, "open failed: Permission denied")
        try:
            content = bytearray(self.phone.path(remote).read_bytes())
        except OSError as error:
            return _fail(stream, f"open failed: {error.strerror}")
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "flip":
            content[len(content) // 2] ^= 1
        for start in range(0, len(content), _CHUNK):
            part = content[start : start + _CHUNK]
            if fault in ("drop", "vanish"):
                part = part[: len(part) // 2]
            stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
            if fault in ("drop", "vanish"):
                if fault == "vanish":
                    self.phone.stop()
                stream.link.cut()
                raise Gone
        stream.write(struct.pack("<4sI", b"DONE", 0))


def _fail(stream: Stream, reason: str) -> None:
    raw = reason.encode()
    stream.write(struct.pack("<4sI", b"FAIL", len(raw)) + raw)
