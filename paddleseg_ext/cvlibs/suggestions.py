"""Guessing what was meant by a name that does not exist."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the nearest known name, the known names if they are few, or nothing."""
    known = [str(item) for item in known]
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if matches:
        return f"; did you mean {matches[0]}?"
    return f"; known: {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
