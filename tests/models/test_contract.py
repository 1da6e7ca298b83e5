"""One contract for every model of ours. A new model takes part by adding its golden file."""

import inspect
import itertools
import re

import numpy as np
import onnx
import paddle
import pytest
from golden.fill import image
from lite_arrays import measure_array
from models.zoo import VARIANTS, build, filled, golden, smooth_image
from nb_operators import count_operators
from paddleseg.cvlibs import manager

import paddleseg_ext
from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.output_ops import OUTPUT_OPS
from paddleseg_ext.registry import REPLACED
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import ONNX_FILE
from paddleseg_ext_runtime.output_ops import LABEL_OPS
from paddleseg_ext_runtime.runtimes import measure
from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.device import Settings

TOLERANCE = 1e-4
RUNTIMES = ("paddle_inference", "onnxruntime")
MATRIX = pytest.mark.matrix
FULL_RUN = "pp_mobileseg_tiny"  # with every output op in each run; the rest of the table is for `make matrix`
# A softmax does not see what is added to all keys, and a batch norm removes what a convolution adds before it.
WITHOUT_EFFECT = re.compile(r"attn\.to_k\.bn\.bias$|\._conv\.bias$")
TINY_ARM_OPERATORS = 291  # in argmax form; 362 as paddle 2.6 exports PaddleSeg's own


def one_op():
    """One output op in each run for the smallest variant of every family, in turn over those that give labels."""
    smallest = {}
    for variant in sorted(VARIANTS, key=lambda name: golden(name)["trainable"]):
        smallest.setdefault(golden(variant)["model"]["type"], variant)
    return dict(zip(sorted(set(smallest.values()) - {FULL_RUN}), itertools.cycle(LABEL_OPS)))


ONE_OP = one_op()


def test_our_components_take_paddlesegs_names():
    assert set(REPLACED) == {manager.MODELS, manager.BACKBONES, manager.DATASETS, manager.LOSSES}
    for components, names in REPLACED.items():
        assert all(components[name].__module__.startswith(paddleseg_ext.__name__) for name in names)


def test_every_golden_model_is_ours():
    for settings in (golden(variant)["model"] for variant in VARIANTS):
        for component in (manager.MODELS[settings["type"]], manager.BACKBONES[settings["backbone"]["type"]]):
            assert component.__module__.startswith(paddleseg_ext.__name__)


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_shapes_and_size(variant):
    expected = golden(variant)
    model = build(expected["model"])
    assert isinstance(model, SegmentationModel)
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == expected["state_dict"]
    assert sum(int(p.size) for p in model.parameters() if not p.stop_gradient) == expected["trainable"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(variant):
    model = filled(variant)
    for size, expected in golden(variant)["outputs"].items():
        batch, height, width = (int(length) for length in size.split("x"))
        with paddle.no_grad():
            (logits,) = model(paddle.to_tensor(image(height, width, batch)))
        assert list(logits.shape) == expected["shape"]
        logits, std = logits.numpy(), expected["std"]
        assert abs(logits.mean() - expected["mean"]) < TOLERANCE * std
        assert abs(logits.std() - std) < TOLERANCE * std
        for *index, value in expected["probes"]:
            assert abs(logits[tuple(index)] - value) < TOLERANCE * std


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(97, 161), (64, 33), (256, 192)])
def test_any_size_and_a_batch_is_its_images(variant, size):
    model = filled(variant)
    x = smooth_image(*size, batch=2)
    x[1] = x[1].flip([1, 2])
    with paddle.no_grad():
        (both,) = model(x)
        alone = paddle.concat([model(x[i : i + 1])[0] for i in range(2)])
    assert list(both.shape) == [2, model.num_classes, *size]
    assert np.isfinite(both.numpy()).all()
    assert np.abs(both.numpy() - alone.numpy()).max() < 1e-3 * float(both.std())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant):
    backbone = dict(golden(variant)["model"]["backbone"])
    if "drop_path_rate" in inspect.signature(manager.BACKBONES[backbone["type"]]).parameters:
        backbone["drop_path_rate"] = 0.0  # on a batch of two it now and then drops a whole branch
    model = filled(variant, backbone=backbone)
    model.train()
    outputs = model(smooth_image(96, 128, batch=2))
    assert all(list(logits.shape) == [2, model.num_classes, 96, 128] for logits in outputs)
    sum((logits * paddle.randn(logits.shape)).mean() for logits in outputs).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if not p.stop_gradient}
    still = {name for name, grad in trained.items() if grad is None or not np.abs(grad.numpy()).max() > 0}
    assert [name for name in still if not WITHOUT_EFFECT.search(name)] == []
    assert all(np.isfinite(grad.numpy()).all() for grad in trained.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_backbone_lists_its_features(variant):
    backbone = filled(variant).backbone
    with paddle.no_grad():
        features = backbone(smooth_image(128, 192))
    features = features if isinstance(features, list) else [features]
    assert [x.shape[1] for x in features] == backbone.feat_channels
    assert [x.shape[2:] for x in features] == [[128 // stride, 192 // stride] for stride in backbone.feat_strides]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_batch_norm_becomes_synchronised(variant):
    model = build(golden(variant)["model"])
    norms = sum(type(layer).__name__.startswith("BatchNorm") for layer in model.sublayers())
    converted = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    kinds = [type(layer).__name__ for layer in converted.sublayers()]
    assert kinds.count("SyncBatchNorm") == norms > 0
    assert not any(kind.startswith("BatchNorm") for kind in kinds)


@pytest.mark.parametrize("variant", VARIANTS)
def test_vim_in_the_yaml(variant):
    model = filled(variant, upsample="vim")
    x = smooth_image(64, 96)
    with paddle.no_grad():
        (labels,) = model(x)
        expected = OUTPUT_OPS["vim"](model.align_corners)(model.logits(x), [64, 96])
    assert labels.dtype == paddle.int32 and labels.shape == [1, 64, 96]
    assert (labels == expected).all()
    model.train()
    assert model(smooth_image(64, 96, batch=2))[0].shape == [2, model.num_classes, 64, 96]


def marks(variant, output_op):
    is_daily = ONE_OP.get(variant) == output_op or (variant == FULL_RUN and output_op not in ("softmax", "none"))
    return [] if is_daily else [MATRIX]


def _export_cases():
    return [pytest.param(variant, op, marks=marks(variant, op)) for variant in VARIANTS for op in OUTPUT_OPS]


def assert_equal_output(actual, expected, is_labels):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if is_labels:
        assert (actual == expected).mean() >= 0.999
    else:
        assert np.abs(actual - expected).max() <= 5e-3 * expected.std()


@pytest.mark.parametrize(("variant", "output_op"), _export_cases())
def test_every_output_op_exports_converts_and_agrees(variant, output_op, tmp_path):
    check_export(variant, output_op, tmp_path, (96, 128))
    if (variant, output_op) == ("pp_mobileseg_tiny", "argmax"):
        assert sum(count_operators(tmp_path / "arm.nb").values()) == TINY_ARM_OPERATORS


def check_export(variant, output_op, tmp_path, size):
    """Exports, and compares the network with what Paddle's loader, Paddle-Lite and each runtime make of the files."""
    model = filled(variant)
    op = OUTPUT_OPS[output_op](model.align_corners)
    report = export(model, output_op, [1, 3, *size], tmp_path, model.num_classes)
    assert report.agreement.is_good
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model.pdmodel", "model.pdiparams", "model.pdiparams.info", "deploy.yaml"}

    x = smooth_image(*size)
    with paddle.no_grad():
        expected = op(model.logits(x), list(size)).numpy()
        assert_equal_output(paddle.jit.load(str(tmp_path / "model"))(x).numpy(), expected, op.is_labels)
    assert not op.is_labels or len(np.unique(expected)) > 1  # one class everywhere would agree with anything
    assert list(expected.shape) == report.config.output_shape
    assert str(expected.dtype) == report.config.output_dtype

    for target in ("arm", "x86"):
        nb_file = tmp_path / f"{target}.nb"
        convert(tmp_path / "model.pdmodel", tmp_path / "model.pdiparams", nb_file, target, find_opt())
        operators = count_operators(nb_file)
        assert "batch_norm" not in operators, f"unfused for {target}: {operators}"
    (lite,) = measure_array(tmp_path / "x86.nb", x.numpy(), Settings(warmup=0, repeats=1)).outputs
    assert_equal_output(lite.reshape(expected.shape), expected, op.is_labels)

    assert export_onnx(tmp_path).agreement.is_good
    graph = onnx.load(str(tmp_path / ONNX_FILE)).graph
    assert [one.name for one in graph.input] == [report.config.input_name]
    assert [one.name for one in graph.output] == [report.config.output_kind]
    for runtime in RUNTIMES:
        (actual,) = measure(runtime, tmp_path, x.numpy()).outputs
        assert_equal_output(actual, expected, op.is_labels)


@pytest.mark.parametrize("output_op", ["vim", *(pytest.param(op, marks=MATRIX) for op in ("argmax", "vim_exact"))])
def test_base_at_its_published_size(output_op, tmp_path):
    check_export("pp_mobileseg_base", output_op, tmp_path, (512, 512))


@pytest.mark.parametrize("variant", [pytest.param(v, marks=marks(v, "argmax")) for v in VARIANTS])
def test_open_sizes_export(variant, tmp_path):
    model = filled(variant)
    config = export(model, "vim_exact", [None, 3, None, None], tmp_path, model.num_classes).config
    assert read_deploy_yaml(tmp_path) == config
    assert config.input_shape == [None, 3, None, None] and config.output_shape == [None, None, None]
    export_onnx(tmp_path)
    x = smooth_image(64, 160, batch=2)
    with paddle.no_grad():
        expected = OUTPUT_OPS["argmax"](model.align_corners)(model.logits(x), [64, 160]).numpy()
    for runtime in RUNTIMES:
        assert_equal_output(measure(runtime, tmp_path, x.numpy()).outputs[0], expected, True)


def test_four_channels_export(tmp_path):
    settings = golden("pp_mobileseg_tiny")["model"]
    model = build({**settings, "backbone": {**settings["backbone"], "in_channels": 4}})
    normalize = [{"type": "Normalize", "mean": [0.1] * 4, "std": [0.5] * 4}]
    assert export(model, "argmax", [1, 4, 64, 64], tmp_path, 150, normalize).agreement.is_good


@pytest.mark.parametrize("output_op", ["none", "argmax"])
def test_an_export_that_computes_something_else_is_not_written(output_op, tmp_path, monkeypatch):
    def wrong(runtime, folder, arrays):
        shape = (1, 64, 64) if output_op == "argmax" else (1, 150, 64, 64)
        return [np.full(shape, 7, "int32") if output_op == "argmax" else np.full(shape, np.nan, "float32")]

    monkeypatch.setattr("paddleseg_ext.export.static_graph.outputs_for", wrong)
    with pytest.raises(ConversionError, match="disagrees with the network"):
        export(filled("pp_mobileseg_tiny"), output_op, [1, 3, 64, 64], tmp_path, 150)
    assert list(tmp_path.iterdir()) == []
