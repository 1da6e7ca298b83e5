"""The one convolution + batch norm + activation of this package, and its separable form."""

import paddle
from paddle import Tensor, nn
from paddle.regularizer import L2Decay

from paddleseg_ext.models.layers.activation import activation

Names = tuple[str, str]
# The names of a convolution and its norm in checkpoints: of most of PaddleSeg, its transformers, its layer library.
CONV_BN: Names = ("conv", "bn")
C_BN: Names = ("c", "bn")
CONV_BATCH_NORM: Names = ("_conv", "_batch_norm")


class ConvBNAct(nn.Layer):
    """Convolution, batch normalisation, activation.

    Padding keeps the size (divided by the stride) for odd kernels. `names` are the attribute names of
    the convolution and of the norm: each family's checkpoints spell them differently, and they are part
    of the state dict. So is the `bias` that some of PaddleSeg's convolutions have before a norm, where it
    has no effect. `norm_weight` initialises the norm's scale; 0 makes a residual branch start as
    identity. With `norm_decay=False` a coupled L2 weight decay leaves the norm alone.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: str | None = None,
        *,
        dilation: int = 1,
        bias: bool = False,
        norm_weight: float = 1.0,
        norm_decay: bool = True,
        names: Names = CONV_BN,
    ):
        super().__init__()
        self._names = names
        conv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias_attr=None if bias else False,
        )
        regularizer = None if norm_decay else L2Decay(0.0)
        norm = nn.BatchNorm2D(
            out_channels,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(norm_weight), regularizer=regularizer),
            bias_attr=paddle.ParamAttr(regularizer=regularizer),
        )
        self.add_sublayer(names[0], conv)
        self.add_sublayer(names[1], norm)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        conv, norm = (getattr(self, name) for name in self._names)
        return self.act(norm(conv(x)))


class SeparableConvBNReLU(nn.Layer):
    """Depthwise convolution and norm, pointwise convolution and norm, ReLU (Chollet 2017).

    The second half is called `piontwise_conv` in PaddleSeg's checkpoints, and its convolution has a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__()
        self.depthwise_conv = ConvBNAct(
            in_channels, in_channels, kernel_size, groups=in_channels, names=CONV_BATCH_NORM
        )
        self.piontwise_conv = ConvBNAct(in_channels, out_channels, act="relu", bias=True, names=CONV_BATCH_NORM)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, H, W]."""
        return self.piontwise_conv(self.depthwise_conv(x))


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, separable: bool = False, bias: bool = False
) -> nn.Layer:
    """A convolution of PP-LiteSeg's decoder or, if `separable`, of MobileSeg's; `bias` is for the former only."""
    if separable:
        return SeparableConvBNReLU(in_channels, out_channels, kernel_size)
    return ConvBNAct(in_channels, out_channels, kernel_size, act="relu", bias=bias, names=CONV_BATCH_NORM)
