"""SeaFormer, the backbone of SeaFormerSeg (Wan et al. 2023, arXiv 2301.13156, §3).

Five MobileNetV2 stages down to 1/64; squeeze-enhanced axial attention follows the last two of them (three in
Large). Loads PaddleSeg's SeaFormer checkpoints.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from paddle import Tensor

from paddleseg_ext.models.backbones.stages import StagedTransformer
from paddleseg_ext.models.backbones.variants import register_variant
from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM
from paddleseg_ext.models.layers.initialization import init_by_fan_out
from paddleseg_ext.models.layers.mobilenetv2 import MobileNetV2Row, MobileNetV2Stage
from paddleseg_ext.weights import load_pretrained

ATTN_RATIO = 2


class SeaFormer(StagedTransformer):
    """MobileNetV2 stages with SEA attention behind the last `len(depths)` of them.

    `feat_channels` and `feat_strides` list the channels and strides of the maps it returns: the one at 1/8 for the
    detail, and the map of each attention stage.
    """

    def __init__(
        self,
        cfgs: Sequence[Sequence[MobileNetV2Row]],
        stem_channels: int,
        depths: Sequence[int],
        num_heads: int,
        key_dims: Sequence[int],
        mlp_ratios: Sequence[float],
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        pretrained: str | None = None,
    ):
        super().__init__()
        names = CONV_BATCH_NORM
        stage = partial(MobileNetV2Stage, stem_name="stem_block", names=names)
        self._add_stages(stage, cfgs, in_channels, stem_channels)
        channels = [rows[-1].out_channels for rows in cfgs]
        self._add_attention(
            channels[-len(depths) :], depths, num_heads=num_heads, key_dims=key_dims, attn_ratio=ATTN_RATIO,
            mlp_ratios=mlp_ratios, act="relu6", drop_path_rate=drop_path_rate, names=names,
        )  # fmt: skip
        self.feat_channels = [channels[1], *channels[-len(depths) :]]
        strides = [2 * math.prod(row.stride for rows in cfgs[: i + 1] for row in rows) for i in range(len(cfgs))]
        self.feat_strides = [strides[1], *strides[-len(depths) :]]
        init_by_fan_out(self)
        load_pretrained(self, pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> maps of `feat_channels` at 1/8, (1/16 in Large,) 1/32 and 1/64."""
        return self.stage_features(x)


def _variant(
    name: str,
    stages: Sequence[Sequence[tuple]],
    depths: Sequence[int],
    num_heads: int,
    stem_channels: int = 16,
    key_dims: Sequence[int] = (16, 24),
    mlp_ratios: Sequence[float] = (2, 4),
) -> Callable[..., SeaFormer]:
    """Registers a column of table 1 under PaddleSeg's name."""
    cfgs = [[MobileNetV2Row(*row) for row in rows] for rows in stages]
    numbers = (cfgs, stem_channels, depths, num_heads, key_dims, mlp_ratios)
    return register_variant(SeaFormer, f"SeaFormer_{name}", f"SeaFormer-{name.capitalize()} (table 1).", *numbers)


SeaFormer_tiny = _variant("tiny", [
    [(3, 1, 16, 1), (3, 4, 16, 2), (3, 3, 16, 1)],
    [(5, 3, 32, 2), (5, 3, 32, 1)],
    [(3, 3, 64, 2), (3, 3, 64, 1)],
    [(5, 3, 128, 2)],
    [(3, 6, 160, 2)],
], depths=(2, 2), num_heads=4)  # fmt: skip
SeaFormer_small = _variant("small", [
    [(3, 1, 16, 1), (3, 4, 24, 2), (3, 3, 24, 1)],
    [(5, 3, 48, 2), (5, 3, 48, 1)],
    [(3, 3, 96, 2), (3, 3, 96, 1)],
    [(5, 4, 160, 2)],
    [(3, 6, 192, 2)],
], depths=(3, 3), num_heads=6)  # fmt: skip
SeaFormer_base = _variant("base", [
    [(3, 1, 16, 1), (3, 4, 32, 2), (3, 3, 32, 1)],
    [(5, 3, 64, 2), (5, 3, 64, 1)],
    [(3, 3, 128, 2), (3, 3, 128, 1)],
    [(5, 4, 192, 2)],
    [(3, 6, 256, 2)],
], depths=(4, 4), num_heads=8)  # fmt: skip
SeaFormer_large = _variant("large", [  # with attention at 1/16 too
    [(3, 3, 32, 1), (3, 4, 64, 2), (3, 4, 64, 1)],
    [(5, 4, 128, 2), (5, 4, 128, 1)],
    [(3, 4, 192, 2), (3, 4, 192, 1)],
    [(5, 4, 256, 2)],
    [(3, 6, 320, 2)],
], depths=(3, 3, 3), num_heads=8, stem_channels=32, key_dims=(16, 20, 24), mlp_ratios=(2, 4, 6))  # fmt: skip
