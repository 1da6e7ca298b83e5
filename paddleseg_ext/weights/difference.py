"""The difference between two sets of tensors, as a table for people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

_ROWS = 8


@dataclass(frozen=True)
class Difference:
    """The differences between the tensors of a checkpoint and the tensors that a model needs."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def without(self, absent: Sequence[str], unused: Sequence[str] = ()) -> "Difference":
        """The rest, without missing tensors that match a pattern of `absent` and unexpected tensors in `unused`."""
        return replace(
            self,
            missing=tuple(n for n in self.missing if not any(fnmatchcase(n, pattern) for pattern in absent)),
            unexpected=tuple(n for n in self.unexpected if n not in unused),
        )

    def table(self) -> str:
        """One aligned line per tensor, at most eight per kind of difference."""
        blocks = [
            [f"  missing    {name}" for name in self.missing],
            [f"  unexpected {name}" for name in self.unexpected],
            [f"  shape      {n}  checkpoint {list(got)}, model {list(need)}" for n, got, need in self.misshapen],
        ]
        shown = []
        for block in blocks:
            shown += block[:_ROWS]
            if len(block) > _ROWS:
                shown.append(f"  … and {len(block) - _ROWS} more like it")
        return "\n".join(shown)
