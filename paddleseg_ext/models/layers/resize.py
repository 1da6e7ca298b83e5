"""Resizing. It is in one place, so that every model resizes in the same way."""

from collections.abc import Sequence

from paddle import Tensor
from paddle.nn import functional as F

RESIZE_MODES = ("bilinear", "nearest")


def check_resize_mode(mode: str) -> str:
    """`mode`, when it is 'bilinear' or 'nearest'. Raises ValueError for another one."""
    if mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode is {mode!r}; it must be one of {', '.join(RESIZE_MODES)}")
    return mode


def resize(x: Tensor, size: Sequence[int], align_corners: bool = False, mode: str = "bilinear") -> Tensor:
    """x: [B, C, H, W] -> [B, C, *size]; `size` is (height, width)."""
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)


def resize_like(x: Tensor, reference: Tensor, align_corners: bool = False, mode: str = "bilinear") -> Tensor:
    """x: [B, C, H, W] -> [B, C, h, w] with the height and width of `reference`."""
    return resize(x, reference.shape[2:], align_corners, mode)
