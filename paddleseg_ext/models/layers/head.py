"""The two-layer head of TopFormer and PP-MobileSeg."""

from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import ConvBNAct


class FuseHead(nn.Layer):
    """1x1 convolution (depthwise with `use_dw`), dropout, classifier."""

    def __init__(self, num_classes: int, in_channels: int, *, use_dw: bool, dropout_ratio: float = 0.1):
        super().__init__()
        groups = in_channels if use_dw else 1
        self.linear_fuse = ConvBNAct(in_channels, in_channels, groups=groups, act="relu")
        self.dropout = nn.Dropout2D(dropout_ratio)
        self.conv_seg = nn.Conv2D(in_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, h, w] -> [B, num_classes, h, w]."""
        return self.conv_seg(self.dropout(self.linear_fuse(x)))
