"""Patterns of tensor names that may differ between a checkpoint and the network (`--ignore`)."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase

from paddleseg_ext_runtime.errors import ConfigError


class Ignored:
    """Patterns in the form of file name patterns; each must match a name before `check` is called."""

    def __init__(self, patterns: Sequence[str] = ()):
        self.patterns = tuple(patterns)
        self._useful: set[str] = set()
        self._seen: dict[str, None] = {}

    def among(self, names: Iterable[str], prefix: str = "") -> set[str]:
        """The names that a pattern matches, with or without `prefix` before them."""
        matched = set()
        for name in names:
            self._seen[prefix + name] = None
            matching = [p for p in self.patterns if fnmatchcase(name, p) or fnmatchcase(prefix + name, p)]
            self._useful.update(matching)
            if matching:
                matched.add(name)
        return matched

    def check(self) -> None:
        """Raises ConfigError, with the nearest names, for a pattern that matched nothing: it may be mistyped."""
        for pattern in self.patterns:
            if pattern not in self._useful:
                near = difflib.get_close_matches(pattern, self._seen, n=3, cutoff=0.3)
                hint = f"the nearest are {', '.join(near)}" if near else "no tensor has a similar name"
                hint = hint if self._seen else "no weights were loaded: the config gives no pretrained"
                raise ConfigError(f"--ignore {pattern} matches no tensor; {hint}")


_current: ContextVar[Ignored | None] = ContextVar("ignored", default=None)


def currently_ignored() -> Ignored:
    """The patterns of the `ignoring` block around this call; no patterns outside of one."""
    return _current.get() or Ignored()


@contextmanager
def ignoring(patterns: Sequence[str]) -> Iterator[None]:
    """Networks built inside the block ignore names that match `patterns` when they load their `pretrained` weights.

    Constructors load these weights, and PaddleSeg's signatures cannot take patterns, so a context variable holds them.
    Raises ConfigError at the end for a pattern that matched nothing.
    """
    ignored = Ignored(patterns)
    token = _current.set(ignored)
    try:
        yield
    finally:
        _current.reset(token)
    ignored.check()
