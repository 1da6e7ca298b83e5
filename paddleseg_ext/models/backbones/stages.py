"""What SeaFormer and StrideFormer share: convolutional stages, the last of them followed by attention."""

from collections.abc import Sequence

from paddle import Tensor, nn


class StagedTransformer(nn.Layer):
    """Stages `smb1`, `smb2`, … of convolutions, and `trans1`, `trans2`, … of attention behind the last of them.

    The names are those of PaddleSeg's checkpoints.
    """

    def _add_stages(self, stages: Sequence[nn.Layer], attention_stages: Sequence[nn.Layer]) -> None:
        self.num_stages = len(stages)
        self.num_attention = len(attention_stages)
        for prefix, layers in (("smb", stages), ("trans", attention_stages)):
            for i, layer in enumerate(layers):
                self.add_sublayer(f"{prefix}{i + 1}", layer)

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
