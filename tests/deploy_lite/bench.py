"""Phones and adb servers for the tests: whatever they start is theirs, and on 127.0.0.1."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy_lite.adbd.daemon import Daemon

ADBS = {"adb29": shutil.which("adb"), "adb36": f"{sysconfig.get_path('purelib')}/adbutils/binaries/adb"}


@dataclass
class Server:
    """An adb server of its own: port, home and temporary folder, so that nobody's own phone is touched."""

    program: str
    env: dict[str, str]
    phone_port: int

    def adb(self, *arguments: str) -> str:
        command = [self.program, *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.contextmanager
def plugged(server: Server, folder: Path) -> Iterator[Callable[..., Daemon]]:
    """Gives a function that plugs a test phone in. The first of each test has the serial of the first of any other."""
    phones: list[Daemon] = []

    def connect(**given) -> Daemon:
        port = server.phone_port if not any(phone.port == server.phone_port for phone in phones if phone.listens) else 0
        phone = Daemon(folder / f"phone{len(phones)}", port=port, **given)
        phones.append(phone)
        if phone.greeting != "offline":
            server.adb("connect", phone.serial)
        else:  # adb waits ten seconds for its answer
            subprocess.Popen([server.program, "connect", phone.serial], env=server.env, stdout=subprocess.DEVNULL)
        return phone

    try:
        yield connect
    finally:
        for phone in phones:
            phone.end()
            server.adb("disconnect", phone.serial)
