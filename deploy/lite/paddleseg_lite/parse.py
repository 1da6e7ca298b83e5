"""Reads numbers and facts from the blocks that benchmark_bin prints. Pure functions.

The tool exits 0 even on missing files, so a run counts only if its `avg` is there: see `LogEntry.complete`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^=+ (?P<name>\w+) Info =+\s*$")
_TIME = re.compile(r"^(?P<name>\w+)\s*= (?P<value>\S+)\s*$")


@dataclass
class LogEntry:
    """One case of a log. Times in ms; `sections` holds every `key: value` line under its section's name.

    `output_mean` and `output_std` are of output 0, in labels if it is an integer tensor.
    """

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    times_ms: dict[str, float] = field(default_factory=dict)

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """Of output 0."""
        parts = self.sections.get("Model", {}).get("output shape(NCHW)", "").split()
        return tuple(map(int, parts)) if parts and all(part.lstrip("-").isdigit() for part in parts) else None

    @property
    def output_mean(self) -> float | None:
        """Of output 0."""
        return self._statistic("mean value")

    @property
    def output_std(self) -> float | None:
        """Of output 0."""
        return self._statistic("standard deviation")

    @property
    def complete(self) -> bool:
        """True if a run was measured: init, first, min, max and avg exist, are finite and above zero."""
        wanted = (self.times_ms.get(name, math.nan) for name in ("init", "first", "min", "max", "avg"))
        return all(math.isfinite(value) and value > 0 for value in wanted)

    def _statistic(self, name: str) -> float | None:
        value = _float(self.sections.get("Model", {}).get(f"output tensor 0 {name}"))
        return None if value is None else decode_label(value)


def decode_label(value: float) -> float:
    """Undo benchmark_bin's reading of int32 labels as float32: 1.18468e-44 becomes 8.454.

    The bits of a small integer n, read as a float, are the denormal n * 2**-149; what is no denormal is
    a true float and comes back unchanged.
    """
    return value * 2.0**149 if abs(value) < 2.0**-126 else value


def parse_log(text: str) -> list[LogEntry]:
    """Every case in `text`, in order; lines of no known form are skipped."""
    entries: list[LogEntry] = []
    section = ""
    for line in text.splitlines():
        if title := _SECTION.match(line):
            section = title["name"]
            if not entries or section in entries[-1].sections:
                entries.append(LogEntry())
            entries[-1].sections[section] = {}
        elif section:
            _take_line(entries[-1], section, line)
    return entries


def _take_line(entry: LogEntry, section: str, line: str) -> None:
    if timed := _TIME.match(line):
        value = _float(timed["value"])
        if value is not None:
            entry.times_ms[timed["name"]] = value
    elif ":" in line and not line.startswith("Time("):
        key, value = line.split(":", 1)
        entry.sections[section].setdefault(key.strip(), value.strip())


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
