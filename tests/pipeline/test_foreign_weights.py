"""Weights of a torch project, and of another number of classes, through the tools that a user calls."""

import fnmatch
import json
import sys

import numpy as np
import paddle
import pytest
from pipeline.test_chain import CONFIG, SMALL, data
from unit.torch_layout import save

from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.weights import read_pdparams
from paddleseg_ext.weights.conversion import convert
from paddleseg_ext.weights.reading import write_checkpoint
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext_tools.commands import export, predict, train, val

HEAD = "decode_head.conv_seg.*"


@pytest.fixture
def call(monkeypatch, capsys):
    def run(tool, *argv, code=0):
        monkeypatch.setattr(sys, "argv", [tool.__name__])
        assert tool.main([str(part) for part in argv]) == code
        return capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The same weights as PaddleSeg's and as mmsegmentation's, and with a classifier of ten classes more."""
    folder = tmp_path_factory.mktemp("weights")
    paddle.seed(0)
    state = {n: v.numpy() for n, v in Builder(Config(CONFIG)).build_untrained_model().state_dict().items()}
    write_checkpoint(folder / "model.pdparams", state, {})
    more = {name: np.concatenate([state[name], state[name][:10]]) for name in fnmatch.filter(state, HEAD)}
    write_checkpoint(folder / "other.pdparams", {**state, **more}, {})
    for name in ("model", "other"):
        convert(str(folder / f"{name}.pdparams"), folder / f"{name}.pth")
    return folder


def test_val_predict_and_export_take_a_torch_file(weights, scenes, tmp_path, call):
    results = []
    for name in ("model.pdparams", "model.pth"):
        given = ["--config", CONFIG, "--model_path", weights / name]
        call(val, *given, "--save_json", tmp_path / "val.json", "--opts", *data(scenes))
        results.append(json.loads((tmp_path / "val.json").read_text()))
    assert results[0] == results[1] and np.sum(results[0]["confusion"]) > 0
    picture = next((scenes / "images" / "validation").iterdir())
    call(predict, *given, "--image_path", picture, "--save_dir", tmp_path / "pictures")
    assert list((tmp_path / "pictures").rglob("*.png"))
    said = call(export, *given, "--save_dir", tmp_path / "model", "--input_shape", 1, 3, 64, 64).out
    assert "Checked with Paddle Inference" in said


def test_another_number_of_classes(weights, scenes, tmp_path, call):
    """Training starts from all but the classifier, when it is told so; val and export say which tensors are random."""
    given = [
        "--config", CONFIG, "--save_dir", tmp_path, "--iters", 1, "--batch_size", 2, "--seed", 1, "--opts",
        *data(scenes), *SMALL, f"model.pretrained={weights / 'other.pth'}", "lr_scheduler.learning_rate=1.0e-11",
        "lr_scheduler.warmup_start_lr=1.0e-12",
    ]  # fmt: skip
    assert "--ignore 'decode_head.conv_seg.*'" in call(train, *given, code=5).err
    said = call(train, "--ignore", HEAD, *given).err
    assert "left as initialised: decode_head.conv_seg.bias, decode_head.conv_seg.weight" in said
    trained, source = (read_pdparams(path) for path in (tmp_path / "iter_1/model.pdparams", weights / "other.pdparams"))
    name = "backbone.smb1.conv.c.weight"
    assert np.allclose(trained[name], source[name]) and trained["decode_head.conv_seg.bias"].shape == (150,)
    exported = ["--config", CONFIG, "--model_path", weights / "other.pth", "--save_dir", tmp_path / "model"]
    exported += ["--input_shape", 1, 3, 64, 64]
    assert "--ignore 'decode_head.conv_seg.*'" in call(export, *exported, code=5).err
    assert "left as initialised" in call(export, *exported, "--ignore", HEAD).err


def test_val_leaves_out_a_head_that_only_the_torch_file_has(weights, scenes, tmp_path, call):
    path = save(tmp_path / "aux.pth", {**read_torch(weights / "model.pth"), "auxiliary_head.w": np.zeros([2], "f4")})
    given = ["--config", CONFIG, "--model_path", path, "--opts", *data(scenes)]
    assert "--ignore" in call(val, *given, code=5).err
    assert "left as initialised: auxiliary_head.w" in call(val, "--ignore", "auxiliary_head.*", *given).err


@pytest.mark.parametrize("tool", [val, export])
def test_patterns_that_mean_nothing(weights, tmp_path, call, tool):
    given = ["--config", CONFIG, "--model_path", weights / "model.pth"]
    said = call(export, *given, "--save_dir", tmp_path, "--ignore", "decode_head.conv_sge.*", code=2).err
    assert "the nearest are decode_head.conv_seg" in said and "Traceback" not in said
    with pytest.raises(SystemExit):
        tool.main(["--config", CONFIG, "--ignore", HEAD])
    with pytest.raises(SystemExit):
        train.main(["--config", CONFIG, "--resume_model", "iter_1", "--ignore", HEAD])
