"""parse.py and report.py against the published log and each other; result.py's JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from paddleseg_lite.errors import DataError
from paddleseg_lite.parse import decode_label, parse_log
from paddleseg_lite.report import failure_block, markdown_table, text_block
from paddleseg_lite.result import Failure, Output, Result, first_valid, percentile, ratio, summarise, write_atomically

SEED_LOG = (Path(__file__).parent / "data" / "seed_log.txt").read_text()


def make_result(**changes) -> Result:
    series = (3.0, 1.0, 2.0, 4.0)
    values = {
        **summarise(series),
        **dict.fromkeys(("model_file", "param_file"), "/m/model.file"),
        "key": "0123",
        "runs": 4,
        "runs_per_value": 1,
        "min_seconds": 0.0,
        "power_mode": 0,
        "affinity": "",
        "optimized_on": "host",
        "states": ({"round": 1, "gate": None},),
        "model": "pp_mobileseg_tiny",
        "device": "host",
        "target": "x86",
        "measured_at": "2024-01-01T00:00:00+00:00",
        "init_ms": 12.3456,
        "first_ms": 9.5,
        "series_ms": series,
        "round_medians_ms": (2.5,),
        "threads": 2,
        "warmup": 1,
        "repeats": 4,
        "rounds": 1,
        "precision": "fp32",
        "backend": "x86",
        "cpu_per_wall": 1.9,
        "runtime": "paddlelite",
        "runtime_version": "v2.13-rc",
        "opt_version": "v2.13-rc",
        "device_facts": {"Host CPU": "some: cpu", "Cores": "2 of 2"},
        "state_before": {"load average": "0.1 0.2 0.3"},
        "state_after": {"load average": "0.2 0.2 0.3"},
        "nb_file": "/m/a.nb",
        "nb_bytes": 10,
        "input_file": "image1.txt",
        "input_shape": (1, 3, 16, 24),
        "output_op": "vim",
        "outputs": (Output((1, 16, 24), "int32", 8.25, 3.5, 17, "o.npy"),),
        "agreement": 1.0,
        "agreement_kind": "equal_pixels",
        "agreement_note": "100%",
        "valid": True,
        "invalid_reasons": (),
    }
    return Result(**{**values, **changes})


def test_the_published_log():
    (entry,) = parse_log(SEED_LOG)
    assert entry.complete
    assert entry.times_ms == {
        "init": 33.071,
        "first": 314.619,
        "min": 265.450,
        "max": 271.217,
        "avg": 267.246,
    }
    assert entry.sections["Device"] == {
        "Brand": "Xiaomi",
        "Device": "cepheus",
        "Model": "MI 9",
        "Android Version": "9",
        "Android API Level": "28",
    }
    assert (entry.sections["Model"]["input_shape"], entry.output_shape) == ("1,3,512,512", (1, 512, 512))
    assert entry.output_mean == pytest.approx(8.454, abs=1e-3)
    assert entry.output_std == pytest.approx(18.05, abs=1e-2)
    assert entry.sections["Runtime"]["benchmark_bin version"] == "e79b4b6"
    assert entry.sections["Backend"] == {"backend": "arm", "cpu precision": "fp32"}


def test_labels_printed_as_floats():
    assert decode_label(1.18468e-44) == pytest.approx(8.454, abs=1e-3)
    assert decode_label(0.25) == 0.25
    assert decode_label(0.0) == 0.0


@pytest.mark.parametrize("cut", [0, 40, 400, SEED_LOG.index("avg")])
def test_a_log_cut_short_is_no_measurement(cut):
    assert not any(entry.complete for entry in parse_log(SEED_LOG[:cut]))


@pytest.mark.parametrize("avg", ["nan", "inf", "0.000", "-1", "fast"])
def test_an_impossible_average_is_no_measurement(avg):
    (entry,) = parse_log(SEED_LOG.replace("267.246", avg))
    assert not entry.complete


def test_without_the_scripts_header_line():
    body = SEED_LOG.split("\n", 1)[1]
    first, second = parse_log(body + body)
    assert first.sections["Runtime"]["threads"] == "1"
    assert first.times_ms == second.times_ms and second.complete


def test_our_own_report_reads_back():
    result = make_result()
    failed = failure_block(Failure("broken", 1, "opt failed", 6, "ConversionError"))
    (entry,) = parse_log(failed + "\n" + text_block(result))
    assert "Model=broken Threads=1-" in failed and "Model=pp_mobileseg_tiny Threads=2-" in text_block(result)
    assert entry.sections["Runtime"]["threads"] == "2" and entry.complete
    named = {"init": 12.346, "first": 9.5, "min": 1.0, "max": 4.0, "avg": 2.5}
    assert {key: entry.times_ms[key] for key in named} == named
    assert entry.times_ms["median"] == 2.5
    assert entry.sections["Device"] == result.device_facts
    assert (entry.sections["Model"]["input_shape"], entry.output_shape) == ("1,3,16,24", (1, 16, 24))
    assert (entry.output_mean, entry.output_std) == (8.25, 3.5)
    assert "init  = 12.346      \nfirst = 9.500       \n" in text_block(result)


def test_the_blocks_stand_in_the_published_order():
    def titles(text):
        return [line for line in text.splitlines() if line.startswith("=")]

    assert titles(text_block(make_result()))[: len(titles(SEED_LOG))] == titles(SEED_LOG)
    assert text_block(make_result(model="M", threads=1)).startswith(f"{'-' * 17}Model=M Threads=1{'-' * 25}\n")


def test_json_both_ways():
    result = make_result(outputs=(Output((1, 2), "float32", None, None, None),), cpu_per_wall=None)
    again = Result.from_json(result.to_json())
    assert again == result
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.min_ms = 0.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"outputs": []}', make_result().to_json()[:-20]])
def test_a_damaged_json_is_named(text):
    with pytest.raises(DataError, match="not a stored result"):
        Result.from_json(text)


def test_statistics():
    assert summarise((5.0,))["std_ms"] == 0.0
    assert percentile((1.0, 2.0, 3.0), 50) == 2.0
    assert percentile(range(11), 90) == 9.0
    assert ratio(make_result(median_ms=6.0), make_result(median_ms=3.0)) == "2.00"
    bad, good = make_result(valid=False), make_result()
    assert first_valid([Failure("broken", 1, "", 6), bad, good]) is good and first_valid([bad]) is None


def test_table_shows_failures_beside_results():
    bad = make_result(valid=False, invalid_reasons=("wrong labels",), agreement=0.5)
    table = markdown_table([make_result(), bad, Failure("broken", 1, "opt\nfailed", 6, "ConversionError")])
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert "NO: wrong labels" in rows[3] and "FAILED (ConversionError): opt failed" in rows[4]


def test_writing_leaves_nothing_half_done(tmp_path):
    target = tmp_path / "new" / "a.txt"
    write_atomically(target, "one")
    with pytest.raises(TypeError):
        write_atomically(target, 3)
    assert target.read_text() == "one"
    assert list(target.parent.iterdir()) == [target]
