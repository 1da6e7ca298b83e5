"""Squeeze-enhanced axial attention (SeaFormer, Wan et al. 2023, §3.2) and its strided form (PP-MobileSeg §3.1).

Attribute names are those of PaddleSeg's checkpoints; `proj`, `proj_encode_row` and `proj_encode_column`
hold their convolution at index 1, behind the activation.
"""

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.layers.activation import HardSigmoid, activation
from paddleseg_ext.models.layers.conv import C_BN, ConvBNAct, Names
from paddleseg_ext.models.layers.resize import resize

POSITIONS = 16


class AxialPositionEmbedding(nn.Layer):
    """A learned embedding of 16 positions along one axis, stretched to the length of the input.

    For a fixed input size the stretched embedding is a constant, which the exporter folds
    (`paddleseg_ext.export.passes`): Paddle-Lite has no linear interpolation on x86.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.pos_embed = self.create_parameter([1, channels, POSITIONS], default_initializer=nn.initializer.Normal())

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, N] -> [B, C, N]."""
        return x + F.interpolate(self.pos_embed, size=[x.shape[2]], mode="linear", data_format="NCW")


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, scale: float | None = None) -> Tensor:
    """Multi-head attention among all positions; `scale`, if given, multiplies the products of q and k.

    q, k: [B, num_heads * key_dim, ...], v: [B, num_heads * d, ...], N positions each -> [B, num_heads, d, N].
    """
    # reshape infers the length and keeps the batch (0): a graph exported with a fixed size must not fix the batch too.
    q, k, v = (x.reshape([0, num_heads, x.shape[1] // num_heads, -1]) for x in (q, k, v))
    # matmul's transpose flags replace transpose operators: the graph has fewer operators, and none that Paddle
    # Inference's oneDNN could fuse into the product wrongly.
    products = paddle.matmul(q, k, transpose_x=True)
    if scale is not None:
        products = products * scale
    return paddle.matmul(v, F.softmax(products, axis=-1), transpose_y=True)


class SeaAttention(nn.Layer):
    """Attention along rows and columns of averaged features, gated by a local convolutional branch.

    With `stride=2` the attention works at half the resolution and its result is resized back.
    """

    def __init__(self, channels: int, *, key_dim: int, num_heads: int, attn_ratio: float, act: str, stride: int = 1,
                 names: Names = C_BN):  # fmt: skip
        super().__init__()
        self.names = names
        self.num_heads = num_heads
        self.scale = key_dim**-0.5
        qk = key_dim * num_heads
        v = self.v_channels = int(attn_ratio * key_dim) * num_heads

        self.to_q = ConvBNAct(channels, qk, names=names)
        self.to_k = ConvBNAct(channels, qk, names=names)
        self.to_v = ConvBNAct(channels, v, names=names)
        self.stride = stride
        if stride > 1:
            self.stride_conv = nn.Sequential(
                nn.Conv2D(channels, channels, 3, stride=stride, padding=1, groups=channels),
                nn.BatchNorm2D(channels),
            )
        self.proj = self._projection(v, channels, act)
        self.proj_encode_row = self._projection(v, v, act)
        self.pos_emb_rowq = AxialPositionEmbedding(qk)
        self.pos_emb_rowk = AxialPositionEmbedding(qk)
        self.proj_encode_column = self._projection(v, v, act)
        self.pos_emb_columnq = AxialPositionEmbedding(qk)
        self.pos_emb_columnk = AxialPositionEmbedding(qk)
        local = 2 * qk + v
        self.dwconv = ConvBNAct(local, local, 3, groups=local, names=names)
        self.act = activation(act)
        self.pwconv = ConvBNAct(local, channels, names=names)
        self.gate = HardSigmoid()

    def _projection(self, in_channels: int, out_channels: int, act: str) -> nn.Sequential:
        conv = ConvBNAct(in_channels, out_channels, norm_weight=0.0, names=self.names)
        return nn.Sequential(activation(act), conv)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, self.num_heads, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        size = x.shape[2:]
        if self.stride > 1:
            x = self.stride_conv(x)
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        local = self.pwconv(self.act(self.dwconv(paddle.concat([q, k, v], axis=1))))

        rows = self._attend(self.pos_emb_rowq(q.mean(-1)), self.pos_emb_rowk(k.mean(-1)), v.mean(-1))
        rows = self.proj_encode_row(rows.reshape([0, self.v_channels, -1, 1]))
        columns = self._attend(self.pos_emb_columnq(q.mean(-2)), self.pos_emb_columnk(k.mean(-2)), v.mean(-2))
        columns = self.proj_encode_column(columns.reshape([0, self.v_channels, 1, -1]))

        out = self.gate(self.proj(v + (rows + columns))) * local
        return resize(out, size) if self.stride > 1 else out
