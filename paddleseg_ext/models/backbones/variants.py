"""How a family of backbones registers its published sizes."""

from collections.abc import Callable

from paddleseg_ext.registry import BACKBONES, register


def register_variant(build: Callable, name: str, description: str) -> Callable:
    """Registers the function `build` as the backbone `name`, the `type` that a yaml gives; returns it.

    The signature of `build` decides which settings the yaml may give.
    """
    build.__name__ = build.__qualname__ = name
    build.__doc__ = description
    return register(BACKBONES)(build)
