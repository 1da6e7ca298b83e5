"""LR-ASPP (MobileNetV3, Howard et al. 2019, arXiv 1905.02244, §6.4), in PaddleSeg's form with two detail features.

Loads PaddleSeg's `lraspp_mobilenetv3_*` checkpoints.
"""

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.base import SegmentationModel, feature_channels
from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM, ConvBNAct
from paddleseg_ext.models.layers.resize import check_resize_mode, resize_like
from paddleseg_ext.registry import MODELS, register
from paddleseg_ext.weights import load_pretrained


class LargeAveragePool(nn.Layer):
    """Average over 49x49 pixels with stride (16, 20), as in the paper (figure 10).

    The window is at most as high and as wide as the feature. The size must be known when a graph is traced, so
    an open size raises ValueError.
    """

    WINDOW, STRIDE = 49, (16, 20)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, max(H - 49, 0) // 16 + 1, max(W - 49, 0) // 20 + 1]."""
        height, width = x.shape[2:]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise ValueError("LR-ASPP with use_gap: False needs a fixed height and width, such as 1 3 512 1024")
        return F.avg_pool2d(x, [min(self.WINDOW, height), min(self.WINDOW, width)], self.STRIDE)


class LRASPPHead(nn.Layer):
    """Gates the coarsest feature by its average, then refines it with the finer ones at their resolution."""

    def __init__(self, in_channels: Sequence[int], mid_channels: Sequence[int], out_channels: int, num_classes: int,
                 *, resize_mode: str, use_gap: bool):  # fmt: skip
        super().__init__()
        *details, coarsest = in_channels
        self.use_gap = use_gap
        self.resize_mode = resize_mode
        self.convs, self.conv_ups = nn.LayerList(), nn.LayerList()
        for detail, mid in zip(reversed(details), reversed(mid_channels), strict=True):
            self.convs.append(nn.Conv2D(detail, mid, 1, bias_attr=False))
            self.conv_ups.append(self._conv(out_channels + mid, out_channels))
        self.conv_w = nn.Sequential(
            nn.AdaptiveAvgPool2D(1) if use_gap else LargeAveragePool(),
            nn.Conv2D(coarsest, out_channels, 1, bias_attr=False),
            nn.Sigmoid(),
        )
        self.conv_v = self._conv(coarsest, out_channels)
        self.conv_t = nn.Conv2D(out_channels, out_channels, 1, bias_attr=False)
        self.conv_out = nn.Conv2D(out_channels, num_classes, 1, bias_attr=False)

    @staticmethod
    def _conv(in_channels: int, out_channels: int) -> ConvBNAct:
        return ConvBNAct(in_channels, out_channels, act="relu", bias=True, names=CONV_BATCH_NORM)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: [B, in_channels[i], H_i, W_i], finest first -> [B, num_classes, H_0, W_0]."""
        x = features[-1]
        gate = self.conv_w(x)
        if not self.use_gap:
            gate = resize_like(gate, x, mode=self.resize_mode)
        y = self.conv_t(self.conv_v(x) * gate)
        for i, conv in enumerate(self.convs):
            detail = features[-2 - i]
            y = resize_like(y, detail, mode=self.resize_mode)
            y = self.conv_ups[i](paddle.concat([y, conv(detail)], axis=1))
        return self.conv_out(y)


@register(MODELS)
class LRASPP(SegmentationModel):
    """LR-ASPP over the features `backbone_indices` of a backbone, finest first.

    `lraspp_head_inter_chs` gives one width per feature, except the last. With `use_gap` the gate is one
    average of the whole feature. Raises ValueError for numbers and names that do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        backbone_indices: Sequence[int] = (0, 1, 3),
        lraspp_head_inter_chs: Sequence[int] = (32, 64),
        lraspp_head_out_ch: int = 128,
        resize_mode: str = "bilinear",
        use_gap: bool = True,
        pretrained: str | None = None,
        upsample: str = "intepolate",
        loss_stride: int = 1,
    ):
        super().__init__(num_classes, upsample=upsample, loss_stride=loss_stride)
        in_channels = feature_channels(backbone, backbone_indices)
        if len(lraspp_head_inter_chs) != len(in_channels) - 1:
            raise ValueError(
                f"lraspp_head_inter_chs is {list(lraspp_head_inter_chs)}; backbone_indices names {len(in_channels)} "
                f"features, so it needs {len(in_channels) - 1}"
            )
        self.backbone = backbone
        self.backbone_indices = list(backbone_indices)
        self.lraspp_head = LRASPPHead(
            in_channels, lraspp_head_inter_chs, lraspp_head_out_ch, num_classes,
            resize_mode=check_resize_mode(resize_mode), use_gap=use_gap,
        )  # fmt: skip
        load_pretrained(self, pretrained)

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, h, w] at the scale of the finest feature, 1/4 as published."""
        features = self.backbone(x)
        return self.lraspp_head([features[index] for index in self.backbone_indices])
