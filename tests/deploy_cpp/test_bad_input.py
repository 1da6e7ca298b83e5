"""Whatever is wrong ends in one message and the exit code of its kind."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from deploy_cpp.conftest import BACKENDS, NORMALIZE
from PIL import Image

from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml, write_deploy_yaml

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

USAGE, DATA, MODEL, RUNTIME = 2, 4, 6, 7


def message(done):
    lines = done.stderr.splitlines()
    assert lines and lines[0].startswith("error: "), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--config is missing"),
        (["--config", "x"], "--image_path is missing"),
        (["--config"], "--config needs a value"),
        (["--colour", "red"], "unknown flag --colour"),
        (["--config", "x", "--image_path", "y", "z"], "unexpected z"),
        (["--config", "x", "--image_path", "y", "--threads", "two"], "--threads takes a number from 1"),
        (["--config", "x", "--image_path", "y", "--repeats", "0"], "--repeats takes a number from 1"),
        (["--config", "/nowhere/at/all", "--image_path", "y"], "does not exist"),
    ],
)
def test_command_lines(segment, arguments, words):
    done = segment(*arguments, code=USAGE)
    assert words in message(done) and len(done.stderr.splitlines()) == 1


def test_help(segment):
    assert "--image_path PATH" in segment("--help").stdout


def test_sources_are_kept(segment, model, photo):
    before = photo.read_bytes()
    done = segment("--config", model, "--image_path", photo, "--save_dir", photo.parent, code=USAGE)
    assert "would take its place; choose another --save_dir" in message(done) and photo.read_bytes() == before


def test_a_backend_that_was_not_built(segment, model, photo, tmp_path):
    arguments = ("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", "--backend", "tensorrt")
    assert "no backend tensorrt was built; there is openvino paddle" in message(segment(*arguments, code=USAGE))


def test_a_folder_that_cannot_be_written_to(segment, model, photo):
    done = segment("--config", model, "--image_path", photo, "--save_dir", "/proc/masks", code=USAGE)
    assert "cannot write to /proc/masks" in message(done)


def cut(path, photo):
    data = cv2.imencode(".jpg", cv2.imread(str(photo)))[1].tobytes()
    path.write_bytes(data[: len(data) // 2])


def bomb(path, _):
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (200_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    path.write_bytes(header + bytes(8) + b"IEND\xae\x42\x60\x82")


def wide_jpeg(path, photo):
    data = bytearray(cv2.imencode(".jpg", cv2.imread(str(photo)))[1].tobytes())
    frame = data.find(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


def turned_webp(path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        image.save(path, exif=exif)


def test_what_stands_behind_a_jpeg_is_nobodys_business(segment, model, photo, tmp_path, mask_of):
    """A motion photograph has a film there, in which any marker may occur."""
    with Image.open(photo) as image:
        image.save(tmp_path / "plain.jpg")
    (tmp_path / "motion.jpg").write_bytes((tmp_path / "plain.jpg").read_bytes() + b"\xff\xda film \xff\x00")
    for name in ("plain", "motion"):
        segment("--config", model, "--image_path", tmp_path / f"{name}.jpg", "--save_dir", tmp_path / "out")
    assert (mask_of(tmp_path / "out" / "plain.png") == mask_of(tmp_path / "out" / "motion.png")).all()


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("turned.webp", turned_webp, "is a WebP to be turned by its EXIF data"),
        ("cut.jpg", cut, "is truncated: it ends after"),
        ("cut.png", lambda path, photo: path.write_bytes(photo.read_bytes()[:-20]), "is truncated"),
        ("empty.png", lambda path, photo: path.write_bytes(b""), "is empty"),
        ("text.bmp", lambda path, photo: path.write_text("no picture"), "is not an image OpenCV can read"),
        ("bomb.png", bomb, "is 200000x200000; at most 100 million pixels are read"),
        ("wide.jpg", wide_jpeg, "is 65535x65535; at most"),
        ("folder.jpg", lambda path, photo: path.mkdir(), "names no image"),
    ],
)
def test_pictures(segment, model, photo, tmp_path, name, write, words):
    write(tmp_path / name, photo)
    done = segment("--config", model, "--image_path", tmp_path / name, "--save_dir", tmp_path / "out", code=DATA)
    assert words in message(done)
    assert not list((tmp_path / "out").glob("**/*"))


def test_a_bad_picture_does_not_stop_the_others(segment, model, photo, tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(photo, folder / "deep" / "good.PNG")
    (folder / "bad.jpg").write_bytes(b"no")
    done = segment("--config", model, "--image_path", folder, "--save_dir", tmp_path / "out", code=DATA)
    assert "1 of 2 pictures were left out" in message(done) and "bad.jpg" in done.stderr
    assert [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")] == ["deep/good.png"]


def test_lists(segment, model, photo, tmp_path):
    shutil.copy(photo, tmp_path / "with blank.png")
    (tmp_path / "list.txt").write_text(
        f"photo.png label.png\n\nwith blank.png\n{photo.parent}/../{tmp_path.name}/photo.png\n"
    )
    out = tmp_path / "out"
    done = segment("--config", model, "--image_path", tmp_path / "list.txt", "--save_dir", out, code=DATA)
    assert "would both give the mask photo.png" in message(done)
    (tmp_path / "list.txt").write_text("photo.png label.png\n\nwith blank.png\n")
    segment("--config", model, "--image_path", tmp_path / "list.txt", "--save_dir", out)
    assert sorted(path.name for path in out.iterdir()) == ["photo.png", "with blank.png"]


@pytest.mark.parametrize("content", [b"", b"notes.pdf\n", b"\0\1\2"])
def test_lists_without_pictures(segment, model, tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    done = segment("--config", model, "--image_path", tmp_path / "list.txt", "--save_dir", tmp_path, code=DATA)
    assert any(words in message(done) for words in ("names no image", "no image (by its ending)", "neither an image"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping"),
        ("a: [b", "is not yaml"),
        ("[" * 5000, "is not yaml"),
        ("- Deploy", "must be a mapping"),
        ("Lite: {}", "needs Deploy"),
        ("Deploy: {model: [1]}", "model that does not fit"),
        ("Deploy: {model: a}", "needs params"),
    ],
)
def test_yaml(segment, model, photo, text, words):
    (model / "deploy.yaml").write_text(text)
    assert words in message(segment("--config", model, "--image_path", photo, code=MODEL))


RESIZE = {"type": "Resize"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transforms": [{"type": "RandomBlur"}]}, "the transform RandomBlur, which this program does not have"),
        ({"transforms": [{**RESIZE, "keep_rato": True}]}, "does not know the setting 'keep_rato'"),
        ({"transforms": [{**RESIZE, "target_size": [64]}]}, "target_size of width and height"),
        ({"transforms": [{**RESIZE, "target_size": "big"}]}, "value for target_size that does not fit"),
        ({"transforms": [{**RESIZE, "interp": "RANDOM"}]}, "interp RANDOM"),
        ({"transforms": [{"type": "ResizeByShort", "short_size": [1, 2]}]}, "at random"),
        ({"transforms": [{"type": "ResizeByLong"}]}, "needs long_size"),
        ({"transforms": [{"type": "Normalize", "std": [0, 1, 1]}]}, "a 0 in std"),
        ({"transforms": [{"type": "Normalize", "mean": [1, 2]}]}, "2 values for mean"),
        ({"transforms": {"type": "Normalize"}}, "list of transforms"),
        ({"transforms": ["Normalize"]}, "must be a mapping"),
        ({"input_shape": [4, 3, 64, 64]}, "fixes a batch of 4"),
        ({"input_shape": [1, 7, 64, 64]}, "7 channels"),
        ({"input_shape": [1, 3]}, "input_shape of N C H W"),
        ({"color_order": "CMYK"}, "color_order CMYK"),
        ({"labels": [{"name": "wall", "color": "red"}]}, "the color red; needed is #rrggbb"),
        ({"labels": ["wall"]}, "must be a mapping"),
        ({"output_kind": "labels"}, "the graph gives scores, deploy.yaml says labels"),
        ({"model": "other.pdmodel"}, "other.pdmodel is missing"),
    ],
)
def test_descriptions(segment, model, describe, photo, tmp_path, changes, words):
    describe(**changes)
    done = segment("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", code=MODEL)
    assert words in message(done) and len(done.stderr.splitlines()) == 1


def test_padding_smaller_than_the_picture(segment, model, describe, photo, tmp_path):
    describe(transforms=[{"type": "Padding", "target_size": [60, 60]}, NORMALIZE])
    done = segment("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", code=DATA)
    assert "67x45 before Padding to 60x60" in message(done)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["model.pdmodel", "model.pdiparams"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "random"])
def test_graphs(segment, exported, photo, tmp_path, backend, name, how):
    model = shutil.copytree(exported("vim_exact"), tmp_path / "model")
    data = (model / name).read_bytes()
    (model / name).unlink()
    if how != "missing":
        random = np.random.RandomState(5).bytes(20_000)
        (model / name).write_bytes({"empty": b"", "half": data[: len(data) // 2], "random": random}[how])
    arguments = ("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", "--backend", backend)
    # Paddle reads some random .pdmodels to its end by a signal, which is told as a failure of the runtime.
    may_crash = (backend, name, how) == ("paddle", "model.pdmodel", "random")
    done = segment(*arguments, code=(MODEL, RUNTIME) if may_crash else MODEL)
    named = name if how == "missing" else "model.pdmodel"
    assert ("ended by SIG" if done.returncode == RUNTIME else named) in message(done)
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_size_the_graph_does_not_take(segment, exported, photo, tmp_path, backend):
    model = shutil.copytree(exported("vim_exact"), tmp_path / "model")
    write_deploy_yaml(replace(read_deploy_yaml(model), input_shape=[1, 3, 64, 160]), model)
    arguments = ("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", "--backend", backend)
    assert "failed at 1x3x64x160: " in message(segment(*arguments, code=RUNTIME))


def test_an_onnx_file_for_paddle(segment, model, photo, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    done = segment("--config", model, "--image_path", photo, "--graph", tmp_path / "model.onnx", code=MODEL)
    assert "Paddle Inference reads .pdmodel" in message(done)


def endless(program, model, photo, out):
    """The program at work, and the process that does it."""
    command = [program, "--config", model, "--image_path", photo, "--save_dir", out, "--repeats", "1000000"]
    # A test run in the background of a shell ignores SIGINT, and so would what it starts.
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with open(children) as file:
            child = file.read().split()
        with open(f"/proc/{child[0]}/maps") if child else open(os.devnull) as maps:
            if "libsegment_paddle" in maps.read():
                return process, int(child[0])
        time.sleep(0.05)
    raise AssertionError("it did not start")


def test_a_crash_of_the_runtime_is_a_message(program, model, photo, tmp_path):
    process, child = endless(program, model, photo, tmp_path / "out")
    os.kill(child, signal.SIGKILL)
    stderr = process.communicate(timeout=100)[1]
    assert process.returncode == RUNTIME and "error: the runtime was ended by SIGKILL" in stderr


def test_ctrl_c(program, model, photo, tmp_path):
    process, _ = endless(program, model, photo, tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=100)[1] == "interrupted\n" and process.returncode == 128 + signal.SIGINT
    assert not list((tmp_path / "out").glob("*.png*"))


def test_a_backend_that_cannot_be_loaded(program, model, photo, tmp_path):
    copy = shutil.copy(program, tmp_path / "segment")
    (tmp_path / "libsegment_broken.so").write_text("no library")
    command = [copy, "--config", model, "--image_path", photo, "--save_dir", tmp_path / "out", "--backend", "broken"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == RUNTIME and "cannot load the backend broken: " in message(done)
