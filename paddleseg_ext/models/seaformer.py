"""SeaFormer (Wan et al. 2023, arXiv 2301.13156): axial attention in the backbone, and a light head that fuses its maps.

Loads PaddleSeg's `seaformer_{tiny,small,base,large}` checkpoints.
"""

from collections.abc import Sequence

from paddle import Tensor, nn

from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM, ConvBNAct
from paddleseg_ext.models.layers.fusion import SigmoidFusion
from paddleseg_ext.models.layers.initialization import init_by_fan_out, init_classifier
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


@register(MODELS)
class SeaFormerSeg(SegmentationModel):
    """The light head (§3.3) on the backbone's maps `in_index`, of which the first is the detail.

    Each further map gates the detail and brings it to the next width of `embed_dims`; the last width is
    `head_channels`. Any size works, and no size drops pixels; at multiples of 64 all maps halve exactly.
    Raises ValueError for widths or indices that do not fit together, or another `input_transform`.
    """

    def __init__(
        self,
        backbone: nn.Layer,
        in_index: Sequence[int] = (0, 1, 2),
        head_channels: int = 160,
        embed_dims: Sequence[int] = (128, 160),
        num_classes: int = 150,
        is_dw: bool = True,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
        input_transform: str = "multiple_select",
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(num_classes, align_corners=align_corners, upsample=upsample, loss_stride=loss_stride)
        if input_transform != "multiple_select":
            raise ValueError(f"input_transform is {input_transform!r}; it must be multiple_select")
        needed, available = len(embed_dims) + 1, len(backbone.feat_channels)
        if len(in_index) != needed or not all(0 <= i < available for i in in_index):
            raise ValueError(f"in_index is {list(in_index)}; it needs {needed} maps, of the backbone's {available}")
        if embed_dims[-1] != head_channels:
            raise ValueError(f"head_channels is {head_channels}; it must be the last of embed_dims, {embed_dims[-1]}")
        self.backbone = backbone
        self.in_index = list(in_index)
        groups = head_channels if is_dw else 1
        self.linear_fuse = ConvBNAct(head_channels, head_channels, groups=groups, act="relu", names=CONV_BATCH_NORM)
        self.dropout = nn.Dropout2D(dropout_ratio)
        self.cls_seg = nn.Conv2D(head_channels, num_classes, 1)
        detail = backbone.feat_channels[in_index[0]]
        for i, width in enumerate(embed_dims):
            semantic = backbone.feat_channels[in_index[i + 1]]
            fusion = SigmoidFusion(detail, semantic, width, gate="hardsigmoid", names=CONV_BATCH_NORM)
            self.add_sublayer(f"fuse{i + 1}", fusion)
            detail = width
        for name, layer in self.named_children():
            if name != "backbone":  # it may hold pretrained weights
                init_by_fan_out(layer)
        init_classifier(self.cls_seg)
        load_pretrained(self, pretrained)

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, H/8, W/8]."""
        features = self.backbone(x)
        detail = features[self.in_index[0]]
        for i, index in enumerate(self.in_index[1:]):
            detail = getattr(self, f"fuse{i + 1}")(detail, features[index])
        return self.cls_seg(self.dropout(self.linear_fuse(detail)))
