"""A separate learning rate for one part of a network."""

from paddle import nn


def multiply_learning_rate(layer: nn.Layer, factor: float) -> None:
    """Multiplies the learning rate of every parameter of `layer`, as PaddleSeg's backbones can."""
    for parameter in layer.parameters():
        parameter.optimize_attr["learning_rate"] = factor
