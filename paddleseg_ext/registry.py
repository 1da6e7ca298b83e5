"""Registration with PaddleSeg's component managers."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from paddleseg.cvlibs.manager import BACKBONES, DATASETS, LOSSES, MODELS, TRANSFORMS, ComponentManager

Component = TypeVar("Component")

__all__ = ["BACKBONES", "DATASETS", "LOSSES", "MODELS", "REPLACED", "TRANSFORMS", "register"]

REPLACED: dict[ComponentManager, set[str]] = {}  # the names of PaddleSeg's components that ours took over


def register(manager: ComponentManager) -> Callable[[Component], Component]:
    """Decorator that registers a class or function under its own name, replacing PaddleSeg's if it has one.

    PaddleSeg warns at every replacement. Ours are meant (`REPLACED` names them), so the warning would only
    teach users to ignore warnings.
    """

    def add(component: Component) -> Component:
        if component.__name__ in manager.components_dict:
            REPLACED.setdefault(manager, set()).add(component.__name__)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*exists already.*")
            manager.add_component(component)
        return component

    return add
