"""Makes the Result of one case from its rounds."""

from __future__ import annotations

import datetime
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paddleseg_lite.device import Device, Settings
from paddleseg_lite.judge import invalid_reasons, warnings
from paddleseg_lite.plan import Case
from paddleseg_lite.reference import Reference, compare
from paddleseg_lite.result import Result, summarise
from paddleseg_lite.store import Round, output_name
from paddleseg_lite.tensors import Tensor, describe_output


@dataclass(frozen=True)
class Prepared:
    """A case ready to be measured, and its finished rounds. `nb_file` is None if benchmark_bin converts the model."""

    case: Case
    name: str
    key: str
    settings: Settings
    input_file: Path
    tensor: Tensor
    nb_file: Path | None
    opt_version: str | None
    reference: Reference
    notes: tuple[str, ...]
    rounds: list[Round]


def assemble(known: Prepared, device: Device) -> Result:
    """Combine the figures of all rounds and judge whether they are valid."""
    case, rounds, measured = known.case, known.rounds, [one.measurement for one in known.rounds]
    last = measured[-1]
    agreement = compare(last.outputs, known.reference, case.precision, last.output_statistics)
    reasons = invalid_reasons(case, rounds, agreement)
    series = tuple(time for m in measured for time in m.series_ms)
    runs = sum(m.runs for m in measured)
    statistic = summarise(series)
    statistic["min_ms"], statistic["max_ms"] = min(m.min_ms for m in measured), max(m.max_ms for m in measured)
    return Result(
        key=known.key,
        model=case.model_name,
        measured_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        init_ms=statistics.median(m.init_ms for m in measured),
        first_ms=statistics.median(m.first_ms for m in measured),
        **statistic,
        series_ms=series,
        round_medians_ms=tuple(statistics.median(m.series_ms) for m in measured),
        runs=runs,
        runs_per_value=runs // len(series),
        rounds=len(measured),
        runtime=last.runtime,
        runtime_version=last.runtime_version,
        outputs=tuple(describe_output(t, output_name(known.name, n)) for n, t in enumerate(last.outputs)),
        agreement=agreement.value,
        agreement_kind=agreement.kind,
        agreement_note=agreement.note,
        valid=not reasons,
        invalid_reasons=reasons,
        warnings=known.notes + _notes(known) + warnings(case, rounds),
        **_conditions(known, device),
    )


def _conditions(known: Prepared, device: Device) -> dict[str, Any]:
    case, rounds, settings = known.case, known.rounds, asdict(known.settings)
    settings.update(backend=known.settings.backend or device.target)
    del settings["timeout_s"]
    used = [one.measurement.cpu_per_wall for one in rounds if one.measurement.cpu_per_wall is not None]
    program = case.nb_file is None
    converted_here = program and known.nb_file is not None
    return {
        **settings,
        "device": device.name,
        "target": device.target,
        "cpu_per_wall": statistics.fmean(used) if used else None,
        "opt_version": known.opt_version,
        "optimized_on": "host" if converted_here else "device" if program else "before",
        "device_facts": device.info(),
        "state_before": rounds[0].before.facts,
        "state_after": rounds[-1].after.facts,
        "states": tuple(_state_row(one, number) for number, one in enumerate(rounds, 1)),
        "model_file": str(case.model_file) if program else None,
        "param_file": str(case.param_file) if program else None,
        "nb_file": str(known.nb_file or "opt.nb on the device"),
        "nb_bytes": known.nb_file.stat().st_size if known.nb_file else None,
        "input_file": str(known.input_file),
        "input_shape": case.input_shape,
        "output_op": case.output_op,
    }


def _state_row(one: Round, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {"round": number, "gate": one.gate}
    for at, state in (("before", one.before), ("after", one.after)):
        row[f"temperature_{at}_c"], row[f"thermal_status_{at}"] = state.temperature_c, state.thermal_status
        row[f"limits_{at}_khz"] = state.limits_khz
    return row


def _notes(known: Prepared) -> tuple[str, ...]:
    """Warnings: converter and runtime versions differ; fewer seconds measured than asked for.

    benchmark_bin prints a commit instead of a version, so `Session` has checked its version before.
    """
    notes, rounds, asked_s = [], known.rounds, known.settings.min_seconds
    last = rounds[-1].measurement
    if last.runtime == "paddlelite" and known.opt_version not in (None, last.runtime_version):
        notes.append(f"the model was made by opt {known.opt_version} and run by {last.runtime_version}")
    counted = sum(one.measurement.counted_s for one in rounds)
    if counted < asked_s:
        seconds = f"{counted:.1f} s were counted in {len(rounds)} rounds, of {asked_s:g} s asked for"
        notes.append(f"{seconds}: more --repeats")
    return tuple(notes)
