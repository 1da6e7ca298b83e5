"""STDC networks (Fan et al. 2021, arXiv 2104.13188, §3.1-3.2): the backbones of PP-LiteSeg.

Loads PaddleSeg's `STDCNet1` and `STDCNet2` checkpoints.
"""

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from paddleseg_ext.models.backbones.variants import register_variant
from paddleseg_ext.models.layers.conv import ConvBNAct
from paddleseg_ext.models.layers.initialization import multiply_learning_rate
from paddleseg_ext.weights import load_pretrained

BASE = 64


class ShortTermDenseConcat(nn.Layer):
    """STDC module: a chain of convolutions, each half as wide as the one before. All outputs are concatenated.

    With stride 2, an average pooling halves the first output for the concatenation, and a depthwise convolution
    halves it for the rest of the chain. Raises ValueError for fewer than two convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, stride: int):
        super().__init__()
        if depth < 2:
            raise ValueError(f"block_num is {depth}; it must be at least 2")
        # The last two are equally wide, so that all add up to out_channels.
        widths = [out_channels >> min(i + 1, depth - 1) for i in range(depth)]
        kernels = [1] + [3] * (depth - 1)
        inputs = [in_channels, *widths]
        self.conv_list = nn.LayerList(
            [ConvBNAct(c, width, k, act="relu") for c, width, k in zip(inputs, widths, kernels, strict=False)]
        )
        self.stride = stride
        if stride == 2:
            names = ("0", "1")  # a Sequential in the checkpoint
            self.avd_layer = ConvBNAct(widths[0], widths[0], 3, 2, groups=widths[0], names=names)
            self.skip = nn.AvgPool2D(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        x = self.conv_list[0](x)
        outputs = [x if self.stride == 1 else self.skip(x)]
        x = x if self.stride == 1 else self.avd_layer(x)
        for conv in self.conv_list[1:]:
            x = conv(x)
            outputs.append(x)
        return paddle.concat(outputs, axis=1)


class STDCNet(nn.Layer):
    """Two strided convolutions, then three stages of STDC modules; `layers` gives the modules per stage.

    `feat_channels` and `feat_strides` list the channels and strides of the five features it returns. With
    `relative_lr` the backbone learns at another rate than the rest.
    """

    def __init__(self, layers: Sequence[int], block_num: int = 4, relative_lr: float = 1.0, in_channels: int = 3,
                 pretrained: str | None = None):  # fmt: skip
        super().__init__()
        self.feat_channels = [BASE // 2, BASE, BASE * 4, BASE * 8, BASE * 16]
        self.feat_strides = [2, 4, 8, 16, 32]
        blocks = [
            ConvBNAct(in_channels, BASE // 2, 3, 2, act="relu"),
            ConvBNAct(BASE // 2, BASE, 3, 2, act="relu"),
        ]
        self.ends = [0, 1]  # the last block before each feature
        channels = BASE
        for width, depth in zip(self.feat_channels[2:], layers, strict=True):
            for i in range(depth):
                blocks.append(ShortTermDenseConcat(channels, width, block_num, 2 if i == 0 else 1))
                channels = width
            self.ends.append(len(blocks) - 1)
        self.features = nn.LayerList(blocks)
        multiply_learning_rate(self, relative_lr)
        load_pretrained(self, pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> [B, feat_channels[i], H/s, W/s] at s = 2, 4, 8, 16, 32."""
        outputs = []
        for block in self.features:
            x = block(x)
            outputs.append(x)
        return [outputs[end] for end in self.ends]


STDC1 = register_variant(STDCNet, "STDC1", "STDC1 (table 2).", (2, 2, 2))
STDC2 = register_variant(STDCNet, "STDC2", "STDC2 (table 2).", (4, 5, 3))
