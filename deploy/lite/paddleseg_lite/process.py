"""Child processes with a deadline.

opt and the runtime abort (SIGABRT) on bad input instead of raising, and adb can wait for ever. Each of them therefore
runs as a child process in its own session, and the whole session is killed when the deadline passes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Finished:
    """The result of a child process. `returncode` is negative for a signal, None if it was killed at the deadline."""

    returncode: int | None
    stdout: str
    stderr: str

    @property
    def timed_out(self) -> bool:
        """True when the deadline passed before the child ended."""
        return self.returncode is None

    def cause(self) -> str:
        """How it ended, in words: `exit code 3`, `signal SIGABRT` or `no answer before the deadline`."""
        if self.returncode is None:
            return "no answer before the deadline"
        # A shell reports a child's signal n as 128 + n.
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        if number <= 0:
            return f"exit code {self.returncode}"
        try:
            return f"signal {signal.Signals(number).name}"
        except ValueError:
            return f"exit code {self.returncode}"


class Deadline:
    """A budget of seconds that several steps share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def seconds_left(self, most: float | None = None) -> float:
        """At most `most`, and never below 0.05 s, so that a call without time left still raises its timeout error."""
        seconds_left = max(self._end - time.monotonic(), 0.05)
        return seconds_left if most is None else min(seconds_left, most)

    def pause(self, step: Callable[[], T]) -> T:
        """Call `step` and return its result; its time is not counted."""
        start = time.monotonic()
        result = step()
        self._end += time.monotonic() - start
        return result

    def passed(self) -> bool:
        """True when no time is left."""
        return time.monotonic() >= self._end


def run_child(command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None) -> Finished:
    """Run `command` and wait at most `timeout_s` seconds; `env` is added to this process's environment.

    Raises:
        OSError: the program cannot be started.
    """
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        preexec_fn=_no_core_file,  # this process has no other threads
    )
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
        returncode: int | None = child.returncode
    except subprocess.TimeoutExpired:
        stdout, stderr = _kill_group(child)
        returncode = None
    except BaseException:
        _kill_group(child)
        raise
    return Finished(returncode, _text(stdout), _text(stderr))


def last_words(stderr: str) -> str:
    """The last fatal line of Paddle-Lite's log, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("[F ")]
    return (fatal or lines or ["it said nothing"])[-1]


def _no_core_file() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _kill_group(child: subprocess.Popen) -> tuple[bytes, bytes]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        return child.communicate(timeout=5)
    except subprocess.TimeoutExpired:  # a grandchild in yet another session still holds the pipes
        return b"", b""


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", errors="replace")
