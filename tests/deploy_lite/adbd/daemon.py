"""A phone for the real adb client: the device side of the ADB protocol on 127.0.0.1, with faults.

It speaks what adb needs for `shell`, `push` and `pull`: the services `shell,v2`, `shell` and `sync` (version 1). Its
file system is a folder; commands run in this machine's /bin/sh with the phone's paths put there.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy_lite.adbd.faults import Faults
from deploy_lite.adbd.shell import Shell
from deploy_lite.adbd.sync import Sync
from deploy_lite.adbd.wire import Link, Stream

PROPERTIES = {
    "ro.product.brand": "Loopback",
    "ro.product.device": "loop",
    "ro.product.model": "LP 1",
    "ro.product.name": "loop",
    "ro.build.version.release": "9",
    "ro.build.version.sdk": "28",
    "ro.product.cpu.abi": "x86_64",
    "ro.board.platform": "looped",
}
MAPPED = ("/data/local/tmp", "/sys/devices/system/cpu", "/sys/class/thermal")


class Daemon:
    """Listens until `stop`. `features` without shell_v2 is a phone older than Android 7."""

    def __init__(
        self, root: Path, features: str = "shell_v2,cmd", greeting: str = "", port: int = 0, **properties: str
    ) -> None:
        self.root, self.features, self.greeting = root, features, greeting
        self.properties = {**PROPERTIES, **{name.replace("_", "."): value for name, value in properties.items()}}
        self.faults = Faults()
        self.log: list[str] = []
        self.pushed: list[str] = []
        self.started: list[subprocess.Popen] = []
        self._links: set[Link] = set()
        self._listening: socket.socket | None = None
        self.port = port
        build_phone(root, self.properties)
        self.start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def listens(self) -> bool:
        return self._listening is not None

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection: a phone unplugged."""
        listening, self._listening = self._listening, None
        if listening:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for link in list(self._links):
            link.cut()

    def end(self) -> None:
        """Switched off: whatever still runs there ends."""
        self.stop()
        for child in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)

    def away(self, seconds: float) -> None:
        """Unplugged, and back after `seconds`."""
        self.stop()
        threading.Thread(target=lambda: (time.sleep(seconds), self.start()), daemon=True).start()

    def path(self, remote: str) -> Path:
        """Where a path of the phone is on this machine."""
        return Path(remote) if remote.startswith(str(self.root)) else self.root / remote.lstrip("/")

    def command(self, text: str) -> str:
        """`text` with the phone's paths where they are on this machine."""
        for place in MAPPED:
            text = text.replace(place, f"{self.root}{place}")
        return text

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        banner = "".join(f"{name}={self.properties[name]};" for name in names) + f"features={self.features}"
        link = Link(connection, f"device::{banner}".encode(), self._service, self.greeting)
        self._links.add(link)
        try:
            link.serve()
        finally:
            self._links.discard(link)

    def _service(self, name: str) -> Callable[[Stream], None] | None:
        head, _, rest = name.partition(":")
        kind = head.split(",")[0]
        if kind == "shell":
            self.log.append(rest)
            fault = self.faults.hit("", rest)
            if fault == "refuse":
                return None
            return Shell(self, self.command(rest), "v2" in head.split(","), fault)
        return Sync(self) if kind == "sync" else None


def build_phone(root: Path, properties: dict[str, str]) -> None:
    """The phone's own files: getprop, dumpsys, two clusters of cores, one sensor."""
    programs = root / "system" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (root / "data" / "local" / "tmp").mkdir(parents=True, exist_ok=True)
    cases = "".join(f"{name}) echo {shlex.quote(value)};;\n" for name, value in properties.items())
    _program(programs / "getprop", f'case "$1" in\n{cases}*) echo;;\nesac\n')
    _program(programs / "dumpsys", f'cat {root}/dumpsys/"$1"\n')
    _write(root / "dumpsys" / "thermalservice", "IsStatusOverride: false\nThermal Status: 0\n")
    battery = "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 80\n"
    _write(root / "dumpsys" / "battery", battery + "  scale: 100\n  temperature: 312\n")
    for core in range(8):
        folder = root / "sys" / "devices" / "system" / "cpu" / f"cpu{core}" / "cpufreq"
        for name, value in (
            ("scaling_governor", "schedutil"),
            ("scaling_cur_freq", "1209600"),
            ("scaling_max_freq", "1785600" if core < 4 else "2841600"),
            ("cpuinfo_max_freq", "1785600" if core < 4 else "2841600"),
        ):
            _write(folder / name, value + "\n")
    _write(root / "sys" / "class" / "thermal" / "thermal_zone0" / "type", "cpu-0-0-usr\n")
    _write(root / "sys" / "class" / "thermal" / "thermal_zone0" / "temp", "41200\n")


def _program(path: Path, body: str) -> None:
    _write(path, f"#!/bin/sh\n{body}")
    path.chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
