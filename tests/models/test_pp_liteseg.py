"""PP-LiteSeg beyond the contract: its pooling, its fusions, its auxiliary heads, its backbones."""

import numpy as np
import paddle
import pytest
from models.reference import assert_same, share_weights
from models.zoo import build, filled, golden, smooth_image
from paddle.nn import functional as F
from paddleseg.models import pp_liteseg as theirs
from paddleseg.models.backbones import stdcnet as their_stdc

from paddleseg_ext.models.backbones.stdcnet import STDCNet
from paddleseg_ext.models.layers.pyramid import GridAverage
from paddleseg_ext.models.layers.uafm import ARM_TYPES
from paddleseg_ext.models.pp_liteseg import PPLiteSeg


class Features(paddle.nn.Layer):
    """A backbone of three convolutions, so that what is compared is the decoder."""

    feat_channels = (6, 10, 16)

    def __init__(self):
        super().__init__()
        widths = [3, *self.feat_channels]
        self.convs = paddle.nn.LayerList([paddle.nn.Conv2D(widths[i], widths[i + 1], 3, 2, 1) for i in range(3)])

    def forward(self, x):
        features = []
        for conv in self.convs:
            x = F.relu(conv(x))
            features.append(x)
        return features


SETTINGS = {
    "num_classes": 5,
    "backbone_indices": [0, 1, 2],
    "cm_out_ch": 12,
    "arm_out_chs": [8, 10, 12],
    "seg_head_inter_chs": [8],
}


@pytest.mark.parametrize("bins", [1, 2, 3, 4, 6])
def test_grid_average_is_adaptive_pooling(bins):
    pool, rng = GridAverage(bins), np.random.RandomState(bins)
    for height in range(1, 20):
        for width in (1, 2, 3, 5, 8, 12, 17, 33):
            x = paddle.to_tensor(rng.randn(2, 3, height, width).astype("float32"))
            expected = F.adaptive_avg_pool2d(x, bins)
            assert pool(x).shape == expected.shape
            assert np.abs((pool(x) - expected).numpy()).max() < 1e-6, (height, width)


@pytest.mark.parametrize("bins", [1, 2, 3, 4])
def test_grid_average_of_a_size_the_graph_meets_later(bins):
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    pool = paddle.jit.to_static(GridAverage(bins), input_spec=spec, full_graph=True)
    for size in ((1, 2), (3, 5), (8, 12), (17, 33), (18, 30), (19, 41)):
        x = paddle.randn([2, 3, *size])
        assert np.abs((pool(x) - F.adaptive_avg_pool2d(x, bins)).numpy()).max() < 1e-6, size


@pytest.mark.parametrize("arm_type", ARM_TYPES)
@pytest.mark.parametrize("resize_mode", ["bilinear", "nearest"])
def test_every_fusion_is_paddlesegs(arm_type, resize_mode):
    settings = {**SETTINGS, "arm_type": arm_type, "resize_mode": resize_mode}
    ours, reference = (cls(backbone=Features(), **settings) for cls in (PPLiteSeg, theirs.PPLiteSeg))
    share_weights(ours, reference)
    for size in ((64, 96), (33, 47)):
        x = smooth_image(*size, batch=2)
        assert_same(ours(x), reference(x))
    ours.train(), reference.train()
    assert_same(ours(x), reference(x), tolerance=1e-3)  # batch norms over few pixels amplify rounding


@pytest.mark.parametrize(("name", "block_num"), [("STDC1", 4), ("STDC1", 3), ("STDC1", 2), ("STDC2", 4)])
def test_stdc_is_paddlesegs(name, block_num):
    ours = build({"type": name, "block_num": block_num, "in_channels": 4})
    reference = getattr(their_stdc, name)(block_num=block_num, in_channels=4)
    assert isinstance(ours, STDCNet) and ours.feat_channels == reference.feat_channels
    share_weights(ours, reference)
    x = paddle.randn([1, 4, 65, 94])
    assert_same(ours(x), reference(x))


def test_the_backbone_learns_at_its_relative_rate():
    slow = build({"type": "STDC1", "relative_lr": 0.25})
    before = {name: p.numpy() for name, p in slow.named_parameters() if not p.stop_gradient}
    sum(feature.mean() for feature in slow(paddle.randn([2, 3, 64, 64]))).backward()
    paddle.optimizer.SGD(0.1, parameters=slow.parameters()).step()
    moved = {name: p for name, p in slow.named_parameters() if name in before and p.grad is not None}
    assert len(moved) == len(before)
    for name, p in moved.items():
        np.testing.assert_allclose(p.numpy(), before[name] - 0.025 * p.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_auxiliary_heads_work_while_training_alone():
    model, calls = filled("pp_liteseg_stdc1", loss_stride=2), []
    for i, head in enumerate(model.seg_heads):
        head.register_forward_post_hook(lambda *_, i=i: calls.append(i))
    (logits,) = model(smooth_image(64, 96))
    assert logits.shape == [1, 19, 64, 96] and calls == [0]
    model.train()
    calls.clear()
    assert [x.shape for x in model(smooth_image(65, 96, batch=2))] == [[2, 19, 33, 48]] * 3
    assert calls == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm_type": "UAFM_Sp"}, "arm_type is 'UAFM_Sp'; it must be one of UAFM, UAFM_ChAtten,"),
        ({"arm_type": "nn.Layer"}, "arm_type is 'nn.Layer'"),
        ({"resize_mode": "bicubic"}, "resize_mode is 'bicubic'; it must be one of bilinear, nearest"),
        ({"backbone_indices": [2, 3, 5]}, "backbone_indices holds 5; STDCNet gives features 0 to 4"),
        ({"backbone_indices": []}, "backbone_indices is empty"),
        ({"arm_out_chs": [64, 96]}, r"arm_out_chs is \[64, 96\]; .* 3 features, so it needs 3 or 1"),
        ({"seg_head_inter_chs": []}, r"seg_head_inter_chs is \[\]"),
        ({"cm_bin_sizes": []}, r"cm_bin_sizes is \[\]"),
        ({"cm_bin_sizes": [1, 0]}, r"cm_bin_sizes is \[1, 0\]; it needs one or more sizes of at least 1"),
        ({"loss_stride": 0}, "loss_stride is 0"),
        ({"backbone": {"type": "STDC1", "block_num": 1}}, "block_num is 1; it must be at least 2"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        build({**golden("pp_liteseg_stdc1")["model"], **change})


def test_a_backbone_must_list_its_channels():
    with pytest.raises(ValueError, match="Conv2D has no feat_channels"):
        PPLiteSeg(5, paddle.nn.Conv2D(3, 8, 3))
