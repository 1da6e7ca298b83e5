"""Adaptive average pooling that is right in every runtime, and at sizes that an exported graph knows only when it runs.

Paddle's own operator is right in Paddle. But paddle2onnx 1.3.1 silently turns windows of unequal size into equal
ones, Paddle-Lite's ARM kernel mistakes an adaptive pooling to 3x3 for an ordinary 3x3 pooling, and no adaptive
pooling can be exported while the size of its result is unknown. So equal windows use ordinary average pooling,
and unequal windows use two matrix products.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F


def adaptive_average(x: Tensor, cells: Sequence[int]) -> Tensor:
    """Adaptive average pooling of a map of known size. x: [B, C, H, W] -> [B, C, *cells]."""
    size = x.shape[2:]
    if size[0] % cells[0] == 0 and size[1] % cells[1] == 0:
        return F.avg_pool2d(x, [size[0] // cells[0], size[1] // cells[1]])
    rows, columns = (paddle.to_tensor(window_weights(size[i], cells[i]).astype("float32")) for i in (0, 1))
    return pool_by_weights(x, rows, columns)


def window_weights(length: Any, cells: Any, covered: Any = None) -> Any:
    """[length, cells]: column i averages the window of cell i, over the first `covered` positions.

    If all arguments are numbers, the result is a numpy array; if they are float32 tensors [1], it is a tensor.
    Cell i of n and position j of L belong together where their shares of the axis, [i/n, (i+1)/n) and
    [j/L, (j+1)/L), overlap. These are Paddle's windows, floor(i*L/n) to ceil((i+1)*L/n), computed without
    divisions that could round.
    """
    arange = np.arange if isinstance(length, int) else paddle.arange
    covered = length if covered is None else covered
    position, cell = arange(length)[:, None], arange(cells)
    # Whole numbers are clipped to 0 and 1, not compared: Paddle-Lite compares wrongly if both sides broadcast.
    inside = ((position + 1) * cells - cell * covered).clip(0, 1) * ((cell + 1) * covered - position * cells).clip(0, 1)
    return inside / inside.sum(0)


def pool_by_weights(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x: [B, C, H, W], rows: [H, n], columns: [W, m] -> [B, C, n, m]."""
    return _pool_last(_pool_last(x, columns).transpose([0, 1, 3, 2]), rows).transpose([0, 1, 3, 2])


def _pool_last(x: Tensor, weights: Tensor) -> Tensor:
    """x: [B, C, H, W], weights: [W, m] -> [B, C, H, m]."""
    # In three dimensions: with four, Paddle Inference's oneDNN gives a wrong product behind a convolution.
    product = paddle.matmul(x.reshape([0, -1, x.shape[3]]), weights)
    return product.reshape([0, x.shape[1], -1, weights.shape[1]])
