"""MobileNetV2's inverted residual (Sandler et al. 2018, §3.3). TopFormer and SeaFormer build their pyramids from it.

Attribute names are those of PaddleSeg's checkpoints: `conv` holds convolutions and activations in turn.
"""

from collections.abc import Sequence
from typing import NamedTuple

from paddle import Tensor, nn

from paddleseg_ext.models.layers.activation import activation
from paddleseg_ext.models.layers.conv import C_BN, ConvBNAct, Names


class MobileNetV2Row(NamedTuple):
    """One row of the papers' tables."""

    kernel_size: int
    expand_ratio: int
    out_channels: int
    stride: int


class MobileNetV2Block(nn.Layer):
    """Expand (unless the ratio is 1), depthwise, project; residual where the shape allows it."""

    def __init__(self, in_channels: int, row: MobileNetV2Row, *, act: str = "relu", names: Names = C_BN):
        super().__init__()
        k, expand_ratio, out_channels, stride = row
        hidden = in_channels * expand_ratio
        self.has_shortcut = stride == 1 and in_channels == out_channels
        expand = [ConvBNAct(in_channels, hidden, names=names), activation(act)] if expand_ratio != 1 else []
        depthwise = [ConvBNAct(hidden, hidden, k, stride, groups=hidden, names=names), activation(act)]
        self.conv = nn.Sequential(*expand, *depthwise, ConvBNAct(hidden, out_channels, names=names))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, H / stride, W / stride]."""
        out = self.conv(x)
        return x + out if self.has_shortcut else out


class MobileNetV2Stage(nn.Layer):
    """Blocks `layer1`, `layer2`, …; if `stem_channels` is given, a stride-2 stem (named `stem_name`) comes first."""

    def __init__(self, in_channels: int, rows: Sequence[MobileNetV2Row], *, stem_channels: int | None = None,
                 stem_name: str = "stem", names: Names = C_BN):  # fmt: skip
        super().__init__()
        self._layers = []
        if stem_channels is not None:
            stem = nn.Sequential(ConvBNAct(in_channels, stem_channels, 3, 2, names=names), activation("relu"))
            self._add(stem_name, stem)
            in_channels = stem_channels
        for i, row in enumerate(rows):
            self._add(f"layer{i + 1}", MobileNetV2Block(in_channels, row, names=names))
            in_channels = row.out_channels

    def _add(self, name: str, layer: nn.Layer) -> None:
        self.add_sublayer(name, layer)
        self._layers.append(name)

    def features(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> the output of each layer, the stem's first: [B, C, H / s, W / s]."""
        outputs = []
        for name in self._layers:
            x = getattr(self, name)(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, C, H / s, W / s], s the product of the strides."""
        return self.features(x)[-1]
