"""One session: prepare every case, measure them in rounds, keep what is known after each measurement.

A case that fails is set aside with its reason; the others go on.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert import convert, find_opt, opt_version
from device import Device, Measurement, Settings
from errors import DataError, LiteError
from judge import invalid_reasons, warnings
from plan import Case
from reference import Reference, compare, compute_reference
from report import failure_block, text_block
from result import Failure, Result, summarise, write_atomically
from tensors import describe_output, read_input, to_npy

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Options:
    """What holds for every case. `settings.threads` is replaced by each case's own number."""

    input_file: Path
    result_file: Path
    json_dir: Path
    settings: Settings
    rounds: int = 1
    interleave: bool = True
    opt: str | None = None
    check: bool = True


@dataclass
class Prepared:
    """A case ready to be measured, and what was measured of it so far."""

    case: Case
    nb_file: Path
    input_array: np.ndarray
    reference: Reference
    state_before: dict[str, str]
    measured: list[Measurement] = field(default_factory=list)


class Session:
    """Runs cases on one device. `outcomes` holds a Result or Failure for each, in the order of `cases`."""

    def __init__(self, device: Device, options: Options, say: Callable[[str], None] = print) -> None:
        self.device, self.options, self.say = device, options, say
        self.outcomes: dict[str, Result | Failure] = {}
        self._facts = device.info()
        self._opt_version: str | None = None
        self._converted: dict[str, Path] = {}
        self._references: dict[str, Reference] = {}

    def run(self, cases: Sequence[Case]) -> list[Result | Failure]:
        """Measure all `cases`; the result file and the JSON files are up to date after each measurement."""
        ready = []
        for case in cases:
            prepared = self._attempt(case, lambda case=case: self._prepare(case))
            if prepared:
                ready.append(prepared)
        for number, prepared in self._order(ready):
            case = prepared.case
            if isinstance(self.outcomes.get(case.key(self.device.target)), Failure):
                continue
            of = f"round {number + 1} of {self.options.rounds}"
            self.say(f"{case.model_name}: {case.threads} thread(s), {of}")
            self._attempt(case, lambda prepared=prepared: self._measure(prepared))
        keys = [case.key(self.device.target) for case in cases]
        return [self.outcomes[key] for key in keys]

    def _order(self, ready: list[Prepared]) -> Iterator[tuple[int, Prepared]]:
        rounds = range(self.options.rounds)
        if self.options.interleave:  # A B C A B C: what drifts on the machine meets all models alike
            return ((number, prepared) for number in rounds for prepared in ready)
        return ((number, prepared) for prepared in ready for number in rounds)

    def _attempt(self, case: Case, step: Callable[[], Prepared | None]) -> Prepared | None:
        try:
            return step()
        except LiteError as error:
            key = case.key(self.device.target)
            self.outcomes[key] = Failure(case.model_name, case.threads, str(error), error.exit_code)
            self._set_aside(key)
            self._write_text()
            self.say(f"{case.model_name}: FAILED: {error}")
            return None

    def _prepare(self, case: Case) -> Prepared:
        if case.input_shape is None:
            raise DataError(
                f"{case.folder}: the input shape is not known or not fixed",
                "input_shape in deploy.yaml with four positive numbers",
                "--input_shape 1 3 512 512",
            )
        array = read_input(self.options.input_file, case.input_shape)
        nb_file = case.nb_file or self._convert(case)
        return Prepared(case, nb_file, array, self._reference(case, array), self.device.state())

    def _convert(self, case: Case) -> Path:
        name = f"{case.model_name}-{self.device.target}-{case.precision}.nb"
        if name not in self._converted:
            opt = find_opt(self.options.opt)
            self._opt_version = self._opt_version or opt_version(opt)
            nb_file = self.options.json_dir / "nb" / name
            self.say(f"{case.model_name}: opt for {self.device.target}")
            timeout_s = self.options.settings.timeout_s
            convert(case.model_file, case.param_file, nb_file, self.device.target, opt, timeout_s)
            self._converted[name] = nb_file
        return self._converted[name]

    def _reference(self, case: Case, array: np.ndarray) -> Reference:
        if not self.options.check:
            return Reference(None, "not asked for (--reference none)")
        if case.model_name not in self._references:
            timeout_s = self.options.settings.timeout_s
            self._references[case.model_name] = compute_reference(case, array, timeout_s)
        return self._references[case.model_name]

    def _measure(self, prepared: Prepared) -> None:
        given, case = self.options.settings, prepared.case
        if not prepared.measured:
            prepared.state_before = self.device.state()
        settings = replace(given, threads=case.threads)
        prepared.measured.append(self.device.measure(prepared.nb_file, prepared.input_array, settings))
        result = self._result(prepared)
        key = case.key(self.device.target)
        self.outcomes[key] = result
        write_atomically(self.options.json_dir / f"{key}.json", result.to_json())
        self._write_text()

    def _result(self, prepared: Prepared) -> Result:
        case, measured = prepared.case, prepared.measured
        agreement = compare(measured[-1].outputs, prepared.reference)
        reasons = invalid_reasons(case, measured, agreement)
        series = tuple(time for m in measured for time in m.series_ms)
        return Result(
            model=case.model_name,
            measured_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            init_ms=statistics.median(m.init_ms for m in measured),
            first_ms=statistics.median(m.first_ms for m in measured),
            **summarise(series),
            series_ms=series,
            round_medians_ms=tuple(statistics.median(m.series_ms) for m in measured),
            **self._conditions(prepared),
            output_op=case.output_op,
            outputs=self._keep_outputs(case, measured[-1]),
            agreement=agreement.value,
            agreement_kind=agreement.kind,
            agreement_note=agreement.note,
            valid=not reasons,
            invalid_reasons=reasons,
            warnings=warnings(case, measured),
        )

    def _conditions(self, prepared: Prepared) -> dict[str, Any]:
        case, measured, given = prepared.case, prepared.measured, self.options.settings
        used = [m.cpu_per_wall for m in measured if m.cpu_per_wall is not None]
        converted = case.nb_file is None
        return {
            "device": self.device.name,
            "target": self.device.target,
            "threads": case.threads,
            "warmup": given.warmup,
            "repeats": given.repeats,
            "rounds": len(measured),
            "precision": case.precision,
            "cpu_per_wall": statistics.fmean(used) if used else None,
            "runtime": measured[-1].runtime,
            "runtime_version": measured[-1].runtime_version,
            "opt_version": self._opt_version if converted else None,
            "device_facts": self._facts,
            "state_before": prepared.state_before,
            "state_after": self.device.state(),
            "model_file": str(case.model_file) if converted else None,
            "param_file": str(case.param_file) if converted else None,
            "nb_file": str(prepared.nb_file),
            "nb_bytes": prepared.nb_file.stat().st_size,
            "input_file": str(self.options.input_file),
            "input_shape": case.input_shape,
        }

    def _keep_outputs(self, case: Case, measurement: Measurement) -> tuple:
        kept = []
        for index, array in enumerate(measurement.outputs):
            name = f"{case.key(self.device.target)}.output{index}.npy"
            write_atomically(self.options.json_dir / name, to_npy(array))
            kept.append(describe_output(array, name))
        return tuple(kept)

    def _set_aside(self, key: str) -> None:
        """An earlier session's result of a case that failed now must not pass for today's."""
        stale = self.options.json_dir / f"{key}.json"
        if stale.is_file():
            stale.replace(stale.with_suffix(".json.old"))

    def _write_text(self) -> None:
        text = "\n".join(
            failure_block(outcome) if isinstance(outcome, Failure) else text_block(outcome)
            for outcome in self.outcomes.values()
        )
        write_atomically(self.options.result_file, text)
