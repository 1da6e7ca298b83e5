"""Fusion of a detail feature with a semantic gate, as SeaFormer's light head does (Wan et al. 2023, §3.3)."""

from paddle import Tensor, nn

from paddleseg_ext.models.layers.conv import ConvBNAct
from paddleseg_ext.models.layers.resize import resize_like


class SigmoidFusion(nn.Layer):
    """The detail feature, embedded, times the sigmoid of the semantic feature resized to it."""

    def __init__(self, detail_channels: int, semantic_channels: int, out_channels: int):
        super().__init__()
        self.local_embedding = ConvBNAct(detail_channels, out_channels)
        self.global_act = ConvBNAct(semantic_channels, out_channels, act="sigmoid")

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """detail: [B, Cd, H, W], semantic: [B, Cs, h, w] -> [B, out_channels, H, W]."""
        return self.local_embedding(detail) * resize_like(self.global_act(semantic), detail)
