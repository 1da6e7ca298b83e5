"""Photographs by `POST /predict`: the masks of deploy/python/infer.py, and errors for what is none."""

import base64
import io
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from deploy_serving.conftest import CLASSES, ROOT
from PIL import Image

from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.label_map import overlay


@pytest.fixture(scope="module")
def offline(levels_folder, photos, tmp_path_factory):
    """What infer_onnx.py writes for the three photographs."""
    folder = tmp_path_factory.mktemp("masks")
    script = ROOT / "deploy" / "python" / "infer_onnx.py"
    command = [sys.executable, script, "--config", levels_folder, "--image_path", photos, "--save_dir", folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_masks_are_those_of_infer(server, photos, offline):
    for path in sorted(photos.iterdir()):
        status, headers, body = server.ask("/predict", path.read_bytes())
        assert status == 200 and headers["Content-Type"] == "image/png"
        assert {part.split(";")[0].strip() for part in headers["Server-Timing"].split(",")} == {
            "prepare", "model", "finish"
        }  # fmt: skip
        actual, expected = Image.open(io.BytesIO(body)), Image.open(offline / f"{path.stem}.png")
        assert actual.mode == "P" and actual.getpalette() == expected.getpalette()
        assert np.array_equal(np.asarray(actual), np.asarray(expected))
        assert len(np.unique(np.asarray(actual))) > 5


def test_the_other_results(server, levels_folder, photos, offline):
    path = photos / "b.png"
    labels = np.asarray(Image.open(offline / "b.png"))
    status, headers, body = server.ask("/predict?result=overlay", path.read_bytes())
    assert status == 200 and headers["Content-Type"] == "image/png"
    expected = overlay(cv2.imread(str(path)), labels, read_deploy_yaml(levels_folder).colors())
    assert np.array_equal(cv2.imdecode(np.frombuffer(body, "uint8"), cv2.IMREAD_COLOR), expected)
    about = json.loads(server.ask("/predict?result=json_mask", path.read_bytes())[2])
    mask = base64.b64decode(about.pop("mask").removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask))), labels)
    assert about == json.loads(server.ask("/predict?result=json", path.read_bytes())[2])
    assert (about["height"], about["width"]) == labels.shape
    assert {one["label"]: one["pixels"] for one in about["classes"]} == dict(
        zip(*(values.tolist() for values in np.unique(labels, return_counts=True)), strict=True)
    )
    assert all(one["name"] == CLASSES[one["label"]] for one in about["classes"])
    pixels = [one["pixels"] for one in about["classes"]]
    assert pixels == sorted(pixels, reverse=True)


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/predict", b"", 400, "the body is empty"),
        ("/predict", b"Dear server", 415, "send a JPEG, PNG or WebP file"),
        ("/predict", b"/etc/passwd", 415, "send a JPEG, PNG or WebP file"),
        ("/predict?result=labels", b"x", 400, "result must be one of mask, overlay, json"),
        ("/v2/models/levels/infer", b"{", 400, "not JSON: "),
        ("/nowhere", b"x", 404, "Not Found"),
    ],
)
def test_errors(server, path, body, status, reason):
    actual, headers, answer = server.ask(path, body)
    assert actual == status and headers["Content-Type"] == "application/json"
    assert reason in json.loads(answer)["error"]


def test_pixels_are_counted_before_they_are_decoded(server):
    buffer = io.BytesIO()
    Image.new("1", (5000, 4000)).save(buffer, "PNG")
    status, _, body = server.ask("/predict", buffer.getvalue())
    assert status == 413 and "the picture is 5000x4000; at most 16 million pixels" in json.loads(body)["error"]


def test_a_truncated_photograph_is_no_photograph(server, photos):
    data = (photos / "a.jpg").read_bytes()
    status, _, body = server.ask("/predict", data[: len(data) // 2])
    assert status == 400 and "truncated" in json.loads(body)["error"]


def test_methods(server):
    status, headers, body = server.ask("/predict", method="PUT", body=b"x")
    assert status == 405 and headers["Allow"] == "POST" and "error" in json.loads(body)
