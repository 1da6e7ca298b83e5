"""Adaptive average pooling that is right in every runtime, and at sizes that an exported graph learns only later.

Paddle's own operator is right in Paddle. But paddle2onnx 1.3.1 turns windows of unequal size into equal ones
without a word, Paddle-Lite's ARM kernel takes one with a 3x3 result for an ordinary 3x3 pooling, and none can
be exported for a result whose size is not known yet. Equal windows are therefore left to ordinary average
pooling, and unequal ones are two matrix products.
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

    All are numbers, for a numpy array, or float32 tensors [1], for a tensor. Cell i of n and position j of L belong
    together where their shares of the axis, [i/n, (i+1)/n) and [j/L, (j+1)/L), overlap. That is Paddle's window,
    floor(i*L/n) to ceil((i+1)*L/n), without divisions that could round.
    """
    arange = np.arange if isinstance(length, int) else paddle.arange
    covered = length if covered is None else covered
    position, cell = arange(length)[:, None], arange(cells)
    # Whole numbers clipped to 0 and 1, not compared: where both sides broadcast, Paddle-Lite compares wrongly.
    inside = ((position + 1) * cells - cell * covered).clip(0, 1) * ((cell + 1) * covered - position * cells).clip(0, 1)
    return inside / inside.sum(0)


def pool_by_weights(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x: [B, C, H, W], rows: [H, n], columns: [W, m] -> [B, C, n, m]."""
    return _pool_last(_pool_last(x, columns).transpose([0, 1, 3, 2]), rows).transpose([0, 1, 3, 2])


def _pool_last(x: Tensor, weights: Tensor) -> Tensor:
    """x: [B, C, H, W], weights: [W, m] -> [B, C, H, m]."""
    # In three dimensions: of four, Paddle Inference's oneDNN computes something else behind a convolution.
    product = paddle.matmul(x.reshape([0, -1, x.shape[3]]), weights)
    return product.reshape([0, x.shape[1], -1, weights.shape[1]])
