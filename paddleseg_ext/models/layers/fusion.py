"""Fusion of a detail feature with a semantic gate, as SeaFormer's light head does (Wan et al. 2023, §3.3)."""

from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import CONV_BN, ConvBNAct, Names
from paddleseg_ext.models.layers.resize import resize_like


class SigmoidFusion(nn.Layer):
    """The embedded detail feature, multiplied by a gate that is made from the semantic feature and resized.

    `gate` is 'hardsigmoid' in SeaFormer and 'sigmoid' in PP-MobileSeg's ablation of it.
    """

    def __init__(self, detail_channels: int, semantic_channels: int, out_channels: int, *, gate: str,
                 names: Names = CONV_BN):  # fmt: skip
        super().__init__()
        self.local_embedding = ConvBNAct(detail_channels, out_channels, names=names)
        self.global_act = ConvBNAct(semantic_channels, out_channels, act=gate, names=names)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """detail: [B, Cd, H, W], semantic: [B, Cs, h, w] -> [B, out_channels, H, W]."""
        return self.local_embedding(detail) * resize_like(self.global_act(semantic), detail)
