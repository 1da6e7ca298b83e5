"""Whatever goes wrong between here and the phone: the right class of error, and never a number that was not measured.

Every fault is met in the middle of a session that resumes an earlier one, whose results must stay as they are.
`make test` meets most faults with one version of adb, in turns; `make system` all of them with both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from deploy_lite.bench import plugged

from paddleseg_lite.result import Result

LITE = Path(__file__).resolve().parents[2] / "deploy" / "lite"
ADB_NAMES = ("adb29", "adb36")
SLACK_S = 25  # against a busy machine; a hang lasts 120 s or for ever
DEAD_MODEL = b"\x02\x00v2.13-rc" + bytes(500)
ARM_PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (183).to_bytes(2, "little") + bytes(100)


@dataclass
class Meets:
    """A fault and what it must lead to. `arm` faults act on the phone's link, `misbehave` in benchmark_bin.

    `error` may name several classes: adb may or may not have noticed yet that a lost phone is offline. An empty one
    means a valid result, `invalid` one that is kept and not believed. The `rare` ones are met by `make system` only.
    """

    name: str
    error: str
    arm: tuple = ()
    misbehave: str = ""
    phone: dict = field(default_factory=dict)
    flags: tuple = ()
    timeout_s: int = 20
    plugged: bool = True
    rare: bool = False


LOST = "DeviceLost|DeviceOffline"
FAULTS = [
    Meets("no device", "NoDevice", plugged=False, flags=()),
    Meets("another serial", "NoDevice", flags=("--serial", "0123456789")),
    Meets("unauthorized", "Unauthorized", phone={"greeting": "unauthorized"}, timeout_s=4),
    Meets("offline", "DeviceOffline", phone={"greeting": "offline"}, timeout_s=3),
    Meets("no adb", "NoAdb", flags=("--adb", "/nonexistent/adb")),
    Meets("an adb that does not start", "NoAdb", flags=("--adb", "/bin/false")),
    Meets("unknown ABI", "DeviceError", phone={"ro_product_cpu_abi": "mips"}),
    Meets("link lost while asking what it is", LOST, arm=("drop", "getprop")),
    Meets("hang while asking what it is", "DeviceTimeout", arm=("hang", "getprop"), timeout_s=3),
    Meets("hang while asking how it is", "DeviceTimeout", arm=("hang", "dumpsys"), timeout_s=3, rare=True),
    Meets("services refused", "DeviceLost", arm=("refuse", ""), rare=True),
    Meets("read-only folder", "DeviceReadOnly", misbehave="mkdir: Read-only file system"),
    Meets("no space for a folder", "DeviceFull", misbehave="mkdir: No space left on device", rare=True),
    Meets("link lost during the push", LOST, arm=("push_drop", ""), rare=True),
    Meets("unplugged during the push", LOST, arm=("push_vanish", ""), rare=True),
    Meets("full during the push", "DeviceFull", arm=("push_full", "")),
    Meets("read-only during the push", "DeviceReadOnly", arm=("push_readonly", ""), rare=True),
    Meets("half of the push arrives", "BrokenTransfer", arm=("push_short", ""), rare=True),
    Meets("one byte of the push arrives changed", "BrokenTransfer", arm=("push_flip", "")),
    Meets("hang during the push", "DeviceTimeout", arm=("push_hang", ""), timeout_s=4),
    Meets("link lost during the run", LOST, arm=("drop", "--repeats")),
    Meets("link lost after the run", LOST, arm=("drop_late", "--repeats"), rare=True),
    Meets("unplugged during the run", LOST, arm=("vanish", "--repeats")),
    Meets("exit code lost", "DeviceLost", arm=("no_exit", "--repeats")),
    Meets("half of the output", "DeviceLost", arm=("truncated", "--repeats"), rare=True),
    Meets("other bytes than the output", "DeviceLost", arm=("garbage", "--repeats")),
    Meets("hang of the link during the run", "DeviceTimeout", arm=("hang", "--repeats"), timeout_s=4, rare=True),
    Meets("daemon restarts during the run", "", arm=("restart", "--repeats", 1), timeout_s=60),
    Meets("link lost once during the run", "", arm=("drop", "--repeats", 1), rare=True),
    Meets("link lost during the pull", LOST, arm=("pull_drop", ""), rare=True),
    Meets("unplugged during the pull", LOST, arm=("pull_vanish", ""), rare=True),
    Meets("half of the pull arrives", "BrokenTransfer", arm=("pull_short", ""), rare=True),
    Meets("one byte of the pull arrives changed", "BrokenTransfer", arm=("pull_flip", ""), rare=True),
    Meets("one byte changed once", "", arm=("pull_flip", "", 1)),
    Meets("hang during the pull", "DeviceTimeout", arm=("pull_hang", ""), timeout_s=4, rare=True),
    Meets("output not readable", "DeviceReadOnly", arm=("pull_readonly", ""), rare=True),
    Meets("benchmark_bin hangs", "DeviceTimeout", misbehave="hang", timeout_s=4),
    Meets("benchmark_bin crashes", "RunnerFailed", misbehave="crash"),
    Meets("library missing", "MissingLibrary", misbehave="library"),
    Meets("benchmark_bin of another ABI", "WrongAbi", misbehave="abi"),
    Meets("broken model", "RunnerFailed", misbehave="model"),
    Meets("garbage from benchmark_bin", "BadOutput", misbehave="garbage"),
    Meets("silence and exit code 0", "BadOutput", misbehave="silent", rare=True),
    Meets("usage and exit code 0", "BadOutput", misbehave="usage", rare=True),
    Meets("no times and exit code 0", "BadOutput", misbehave="perf"),
    Meets("average not a number", "BadOutput", misbehave="nan", rare=True),
    Meets("input unread and exit code 0", "BadOutput", misbehave="input", rare=True),
    Meets("other repeats than asked for", "BadOutput", misbehave="repeats", rare=True),
    Meets("throttled while it runs", "invalid", misbehave="heat"),
    Meets("hot from the start", "invalid", misbehave="hot", rare=True),
    Meets("old phone", "", phone={"features": "cmd"}),
    Meets("old phone, crash", "RunnerFailed", phone={"features": "cmd"}, misbehave="crash", rare=True),
    Meets("old phone, code lost", "DeviceLost", phone={"features": "cmd"}, arm=("no_exit", "--repeats"), rare=True),
]  # fmt: skip


def pairs():
    for number, meets in enumerate(FAULTS):
        for turn, adb in enumerate(ADB_NAMES):
            marks = [] if turn == number % 2 and not meets.rare else [pytest.mark.system]
            yield pytest.param(adb, meets, id=f"{meets.name}-{adb}", marks=marks)


@pytest.fixture(scope="module")
def earlier(servers, benchmark_bin, image, ready_nb, tmp_path_factory):
    """By adb: a folder in which `earlier.nb` was measured on the phone of that serial."""
    made: dict[str, Path] = {}

    def measured(name, plug, server) -> Path:
        if name not in made:
            folder = made[name] = tmp_path_factory.mktemp(f"earlier_{name}")
            (folder / "models").mkdir()
            shutil.copy(ready_nb, folder / "models" / "earlier.nb")
            phone = plug()
            done = measure(server, folder, benchmark_bin, image, 60, "--serial", phone.serial)
            assert done.returncode == 0, done.stdout + done.stderr
            phone.stop()
            server.adb("disconnect", phone.serial)
        return made[name]

    return measured


def measure(server, folder, benchmark_bin, image, timeout_s, *flags) -> subprocess.CompletedProcess:
    command = [sys.executable, "-S", LITE / "benchmark.py", "--benchmark_bin", benchmark_bin, "--input", image]
    command += ["--models_dir", folder / "models", "--result_file", folder / "r.txt", "--timeout", timeout_s]
    command += ["--input_shape", 1, 3, 16, 24, "--warmup", 0, "--repeats", 2, "--rounds", 1, "--cool_down", 0]
    command += ["--reconnect", timeout_s / 4, "--resume", *flags]
    return subprocess.run(list(map(str, command)), env=server.env, capture_output=True, text=True, timeout=110)


def sabotage(phone, meets: Meets, program: Path, folder: Path) -> Path:
    """Arrange the fault; returns the benchmark_bin to use."""
    if meets.arm:
        phone.faults.arm(*meets.arm)
    word = meets.misbehave
    (phone.root / "misbehave").write_text(word)
    if word.startswith("mkdir: "):
        fake = phone.root / "system" / "bin" / "mkdir"
        fake.write_text(f'#!/bin/sh\necho "{word}" >&2\nexit 1\n')
        fake.chmod(0o755)
    if word == "hot":
        (phone.root / "dumpsys" / "thermalservice").write_text("Thermal Status: 3\n")
    if word == "model":
        (folder / "models" / "later.nb").write_bytes(DEAD_MODEL)
    if word == "abi":
        program = folder / "benchmark_bin"
        program.write_bytes(ARM_PROGRAM)
    return program


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("earlier-*")) if path.is_file()}


@pytest.mark.parametrize(("adb", "meets"), list(pairs()))
def test_fault(adb, meets, servers, earlier, benchmark_bin, image, ready_nb, tmp_path, record_property):
    server = servers(adb)
    with plugged(server, tmp_path) as plug:
        folder = tmp_path / "session"
        shutil.copytree(earlier(adb, plug, server), folder)
        shutil.copy(ready_nb, folder / "models" / "later.nb")
        before, text = snapshot(folder), (folder / "r.txt").read_text()
        flags, program = meets.flags, benchmark_bin
        if meets.plugged:
            phone = plug(**meets.phone)
            program = sabotage(phone, meets, benchmark_bin, folder)
            flags = flags or ("--serial", phone.serial)
        start = time.monotonic()
        done = measure(server, folder, program, image, meets.timeout_s, *flags)
        elapsed = time.monotonic() - start
        record_property("seconds_beyond_the_timeout", round(elapsed - meets.timeout_s, 2))  # --junitxml shows them
        assert elapsed < meets.timeout_s + 1 + SLACK_S
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    after = snapshot(folder)
    if meets.misbehave == "abi":  # with another program, the earlier model was measured anew, and failed: set aside
        after = {name.removesuffix(".old"): content for name, content in after.items()}
    assert before and after == before
    if meets.misbehave != "abi":
        assert (folder / "r.txt").read_text().startswith(text)
    later = folder / "r_json" / "later-x86-t1.json"
    if meets.error in ("", "invalid"):
        result = Result.from_json(later.read_text())
        assert result.runs == 2 and result.outputs[0].labels > 1
        assert done.returncode == (7 if meets.error else 0), said
        reasons = " ".join(result.invalid_reasons)
        assert "thermal status" in reasons if meets.error else result.valid, reasons
    else:
        assert done.returncode == 7, said
        assert any(f"({error}):" in said for error in meets.error.split("|")), said
        assert not later.exists()


def test_several_phones_and_none_named(servers, benchmark_bin, image, ready_nb, tmp_path):
    server = servers("adb36")
    (tmp_path / "models").mkdir()
    shutil.copy(ready_nb, tmp_path / "models" / "m.nb")
    with plugged(server, tmp_path) as plug:
        phones = plug(), plug()
        done = measure(server, tmp_path, benchmark_bin, image, 20)
        assert done.returncode == 7 and "(SeveralDevices)" in done.stderr
        assert all(phone.serial in done.stderr for phone in phones)
        chosen = {**server.env, "ANDROID_SERIAL": phones[1].serial}
        server = type(server)(server.program, chosen, server.phone_port)
        assert measure(server, tmp_path, benchmark_bin, image, 60).returncode == 0
        assert any("--repeats" in line for line in phones[1].log) and phones[0].log == []
