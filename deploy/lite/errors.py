"""The failures this tool reports, each with the exit code of its kind.

0 all valid · 2 usage · 4 data (models, input image) · 6 conversion by opt · 7 device or measurement.
"""

from __future__ import annotations


class LiteError(Exception):
    """A failure with a reason a user can act on.

    Args:
        got: what was found, in one sentence.
        need: what would have been right; may be empty.
        hint: what to try; may be empty.
    """

    exit_code = 1

    def __init__(self, got: str, need: str = "", hint: str = "") -> None:
        self.got, self.need, self.hint = got, need, hint
        parts = [got]
        if need:
            parts.append(f"Needed: {need}")
        if hint:
            parts.append(f"Try: {hint}")
        super().__init__("\n  ".join(parts))


class UsageError(LiteError):
    """A flag or a combination of flags that cannot work."""

    exit_code = 2


class DataError(LiteError):
    """A model folder, an input or a stored result that is missing or malformed."""

    exit_code = 4


class ConversionError(LiteError):
    """opt could not turn a model into an .nb file."""

    exit_code = 6


class DeviceError(LiteError):
    """The device is not usable, or the measurement on it failed."""

    exit_code = 7
