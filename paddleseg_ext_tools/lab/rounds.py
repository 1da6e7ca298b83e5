"""Rounds in turns, the statistics over them, and the rules by which a figure is valid.

Each round is a process of its own. The rounds go over all models and runtimes before the next round begins, so that
a change of the machine's speed affects all of them alike. The statistics and the rules are those of `deploy/lite`,
for every runtime.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from paddleseg_lite import judge, plan, reference, result
from paddleseg_lite.device import Measurement, State
from paddleseg_lite.store import Round
from paddleseg_lite.tensors import Tensor

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Latency:
    """One model under one runtime. All times in ms; `series_ms` are the counted runs of all rounds, in order.

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
    peak_memory_mb: float | None = None  # of the whole process

    @property
    def spread_percent(self) -> float:
        """How far the rounds' medians lie apart, in percent of the median: a smaller difference means nothing."""
        return 100 * (max(self.round_medians_ms) - min(self.round_medians_ms)) / self.median_ms


def in_turns(entries: Sequence[Entry], rounds: int) -> list[Entry]:
    """A B A B: every entry once per round."""
    return [entry for _ in range(rounds) for entry in entries]


def compare_outputs(outputs: Sequence[np.ndarray], expected: np.ndarray, is_lossy: bool = False) -> reference.Agreement:
    """How the outputs of a runtime agree with the network's own output; those of a lossy form need not agree."""
    network = reference.Reference((Tensor.of(expected),), "the network")
    return reference.compare(tuple(map(Tensor.of, outputs)), network, "int8" if is_lossy else "fp32")


def summarise(
    measured: Sequence[Any],
    agreement: reference.Agreement,
    *,
    name: str,
    folder: Path,
    shape: Sequence[int],
    threads: int,
) -> Latency:
    """Statistics and validity over the rounds of one model under one runtime.

    `measured` has one entry per round, with the fields of `RuntimeResult`; `shape` is that of the input.
    """
    rounds: list[Round] = []
    for entry in measured:
        rounds.append(_round(entry).behind(rounds))
    case = plan.Case(name, folder, None, None, None, tuple(shape), None, None, threads)
    reasons = judge.invalid_reasons(case, rounds, agreement)
    series = tuple(time for entry in measured for time in entry.series_ms)
    processors = [entry.cpu_per_wall for entry in measured if entry.cpu_per_wall is not None]
    memory = [entry.peak_memory_mb for entry in measured if getattr(entry, "peak_memory_mb", None) is not None]
    return Latency(
        runtime=measured[-1].runtime,
        runtime_version=measured[-1].runtime_version,
        **result.summarise(series),
        init_ms=statistics.median(entry.init_ms for entry in measured),
        first_ms=statistics.median(entry.first_ms for entry in measured),
        series_ms=series,
        round_medians_ms=tuple(statistics.median(entry.series_ms) for entry in measured),
        threads=threads,
        cpu_per_wall=statistics.fmean(processors) if processors else None,
        peak_memory_mb=max(memory, default=None),
        agreement=agreement.note,
        valid=not reasons,
        invalid_reasons=reasons,
        warnings=judge.warnings(case, rounds),
    )


def _round(entry: Any) -> Round:
    """One process of any runtime, as the judge takes it: on a machine without thermal sensors."""
    measurement = Measurement(
        init_ms=entry.init_ms,
        first_ms=entry.first_ms,
        series_ms=tuple(entry.series_ms),
        outputs=tuple(Tensor.of(output) for output in entry.outputs),
        runtime=entry.runtime,
        runtime_version=entry.runtime_version,
        cpu_per_wall=entry.cpu_per_wall,
    )
    return Round(measurement, State(), State())
