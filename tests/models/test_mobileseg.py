"""MobileSeg and LR-ASPP beyond the contract: PaddleSeg's backbones, widths of MobileNetV3, the large window."""

import paddle
import pytest
from models.reference import assert_same, share_weights
from models.zoo import build, golden, smooth_image
from paddle.nn import functional as F
from paddleseg.cvlibs import manager
from paddleseg.models import lraspp as their_lraspp
from paddleseg.models import mobileseg as their_mobileseg
from paddleseg.models.backbones import mobilenetv3 as their_backbones

from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.backbones.mobilenetv3 import MobileNetV3
from paddleseg_ext.models.lraspp import LRASPP, LargeAveragePool
from paddleseg_ext.models.mobileseg import MobileSeg
from paddleseg_ext_runtime.errors import ConversionError

SETTINGS = golden("mobileseg_mobilenetv3")["model"]
SETTINGS = {key: value for key, value in SETTINGS.items() if key not in ("type", "backbone")}
WIDTHS = sorted(name for name in manager.BACKBONES.components_dict if name.startswith("MobileNetV3_"))


@pytest.mark.parametrize("name", WIDTHS)
def test_every_width_is_paddlesegs(name):
    ours, reference = build({"type": name, "in_channels": 4}), getattr(their_backbones, name)(in_channels=4)
    assert isinstance(ours, MobileNetV3) and ours.feat_channels == reference.feat_channels
    share_weights(ours, reference)
    x = paddle.randn([1, 4, 65, 94])
    assert_same(ours(x), reference(x))


def test_paddleseg_has_no_other_widths():
    assert len(WIDTHS) == 12


# PaddleSeg's GhostNet names its parameters itself, so a process can build it once.
@pytest.mark.parametrize(
    ("backbone", "indices"),
    [
        ({"type": "GhostNet_x1_0"}, [1, 2, 3]),
        ({"type": "MobileNetV2_x1_0"}, [1, 2, 3]),
        ({"type": "ShuffleNetV2_x1_0"}, [1, 2, 3]),
        ({"type": "Lite_HRNet_18", "use_head": True}, [0, 1, 2]),
    ],
)
def test_paddlesegs_backbones(backbone, indices):
    backbone = build(backbone)
    ours, reference = (
        cls(backbone=backbone, backbone_indices=indices, **SETTINGS) for cls in (MobileSeg, their_mobileseg.MobileSeg)
    )
    share_weights(ours, reference)
    x = smooth_image(64, 96)
    assert_same(ours(x), reference(x), tolerance=1e-4)
    ours.train()
    assert [logits.shape for logits in ours(smooth_image(64, 96, batch=2))] == [[2, 19, 64, 96]] * 3


@pytest.mark.parametrize("arm_type", ["UAFMMobile", "UAFMMobile_SpAtten", "UAFM_ChAtten"])
def test_last_fuse_is_paddlesegs(arm_type):
    settings = {**SETTINGS, "use_last_fuse": True, "arm_type": arm_type, "resize_mode": "nearest"}
    backbone = build({"type": "MobileNetV3_small_x0_35"})
    ours, reference = (cls(backbone=backbone, **settings) for cls in (MobileSeg, their_mobileseg.MobileSeg))
    share_weights(ours, reference)
    x = smooth_image(97, 161)
    assert_same(ours(x), reference(x))
    assert ours.logits(x).shape == [1, 19, 13, 21]


@pytest.mark.parametrize("use_gap", [True, False])
@pytest.mark.parametrize("resize_mode", ["bilinear", "nearest"])
def test_lraspp_is_paddlesegs(use_gap, resize_mode):
    backbone = build({"type": "MobileNetV3_small_x1_0_os8"})
    settings = {"num_classes": 5, "backbone": backbone, "use_gap": use_gap, "resize_mode": resize_mode}
    ours, reference = LRASPP(**settings), their_lraspp.LRASPP(**settings)
    share_weights(ours, reference)
    x = smooth_image(400, 620)  # 50x78 at 1/8: one window high, two wide
    assert_same(ours(x), reference(x), tolerance=1e-4)


def test_a_large_window_on_a_smaller_feature_is_the_feature():
    pool = LargeAveragePool()
    for size in ((49, 49), (64, 128), (81, 69)):
        x = paddle.randn([2, 3, *size])
        assert_same([pool(x)], [F.avg_pool2d(x, (49, 49), (16, 20))])
    for size in ((1, 1), (8, 12), (48, 48)):
        x = paddle.randn([2, 3, *size])
        assert_same([pool(x)], [x.mean([2, 3], keepdim=True)])
    wide = paddle.randn([2, 3, 7, 69])
    columns = [wide[:, :, :, i : i + 49].mean([2, 3], keepdim=True) for i in (0, 20)]
    assert_same([pool(wide)], [paddle.concat(columns, axis=3)])


def test_a_large_window_needs_a_size_to_be_exported(tmp_path):
    model = LRASPP(5, build({"type": "MobileNetV3_small_x0_35"}), use_gap=False)
    with pytest.raises(ConversionError, match="use_gap: False needs a fixed height and width"):
        export(model, "argmax", [1, 3, None, None], tmp_path, 5)
    assert export(model, "none", [1, 3, 64, 96], tmp_path, 5).agreement.is_good


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lraspp_head_inter_chs": [32]}, r"lraspp_head_inter_chs is \[32\]; .* 3 features, so it needs 2"),
        ({"backbone_indices": [0, 1, 4]}, "backbone_indices holds 4; MobileNetV3 gives features 0 to 3"),
        ({"resize_mode": "area"}, "resize_mode is 'area'"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        build({**golden("lraspp_mobilenetv3")["model"], **change})
