"""Child processes for native code that may abort: a limit on time, no core dump, and the reason when it fails."""

import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from paddleseg_ext_runtime.errors import ConversionError

_TAIL = 6


def run_child(script: str | Path, arguments: Sequence[str], timeout: float = 900.0) -> str:
    """Runs a Python script with this interpreter and returns its standard output.

    Raises ConversionError with the last lines it wrote when it fails, aborts or takes more than `timeout` seconds.
    """
    command = [sys.executable, str(script), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, preexec_fn=_no_core_dump)
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"{Path(script).name} did not finish within {timeout:g} s") from error
    if done.returncode != 0:
        said = last_lines(done.stdout + done.stderr)
        raise ConversionError(f"{Path(script).name} {how_it_ended(done.returncode)}:\n{said}")
    return done.stdout


def _no_core_dump() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def last_lines(text: str) -> str:
    """The end of what a process said."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-_TAIL:])


def how_it_ended(code: int) -> str:
    """'failed with exit code 3' or 'was ended by SIGSEGV'."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
