"""Bad input ends in a short message and a documented exit code, before time is wasted and with nothing lost."""

import shutil

import cv2
import numpy as np
import paddle
import pytest
from pipeline.test_chain import CONFIG, data, run

USAGE, DATA, CHECKPOINT = 2, 4, 5


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "model.pdparams"
    paddle.save(paddle.nn.Linear(3, 4).state_dict(), str(path))
    return path


def train(save_dir, *flags, opts=(), code):
    flags = ["--config", CONFIG, "--save_dir", save_dir, "--iters", 2, "--batch_size", 2, *flags]
    return run("tools/train.py", *flags, *(["--opts", *opts] if opts else []), code=code)


def message(done, *parts):
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert errors, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) < 20


@pytest.fixture
def broken(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "data")
    return tmp_path / "data"


def test_yaml_typo(tmp_path):
    message(train(tmp_path, opts=["model.upsampel=vim"], code=USAGE), "did you mean upsample?")


def test_missing_config(tmp_path):
    message(run("tools/train.py", "--config", "configs/pp_mobileseg/no.yml", code=USAGE), "no config at")


def test_missing_dataset(tmp_path):
    done = train(tmp_path / "out", opts=data(tmp_path / "nowhere"), code=DATA)
    message(done, "no ADE20K data set at", "make_scenes.py")


def test_label_out_of_range(broken, tmp_path):
    path = sorted((broken / "annotations" / "training").iterdir())[5]
    cv2.imwrite(str(path), np.full((128, 128), 200, "uint8"))
    done = train(tmp_path / "out", opts=data(broken), code=DATA)
    message(done, "holds the label 200 in 16384 pixels", "allowed are 1 to 150", path.name)
    assert "[TRAIN]" not in done.stderr


@pytest.mark.parametrize("split", ["training", "validation"])
def test_one_truncated_jpeg_is_found_before_training(broken, tmp_path, split):
    path = sorted((broken / "images" / split).iterdir())[-1]
    path.write_bytes(path.read_bytes()[:700])
    done = train(tmp_path / "out", "--do_eval", opts=data(broken), code=DATA)
    message(done, f"{path.name} is truncated")
    assert "[TRAIN]" not in done.stderr


def test_checkpoint_of_another_model(other_weights, tmp_path, scenes):
    flags = ["--config", CONFIG, "--model_path", other_weights]
    for tool in ("tools/val.py", "tools/export.py"):
        done = run(
            tool,
            *flags,
            *(["--save_dir", tmp_path / "x"] if "export" in tool else []),
            "--opts",
            *data(scenes),
            code=CHECKPOINT,
        )
        message(done, "is not a checkpoint of this model: 0 of 453 tensors fit", "missing", "unexpected")


def test_unknown_output_op(tmp_path):
    done = run("tools/export.py", "--config", CONFIG, "--output_op", "foo", code=USAGE)
    message(done, "invalid choice: 'foo'", "vim_exact")


@pytest.mark.parametrize("shape", [["512", "512"], ["1", "4", "64", "64"], ["1", "3", "0", "64"]])
def test_impossible_input_shape(shape, tmp_path):
    done = run("tools/export.py", "--config", CONFIG, "--save_dir", tmp_path, "--input_shape", *shape, code=USAGE)
    message(done, "--input_shape")


def test_unwritable_save_dir(tmp_path, scenes):
    (tmp_path / "file").touch()
    message(
        train(tmp_path / "file" / "out", opts=data(scenes), code=USAGE), "cannot write to", "choose another --save_dir"
    )


def test_half_precision_without_a_gpu(tmp_path, scenes):
    message(train(tmp_path, "--precision", "fp16", opts=data(scenes), code=USAGE), "needs a GPU")


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(tmp_path, scenes):
    folder = tmp_path / "pictures"
    shutil.copytree(scenes / "images" / "validation", folder)
    (folder / "bad.jpg").write_bytes(b"no picture")
    weights = tmp_path / "model.pdparams"
    from models.zoo import build, golden

    paddle.save(build(golden("pp_mobileseg_tiny")["model"]).state_dict(), str(weights))
    flags = ["--config", CONFIG, "--model_path", weights, "--image_path", folder, "--save_dir", tmp_path / "out"]
    message(run("tools/predict.py", *flags, code=DATA), "1 of 5 images were left out", "bad.jpg is not an image")
    assert len(list((tmp_path / "out" / "added_prediction").iterdir())) == 4


@pytest.mark.parametrize("tool", ["train", "val", "predict", "export", "make_scenes", "demo"])
def test_help_needs_no_paddle(tool):
    done = run("-X", "importtime", f"tools/{tool}.py", "--help")
    assert "usage:" in done.stdout
    assert "| paddle" not in done.stderr.replace("paddleseg_ext_tools", "")
