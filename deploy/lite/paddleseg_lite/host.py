"""This machine as a device: files stay where they are, programs are children."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from paddleseg_lite.device import Device, State, find_mask
from paddleseg_lite.errors import DeviceError, DeviceTimeout
from paddleseg_lite.process import Deadline, Finished, run_child
from paddleseg_lite.result import write_atomically

_TARGETS = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}


class HostDevice(Device):
    """This machine."""

    name = "host"

    def __init__(self) -> None:
        """Raises DeviceError where the processor is neither x86-64 nor ARM."""
        machine = platform.machine().lower()
        if machine not in _TARGETS:
            raise DeviceError(f"this machine's processor is {machine}", "x86-64 or ARM")
        self.target = _TARGETS[machine]
        self.identity = f"{platform.node()} {_cpu_model()}"
        self._work = tempfile.TemporaryDirectory(prefix="lite-")

    def info(self) -> dict[str, str]:
        """Processor, cores, system, Python and paddlelite versions."""
        facts = {
            "Host CPU": _cpu_model(),
            "Cores": f"{_cores()} of {os.cpu_count()}",
            "OS": platform.platform(),
            "Python": platform.python_version(),
        }
        version = paddlelite_version()
        return {**facts, "paddlelite": version} if version else facts

    def state(self, deadline: Deadline | None = None) -> State:
        """Load averages over 1, 5 and 15 minutes."""
        return State(facts={"load average": " ".join(f"{load:.2f}" for load in os.getloadavg())})

    def push(self, local: Path, deadline: Deadline, name: str = "", executable: bool = False) -> str:
        """See `Device.push`; returns the file's own path, or a copy's if it needs another name or permission."""
        if not name and not executable:
            return str(local.absolute())
        copied = Path(self._work.name) / (name or local.name)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, copied)
        if executable:
            copied.chmod(0o755)
        return str(copied)

    def pull(self, remote: str, local: Path, deadline: Deadline) -> None:
        """See `Device.pull`."""
        try:
            write_atomically(local, Path(remote).read_bytes())
        except OSError as error:
            raise DeviceError(f"{remote}: {error.strerror}") from error

    def run(self, command: list[str], deadline: Deadline, cwd: str = "", env: dict[str, str] | None = None) -> Finished:
        """See `Device.run`."""
        program = ["env", "-C", cwd, *command] if cwd else command
        finished = run_child(program, deadline.seconds_left(), env)
        if finished.timed_out:
            raise DeviceTimeout(f"not done after {deadline.seconds:g} s", hint="a larger --timeout")
        return finished

    def remove(self, remote: str) -> None:
        """See `Device.remove`."""
        Path(remote).unlink(missing_ok=True)

    def workplace(self) -> str:
        """See `Device.workplace`."""
        return self._work.name

    def alive(self, timeout_s: float) -> bool:
        """Always."""
        return True

    def affinity_mask(self, asked: str) -> int:
        """See `Device.affinity_mask`."""
        highest = {}
        for core in range(os.cpu_count() or 1):
            path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq")
            if path.is_file():
                highest[core] = int(path.read_text())
        return find_mask(asked, highest)


def paddlelite_version() -> str | None:
    """The version of the paddlelite wheel in this Python, None if it is not installed."""
    try:
        return importlib.metadata.version("paddlelite")
    except importlib.metadata.PackageNotFoundError:
        return None


def check_threads(threads: int) -> None:
    """Raises DeviceError if this machine has fewer processors than `threads`."""
    if threads > _cores():
        raise DeviceError(f"{threads} threads asked for", f"at most {_cores()} on this machine")


def _cores() -> int:
    """The processors this process may use, if the system reports them; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.machine()


def require_paddlelite() -> str:
    """The wheel's version.

    Raises:
        DeviceError: this Python has none.
    """
    version = paddlelite_version()
    if version is None:
        raise DeviceError(
            f"{sys.executable} (Python {platform.python_version()}) has no paddlelite",
            hint="pip install paddlelite==2.13rc0 (wheels exist for Python 3.8 and 3.10)",
        )
    return version
