"""What SeaFormer and StrideFormer share: convolutional stages, the last of them followed by axial attention."""

from collections.abc import Callable, Sequence
from typing import Any

from paddle import Tensor, nn

from paddleseg_ext.models.layers.attention import SeaAttention
from paddleseg_ext.models.layers.conv import C_BN, Names
from paddleseg_ext.models.layers.transformer import TransformerStage


class StagedTransformer(nn.Layer):
    """Stages `smb1`, `smb2`, … of convolutions, and `trans1`, `trans2`, … of attention behind the last of them.

    The names are those of PaddleSeg's checkpoints.
    """

    def _add_stages(
        self, stage: Callable[..., nn.Layer], tables: Sequence[Sequence[Any]], in_channels: int, stem_channels: int
    ) -> None:
        """Adds one `stage` per table of blocks; the first one starts with the stem."""
        self.num_stages = len(tables)
        for i, rows in enumerate(tables):
            layer = stage(in_channels, rows, stem_channels=stem_channels if i == 0 else None)
            self.add_sublayer(f"smb{i + 1}", layer)
            in_channels = rows[-1].out_channels

    def _add_attention(
        self, channels: Sequence[int], depths: Sequence[int], *, key_dims: Sequence[int], mlp_ratios: Sequence[float],
        act: str, drop_path_rate: float, names: Names = C_BN, **options: Any,
    ) -> None:  # fmt: skip
        """Adds one stage of `depths[i]` blocks per width in `channels`; `options` are of `SeaAttention`."""
        self.num_attention = len(depths)
        for i, width in enumerate(channels):
            attentions = [
                SeaAttention(width, key_dim=key_dims[i], act=act, names=names, **options) for _ in range(depths[i])
            ]
            stage = TransformerStage(
                attentions, width, mlp_ratio=mlp_ratios[i], act=act, drop_path_rate=drop_path_rate, names=names
            )
            self.add_sublayer(f"trans{i + 1}", stage)

    def stage_features(self, x: Tensor) -> list[Tensor]:
        """x: [B, in_channels, H, W] -> the output of the second stage (1/8), then of each attention stage."""
        features = []
        for i in range(self.num_stages):
            x = getattr(self, f"smb{i + 1}")(x)
            if i == 1:
                features.append(x)
            attention = i - (self.num_stages - self.num_attention)
            if attention >= 0:
                x = getattr(self, f"trans{attention + 1}")(x)
                features.append(x)
        return features
