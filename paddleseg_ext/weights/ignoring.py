"""Names a user says may differ between a checkpoint and the network (`--ignore`)."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase

from paddleseg_ext_runtime.errors import ConfigError


class Ignored:
    """Patterns of names, as of files; each has to match something before `check` is called."""

    def __init__(self, patterns: Sequence[str] = ()):
        self.patterns = tuple(patterns)
        self._useful: set[str] = set()
        self._seen: dict[str, None] = {}

    def among(self, names: Iterable[str], prefix: str = "") -> set[str]:
        """Those of `names` that a pattern matches, with `prefix` before them or without."""
        found = set()
        for name in names:
            self._seen[prefix + name] = None
            matching = [one for one in self.patterns if fnmatchcase(name, one) or fnmatchcase(prefix + name, one)]
            self._useful.update(matching)
            if matching:
                found.add(name)
        return found

    def check(self) -> None:
        """Raises ConfigError, with the nearest names, for a pattern that matched nothing: it would hide a slip."""
        for pattern in self.patterns:
            if pattern not in self._useful:
                near = difflib.get_close_matches(pattern, self._seen, n=3, cutoff=0.3)
                hint = f"the nearest are {', '.join(near)}" if near else "none is named like it"
                hint = hint if self._seen else "no weights were loaded: the config gives no pretrained"
                raise ConfigError(f"--ignore {pattern} matches no tensor; {hint}")


_current: ContextVar[Ignored | None] = ContextVar("ignored", default=None)


def currently_ignored() -> Ignored:
    """What `ignoring` set around this call; nothing outside of it."""
    return _current.get() or Ignored()


@contextmanager
def ignoring(patterns: Sequence[str]) -> Iterator[None]:
    """Lets the networks built inside leave out what matches `patterns` when they load their `pretrained` weights.

    Networks load those in their constructors, at PaddleSeg's arguments, which have no room for the patterns.
    Raises ConfigError at the end for a pattern that matched nothing.
    """
    ignored = Ignored(patterns)
    token = _current.set(ignored)
    try:
        yield
    finally:
        _current.reset(token)
    ignored.check()
