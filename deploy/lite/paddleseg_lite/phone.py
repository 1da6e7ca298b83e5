"""An Android phone over adb as a device.

A file's name on the phone is made from its content, so that a second session finds it there. A file gets its final
name only after its size and hash were read back from the phone.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import secrets
import shlex
import time
from pathlib import Path

from paddleseg_lite.adb import Adb
from paddleseg_lite.device import Device, State, find_mask
from paddleseg_lite.errors import (
    BrokenTransfer,
    DeviceError,
    DeviceFull,
    DeviceReadOnly,
    LiteError,
    TransientError,
    UsageError,
)
from paddleseg_lite.process import Deadline, Finished
from paddleseg_lite.vitals import INFO_SCRIPT, STATE_SCRIPT, highest_frequencies, parse_info, parse_state

_TARGETS = {"arm64-v8a": "arm", "armeabi-v7a": "arm", "x86_64": "x86", "x86": "x86"}
_STEP_S = 60.0  # for a short script
# The first program that the phone has is used; old phones have md5sum only.
_HASHES = (("sha256sum", "sha256"), ("sha1sum", "sha1"), ("md5sum", "md5"))
DEFAULT_DIR = "/data/local/tmp/paddleseg_lite"


class AdbDevice(Device):
    """One phone. `timeout_s` limits the steps outside of rounds: connecting, reading facts and state."""

    name = "adb"

    def __init__(self, adb: Adb, serial: str | None, remote_dir: str, timeout_s: float) -> None:
        """Connect to the phone. Raises DeviceError with the reason if this fails."""
        if not posixpath.isabs(remote_dir) or posixpath.normpath(remote_dir).count("/") < 2:
            raise UsageError(f"--remote_dir {remote_dir}", f"a folder of its own, such as {DEFAULT_DIR}")
        self.adb, self.remote_dir, self.timeout_s = adb, posixpath.normpath(remote_dir), timeout_s
        deadline = Deadline(timeout_s)
        self.adb_version = adb.start(deadline)
        adb.choose(serial, deadline)
        text = self._retrying(lambda: self._look(INFO_SCRIPT, deadline), deadline)
        self._facts, self._frequencies = parse_info(text), highest_frequencies(text)
        abi = self._facts.get("ABI", "")
        if abi not in _TARGETS:
            raise DeviceError(f"{adb.serial}: its ABI is {abi or 'unknown'}", " or ".join(_TARGETS))
        self.target = _TARGETS[abi]
        self.identity = f"{adb.serial} {self._facts.get('Brand', '')} {self._facts.get('Model', '')}"
        self._hash = self._retrying(lambda: self._prepare(deadline), deadline)

    def info(self) -> dict[str, str]:
        """Brand, Device, Model, Android Version and API Level first, as benchmark_bin prints them."""
        return {**self._facts, "Serial": self.adb.serial, "adb": self.adb_version}

    def state(self, deadline: Deadline | None = None) -> State:
        """See `Device.state`; one script."""
        deadline = deadline or Deadline(min(self.timeout_s, _STEP_S))
        return parse_state(self._retrying(lambda: self._look(STATE_SCRIPT, deadline), deadline))

    def push(self, local: Path, deadline: Deadline, name: str = "", executable: bool = False) -> str:
        """See `Device.push`. Without `name`, the start of the file's SHA-256 is its name."""
        content = local.read_bytes()
        remote = f"{self.remote_dir}/{name or hashlib.sha256(content).hexdigest()[:16] + local.suffix}"
        wanted = self._fingerprint_of(content)
        folder = shlex.quote(posixpath.dirname(remote))
        self._ask(f"mkdir -p {folder}", deadline, f"cannot make {posixpath.dirname(remote)}")
        if self._fingerprint(remote, deadline) != wanted:
            self._push(local, remote, wanted, deadline)
        mode = "755" if executable else "644"
        self._ask(f"chmod {mode} {shlex.quote(remote)}", deadline, f"cannot change {remote}")
        return remote

    def _push(self, local: Path, remote: str, wanted: tuple[int, str], deadline: Deadline) -> None:
        temporary = f"{remote}.part-{secrets.token_hex(4)}"
        try:
            self.adb.transfer("push", str(local), temporary, deadline)
            arrived = self._fingerprint(temporary, deadline)
            if arrived != wanted:
                raise _not_whole(local, arrived, wanted)
            moved = f"mv -f {shlex.quote(temporary)} {shlex.quote(remote)}"
            self._ask(moved, deadline, f"cannot rename {temporary}")
        except BaseException:
            self._quietly_remove(temporary)
            raise

    def pull(self, remote: str, local: Path, deadline: Deadline) -> None:
        """See `Device.pull`; the local file appears only if its hash equals the phone's."""
        wanted = self._fingerprint(remote, deadline)
        temporary = local.with_name(f".{local.name}-{secrets.token_hex(4)}")
        try:
            self.adb.transfer("pull", remote, str(temporary), deadline)
            arrived = self._fingerprint_of(temporary.read_bytes()) if temporary.is_file() else None
            if arrived is None or arrived != wanted:
                raise _not_whole(remote, arrived, wanted)
            os.replace(temporary, local)
        finally:
            if temporary.exists():
                temporary.unlink()

    def run(self, command: list[str], deadline: Deadline, cwd: str = "", env: dict[str, str] | None = None) -> Finished:
        """See `Device.run`. The process id is written to a file, so that a program that hangs can be killed.

        After a lost connection the old program keeps running on the phone and would slow the next measurement, so it is
        killed first.
        """
        mark = f"{self.remote_dir}/.pid-{secrets.token_hex(4)}"
        where = f"cd {shlex.quote(cwd)} || exit 125\n" if cwd else ""
        given = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in (env or {}).items())
        words = " ".join(shlex.quote(word) for word in command)
        # `sh -c` because mksh has no process id of its own in a subshell: `$$` there is its parent's.
        inner = f"{where}{given}echo $$ > {mark}\nexec {words}"
        try:
            ended = self._end_script()
            return self.adb.shell(f"{ended}\nsh -c {shlex.quote(inner)}; r=$?; rm -f {mark}; exit $r", deadline)
        except (TransientError, KeyboardInterrupt, SystemExit):
            self._quietly(self._end_script())
            raise

    def _end_script(self) -> str:
        """Kills programs of this folder that still run; checks the command line, as process ids are used again."""
        is_ours = f"grep -q {shlex.quote(self.remote_dir)} /proc/$p/cmdline"
        each = f"p=$(cat $f) && {is_ours} && kill -9 $p; rm -f $f"
        return f"for f in {self.remote_dir}/.pid-*; do {each}; done 2>/dev/null"

    def remove(self, remote: str) -> None:
        """See `Device.remove`; never anything outside `remote_dir`."""
        if not posixpath.normpath(remote).startswith(self.remote_dir + "/"):
            raise ValueError(f"{remote} is not in {self.remote_dir}")
        self._quietly_remove(remote)

    def workplace(self) -> str:
        """See `Device.workplace`."""
        return self.remote_dir

    def alive(self, timeout_s: float) -> bool:
        """See `Device.alive`; reconnects a phone on the network."""
        deadline = Deadline(timeout_s)
        while True:
            try:
                self.adb.choose(self.adb.serial, deadline)
                self.adb.shell("true", Deadline(deadline.seconds_left(5)))
                return True
            except DeviceError:
                if deadline.passed():
                    return False
                self.adb.reconnect(Deadline(deadline.seconds_left(5)))
                time.sleep(deadline.seconds_left(0.5))

    def affinity_mask(self, asked: str) -> int:
        """See `Device.affinity_mask`."""
        return find_mask(asked, self._frequencies)

    def bound_cores(self, power_mode: int, affinity: str) -> int | None:
        """See `Device.bound_cores`."""
        asked = affinity or {0: "big", 1: "little"}.get(power_mode, "")
        mask = find_mask(asked, self._frequencies) if self._frequencies else 0
        return bin(mask).count("1") or None

    def _look(self, script: str, deadline: Deadline) -> str:
        """stdout of a script whose commands may fail; raises an error if stdout is incomplete."""
        return self.adb.shell(f"exec 2>/dev/null\n{script}", Deadline(deadline.seconds_left(_STEP_S))).stdout

    def _ask(self, script: str, deadline: Deadline, complaint: str) -> str:
        """stdout of a script that must succeed."""
        done = self.adb.shell(script, Deadline(deadline.seconds_left(_STEP_S)))
        if done.returncode != 0:
            raise _refused(f"{self.adb.serial}: {complaint}", done)
        return done.stdout

    def _prepare(self, deadline: Deadline) -> tuple[str, str]:
        """Make the folder; returns the phone's hash program and hashlib's name for its hash."""
        made = f"cannot make {self.remote_dir} or write there"
        self._ask(f"mkdir -p {shlex.quote(self.remote_dir)} && cd {shlex.quote(self.remote_dir)} && "
                  "echo 1 > .writable && rm .writable", deadline, made)  # fmt: skip
        tries = "; ".join(f"echo a | {program} >/dev/null 2>&1 && echo {program}" for program, _ in _HASHES)
        found = self._ask(f"{tries}; true", deadline, "has no shell").split()
        known = next((pair for pair in _HASHES if pair[0] in found), None)
        if known is None:
            names = ", ".join(program for program, _ in _HASHES)
            raise DeviceError(f"{self.adb.serial}: has none of {names}, so no file can be verified there")
        return known

    def _fingerprint(self, remote: str, deadline: Deadline) -> tuple[int, str] | None:
        """Size and hash of a file on the phone, None if it does not exist."""
        name = shlex.quote(remote)
        done = self.adb.shell(
            f"[ -f {name} ] || exit 44\nwc -c < {name} && {self._hash[0]} < {name}", Deadline(deadline.seconds_left())
        )
        if done.returncode == 44:
            return None
        words = done.stdout.split()
        if done.returncode != 0 or len(words) < 2 or not words[0].isdigit():
            raise _refused(f"{self.adb.serial}: cannot read {remote}", done)
        return int(words[0]), words[1]

    def _fingerprint_of(self, content: bytes) -> tuple[int, str]:
        return len(content), hashlib.new(self._hash[1], content, usedforsecurity=False).hexdigest()

    def _quietly_remove(self, remote: str) -> None:
        self._quietly(f"rm -f {shlex.quote(remote)}")

    def _quietly(self, script: str) -> None:
        """Clean up if the phone still answers; ignore errors, since the caller reports an earlier one."""
        try:
            self.adb.shell(script, Deadline(0.9))
        except LiteError:
            return

    def _retrying(self, step, deadline: Deadline):
        """Try a step that changes nothing up to three times, within `deadline`."""
        for _ in range(2):
            try:
                return step()
            except TransientError:
                if not self.alive(deadline.seconds_left(2)) or deadline.passed():
                    raise
        return step()


def _refused(complaint: str, done: Finished) -> DeviceError:
    message = " ".join((done.stderr + " " + done.stdout).split())[-300:]
    lower = message.lower()
    if "no space left" in lower:
        return DeviceFull(f"{complaint}: {message}", hint="free some space on the phone, or another --remote_dir")
    if "read-only" in lower or "permission denied" in lower or "not permitted" in lower:
        return DeviceReadOnly(f"{complaint}: {message}", hint=f"--remote_dir {DEFAULT_DIR}")
    return DeviceError(f"{complaint} ({done.cause()}): {message}")


def _not_whole(what: object, arrived: object, wanted: object) -> BrokenTransfer:
    return BrokenTransfer(f"{what}: arrived as {arrived}, left as {wanted} (bytes, hash)", hint="another cable or port")
