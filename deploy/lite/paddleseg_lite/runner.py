"""Stage 4: how one process measures one model on a device.

This file has the interface and the runner for the paddlelite wheel; `benchmark_bin.py` has the other runner.
"""

from __future__ import annotations

import json
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from paddleseg_lite.device import Device, Measurement, Settings
from paddleseg_lite.errors import DataError, DeviceTimeout, RunnerFailed
from paddleseg_lite.host import check_threads, require_paddlelite
from paddleseg_lite.plan import Case
from paddleseg_lite.process import Deadline, Finished, last_words
from paddleseg_lite.tensors import Tensor, read_npy, to_npy


class Runner(ABC):
    """One way to measure on `device`.

    Attributes:
        name: the name used in results.
        fingerprint: a text that changes if the program changes.
    """

    name: str
    fingerprint: str
    device: Device

    @abstractmethod
    def measure_case(
        self, case: Case, nb_file: Path | None, input_file: Path, tensor: Tensor, settings: Settings, deadline: Deadline
    ) -> Measurement:
        """Run `nb_file`, or the program of `case` if None, on `tensor` in one new process.

        Raises:
            DeviceError: the process crashed, took too long, or its answer is incomplete.
        """


class PaddleliteRunner(Runner):
    """The paddlelite wheel of this Python: a child process on this machine runs `run_paddlelite.py`."""

    name = "paddlelite"
    _script = Path(__file__).with_name("run_paddlelite.py")

    def __init__(self, device: Device) -> None:
        """Raises DeviceError if the wheel is missing."""
        self.device, self.fingerprint = device, require_paddlelite()

    def measure_case(
        self, case: Case, nb_file: Path | None, input_file: Path, tensor: Tensor, settings: Settings, deadline: Deadline
    ) -> Measurement:
        """See `Runner.measure_case`; `nb_file` must be given."""
        if nb_file is None:
            raise ValueError("the wheel's runner needs a converted model")
        return self.measure(nb_file, tensor, settings, deadline)

    def measure(self, nb_file: Path, tensor: Tensor, settings: Settings, deadline: Deadline) -> Measurement:
        """Run `nb_file`; the child gets `settings.threads` OpenMP threads."""
        check_threads(settings.threads)
        mask = self.device.affinity_mask(settings.affinity)
        with tempfile.TemporaryDirectory(prefix="lite-") as work:
            source = Path(work) / "input.npy"
            source.write_bytes(to_npy(tensor))
            command = [sys.executable, str(self._script), f"--nb={nb_file}", f"--input={source}"]
            command += [f"--output_dir={work}", f"--threads={settings.threads}", f"--affinity={mask:#x}"]
            command += [f"--warmup={settings.warmup}", f"--repeats={settings.repeats}"]
            command += [f"--min_seconds={settings.min_seconds}"]
            try:
                finished = self.device.run(command, deadline, env={"OMP_NUM_THREADS": str(settings.threads)})
            except DeviceTimeout as error:
                raise DeviceTimeout(f"{nb_file}: {error.got}", hint=error.hint) from None
            if finished.returncode != 0:
                raise _failure(nb_file, finished)
            return self._read(Path(work), nb_file)

    def _read(self, work: Path, nb_file: Path) -> Measurement:
        try:
            report = json.loads((work / "measurement.json").read_text(encoding="utf-8"))
            outputs = tuple(read_npy(work / name) for name in report["outputs"])
            return Measurement(
                init_ms=report["init_ms"],
                first_ms=report["first_ms"],
                series_ms=tuple(report["series_ms"]),
                outputs=outputs,
                runtime=self.name,
                runtime_version=report["runtime_version"],
                cpu_per_wall=report["cpu_per_wall"],
            )
        except (OSError, ValueError, KeyError, DataError) as error:
            raise RunnerFailed(f"{nb_file}: no complete answer from its process ({error!r})") from error


def _failure(nb_file: Path, finished: Finished) -> RunnerFailed:
    return RunnerFailed(
        f"{nb_file}: Paddle-Lite failed ({finished.cause()}): {last_words(finished.stderr)}",
        "an .nb file made for this machine by an opt of the runtime's version, and an input of its shape",
    )
