"""tools/benchmark_export.py and benchmarks/same_labels.py with every form there is, C++ among them."""

import csv
import json

import pytest

from benchmarks import same_labels
from paddleseg_ext_tools.commands import benchmark_export, val
from paddleseg_ext_tools.lab.forms import FORM

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml"


@pytest.fixture(scope="module")
def weights(scenes, tmp_path_factory):
    from paddleseg_ext_tools.commands import train

    folder = tmp_path_factory.mktemp("trained")
    opts = [f"train_dataset.dataset_root={scenes}", "train_dataset.transforms.0.crop_size=[64,64]"]
    flags = ["--config", CONFIG, "--iters", "2", "--batch_size", "2", "--save_dir", str(folder), "--save_interval", "2"]
    assert train.main([*flags, "--opts", *opts]) == 0
    return folder / "iter_2" / "model.pdparams"


def test_every_form_on_validation_images(program, weights, scenes, tmp_path, capsys):
    opts = [f"val_dataset.dataset_root={scenes}"]
    arguments = ["--config", CONFIG, "--model_path", str(weights), "--opts", *opts]
    code = benchmark_export.main(
        [*arguments, "--input_shape", "1", "3", "128", "128", "--warmup", "0", "--repeats", "2",
         "--rounds", "2", "--cpp", str(program), "--save_dir", str(tmp_path / "out")]
    )  # fmt: skip
    assert code in (0, 7)  # on a busy machine latencies are not valid, and the table says so
    rows = json.loads((tmp_path / "out" / "benchmark_export.json").read_text())["rows"]
    assert [row["key"] for row in rows] == ["dygraph", *FORM]
    assert val.main([*arguments, "--save_json", str(tmp_path / "val.json")]) == 0
    # The photographs have the size of the input, so validation sees the same; its labels come from scores.
    miou = 100 * json.loads((tmp_path / "val.json").read_text())["miou"]
    for row in rows:
        assert row["error"] is None and row["size_mb"] > 1
        if row["key"] != "lite_int8":
            assert row["equal"] >= 0.999 and row["miou"] == pytest.approx(miou, abs=0.1)
        if row["timing"]:
            assert len(row["timing"]["series_ms"]) == 4 and row["timing"]["peak_memory_mb"] > 20
            assert len(row["timing"]["round_medians_ms"]) == 2
    with (tmp_path / "out" / "benchmark_export.csv").open() as file:
        assert [row["key"] for row in csv.DictReader(file)] == ["dygraph", *FORM]
    assert "| ONNX Runtime | ✅ |" in capsys.readouterr().out


def test_one_photograph_one_mask(program, monkeypatch, tmp_path, capsys):
    """As benchmarks/same_labels.py has it for every family, here for one."""
    monkeypatch.setattr(same_labels, "PHOTOGRAPHS", {(61, 93): (4,)})
    monkeypatch.setattr(same_labels, "VALIDATION", {(64, 96): (500_000, 500_001)})
    figures = tmp_path / "figures.json"
    code = same_labels.main(
        ["--families", "TopFormer-Tiny", "--output_op", "vim_exact", "--save_json", str(figures),
         "--cpp", str(program)]
    )  # fmt: skip
    assert code == 0
    rows = json.loads(figures.read_text())
    assert [(row["on"], row["images"], row["pixels"], len(row["equal"])) for row in rows] == [
        ("photographs", 1, 61 * 93, 8), ("photographs, any size", 1, 61 * 93, 7),
        ("photographs, resized", 1, 61 * 93, 8), ("validation", 2, 2 * 64 * 96, 8),
    ]  # fmt: skip
    assert all(value >= 0.999 for row in rows for value in row["equal"].values())
    assert all(row["equal"]["cpp = paddle_inference"] == 1 for row in rows)
    assert "| TopFormer-Tiny | `vim_exact` | 1 photographs |" in capsys.readouterr().out
