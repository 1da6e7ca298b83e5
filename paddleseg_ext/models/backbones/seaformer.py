"""SeaFormer, the backbone of SeaFormerSeg (Wan et al. 2023, arXiv 2301.13156, §3).

Five MobileNetV2 stages down to 1/64, and squeeze-enhanced axial attention behind the last two (three in
Large). Loads PaddleSeg's SeaFormer checkpoints.
"""

from collections.abc import Sequence

from paddle import Tensor, nn

from paddleseg_ext.models.layers.attention import SeaAttention
from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM
from paddleseg_ext.models.layers.initialization import init_by_fan_out
from paddleseg_ext.models.layers.mobilenetv2 import MobileNetV2Row, MobileNetV2Stage
from paddleseg_ext.models.layers.transformer import TransformerStage
from paddleseg_ext.registry import BACKBONES, register
from paddleseg_ext.weights import load_pretrained

ATTN_RATIO = 2


class SeaFormer(nn.Layer):
    """MobileNetV2 stages with SEA attention behind the last `len(depths)` of them.

    `feat_channels` holds the channels of the maps it returns: the one at 1/8 for the detail, and what each
    attention stage gives.
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
        self.num_stages = len(cfgs)
        self.num_attention = len(depths)
        for i, rows in enumerate(cfgs):
            stem = stem_channels if i == 0 else None
            stage = MobileNetV2Stage(in_channels, rows, stem, stem_name="stem_block", names=CONV_BATCH_NORM)
            self.add_sublayer(f"smb{i + 1}", stage)
            in_channels = rows[-1].out_channels
        self.feat_channels = [cfgs[1][-1].out_channels]
        for i, depth in enumerate(depths):
            channels = cfgs[i - len(depths)][-1].out_channels
            attentions = [
                SeaAttention(channels, key_dims[i], num_heads, ATTN_RATIO, "relu6", names=CONV_BATCH_NORM)
                for _ in range(depth)
            ]
            stage = TransformerStage(attentions, channels, mlp_ratios[i], "relu6", drop_path_rate, CONV_BATCH_NORM)
            self.add_sublayer(f"trans{i + 1}", stage)
            self.feat_channels.append(channels)
        init_by_fan_out(self)
        load_pretrained(self, pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> maps of `feat_channels` at 1/8, (1/16 in Large,) 1/32 and 1/64."""
        features = []
        for i in range(self.num_stages):
            x = getattr(self, f"smb{i + 1}")(x)
            if i == 1:
                features.append(x)
            attention = i - (self.num_stages - self.num_attention)
            if attention >= 0:
                x = getattr(self, f"trans{attention + 1}")(x)
                features.append(x)
        return features


def _stage(*rows: tuple) -> list[MobileNetV2Row]:
    return [MobileNetV2Row(*row) for row in rows]


@register(BACKBONES)
def SeaFormer_tiny(drop_path_rate: float = 0.1, in_channels: int = 3, pretrained: str | None = None) -> SeaFormer:
    """SeaFormer-Tiny (table 1)."""
    cfgs = [
        _stage((3, 1, 16, 1), (3, 4, 16, 2), (3, 3, 16, 1)),
        _stage((5, 3, 32, 2), (5, 3, 32, 1)),
        _stage((3, 3, 64, 2), (3, 3, 64, 1)),
        _stage((5, 3, 128, 2)),
        _stage((3, 6, 160, 2)),
    ]
    return SeaFormer(cfgs, 16, (2, 2), 4, (16, 24), (2, 4), drop_path_rate, in_channels, pretrained)


@register(BACKBONES)
def SeaFormer_small(drop_path_rate: float = 0.1, in_channels: int = 3, pretrained: str | None = None) -> SeaFormer:
    """SeaFormer-Small (table 1)."""
    cfgs = [
        _stage((3, 1, 16, 1), (3, 4, 24, 2), (3, 3, 24, 1)),
        _stage((5, 3, 48, 2), (5, 3, 48, 1)),
        _stage((3, 3, 96, 2), (3, 3, 96, 1)),
        _stage((5, 4, 160, 2)),
        _stage((3, 6, 192, 2)),
    ]
    return SeaFormer(cfgs, 16, (3, 3), 6, (16, 24), (2, 4), drop_path_rate, in_channels, pretrained)


@register(BACKBONES)
def SeaFormer_base(drop_path_rate: float = 0.1, in_channels: int = 3, pretrained: str | None = None) -> SeaFormer:
    """SeaFormer-Base (table 1)."""
    cfgs = [
        _stage((3, 1, 16, 1), (3, 4, 32, 2), (3, 3, 32, 1)),
        _stage((5, 3, 64, 2), (5, 3, 64, 1)),
        _stage((3, 3, 128, 2), (3, 3, 128, 1)),
        _stage((5, 4, 192, 2)),
        _stage((3, 6, 256, 2)),
    ]
    return SeaFormer(cfgs, 16, (4, 4), 8, (16, 24), (2, 4), drop_path_rate, in_channels, pretrained)


@register(BACKBONES)
def SeaFormer_large(drop_path_rate: float = 0.1, in_channels: int = 3, pretrained: str | None = None) -> SeaFormer:
    """SeaFormer-Large (table 1), with attention at 1/16 too."""
    cfgs = [
        _stage((3, 3, 32, 1), (3, 4, 64, 2), (3, 4, 64, 1)),
        _stage((5, 4, 128, 2), (5, 4, 128, 1)),
        _stage((3, 4, 192, 2), (3, 4, 192, 1)),
        _stage((5, 4, 256, 2)),
        _stage((3, 6, 320, 2)),
    ]
    return SeaFormer(cfgs, 32, (3, 3, 3), 8, (16, 20, 24), (2, 4, 6), drop_path_rate, in_channels, pretrained)
