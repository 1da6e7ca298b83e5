"""The C++ program gives the labels that Python gives for the same photograph."""

import json
import shutil
from dataclasses import replace

import numpy as np
import paddle
import pytest
from deploy_cpp.conftest import BACKENDS, NORMALIZE, Levels, input_shape, transforms
from deploy_cpp.expected import labels_of_labels, labels_of_scores, prepare
from paddle.nn import functional as F
from PIL import Image
from transform_table import TRANSFORMS

from paddleseg_ext.export.static_graph import export
from paddleseg_ext_runtime.deploy_yaml import describe_labels, read_deploy_yaml, write_deploy_yaml
from paddleseg_ext_runtime.label_map import palette, write_labels
from paddleseg_ext_runtime.output_ops import LABEL_OPS
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.runtimes import ModelProcess
from paddleseg_ext_runtime.segmenter import ExportedSegmenter
from paddleseg_ext_tools.scenes import make_scene

# The first test builds the program.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

MIN_EQUAL = 0.999


def check(photos, masks, mask_of, reference):
    for path in sorted(photos.iterdir()):
        expected, actual = reference(path), mask_of(masks / f"{path.stem}.png")
        assert actual.shape == expected.shape
        equal = float((actual == expected).mean())
        assert equal >= MIN_EQUAL, f"{path.name}: {100 * equal:.3f} % of the labels are equal"
        assert len(np.unique(expected)) > 2


def expected(network, output_op, path):
    sample = prepare(path, transforms(output_op), input_shape(output_op)[2:])
    return labels_of_labels(network, output_op, sample) if output_op in LABEL_OPS else labels_of_scores(network, sample)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("output_op", ["argmax", "vim", "vim_exact", "none", "decoder"])
def test_three_photographs(segment, exported, network, photos, mask_of, tmp_path, output_op, backend):
    folder = exported(output_op)
    done = segment(
        "--config", folder, "--image_path", photos, "--save_dir", tmp_path, "--backend", backend, "--threads", 2,
    )  # fmt: skip
    assert f"2 threads: {folder}/model.pdmodel, {output_op}, 150 classes" in done.stdout
    check(photos, tmp_path, mask_of, lambda path: expected(network, output_op, path))


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_are_those_of_predict_where_nothing_is_resized(
    segment, exported, network, photos, mask_of, tmp_path, backend
):
    model = shutil.copytree(exported("argmax"), tmp_path / "model")
    write_deploy_yaml(replace(read_deploy_yaml(model), transforms=[NORMALIZE]), model)
    segment("--config", model, "--image_path", photos, "--save_dir", tmp_path / "out", "--backend", backend)
    check(photos, tmp_path / "out", mask_of, lambda path: labels_of_scores(network, prepare(path, [NORMALIZE])))


def test_every_pixel_is_that_of_paddle_inference_in_python(segment, exported, photos, mask_of, tmp_path):
    """Reading, transforms and arithmetic are then the same, not merely close."""
    folder = exported("argmax")
    segment("--config", folder, "--image_path", photos, "--save_dir", tmp_path)
    check_every_pixel(folder, photos, tmp_path, mask_of)


def check_every_pixel(folder, photos, masks, mask_of):
    with ModelProcess("paddle_inference", folder) as process:
        segmenter = ExportedSegmenter(process, read_deploy_yaml(folder))
        for path in sorted(photos.iterdir()):
            labels = segmenter.segment(read_image(path))
            assert (mask_of(masks / f"{path.stem}.png") == labels).all(), path.name


def test_every_pixel_where_all_values_count(segment, model, describe, mask_of, tmp_path):
    """32 levels of a smooth picture, resized: a value that differs in its last digits changes labels at some border."""
    describe(transforms=[NORMALIZE], input_shape=[1, 3, 192, 256])
    (tmp_path / "large").mkdir()
    for seed, size in ((4, (203, 317)), (74, (251, 187)), (201, (333, 451))):
        Image.fromarray(make_scene(seed, *size)[0]).save(tmp_path / "large" / f"{seed}.jpg")
    segment("--config", model, "--image_path", tmp_path / "large", "--save_dir", tmp_path / "out")
    check_every_pixel(model, tmp_path / "large", tmp_path / "out", mask_of)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(segment, model, describe, levels, photos, mask_of, tmp_path, name):
    steps = [*TRANSFORMS[name], NORMALIZE]
    describe(transforms=steps)
    segment("--config", model, "--image_path", photos, "--save_dir", tmp_path / "out")
    check(photos, tmp_path / "out", mask_of, lambda path: labels_of_scores(levels, prepare(path, steps)))


def test_normalize_of_one_number_and_bgr(segment, model, describe, levels, photos, mask_of, tmp_path):
    steps = [{"type": "Normalize", "mean": [0.4], "std": [0.25]}]
    describe(transforms=steps, color_order="BGR")
    segment("--config", model / "deploy.yaml", "--image_path", photos, "--save_dir", tmp_path / "out")

    def reference(path):
        sample = prepare(path, steps)
        return labels_of_scores(levels, {**sample, "img": np.ascontiguousarray(sample["img"][::-1])})

    check(photos, tmp_path / "out", mask_of, reference)


def test_the_mask_is_the_file_that_predict_writes(segment, model, photo, tmp_path, mask_of):
    segment("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out")
    labels = mask_of(tmp_path / "out" / "photo.png")
    write_labels(tmp_path / "python.png", labels, palette())
    with Image.open(tmp_path / "python.png") as ours, Image.open(tmp_path / "out" / "photo.png") as theirs:
        assert ours.getpalette() == theirs.getpalette() and len(theirs.getpalette()) == 768
        assert ours.size == theirs.size == (67, 45)


def test_the_colours_are_those_of_deploy_yaml(segment, model, describe, photo, tmp_path):
    labels = describe_labels(32)
    labels[5]["color"] = "#0a14FF"
    describe(labels=labels)
    segment("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out")
    wanted = palette()
    wanted[5] = 10, 20, 255
    with Image.open(tmp_path / "out" / "photo.png") as file:
        assert file.getpalette() == wanted.reshape(-1).tolist()
    assert (read_deploy_yaml(model).colors() == wanted).all()


def test_a_yaml_of_paddleseg(segment, model, photo, tmp_path, levels, mask_of):
    """It says less, and an input of any size as -1."""
    (model / "deploy.yaml").write_text(
        "Deploy:\n  input_shape: [-1, 3, -1, -1]\n  model: model.pdmodel\n  params: model.pdiparams\n"
        "  output_dtype: float32\n  output_op: none\n  transforms: [{type: Normalize}]\n"
    )
    segment("--config", model, "--image_path", photo, "--save_dir", tmp_path / "out")
    expected = labels_of_scores(levels, prepare(photo, [{"type": "Normalize"}]))
    assert (mask_of(tmp_path / "out" / "photo.png") == expected).mean() >= MIN_EQUAL


class Gate(Levels):
    """An activation behind another, as BiSeNetV1 has it: one of oneDNN's fusions would leave the relu out."""

    def __init__(self):
        super().__init__()
        self.gate = paddle.nn.Conv2D(3, 1, 3, padding=1, bias_attr=False)

    def logits(self, x):
        return Levels.logits(self, x * F.sigmoid(F.relu(self.gate(x))))


@pytest.mark.parametrize("says", ["as exported", "nothing"])
def test_no_fusion_that_miscomputes(segment, photos, mask_of, tmp_path, says):
    paddle.seed(1)
    network, folder = Gate(), tmp_path / "gate"
    folder.mkdir()
    config = export(network, "none", [None, 3, None, None], folder, 32, [NORMALIZE]).config
    assert len(config.harmful_passes) == 2
    if says == "nothing":
        text = (folder / "deploy.yaml").read_text()
        (folder / "deploy.yaml").write_text("\n".join(line for line in text.splitlines() if "_pass" not in line))
    segment("--config", folder, "--image_path", photos, "--save_dir", tmp_path / "out")
    check(photos, tmp_path / "out", mask_of, lambda path: labels_of_scores(network, prepare(path, [NORMALIZE])))


def test_onnx(segment, exported, photos, mask_of, tmp_path):
    paddle2onnx = pytest.importorskip("paddle2onnx")
    folder = exported("vim_exact")
    paddle2onnx.export(str(folder / "model.pdmodel"), str(folder / "model.pdiparams"), str(tmp_path / "model.onnx"), 13)
    common = ("--config", folder, "--image_path", photos, "--backend", "openvino")
    segment(*common, "--save_dir", tmp_path / "paddle")
    segment(*common, "--save_dir", tmp_path / "onnx", "--graph", tmp_path / "model.onnx")
    check(photos, tmp_path / "onnx", mask_of, lambda path: mask_of(tmp_path / "paddle" / f"{path.stem}.png"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_times(segment, model, photos, tmp_path, backend):
    done = segment(
        "--config", model, "--image_path", photos, "--save_dir", tmp_path / "out", "--backend", backend,
        "--benchmark", "--repeats", 3, "--json", tmp_path / "times.json",
    )  # fmt: skip
    report = json.loads((tmp_path / "times.json").read_text())
    assert (report["warmup"], report["repeats"], report["threads"]) == (10, 3, 1)
    for phase in ("preprocessing_ms", "inference_ms", "postprocessing_ms", "total_ms"):
        assert len(report[phase]) == 9 and min(report[phase]) > 0
    parts = sum(np.array(report[f"{phase}_ms"]) for phase in ("preprocessing", "inference", "postprocessing"))
    assert np.allclose(parts, report["total_ms"], rtol=1e-4)
    assert report["init_ms"] > 0 and report["first_ms"] > 0 and report["peak_memory_mb"] > 10
    assert report["runtime"].startswith({"paddle": "Paddle Inference 2.6", "openvino": "OpenVINO 20"}[backend])
    assert [picture["width"] for picture in report["pictures"]] == [131, 203, 119]
    assert "9 counted runs" in done.stdout and "median" in done.stdout
