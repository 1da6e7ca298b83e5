"""PaddleSeg's own models through our export: VIM before their upsampling, in every runtime with their operators."""

import numpy as np
import paddle
import pytest
from golden.fill import fill
from lite_arrays import measure_array
from models.zoo import build, smooth_image
from paddle.nn import functional as F

from paddleseg_ext.export.decoder_logits import WithLogits, with_logits
from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.program import argument, read_program
from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.output_ops import OUTPUT_OPS, ExportModel
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.runtimes import measure
from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.device import Settings
from paddleseg_lite.errors import LiteError

SIZE = (128, 192)
RESNET = {"type": "ResNet18_vd", "output_stride": 8}
MODELS = {
    "bisenet_v1": {"type": "BiseNetV1", "backbone": {"type": "ResNet18_vd"}},
    "bisenet_v2": {"type": "BiSeNetV2"},
    "danet": {"type": "DANet", "backbone": RESNET, "backbone_indices": [2, 3]},
    "ddrnet_23": {"type": "DDRNet_23"},
    "deeplabv3p": {"type": "DeepLabV3P", "backbone": RESNET, "backbone_indices": [0, 3]},
    "espnet_v2": {"type": "ESPNetV2"},
    "fast_scnn": {"type": "FastSCNN"},
    "fcn_hrnet_small": {"type": "FCN", "backbone": {"type": "HRNet_W18_Small_V1"}},
    "hardnet": {"type": "HarDNet"},
    "ocrnet": {"type": "OCRNet", "backbone": {"type": "HRNet_W18_Small_V1"}, "backbone_indices": [0]},
    "pp_humanseg_lite": {"type": "PPHumanSegLite", "num_classes": 2},
    "pspnet": {"type": "PSPNet", "backbone": RESNET, "enable_auxiliary_loss": False},
    "rtformer": {"type": "RTFormer"},
    "segformer_b0": {"type": "SegFormer", "backbone": {"type": "MixVisionTransformer_B0"}, "embedding_dim": 256},
    "sfnet": {"type": "SFNet", "backbone": RESNET, "backbone_indices": [0, 1, 2, 3]},
    "stdcseg": {"type": "STDCSeg", "backbone": {"type": "STDC1"}},
    "unet": {"type": "UNet"},
}
# Pixels of the image to one of the decoder. DANet upsamples with align_mode 1, UNet not at its end.
SCALES = {
    "bisenet_v1": 8, "bisenet_v2": 8, "danet": 1, "ddrnet_23": 8, "deeplabv3p": 4, "espnet_v2": 2,
    "fast_scnn": 8, "fcn_hrnet_small": 4, "hardnet": 2, "ocrnet": 4, "pp_humanseg_lite": 2, "pspnet": 8,
    "rtformer": 8, "segformer_b0": 4, "sfnet": 4, "stdcseg": 8, "unet": 1,
}  # fmt: skip
# Where a runtime cannot, and what it says. SFNet computes the coordinates of a grid, ESPNetV2 counts in a loop how
# often it pools; on RTFormer opt dies. (ENet and SegNet are not here: no runtime but Paddle's has their unpool, and
# which of two nearly equal pixels a pooling takes is a matter of rounding.)
NOT_IN_ONNX = {
    "espnet_v2": "paddle2onnx wrote a wrong graph: .*Loop",
    "sfnet": "paddle2onnx wrote a wrong graph: .*ConstantOfShape",
}
NOT_CONVERTED = {("rtformer", "arm"): "SIGSEGV"}
NOT_RUN_BY_LITE = {"sfnet": "start index and end index are invalid"}
IN_EVERY_RUN = {("fast_scnn", "vim"), ("segformer_b0", "vim_exact")}


def paddleseg_model(name):
    model = build({"num_classes": 19, **MODELS[name]})
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in fill(model.state_dict()).items()})
    model.eval()
    return model


def marks(name, op):
    return [] if (name, op) in IN_EVERY_RUN else [pytest.mark.matrix]


@pytest.mark.parametrize(
    ("name", "output_op"),
    [pytest.param(name, op, marks=marks(name, op)) for name in MODELS for op in ("argmax", "vim", "vim_exact")],
)
def test_labels_are_those_of_the_models_own_logits(name, output_op, tmp_path):
    model, x, size = paddleseg_model(name), smooth_image(*SIZE), list(SIZE)
    watched = with_logits(model, x.numpy())
    with paddle.no_grad():
        own = model(x)[0].argmax(axis=1, dtype="int32").numpy()
        logits = watched.logits(x)
        dynamic = OUTPUT_OPS[output_op](watched.align_corners)(logits, size).numpy()
    assert list(logits.shape[2:]) == [length // SCALES[name] for length in SIZE]
    assert watched.is_before_upsampling == (SCALES[name] > 1)
    assert len(np.unique(own)) > 1
    # VIM loses what wins only between the decoder's pixels: 0.2 % of SFNet's labels under these weights.
    assert (dynamic == own).mean() >= (0.995 if output_op == "vim" else 1.0)

    assert export(model, output_op, [1, 3, *size], tmp_path, 19).agreement.is_good
    assert_equal(measure("paddle_inference", tmp_path, x.numpy()).outputs[0], dynamic)
    if name in NOT_IN_ONNX:
        with pytest.raises(ConversionError, match=NOT_IN_ONNX[name]):
            export_onnx(tmp_path)
    else:
        export_onnx(tmp_path)
        assert_equal(measure("onnxruntime", tmp_path, x.numpy()).outputs[0], dynamic)
    check_lite(name, tmp_path, x, dynamic)


def check_lite(name, folder, x, expected):
    for target in ("arm", "x86"):
        files = (folder / "model.pdmodel", folder / "model.pdiparams", folder / f"{target}.nb", target, find_opt())
        if (name, target) in NOT_CONVERTED:
            with pytest.raises(LiteError, match=NOT_CONVERTED[name, target]):
                convert(*files)
        else:
            convert(*files)
    settings = Settings(warmup=0, repeats=1)
    if name in NOT_RUN_BY_LITE:
        with pytest.raises(LiteError, match=NOT_RUN_BY_LITE[name]):
            measure_array(folder / "x86.nb", x.numpy(), settings)
        return
    (lite,) = measure_array(folder / "x86.nb", x.numpy(), settings).outputs
    assert_equal(lite.reshape(expected.shape), expected)


def assert_equal(labels, expected):
    assert labels.dtype == np.int32 and labels.shape == expected.shape
    assert (labels == expected).mean() >= 0.999


def test_the_upsampling_that_is_replaced_is_not_in_the_graph(tmp_path):
    export(paddleseg_model("fast_scnn"), "decoder", [1, 3, *SIZE], tmp_path, 19)
    program = read_program(tmp_path)
    (fetch,) = [op for op in program.operators() if op.type == "fetch"]
    assert program.uses()[argument(fetch, "X")] == 1


@pytest.mark.matrix
def test_open_sizes(tmp_path):
    export(paddleseg_model("bisenet_v2"), "vim_exact", [None, 3, None, None], tmp_path, 19)
    x = smooth_image(64, 96, batch=2)
    with paddle.no_grad():
        own = paddleseg_model("bisenet_v2")(x)[0].argmax(axis=1, dtype="int32").numpy()
    assert_equal(measure("paddle_inference", tmp_path, x.numpy()).outputs[0], own)


class Net(paddle.nn.Layer):
    """Logits at half the size; `end` makes of them what the model returns."""

    def __init__(self, end):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, stride=2, padding=1)
        self.end = end

    def forward(self, x):
        return self.end(self.conv(x), x)


def up(logits, x, **how):
    return F.interpolate(logits, x.shape[2:], **{"mode": "bilinear", **how})


@pytest.mark.parametrize(
    ("end", "align_corners"),
    [
        (lambda logits, x: [up(logits, x), logits], False),
        (lambda logits, x: (up(logits, x, align_corners=True),), True),
        (lambda logits, x: up(logits, x, align_corners=True, align_mode=1), True),
        (lambda logits, x: [F.interpolate(logits, scale_factor=2, mode="BILINEAR")], False),
        (lambda logits, x: [F.upsample(logits, x.shape[2:], mode="bilinear")], False),
        (lambda logits, x: [paddle.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(logits)], True),
    ],
    ids=["list", "tuple", "tensor", "scale_factor", "F.upsample", "nn.Upsample"],
)
def test_an_upsampling_at_the_end_is_found(end, align_corners):
    x = smooth_image(32, 48)
    net = Net(end)
    found = with_logits(net, x.numpy())
    assert found.is_before_upsampling and found.align_corners == align_corners
    assert np.array_equal(found.logits(x).numpy(), net.conv(x).numpy())
    own = net(x)
    own = own if isinstance(own, paddle.Tensor) else own[0]
    assert np.array_equal(ExportModel(found, OUTPUT_OPS["none"](align_corners))(x).numpy(), own.numpy())


@pytest.mark.parametrize(
    "end",
    [
        lambda logits, x: [F.softmax(up(logits, x), axis=1)],
        lambda logits, x: [up(logits, x, mode="nearest")],
        lambda logits, x: [up(logits, x, align_mode=1)],
        lambda logits, x: [F.interpolate(logits, [8, 8], mode="bilinear")],
        lambda logits, x: [logits],
    ],
    ids=["softmax", "nearest", "align_mode", "another size", "none"],
)
def test_where_there_is_none_the_output_is_taken(end):
    x = smooth_image(32, 48)
    net = Net(end)
    found = with_logits(net, x.numpy())
    assert isinstance(found, WithLogits) and not found.is_before_upsampling
    assert np.array_equal(found.logits(x).numpy(), net(x)[0].numpy())


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (lambda logits, x: {"out": logits}, "dict"),
        (lambda logits, x: [], "list"),
        (lambda logits, x: [logits.argmax(axis=1)], r"int64 \[1, 16, 24\]"),
    ],
)
def test_what_is_not_logits_is_refused(end, what, tmp_path):
    with pytest.raises(ConversionError, match=f"Net gives .*{what}; logits"):
        export(Net(end), "argmax", [1, 3, 32, 48], tmp_path, 4)
    assert list(tmp_path.iterdir()) == []


def test_interpolate_is_left_as_it_was_after_an_error():
    def fails(logits, x):
        raise ValueError("of the model")

    original = F.interpolate
    with pytest.raises(ValueError, match="of the model"):
        with_logits(Net(fails), smooth_image(32, 48).numpy())
    assert F.interpolate is original


def test_a_user_is_told_what_vim_cannot_do(tmp_path, capfd):
    net = Net(lambda logits, x: [F.relu(up(logits, x))])
    with pytest.raises(ConversionError, match="Net does not end in an upsampling of its logits"):
        export(net, "decoder", [1, 3, 32, 48], tmp_path, 4)
    assert list(tmp_path.iterdir()) == []
    export(net, "vim", [1, 3, 32, 48], tmp_path, 4)
    assert "vim gains nothing on it" in capfd.readouterr().err
    export(net, "argmax", [1, 3, 32, 48], tmp_path, 1)
    assert "the network has one class" in capfd.readouterr().err
