"""Registration with PaddleSeg's component managers."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from paddleseg.cvlibs.manager import BACKBONES, DATASETS, LOSSES, MODELS, ComponentManager

Component = TypeVar("Component")

__all__ = ["BACKBONES", "DATASETS", "LOSSES", "MODELS", "register"]


def register(manager: ComponentManager) -> Callable[[Component], Component]:
    """Decorator that registers a class or function under its own name, replacing PaddleSeg's if it has one.

    PaddleSeg warns at every replacement. Ours are meant (`tests/models/test_contract.py` names them), so
    the warning would only teach users to ignore warnings.
    """

    def add(component: Component) -> Component:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*exists already.*")
            manager.add_component(component)
        return component

    return add
