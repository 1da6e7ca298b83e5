"""Stochastic depth (Huang et al. 2016)."""

import paddle
from paddle import Tensor, nn


class DropPath(nn.Layer):
    """While training, drops the whole branch of a sample with probability `rate` and rescales the rest."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, ...] -> [B, ...]."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = paddle.bernoulli(paddle.full([x.shape[0]] + [1] * (x.ndim - 1), keep, dtype=x.dtype))
        return x * mask / keep
