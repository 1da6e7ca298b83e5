"""Logits at decoder resolution from models that give full-size ones: what PaddleSeg's own upsample at their end.

VIM is worth something only before the upsampling. Nearly all of PaddleSeg's models end in `F.interpolate` of their
logits to the size of the image. Nothing of theirs says so, but the call can be watched: while the model runs, in
dygraph and again while it is traced, every `F.interpolate` notes what it was given and what it gave. When the
model's output is what such a call gave, the logits are what it was given. The interpolation then has no use in the
graph, and Paddle leaves it out when it saves.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn.functional import common

from paddleseg_ext_runtime.errors import ConversionError

_SIGNATURE = inspect.signature(F.interpolate)


@dataclass(frozen=True)
class _Upsampling:
    source: Tensor
    output: Tensor
    align_corners: bool


class _Watch:
    """Notes every F.interpolate that the output operators could do in its place, while it is entered."""

    def __init__(self):
        self._seen: list[_Upsampling] = []
        self._original = F.interpolate

    def __enter__(self) -> None:
        self._original = F.interpolate
        # nn.Upsample looks it up in the first, F.upsample in the second.
        F.interpolate = common.interpolate = self._interpolate

    def __exit__(self, *_error: object) -> None:
        F.interpolate = common.interpolate = self._original
        self._seen.clear()

    @paddle.jit.not_to_static
    def _interpolate(self, *args: Any, **kwargs: Any) -> Tensor:
        output = self._original(*args, **kwargs)
        call = _SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        # align_mode 1 samples elsewhere; where corners are aligned it says nothing.
        is_ours = given["mode"].lower() == "bilinear" and (given["align_corners"] or given["align_mode"] == 0)
        if is_ours and given["data_format"] == "NCHW":
            self._seen.append(_Upsampling(given["x"], output, given["align_corners"]))
        return output

    def upsampling_to(self, output: Tensor) -> _Upsampling | None:
        """The call that gave `output`."""
        return next((call for call in self._seen if call.output is output), None)


class WithLogits(nn.Layer):
    """A model that returns full-size logits, with the method `logits` that our own have. In eval mode.

    Args:
        model: what returns [B, K, H, W], or a list or tuple that begins with it.
        x: [B, C, H, W], an image to find out by how the logits are upsampled.

    `align_corners` is how the model upsamples its logits. `is_before_upsampling` says whether the last call of
    `logits` found that; if not, it gave the full-size ones, and an output operator gains nothing.

    Raises ConversionError for a model that returns something else.
    """

    def __init__(self, model: nn.Layer, x: Tensor):
        super().__init__()
        self.model = model
        self.align_corners = False
        self.is_before_upsampling = False
        self._watch = _Watch()
        self.eval()
        with paddle.no_grad():
            self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> [B, K, h, w]."""
        with self._watch:
            logits = self._source(self.model(x), x)
        return logits

    @paddle.jit.not_to_static
    def _source(self, outputs: Any, x: Tensor) -> Tensor:
        output = outputs[0] if isinstance(outputs, list | tuple) and outputs else outputs
        # A Tensor in dygraph, a Variable while tracing, where a length that Paddle does not know is -1.
        if len(getattr(output, "shape", ())) != 4 or "float" not in str(output.dtype).lower():
            raise ConversionError(
                f"{type(self.model).__name__} gives {_describe(output)}; logits [B, K, H, W] are needed"
            )
        call = self._watch.upsampling_to(output)
        self.is_before_upsampling = call is not None and all(
            length in (-1, wanted) for length, wanted in zip(output.shape[2:], x.shape[2:], strict=True)
        )
        if not self.is_before_upsampling:
            return output
        self.align_corners = call.align_corners
        return call.source


def with_logits(model: nn.Layer, array: np.ndarray) -> nn.Layer:
    """`model` if it has `logits`, else what gives it that; `array` [B, C, H, W] is an image to try it on."""
    return model if hasattr(model, "logits") else WithLogits(model, paddle.to_tensor(array))


def _describe(output: Any) -> str:
    return f"{output.dtype} {list(output.shape)}" if hasattr(output, "shape") else type(output).__name__
