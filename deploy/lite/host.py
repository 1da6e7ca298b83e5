"""This machine as a device: each measurement is a fresh child running `run_paddlelite.py`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from device import Device, Measurement, Settings
from errors import DeviceError
from process import Finished, run_child


class HostDevice(Device):
    """This machine, through the paddlelite wheel of the Python that runs this."""

    name = "host"
    _script = Path(__file__).with_name("run_paddlelite.py")

    def __init__(self) -> None:
        """Raises DeviceError where the wheel is missing or the processor is neither x86-64 nor ARM."""
        machine = platform.machine().lower()
        targets = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}
        if machine not in targets:
            raise DeviceError(f"this machine's processor is {machine}", "x86-64 or ARM")
        self.target = targets[machine]
        try:
            self._version = importlib.metadata.version("paddlelite")
        except importlib.metadata.PackageNotFoundError:
            raise DeviceError(
                f"{sys.executable} (Python {platform.python_version()}) has no paddlelite",
                hint="pip install paddlelite==2.13rc0 (wheels exist for Python 3.8 and 3.10)",
            ) from None

    def info(self) -> dict[str, str]:
        """Processor, cores, system, Python and paddlelite versions."""
        return {
            "Host CPU": _cpu_model(),
            "Cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
            "OS": platform.platform(),
            "Python": platform.python_version(),
            "paddlelite": self._version,
        }

    def state(self) -> dict[str, str]:
        """Load averages over 1, 5 and 15 minutes."""
        return {"load average": " ".join(f"{load:.2f}" for load in os.getloadavg())}

    def measure(self, nb_file: Path, input_array: np.ndarray, settings: Settings) -> Measurement:
        """See `Device.measure`; the child gets `settings.threads` OpenMP threads."""
        processors = len(os.sched_getaffinity(0))
        if settings.threads > processors:
            raise DeviceError(f"{settings.threads} threads asked for", f"at most {processors} on this machine")
        with tempfile.TemporaryDirectory(prefix="lite-") as work:
            input_file = Path(work) / "input.npy"
            np.save(input_file, input_array)
            command = [sys.executable, str(self._script), f"--nb={nb_file}", f"--input={input_file}"]
            command += [f"--output_dir={work}", f"--threads={settings.threads}"]
            command += [f"--warmup={settings.warmup}", f"--repeats={settings.repeats}"]
            command += [f"--min_seconds={settings.min_seconds}"]
            threads = {"OMP_NUM_THREADS": str(settings.threads)}
            finished = run_child(command, settings.timeout_s, threads)
            if finished.returncode != 0:
                raise _failure(nb_file, finished, settings)
            return self._read(Path(work), nb_file)

    def _read(self, work: Path, nb_file: Path) -> Measurement:
        try:
            report = json.loads((work / "measurement.json").read_text(encoding="utf-8"))
            outputs = tuple(np.load(work / name, allow_pickle=False) for name in report["outputs"])
            return Measurement(
                report["init_ms"],
                report["first_ms"],
                tuple(report["series_ms"]),
                outputs,
                "paddlelite",
                report["runtime_version"],
                report["cpu_per_wall"],
            )
        except (OSError, ValueError, KeyError) as error:
            raise DeviceError(f"{nb_file}: no complete answer from its process ({error!r})") from error


def _failure(nb_file: Path, finished: Finished, settings: Settings) -> DeviceError:
    if finished.timed_out:
        return DeviceError(f"{nb_file}: not done after {settings.timeout_s:g} s", hint="a larger --timeout")
    lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("[F ")]
    reason = (fatal or lines or ["it said nothing"])[-1]
    return DeviceError(
        f"{nb_file}: Paddle-Lite failed ({finished.cause()}): {reason}",
        "an .nb file made for this machine by an opt of the runtime's version, and an input of its shape",
    )


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.machine()
