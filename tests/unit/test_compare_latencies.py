"""Rounds in turns, failures that stay in their row, and what an interruption leaves."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from unit.compare_data import comparison, prepared

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.runtimes import RuntimeResult
from paddleseg_ext_tools.comparison.latencies import measure_all
from paddleseg_ext_tools.comparison.rows import Failed, distinct
from paddleseg_ext_tools.lab.forms import Counts, ProcessForm
from paddleseg_ext_tools.lab.rounds import Latency
from paddleseg_lite import host

COUNTS = Counts(threads=1, warmup=0, repeats=2)
OUTPUT = np.arange(12, dtype="int32").reshape(1, 3, 4)


class Scripted(ProcessForm):
    """Answers a measurement with the next of `answers`: an error, or the output that the runtime gives."""

    def __init__(self, answers, log, key="scripted"):
        super().__init__(key, "Scripted")
        self.__dict__.update(answers=list(answers), log=log)

    def of(self, folder, work):
        bound = Scripted([], self.log, self.key)
        bound.__dict__.update(answers=self.answers, work=work / self.key, is_lossy=self.is_lossy)
        return bound

    def prepare(self):
        self.log.append(("prepare", self.work.parent.name))

    def measure(self, array, counts):
        self.log.append((self.key, self.work.parent.name))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return RuntimeResult((answer,), 3.0, 9.0, (10.0, 12.0), "made up", "1.0", "cpu", 1.0, 100.0)


@pytest.fixture
def systems():
    found = distinct(comparison("--table", "ablation").rows)[:2]
    for system in found:
        system.latencies = {}
        system.prepared = replace(prepared(1_000_000), output=OUTPUT)
    return found


def pairs(systems, *runtimes):
    return [(system, runtime) for system in systems for runtime in runtimes]


def test_everything_takes_its_turn_in_every_round(systems):
    log = []
    one, other = Scripted([OUTPUT] * 4, log, "one"), Scripted([OUTPUT] * 4, log, "other")
    measure_all(pairs(systems, one, other), COUNTS, 2, Path())
    a, b = (system.slug for system in systems)
    turn = [("one", a), ("other", a), ("one", b), ("other", b)]
    assert [entry for entry in log if entry[0] != "prepare"] == turn * 2
    found = systems[0].latencies["one"]
    assert isinstance(found, Latency) and found.valid
    assert found.series_ms == (10.0, 12.0, 10.0, 12.0) and found.round_medians_ms == (11.0, 11.0)
    assert (found.median_ms, found.init_ms, found.first_ms) == (11.0, 3.0, 9.0)


def test_a_failure_stays_where_it_is(systems):
    log = []
    runtime = Scripted([OUTPUT, ConversionError("cannot"), OUTPUT, OUTPUT], log)
    measure_all(pairs(systems, runtime), COUNTS, 2, Path())
    assert systems[0].latencies["scripted"].valid
    assert systems[1].latencies["scripted"] == Failed("cannot", 6)
    assert len([entry for entry in log if entry[0] == "scripted"]) == 3  # not tried again


def test_a_wrong_answer_is_not_valid(systems):
    measure_all(pairs(systems, Scripted([OUTPUT, OUTPUT + 1], [])), COUNTS, 1, Path())
    assert systems[0].latencies["scripted"].valid
    wrong = systems[1].latencies["scripted"]
    assert not wrong.valid and "0.0000% of the pixels" in wrong.invalid_reasons[0]


def test_a_lossy_form_need_not_agree(systems):
    form = Scripted([OUTPUT + 1, OUTPUT + 1], [])
    form.__dict__["is_lossy"] = True
    measure_all(pairs(systems, form), COUNTS, 1, Path())
    assert systems[0].latencies["scripted"].valid


def test_a_package_that_is_missing(monkeypatch):
    from paddleseg_ext_runtime.errors import DeviceError
    from paddleseg_ext_tools.commands.compare import _runtimes
    from paddleseg_ext_tools.lab import forms

    monkeypatch.setattr(forms, "find_spec", lambda name: None if name == "MNN" else object())
    with pytest.raises(DeviceError, match=r"MNN needs the Python package MNN(.|\n)*--runtimes openvino"):
        _runtimes(SimpleNamespace(no_latency=False, runtimes=["mnn", "openvino"]), COUNTS)


def test_what_was_not_prepared_is_left_alone(systems):
    systems[0].prepared = None
    log = []
    measure_all(pairs(systems, Scripted([OUTPUT], log)), COUNTS, 1, Path())
    assert {slug for _, slug in log} == {systems[1].slug} and systems[0].latencies == {}


def test_an_interruption_leaves_the_rounds_before_it(systems):
    runtime = Scripted([OUTPUT, OUTPUT, OUTPUT, KeyboardInterrupt()], [])
    with pytest.raises(KeyboardInterrupt):
        measure_all(pairs(systems, runtime), COUNTS, 2, Path())
    assert [len(system.latencies["scripted"].round_medians_ms) for system in systems] == [2, 1]


def test_a_runtime_that_is_not_here(monkeypatch):
    from paddleseg_ext_runtime.errors import DeviceError
    from paddleseg_ext_tools.commands.compare import _runtimes

    monkeypatch.setattr(host.platform, "machine", lambda: "riscv64")
    with pytest.raises(DeviceError, match=r"riscv64(.|\n)*--runtimes onnxruntime paddle_inference"):
        _runtimes(SimpleNamespace(no_latency=False, runtimes=["lite_fp32"]), COUNTS)
