"""How a family of backbones registers its published sizes."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from paddle import nn

from paddleseg_ext.registry import BACKBONES, register


def register_variant(
    network: type[nn.Layer], name: str, description: str, *numbers: Any, **defaults: Any
) -> Callable[..., nn.Layer]:
    """Registers `network` with the `numbers` of one size as the backbone `name`, the `type` that a yaml gives.

    `numbers` are the first arguments of the network. A yaml may set all further ones; `defaults` are this size's.
    """
    sized = partial(network, *numbers, **defaults)

    def build(*arguments: Any, **settings: Any) -> nn.Layer:
        return sized(*arguments, **settings)

    build.__signature__ = inspect.signature(sized)  # a config is checked against it
    build.__name__ = build.__qualname__ = name
    build.__doc__ = description
    return register(BACKBONES)(build)
