"""PP-MobileSeg (Tang et al. 2023, arXiv 2304.05152): a backbone that fuses its stages, and a two-layer head.

Loads PaddleSeg's `pp_mobileseg_{base,tiny}` checkpoints.
"""

from paddle import Tensor, nn

from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.layers.head import FuseHead
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


@register(MODELS)
class PPMobileSeg(SegmentationModel):
    """PP-MobileSeg over a backbone with one fused feature map (`backbone.feat_channels[0]` channels).

    `upsample: vim` may be left in the yaml: training, validation and prediction use the logits, and an
    export with `--output_op none` then means VIM.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        head_use_dw: bool = True,
        align_corners: bool = False,
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(num_classes, align_corners=align_corners, upsample=upsample, loss_stride=loss_stride)
        self.backbone = backbone
        self.decode_head = FuseHead(num_classes, backbone.feat_channels[0], use_dw=head_use_dw)
        load_pretrained(self, pretrained)

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, H/8, W/8] (Base) or [B, K, H/16, W/16] (Tiny)."""
        return self.decode_head(self.backbone(x))
