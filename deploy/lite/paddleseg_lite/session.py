"""One session: prepare every case, measure the cases in rounds, and store the results after each measurement.

A failed case is recorded with its reason, and the other cases continue. If the device is lost, the session ends;
a later session with --resume measures the missing cases.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from paddleseg_lite.assemble import Prepared, assemble
from paddleseg_lite.benchmark_bin import BenchmarkBin
from paddleseg_lite.convert import convert, find_opt, nb_version
from paddleseg_lite.device import Device, Settings
from paddleseg_lite.errors import DataError, LiteError, TransientError
from paddleseg_lite.judge import not_ready
from paddleseg_lite.plan import Case
from paddleseg_lite.process import Deadline
from paddleseg_lite.reference import Reference, compute_reference
from paddleseg_lite.report import write_texts
from paddleseg_lite.result import Failure, Result
from paddleseg_lite.runner import Runner
from paddleseg_lite.store import Round, Store
from paddleseg_lite.tensors import Tensor, read_input

TRIES = 3  # per round, after a TransientError
MOST_ROUNDS = 20  # per case, if --rounds processes take less than --min_seconds
_GATE_STEP_S = 5.0
_GONE_S = 3.0  # a phone counts as lost if it does not answer for so many seconds after an error


@dataclass(frozen=True)
class Options:
    """Options of all cases; each case sets its own `settings.threads` and `settings.precision`.

    A round may wait `cool_down_s` seconds for the device to cool, and `reconnect_s` seconds for a lost device.
    """

    input_file: Path
    result_file: Path
    json_dir: Path
    settings: Settings
    rounds: int = 1
    interleave: bool = True
    opt: str | None = None
    check: bool = True
    optimize: str = "host"
    resume: bool = False
    cool_down_s: float = 0.0
    reconnect_s: float = 60.0
    html: Path | None = None


class Session:
    """Runs cases on one device. `outcomes` maps each case's name to its Result or Failure."""

    def __init__(self, device: Device, runner: Runner, options: Options) -> None:
        self.device, self.runner, self.options = device, runner, options
        self.store = Store(options.json_dir)
        self.outcomes: dict[str, Result | Failure] = {}
        self.base = device.state()
        self._names: list[str] = []
        self._inputs: dict[tuple[int, ...], Tensor] = {}
        self._references: dict[str, Reference] = {}

    def run(self, cases: Sequence[Case]) -> list[Result | Failure]:
        """Measure all `cases`.

        1. Prepare each case: take a stored result (--resume), else read its input, convert it, compute its reference.
        2. Measure the prepared cases in turns, one round (a new process) at a time, and store each round.
        3. When a case has all its rounds, assemble and judge its result, and write all result files again.

        Raises:
            DeviceError: the device was lost and did not come back; earlier measurements are stored.
        """
        self._names = [case.key(self.device.target) for case in cases]
        ready = []
        for case, name in zip(cases, self._names):
            prepared = self._attempt(case, name, lambda case=case, name=name: self._prepare(case, name))
            if prepared:
                ready.append(prepared)
        for number, prepared in self._order(ready):
            if prepared.name in self.outcomes:
                continue
            print(f"{prepared.name}: round {number + 1}")
            self._attempt(prepared.case, prepared.name, lambda prepared=prepared: self._measure(prepared))
        return [self.outcomes[name] for name in self._names]

    def _order(self, ready: list[Prepared]) -> Iterator[tuple[int, Prepared]]:
        """Pairs (round, case), up to the largest number of rounds; `run` skips cases that are finished."""
        rounds = range(max(MOST_ROUNDS, self.options.rounds))
        if self.options.interleave:  # A B C A B C: a slow change of the device affects all models alike
            pairs = ((number, prepared) for number in rounds for prepared in ready)
        else:
            pairs = ((number, prepared) for prepared in ready for number in rounds)
        return ((number, prepared) for number, prepared in pairs if number >= len(prepared.rounds))

    def _attempt(self, case: Case, name: str, step: Callable[[], Prepared | None]) -> Prepared | None:
        try:
            return step()
        except LiteError as error:
            self.outcomes[name] = Failure(
                model=case.model_name,
                threads=case.threads,
                message=str(error),
                exit_code=error.exit_code,
                kind=error.kind,
                precision=case.precision,
            )
            self.store.set_aside(name, self._key(case))
            self._write()
            print(f"{name}: FAILED ({error.kind}): {error}")
            gone_s = min(_GONE_S, self.options.settings.timeout_s)
            if isinstance(error, TransientError) and not self.device.alive(gone_s):
                raise
            return None

    def _prepare(self, case: Case, name: str) -> Prepared | None:
        if case.input_shape is None:
            raise DataError(
                f"{case.folder}: the input shape is not known or not fixed",
                "input_shape in deploy.yaml with four positive numbers",
                "--input_shape 1 3 512 512",
            )
        key = self._key(case)
        stored = self.store.result(name, key) if self.options.resume else None
        if stored:
            print(f"{name}: measured before, kept")
            self.outcomes[name] = stored
            self._write()
            return None
        if not self.options.resume:
            self.store.forget_rounds(name)
        shape = case.input_shape
        tensor = self._inputs.get(shape) or self._inputs.setdefault(shape, read_input(self.options.input_file, shape))
        nb_file, notes = case.nb_file, ()
        if nb_file is None and (self.options.optimize == "host" or case.precision == "int8"):
            nb_file = self._convert(case)
        made_by = nb_version(nb_file) if nb_file else None
        if made_by and isinstance(self.runner, BenchmarkBin) and not self.runner.carries(made_by):
            notes = (f"opt {made_by} made the model and benchmark_bin does not carry that version",)
            print(f"{name}: mind: {notes[0]}; if it crashes, use an opt of its version or --optimize device")
        prepared = Prepared(
            case=case,
            name=name,
            key=key,
            settings=replace(self.options.settings, threads=case.threads, precision=case.precision),
            input_file=self.options.input_file,
            tensor=tensor,
            nb_file=nb_file,
            opt_version=made_by,
            reference=self._reference(case, tensor),
            notes=notes,
            rounds=self.store.rounds(name, key),
        )
        return None if self._finish(prepared) else prepared

    def _key(self, case: Case) -> str:
        """A hash of everything that can change the result; time limits are left out."""
        settings = asdict(replace(self.options.settings, threads=case.threads, precision=case.precision, timeout_s=0))
        try:
            content = [case.content_hash(), hashlib.sha256(self.options.input_file.read_bytes()).hexdigest()]
        except OSError:
            content = ["unreadable"]
        asked = [content, case.input_shape, settings, self.options.rounds, self.options.optimize]
        asked += [self.device.identity, self.runner.name, self.runner.fingerprint]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]

    def _convert(self, case: Case) -> Path:
        opt = find_opt(self.options.opt)
        nb_file = self.options.json_dir / "nb" / f"{case.model_name}-{self.device.target}-{case.precision}.nb"
        mark = nb_file.with_suffix(".key")  # holds the model's hash; cases with other --threads share the file
        source = f"{case.content_hash()} {opt}"
        if nb_file.is_file() and mark.is_file() and mark.read_text() == source:
            return nb_file
        print(f"{case.model_name}: opt for {self.device.target}, {case.precision}")
        mark.unlink(missing_ok=True)
        timeout_s = self.options.settings.timeout_s
        convert(case.model_file, case.param_file, nb_file, self.device.target, opt, timeout_s, case.precision)
        mark.write_text(source)
        return nb_file

    def _reference(self, case: Case, tensor: Tensor) -> Reference:
        if not self.options.check:
            return Reference(None, "not asked for (--reference none)")
        name = f"{case.model_name} {case.precision if case.precision == 'int8' else 'fp32'}"
        if name not in self._references:
            timeout_s = self.options.settings.timeout_s
            on_phone = self.device.name != "host"
            self._references[name] = compute_reference(case, tensor, on_phone, self.options.opt, timeout_s)
        return self._references[name]

    def _measure(self, prepared: Prepared) -> None:
        prepared.rounds.append(self._round(prepared).behind(prepared.rounds))
        self.store.keep_round(prepared.name, prepared.key, prepared.rounds)
        self._finish(prepared)

    def _finish(self, prepared: Prepared) -> bool:
        """If the case has all its rounds, store its result and return True."""
        counted_s = sum(one.measurement.counted_s for one in prepared.rounds)
        done, asked = len(prepared.rounds), self.options.rounds
        if done < asked or (counted_s < prepared.settings.min_seconds and done < max(asked, MOST_ROUNDS)):
            return False
        result = assemble(prepared, self.device)
        self.outcomes[prepared.name] = result
        self.store.keep_result(prepared.name, result)
        self._write()
        return True

    def _round(self, prepared: Prepared) -> Round:
        """Measure in one new process; retry transient errors, within one --timeout that does not count cooling."""
        deadline = Deadline(prepared.settings.timeout_s)
        for attempt in range(1, TRIES + 1):
            try:
                gate = deadline.pause(self._wait_until_cool)
                before = self.device.state(deadline)
                measured = self.runner.measure_case(
                    prepared.case, prepared.nb_file, prepared.input_file, prepared.tensor, prepared.settings, deadline
                )
                return Round(measured, before, self.device.state(deadline), gate)
            except TransientError as error:
                wait = min(self.options.reconnect_s, deadline.seconds_left())
                if attempt == TRIES or deadline.passed():
                    raise
                print(f"{prepared.name}: {error.kind}: {error.got}; waiting for the device up to {wait:.0f} s")
                if not self.device.alive(wait) or deadline.passed():
                    raise
        raise AssertionError("unreachable")

    def _wait_until_cool(self) -> str | None:
        """None once the device is as cool as at the start; after `cool_down_s` seconds, the reason why it is not."""
        end = Deadline(self.options.cool_down_s)
        while True:
            reason = not_ready(self.device.state(), self.base)
            if reason is None or end.passed():
                return reason
            print(f"waiting for the device to cool: {reason}")
            time.sleep(end.seconds_left(_GATE_STEP_S))

    def _write(self) -> None:
        outcomes = [self.outcomes[name] for name in self._names if name in self.outcomes]
        write_texts(outcomes, self.options.result_file, self.options.json_dir, self.options.html)
