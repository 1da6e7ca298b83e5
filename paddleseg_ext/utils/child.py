"""Child processes for native code that may abort: a limit on time, no core dump, and the reason when it fails."""

import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from paddleseg_ext.errors import ConversionError

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
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-_TAIL:]
        raise ConversionError(f"{Path(script).name} {_how_it_ended(done.returncode)}:\n" + "\n".join(lines))
    return done.stdout


def _no_core_dump() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
