"""Guessing what was meant by a name that does not exist."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely a slip for, or None."""
    matches = difflib.get_close_matches(name, [str(item) for item in known], n=1, cutoff=0.6)
    return matches[0] if matches else None


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the nearest known name, the known names if they are few, or nothing."""
    known = [str(item) for item in known]
    match = closest(name, known)
    if match is not None:
        return f"; did you mean {match}?"
    return f"; known: {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
