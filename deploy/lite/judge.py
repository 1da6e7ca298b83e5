"""Should this number be believed? What makes a result invalid, and what only deserves a word."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from device import Measurement
from plan import Case
from reference import Agreement
from result import percentile
from tensors import all_finite, same

MOST_EXTRA_CPU = 0.15  # processors at work beyond the threads asked for
LEAST_CPU = 0.9  # processors at work per thread; below this, other work got in the way
STARVED = 0.75  # below this the figure is another one than what was asked for
LEAST_SERIES_MS = 100  # shorter series say nothing about processor time
WIDE_SPREAD = 1.25  # p90 over median


def invalid_reasons(case: Case, measured: Sequence[Measurement], agreement: Agreement) -> tuple[str, ...]:
    """Why the figures must not be used; empty when they may."""
    reasons = [] if agreement.good else [agreement.note]
    last = measured[-1].outputs
    if not last:
        reasons.append("the model gave no output")
    if not all_finite(last):
        reasons.append("the output holds NaN or infinity")
    for other in measured[:-1]:
        if not same(last, other.outputs):
            reasons.append("the output changed from one round to the next")
            break
    used = _processors(measured)
    if used and max(used) > case.threads + MOST_EXTRA_CPU:
        reasons.append(f"{max(used):.2f} processors were at work for {case.threads} thread(s)")
    if used and min(used) < case.threads * STARVED:
        reasons.append(f"{case.threads} thread(s) got only {min(used):.2f} processors: the machine was busy")
    if any(time <= 0 for m in measured for time in m.series_ms):
        reasons.append("a run took no time at all")
    return tuple(reasons)


def warnings(case: Case, measured: Sequence[Measurement]) -> tuple[str, ...]:
    """What a reader of the figures should know; they stay valid."""
    words = []
    series = [time for m in measured for time in m.series_ms]
    spread = percentile(series, 90) / statistics.median(series)
    if spread > WIDE_SPREAD:
        words.append(f"p90 is {spread:.2f} times the median: other work, or throttling")
    used = _processors(measured)
    if used and case.threads * STARVED <= min(used) < case.threads * LEAST_CPU:
        words.append(f"{case.threads} thread(s) got {min(used):.2f} processors: the machine was busy")
    dtype = str(measured[-1].outputs[0].dtype) if measured[-1].outputs else None
    if case.output_dtype and dtype and dtype != case.output_dtype:
        words.append(f"deploy.yaml says output_dtype {case.output_dtype}, the model gives {dtype}")
    return tuple(words)


def _processors(measured: Sequence[Measurement]) -> list[float]:
    """Processors at work in each round that lasted long enough to tell."""
    return [m.cpu_per_wall for m in measured if m.cpu_per_wall is not None and sum(m.series_ms) >= LEAST_SERIES_MS]
