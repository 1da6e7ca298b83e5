"""Finds the logits at decoder resolution (before the upsampling to the image's size) in PaddleSeg's own models.

The VIM output operators save work only if they run before the upsampling. Nearly all of PaddleSeg's models end in
an `F.interpolate` of their logits to the size of the image, but return only the result. So every call of
`F.interpolate` is recorded while the model runs, and again while it is traced. If the model returns the output of
such a call, the input of that call is the logits. Nothing else then uses the interpolation, and Paddle drops it from
the saved graph.
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
    """While entered, records the calls of F.interpolate that an output operator could replace.

    It is not thread-safe: it replaces `F.interpolate` for the whole process.
    """

    def __init__(self):
        self._seen: list[_Upsampling] = []
        self._original = F.interpolate

    def __enter__(self) -> None:
        self._original = F.interpolate
        # nn.Upsample uses the first name, F.upsample the second.
        F.interpolate = common.interpolate = self._interpolate

    def __exit__(self, *_error: object) -> None:
        F.interpolate = common.interpolate = self._original
        self._seen.clear()

    @paddle.jit.not_to_static
    def _interpolate(self, *args: Any, **kwargs: Any) -> Tensor:
        output = self._original(*args, **kwargs)
        # Paddle 3 also takes PyTorch's name `input` and has None where 2.6 has "NCHW".
        named = {"x" if name == "input" else name: value for name, value in kwargs.items()}
        call = _SIGNATURE.bind(*args, **named)
        call.apply_defaults()
        arguments = call.arguments
        if arguments.get("antialias"):  # Paddle 3.3.1 drops it without a word while it traces the old program
            raise ConversionError("the network interpolates with antialias=True, which a .pdmodel cannot hold")
        # align_mode 1 samples at other positions; with align_corners it has no effect.
        is_plain = arguments["align_corners"] or arguments["align_mode"] == 0
        has_channels_first = arguments["data_format"] in ("NCHW", None)
        if is_plain and has_channels_first and arguments["mode"].lower() == "bilinear":
            self._seen.append(_Upsampling(arguments["x"], output, arguments["align_corners"]))
        return output

    def upsampling_to(self, output: Tensor) -> _Upsampling | None:
        """The call that gave `output`."""
        return next((call for call in self._seen if call.output is output), None)


class WithLogits(nn.Layer):
    """Adds the method `logits`, which our own models have, to a model that returns full-size logits. In eval mode.

    Args:
        model: returns [B, K, H, W], or a list or tuple that begins with it.
        x: [B, C, H, W], an image for a first run, which finds the upsampling.

    `align_corners` is the setting of the model's upsampling. `is_before_upsampling` tells whether the last call of
    `logits` found the upsampling; if not, it returned full-size logits, and an output operator saves no work.

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
        # `output` is a Tensor, or while tracing a Variable, in whose shape -1 stands for an unknown length.
        if len(getattr(output, "shape", ())) != 4 or "float" not in str(output.dtype).lower():
            raise ConversionError(
                f"{type(self.model).__name__} gives {_describe(output)}; logits [B, K, H, W] are needed"
            )
        call = self._watch.upsampling_to(output)
        self.is_before_upsampling = call is not None and all(
            length in (-1, size) for length, size in zip(output.shape[2:], x.shape[2:], strict=True)
        )
        if not self.is_before_upsampling:
            return output
        self.align_corners = call.align_corners
        return call.source


def with_logits(model: nn.Layer, array: np.ndarray) -> nn.Layer:
    """`model` if it has `logits`, else a `WithLogits` of it; `array` [B, C, H, W] is an image for its first run."""
    return model if hasattr(model, "logits") else WithLogits(model, paddle.to_tensor(array))


def _describe(output: Any) -> str:
    return f"{output.dtype} {list(output.shape)}" if hasattr(output, "shape") else type(output).__name__
