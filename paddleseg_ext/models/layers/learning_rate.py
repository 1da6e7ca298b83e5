"""A learning rate of their own for the parameters of a part of a network."""

from paddle import nn


def multiply_learning_rate(layer: nn.Layer, factor: float) -> None:
    """Makes every parameter of `layer` learn at `factor` times the optimizer's rate, as PaddleSeg's backbones can."""
    for parameter in layer.parameters():
        parameter.optimize_attr["learning_rate"] = factor
