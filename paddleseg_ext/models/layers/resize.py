"""Bilinear resizing, in one place so that every model resizes alike."""

from collections.abc import Sequence

from paddle import Tensor
from paddle.nn import functional as F


def resize(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """x: [B, C, H, W] -> [B, C, *size], bilinear; `size` is (height, width)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def resize_like(x: Tensor, reference: Tensor, align_corners: bool = False) -> Tensor:
    """x: [B, C, H, W] -> [B, C, h, w] with the height and width of `reference`, bilinear."""
    return resize(x, reference.shape[2:], align_corners)
