"""The output operators: each turns the logits of an exported model into its output, without parameters.

Each takes the logits at decoder resolution `[B, K, h, w]` and the size `(H, W)` of the input image, and declares the
dtype of its result. All are built from operators that Paddle-Lite's released `opt` accepts for ARM and x86: no
control flow, no `index_put`, no `flatten`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext_runtime.errors import ConfigError

# See ExactValidInterpolate: up to twelve float32 roundings occur; the bound allows sixteen.
_ROUNDING = 16 * 2.0**-24
_SMALLEST = 1e-37
_CUT_OFF = [0, 1, 0, 1]  # top, bottom, left, right: windows reach one pixel beyond the last one


class OutputOp(nn.Layer, ABC):
    """Base of the output operators. `name` is the value of `--output_op`, `dtype` is the type of the result."""

    name: str
    dtype: str
    is_labels: bool

    def __init__(self, align_corners: bool = False):
        super().__init__()
        self.align_corners = align_corners

    @abstractmethod
    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """logits: [B, K, h, w], size: (H, W) of the input image; the class describes the result."""


class Logits(OutputOp):
    """`none`: float32 logits [B, K, H, W] at the size of the image, as PaddleSeg exports them."""

    name, dtype, is_labels = "none", "float32", False

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """[B, K, h, w] -> [B, K, H, W]."""
        return resize(logits, size, self.align_corners)


class Decoder(OutputOp):
    """`decoder`: float32 logits [B, K, h, w] before any upsampling; the baseline for the cost of an output op."""

    name, dtype, is_labels = "decoder", "float32", False

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """[B, K, h, w] -> [B, K, h, w]."""
        return logits


class Softmax(OutputOp):
    """`softmax`: float32 probabilities [B, K, H, W] over the classes."""

    name, dtype, is_labels = "softmax", "float32", False

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """[B, K, h, w] -> [B, K, H, W]."""
        return F.softmax(resize(logits, size, self.align_corners), axis=1)


class Argmax(OutputOp):
    """`argmax`: int32 labels [B, H, W] of the interpolated logits; of equal logits the first class wins."""

    name, dtype, is_labels = "argmax", "int32", True

    def kept(self, logits: Tensor) -> Tensor:
        """All classes: int32 [K]."""
        return paddle.arange(logits.shape[1], dtype="int32")

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """[B, K, h, w] -> [B, H, W]."""
        return paddle.argmax(resize(logits, size, self.align_corners), axis=1, dtype="int32")


class _ValidInterpolate(OutputOp):
    """Interpolates only some classes, takes the argmax and maps it back to class numbers.

    The method `kept` chooses the classes, in ascending order, so that ties break as in `Argmax`. All images of a batch
    share them: a class that one image needs is kept for all.
    """

    dtype, is_labels = "int32", True

    @abstractmethod
    def kept(self, logits: Tensor) -> Tensor:
        """logits [B, K, h, w] -> int32 class numbers [N], ascending, 1 <= N <= K."""

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """[B, K, h, w] -> [B, H, W]."""
        kept = self.kept(logits)
        upsampled = resize(paddle.gather(logits, kept, axis=1), size, self.align_corners)
        winner = paddle.argmax(upsampled, axis=1, dtype="int32")
        return paddle.gather(kept, winner.reshape([-1])).reshape(winner.shape)


class ValidInterpolate(_ValidInterpolate):
    """`vim`: int32 labels [B, H, W] by the Valid Interpolate Module (PP-MobileSeg §3.3), any number of classes.

    Keeps the classes that win at least one decoder pixel. A class that would win only between decoder
    pixels is lost; `ExactValidInterpolate` keeps such classes too.
    """

    name = "vim"

    def kept(self, logits: Tensor) -> Tensor:
        """The classes that win somewhere at decoder resolution."""
        # int64 until the classes are found: ONNX Runtime has no Unique of int32.
        return paddle.unique(paddle.argmax(logits, axis=1).reshape([-1])).astype("int32")


class ExactValidInterpolate(_ValidInterpolate):
    """`vim_exact`: int32 labels [B, H, W], equal to `Argmax` in every pixel, from fewer classes.

    Bound: every output pixel is a convex combination of the four corners of one 2x2 cell of decoder
    pixels, whatever the scale and `align_corners` (pixels beyond the outermost centres repeat them, which
    is a combination with weight 0 on the other side of the outermost cell). The pooling windows below are
    these cells, and also cut-off cells at the lower and right border, which a map one pixel high or wide
    needs; on other maps the whole cells already keep the same classes. So inside a cell class c lies between
    its smallest corner `min_c` and its largest `max_c`. Where c wins, `max_c >= v_c >= v_k >= min_k` for
    all k, hence `max_c >= max_k min_k`. A class that meets this in no cell can be dropped without changing
    any pixel, ties included, because a class that ties with the winner meets it as well.

    Rounding, in float32 with u = 2**-24: two weights of an axis, three products and their sums add to
    `v_c = max_c - sum w_i (max_c - x_i)` at most 6u sum w_i |x_i|, and because |x_i| <= |max_c| + (max_c - x_i)
    that is at most 6u |max_c| plus a small part of what the sum takes away. So a computed value exceeds `max_c`
    by at most 6u |max_c|, falls below `min_k` by at most 6u |min_k|, and where c wins by rounding the two are
    that close. The bound is lowered by 16u of itself, and by more than underflow can cost. Lowering it only
    keeps more classes. In float16 none of this holds.
    """

    name = "vim_exact"

    def kept(self, logits: Tensor) -> Tensor:
        """The classes that could win somewhere after interpolation."""
        largest = F.max_pool2d(logits, kernel_size=2, stride=1, padding=_CUT_OFF)
        smallest = -F.max_pool2d(-logits, kernel_size=2, stride=1, padding=_CUT_OFF)
        bound = paddle.max(smallest, axis=1, keepdim=True)
        bound = bound - (paddle.abs(bound) * _ROUNDING + _SMALLEST)
        possible = paddle.cast(largest >= bound, "float32")
        # No comparison with a number: Paddle writes it as a constant without a shape, and Paddle-Lite aborts on it.
        return paddle.nonzero(paddle.max(possible, axis=[0, 2, 3])).reshape([-1]).astype("int32")


OUTPUT_OPS: dict[str, type[OutputOp]] = {
    op.name: op for op in (Argmax, Softmax, Logits, ValidInterpolate, ExactValidInterpolate, Decoder)
}


def resolve_output_op(flag: str | None, upsample: str) -> str:
    """The output op of the flag; but `none` or no flag means VIM if the config says `upsample: vim`.

    Raises ConfigError for an operation on scores after VIM, which gives labels.
    """
    if upsample != "vim":
        return flag or "argmax"
    if flag in ("argmax", "softmax"):
        raise ConfigError(
            f"the config says `upsample: vim`, so the graph ends in labels, and --output_op {flag} takes scores. "
            f"Leave the flag out for VIM, or export {flag} with --opts model.upsample=intepolate"
        )
    return "vim" if flag in (None, "none") else flag


class ExportModel(nn.Layer):
    """A segmentation model followed by an output operator. This is the network that is exported and timed.

    PaddleSeg's own models have no `logits(x)`; `decoder_logits.with_logits` adds it.

    If `test_scale` is not 1, the network gets the image at that scale, and its logits are resized in two steps, as in
    validation: to the scaled size, with the model's `align_corners`, and then to the size of the image.
    """

    def __init__(self, model: nn.Layer, output_op: OutputOp, test_scale: float = 1.0):
        super().__init__()
        self.model = model
        self.output_op = output_op
        self.test_scale = test_scale

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the result of the output operator."""
        return self.output_op(self.logits(x), x.shape[2:])

    def logits(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] -> the input of the output operator, [B, K, h, w]."""
        if self.test_scale == 1.0:
            return self.model.logits(x)
        scaled = resize(x, scaled_size(x.shape[2:], self.test_scale))
        logits = self.model.logits(scaled)
        if isinstance(self.output_op, Decoder):
            return logits
        return resize(logits, scaled.shape[2:], getattr(self.model, "align_corners", False))


def scaled_size(size: Sequence[int], scale: float) -> list[int]:
    """(height, width) at a scale, rounded as in PaddleSeg. An open size may consist of tensors."""
    return [int(length * scale + 0.5) for length in size]
