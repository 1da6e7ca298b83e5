"""Checks a config before anything is built from it: every key must be a setting of something.

PaddleSeg silently accepts unknown top-level keys, and reports unknown nested keys only when the component is
built, after the data set has been scanned. Here the signatures of the constructors decide which keys are allowed.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from paddle.optimizer import lr
from paddleseg.cvlibs import manager

from paddleseg_ext.cvlibs.suggestions import closest, nearest
from paddleseg_ext_runtime.errors import ConfigError
from paddleseg_ext_runtime.log import get_logger

REQUIRED = ("batch_size", "iters", "train_dataset", "optimizer", "lr_scheduler", "loss", "model")
OPTIONAL = ("val_dataset", "test_config", "distill_loss")
TEST_KEYS = (
    "aug_eval", "scales", "flip_horizontal", "flip_vertical", "is_slide", "crop_size", "stride", "auc_roc"
)  # fmt: skip
WARMUP_KEYS = ("warmup_iters", "warmup_start_lr")

_SECTIONS = {
    "model": manager.MODELS,
    "backbone": manager.BACKBONES,
    "train_dataset": manager.DATASETS,
    "val_dataset": manager.DATASETS,
    "transforms": manager.TRANSFORMS,
    "types": manager.LOSSES,
    "losses": manager.LOSSES,
    "optimizer": manager.OPTIMIZERS,
}
_OPTIMIZER_ALIASES = {"adam": "Adam", "sgd": "SGD"}


def check_config(content: dict[str, Any]) -> None:
    """Raises ConfigError for the first key, type or number that cannot be right."""
    _check_top_level(content)
    for key in REQUIRED:
        if content.get(key) is None:
            raise ConfigError(f"the config has no {key}; every config needs {', '.join(REQUIRED)}")
    for key in ("batch_size", "iters"):
        if not isinstance(content[key], int) or isinstance(content[key], bool) or content[key] < 1:
            raise ConfigError(f"{key} is {content[key]!r}; it must be a positive whole number")
    for section in ("model", "train_dataset", "val_dataset"):
        if content.get(section) is not None:
            _check_component(section, content[section], _SECTIONS[section])
    for section in ("loss", "distill_loss"):
        if content.get(section) is not None:
            _check_loss(section, content[section])
    _check_optimizer(content["optimizer"])
    _check_scheduler(content["lr_scheduler"])
    _check_keys("test_config", content.get("test_config") or {}, TEST_KEYS)


def _check_top_level(content: dict[str, Any]) -> None:
    """Raises ConfigError for a key that resembles a known one; warns of any other unknown key."""
    known = (*REQUIRED, *OPTIONAL)
    for key in content:
        if key in known or str(key).startswith("x-"):
            continue
        if closest(str(key), known):
            raise ConfigError(f"the config has no setting {key!r}{nearest(str(key), known)}")
        get_logger().warning("the config's %r is not used here", key)


def _check_keys(where: str, value: Any, known: Iterable[str]) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is {value!r}; it must be a mapping of settings")
    known = list(known)
    for key in value:
        if key not in known:
            raise ConfigError(f"{where} has no setting {key!r}{nearest(str(key), known)}")


def _check_component(where: str, value: Any, components: manager.ComponentManager) -> None:
    """Checks `type` and the settings of one component, then the components nested in it."""
    if not isinstance(value, dict) or "type" not in value:
        raise ConfigError(f"{where} is {value!r}; it needs a `type` and its settings")
    name = str(value["type"])
    if name not in components.components_dict:
        known = components.components_dict
        raise ConfigError(f"{where}.type is {name!r}, which is not registered{nearest(name, known)}")
    _check_signature(where, value, components[name])
    if "backbone" in value and not isinstance(value["backbone"], dict):
        raise ConfigError(f"{where}.backbone is {value['backbone']!r}; it needs a `type` and its settings")
    for key, item in value.items():
        for index, nested in enumerate(item if isinstance(item, list) else [item]):
            if isinstance(nested, dict) and "type" in nested:
                place = f"{where}.{key}.{index}" if isinstance(item, list) else f"{where}.{key}"
                _check_component(place, nested, _SECTIONS.get(key, components))


def _check_signature(where: str, value: dict[str, Any], component: Callable, extra: Iterable[str] = ()) -> None:
    parameters = inspect.signature(component).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    _check_keys(f"{where} ({value['type']})", value, ("type", *parameters, *extra))


def _check_loss(where: str, value: Any) -> None:
    _check_keys(where, value, ("types", "coef"))
    for key in ("types", "coef"):
        if not isinstance(value.get(key), list) or not value[key]:
            raise ConfigError(f"{where}.{key} is {value.get(key)!r}; it must be a list, one entry per model output")
    for index, item in enumerate(value["types"]):
        _check_component(f"{where}.types.{index}", item, manager.LOSSES)


def _check_optimizer(value: Any) -> None:
    if isinstance(value, dict) and value.get("type") in _OPTIMIZER_ALIASES:
        value = {**value, "type": _OPTIMIZER_ALIASES[value["type"]]}
    if isinstance(value, dict) and value.get("type") == "SGD" and "momentum" in value:
        value = {**value, "type": "Momentum"}
    _check_component("optimizer", value, manager.OPTIMIZERS)
    for index, group in enumerate(value.get("custom_cfg") or []):
        if not isinstance(group, dict) or not isinstance(group.get("name"), str):
            raise ConfigError(f"optimizer.custom_cfg.{index} is {group!r}; it needs a `name` that parameters hold")


def _check_scheduler(value: Any) -> None:
    known = [name for name, item in vars(lr).items() if inspect.isclass(item)]
    if not isinstance(value, dict) or value.get("type") not in known:
        got = value.get("type") if isinstance(value, dict) else value
        raise ConfigError(f"lr_scheduler.type is {got!r}{nearest(str(got), known)}")
    _check_signature("lr_scheduler", value, getattr(lr, value["type"]), WARMUP_KEYS)
