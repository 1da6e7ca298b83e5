"""How fast an exported system is: under Paddle-Lite on this machine, ONNX Runtime and Paddle Inference, in turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from paddleseg_ext_runtime import runtimes
from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.exported import MODEL_FILE, PARAMS_FILE
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_tools.comparison.rows import Failed, System
from paddleseg_ext_tools.lab.rounds import Latency, compare_outputs, in_turns, summarise
from paddleseg_lite import convert, host, runner


class Runtime(ABC):
    """Something that runs exported folders. `prepare` once a system, `measure` once a round.

    `facts` are what it knows of the machine.
    """

    key: str
    title: str
    facts: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def prepare(self, folder: Path, slug: str) -> None:
        """Turns the export in `folder` into what this runtime reads. Raises an error with an `exit_code`."""

    @abstractmethod
    def measure(self, folder: Path, slug: str, array: np.ndarray, settings: Any) -> Any:
        """One fresh process; returns what has the fields of deploy/lite's Measurement."""


class PaddleLite(Runtime):
    """Paddle-Lite's runtime for this machine's processor. Raises deploy/lite's DeviceError where there is none."""

    key, title = "lite", "Paddle-Lite"

    def __init__(self, work: Path):
        self._work = work
        host.require_paddlelite()
        self._device = host.HostDevice()
        self._opt = convert.find_opt(None)
        self.facts = self._device.info()

    def prepare(self, folder: Path, slug: str) -> None:
        """See Runtime."""
        files = folder / MODEL_FILE, folder / PARAMS_FILE
        convert.convert(*files, self._file(slug), self._device.target, self._opt)

    def measure(self, folder: Path, slug: str, array: np.ndarray, settings: Any) -> Any:
        """See Runtime."""
        return runner.measure_array(self._file(slug), array, settings)

    def _file(self, slug: str) -> Path:
        return self._work / f"{slug}-{self._device.target}.nb"


class Exported(Runtime):
    """Paddle Inference on the exported program itself."""

    key, title, name = "paddle", "Paddle Inference", "paddle_inference"

    def prepare(self, folder: Path, slug: str) -> None:
        """Nothing to do."""

    def measure(self, folder: Path, slug: str, array: np.ndarray, settings: Any) -> Any:
        """See Runtime."""
        return runtimes.measure(
            self.name,
            folder,
            array,
            warmup=settings.warmup,
            repeats=settings.repeats,
            min_seconds=settings.min_seconds,
            threads=settings.threads,
            timeout_s=settings.timeout_s,
        )


class Onnx(Exported):
    """ONNX Runtime, on what paddle2onnx makes of the program."""

    key, title, name = "onnx", "ONNX Runtime", "onnxruntime"

    def prepare(self, folder: Path, slug: str) -> None:
        """See Runtime."""
        from paddleseg_ext.export.onnx import export_onnx

        export_onnx(folder)


RUNTIMES: dict[str, Callable[[Path], Runtime]] = {
    "lite": PaddleLite,
    "onnx": lambda _work: Onnx(),
    "paddle": lambda _work: Exported(),
}


Pair = tuple[System, Runtime]


def measure_all(pairs: Sequence[Pair], settings: Any, rounds: int) -> None:
    """Fills `latencies` of each system that was prepared; what fails for one of them stops none of the others.

    After an interruption they hold the rounds that were measured before.
    """
    pairs = [(system, runtime) for system, runtime in pairs if system.prepared is not None]
    measured: dict[tuple[str, str], list[Any]] = {}
    for system, runtime in track(pairs, len(pairs), "converting"):
        _attempt(system, runtime, lambda s=system, r=runtime: r.prepare(s.prepared.folder, s.slug))
    turns = in_turns(pairs, rounds)
    try:
        for system, runtime in track(turns, len(turns), "measuring"):
            if runtime.key not in system.latencies:
                _attempt(system, runtime, lambda s=system, r=runtime: _one_round(s, r, settings, measured))
    finally:  # what an interruption left is kept
        for system, runtime in pairs:
            found = measured.get((system.slug, runtime.key))
            if found and runtime.key not in system.latencies:
                system.latencies[runtime.key] = _latency(system, found, settings.threads)


def _attempt(system: System, runtime: Runtime, step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:  # what one system does to a runtime is no reason to lose the others' figures
        system.latencies[runtime.key] = failed = Failed.by(error)
        said = (system.slug, runtime.title, failed.message)
        get_logger().error("%s, %s: %s", *said, exc_info=wants_traceback(error))


def _one_round(system: System, runtime: Runtime, settings: Any, measured: dict[tuple[str, str], list[Any]]) -> None:
    found = runtime.measure(system.prepared.folder, system.slug, system.prepared.array, settings)
    measured.setdefault((system.slug, runtime.key), []).append(found)


def _latency(system: System, measured: Sequence[Any], threads: int) -> Latency:
    prepared = system.prepared
    agreement = compare_outputs(measured[-1].outputs, prepared.output)
    return summarise(
        measured, agreement, name=system.slug, folder=prepared.folder, shape=prepared.array.shape, threads=threads
    )
