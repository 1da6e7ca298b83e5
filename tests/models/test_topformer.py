"""What the contract cannot see of TopFormer: its pooling, its learning rate, how it starts, what it refuses."""

import numpy as np
import paddle
import pytest
from lite_arrays import measure_array
from models.zoo import build, filled, golden, smooth_image
from paddle import nn
from paddle.nn import functional as F

from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.backbones.top_transformer import PyramidPooling, TopTransformer_Tiny
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.layers.pooling import adaptive_average, window_weights
from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.device import Settings

TINY = golden("topformer_tiny")["model"]


def pyramid(height, width):
    """Four random maps of two channels at 1/4 to 1/32, as strided convolutions size them."""
    maps, size = [], (-(-height // 2), -(-width // 2))
    for _ in range(4):
        size = (-(-size[0] // 2), -(-size[1] // 2))
        maps.append(paddle.randn([2, 2, *size]))
    return maps


def official(maps):
    cells = [(length - 1) // 2 + 1 for length in maps[-1].shape[2:]]
    return paddle.concat([F.adaptive_avg_pool2d(x, cells) for x in maps], axis=1)


def paddlesegs(maps):
    kernels = (16, 8, 4, 2)
    return paddle.concat([F.avg_pool2d(x, k, k) for x, k in zip(maps, kernels, strict=True)], axis=1)


def assert_same(actual, expected):
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), atol=1e-6)


def tiny(**backbone):
    return filled("topformer_tiny", backbone={**TINY["backbone"], **backbone})


def logits(model, height, width):
    with paddle.no_grad():
        return model.logits(smooth_image(height, width)).numpy()


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (480, 416), (512, 256), (64, 96)])
def test_multiples_of_32_are_pooled_as_asked(size):
    maps = pyramid(*size)
    assert_same(PyramidPooling()(maps), paddlesegs(maps))
    assert_same(PyramidPooling("paddleseg")(maps), paddlesegs(maps))
    assert_same(PyramidPooling("adaptive")(maps), official(maps))


@pytest.mark.parametrize("size", [(500, 333), (97, 161), (96, 161), (97, 160), (65, 65), (32, 32), (32, 96), (9, 5)])
def test_other_sizes_are_pooled_adaptively(size):
    maps = pyramid(*size)
    for pool in (None, "paddleseg", "adaptive"):
        assert_same(PyramidPooling(pool)(maps), official(maps))


def test_the_windows_are_those_of_adaptive_pooling():
    for length in range(1, 40):
        for cells in range(1, 20):
            expected = np.zeros((length, cells))
            for i in range(cells):
                start, end = i * length // cells, -(-(i + 1) * length // cells)
                expected[start:end, i] = 1 / (end - start)
            np.testing.assert_allclose(window_weights(length, cells), expected)


def test_adaptive_average_of_a_map():
    x = paddle.randn([2, 3, 13, 21])
    for cells in ((7, 11), (1, 1), (13, 21), (1, 4), (5, 21)):
        assert_same(adaptive_average(x, cells), F.adaptive_avg_pool2d(x, cells))


def test_the_two_poolings_agree_at_512_and_differ_at_480x416():
    ours, authors = tiny(), tiny(pool="adaptive")
    assert (logits(ours, 512, 512) == logits(authors, 512, 512)).all()
    assert (logits(ours, 500, 333) == logits(authors, 500, 333)).all()
    first, second = logits(ours, 480, 416), logits(authors, 480, 416)
    assert np.abs(first - second).max() > 0.01 * first.std()


class Pooled(SegmentationModel):
    """Maps like the pyramid's, pooled: small enough to be exported many times."""

    def __init__(self, pool):
        super().__init__(num_classes=12)
        self.maps = nn.LayerList([nn.Conv2D(3, 3, 3, stride, padding=1) for stride in (4, 2, 2, 2)])
        self.pool = PyramidPooling(pool)

    def logits(self, x):
        features = []
        for conv in self.maps:
            x = conv(x)
            features.append(x)
        return self.pool(features)


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        ("paddleseg", [1, 3, 160, 224]),
        ("adaptive", [1, 3, 500, 333]),
        ("paddleseg", [1, 3, None, None]),
        ("adaptive", [1, 3, None, None]),
    ],
)
def test_every_runtime_pools_alike(pool, shape, tmp_path):
    model = Pooled(pool)
    assert export(model, "decoder", shape, tmp_path, 12).agreement.is_good  # Paddle Inference
    assert export_onnx(tmp_path).agreement.is_good
    convert(tmp_path / "model.pdmodel", tmp_path / "model.pdiparams", tmp_path / "x86.nb", "x86", find_opt())
    convert(tmp_path / "model.pdmodel", tmp_path / "model.pdiparams", tmp_path / "arm.nb", "arm", find_opt())
    program = paddle.jit.load(str(tmp_path / "model"))
    for size in [(160, 224), (500, 333), (32, 65)] if shape[2] is None else [shape[2:]]:
        x = smooth_image(*size)
        with paddle.no_grad():
            expected = model.logits(x)
            assert_same(program(x), expected)
        (lite,) = measure_array(tmp_path / "x86.nb", x.numpy(), Settings(warmup=0, repeats=1)).outputs
        np.testing.assert_allclose(lite.reshape(expected.shape), expected.numpy(), atol=1e-5)


@pytest.mark.matrix
@pytest.mark.parametrize("pool", ["paddleseg", "adaptive"])
def test_an_export_with_open_sizes_pools_as_the_network(pool, tmp_path):
    model = tiny(pool=pool)
    export(model, "decoder", [None, 3, None, None], tmp_path, 150)
    program = paddle.jit.load(str(tmp_path / "model"))
    for size in [(96, 160), (97, 161), (32, 40)]:
        expected = logits(model, *size)
        assert np.abs(program(smooth_image(*size)).numpy() - expected).max() < 1e-4 * expected.std()


def test_pool_is_a_setting_of_the_checkpoint():
    default, given = TopTransformer_Tiny().ppa, TopTransformer_Tiny(pool="adaptive").ppa
    assert (default.pool, default.pool_is_given) == ("paddleseg", False)
    assert (given.pool, given.pool_is_given) == ("adaptive", True)
    assert default.checkpoint_settings == ("pool",)
    default.pool = "adaptive"
    maps = pyramid(96, 160)
    assert_same(default(maps), official(maps))
    with pytest.raises(ValueError, match="pool is 'max'; it must be one of paddleseg, adaptive"):
        default.pool = "max"
    assert default.pool == "adaptive"


def test_the_backbone_learns_at_its_own_rate():
    model = build({**TINY, "backbone": {**TINY["backbone"], "lr_mult": 0.1}})
    before = {name: p.numpy() for name, p in model.named_parameters()}
    optimizer = paddle.optimizer.AdamW(learning_rate=1e-3, parameters=model.parameters(), weight_decay=0.0)
    model.train()
    # Every parameter gets a gradient of 1, and AdamW's first step is then the learning rate.
    sum(p.sum() for p in model.parameters() if not p.stop_gradient).backward()
    optimizer.step()
    for name, p in model.named_parameters():
        if not p.stop_gradient:
            rate = 1e-4 if name.startswith("backbone.") else 1e-3
            np.testing.assert_allclose(before[name] - p.numpy(), rate, rtol=0.02, err_msg=name)


def test_drop_path():
    blocks = TopTransformer_Tiny(drop_path_rate=0.3).trans.transformer_blocks
    np.testing.assert_allclose([block.drop_path.rate for block in blocks], [0.0, 0.1, 0.2, 0.3])
    assert [block.drop_path.rate for block in TopTransformer_Tiny().trans.transformer_blocks] == [0.0] * 4
    layer = blocks[3].drop_path
    ones = paddle.ones([2000, 1, 2, 2])
    dropped = layer(ones).numpy()
    assert set(np.unique(dropped.round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
    assert (dropped == dropped[:, :, :1, :1]).all()  # a sample is dropped whole
    assert abs((dropped[:, 0, 0, 0] == 0).mean() - 0.3) < 0.05
    layer.eval()
    assert layer(ones) is ones


def test_how_it_starts():
    model = build(TINY)
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.Conv2D):
            out, _, height, width = layer.weight.shape
            std = 0.01 if name == "decode_head.conv_seg" else (2 * layer._groups / (out * height * width)) ** 0.5
            spread = 5 / (2 * layer.weight.size) ** 0.5  # five deviations of an estimated deviation
            assert abs(float(layer.weight.std()) / std - 1) < spread, name
            assert layer.bias is None or not layer.bias.numpy().any()
        if isinstance(layer, nn.BatchNorm2D):
            assert (layer.weight.numpy() == (0 if ".attn.proj." in name else 1)).all(), name
            assert not layer.bias.numpy().any()
    scores = model(smooth_image(64, 96))[0].numpy()
    assert np.isfinite(scores).all() and scores.std() > 0


def test_four_channels():
    assert TopTransformer_Tiny(in_channels=4)(paddle.randn([1, 4, 64, 64]))[0].shape == [1, 128, 8, 8]


def test_what_it_refuses():
    assert TopTransformer_Tiny(injection_type="muli_sum").feat_channels == [128, 128, 128]
    for kind in ("multi_sum_cbr", "fuse_sum", "fuse_multi", ""):
        with pytest.raises(ValueError, match=f"injection_type is '{kind}'; it must be one of multi_sum, muli_sum"):
            TopTransformer_Tiny(injection_type=kind)
    for pool in ("max", ""):
        with pytest.raises(ValueError, match=f"pool is '{pool}'; it must be one of paddleseg, adaptive"):
            TopTransformer_Tiny(pool=pool)
