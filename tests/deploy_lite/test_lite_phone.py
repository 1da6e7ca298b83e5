"""The seed's command against the test phone, through the real adb client, both versions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from deploy_lite.bench import ADBS

from paddleseg_lite.parse import parse_log
from paddleseg_lite.result import Result

LITE = Path(__file__).resolve().parents[2] / "deploy" / "lite"
FEW = ("--warmup", 1, "--repeats", 3, "--rounds", 2, "--cool_down", 0)


@pytest.fixture
def command(server, benchmark_bin, image, tmp_path):
    """The seed's command line on `models`, as arguments of subprocess."""

    def line(models, *flags, program=benchmark_bin, lite=LITE, python=sys.executable):
        words = ["sh", lite / "benchmark.sh", program, models, tmp_path / "test_result.txt", image, *FEW, *flags]
        env = {**server.env, "PYTHON": str(python)}
        return {"args": list(map(str, words)), "env": env, "text": True}

    return line


@pytest.fixture
def measure(command):
    """Run it; returns the finished process."""
    return lambda *given, **named: subprocess.run(**command(*given, **named), capture_output=True, timeout=200)


def copies(exported, folder: Path, *names: str, params="model.pdiparams") -> Path:
    """The seed's layout: one folder a model."""
    for name in names:
        shutil.copytree(exported / "tiny", folder / name)
        (folder / name / "model.pdiparams").rename(folder / name / params)
    return folder


def mostly(adb: str):
    """Both versions of adb in `make system`, one of them always."""
    params = [pytest.param(name, marks=[] if name == adb else [pytest.mark.system]) for name in ADBS]
    return pytest.mark.parametrize("server", params, indirect=True)


def many(ready_nb, folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(ready_nb, folder / f"m{number}.nb")
    return folder


def runs(phone) -> int:
    return sum("--repeats" in line for line in phone.log)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def stored(folder: Path, name: str = "test_result_json") -> list[Result]:
    return [Result.from_json(path.read_text()) for path in sorted((folder / name).glob("*-t?.json"))]


def test_the_seeds_command_on_the_seeds_layout(plug, measure, exported, tmp_path):
    phone = plug()
    names = ("pp_mobileseg_base", "pp_mobileseg_tiny")
    models = copies(exported, tmp_path / "models_dir", *names, params="mdoel.pdiparams")
    done = measure(models)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "test_result.txt").read_text()
    seed = (Path(__file__).parent / "data" / "seed_log.txt").read_text()
    for block in text.split("-----------------Model=")[1:]:
        titles = [line for line in block.splitlines() if line.startswith("=")]
        assert titles[:6] == [line for line in seed.splitlines() if line.startswith("=")]
    entries = parse_log(text)
    assert re.findall(r"-Model=(.*) Threads=1-", text) == list(names) and all(entry.complete for entry in entries)
    labels = np.load(exported / "tiny.npy")
    for entry, result in zip(entries, stored(tmp_path), strict=True):
        facts = entry.sections["Device"]
        assert facts["Brand"] == "Loopback" and facts["Android API Level"] == "28"
        assert entry.output_mean == pytest.approx(labels.mean(), rel=1e-4)
        assert result.agreement == 1.0 and "Paddle-Lite on this machine" in result.agreement_note
        assert result.outputs[0].labels == np.unique(labels).size
        assert (result.runs, result.runs_per_value, len(result.series_ms)) == (6, 3, 2)
        assert (result.optimized_on, result.runtime, result.runtime_version) == ("device", "benchmark_bin", "v2.13-rc")
        assert result.device_facts["SoC"] == "looped" and result.device_facts["Serial"] == phone.serial
        assert "cpu0-3 1785600, cpu4-7 2841600" in result.state_before["frequency limit (kHz)"]
        assert result.state_before["thermal status"] == "0 (none)" and "31.2 °C" in result.state_before["battery"]
        assert result.state_after["temperature"] == "41.2 °C (cpu-0-0-usr)"
        assert np.array_equal(
            np.load(tmp_path / "test_result_json" / result.outputs[0].file), labels.reshape(1, 16, 24)
        )


NB = ("--input_shape", 1, 3, 16, 24, "--reconnect", 20)


@mostly("adb29")
def test_unplugged_in_the_middle_of_ten_models(server, plug, command, ready_nb, tmp_path):
    """Pulled for two seconds, then for good; plugged in again, the second run measures what is missing."""
    phone, models = plug(), many(ready_nb, tmp_path / "models", 10)
    line = command(models, *NB, "--rounds", 1, "--reconnect", 10, "--resume")
    with subprocess.Popen(**line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            wait_for(lambda: runs(phone) >= 2)
            phone.away(2.0)
            wait_for(lambda: runs(phone) >= 6)
            phone.stop()
            said, _ = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 7 and "Traceback" not in said, said
    before = {path: path.read_bytes() for path in (tmp_path / "test_result_json").glob("*-t1.json")}
    assert 2 <= len(before) < 10
    phone.start()
    assert "connected" in server.adb("connect", phone.serial)
    again = subprocess.run(**line, capture_output=True, timeout=200)
    assert again.returncode == 0, again.stdout + again.stderr
    results = stored(tmp_path)
    assert len(results) == 10 and all(result.rounds == 1 for result in results)
    assert all(path.read_bytes() == content for path, content in before.items())
    # One round each, and those that the cable cut off, with their retries.
    assert 10 <= runs(phone) <= 10 + 4
    assert again.stdout.count("measured before, kept") == len(before)
    assert all(entry.complete for entry in parse_log((tmp_path / "test_result.txt").read_text()))


@mostly("adb36")
def test_ctrl_c_keeps_whole_rounds(plug, command, ready_nb, tmp_path):
    phone, models = plug(), many(ready_nb, tmp_path / "models", 2)
    line = command(models, *NB, "--resume")
    # A shell's background jobs, and all they start, ignore Ctrl-C; the tests may be one of them.
    heeds = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "start_new_session": True}
    with subprocess.Popen(**line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **heeds) as child:
        try:
            wait_for(lambda: (tmp_path / "test_result_json" / "m0-x86-t1.rounds.jsonl").exists())
            (phone.root / "misbehave").write_text("hang")
            wait_for(lambda: (phone.root / "hangs").exists())
            os.kill(child.pid, signal.SIGINT)
            _, said = child.communicate(timeout=30)
        finally:
            child.kill()
    assert child.returncode == 130 and "Traceback" not in said and "--resume" in said
    (phone.root / "misbehave").write_text("")
    before = runs(phone)
    assert subprocess.run(**line, capture_output=True, timeout=100).returncode == 0
    assert len(stored(tmp_path)) == 2 and runs(phone) - before <= 3


def is_running(pid: int) -> bool:
    """Not one that has ended and waits for its parent either."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@mostly("adb36")
def test_what_a_lost_link_left_running_is_ended_before_the_next_run(server, plug, command, ready_nb, tmp_path):
    phone, models = plug(), many(ready_nb, tmp_path / "models", 1)
    line = command(models, *NB, "--reconnect", 1, "--resume")
    (phone.root / "misbehave").write_text("hang")
    with subprocess.Popen(**line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            wait_for(lambda: (phone.root / "hangs").exists())
            phone.stop()
            said, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 7, said
    (mark,) = phone.root.rglob(".pid-*")
    orphan = int(mark.read_text())
    assert is_running(orphan)
    (phone.root / "misbehave").write_text("")
    phone.start()
    server.adb("connect", phone.serial)
    done = subprocess.run(**line, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not is_running(orphan) and not list(phone.root.rglob(".pid-*"))


def test_threads_and_cores_that_do_not_go_together(plug, measure, exported, ready_nb, tmp_path):
    plug()
    models = copies(exported, tmp_path / "models", "m")
    done = measure(models, "--threads", 8)
    assert done.returncode == 7 and "--power_mode 0 gives them 4 cores" in done.stdout
    assert measure(models, "--affinity", "little", "--power_mode", 0).returncode == 2
    done = measure(models, "--affinity", "little", "--threads", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = stored(tmp_path)
    assert (result.power_mode, result.affinity, result.backend) == (3, "little", "x86")
    assert measure(models, "--backend", "opencl", "--optimize", "host").returncode == 2


def test_a_converted_model_has_one_precision(plug, measure, ready_nb, tmp_path):
    plug()
    models = many(ready_nb, tmp_path / "models", 1)
    assert measure(models, *NB, "--precision", "fp32,int8").returncode == 0
    (result,) = stored(tmp_path)
    assert result.precision == "as converted"
    assert measure(models, *NB, "--backend", "opencl").returncode == 2


@mostly("adb29")
def test_files_are_pushed_once_and_outputs_removed(plug, measure, ready_nb, tmp_path):
    phone, models = plug(), many(ready_nb, tmp_path / "models", 2)
    for _ in range(2):
        assert measure(models, *NB).returncode == 0
    pushed = [Path(Path(name).name.partition(".part")[0]).suffix for name in phone.pushed]
    assert sorted(pushed) == ["", ".nb", ".txt"]  # both models have the same content
    left = [path.name for path in phone.root.rglob("*") if path.is_file() and ".part-" in path.name]
    left += [path.name for path in phone.root.rglob("output-*")] + [path.name for path in phone.root.rglob(".pid-*")]
    assert left == []


@mostly("adb36")
def test_wrong_labels_do_not_win(plug, measure, exported, tmp_path):
    phone, models = plug(), copies(exported, tmp_path / "models", "m")
    (phone.root / "misbehave").write_text("labels")
    done = measure(models)
    (result,) = stored(tmp_path)
    assert done.returncode == 7 and not result.valid and result.agreement < 0.5
    assert "less than 99.9%" in result.invalid_reasons[0]


@mostly("adb29")
def test_conversion_on_the_phone_fails(plug, measure, exported, tmp_path):
    phone = plug()
    models = tmp_path / "models"
    shutil.copytree(exported / "unsupported", models / "unsupported")
    copies(exported, models, "works")
    done = measure(models)
    assert done.returncode == 7 and "(RunnerFailed)" in done.stdout
    (phone.root / "misbehave").write_text("opt")
    done = measure(models / "works")
    assert done.returncode == 7 and "No attributes called threshold found for relu6" in done.stdout
    assert len(stored(tmp_path)) == 1


@mostly("adb36")
def test_conversion_here_in_both_precisions(plug, measure, exported, tmp_path):
    plug()
    models = copies(exported, tmp_path / "models", "m")
    page = tmp_path / "page.html"
    done = measure(models, "--optimize", "host", "--precision", "fp32,int8", "--html", page, "--affinity", "little")
    assert done.returncode == 0, done.stdout + done.stderr
    files = [tmp_path / "test_result_json" / f"m-x86-t1{suffix}.json" for suffix in ("", "-int8")]
    fp32, int8 = (Result.from_json(path.read_text()) for path in files)
    assert (fp32.precision, int8.precision) == ("fp32", "int8")
    assert fp32.agreement == int8.agreement == 1.0 and "int8" in int8.agreement_note
    assert (fp32.opt_version, fp32.optimized_on) == ("v2.13-rc", "host")
    assert Path(fp32.nb_file).read_bytes() != Path(int8.nb_file).read_bytes()
    assert "<svg" in page.read_text() and "http" not in page.read_text().replace("http-equiv", "")
    assert measure(models, "--precision", "fp16").returncode == 2


@mostly("adb29")
def test_a_copy_alone_with_a_bare_python(plug, measure, exported, tmp_path):
    """deploy/lite in an empty folder, the standard library, and a phone."""
    phone = plug()
    lite = tmp_path / "elsewhere" / "lite"
    shutil.copytree(LITE, lite, ignore=shutil.ignore_patterns("__pycache__"))
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -s -E "$@"\n')
    bare.chmod(0o755)
    assert subprocess.run([bare, "-c", "import numpy"], capture_output=True).returncode == 1
    pythons = [bare]
    # Debian's own, whatever its version, stands for the machine that the phone hangs on.
    if subprocess.run(["/usr/bin/python3", "-c", "import sys; assert sys.version_info >= (3, 9)"]).returncode == 0:
        pythons.append(Path("/usr/bin/python3"))
    for number, python in enumerate(pythons):
        done = subprocess.run([python, lite / "benchmark.py", "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "--remote_dir" in done.stdout and "Traceback" not in done.stderr
        models = copies(exported, tmp_path / f"models{number}", f"m{number}")
        done = measure(models, "--html", tmp_path / "page.html", lite=lite, python=python)
        assert done.returncode == 0, done.stdout + done.stderr
    results = stored(tmp_path)
    assert len(results) == len(pythons) and phone.serial == results[0].device_facts["Serial"]
    labels = np.load(exported / "tiny.npy")
    for result in results:
        assert "neither paddlelite nor paddleseg_ext" in result.agreement_note
        assert result.outputs[0].labels == np.unique(labels).size
