"""StrideFormer, the backbone of PP-MobileSeg (Tang et al. 2023, arXiv 2304.05152, §3.1-3.2).

Four MobileNetV3 stages, strided SEA attention behind the last two, and a module that fuses the stages:
`AAM` (aggregated attention at 1/16), `AAMSx8` (its simpler form at 1/8) or `origin` (SeaFormer's fusion,
the paper's ablation). Loads PaddleSeg's PP-MobileSeg checkpoints. PaddleSeg 2.8.0 gates AAM with ReLU6,
although the weights were trained with a sigmoid, and loses five points of mIoU; here it is a sigmoid.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.backbones.stages import StagedTransformer
from paddleseg_ext.models.backbones.variants import register_variant
from paddleseg_ext.models.layers.conv import ConvBNAct
from paddleseg_ext.models.layers.fusion import SigmoidFusion
from paddleseg_ext.models.layers.mobile_blocks import BlockConfig, MobileNetV3Stage
from paddleseg_ext.models.layers.resize import resize_like
from paddleseg_ext.weights import load_pretrained

FUSIONS = ("origin", "AAM", "AAMSx8")
STEM, KEY_DIMS, ATTN_RATIO, MLP_RATIOS = 16, (16, 24), 2, (2, 4)


class AggregatedAttention(nn.Layer):
    """AAM (§3.2) at 1/16: the gates of all stages multiply the detail, and the semantic feature is added."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.embedding_list = nn.LayerList([ConvBNAct(c, out_channels) for c in in_channels])
        self.act_embedding_list = nn.LayerList([ConvBNAct(c, out_channels, act="sigmoid") for c in in_channels])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: [B, C0, H/8, W/8], [B, C1, H/16, W/16], [B, C2, H/32, W/32] -> [B, out, H/16, W/16]."""
        x8, x16, x32 = features
        # PaddleSeg interpolates by a scale of 0.5: the mean of four pixels, without an odd last row or column.
        # Paddle-Lite would compute the scale from the sizes, and sample odd maps at other positions.
        x8 = F.avg_pool2d(x8, kernel_size=2)
        x16 = resize_like(x16, x8)
        gate = self.act_embedding_list[0](x8) * self.act_embedding_list[1](x16)
        gate = gate * resize_like(self.act_embedding_list[2](x32), x8)
        detail = self.embedding_list[0](x8) + self.embedding_list[1](x16)
        return gate * detail + resize_like(self.embedding_list[2](x32), x8)


class AggregatedAttentionX8(nn.Layer):
    """AAMSx8: like `AggregatedAttention`, but at 1/8 and with one gate less."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        c8, c16, c32 = in_channels
        self.embedding_list = nn.LayerList([ConvBNAct(c, out_channels) for c in (c8, c32)])
        self.act_embedding_list = nn.LayerList([ConvBNAct(c, out_channels, act="sigmoid") for c in (c16, c32)])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: [B, C0, H/8, W/8], [B, C1, H/16, W/16], [B, C2, H/32, W/32] -> [B, out, H/8, W/8]."""
        x8, x16, x32 = features
        gate = self.act_embedding_list[0](resize_like(x16, x8))
        gate = gate * resize_like(self.act_embedding_list[1](x32), x8)
        return gate * self.embedding_list[0](x8) + resize_like(self.embedding_list[1](x32), x8)


class StrideFormer(StagedTransformer):
    """MobileNetV3 stages with strided SEA attention behind the last `len(depths)` of them.

    `feat_channels` and `feat_strides` list the channels and the stride of the one map it returns. Raises
    ValueError for an unknown `inj_type` or for `out_feat_chs` that do not name one width per fused stage.
    """

    absent_from_pretrained = ("inj_module.*", "fuse*.*")  # classifiers have no fusion

    def __init__(
        self,
        cfgs: Sequence[Sequence[BlockConfig]],
        depths: Sequence[int],
        num_heads: int,
        inj_type: str,
        out_feat_chs: Sequence[int],
        out_channels: int = 256,
        dims: Sequence[int] = (128, 160),
        drop_path_rate: float = 0.1,
        stride_attention: bool = True,
        in_channels: int = 3,
        pretrained: str | None = None,
    ):
        super().__init__()
        if inj_type not in FUSIONS:
            raise ValueError(f"inj_type is {inj_type!r}; it must be one of {', '.join(FUSIONS)}")
        if len(out_feat_chs) != len(depths) + 1:
            raise ValueError(f"out_feat_chs needs {len(depths) + 1} widths, got {list(out_feat_chs)}")
        self._add_stages(MobileNetV3Stage, cfgs, in_channels, STEM)
        self._add_attention(
            [blocks[-1].out_channels for blocks in cfgs[-len(depths) :]], depths, num_heads=num_heads,
            key_dims=KEY_DIMS, attn_ratio=ATTN_RATIO, mlp_ratios=MLP_RATIOS, act="relu6", drop_path_rate=drop_path_rate,
            stride=2 if stride_attention else 1,
        )  # fmt: skip
        self.inj_type = inj_type
        self.feat_strides = [16 if inj_type == "AAM" else 8]
        self._add_fusion(out_feat_chs, out_channels, dims)
        load_pretrained(self, pretrained)

    def _add_fusion(self, in_channels: Sequence[int], out_channels: int, dims: Sequence[int]) -> None:
        if self.inj_type == "origin":
            detail = in_channels[0]
            for i, dim in enumerate(dims):
                self.add_sublayer(f"fuse{i + 1}", SigmoidFusion(detail, in_channels[i + 1], dim, gate="sigmoid"))
                detail = dim
            self.num_fusions = len(dims)
            self.feat_channels = [dims[-1]]
        else:
            module = AggregatedAttention if self.inj_type == "AAM" else AggregatedAttentionX8
            self.inj_module = module(in_channels, out_channels)
            self.feat_channels = [out_channels]

    def _fuse(self, features: list[Tensor]) -> Tensor:
        if self.inj_type != "origin":
            return self.inj_module(features)
        x = features[0]
        for i in range(self.num_fusions):
            x = getattr(self, f"fuse{i + 1}")(x, features[i + 1])
        return x

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, feat_channels[0], h, w] at 1/16 (AAM) or 1/8 (AAMSx8, origin)."""
        return self._fuse(self.stage_features(x))


def _variant(
    name: str, stages: Sequence[Sequence[tuple]], depths: Sequence[int], num_heads: int, **defaults: Any
) -> Callable[..., StrideFormer]:
    """Registers a row of table 1 under PaddleSeg's name."""
    description = f"StrideFormer-{name}: the backbone of PP-MobileSeg-{name}."
    cfgs = [[BlockConfig(*row) for row in rows] for rows in stages]
    return register_variant(StrideFormer, f"MobileSeg_{name}", description, cfgs, depths, num_heads, **defaults)


MobileSeg_Base = _variant("Base", [
    [(3, 16, 16, True, "relu", 1), (3, 64, 32, False, "relu", 2), (3, 96, 32, False, "relu", 1)],
    [(5, 128, 64, True, "hardswish", 2), (5, 240, 64, True, "hardswish", 1)],
    [(5, 384, 128, True, "hardswish", 2), (5, 384, 128, True, "hardswish", 1)],
    [(5, 768, 192, True, "hardswish", 2), (5, 768, 192, True, "hardswish", 1)],
], (3, 3), num_heads=8, inj_type="AAMSx8", out_feat_chs=(64, 128, 192))  # fmt: skip
MobileSeg_Tiny = _variant("Tiny", [
    [(3, 16, 16, True, "relu", 1), (3, 64, 32, False, "relu", 2), (3, 48, 24, False, "relu", 1)],
    [(5, 96, 32, True, "hardswish", 2), (5, 96, 32, True, "hardswish", 1)],
    [(5, 160, 64, True, "hardswish", 2), (5, 160, 64, True, "hardswish", 1)],
    [(3, 384, 128, True, "hardswish", 2), (3, 384, 128, True, "hardswish", 1)],
], (2, 2), num_heads=4, inj_type="AAM", out_feat_chs=(32, 64, 128))  # fmt: skip
