"""Activations by name, and the hard sigmoid of the gates."""

from paddle import Tensor, nn
from paddle.nn import functional as F


class HardSigmoid(nn.Layer):
    """clip(slope * x + 0.5, 0, 1) as one operator.

    relu6(x + 3) / 6, written as three operators, is equal in float32 but overflows to NaN in the fp16 kernels
    of ARM.
    """

    def __init__(self, slope: float = 1.0 / 6.0):
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """x: [...] -> [...]."""
        return F.hardsigmoid(x, slope=self.slope)


_ACTIVATIONS = {
    None: nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": HardSigmoid,
    "sigmoid": nn.Sigmoid,
}


def activation(name: str | None) -> nn.Layer:
    """A new activation layer. Raises ValueError for a name that is not known."""
    if name not in _ACTIVATIONS:
        known = ", ".join(str(key) for key in _ACTIVATIONS)
        raise ValueError(f"unknown activation {name!r}; known: {known}")
    return _ACTIVATIONS[name]()
