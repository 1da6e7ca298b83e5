"""The base of all segmentation models.

A model computes logits at decoder resolution, the size of the last feature map, such as 1/8 of the image. The base
class resizes them to the image, or an output operator does it in an exported graph.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from paddle import Tensor, nn

from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import ValidInterpolate

UPSAMPLINGS = {"intepolate": "bilinear", "interpolate": "bilinear", "vim": "vim"}


class SegmentationModel(nn.Layer, ABC):
    """A model with `logits(x)` at decoder resolution; subclasses implement only this method.

    A model with auxiliary heads also implements `training_logits(x)`; the heads are computed only in training.

    Args:
        num_classes: number of classes K.
        align_corners: the setting with which logits are resized to the input's size.
        upsample: 'interpolate' or PaddleSeg's spelling 'intepolate', or 'vim' (Valid Interpolate Module).
        loss_stride: in training, logits and loss are computed at 1/loss_stride of the input size, because
            full-resolution logits of 150 classes cost more than the rest of a small network.

    Any input size works.
    Raises ValueError for another `upsample` or a `loss_stride` below 1.
    """

    def __init__(
        self, num_classes: int, align_corners: bool = False, upsample: str = "interpolate", loss_stride: int = 1
    ):
        super().__init__()
        if upsample not in UPSAMPLINGS:
            raise ValueError(f"upsample is {upsample!r}; it must be one of {', '.join(UPSAMPLINGS)}")
        if loss_stride < 1:
            raise ValueError(f"loss_stride is {loss_stride}; it must be at least 1")
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.upsample = UPSAMPLINGS[upsample]
        self.loss_stride = loss_stride

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, h, w] at decoder resolution."""

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """x: [B, C, H, W] -> [B, K, h, w] of the main head, then of each auxiliary head; the loss uses all."""
        return [self.logits(x)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [B, C, H, W] -> [[B, K, H, W]] logits; int32 labels [[B, H, W]] for upsample 'vim' in eval mode.

        In training mode [B, K, H/loss_stride, W/loss_stride] of each head.
        """
        height, width = x.shape[2:]
        if self.training:
            size = [-(-height // self.loss_stride), -(-width // self.loss_stride)]
            return [resize(logits, size, self.align_corners) for logits in self.training_logits(x)]
        logits = self.logits(x)
        if self.upsample == "vim":
            return [ValidInterpolate(self.align_corners)(logits, [height, width])]
        return [resize(logits, [height, width], self.align_corners)]


def feature_channels(backbone: nn.Layer, backbone_indices: Sequence[int]) -> list[int]:
    """The channels of the backbone's features that `backbone_indices` selects, in this order.

    Raises ValueError for a backbone without `feat_channels`, for an empty list and for an index out of range.
    """
    channels = getattr(backbone, "feat_channels", None)
    if channels is None:
        raise ValueError(f"{type(backbone).__name__} has no feat_channels; it must list the channels of its features")
    if not backbone_indices:
        raise ValueError("backbone_indices is empty; it must name at least one feature of the backbone")
    for index in backbone_indices:
        if not 0 <= index < len(channels):
            raise ValueError(
                f"backbone_indices holds {index}; {type(backbone).__name__} gives features 0 to {len(channels) - 1}"
            )
    return [channels[index] for index in backbone_indices]
