"""TopTransformer, the backbone of TopFormer (Zhang et al. 2022, arXiv 2204.05525, §3).

A MobileNetV2 pyramid, its maps pooled to 1/64 and joined as tokens, four transformer blocks over them, and one
module per scale that injects the result back. Loads PaddleSeg's and the authors' TopFormer checkpoints.
"""

import math
from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.backbones.variants import register_variant
from paddleseg_ext.models.layers.activation import activation
from paddleseg_ext.models.layers.attention import attend
from paddleseg_ext.models.layers.conv import C_BN, ConvBNAct
from paddleseg_ext.models.layers.initialization import init_by_fan_out, multiply_learning_rate
from paddleseg_ext.models.layers.mobilenetv2 import MobileNetV2Row, MobileNetV2Stage
from paddleseg_ext.models.layers.pooling import adaptive_average, pool_by_weights, window_weights
from paddleseg_ext.models.layers.resize import resize_like
from paddleseg_ext.models.layers.transformer import TransformerStage
from paddleseg_ext.weights import load_pretrained

POOLS = ("paddleseg", "adaptive")
# The authors spell it 'muli_sum'. PaddleSeg lists three more kinds, which raise there as soon as they run.
INJECTIONS = ("multi_sum", "muli_sum")
KEY_DIM, ATTN_RATIO, MLP_RATIO, DEPTH = 16, 2, 2, 4


class TokenAttention(nn.Layer):
    """Attention among all tokens (§3.2), without the usual division by the root of the key's length."""

    def __init__(self, channels: int, num_heads: int, act: str = "relu6"):
        super().__init__()
        self.num_heads = num_heads
        self.v_channels = KEY_DIM * ATTN_RATIO * num_heads
        self.to_q = ConvBNAct(channels, KEY_DIM * num_heads, names=C_BN)
        self.to_k = ConvBNAct(channels, KEY_DIM * num_heads, names=C_BN)
        self.to_v = ConvBNAct(channels, self.v_channels, names=C_BN)
        self.proj = nn.Sequential(activation(act), ConvBNAct(self.v_channels, channels, norm_weight=0.0, names=C_BN))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, C, H, W]."""
        height, width = x.shape[2:]
        tokens = attend(self.to_q(x), self.to_k(x), self.to_v(x), self.num_heads)
        return self.proj(tokens.reshape([0, self.v_channels, height, width]))


class PyramidPooling(nn.Layer):
    """Pools all maps of the pyramid to half the size of the last one and joins their channels (§3.2).

    `pool` says how. Both ways are the same where the image's height and width are multiples of 64.

    - 'adaptive' is what the authors do: the half is rounded up, and every pixel counts.
    - 'paddleseg' is what PaddleSeg does, and the default: the half is rounded down. If the last map has an odd size,
      its last row or column is left out, and so is the same area of the other maps. This needs maps that halve
      exactly, as they do at multiples of 32, and a last map of at least two pixels; otherwise the pooling is adaptive.

    A checkpoint must be used with the pooling it was trained with, so checkpoints store `pool`. Priority: the yaml
    (`pool_is_given`), then the checkpoint, then `pool_default`. Raises ValueError for another `pool`.
    """

    checkpoint_settings = ("pool",)
    pool_default = POOLS[0]

    def __init__(self, pool: str | None = None):
        super().__init__()
        self.pool_is_given = pool is not None
        self.pool = POOLS[0] if pool is None else pool

    @property
    def pool(self) -> str:
        """'paddleseg' or 'adaptive'."""
        return self._pool

    @pool.setter
    def pool(self, pool: str) -> None:
        """Raises ValueError for another value."""
        if pool not in POOLS:
            raise ValueError(f"pool is {pool!r}; it must be one of {', '.join(POOLS)}")
        self._pool = pool

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """features: [B, C0, H/4, W/4] … [B, C3, H/32, W/32] -> [B, C0 + … + C3, H/64, W/64]."""
        first, last = features[0].shape[2:], features[-1].shape[2:]
        kernels = [2 ** (len(features) - i) for i in range(len(features))]
        if not all(isinstance(length, int) for length in (*first, *last)):
            pooled = self._pool_open(features, kernels)
        elif self.pool == "paddleseg" and min(last) > 1 and first == [length * kernels[1] for length in last]:
            pooled = [F.avg_pool2d(features[i], kernel) for i, kernel in enumerate(kernels)]
        else:
            pooled = [adaptive_average(x, [(length + 1) // 2 for length in last]) for x in features]
        return paddle.concat(pooled, axis=1)

    def _pool_open(self, features: Sequence[Tensor], kernels: Sequence[int]) -> list[Tensor]:
        """The same for a graph that knows the size only when it runs: arithmetic replaces the `if`."""
        sizes = [paddle.shape(x)[2:].astype("float32") for x in features]
        last = sizes[-1]
        halves = 0.0  # or a tensor: 1 where PaddleSeg's pooling is set and possible, else 0
        if self.pool == "paddleseg":
            halves = 1.0 - paddle.clip(last * float(kernels[1]) - sizes[0], 0.0, 1.0)
            halves = (halves * paddle.clip(last - 1.0, 0.0, 1.0)).min(axis=0, keepdim=True)
        cells = paddle.floor((last + 1.0 - halves) * 0.5)
        pooled = []
        for i, size in enumerate(sizes):
            covered = size + (cells * float(kernels[i]) - size) * halves
            rows, columns = (window_weights(size[j : j + 1], cells[j : j + 1], covered[j : j + 1]) for j in (0, 1))
            pooled.append(pool_by_weights(features[i], rows, columns))
        return pooled


class SemanticInjection(nn.Layer):
    """The local feature, gated by the global one and added to it (§3.3)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.local_embedding = ConvBNAct(in_channels, out_channels)
        self.global_embedding = ConvBNAct(in_channels, out_channels)
        self.global_act = ConvBNAct(in_channels, out_channels, act="hardsigmoid")

    def forward(self, local: Tensor, semantic: Tensor) -> Tensor:
        """local: [B, C, H, W], semantic: [B, C, h, w] -> [B, out_channels, H, W]."""
        gate = resize_like(self.global_act(semantic), local)
        return self.local_embedding(local) * gate + resize_like(self.global_embedding(semantic), local)


class TopTransformer(nn.Layer):
    """Token pyramid, transformer and injection (figure 2).

    `rows` are the pyramid's blocks; `out_indices` are the numbers (from 0) of the blocks that give its four maps.
    `lr_mult` multiplies the learning rate of every parameter here, as TopFormer's recipe does with 0.1.
    `feat_channels` and `feat_strides` list the channels and strides of the maps it returns. Raises ValueError for
    an unknown `injection_type` or `pool` (see `PyramidPooling`).
    """

    absent_from_pretrained = ("SIM.*",)  # classifiers inject nothing

    def __init__(
        self,
        rows: Sequence[MobileNetV2Row],
        out_indices: Sequence[int],
        out_channels: int,
        num_heads: int,
        lr_mult: float = 1.0,
        drop_path_rate: float = 0.0,
        injection_type: str = "multi_sum",
        pool: str | None = None,
        in_channels: int = 3,
        pretrained: str | None = None,
    ):
        super().__init__()
        if injection_type not in INJECTIONS:
            raise ValueError(f"injection_type is {injection_type!r}; it must be one of {', '.join(INJECTIONS)}")
        self.out_indices = out_indices
        self.channels = [rows[i].out_channels for i in out_indices]
        self.tpm = MobileNetV2Stage(in_channels, rows, stem_channels=16)
        self.ppa = PyramidPooling(pool)
        tokens = sum(self.channels)
        attentions = [TokenAttention(tokens, num_heads) for _ in range(DEPTH)]
        self.trans = TransformerStage(
            attentions, tokens, mlp_ratio=MLP_RATIO, act="relu6", drop_path_rate=drop_path_rate
        )
        injections = [SemanticInjection(channels, out_channels) for channels in self.channels[1:]]
        self.SIM = nn.LayerList([nn.Identity(), *injections])  # the map at 1/4 gives tokens only
        self.feat_channels = [out_channels] * len(injections)
        self.feat_strides = [2 * math.prod(row.stride for row in rows[: i + 1]) for i in out_indices[1:]]
        multiply_learning_rate(self, lr_mult)
        init_by_fan_out(self)
        load_pretrained(self, pretrained)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> maps of `feat_channels` channels at 1/8, 1/16 and 1/32."""
        layers = self.tpm.features(x)
        features = [layers[i + 1] for i in self.out_indices]  # the stem comes first
        semantics = self.trans(self.ppa(features)).split(self.channels, axis=1)
        return [self.SIM[i](features[i], semantics[i]) for i in range(1, len(features))]


def _variant(
    name: str, rows: Sequence[tuple], out_indices: Sequence[int], out_channels: int, num_heads: int
) -> Callable[..., TopTransformer]:
    """Registers a column of table 1 under PaddleSeg's name."""
    description = f"The backbone of TopFormer-{name}. The authors drop paths at a rate of 0.1, PaddleSeg does not."
    numbers = ([MobileNetV2Row(*row) for row in rows], out_indices, out_channels, num_heads)
    return register_variant(TopTransformer, f"TopTransformer_{name}", description, *numbers)


TopTransformer_Base = _variant("Base", [
    (3, 1, 16, 1), (3, 4, 32, 2), (3, 3, 32, 1), (5, 3, 64, 2), (5, 3, 64, 1),
    (3, 3, 128, 2), (3, 3, 128, 1), (5, 6, 160, 2), (5, 6, 160, 1), (3, 6, 160, 1),
], (2, 4, 6, 9), out_channels=256, num_heads=8)  # fmt: skip
TopTransformer_Small = _variant("Small", [
    (3, 1, 16, 1), (3, 4, 24, 2), (3, 3, 24, 1), (5, 3, 48, 2), (5, 3, 48, 1),
    (3, 3, 96, 2), (3, 3, 96, 1), (5, 6, 128, 2), (5, 6, 128, 1), (3, 6, 128, 1),
], (2, 4, 6, 9), out_channels=192, num_heads=6)  # fmt: skip
TopTransformer_Tiny = _variant("Tiny", [
    (3, 1, 16, 1), (3, 4, 16, 2), (3, 3, 16, 1), (5, 3, 32, 2), (5, 3, 32, 1),
    (3, 3, 64, 2), (3, 3, 64, 1), (5, 6, 96, 2), (5, 6, 96, 1),
], (2, 4, 6, 8), out_channels=128, num_heads=4)  # fmt: skip
