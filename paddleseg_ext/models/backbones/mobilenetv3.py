"""MobileNetV3 (Howard et al. 2019, arXiv 1905.02244, tables 1-2) without its classifier.

Loads PaddleSeg's and PaddleClas' `MobileNetV3_{large,small}` checkpoints. Squeeze-excitation gates with a hard
sigmoid of slope 0.2, because those weights were trained with it.
"""

import math
from collections.abc import Callable, Sequence

from paddle import Tensor

from paddleseg_ext.models.backbones.variants import register_variant
from paddleseg_ext.models.layers.conv import CONV_BN
from paddleseg_ext.models.layers.mobile_blocks import BlockConfig, MobileNetV3Stage
from paddleseg_ext.weights import load_pretrained

_LARGE = [
    BlockConfig(3, 16, 16, False, "relu", 1),
    BlockConfig(3, 64, 24, False, "relu", 2),
    BlockConfig(3, 72, 24, False, "relu", 1),
    BlockConfig(5, 72, 40, True, "relu", 2),
    BlockConfig(5, 120, 40, True, "relu", 1),
    BlockConfig(5, 120, 40, True, "relu", 1),
    BlockConfig(3, 240, 80, False, "hardswish", 2),
    BlockConfig(3, 200, 80, False, "hardswish", 1),
    BlockConfig(3, 184, 80, False, "hardswish", 1),
    BlockConfig(3, 184, 80, False, "hardswish", 1),
    BlockConfig(3, 480, 112, True, "hardswish", 1),
    BlockConfig(3, 672, 112, True, "hardswish", 1),
    BlockConfig(5, 672, 160, True, "hardswish", 2),
    BlockConfig(5, 960, 160, True, "hardswish", 1),
    BlockConfig(5, 960, 160, True, "hardswish", 1),
]
_SMALL = [
    BlockConfig(3, 16, 16, True, "relu", 2),
    BlockConfig(3, 72, 24, False, "relu", 2),
    BlockConfig(3, 88, 24, False, "relu", 1),
    BlockConfig(5, 96, 40, True, "hardswish", 2),
    BlockConfig(5, 240, 40, True, "hardswish", 1),
    BlockConfig(5, 240, 40, True, "hardswish", 1),
    BlockConfig(5, 120, 48, True, "hardswish", 1),
    BlockConfig(5, 144, 48, True, "hardswish", 1),
    BlockConfig(5, 288, 96, True, "hardswish", 2),
    BlockConfig(5, 576, 96, True, "hardswish", 1),
    BlockConfig(5, 576, 96, True, "hardswish", 1),
]
_TABLES = {"large": (_LARGE, (2, 5, 11, 14)), "small": (_SMALL, (0, 2, 7, 10))}
_STEM = 16


def _divisible(channels: float) -> int:
    """The nearest multiple of 8 that is at least 8 and at least 9/10 of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _scaled(blocks: Sequence[BlockConfig], scale: float) -> list[BlockConfig]:
    return [
        block._replace(
            expand_channels=_divisible(scale * block.expand_channels),
            out_channels=_divisible(scale * block.out_channels),
        )
        for block in blocks
    ]


def _up_to_stride(blocks: Sequence[BlockConfig], output_stride: int) -> list[BlockConfig]:
    """The same blocks; those that would exceed `output_stride` are dilated instead of strided."""
    stride, dilation, dilated = 2, 1, []  # 2 is the stride of the stem
    for block in blocks:
        is_beyond = block.stride == 2 and stride == output_stride
        dilated.append(block._replace(stride=1 if is_beyond else block.stride, dilation=dilation))
        dilation *= 2 if is_beyond else 1
        stride *= dilated[-1].stride
    return dilated


class MobileNetV3(MobileNetV3Stage):
    """The blocks of a table, as one stage with the stem.

    `feat_channels` and `feat_strides` list the channels and strides of the features behind the blocks `out_index`.
    """

    def __init__(self, blocks: Sequence[BlockConfig], stem_channels: int, out_index: Sequence[int],
                 in_channels: int = 3, pretrained: str | None = None):  # fmt: skip
        super().__init__(in_channels, blocks, stem_channels=stem_channels, names=CONV_BN)
        self.out_index = out_index
        self.feat_channels = [blocks[index].out_channels for index in out_index]
        self.feat_strides = [2 * math.prod(block.stride for block in blocks[: index + 1]) for index in out_index]
        load_pretrained(self, pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> [B, feat_channels[i], H/s, W/s], s from 4 (large) or 2 (small) to 32, or 8."""
        x, outputs = self.conv(x), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return [outputs[index] for index in self.out_index]


def _variant(size: str, scale: float, output_stride: int = 32) -> Callable[..., MobileNetV3]:
    """Registers a width of a table under PaddleSeg's name, such as MobileNetV3_large_x0_5."""
    table, out_index = _TABLES[size]
    blocks = _up_to_stride(_scaled(table, scale), output_stride)
    suffix = "" if output_stride == 32 else f"_os{output_stride}"
    name = f"MobileNetV3_{size}_x{scale}".replace(".", "_") + suffix
    description = f"MobileNetV3-{size}, {scale} times as wide, output stride {output_stride}."
    return register_variant(MobileNetV3, name, description, blocks, _divisible(scale * _STEM), out_index)


MobileNetV3_large_x0_35 = _variant("large", 0.35)
MobileNetV3_large_x0_5 = _variant("large", 0.5)
MobileNetV3_large_x0_75 = _variant("large", 0.75)
MobileNetV3_large_x1_0 = _variant("large", 1.0)
MobileNetV3_large_x1_25 = _variant("large", 1.25)
MobileNetV3_large_x1_0_os8 = _variant("large", 1.0, output_stride=8)
MobileNetV3_small_x0_35 = _variant("small", 0.35)
MobileNetV3_small_x0_5 = _variant("small", 0.5)
MobileNetV3_small_x0_75 = _variant("small", 0.75)
MobileNetV3_small_x1_0 = _variant("small", 1.0)
MobileNetV3_small_x1_25 = _variant("small", 1.25)
MobileNetV3_small_x1_0_os8 = _variant("small", 1.0, output_stride=8)
