"""Simple Pyramid Pooling Module (PP-LiteSeg, Peng et al. 2022, arXiv 2204.02681, §3.3).

Attribute names are those of PaddleSeg's `PPContextModule` and `MobileContextModule`.
"""

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import CONV_BATCH_NORM, ConvBNAct, conv_bn_relu
from paddleseg_ext.models.layers.pooling import adaptive_average, pool_by_weights, window_weights
from paddleseg_ext.models.layers.resize import resize_like


class GridAverage(nn.Layer):
    """Adaptive average pooling to a grid of `bins` x `bins`. The map may have any size, even a smaller one.

    A graph traced with an open height or width computes the windows when it runs.
    """

    def __init__(self, bins: int):
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, bins, bins]."""
        if self.bins == 1:
            return x.mean([2, 3], keepdim=True)
        if all(isinstance(length, int) for length in x.shape[2:]):
            return adaptive_average(x, [self.bins, self.bins])
        size, cells = paddle.shape(x)[2:].astype("float32"), paddle.to_tensor([float(self.bins)])
        return pool_by_weights(x, window_weights(size[0:1], cells), window_weights(size[1:2], cells))


class SimplePyramidPooling(nn.Layer):
    """SPPM: the sum of the features averaged over grids of several bin sizes, and a 3x3 convolution.

    Any input size works, even one below the bin sizes. Raises ValueError when `bin_sizes` is empty or holds
    a number below 1.
    """

    def __init__(self, in_channels: int, out_channels: int, bin_sizes: Sequence[int], *, separable: bool = False):
        super().__init__()
        if not bin_sizes or min(bin_sizes) < 1:
            raise ValueError(f"cm_bin_sizes is {list(bin_sizes)}; it needs one or more sizes of at least 1")
        self.stages = nn.LayerList(
            [
                nn.Sequential(
                    GridAverage(bins),
                    ConvBNAct(in_channels, out_channels, act="relu", bias=True, names=CONV_BATCH_NORM),
                )
                for bins in bin_sizes
            ]
        )
        self.conv_out = conv_bn_relu(out_channels, out_channels, 3, separable=separable, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, in_channels, H, W] -> [B, out_channels, H, W]."""
        pooled = [resize_like(stage(x), x) for stage in self.stages]
        return self.conv_out(sum(pooled[1:], pooled[0]))
