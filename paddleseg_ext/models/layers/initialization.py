"""How the authors of TopFormer and SeaFormer initialise their networks, and a learning rate for one part of them."""

from paddle import nn
from paddle.nn import initializer


def init_by_fan_out(network: nn.Layer) -> None:
    """Draws every convolution from N(0, 2 / (kernel_height * kernel_width * out_channels / groups)); biases are 0.

    Batch norms keep what they were built with: scale 1, or 0 behind a residual branch.
    """
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.Conv2D):
            out_channels, _, height, width = layer.weight.shape
            fan_out = height * width * out_channels // layer._groups
            initializer.Normal(0.0, (2.0 / fan_out) ** 0.5)(layer.weight)
            if layer.bias is not None:
                initializer.Constant(0.0)(layer.bias)


def init_classifier(classifier: nn.Conv2D) -> None:
    """A classifier starts near zero: N(0, 0.01), bias 0."""
    initializer.Normal(0.0, 0.01)(classifier.weight)
    initializer.Constant(0.0)(classifier.bias)


def multiply_learning_rate(layer: nn.Layer, factor: float) -> None:
    """Multiplies the learning rate of every parameter of `layer`, as PaddleSeg's backbones can."""
    for parameter in layer.parameters():
        parameter.optimize_attr["learning_rate"] = factor
