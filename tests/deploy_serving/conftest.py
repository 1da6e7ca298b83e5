"""Exports a small model once, and starts the real server as a user would, in processes of its own."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from deploy_cpp.conftest import NORMALIZE, Levels

from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export
from paddleseg_ext_tools.scenes import make_scene

ROOT = Path(__file__).parents[2]
START_S = 120
CLASSES = [f"level {number}" for number in range(32)]
LIMIT_LONG = {"type": "LimitLong", "max_long": 160}


class Server:
    """The running server: where it is, what it said, and which processes are its."""

    def __init__(self, log, *flags, command=(str(ROOT / "deploy" / "serving" / "server.py"),)):
        command = [sys.executable, *command, "--port", "0", *map(str, flags)]
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent)
        end = time.monotonic() + START_S
        while not (found := re.search(r"^serving .* on http://127\.0\.0\.1:(\d+)$", self.said, re.MULTILINE)):
            assert self.process.poll() is None and time.monotonic() < end, self.said
            time.sleep(0.1)
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def said(self):
        return self._log.read_text(errors="replace")

    @property
    def pids(self):
        """Its own, and those of all processes below it."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def pids_of(self, what):
        """Those of its processes whose command line holds `what`, but for itself."""
        found = []
        for pid in sorted(self.pids - {self.process.pid}):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if what in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    @property
    def models(self):
        return self.pids_of("run_model.py")

    def rss_mb(self):
        """Of all its processes; pages they share count as often as they are shared."""
        pages = 0
        for pid in self.pids:
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def ask(self, path, body=None, headers=(), method=None):
        """Status, headers and body, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def connect(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def stop(self, number=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


def until(condition, what, seconds=60):
    """Waits for something that takes as long as it takes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about within {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def levels_folder(tmp_path_factory):
    """A model for inputs of any size, for both engines; photographs are brought to 160 pixels."""
    folder = tmp_path_factory.mktemp("serving") / "levels"
    folder.mkdir()
    export(Levels(), "argmax", [None, 3, None, None], folder, 32, [LIMIT_LONG, NORMALIZE], class_names=CLASSES)
    export_onnx(folder)
    return folder


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Starts a server with flags; all are stopped at the end."""
    servers = []

    def run(*flags, **command):
        log = tmp_path_factory.mktemp("server") / "log.txt"
        servers.append(Server(log, *flags, **command))
        return servers[-1]

    yield run
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def server(start, levels_folder):
    """One with the default limits and two workers, for tests that do it no harm."""
    return start("--config", levels_folder, "--workers", 2, "--queue", 64)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three photographs of odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, (height, width, name) in enumerate([(97, 131, "a.jpg"), (251, 203, "b.png"), (119, 75, "c.jpg")]):
        cv2.imwrite(str(folder / name), make_scene(seed, height, width)[0][:, :, ::-1])
    return folder


@pytest.fixture
def tensor():
    """A small input that has several labels."""
    return np.random.RandomState(0).uniform(-2, 2, (1, 3, 24, 36)).astype("float32")
