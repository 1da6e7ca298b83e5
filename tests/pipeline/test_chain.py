"""The whole chain through the command lines a user types, on a run small enough for every day."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml"
SMALL = ["train_dataset.transforms.0.crop_size=[64,64]"]


def run(*command, cwd=ROOT, code=0, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=280,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def data(root):
    return [f"train_dataset.dataset_root={root}", f"val_dataset.dataset_root={root}"]


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    run(
        "tools/train.py", "--config", CONFIG, "--save_dir", folder / "train", "--iters", 4, "--batch_size", 2,
        "--save_interval", 2, "--log_iters", 1, "--do_eval", "--use_vdl", "--use_ema", "--num_workers", 2, "--seed", 3,
        "--opts", *data(scenes), *SMALL,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def weights(trained):
    return trained / "train" / "best_model" / "model.pdparams"


@pytest.fixture(scope="module")
def exported(trained, weights):
    folder = trained / "models"
    for op in ("argmax", "vim"):
        done = run(
            "tools/export.py", "--config", CONFIG, "--model_path", weights, "--save_dir", folder / op,
            "--input_shape", 1, 3, 128, 160, "--output_op", op,
        )  # fmt: skip
        assert "of the labels are equal" in done.stdout
    return folder


def test_training_leaves_its_folders(trained):
    folder = trained / "train"
    names = {path.name for path in folder.iterdir()}
    assert {"iter_2", "iter_4", "best_model", "ema_best_model", "history.jsonl"} <= names
    assert any(name.startswith("vdlrecords") for name in names)


def test_resume(trained, scenes):
    done = run(
        "tools/train.py", "--config", CONFIG, "--save_dir", trained / "resumed", "--iters", 5, "--batch_size", 2,
        "--resume_model", trained / "train" / "iter_4", "--use_ema", "--log_iters", 1, "--opts", *data(scenes), *SMALL,
    )  # fmt: skip
    assert "at iteration 4" in done.stderr and "iter: 5/5" in done.stderr


def test_two_processes_train_and_evaluate_as_one(trained, scenes):
    folder = trained / "two"
    done = run(
        "-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--log_dir", trained / "log", "tools/train.py",
        "--config", CONFIG, "--device", "cpu", "--save_dir", folder, "--iters", 2, "--batch_size", 2, "--do_eval",
        "--log_iters", 1, "--opts", *data(scenes), *SMALL,
    )  # fmt: skip
    logged = next(line for line in (done.stdout + done.stderr).splitlines() if "[EVAL] iter 2" in line).split("mIoU")[1]
    alone = run(
        "tools/val.py", "--config", CONFIG, "--model_path", folder / "best_model" / "model.pdparams",
        "--opts", *data(scenes),
    )  # fmt: skip
    assert logged in alone.stdout
    seeds = {line.split("seed ")[1] for log in (trained / "log").glob("workerlog.*")
             for line in log.read_text().splitlines() if " I seed " in line}  # fmt: skip
    assert len(seeds) == 1  # drawn once: the processes' shares of the data follow from it
    both = run(
        "-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--log_dir", trained / "log2", "tools/val.py",
        "--config", CONFIG, "--device", "cpu", "--model_path", folder / "best_model" / "model.pdparams",
        "--opts", *data(scenes),
    )  # fmt: skip
    assert logged in both.stdout + both.stderr


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0)])
def test_a_signal_saves_where_the_run_is(number, workers, scenes, tmp_path):
    process = subprocess.Popen(
        [
            sys.executable, "tools/train.py", "--config", CONFIG, "--save_dir", str(tmp_path), "--iters", "5000",
            "--batch_size", "2", "--log_iters", "1", "--num_workers", str(workers), "--opts", *data(scenes), *SMALL,
        ],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in process.stderr:
        if "iter: 2/" in line:
            break
    os.killpg(process.pid, number)  # as a terminal does: to the workers too
    rest = process.stderr.read()
    assert process.wait(60) == 128 + number, rest
    (folder,) = tmp_path.glob("iter_*")
    assert f"Go on with --resume_model {folder}" in rest and "Traceback" not in rest
    assert {path.name for path in folder.iterdir()} >= {"model.pdparams", "model.pdopt", "model.pdstates"}


def test_val_plain_augmented_and_sliding(trained, weights, scenes):
    common = ["tools/val.py", "--config", CONFIG, "--model_path", weights]
    plain = run(*common, "--save_json", trained / "val.json", "--opts", *data(scenes))
    assert "classes present" in plain.stdout and "over all 150" in plain.stdout
    assert json.loads((trained / "val.json").read_text())["classes_present"] > 3
    run(*common, "--aug_eval", "--scales", 0.75, 1.0, "--flip_horizontal", "--opts", *data(scenes))
    run(*common, "--is_slide", "--crop_size", 96, 64, "--stride", 64, 48, "--opts", *data(scenes))


def test_predict_file_folder_and_list(trained, weights, scenes, tmp_path):
    images = sorted((scenes / "images" / "validation").glob("*.jpg"))
    listing = tmp_path / "list.txt"
    shutil.copy(images[0], tmp_path / "my photo.jpg")
    listing.write_text(f"my photo.jpg\n{images[1]} its_label.png\n")
    odd = tmp_path / "odd.jpg"
    cv2.imwrite(str(odd), np.full((75, 131, 3), 120, "uint8"))
    for source, count in ((images[0], 1), (scenes / "images" / "validation", 4), (listing, 2), (odd, 1)):
        save_dir = tmp_path / f"out{count}{source.name}"
        run(
            "tools/predict.py",
            "--config",
            CONFIG,
            "--model_path",
            weights,
            "--image_path",
            source,
            "--save_dir",
            save_dir,
        )
        assert len(list((save_dir / "added_prediction").rglob("*.jpg"))) == count
        assert len(list((save_dir / "pseudo_color_prediction").rglob("*.png"))) == count
    with Image.open(save_dir / "pseudo_color_prediction" / "odd.png") as labels:
        assert labels.mode == "P" and labels.size == (131, 75) and np.asarray(labels).max() < 150


def test_deploy_yaml_says_what_comes_out(exported):
    content = yaml.safe_load((exported / "vim" / "deploy.yaml").read_text())["Deploy"]
    assert content["output_op"] == "vim" and content["output_dtype"] == "int32"
    assert content["input_shape"] == [1, 3, 128, 160] and content["output_shape"] == [1, 128, 160]
    assert content["transforms"][-1]["type"] == "Normalize" and content["num_classes"] == 150
    assert (paddle.jit.load(str(exported / "vim" / "model"))(paddle.zeros([1, 3, 128, 160])).shape) == [1, 128, 160]


def test_vim_of_the_yaml_with_output_op_none(trained, weights):
    done = run(
        "tools/export.py", "--config", CONFIG, "--model_path", weights, "--save_dir", trained / "seed",
        "--input_shape", 1, 3, 64, 64, "--output_op", "none", "--onnx", "--opts", "model.upsample=vim",
    )  # fmt: skip
    assert "vim, int32 [1, 64, 64]" in done.stdout
    assert "Checked under ONNX Runtime" in done.stdout and (trained / "seed" / "model.onnx").is_file()


def test_lite_on_this_machine(exported, scenes, tmp_path):
    image = next((scenes / "images" / "validation").glob("*.jpg"))
    run(
        "deploy/lite/gen_val_txt.py", "--image", image, "--deploy_yaml", exported / "vim" / "deploy.yaml",
        "--output", tmp_path / "image1.txt",
    )  # fmt: skip
    done = subprocess.run(
        ["sh", "deploy/lite/benchmark.sh", "host", exported, tmp_path / "test_result.txt", tmp_path / "image1.txt"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode in (0, 7), done.stdout + done.stderr  # 7: too busy a machine to believe the times
    text = (tmp_path / "test_result.txt").read_text()
    assert "======= Perf Info =======" in text and "Model=vim Threads=1" in text
    for path in (tmp_path / "test_result_json").glob("*-t1.json"):
        result = json.loads(path.read_text())
        assert result["agreement"] >= 0.999, result["agreement_note"]
        assert len(result["series_ms"]) >= 50


def test_console_command(tmp_path):
    done = run(
        "-m",
        "paddleseg_ext_tools",
        "make_scenes",
        "--save_dir",
        tmp_path / "s",
        "--train",
        2,
        "--val",
        1,
        "--size",
        64,
        96,
    )
    assert "2 training and 1 validation" in done.stdout
    assert cv2.imread(str(next((tmp_path / "s" / "images" / "training").iterdir()))).shape == (64, 96, 3)
