"""Decides which results are invalid and which only get a warning. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from paddleseg_lite.device import Measurement, State
from paddleseg_lite.plan import Case
from paddleseg_lite.reference import Agreement
from paddleseg_lite.result import percentile
from paddleseg_lite.store import Round

MOST_EXTRA_CPU = 0.15  # processors at work beyond the threads asked for
LEAST_CPU = 0.9  # processors at work per thread; below this, other work got in the way
STARVED = 0.75  # processors at work per thread; below this, the case did not really run with so many threads
LEAST_SERIES_MS = 100  # shorter series say nothing about processor time or drift
WIDE_SPREAD = 1.25  # p90 over median
THROTTLED = 1.10  # time at the end of a measurement over time at its beginning
WARM_C = 2.0  # a round should not start if the device is warmer by more than this than at the session's start
LOW_BATTERY = 20.0  # percent; with less, many phones slow down


def not_ready(state: State, base: State) -> str | None:
    """The reason why a round should not start now, or None. `base` is the state at the session's start."""
    if state.thermal_status:
        return f"the phone reports thermal status {state.thermal_status}"
    if state.temperature_c is not None and base.temperature_c is not None:
        above = state.temperature_c - base.temperature_c
        if above > WARM_C:
            return f"{state.temperature_c:.1f} °C, {above:.1f} more than at the start"
    lowered = _lowered(base, state)
    return f"a frequency limit below that at the session's start ({lowered})" if lowered else None


def invalid_reasons(case: Case, rounds: Sequence[Round], agreement: Agreement) -> tuple[str, ...]:
    """The reasons why the figures must not be used; empty if they are valid."""
    measured = [one.measurement for one in rounds]
    reasons = [] if agreement.good else [agreement.note]
    last = measured[-1]
    if not last.outputs and last.output_statistics == (None, None):
        reasons.append("the model gave no output")
    if not all(tensor.finite() for tensor in last.outputs):
        reasons.append("the output holds NaN or infinity")
    if any(one.changed for one in rounds) or any(_differ(last, m) for m in measured[:-1]):
        reasons.append("the output changed from one round to the next")
    used = _processors(measured)
    if used and max(used) > case.threads + MOST_EXTRA_CPU:
        reasons.append(f"{max(used):.2f} processors were at work for {case.threads} thread(s)")
    if used and min(used) < case.threads * STARVED:
        reasons.append(f"{case.threads} thread(s) got only {min(used):.2f} processors: the machine was busy")
    if any(time <= 0 for m in measured for time in m.series_ms):
        reasons.append("a run took no time at all")
    reasons += [f"round {number}: started at {one.gate}" for number, one in enumerate(rounds, 1) if one.gate]
    return tuple(reasons + throttling(rounds))


def throttling(rounds: Sequence[Round]) -> list[str]:
    """Signs that the processor was slowed down during the measurement."""
    signs = []
    for number, one in enumerate(rounds, 1):
        if one.after.thermal_status:
            signs.append(f"round {number}: throttled, the phone reports thermal status {one.after.thermal_status}")
        if lowered := _lowered(one.before, one.after):
            signs.append(f"round {number}: throttled, the phone lowered its frequency limit ({lowered})")
        drift = _drift(one.measurement.series_ms)
        if drift > THROTTLED:
            signs.append(f"round {number}: its last quarter took {drift:.2f} times its first")
    medians = [statistics.median(one.measurement.series_ms) for one in rounds]
    counted_ms = 1000 * sum(one.measurement.counted_s for one in rounds)
    if len(medians) > 1 and counted_ms >= LEAST_SERIES_MS and medians[-1] > THROTTLED * medians[0]:
        signs.append(f"the last round took {medians[-1] / medians[0]:.2f} times the first")
    return signs


def warnings(case: Case, rounds: Sequence[Round]) -> tuple[str, ...]:
    """Warnings for the reader of valid figures."""
    measured = [one.measurement for one in rounds]
    words = list(measured[-1].notes)
    series = [time for m in measured for time in m.series_ms]
    spread = percentile(series, 90) / statistics.median(series)
    if spread > WIDE_SPREAD:
        words.append(f"p90 is {spread:.2f} times the median: other work, or throttling")
    used = _processors(measured)
    if used and case.threads * STARVED <= min(used) < case.threads * LEAST_CPU:
        words.append(f"{case.threads} thread(s) got {min(used):.2f} processors: the machine was busy")
    dtype = measured[-1].outputs[0].dtype if measured[-1].outputs else None
    if case.output_dtype and dtype and dtype != case.output_dtype:
        words.append(f"deploy.yaml says output_dtype {case.output_dtype}, the model gives {dtype}")
    battery = rounds[0].before.battery_percent
    if battery is not None and battery < LOW_BATTERY:
        words.append(f"the battery was at {battery:.0f} %: many phones slow down then")
    return tuple(words)


def _differ(one: Measurement, other: Measurement) -> bool:
    """True if the printed statistics differ by more than their six digits allow (for outputs left on the device)."""
    pairs = zip(one.output_statistics, other.output_statistics)
    return any(a is not None and b is not None and abs(a - b) > 1e-4 * max(abs(a), abs(b), 1e-6) for a, b in pairs)


def _lowered(before: State, after: State) -> str:
    """The cores whose frequency limit is lower than before; a core that is off reports none and is skipped."""
    pairs = ((core, khz, after.limits_khz.get(core, khz)) for core, khz in before.limits_khz.items())
    return ", ".join(f"cpu{core} {now} of {khz} kHz" for core, khz, now in pairs if now < khz)


def _drift(series: Sequence[float]) -> float:
    """Median of the last quarter over median of the first quarter; 1 if the series is too short."""
    quarter = len(series) // 4
    if quarter < 2 or sum(series) < LEAST_SERIES_MS:
        return 1.0
    return statistics.median(series[-quarter:]) / statistics.median(series[:quarter])


def _processors(measured: Sequence[Measurement]) -> list[float]:
    """The processors at work, of each round that lasted long enough to measure them."""
    return [m.cpu_per_wall for m in measured if m.cpu_per_wall is not None and sum(m.series_ms) >= LEAST_SERIES_MS]
