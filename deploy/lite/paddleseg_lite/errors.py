"""The failures this tool reports, each with the exit code of its kind.

0 all valid · 2 usage · 4 data (models, input image) · 6 conversion by opt · 7 device or measurement.
Every message and the report contain the class's name, so that a script can tell failures apart.
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
        # The output of a broken link or program may hold any bytes, and is shown in terminals, CSV and HTML.
        got = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in got)
        self.got, self.need, self.hint = got, need, hint
        lines = (got, need and f"Needed: {need}", hint and f"Try: {hint}")
        super().__init__("\n  ".join(filter(None, lines)))

    @property
    def kind(self) -> str:
        """The name of the class."""
        return type(self).__name__


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
    """The device is not usable, or the measurement on it failed. Doing the same again would fail again."""

    exit_code = 7


class NoAdb(DeviceError):
    """There is no adb program, or it does not run."""


class NoDevice(DeviceError):
    """adb sees no phone, or not the one asked for."""


class SeveralDevices(DeviceError):
    """adb sees more than one phone and none was named."""


class Unauthorized(DeviceError):
    """The phone has not allowed this computer."""


class DeviceFull(DeviceError):
    """No space left on the phone."""


class DeviceReadOnly(DeviceError):
    """The phone does not let us write where we want to."""


class RunnerFailed(DeviceError):
    """benchmark_bin or the runtime crashed or refused what it was given."""


class MissingLibrary(RunnerFailed):
    """The phone lacks a shared library that benchmark_bin needs."""


class WrongAbi(RunnerFailed):
    """benchmark_bin was built for another processor."""


class BadOutput(RunnerFailed):
    """The program exited with code 0, but its output is not a measurement."""


class TransientError(DeviceError):
    """A failure that may not happen again: the step is retried, a limited number of times."""


class DeviceOffline(TransientError):
    """adb lists the phone, but the phone does not answer."""


class DeviceLost(TransientError):
    """The connection broke during a command or a transfer."""


class DeviceTimeout(TransientError):
    """The device did not answer before the deadline."""


class BrokenTransfer(TransientError):
    """The size or hash of a file changed during its transfer."""
