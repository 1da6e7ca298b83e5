"""Suggests known names for an unknown name."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely misspells, or None."""
    matches = difflib.get_close_matches(name, [str(item) for item in known], n=1, cutoff=0.6)
    return matches[0] if matches else None


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message: '; did you mean X?', or all known names if they are at most 20, or nothing."""
    known = [str(item) for item in known]
    match = closest(name, known)
    if match is not None:
        return f"; did you mean {match}?"
    return f"; known: {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
