"""Unified Attention Fusion Modules (PP-LiteSeg, Peng et al. 2022, arXiv 2204.02681, §3.2).

The detail feature x and the resized semantic feature y become `a x + (1 - a) y`, where spatial or channel
attention gives the weight a; the simplest module adds x and y.
"""

from collections.abc import Callable
from functools import partial

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM, ConvBNAct, conv_bn_relu
from paddleseg_ext.models.layers.resize import resize_like


class UAFM(nn.Layer):
    """Fusion by addition; the base class of the fusions with attention."""

    def __init__(self, detail_channels: int, semantic_channels: int, out_channels: int, *,
                 resize_mode: str = "bilinear", separable: bool = False):  # fmt: skip
        super().__init__()
        self.conv_x = conv_bn_relu(detail_channels, semantic_channels, 3, separable=separable)
        self.conv_out = conv_bn_relu(semantic_channels, out_channels, 3, separable=separable)
        self.resize_mode = resize_mode

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y: [B, semantic_channels, H, W] -> [B, semantic_channels, H, W]."""
        return x + y

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """detail: [B, Cd, H, W], semantic: [B, Cs, h, w] -> [B, out_channels, H, W]."""
        x = self.conv_x(detail)
        return self.conv_out(self.fuse(x, resize_like(semantic, x, mode=self.resize_mode)))


class UAFMSpatial(UAFM):
    """One weight per pixel, computed from each feature's channel mean (and channel maximum if `use_max`).

    With `has_scale` the constant 1 in `1 - a` is stored as a frozen parameter, because checkpoints contain it.
    """

    def __init__(self, detail_channels: int, semantic_channels: int, out_channels: int, *,
                 resize_mode: str = "bilinear", separable: bool = False,
                 use_max: bool = True, has_scale: bool = False):  # fmt: skip
        super().__init__(detail_channels, semantic_channels, out_channels, resize_mode=resize_mode, separable=separable)
        self.use_max = use_max
        self.conv_xy_atten = nn.Sequential(
            ConvBNAct(4 if use_max else 2, 2, 3, act="relu", names=CONV_BATCH_NORM),
            ConvBNAct(2, 1, 3, names=CONV_BATCH_NORM),
        )
        self._scale = None
        if has_scale:
            self._scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
            self._scale.stop_gradient = True

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y: [B, C, H, W] -> [B, C, H, W]."""
        statistics = []
        for feature in (x, y):
            statistics.append(feature.mean(1, keepdim=True))
            if self.use_max:
                statistics.append(feature.max(1, keepdim=True))
        weight = F.sigmoid(self.conv_xy_atten(paddle.concat(statistics, axis=1)))
        return x * weight + y * ((1.0 if self._scale is None else self._scale) - weight)


class UAFMChannel(UAFM):
    """One weight per channel, computed from each feature's mean over the pixels (and maximum if `use_max`)."""

    def __init__(self, detail_channels: int, semantic_channels: int, out_channels: int, *,
                 resize_mode: str = "bilinear", separable: bool = False, use_max: bool = True):  # fmt: skip
        super().__init__(detail_channels, semantic_channels, out_channels, resize_mode=resize_mode, separable=separable)
        self.use_max = use_max
        channels = semantic_channels
        self.conv_xy_atten = nn.Sequential(
            ConvBNAct((4 if use_max else 2) * channels, channels // 2, act="leaky_relu", names=CONV_BATCH_NORM),
            ConvBNAct(channels // 2, channels, names=CONV_BATCH_NORM),
        )

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y: [B, C, H, W] -> [B, C, H, W]."""
        statistics = [feature.mean([2, 3], keepdim=True) for feature in (x, y)]
        if self.use_max:
            statistics += [feature.max([2, 3], keepdim=True) for feature in (x, y)]
        weight = F.sigmoid(self.conv_xy_atten(paddle.concat(statistics, axis=1)))
        return x * weight + y * (1.0 - weight)


# The keys are PaddleSeg's names, which a yaml gives as `arm_type`.
ARM_TYPES: dict[str, Callable[..., UAFM]] = {
    "UAFM": UAFM,
    "UAFM_ChAtten": UAFMChannel,
    "UAFM_ChAtten_S": partial(UAFMChannel, use_max=False),
    "UAFM_SpAtten": partial(UAFMSpatial, has_scale=True),
    "UAFM_SpAtten_S": partial(UAFMSpatial, use_max=False),
    "UAFMMobile": partial(UAFM, separable=True),
    "UAFMMobile_SpAtten": partial(UAFMSpatial, separable=True),
}


def fusion_module(arm_type: str) -> Callable[..., UAFM]:
    """The constructor of the module named `arm_type`. Raises ValueError for an unknown name."""
    if arm_type not in ARM_TYPES:
        raise ValueError(f"arm_type is {arm_type!r}; it must be one of {', '.join(ARM_TYPES)}")
    return ARM_TYPES[arm_type]
