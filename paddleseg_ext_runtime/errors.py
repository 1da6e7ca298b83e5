"""Errors a user can cause and mend. Each knows the exit code that the command line tools return for it.

A message says what was got, what was needed and what to try. The tools print it without a traceback
(`paddleseg_ext_runtime.command`); anything that is not one of these is a defect of ours and keeps its traceback.
"""


class PaddleSegExtError(Exception):
    """Base of every error that is reported as a message instead of a traceback."""

    exit_code = 1


class ConfigError(PaddleSegExtError):
    """A yaml, a flag or a path on the command line that cannot be used."""

    exit_code = 2


class NumericError(PaddleSegExtError):
    """Training produced a loss that is not finite."""

    exit_code = 3


class DataError(PaddleSegExtError):
    """An image, a label or a dataset that cannot be used."""

    exit_code = 4


class CheckpointError(PaddleSegExtError):
    """Weights that cannot be read, or that belong to another model."""

    exit_code = 5


class ConversionError(PaddleSegExtError):
    """An export or a conversion that failed, or whose result disagrees with the model."""

    exit_code = 6


class DeviceError(PaddleSegExtError):
    """A device that is missing or that cannot do what was asked."""

    exit_code = 7


class DownloadError(PaddleSegExtError):
    """A file that could not be fetched, or whose checksum is wrong."""

    exit_code = 8


class Stopped(PaddleSegExtError):
    """A run that a signal ended after it saved where it was; the exit code is 128 + the signal's number."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
