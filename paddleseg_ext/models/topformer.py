"""TopFormer (Zhang et al. 2022, arXiv 2204.05525): a token pyramid transformer, and a head on the sum of its maps.

Loads PaddleSeg's and the authors' `topformer_{base,small,tiny}` checkpoints.
"""

from paddle import Tensor, nn

from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.layers.head import FuseHead
from paddleseg_ext.models.layers.initialization import init_by_fan_out, init_classifier
from paddleseg_ext.models.layers.resize import resize_like
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


@register(MODELS)
class TopFormer(SegmentationModel):
    """TopFormer over a backbone whose maps, of equal channels, are summed at the resolution of the first (§3.4).

    Any size works. At multiples of 64 no pixel is lost; at other multiples of 32 the default pooling of the backbone
    leaves the lowest and rightmost pixels out of the tokens (`PyramidPooling`); PaddleSeg's recipes resize to
    multiples of 32.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        head_use_dw: bool = False,
        align_corners: bool = False,
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(num_classes, align_corners=align_corners, upsample=upsample, loss_stride=loss_stride)
        self.backbone = backbone
        self.decode_head = FuseHead(num_classes, backbone.feat_channels[0], use_dw=head_use_dw)
        init_by_fan_out(self.decode_head)
        init_classifier(self.decode_head.conv_seg)
        load_pretrained(self, pretrained)

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, H/8, W/8]."""
        total, *others = self.backbone(x)
        for feature in others:
            total = total + resize_like(feature, total, self.align_corners)
        return self.decode_head(total)
