"""The real opt and the real runtime on tiny models: conversion, measurement, and how each fails."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from lite_arrays import measure_array
from nb_operators import count_operators

from paddleseg_lite import reference
from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.device import Measurement, Settings, State
from paddleseg_lite.errors import ConversionError, DeviceError, UsageError
from paddleseg_lite.host import HostDevice
from paddleseg_lite.judge import invalid_reasons, not_ready, warnings
from paddleseg_lite.plan import Case
from paddleseg_lite.process import run_child
from paddleseg_lite.reference import Agreement, Reference, compare
from paddleseg_lite.result import Result
from paddleseg_lite.store import Round
from paddleseg_lite.tensors import Tensor

pytest.importorskip("paddlelite")
CASE = Case("m", Path(), None, None, None, (1, 3, 2, 2), "argmax", "int32")


def measurement(**changes) -> Measurement:
    outputs = (tensor(np.arange(8)),)
    values = {"init_ms": 1.0, "first_ms": 1.0, "series_ms": (50.0,) * 4, "outputs": outputs}
    return Measurement(**{**values, "runtime": "r", "runtime_version": "1", **changes})


def tensor(array, dtype="int32") -> Tensor:
    return Tensor.of(np.asarray(array, dtype))


def rounds(*measured) -> list[Round]:
    found: list[Round] = []
    for one in measured:
        found.append(Round(one, State(), State()).behind(found))
    return found


@pytest.fixture(scope="module")
def converted(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nb")
    model = exported / "tiny"
    return {
        target: convert(model / "model.pdmodel", model / "model.pdiparams", folder / f"{target}.nb", target, find_opt())
        for target in ("x86", "arm")
    }


@pytest.mark.parametrize("target", ["x86", "arm"])
def test_operators_of_a_converted_model(converted, target):
    # relu6 and the batch norm are gone: opt fused both into the convolution
    assert count_operators(converted[target]) == {"arg_max": 1, "conv2d": 1, "feed": 1, "fetch": 1}
    assert [path.name for path in converted[target].parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("content", [b"", os.urandom(3000)], ids=["empty", "random"])
def test_a_corrupt_model_leaves_no_nb_behind(tmp_path, content):
    for name in ("model.pdmodel", "model.pdiparams"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match="opt failed for x86") as caught:
        convert(
            tmp_path / "model.pdmodel",
            tmp_path / "model.pdiparams",
            tmp_path / "o" / "m.nb",
            "x86",
            find_opt(),
        )
    assert caught.value.exit_code == 6 and caught.value.hint
    assert list((tmp_path / "o").iterdir()) == []


def test_an_unsupported_operator_is_named_and_the_older_nb_stays(exported, tmp_path):
    model, made = exported / "unsupported", tmp_path / "m.nb"
    made.write_bytes(b"older")
    with pytest.raises(ConversionError, match="no kernel on 'arm' for: take_along_axis"):
        convert(model / "model.pdmodel", model / "model.pdiparams", made, "arm", find_opt())
    assert made.read_bytes() == b"older"


@pytest.mark.parametrize(("body", "message"), [("exit 0", "left no file"), ("sleep 60", "did not end in time")])
def test_an_opt_that_lies_or_hangs(tmp_path, body, message):
    fake = tmp_path / "opt"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    start = time.monotonic()
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "a", tmp_path / "b", tmp_path / "m.nb", "x86", find_opt(str(fake)), timeout_s=1)
    assert time.monotonic() - start < 3
    with pytest.raises(UsageError, match="--opt"):
        find_opt(str(tmp_path / "none"))


def test_the_deadline_takes_grandchildren_along(tmp_path):
    mark = tmp_path / "alive"
    done = run_child(["sh", "-c", f"(sleep 2; touch {mark}) & sleep 60"], 0.3)
    assert done.timed_out and done.cause() == "no answer before the deadline"
    time.sleep(2.2)
    assert not mark.exists()
    assert run_child([sys.executable, "-c", "import os; os.abort()"], 20).cause() == "signal SIGABRT"


def test_host_measures_and_keeps_the_labels(exported, converted):
    device = HostDevice()
    got = measure_array(converted[device.target], np.load(exported / "input.npy"), Settings(1, 1, 3))
    assert len(got.series_ms) == 3 and min(got.series_ms) > 0 and got.init_ms > 0 and got.first_ms > 0
    assert got.outputs[0].dtype == np.int32
    assert np.array_equal(got.outputs[0], np.load(exported / "tiny.npy"))
    assert {"Host CPU", "Cores", "OS", "Python", "paddlelite"} <= set(device.info())


def test_host_says_what_failed(exported, converted, tmp_path):
    device, array = HostDevice(), np.load(exported / "input.npy")
    bad = tmp_path / "bad.nb"
    bad.write_bytes(b"no model at all")
    with pytest.raises(DeviceError, match=r"Paddle-Lite failed \(signal SIG"):
        measure_array(bad, array, Settings(1, 0, 1))
    with pytest.raises(DeviceError, match="larger --timeout"):
        measure_array(converted[device.target], array, Settings(1, 0, 1, min_seconds=60, timeout_s=1))
    with pytest.raises(DeviceError, match="threads asked for"):
        measure_array(converted[device.target], array, Settings(threads=4096))


def test_the_command_line_end_to_end(exported, tmp_path, run_cli):
    """One good and one unsupported model, by the four positionals, from another folder."""
    text = tmp_path / "test_result.txt"
    few = ("--repeats", 3, "--warmup", 1, "--rounds", 2)
    done = run_cli("benchmark.sh", "host", exported, text, exported / "input.npy", *few, cwd=tmp_path)
    assert done.returncode == 6, done.stderr  # of the model that failed
    assert "take_along_axis" in done.stdout and "Traceback" not in done.stderr
    assert "Model=tiny Threads=1" in text.read_text() and "FAILED (exit code 6, ConversionError)" in text.read_text()
    (stored,) = (tmp_path / "test_result_json").glob("*.json")
    result = Result.from_json(stored.read_text())
    assert (stored.name, result.rounds, len(result.series_ms)) == (f"tiny-{result.target}-t1.json", 2, 6)
    labels = np.load(stored.parent / result.outputs[0].file)
    assert np.array_equal(labels, np.load(exported / "tiny.npy"))
    assert result.outputs[0].labels == np.unique(labels).size and result.output_op == "argmax"
    if reference.find_runner():
        assert (result.agreement, result.agreement_kind) == (1.0, "equal_pixels")
    else:
        assert result.agreement is None and result.agreement_note


def test_a_failure_sets_another_models_result_aside(exported, tmp_path, run_cli):
    model, text = exported / "unsupported", tmp_path / "r.txt"
    old = tmp_path / "r_json" / "unsupported-x86-t1.json"
    old.parent.mkdir()
    old.write_text("older")
    flags = ("--models_dir", model, "--result_file", text, "--input", exported / "input.npy")
    assert run_cli("benchmark.py", *flags).returncode == 6
    assert not old.exists() and old.with_suffix(".json.old").read_text() == "older"


def test_refusals_before_any_work(exported, tmp_path, run_cli):
    inputs, out = exported / "input.npy", tmp_path / "r.txt"
    tiny = exported / "tiny"
    (tmp_path / "short.txt").write_text("1 2 3")
    for arguments, code, message in (
        ((tmp_path / "benchmark_bin", tiny, out, inputs), 4, "no such file"),
        (("host", tiny, out, inputs, "--precision", "fp16"), 2, "ARM only"),
        (("host", tiny, out, inputs, "--power_mode", "1"), 2, "benchmark_bin's"),
        (("host", tiny, out, inputs, "--optimize", "device"), 2, "benchmark_bin's"),
        (("host", tmp_path / "none", out, inputs), 4, "no such folder"),
        (("host", tiny, out, tmp_path / "none.txt"), 4, "no such input file"),
        (("host", tiny, out, tmp_path / "short.txt"), 4, "holds 3 numbers"),
        (("host", tiny, tmp_path, inputs), 2, "is a folder"),
        (("host", tiny, tmp_path / "short.txt" / "r.txt", inputs), 2, "to write results to"),
        (("host", tiny, out, inputs, "--repeats", "0"), 2, "at least 1"),
        (("host", tiny, out), 2, "usage"),
    ):
        done = run_cli("benchmark.sh", *arguments)
        said = done.stderr + done.stdout
        assert (done.returncode, message in said, "Traceback" in said) == (code, True, False), (
            arguments,
            said,
        )


def test_help_needs_only_the_standard_library(run_cli):
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = Path(reference.__file__).parents[1] / "benchmark.py"
    done = run_child([sys.executable, "-S", "-c", code, str(script), "--help"], 30, {"PYTHONPATH": str(script.parent)})
    assert done.returncode == 0 and "--models_dir" in done.stdout, done.stderr


def test_agreement():
    labels, logits = tensor(np.arange(1000)), tensor(np.linspace(-1, 1, 1000), "float32")
    assert compare((labels,), Reference((tensor(np.arange(1000), "int64"),), "")).value == 1.0
    wrong = tensor(np.where(np.arange(1000) < 2, 7, np.arange(1000)))
    assert not compare((wrong,), Reference((labels,), "")).good
    assert compare((wrong,), Reference((labels,), ""), "fp16").good
    other = tensor(np.arange(1000) + 1)
    assert not compare((other,), Reference((labels,), ""), "fp16").good
    assert "not judged" in compare((other,), Reference((labels,), ""), "int8").note
    assert not compare((other,), Reference((labels,), "", "int8"), "int8").good
    near, far = logits.numpy() + 1e-4, logits.numpy() + 1
    assert compare((tensor(near, "float32"),), Reference((logits,), "")).good
    assert not compare((tensor(far, "float32"),), Reference((logits,), "")).good
    assert not compare((tensor(near * np.nan, "float32"),), Reference((logits,), ""), "fp16").good
    assert not compare((tensor(np.arange(5)),), Reference((labels,), "")).good
    assert not compare((labels, labels), Reference((labels,), "")).good
    assert compare((labels,), Reference(None, "why")) == Agreement(None, None, "why")
    assert compare((), Reference((labels,), ""), printed=(499.5, 288.7)).good
    assert not compare((), Reference((labels,), ""), printed=(510.0, 288.7)).good
    assert not compare((), Reference((labels,), ""), printed=(499.5, 200.0)).good
    assert compare((), Reference((tensor(np.arange(9), "int64"),), ""), printed=(1e-40, 0.0)).value is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": (tensor([np.nan], "float32"),)}, "NaN"),
        ({"outputs": ()}, "no output"),
        ({"cpu_per_wall": 1.9}, "1.90 processors were at work"),
        ({"cpu_per_wall": 0.6}, "got only 0.60"),
        ({"series_ms": (0.0, 200.0)}, "no time at all"),
        ({"series_ms": (50.0,) * 4 + (56.0,) * 4}, "last quarter took 1.12"),
    ],
)
def test_what_makes_a_result_invalid(changes, said):
    assert said in " ".join(invalid_reasons(CASE, rounds(measurement(**changes)), Agreement(None, None, "")))


def test_what_leaves_a_result_valid():
    good = measurement(cpu_per_wall=0.8, series_ms=(50.0, 50.0, 50.0, 90.0))
    assert invalid_reasons(CASE, rounds(good, good), Agreement(None, None, "")) == ()
    assert [word.split(":")[-1] for word in warnings(CASE, rounds(good))] == [
        " other work, or throttling",
        " the machine was busy",
    ]
    other = measurement(outputs=(tensor(np.zeros(8)),))
    assert "changed from one round" in invalid_reasons(CASE, rounds(good, other), Agreement(None, None, ""))[0]
    slower = measurement(series_ms=(60.0,) * 4)
    assert "last round took 1.20" in invalid_reasons(CASE, rounds(good, slower), Agreement(None, None, ""))[0]


@pytest.mark.parametrize(
    ("before", "after", "gate", "said"),
    [
        (State(), State(thermal_status=2), None, "thermal status 2"),
        (State(limits_khz={4: 28, 7: 30}), State(limits_khz={7: 21}), None, "frequency limit (cpu7 21 of 30 kHz)"),
        (State(), State(), "60.0 °C, 9.0 more than at the start", "round 1: started at 60.0 °C"),
    ],
)
def test_a_hot_phone_makes_a_result_invalid(before, after, gate, said):
    found = invalid_reasons(CASE, [Round(measurement(), before, after, gate)], Agreement(None, None, ""))
    assert len(found) == 1 and said in found[0]


def test_the_start_gate():
    cool = State(temperature_c=40.0, thermal_status=0)
    assert not_ready(cool, cool) is None and not_ready(State(), State()) is None
    assert "43.0 °C, 3.0 more" in not_ready(State(temperature_c=43.0), cool)
    assert "thermal status 1" in not_ready(State(thermal_status=1), cool)
    fast, slow = State(limits_khz={0: 18, 7: 28}), State(limits_khz={7: 21})
    assert "below that at the session's start (cpu7 21 of 28 kHz)" in not_ready(slow, fast)
    assert not_ready(fast, slow) is None
