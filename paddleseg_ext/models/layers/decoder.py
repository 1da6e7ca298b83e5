"""The Flexible and Lightweight Decoder (PP-LiteSeg, Peng et al. 2022, arXiv 2204.02681, §3.1) and its head.

Attribute names are those of PaddleSeg's checkpoints.
"""

from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import SeparableConvBNReLU, conv_bn_relu
from paddleseg_ext.models.layers.resize import resize_like


class SegmentationHead(nn.Layer):
    """3x3 convolution, classifier without bias."""

    def __init__(self, in_channels: int, mid_channels: int, num_classes: int, *, separable: bool = False):
        super().__init__()
        self.conv = conv_bn_relu(in_channels, mid_channels, 3, separable=separable)
        self.conv_out = nn.Conv2D(mid_channels, num_classes, 1, bias_attr=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, h, w] -> [B, num_classes, h, w]."""
        return self.conv_out(self.conv(x))


class FlexibleLightDecoder(nn.Layer):
    """FLD: a context module for the coarsest feature, then one fusion per feature; finer features get fewer channels.

    Args:
        in_channels, out_channels: the channels of each feature and of its output, finest first.
        context, context_channels: the module for the coarsest feature, and the channels of its output.
        fusion: builds a fusion from the channels of the detail, of the semantic feature and of the output.
        fuse_all: makes the finest output from all outputs, concatenated (MobileSeg's `use_last_fuse`).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        *,
        context: nn.Layer,
        context_channels: int,
        fusion: Callable[[int, int, int], nn.Layer],
        fuse_all: bool = False,
    ):
        super().__init__()
        self.cm = context
        semantic = [*out_channels[1:], context_channels]
        channels = zip(in_channels, semantic, out_channels, strict=True)
        self.arm_list = nn.LayerList([fusion(*widths) for widths in channels])
        self.fuse_all = fuse_all
        if fuse_all:
            finest = out_channels[0]
            self.fuse_convs = nn.LayerList([SeparableConvBNReLU(c, finest, 3) for c in out_channels[1:]])
            self.last_conv = SeparableConvBNReLU(len(out_channels) * finest, finest, 3)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """features: [B, in_channels[i], H_i, W_i], finest first -> [B, out_channels[i], H_i, W_i]."""
        # By index, because paddle's tracing does not support zip with `strict`.
        x, outputs = self.cm(features[-1]), []
        for i in reversed(range(len(features))):
            x = self.arm_list[i](features[i], x)
            outputs.insert(0, x)
        if self.fuse_all:
            maps = [outputs[0]]
            for i, conv in enumerate(self.fuse_convs):
                maps.append(resize_like(conv(outputs[i + 1]), outputs[0]))
            outputs[0] = self.last_conv(paddle.concat(maps, axis=1))
        return outputs
