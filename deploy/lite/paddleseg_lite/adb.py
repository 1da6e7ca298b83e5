"""Finds the adb program, calls it with deadlines, and does not trust its exit code.

adb's exit code is 0 even if the phone disappears during a command (before version 36), if a command fails on a phone
without shell_v2, and if `connect` is refused. So this module adds a random word and the command's exit code as the
last line of each remote command's output. If this line is missing, the command counts as failed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from paddleseg_lite import errors
from paddleseg_lite.process import Deadline, Finished, run_child

_QUICK_S = 30.0  # for a command that moves no file
_WHEEL = "adbutils/binaries/adb"  # relative to a folder of sys.path
_LISTED = re.compile(r"^(?P<serial>\S+)\s+(?P<state>device|offline|unauthorized|authorizing|no permissions|\w+)\b(.*)$")


@dataclass(frozen=True)
class Listed:
    """One line of `adb devices -l`."""

    serial: str
    state: str
    details: str


def find_adb(named: str | None = None) -> str:
    """The first of: `named`, `$ADB`, adb on PATH, the program in the adbutils wheel.

    Raises:
        NoAdb: none of them exists, or `named` or `$ADB` is not a program.
    """
    for origin, program in (("--adb", named), ("$ADB", os.environ.get("ADB"))):
        if program:
            found = shutil.which(program)
            if not found:
                raise errors.NoAdb(f"{origin} {program}: not a program that can be run")
            return found
    wheels = (Path(folder) / _WHEEL for folder in sys.path if folder)
    found = shutil.which("adb") or next((str(path) for path in wheels if os.access(path, os.X_OK)), None)
    if not found:
        raise errors.NoAdb(
            "adb is neither on PATH nor in the adbutils wheel",
            hint="apt-get install adb, Google's platform-tools, or pip install adbutils; or --adb PATH",
        )
    return found


class Adb:
    """One adb program, used for one phone after `choose`. Every call has a deadline."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.serial = ""

    def start(self, deadline: Deadline) -> str:
        """Start adb's server, which keeps running after this process, and return adb's version."""
        version = self._call(["version"], deadline)
        # Started by its own call: otherwise a later call that is killed at its deadline could kill the server too.
        started = self._call(["start-server"], deadline)
        if version.returncode != 0 or started.returncode != 0:
            message = " ".join((version.stderr + started.stderr + started.stdout).split())
            raise errors.NoAdb(f"{self.program} does not start ({started.cause()}): {message[-300:]}")
        named = re.search(r"Version\s+(\S+)", version.stdout)
        return named[1] if named else "unknown"

    def devices(self, deadline: Deadline) -> list[Listed]:
        """The phones that `adb devices -l` lists."""
        lines = self._call(["devices", "-l"], deadline).stdout.splitlines()
        found = (_LISTED.match(line) for line in lines if line.strip() and not line.startswith(("*", "List of")))
        return [Listed(match["serial"], match["state"], match[3].strip()) for match in found if match]

    def choose(self, asked: str | None, deadline: Deadline) -> None:
        """Choose one phone: `asked`, `$ANDROID_SERIAL`, or the only one connected.

        Raises:
            NoDevice, SeveralDevices, Unauthorized, DeviceOffline: the message says what to do.
        """
        asked = asked or os.environ.get("ANDROID_SERIAL")
        while True:
            listed = self.devices(deadline)
            found = [one for one in listed if asked in (None, one.serial)]
            if len(found) == 1 and found[0].state == "device":
                self.serial = found[0].serial
                return
            # For a moment after adb starts or the cable is plugged in, the state is `offline` or `authorizing`.
            settling = bool(found) and all(one.state in ("offline", "authorizing", "connecting") for one in found)
            if not settling or deadline.seconds_left() < 1:
                raise _not_one(asked, found, listed)
            time.sleep(0.5)

    def shell(self, script: str, deadline: Deadline) -> Finished:
        """Run `script` in the phone's shell; on phones older than Android 7 stdout contains stderr.

        Raises:
            DeviceLost: whether and how the script ended is unknown.
            DeviceTimeout: the deadline passed.
        """
        nonce = f"__rc_{secrets.token_hex(8)}"
        wrapped = f"( {script}\n); r=$?; echo; echo {nonce} $r"
        finished = self._call(["-s", self.serial, "shell", wrapped], deadline)
        stdout = finished.stdout.replace("\r\n", "\n")
        if finished.timed_out:
            raise errors.DeviceTimeout(
                f"{self.serial}: no answer within {deadline.seconds:g} s",
                hint="a larger --timeout, or look at the phone",
            )
        body, mark, rest = stdout.rpartition(f"\n{nonce} ")
        if not mark or not re.fullmatch(r"\d+\n*", rest):
            # Only stderr: stdout is the command's own output, not adb's.
            raise self.explain(finished, "while a command ran", finished.stderr)
        return Finished(int(rest), body, finished.stderr)

    def transfer(self, direction: str, source: str, target: str, deadline: Deadline) -> None:
        """`push` or `pull` one file. The caller must check that the whole file arrived.

        Raises:
            DeviceError: the subclass that fits adb's message.
        """
        finished = self._call(["-s", self.serial, direction, source, target], deadline)
        if finished.timed_out:
            raise errors.DeviceTimeout(
                f"{self.serial}: {direction} of {source} not done in time", hint="a larger --timeout"
            )
        if finished.returncode != 0:
            words = finished.stderr + " " + finished.stdout[-2000:]
            raise self.explain(finished, f"during the {direction} of {source}", words)

    def reconnect(self, deadline: Deadline) -> None:
        """Connect to a phone on the network again; a phone on a cable reconnects by itself."""
        if self.serial and ":" in self.serial:
            # While adb still lists it as offline, `connect` says "already connected" and does nothing.
            self._call(["disconnect", self.serial], deadline)
            self._call(["connect", self.serial], deadline)

    def explain(self, finished: Finished, when: str, of_adb: str) -> errors.DeviceError:
        """The error that fits adb's own output, `of_adb`."""
        message = " ".join((finished.stderr + " " + finished.stdout[-2000:]).split())
        for words, kind, hint in _ERRORS:
            if re.search(words, of_adb, re.IGNORECASE):
                return kind(f"{self.serial}: {when}: {_shorten(message)}", hint=hint)
        reason = f": {_shorten(message)}" if message else ""
        return errors.DeviceLost(f"{self.serial}: the connection broke {when}{reason}", hint=_CABLE)

    def _call(self, arguments: list[str], deadline: Deadline) -> Finished:
        moves = arguments[2:3] and arguments[2] in ("shell", "push", "pull")
        try:
            return run_child([self.program, *arguments], deadline.seconds_left(None if moves else _QUICK_S))
        except OSError as error:
            raise errors.NoAdb(f"{self.program}: {error.strerror}") from error


_CABLE = "look at the cable and the phone, then run again with --resume"
_DIALOG = "unlock the phone and allow USB debugging for this computer in the dialog it shows"
_ERRORS = (  # pattern in adb's output, error, hint
    (r"no space left|ENOSPC", errors.DeviceFull, "free some space on the phone, or another --remote_dir"),
    (r"read-only file system|permission denied", errors.DeviceReadOnly, "--remote_dir /data/local/tmp/..."),
    (r"unauthorized|still authorizing", errors.Unauthorized, _DIALOG),
    (r"device offline|device still connecting", errors.DeviceOffline, _CABLE),
    (r"more than one device", errors.SeveralDevices, "--serial SERIAL"),
    (r"does not exist|no such file", errors.BrokenTransfer, ""),
)


def _shorten(text: str) -> str:
    return text if len(text) <= 300 else "… " + text[-300:]


def _not_one(asked: str | None, found: list[Listed], listed: list[Listed]) -> errors.DeviceError:
    seen = ", ".join(f"{one.serial} ({one.state})" for one in listed) or "none"
    if not found and asked:
        return errors.NoDevice(f"adb sees no phone {asked}; it sees: {seen}", hint="adb devices, and --serial SERIAL")
    if not found:
        return errors.NoDevice(
            "adb sees no phone", hint="plug it in, switch USB debugging on, allow this computer, try another cable"
        )
    if len(found) > 1:
        return errors.SeveralDevices(f"adb sees several phones: {seen}", hint="--serial SERIAL")
    one = found[0]
    if one.state in ("unauthorized", "authorizing"):
        return errors.Unauthorized(f"{one.serial} has not allowed this computer", hint=_DIALOG)
    if one.state == "no permissions":
        return errors.NoDevice(
            f"{one.serial}: no permission to use it ({one.details})",
            hint="apt-get install android-udev-rules; plug again",
        )
    if one.state == "offline":
        return errors.DeviceOffline(
            f"{one.serial} is offline", hint="unplug, unlock the phone, plug in again; adb kill-server"
        )
    return errors.NoDevice(f"{one.serial} is in state `{one.state}`", "a phone that has started Android")
