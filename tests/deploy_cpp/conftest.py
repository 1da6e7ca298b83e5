"""Builds deploy/cpp as `make cpp` does, and exports what it is tried on."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from filelock import FileLock
from models.zoo import filled
from PIL import Image

from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml, write_deploy_yaml
from paddleseg_ext_tools.scenes import make_scene

ROOT = Path(__file__).parents[2]
BACKENDS = ("paddle", "openvino")
NORMALIZE = {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
KEEP_RATIO = {"type": "Resize", "target_size": [192, 128], "keep_ratio": True, "size_divisor": 32}
FIXED = [1, 3, 96, 160]
OPEN_OPS = ("argmax", "none")


def input_shape(output_op):
    return [None, 3, None, None] if output_op in OPEN_OPS else FIXED


def transforms(output_op):
    return [KEEP_RATIO, NORMALIZE] if output_op in OPEN_OPS else [NORMALIZE]


class Levels(SegmentationModel):
    """32 classes: levels of a mixture of the channels, so that labels tell how an image was prepared."""

    def __init__(self):
        super().__init__(num_classes=32)
        self.mix = paddle.nn.Conv2D(3, 1, 1)
        self.mix.weight.set_value(np.float32([4.0, 2.4, 1.6]).reshape(1, 3, 1, 1))
        self.mix.bias.set_value(np.float32([16.0]))

    def logits(self, x):
        number = paddle.arange(32, dtype="float32").reshape([1, 32, 1, 1])
        return 2.0 * number * self.mix(x) - number * number


def missing_tools():
    """What stands in the way of building: a compiler, cmake, or a Debian package."""
    missing = [tool for tool in ("cmake", "g++", "make") if not shutil.which(tool)]
    headers = ("opencv4/opencv2/imgcodecs.hpp", "yaml-cpp/yaml.h", "png.h")
    return missing + [header for header in headers if not (Path("/usr/include") / header).exists()]


@pytest.fixture(scope="session")
def program():
    """The program, built from this checkout without a warning. Not skipped in CI, which installs what it needs."""
    if missing := missing_tools():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"deploy/cpp needs {', '.join(missing)}")
    build = ROOT / "build" / "cpp"
    build.mkdir(parents=True, exist_ok=True)
    with FileLock(ROOT / "build" / "cpp.lock"):  # the test processes share it
        for command in (
            ["cmake", "-S", ROOT / "deploy" / "cpp", "-B", build, f"-DPython={sys.executable}"],
            ["cmake", "--build", build, "--parallel", "2"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=800)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "warning:" not in done.stderr, done.stderr
    return build / "segment"


@pytest.fixture
def segment(program, tmp_path):
    """Runs the program as a user would, in an empty folder; returns the finished process."""

    def run(*arguments, code=0):
        command = [str(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=200, cwd=tmp_path)
        codes = code if isinstance(code, tuple) else (code,)
        assert done.returncode in codes, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three photographs of odd sizes; one is stored lying, with EXIF data that says so."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, (height, width, name) in enumerate([(97, 131, "a.jpg"), (151, 203, "b.png"), (119, 75, "c.jpg")]):
        image = Image.fromarray(make_scene(seed, height, width)[0])
        exif = Image.Exif()
        if name == "c.jpg":
            exif[0x0112] = 6
        image.save(folder / name, exif=exif)
    return folder


@pytest.fixture(scope="session")
def network():
    """PP-MobileSeg-Tiny with the golden weights."""
    return filled("pp_mobileseg_tiny")


@pytest.fixture(scope="session")
def exported(network, tmp_path_factory):
    """Exports the network once for an output op, and returns the folder.

    argmax and none take inputs of any size, and keep the ratio; the others take one size.
    """
    root = tmp_path_factory.mktemp("exported")

    def get(output_op):
        folder = root / output_op
        if not folder.exists():
            folder.mkdir()
            export(network, output_op, input_shape(output_op), folder, network.num_classes, transforms(output_op))
        return folder

    return get


@pytest.fixture(scope="session")
def levels():
    """The network whose labels tell how an image was prepared."""
    return Levels()


@pytest.fixture(scope="session")
def levels_exported(levels, tmp_path_factory):
    """It, exported with its scores for images of any size."""
    folder = tmp_path_factory.mktemp("levels")
    export(levels, "none", [None, 3, None, None], folder, 32, [NORMALIZE])
    return folder


@pytest.fixture
def model(levels_exported, tmp_path):
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(levels_exported, tmp_path / "model"))


@pytest.fixture
def describe(model):
    """Changes what the deploy.yaml of `model` says."""

    def change(**values):
        write_deploy_yaml(replace(read_deploy_yaml(model), **values), model)

    return change


@pytest.fixture
def photo(tmp_path):
    """One small picture."""
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), make_scene(7, 45, 67)[0][:, :, ::-1])
    return path


@pytest.fixture
def mask_of():
    """The indices of a palette PNG."""

    def read(path):
        with Image.open(path) as file:
            assert file.mode == "P"
            return np.asarray(file)

    return read
