"""What the contract cannot see of SeaFormer: how it starts and drops, its defaults, what it refuses."""

import numpy as np
import paddle
import pytest
from models.zoo import build, golden, smooth_image
from paddle import nn

from paddleseg_ext.models import SeaFormerSeg
from paddleseg_ext.models.backbones.seaformer import SeaFormer_base, SeaFormer_large, SeaFormer_tiny

TINY = golden("seaformer_tiny")["model"]


def rates(backbone):
    stages = [getattr(backbone, f"trans{i + 1}") for i in range(backbone.num_attention)]
    return [[block.drop_path.rate for block in stage.transformer_blocks] for stage in stages]


def test_how_it_starts():
    model = build(TINY)
    for name, layer in model.named_sublayers():
        if isinstance(layer, nn.Conv2D):
            out, _, height, width = layer.weight.shape
            std = 0.01 if name == "cls_seg" else (2 * layer._groups / (out * height * width)) ** 0.5
            spread = 5 / (2 * layer.weight.size) ** 0.5  # five deviations of an estimated deviation
            assert abs(float(layer.weight.std()) / std - 1) < spread, name
            assert layer.bias is None or not layer.bias.numpy().any()
        if isinstance(layer, nn.BatchNorm2D):
            assert (layer.weight.numpy() == (0 if ".attn.proj" in name else 1)).all(), name
            assert not layer.bias.numpy().any()
    scores = model(smooth_image(64, 96))[0].numpy()
    assert np.isfinite(scores).all() and scores.std() > 0


def test_drop_path_starts_anew_in_each_stage():
    np.testing.assert_allclose(rates(SeaFormer_tiny()), [[0.0, 0.1]] * 2)
    np.testing.assert_allclose(rates(SeaFormer_large(drop_path_rate=0.2)), [[0.0, 0.1, 0.2]] * 3)


def test_maps_of_an_odd_image_are_rounded_up():
    features = SeaFormer_large()(paddle.randn([1, 3, 97, 65]))
    assert [x.shape for x in features] == [[1, 128, 13, 9], [1, 192, 7, 5], [1, 256, 4, 3], [1, 320, 2, 2]]


def test_defaults_are_those_of_base():
    model = SeaFormerSeg(SeaFormer_base())
    assert model.num_classes == 150
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert shapes == golden("seaformer_base")["state_dict"]


def test_without_dropout_training_is_deterministic():
    model = build({**TINY, "dropout_ratio": 0, "backbone": {"type": "SeaFormer_tiny", "drop_path_rate": 0.0}})
    model.train()
    x = smooth_image(64, 96, batch=2)
    assert (model(x)[0] == model(x)[0]).all()


def test_four_channels_and_the_head_over_other_maps():
    model = SeaFormerSeg(SeaFormer_tiny(in_channels=4), [1, 2], 96, [96], 7, is_dw=False)
    model.eval()
    assert model.logits(paddle.randn([1, 4, 64, 128])).shape == [1, 7, 2, 4]
    assert model.linear_fuse._conv.weight.shape == [96, 96, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_transform": "resize_concat"}, "input_transform is 'resize_concat'; it must be multiple_select"),
        ({"in_index": [0, 1]}, r"in_index is \[0, 1\]; it needs 3 maps, of the backbone's 3"),
        ({"in_index": [0, 1, 3]}, r"in_index is \[0, 1, 3\]; it needs 3 maps, of the backbone's 3"),
        ({"head_channels": 128}, "head_channels is 128; it must be the last of embed_dims, 96"),
    ],
)
def test_what_it_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        build({**TINY, **changes})
