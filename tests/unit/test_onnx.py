"""ONNX from exported folders, and running both forms: on networks of a few operators, so that each case is a second."""

import numpy as np
import onnx
import paddle
import pytest
from models.zoo import smooth_image
from paddle.nn import functional as F

from paddleseg_ext.export import onnx as onnx_export
from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import OUTPUT_OPS
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.runtimes import measure

RUNTIMES = ("paddle_inference", "onnxruntime")


class Small(paddle.nn.Layer):
    """Logits [B, 5, H/2, W/2] of 5 classes; subclasses say what happens to the features."""

    align_corners = False

    def __init__(self):
        super().__init__()
        paddle.seed(1)
        self.stem = paddle.nn.Conv2D(3, 8, 3, stride=2, padding=1)
        self.classifier = paddle.nn.Conv2D(8, 5, 1)

    def logits(self, x):
        return self.classifier(self.between(self.stem(x)))

    def between(self, x):
        return F.hardswish(x)


class Pooled(Small):
    def between(self, x):
        maps = [x]
        for size in (1, 2, 3, [7, 5]):
            for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
                maps.append(resize(pool(x, size), x.shape[2:]))
        return paddle.add_n(maps)


class Unpooled(Small):
    def between(self, x):
        pooled, indices = F.max_pool2d(x, 2, return_mask=True)
        return F.max_unpool2d(pooled, indices, 2)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    export(Small(), "vim_exact", [1, 3, 24, 32], folder, 5)
    return folder


def assert_equal_output(actual, expected, is_labels):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if is_labels:
        assert (actual == expected).mean() >= 0.999
    else:
        assert np.abs(actual - expected).max() <= 5e-3 * expected.std()


def test_open_sizes(tmp_path):
    model = Small()
    export(model, "vim", [None, 3, None, None], tmp_path, 5)
    export_onnx(tmp_path)
    x = smooth_image(21, 34, batch=2)
    expected = OUTPUT_OPS["vim"]()(model.logits(x), [21, 34]).numpy()
    for runtime in RUNTIMES:
        assert_equal_output(measure(runtime, tmp_path, x.numpy()).outputs[0], expected, True)


@pytest.mark.parametrize(
    "shape",
    [
        [2, 3, None, 40],
        pytest.param([1, 3, 50, 74], marks=pytest.mark.matrix),
        pytest.param([None, 3, None, None], marks=pytest.mark.matrix),
    ],
)
def test_adaptive_pooling_is_that_of_paddle(shape, tmp_path):
    model = Pooled()
    export(model, "none", shape, tmp_path, 5)
    report = export_onnx(tmp_path)
    assert report.corrected == {"adaptive poolings made exact": 6}  # all but those to one pixel
    height, width = (length or default for length, default in zip(shape[2:], (38, 54), strict=True))
    x = smooth_image(height, width, batch=shape[0] or 1)
    expected = resize(model.logits(x), [height, width]).numpy()
    assert_equal_output(measure("onnxruntime", tmp_path, x.numpy()).outputs[0], expected, False)


def test_a_second_size_that_paddle_inference_computes_wrongly_is_found(tmp_path):
    """It chooses a kernel for the windows of the first input, here equal ones, and keeps it for all that follow."""

    class Kept(Small):
        def between(self, x):
            return x + resize(F.adaptive_avg_pool2d(x, [4, 5]), x.shape[2:])

    with pytest.raises(ConversionError, match=r"disagrees with the network: .*; of a fixed --input_shape it may agree"):
        export(Kept(), "none", [1, 3, None, 40], tmp_path, 5)
    assert list(tmp_path.iterdir()) == []
    export(Kept(), "none", [1, 3, 203, 40], tmp_path, 5)


def test_pooling_that_divides_is_left_alone(tmp_path):
    class Even(Small):
        def between(self, x):
            return x + resize(F.adaptive_avg_pool2d(x, [3, 4]), x.shape[2:])

    export(Even(), "none", [1, 3, 24, 32], tmp_path, 5)
    assert export_onnx(tmp_path).corrected == {"adaptive poolings made exact": 0}


def test_a_wrong_conversion_is_not_written(tmp_path, monkeypatch):
    export(Pooled(), "none", [1, 3, 50, 74], tmp_path, 5)
    before = set(tmp_path.iterdir())
    monkeypatch.setattr("paddleseg_ext.export.onnx_passes.exact_adaptive_pooling", lambda *_: 0)
    with pytest.raises(ConversionError, match="ONNX Runtime disagrees with Paddle Inference"):
        export_onnx(tmp_path)
    assert set(tmp_path.iterdir()) == before


def test_an_operator_without_onnx_is_named(small, tmp_path):
    export(Unpooled(), "argmax", [1, 3, 24, 32], tmp_path, 5)
    (tmp_path / "model.onnx").write_bytes(b"of before")
    with pytest.raises(ConversionError, match="paddle2onnx cannot convert unpool") as caught:
        export_onnx(tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "model.onnx").read_bytes() == b"of before"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_new_export_takes_the_old_onnx_file_away(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"of before")
    export(Small(), "argmax", [1, 3, 24, 32], tmp_path, 5)
    assert not (tmp_path / "model.onnx").exists()
    with pytest.raises(ConversionError, match=r"model\.onnx is missing; tools/export\.py --onnx writes it"):
        measure("onnxruntime", tmp_path, np.zeros([1, 3, 24, 32], "float32"))


def test_the_opset_is_the_lowest_that_serves_or_as_asked(small, tmp_path):
    assert export_onnx(small, tmp_path / "lowest.onnx").opset == 14  # hard_swish
    report = export_onnx(small, tmp_path / "asked.onnx", opset=16)
    assert report.opset == 16 and onnx.load(str(report.file)).opset_import[0].version == 16
    with pytest.raises(ConversionError, match="hard_swish needs opset 14 or newer"):
        export_onnx(small, tmp_path / "old.onnx", opset=11)
    with pytest.raises(ConversionError, match="opset 17 is asked for; paddle2onnx writes 11 to 16"):
        export_onnx(small, tmp_path / "new.onnx", opset=17)
    assert {path.name for path in tmp_path.iterdir()} == {"lowest.onnx", "asked.onnx"}


def test_a_conversion_has_a_time_limit(small, tmp_path):
    with pytest.raises(ConversionError, match=r"did not finish within 0\.05 s"):
        export_onnx(small, tmp_path / "late.onnx", timeout_s=0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_measuring(runtime, small):
    if not (small / "model.onnx").exists():
        export_onnx(small)
    result = measure(runtime, small, smooth_image(24, 32).numpy(), warmup=2, repeats=5)
    assert len(result.series_ms) == 5 and min(result.series_ms) > 0
    assert result.init_ms > 0 and result.first_ms > 0 and result.cpu_per_wall > 0
    assert result.runtime == runtime
    assert result.runtime_version == {"paddle_inference": "2.6.2", "onnxruntime": "1.23.2"}[runtime]
    assert [output.dtype for output in result.outputs] == [np.dtype("int32")]


def test_an_unknown_runtime():
    with pytest.raises(ValueError, match="'tensorflow' is no runtime of paddle_inference, "):
        measure("tensorflow", "anywhere", np.zeros(1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_runtime_refuses_is_said_without_a_traceback(runtime, small, tmp_path):
    for name in ("model.pdmodel", "model.pdiparams", "model.onnx"):
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(ConversionError, match=f"{runtime} (failed|was ended)") as caught:
        measure(runtime, tmp_path, np.zeros([1, 3, 24, 32], "float32"))
    assert "Traceback" not in str(caught.value)


def test_a_runtime_that_dies_costs_an_error(tmp_path):
    """ONNX Runtime divides by a stride of 0 that is in the file."""
    value = onnx.helper.make_tensor_value_info
    pool = onnx.helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[1, 1], strides=[0, 0])
    graph = onnx.helper.make_graph([pool], "g", [value("x", 1, [1, 3, 8, 8])], [value("y", 1, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=7)
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(ConversionError, match="onnxruntime was ended by SIGFPE"):
        measure("onnxruntime", tmp_path, np.zeros([1, 3, 8, 8], "float32"))


def test_paddle_inference_keeps_both_of_two_activations(tmp_path):
    """oneDNN's fusion would leave the relu out."""

    class Gate(Small):
        def __init__(self):
            super().__init__()
            self.gate = paddle.nn.Conv2D(8, 8, 3, padding=1, bias_attr=False)

        def between(self, x):
            return x * F.sigmoid(F.relu(self.gate(x)))

    model, x = Gate(), smooth_image(24, 32)
    export(model, "none", [1, 3, 24, 32], tmp_path, 5)
    expected = resize(model.logits(x), [24, 32]).numpy()
    assert_equal_output(measure("paddle_inference", tmp_path, x.numpy()).outputs[0], expected, False)


def test_a_folder_that_is_no_export(tmp_path):
    with pytest.raises(ConversionError, match="is not an exported model"):
        export_onnx(tmp_path)
    assert onnx_export.ONNX_FILE == "model.onnx"
