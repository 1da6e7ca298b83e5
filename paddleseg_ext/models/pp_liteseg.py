"""PP-LiteSeg (Peng et al. 2022, arXiv 2204.02681): SPPM, a decoder of UAFMs, one head per fused feature.

Loads PaddleSeg's `pp_liteseg_stdc{1,2}` checkpoints.
"""

from collections.abc import Sequence
from functools import partial

from paddle import Tensor, nn

from paddleseg_ext.models.base import SegmentationModel, feature_channels
from paddleseg_ext.models.layers.decoder import FlexibleLightDecoder, SegmentationHead
from paddleseg_ext.models.layers.pyramid import SimplePyramidPooling
from paddleseg_ext.models.layers.resize import check_resize_mode
from paddleseg_ext.models.layers.uafm import fusion_module
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


class LightDecoderSegmentation(SegmentationModel):
    """What PP-LiteSeg and MobileSeg share. The first head gives the result; the others are used only in training.

    `backbone` gives a list of features and lists their channels as `feat_channels`; `backbone_indices` names the
    ones used, finest first. `arm_out_chs` and `seg_head_inter_chs` give one width per feature, or one for all.
    `separable` makes the 3x3 convolutions of context and heads separable; `arm_type` decides for the fusion.
    Raises ValueError for numbers and names that do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        *,
        backbone_indices: Sequence[int],
        arm_type: str,
        cm_bin_sizes: Sequence[int],
        cm_out_ch: int,
        arm_out_chs: Sequence[int],
        seg_head_inter_chs: Sequence[int],
        resize_mode: str,
        upsample: str,
        loss_stride: int,
        separable: bool = False,
        fuse_all: bool = False,
    ):
        super().__init__(num_classes, upsample=upsample, loss_stride=loss_stride)
        in_channels = feature_channels(backbone, backbone_indices)
        out_channels = _one_per_feature("arm_out_chs", arm_out_chs, len(in_channels))
        mid_channels = _one_per_feature("seg_head_inter_chs", seg_head_inter_chs, len(in_channels))
        fusion = partial(fusion_module(arm_type), resize_mode=check_resize_mode(resize_mode))
        context = SimplePyramidPooling(in_channels[-1], cm_out_ch, cm_bin_sizes, separable=separable)
        self.backbone = backbone
        self.backbone_indices = list(backbone_indices)
        self.ppseg_head = FlexibleLightDecoder(
            in_channels, out_channels, context=context, context_channels=cm_out_ch, fusion=fusion, fuse_all=fuse_all
        )
        widths = zip(out_channels, mid_channels, strict=True)
        self.seg_heads = nn.LayerList([SegmentationHead(c, mid, num_classes, separable=separable) for c, mid in widths])

    def _decode(self, x: Tensor) -> list[Tensor]:
        features = self.backbone(x)
        return self.ppseg_head([features[index] for index in self.backbone_indices])

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, h, w] at the scale of the finest feature, 1/8 as published."""
        return self.seg_heads[0](self._decode(x)[0])

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """x: [B, C, H, W] -> [B, K, h, w] at the scale of each feature, finest first: 1/8, 1/16, 1/32 as published."""
        return [head(feature) for head, feature in zip(self.seg_heads, self._decode(x), strict=True)]


def _one_per_feature(name: str, values: Sequence[int], count: int) -> list[int]:
    if len(values) not in (1, count):
        raise ValueError(f"{name} is {list(values)}; backbone_indices names {count} features, so it needs {count} or 1")
    return list(values) * (count if len(values) == 1 else 1)


@register(MODELS)
class PPLiteSeg(LightDecoderSegmentation):
    """PP-LiteSeg. PaddleSeg's T uses STDC1 and `arm_out_chs` 32, 64, 128; its B uses STDC2."""

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        backbone_indices: Sequence[int] = (2, 3, 4),
        arm_type: str = "UAFM_SpAtten",
        cm_bin_sizes: Sequence[int] = (1, 2, 4),
        cm_out_ch: int = 128,
        arm_out_chs: Sequence[int] = (64, 96, 128),
        seg_head_inter_chs: Sequence[int] = (64, 64, 64),
        resize_mode: str = "bilinear",
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(
            num_classes, backbone, backbone_indices=backbone_indices, arm_type=arm_type, cm_bin_sizes=cm_bin_sizes,
            cm_out_ch=cm_out_ch, arm_out_chs=arm_out_chs, seg_head_inter_chs=seg_head_inter_chs,
            resize_mode=resize_mode, upsample=upsample, loss_stride=loss_stride,
        )  # fmt: skip
        load_pretrained(self, pretrained)
