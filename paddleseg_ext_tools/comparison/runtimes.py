"""How fast an exported system is: under Paddle-Lite on this machine, ONNX Runtime and Paddle Inference, in turns.

Each measurement is a process of its own. The rounds go over all systems and runtimes before the next one begins, so
that what drifts on the machine meets them all alike. Statistics, the comparison with the network's own output and the
judgement whether a figure may be used are `deploy/lite`'s, for every runtime.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from paddleseg_ext_runtime import runtimes
from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.exported import MODEL_FILE, PARAMS_FILE
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_tools.comparison.rows import Failed, System
from paddleseg_lite import convert, device, host, judge, plan, reference, result, runner, store
from paddleseg_lite.tensors import Tensor


@dataclass(frozen=True)
class Latency:
    """One system under one runtime. All times in ms; `series_ms` are the counted runs of all rounds, in order.

    `agreement` says how the output compares with the network's; a figure that is not `valid` must not be used.
    """

    runtime: str
    runtime_version: str
    median_ms: float
    p90_ms: float
    min_ms: float
    mean_ms: float
    max_ms: float
    std_ms: float
    init_ms: float
    first_ms: float
    series_ms: tuple[float, ...]
    round_medians_ms: tuple[float, ...]
    threads: int
    cpu_per_wall: float | None
    agreement: str
    valid: bool
    invalid_reasons: tuple[str, ...]
    warnings: tuple[str, ...]


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
    turns = [(round_, *pair) for round_ in range(rounds) for pair in pairs]
    try:
        for _, system, runtime in track(turns, len(turns), "measuring"):
            if runtime.key not in system.latencies:
                _attempt(system, runtime, lambda s=system, r=runtime: _one_round(s, r, settings, measured))
    finally:  # what an interruption left is kept
        for system, runtime in pairs:
            found = measured.get((system.slug, runtime.key))
            if found and runtime.key not in system.latencies:
                system.latencies[runtime.key] = summarise(system, found, settings.threads)


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


def summarise(system: System, measured: Sequence[Any], threads: int) -> Latency:
    """Statistics and judgement over the rounds of one system under one runtime."""
    rounds: list[Any] = []
    for one in measured:
        rounds.append(_judged(one).behind(rounds))
    prepared = system.prepared
    case = plan.Case(
        system.slug, prepared.folder, None, None, None, prepared.array.shape, system.output_op, None, threads
    )
    wanted = Tensor.of(prepared.output)
    agreement = reference.compare(rounds[-1].measurement.outputs, reference.Reference((wanted,), "the network"))
    reasons = judge.invalid_reasons(case, rounds, agreement)
    series = tuple(time for one in measured for time in one.series_ms)
    used = [one.cpu_per_wall for one in measured if one.cpu_per_wall is not None]
    return Latency(
        runtime=measured[-1].runtime,
        runtime_version=measured[-1].runtime_version,
        **result.summarise(series),
        init_ms=statistics.median(one.init_ms for one in measured),
        first_ms=statistics.median(one.first_ms for one in measured),
        series_ms=series,
        round_medians_ms=tuple(statistics.median(one.series_ms) for one in measured),
        threads=threads,
        cpu_per_wall=statistics.fmean(used) if used else None,
        agreement=agreement.note,
        valid=not reasons,
        invalid_reasons=reasons,
        warnings=judge.warnings(case, rounds),
    )


def _judged(one: Any) -> Any:
    """What a runtime measured as deploy/lite's judge takes it: a Round, of a machine without thermal sensors."""
    outputs = tuple(Tensor.of(output) for output in one.outputs)
    figures = one.init_ms, one.first_ms, tuple(one.series_ms), outputs
    measurement = device.Measurement(*figures, one.runtime, one.runtime_version, one.cpu_per_wall)
    return store.Round(measurement, device.State(), device.State())
