"""The transformer block of TopFormer, SeaFormer and StrideFormer: attention and convolutional feed-forward."""

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import C_BN, Names
from paddleseg_ext.models.layers.mobile_blocks import ConvFFN


class DropPath(nn.Layer):
    """Stochastic depth (Huang et al. 2016): training drops the whole branch of a sample with probability `rate`.

    The remaining samples are rescaled.
    """

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


class TransformerBlock(nn.Layer):
    """An attention layer and a feed-forward layer, each residual with drop path."""

    def __init__(self, attention: nn.Layer, feed_forward: nn.Layer, *, drop_path: float):
        super().__init__()
        self.attn = attention
        self.drop_path = DropPath(drop_path)
        self.mlp = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))


class TransformerStage(nn.Layer):
    """One block per layer of `attentions`; the drop path rate grows linearly from 0 to `drop_path_rate`."""

    def __init__(self, attentions: Sequence[nn.Layer], channels: int, *, mlp_ratio: float, act: str,
                 drop_path_rate: float, names: Names = C_BN):  # fmt: skip
        super().__init__()
        self.transformer_blocks = nn.LayerList()
        for i, attention in enumerate(attentions):
            rate = drop_path_rate * i / max(len(attentions) - 1, 1)
            feed_forward = ConvFFN(channels, int(channels * mlp_ratio), act=act, names=names)
            self.transformer_blocks.append(TransformerBlock(attention, feed_forward, drop_path=rate))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        for block in self.transformer_blocks:
            x = block(x)
        return x
