"""Computes logits at the original size from a preprocessed image: in one pass, with scales and flips, or by window.

Sizes in `InferenceOptions` are (width, height), as PaddleSeg's flags and yaml have them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import scaled_size
from paddleseg_ext_runtime.errors import ConfigError


@dataclass(frozen=True)
class InferenceOptions:
    """The options of testing: PaddleSeg's `test_config` and the flags of val and predict."""

    aug_eval: bool = False
    scales: Sequence[float] = (1.0,)
    flip_horizontal: bool = False
    flip_vertical: bool = False
    is_slide: bool = False
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "InferenceOptions":
        """Reads the `test_config` of a yaml. Raises ConfigError for values that cannot work."""
        settings = {key: value for key, value in settings.items() if key != "auc_roc" and value is not None}
        scales = settings.get("scales", 1.0)
        settings["scales"] = tuple(scales) if isinstance(scales, list | tuple) else (scales,)
        config = cls(**settings)
        if not config.scales or not all(isinstance(scale, int | float) and scale > 0 for scale in config.scales):
            raise ConfigError(f"scales are {list(config.scales)}; they must be positive numbers")
        if config.is_slide:
            config._check_window()
        return config

    def _check_window(self) -> None:
        for pair in (self.crop_size, self.stride):
            is_pair = isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(n, int) for n in pair)
            if not is_pair:
                raise ConfigError("is_slide needs crop_size and stride, each width and height")
        if any(step > size or step < 1 for step, size in zip(self.stride, self.crop_size, strict=True)):
            raise ConfigError(f"stride {self.stride} must lie between 1 and the crop size {self.crop_size}")

    def single_scale(self) -> float:
        """The scale, if testing takes one pass. Raises ConfigError for several: an exported graph makes only one."""
        reasons = [name for name in ("flip_horizontal", "flip_vertical") if self.aug_eval and getattr(self, name)]
        if self.aug_eval and len(self.scales) > 1:
            reasons.append(f"scales {list(self.scales)}")
        if self.is_slide:
            reasons.append("is_slide")
        if reasons:
            raise ConfigError(
                f"the config tests with {', '.join(reasons)}; an exported graph makes one pass. Export that with "
                "--opts test_config.aug_eval=False test_config.is_slide=False, or with one of the scales: "
                "--opts test_config.scales=1.0 test_config.flip_horizontal=False …"
            )
        return float(self.scales[0]) if self.aug_eval else 1.0

    @property
    def flips(self) -> list[list[int]]:
        """The axes to flip for each pass: none, width, height, both."""
        flips = [[]]
        if self.flip_horizontal:
            flips.append([3])
        if self.flip_vertical:
            flips += [[*axes, 2] for axes in flips]
        return flips


def network_logits(model: nn.Layer, x: Tensor) -> Tensor:
    """x: [B, C, H, W] -> [B, K, H, W]; the logits even of a model whose `upsample` is VIM."""
    if hasattr(model, "logits"):
        return resize(model.logits(x), x.shape[2:], model.align_corners)
    return model(x)[0]


def window_logits(model: nn.Layer, x: Tensor, config: InferenceOptions) -> Tensor:
    """x: [B, C, H, W] -> [B, K, H, W], the mean over overlapping windows (the last ones end at the border)."""
    height, width = x.shape[2:]
    crop_width, crop_height = config.crop_size
    step_width, step_height = config.stride
    total = count = 0
    for top in _starts(height, crop_height, step_height):
        for left in _starts(width, crop_width, step_width):
            window = x[:, :, top : top + crop_height, left : left + crop_width]
            # Left, right, top, bottom: zeros around the window put it back in its place.
            around = [left, width - left - window.shape[3], top, height - top - window.shape[2]]
            total = total + nn.functional.pad(network_logits(model, window), around)
            count = count + nn.functional.pad(paddle.ones_like(window[:, :1]), around)
    return total / count


def _starts(length: int, window: int, step: int) -> list[int]:
    if length <= window:
        return [0]
    return [min(i * step, length - window) for i in range(math.ceil((length - window) / step) + 1)]


def augmented_logits(model: nn.Layer, x: Tensor, config: InferenceOptions) -> Tensor:
    """x: [B, C, H, W] -> [B, K, H, W], the mean over scales and flips; a single pass without `aug_eval`."""
    infer = partial(window_logits, config=config) if config.is_slide else network_logits
    if not config.aug_eval:
        return infer(model, x)
    height, width = x.shape[2:]
    total = 0
    for scale in config.scales:
        scaled = resize(x, scaled_size((height, width), scale))
        for axes in config.flips:
            logits = infer(model, scaled.flip(axes) if axes else scaled)
            total = total + resize(logits.flip(axes) if axes else logits, [height, width])
    return total / (len(config.scales) * len(config.flips))


def restore_size(logits: Tensor, trans_info: Sequence[tuple[str, Sequence[int]]]) -> Tensor:
    """Undoes the resizing and padding that the transforms recorded, the last one first."""
    for kind, size in reversed(trans_info):
        height, width = int(size[0]), int(size[1])
        logits = logits[:, :, :height, :width] if kind == "padding" else resize(logits, [height, width])
    return logits


@paddle.no_grad()
def predict_scores(model: nn.Layer, x: np.ndarray, config: InferenceOptions) -> np.ndarray:
    """x: [1, C, H, W] -> float32 scores [1, K, H, W], tested as `config` says."""
    return augmented_logits(model, paddle.to_tensor(x), config).numpy()


@paddle.no_grad()
def predict_labels(model: nn.Layer, sample: dict[str, Any], config: InferenceOptions) -> Any:
    """int32 labels [H, W] (numpy) at the size the image had before the transforms."""
    x = paddle.to_tensor(sample["img"]).unsqueeze(0)
    logits = restore_size(augmented_logits(model, x, config), sample["trans_info"])
    return paddle.argmax(logits, axis=1, dtype="int32")[0].numpy()
