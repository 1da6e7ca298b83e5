"""How fast the exported systems are: every system in every form, in turns."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.runtimes import RuntimeResult
from paddleseg_ext_tools.comparison.rows import Failed, System
from paddleseg_ext_tools.lab.forms import Counts, ProcessForm
from paddleseg_ext_tools.lab.rounds import Latency, compare_outputs, in_turns, summarise

Pair = tuple[System, ProcessForm]


def measure_all(pairs: Sequence[Pair], counts: Counts, rounds: int, work: Path) -> None:
    """Fills `latencies` of each system that was prepared; what fails for one of them stops none of the others.

    Converted models go to `work`. After an interruption the latencies hold the rounds that were measured before.
    """
    ready = [
        (system, form.of(system.prepared.folder, work / system.slug))
        for system, form in pairs
        if system.prepared is not None
    ]
    measured: dict[Path, list[RuntimeResult]] = {form.work: [] for _, form in ready}
    for system, form in track(ready, len(ready), "converting"):
        _attempt(system, form, form.prepare)
    turns = in_turns(ready, rounds)
    try:
        for system, form in track(turns, len(turns), "measuring"):
            if form.key not in system.latencies:
                _attempt(system, form, partial(_add_round, measured[form.work], system, form, counts))
    finally:  # what an interruption left is kept
        for system, form in ready:
            if measured[form.work] and form.key not in system.latencies:
                system.latencies[form.key] = _latency(system, form, measured[form.work], counts.threads)


def _attempt(system: System, form: ProcessForm, step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:  # what one system does to a runtime is no reason to lose the others' figures
        system.latencies[form.key] = failed = Failed.by(error)
        said = (system.slug, form.title, failed.message)
        get_logger().error("%s, %s: %s", *said, exc_info=wants_traceback(error))


def _add_round(measured: list[RuntimeResult], system: System, form: ProcessForm, counts: Counts) -> None:
    measured.append(form.measure(system.prepared.array, counts))


def _latency(system: System, form: ProcessForm, measured: Sequence[RuntimeResult], threads: int) -> Latency:
    prepared = system.prepared
    agreement = compare_outputs(measured[-1].outputs, prepared.output, form.is_lossy)
    place = {"name": system.slug, "folder": prepared.folder, "shape": prepared.array.shape, "threads": threads}
    return summarise(measured, agreement, **place)
