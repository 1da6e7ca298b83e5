"""The adb client: found, called with deadlines, and not believed.

adb's exit code is 0 when the phone vanishes in the middle of a command (before version 36), when a phone without
shell_v2 runs a command that fails, and when `connect` is refused. So a remote command is believed only if its
output ends with a line this process made up, which carries the exit code.
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

from paddleseg_lite.errors import (
    BrokenTransfer,
    DeviceError,
    DeviceFull,
    DeviceLost,
    DeviceOffline,
    DeviceReadOnly,
    DeviceTimeout,
    NoAdb,
    NoDevice,
    SeveralDevices,
    Unauthorized,
)
from paddleseg_lite.process import Deadline, Finished, run_child

_QUICK_S = 30.0  # what adb answers without moving a file
_WHEEL = "adbutils/binaries/adb"  # relative to a folder of sys.path
_LISTED = re.compile(r"^(?P<serial>\S+)\s+(?P<state>device|offline|unauthorized|authorizing|no permissions|\w+)\b(.*)$")


@dataclass(frozen=True)
class Listed:
    """One line of `adb devices -l`."""

    serial: str
    state: str
    details: str


def find_adb(named: str | None = None) -> str:
    """`named`, `$ADB`, adb on PATH, then the one in the adbutils wheel.

    Raises:
        NoAdb: none of them is there, or the named one is no program.
    """
    for origin, program in (("--adb", named), ("$ADB", os.environ.get("ADB"))):
        if program:
            found = shutil.which(program)
            if not found:
                raise NoAdb(f"{origin} {program}: not a program that can be run")
            return found
    wheels = (Path(folder) / _WHEEL for folder in sys.path if folder)
    found = shutil.which("adb") or next((str(path) for path in wheels if os.access(path, os.X_OK)), None)
    if not found:
        raise NoAdb(
            "adb is neither on PATH nor in the adbutils wheel",
            hint="apt-get install adb, Google's platform-tools, or pip install adbutils; or --adb PATH",
        )
    return found


class Adb:
    """One adb program, for one phone once `choose` has named it. Every call is bounded by a deadline."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.serial: str | None = None

    def start(self, deadline: Deadline) -> str:
        """Start the server, which outlives this process, and return adb's version."""
        version = self._call(["version"], deadline)
        # A call that is killed at its deadline must not take a server it just started along.
        started = self._call(["start-server"], deadline)
        if version.returncode != 0 or started.returncode != 0:
            said = " ".join((version.stderr + started.stderr + started.stdout).split())
            raise NoAdb(f"{self.program} does not start ({started.cause()}): {said[-300:]}")
        named = re.search(r"Version\s+(\S+)", version.stdout)
        return named[1] if named else "unknown"

    def devices(self, deadline: Deadline) -> list[Listed]:
        """What `adb devices -l` lists."""
        lines = self._call(["devices", "-l"], deadline).stdout.splitlines()
        found = (_LISTED.match(line) for line in lines if line.strip() and not line.startswith(("*", "List of")))
        return [Listed(match["serial"], match["state"], match[3].strip()) for match in found if match]

    def choose(self, asked: str | None, deadline: Deadline) -> None:
        """Settle on one phone: `asked`, `$ANDROID_SERIAL`, or the only one there is.

        Raises:
            NoDevice, SeveralDevices, Unauthorized, DeviceOffline: each with what to do about it.
        """
        asked = asked or os.environ.get("ANDROID_SERIAL")
        while True:
            listed = self.devices(deadline)
            found = [one for one in listed if asked in (None, one.serial)]
            if len(found) == 1 and found[0].state == "device":
                self.serial = found[0].serial
                return
            # Just after a start or a cable's return the state says `offline` or `authorizing` for a moment.
            settling = bool(found) and all(one.state in ("offline", "authorizing", "connecting") for one in found)
            if not settling or deadline.left() < 1 or not _sleep(0.5, deadline):
                raise _not_one(asked, found, listed)

    def shell(self, script: str, deadline: Deadline) -> Finished:
        """Run `script` in the phone's shell; stderr comes in stdout on phones older than Android 7.

        Raises:
            DeviceLost: it is not known whether and how the script ended.
            DeviceTimeout: the deadline passed.
        """
        nonce = f"__rc_{secrets.token_hex(8)}"
        wrapped = f"( {script}\n); r=$?; echo; echo {nonce} $r"
        finished = self._call(["-s", self._chosen(), "shell", wrapped], deadline)
        stdout = finished.stdout.replace("\r\n", "\n")
        if finished.timed_out:
            raise DeviceTimeout(
                f"{self.serial}: no answer within {deadline.seconds:g} s",
                hint="a larger --timeout, or look at the phone",
            )
        body, mark, rest = stdout.rpartition(f"\n{nonce} ")
        if not mark or not re.fullmatch(r"\d+\n*", rest):
            # What the command itself printed is no word of adb's.
            raise self.explain(finished, "while a command ran", finished.stderr)
        return Finished(finished.command, int(rest), body, finished.stderr)

    def transfer(self, direction: str, source: str, target: str, deadline: Deadline) -> None:
        """`push` or `pull` one file. That it says so does not mean that the file arrived whole.

        Raises:
            DeviceError: one of its kinds, by what adb said.
        """
        finished = self._call(["-s", self._chosen(), direction, source, target], deadline)
        if finished.timed_out:
            raise DeviceTimeout(f"{self.serial}: {direction} of {source} not done in time", hint="a larger --timeout")
        if finished.returncode != 0:
            words = finished.stderr + " " + finished.stdout[-2000:]
            raise self.explain(finished, f"during the {direction} of {source}", words)

    def reconnect(self, deadline: Deadline) -> None:
        """Ask the server to dial a phone on the network again; one on a cable comes back by itself."""
        if self.serial and ":" in self.serial:
            # While adb still lists it as offline, `connect` says "already connected" and does nothing.
            self._call(["disconnect", self.serial], deadline)
            self._call(["connect", self.serial], deadline)

    def explain(self, finished: Finished, when: str, of_adb: str) -> DeviceError:
        """The kind of error that adb's words, `of_adb`, mean."""
        said = " ".join((finished.stderr + " " + finished.stdout[-2000:]).split())
        for words, kind, hint in _SAID:
            if re.search(words, of_adb, re.IGNORECASE):
                return kind(f"{self.serial}: {when}: {_shorten(said)}", hint=hint)
        said = f": {_shorten(said)}" if said else ""
        return DeviceLost(f"{self.serial}: the connection broke {when}{said}", hint=_CABLE)

    def _chosen(self) -> str:
        if not self.serial:
            raise RuntimeError("no phone is chosen yet")
        return self.serial

    def _call(self, arguments: list[str], deadline: Deadline) -> Finished:
        moves = arguments[2:3] and arguments[2] in ("shell", "push", "pull")
        try:
            return run_child([self.program, *arguments], deadline.left(None if moves else _QUICK_S))
        except OSError as error:
            raise NoAdb(f"{self.program}: {error.strerror}") from error


_CABLE = "look at the cable and the phone, then run again with --resume"
_DIALOG = "unlock the phone and allow USB debugging for this computer in the dialog it shows"
_SAID = (
    (r"no space left|ENOSPC", DeviceFull, "free some space on the phone, or another --remote_dir"),
    (r"read-only file system|permission denied", DeviceReadOnly, "--remote_dir /data/local/tmp/..."),
    (r"unauthorized|still authorizing", Unauthorized, _DIALOG),
    (r"device offline|device still connecting", DeviceOffline, _CABLE),
    (r"more than one device", SeveralDevices, "--serial SERIAL"),
    (r"does not exist|no such file", BrokenTransfer, ""),
)


def _shorten(text: str) -> str:
    return text if len(text) <= 300 else "… " + text[-300:]


def _sleep(seconds: float, deadline: Deadline) -> bool:
    time.sleep(min(seconds, deadline.left()))
    return not deadline.passed()


def _not_one(asked: str | None, found: list[Listed], listed: list[Listed]) -> DeviceError:
    seen = ", ".join(f"{one.serial} ({one.state})" for one in listed) or "none"
    if not found and asked:
        return NoDevice(f"adb sees no phone {asked}; it sees: {seen}", hint="adb devices, and --serial SERIAL")
    if not found:
        return NoDevice(
            "adb sees no phone", hint="plug it in, switch USB debugging on, allow this computer, try another cable"
        )
    if len(found) > 1:
        return SeveralDevices(f"adb sees several phones: {seen}", hint="--serial SERIAL")
    one = found[0]
    if one.state in ("unauthorized", "authorizing"):
        return Unauthorized(f"{one.serial} has not allowed this computer", hint=_DIALOG)
    if one.state == "no permissions":
        return NoDevice(
            f"{one.serial}: no permission to use it ({one.details})",
            hint="apt-get install android-udev-rules; plug again",
        )
    if one.state == "offline":
        return DeviceOffline(
            f"{one.serial} is offline", hint="unplug, unlock the phone, plug in again; adb kill-server"
        )
    return NoDevice(f"{one.serial} is in state `{one.state}`", "a phone that has started Android")
