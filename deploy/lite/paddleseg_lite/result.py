"""The result of one case with its conditions; it can be written to JSON and read again."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddleseg_lite.errors import DataError


@dataclass(frozen=True)
class Output:
    """One output tensor. `labels` counts the distinct values of an integer one.

    `mean` and `std` are None when a value is not finite.
    """

    shape: tuple[int, ...]
    dtype: str
    mean: float | None
    std: float | None
    labels: int | None
    file: str | None = None


@dataclass(frozen=True)
class Result:
    """All times are in milliseconds. `key` is a hash of model, input and conditions.

    `series_ms` holds the counted values in order. Each value is the mean of `runs_per_value` runs (1: single runs;
    benchmark_bin prints one mean per process). `median_ms`, `p90_ms` (interpolated) and `std_ms` (the sample's) are
    computed from these values, but `min_ms` and `max_ms` are always those of single runs. `init_ms` and `first_ms` are
    medians over the rounds (each round is a new process). `agreement` and `agreement_kind` are those of
    `reference.Agreement`. `states` has one row per round; `state_before` is the complete state before the first
    round, `state_after` the one after the last.
    """

    key: str
    model: str
    device: str
    target: str
    measured_at: str
    init_ms: float
    first_ms: float
    min_ms: float
    median_ms: float
    mean_ms: float
    p90_ms: float
    max_ms: float
    std_ms: float
    series_ms: tuple[float, ...]
    round_medians_ms: tuple[float, ...]
    runs: int
    runs_per_value: int
    threads: int
    warmup: int
    repeats: int
    rounds: int
    min_seconds: float
    power_mode: int
    affinity: str
    backend: str
    precision: str
    cpu_per_wall: float | None
    runtime: str
    runtime_version: str
    opt_version: str | None
    optimized_on: str
    device_facts: dict[str, str]
    state_before: dict[str, str]
    state_after: dict[str, str]
    states: tuple[dict[str, Any], ...]
    model_file: str | None
    param_file: str | None
    nb_file: str
    nb_bytes: int | None
    input_file: str
    input_shape: tuple[int, ...]
    output_op: str | None
    outputs: tuple[Output, ...]
    agreement: float | None
    agreement_kind: str | None
    agreement_note: str
    valid: bool
    invalid_reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> int | None:
        """Of output 0."""
        return self.outputs[0].labels if self.outputs else None

    @property
    def agreement_text(self) -> str:
        """For a table."""
        if self.agreement is None:
            return "not checked"
        return f"{self.agreement:.4%}" if self.agreement_kind == "equal_pixels" else f"within {self.agreement:.1g} std"

    def to_json(self) -> str:
        """Indented JSON, the series on one line each."""
        values = dataclasses.asdict(self)
        rows = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in values.items()]
        return "{\n" + ",\n".join(rows) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Inverse of `to_json`; DataError when `text` is not what `to_json` writes."""
        try:
            values: dict[str, Any] = json.loads(text)
            values["outputs"] = tuple(Output(**{**o, "shape": tuple(o["shape"])}) for o in values["outputs"])
            for name, value in values.items():
                if isinstance(value, list):
                    values[name] = tuple(value)
                elif name.endswith("_ms") and not isinstance(value, (int, float)):
                    raise TypeError(f"{name} is no number")
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"not a stored result ({error!r})", "a JSON file this tool wrote") from error


@dataclass(frozen=True)
class Failure:
    """A case without a measurement: the message, exit code and class of its error."""

    model: str
    threads: int
    message: str
    exit_code: int
    kind: str = "LiteError"
    precision: str = "fp32"


def first_valid(outcomes: Sequence[Result | Failure]) -> Result | None:
    """The first valid result, with which a table compares the others."""
    return next((one for one in outcomes if isinstance(one, Result) and one.valid), None)


def ratio(result: Result, base: Result | None) -> str:
    """`result`'s median over `base`'s; only meaningful if both were measured in one run."""
    return f"{result.median_ms / base.median_ms:.2f}" if base else ""


def summarise(series_ms: tuple[float, ...]) -> dict[str, float]:
    """The statistics `Result` holds, keyed by its field names; `series_ms` must not be empty."""
    return {
        "min_ms": min(series_ms),
        "median_ms": statistics.median(series_ms),
        "mean_ms": statistics.fmean(series_ms),
        "p90_ms": percentile(series_ms, 90),
        "max_ms": max(series_ms),
        "std_ms": statistics.stdev(series_ms) if len(series_ms) > 1 else 0.0,
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolated linearly between the two nearest of `values`, which must not be empty."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step: so that no reader and no interruption leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it private
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
