"""MobileSeg (PaddleSeg, `configs/mobileseg`): PP-LiteSeg's decoder of separable convolutions, for mobile backbones.

Loads PaddleSeg's `mobileseg_*` checkpoints, over its backbones as well as ours.
"""

from collections.abc import Sequence

from paddle import nn

from paddleseg_ext.models.pp_liteseg import LightDecoderSegmentation
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


@register(MODELS)
class MobileSeg(LightDecoderSegmentation):
    """MobileSeg. With `use_last_fuse` the finest feature is made from all outputs of the decoder."""

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        backbone_indices: Sequence[int] = (1, 2, 3),
        cm_bin_sizes: Sequence[int] = (1, 2),
        cm_out_ch: int = 64,
        arm_type: str = "UAFMMobile",
        arm_out_chs: Sequence[int] = (32, 48, 64),
        seg_head_inter_chs: Sequence[int] = (32, 32, 32),
        resize_mode: str = "bilinear",
        use_last_fuse: bool = False,
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(
            num_classes, backbone, backbone_indices=backbone_indices, arm_type=arm_type, cm_bin_sizes=cm_bin_sizes,
            cm_out_ch=cm_out_ch, arm_out_chs=arm_out_chs, seg_head_inter_chs=seg_head_inter_chs,
            resize_mode=resize_mode, upsample=upsample, loss_stride=loss_stride, separable=True, fuse_all=use_last_fuse,
        )  # fmt: skip
        load_pretrained(self, pretrained)
