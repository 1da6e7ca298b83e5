"""The files kept between runs. Per case: one JSON when finished; before that a .jsonl with one line per round.

Every file is replaced as a whole, so that an interrupted run loses no earlier measurement.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddleseg_lite.device import Measurement, State
from paddleseg_lite.errors import DataError
from paddleseg_lite.result import Result, write_atomically
from paddleseg_lite.tensors import read_npy, same, to_npy


@dataclass(frozen=True)
class Round:
    """The figures of one process, and the device's state before and after it.

    `gate` is the reason why the round should not have started, or None. `changed` is True if the outputs differ from
    those of the case's first round.
    """

    measurement: Measurement
    before: State
    after: State
    gate: str | None = None
    changed: bool = False

    def behind(self, earlier: Sequence[Round]) -> Round:
        """This round as the one after `earlier`: sets `changed`."""
        changed = bool(earlier) and not same(earlier[0].measurement.outputs, self.measurement.outputs)
        return dataclasses.replace(self, changed=changed)


class Store:
    """The folder that belongs to one result file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def result(self, name: str, key: str) -> Result | None:
        """The stored result of case `name`, if it was measured under the same `key` (see `Result.key`)."""
        path = self.folder / f"{name}.json"
        try:
            result = Result.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, DataError):
            return None
        return result if result.key == key else None

    def keep_result(self, name: str, result: Result) -> None:
        """Write the result, and delete the file with its rounds."""
        write_atomically(self.folder / f"{name}.json", result.to_json())
        self.forget_rounds(name)

    def set_aside(self, name: str, key: str) -> None:
        """Rename a stored result with another key, so that nobody takes it for the result of a case that failed."""
        path = self.folder / f"{name}.json"
        if path.is_file() and self.result(name, key) is None:
            path.replace(path.with_suffix(".json.old"))

    def rounds(self, name: str, key: str) -> list[Round]:
        """The rounds that an interrupted run measured under the same `key`."""
        try:
            lines = self._rounds(name).read_text(encoding="utf-8").splitlines()
            values = [json.loads(line) for line in lines]
            return [self._round(name, value) for value in values if value["key"] == key]
        except (OSError, ValueError, KeyError, TypeError, DataError):
            return []

    def keep_round(self, name: str, key: str, rounds: Sequence[Round]) -> None:
        """Write all `rounds` so far, and the output tensors of the first; see `Round.changed` for the others."""
        if len(rounds) == 1:
            for index, tensor in enumerate(rounds[0].measurement.outputs):
                write_atomically(self.folder / output_name(name, index), to_npy(tensor))
        lines = [json.dumps(_plain(key, one), allow_nan=False) for one in rounds]
        write_atomically(self._rounds(name), "".join(line + "\n" for line in lines))

    def forget_rounds(self, name: str) -> None:
        """Delete the rounds of an earlier run that is not resumed."""
        self._rounds(name).unlink(missing_ok=True)

    def _rounds(self, name: str) -> Path:
        return self.folder / f"{name}.rounds.jsonl"

    def _round(self, name: str, value: dict[str, Any]) -> Round:
        outputs = tuple(read_npy(self.folder / output_name(name, index)) for index in range(value["outputs"]))
        measured = {key: tuple(v) if isinstance(v, list) else v for key, v in value["measurement"].items()}
        measurement = Measurement(**measured, outputs=outputs)
        before, after = (_state(value[at]) for at in ("before", "after"))
        return Round(measurement, before, after, gate=value["gate"], changed=value["changed"])


def output_name(name: str, index: int) -> str:
    """The file of output `index` of case `name`."""
    return f"{name}.output{index}.npy"


def _state(value: dict[str, Any]) -> State:
    """The State in a stored round; JSON turned the core numbers into texts."""
    return State(**{**value, "limits_khz": {int(core): khz for core, khz in value["limits_khz"].items()}})


def _plain(key: str, one: Round) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(Measurement) if field.name != "outputs"]
    measured = {name: getattr(one.measurement, name) for name in names}
    states = {"before": dataclasses.asdict(one.before), "after": dataclasses.asdict(one.after)}
    judged = {"gate": one.gate, "changed": one.changed}
    return {"key": key, "measurement": measured, "outputs": len(one.measurement.outputs), **states, **judged}
