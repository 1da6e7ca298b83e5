"""How a command line tool ends: a message and a documented exit code, or a traceback only for our own defects."""

import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from paddleseg_ext_runtime.errors import ConfigError, PaddleSegExtError


def run(function: Callable[[], object]) -> int:
    """Calls `function` and returns the exit code of the process.

    0, or the `exit_code` of a `PaddleSegExtError` after printing its message, or 130 after Ctrl-C. With
    PADDLESEG_EXT_DEBUG=1 the traceback is shown as well.
    """
    try:
        function()
    except PaddleSegExtError as error:
        if wants_traceback(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def wants_traceback(error: Exception) -> bool:
    """Whether it helps: always for a defect of ours, else with PADDLESEG_EXT_DEBUG=1."""
    return not hasattr(error, "exit_code") or os.environ.get("PADDLESEG_EXT_DEBUG") == "1"


def writable_dir(path: str | Path) -> Path:
    """`path` as a directory that exists and can be written to. Raises ConfigError otherwise.

    Called before the work starts: an hour of training must not end at the first save.
    """
    path = Path(path)
    probe = path / f".probe-{uuid.uuid4().hex}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"cannot write to {path}: {error.strerror}; choose another --save_dir") from error
    return path
