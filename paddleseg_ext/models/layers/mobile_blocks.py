"""MobileNetV3 blocks (Howard et al. 2019, §5) and the convolutional feed-forward of mobile transformers.

Attribute names are those of PaddleSeg's checkpoints: `expand_conv`, `bottleneck_conv`, `mid_se`, `linear_conv`
inside a block. The names of a convolution and its norm differ per family and are an argument.
"""

from collections.abc import Sequence
from typing import NamedTuple

from paddle import Tensor, nn

from paddleseg_ext.models.layers.activation import HardSigmoid, activation
from paddleseg_ext.models.layers.conv import C_BN, ConvBNAct, Names


class BlockConfig(NamedTuple):
    """One row of a MobileNetV3 table."""

    kernel_size: int
    expand_channels: int
    out_channels: int
    use_se: bool
    act: str
    stride: int
    dilation: int = 1


class SqueezeExcitation(nn.Layer):
    """Channel gate (Hu et al. 2018) with MobileNetV3's hard sigmoid of slope 0.2."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = nn.Conv2D(channels, channels // reduction, 1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2D(channels // reduction, channels, 1)
        self.gate = HardSigmoid(slope=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        return x * self.gate(self.conv2(self.act(self.conv1(self.pool(x)))))


class InvertedResidual(nn.Layer):
    """Expand, depthwise, optional squeeze-excitation, project; residual where the shape allows it."""

    def __init__(self, in_channels: int, config: BlockConfig, *, names: Names = C_BN):
        super().__init__()
        k, expand, out_channels, use_se, act, stride, dilation = config
        options = {"names": names, "norm_decay": False}
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.expand_conv = ConvBNAct(in_channels, expand, act=act, **options)
        self.bottleneck_conv = ConvBNAct(
            expand, expand, k, stride, groups=expand, act=act, dilation=dilation, **options
        )
        self.mid_se = SqueezeExcitation(expand) if use_se else None
        self.linear_conv = ConvBNAct(expand, out_channels, **options)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, H / stride, W / stride]."""
        out = self.bottleneck_conv(self.expand_conv(x))
        if self.mid_se is not None:
            out = self.mid_se(out)
        out = self.linear_conv(out)
        return x + out if self.has_shortcut else out


class MobileNetV3Stage(nn.Layer):
    """A run of inverted residuals; the first stage of a network starts with the stride-2 stem."""

    def __init__(self, in_channels: int, blocks: Sequence[BlockConfig], *, stem_channels: int | None = None,
                 names: Names = C_BN):  # fmt: skip
        super().__init__()
        self.has_stem = stem_channels is not None
        if stem_channels is not None:
            self.conv = ConvBNAct(in_channels, stem_channels, 3, 2, act="hardswish", names=names, norm_decay=False)
            in_channels = stem_channels
        self.blocks = nn.LayerList()
        for config in blocks:
            self.blocks.append(InvertedResidual(in_channels, config, names=names))
            in_channels = config.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, C, H / s, W / s], s the product of the strides."""
        if self.has_stem:
            x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return x


class ConvFFN(nn.Layer):
    """Feed-forward of a mobile transformer block: 1x1 expand, 3x3 depthwise, activation, 1x1 project."""

    def __init__(self, channels: int, hidden_channels: int, *, act: str, names: Names = C_BN):
        super().__init__()
        self.fc1 = ConvBNAct(channels, hidden_channels, names=names)
        self.dwconv = nn.Conv2D(hidden_channels, hidden_channels, 3, padding=1, groups=hidden_channels)
        self.act = activation(act)
        self.fc2 = ConvBNAct(hidden_channels, channels, names=names)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        return self.fc2(self.act(self.dwconv(self.fc1(x))))
