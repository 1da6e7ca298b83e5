"""The comparison, run for real: exported, converted, measured under every runtime, reported."""

import csv
import json
from pathlib import Path

import paddle
import pytest
from models.zoo import build, golden

from paddleseg_ext_tools.commands import compare

TINY = "configs/pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_80k.yml"
QUICK = ["--size", "128", "160", "--rounds", "2", "--repeats", "2", "--min_seconds", "0", "--warmup", "1"]
# What a busy machine does to a figure here is no fault.
BUSY = ("thread(s) got only", "its last quarter took", "the last round took")


def run(folder, *argv):
    code = compare.main([*argv, *QUICK, "--save_dir", str(folder)])
    content = json.loads((folder / "compare.json").read_text())
    return code, content["rows"]


def right(measured):
    return measured["valid"] or all(any(words in reason for words in BUSY) for reason in measured["invalid_reasons"])


def test_one_model_that_works_and_one_that_does_not(tmp_path, scenes, capsys):
    broken = tmp_path / "broken.yml"
    broken.write_text("_base_: " + str(Path(TINY).absolute()) + "\nmodel: {head_use: 3}\n")
    out = tmp_path / "out"
    photo = next((scenes / "images" / "validation").iterdir())
    code, rows = run(out, "--config", str(broken), TINY, "--output_op", "vim", "--image", str(photo))
    assert code == 2
    assert "head_use" in rows[0]["error"] and rows[0]["latencies"] == {}
    row = rows[1]
    assert row["error"] is None and row["classes_kept"] == row["labels"] == 15
    assert (row["trainable"], row["size"], row["params_rule"]) == (
        1_492_298, "512x512", "trainable and batch norm statistics, in units of 2^20, cut off",
    )  # fmt: skip
    assert set(row["latencies"]) == {"lite_fp32", "onnxruntime", "paddle_inference"}
    for measured in row["latencies"].values():
        assert len(measured["series_ms"]) == 4 and len(measured["round_medians_ms"]) == 2
        assert "of the pixels equal" in measured["agreement"] and right(measured), measured
    for name in ("compare.md", "compare.csv", "compare.html"):
        text = (out / name).read_text()
        assert "head_use" in text and "PP-MobileSeg-Tiny" in text
    # The network alone, for the bars, is no row.
    assert {path.name for path in (out / "models").iterdir()} == {
        "pp_mobileseg_tiny_ade20k_512x512_80k-vim", "pp_mobileseg_tiny_ade20k_512x512_80k-decoder",
    }  # fmt: skip
    assert (out / "pareto_given.png").read_bytes().startswith(b"\x89PNG")
    assert "what the output op adds" in (out / "compare.html").read_text()
    assert "| PP-MobileSeg-Tiny" in capsys.readouterr().out


@pytest.mark.matrix
def test_given_weights_are_evaluated_and_measured(tmp_path, scenes):
    model = build(golden("pp_mobileseg_tiny")["model"])
    weights = tmp_path / "model.pdparams"
    paddle.save(model.state_dict(), str(weights))
    given = ["--config", TINY, "--model_path", str(weights), "--runtimes", "onnx", "--no-split"]
    data = ["--opts", f"val_dataset.dataset_root={scenes}"]
    _, (row,) = run(tmp_path / "out", *given, *data)
    assert row["weights"] == str(weights) and row["output_op"] == "argmax" and row["classes_kept"] == 150
    assert row["miou_is_measured"] is True
    assert 0 <= row["miou_percent"] < 36
    assert right(row["latencies"]["onnxruntime"])
    _, (row,) = run(tmp_path / "out2", *given, *data, "--no_eval", "--no_latency")
    assert row["miou_is_measured"] is False and row["miou_percent"] == 36.39 and row["latencies"] == {}


def test_a_picture_of_ones_own(tmp_path, capsys):
    assert compare.main(["--config", TINY, "--image", str(tmp_path / "none.jpg"), "--save_dir", str(tmp_path)]) == 4
    assert "none.jpg" in capsys.readouterr().err


@pytest.mark.matrix
@pytest.mark.timeout(3600)
def test_both_published_tables(tmp_path):
    code, rows = run(tmp_path)
    assert code in (0, 7)
    assert [row["model"] for row in rows][-1] == "+ VIM + StrideFormer + AAM" and len(rows) == 11
    for row in rows:
        assert row["error"] is None, row["error"]
        assert row["classes_kept"] == (15 if row["output_op"] == "vim" else 150)
        assert all(right(measured) for measured in row["latencies"].values()), row
    with (tmp_path / "compare.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 11
