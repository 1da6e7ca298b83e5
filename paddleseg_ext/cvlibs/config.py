"""A checked config, and a builder (PaddleSeg's own) for the objects that it describes."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import paddle
from paddleseg.cvlibs import Config as PaddleSegConfig
from paddleseg.cvlibs import SegBuilder
from paddleseg.utils import logger

from paddleseg_ext.cvlibs.checks import check_config
from paddleseg_ext.cvlibs.suggestions import nearest
from paddleseg_ext.cvlibs.yaml_file import apply_opts, read_yaml
from paddleseg_ext.datasets.base import SegmentationDataset
from paddleseg_ext.datasets.class_names import CLASS_NAMES
from paddleseg_ext_runtime.errors import ConfigError, PaddleSegExtError
from paddleseg_ext_runtime.log import get_logger

Built = TypeVar("Built")
GROUP_KEYS = ("name", "lr_mult", "weight_decay_mult")


class Config(PaddleSegConfig):
    """A PaddleSeg yaml with command line overrides, checked completely before anything is built.

    Args:
        path: the yaml.
        learning_rate, batch_size, iters: override the yaml when not None.
        opts: `a.b=value` overrides, applied before those three.

    Raises ConfigError for any setting that cannot be right.
    """

    def __init__(
        self,
        path: str | Path,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        iters: int | None = None,
        opts: list[str] | None = None,
    ):
        content = read_yaml(path)
        apply_opts(content, opts)
        if learning_rate is not None:
            content.setdefault("lr_scheduler", {})["learning_rate"] = learning_rate
        content.update(
            {key: value for key, value in (("batch_size", batch_size), ("iters", iters)) if value is not None}
        )
        check_config(content)
        # A copy: PaddleSeg's rules write synchronised defaults into it.
        self.path = Path(path)
        # A section that is null counts as missing.
        self.dic = copy.deepcopy({key: value for key, value in content.items() if value is not None})
        try:
            with _quiet_paddleseg():
                self._build_default_checker().apply_all_rules(self)
        except RuntimeError as error:
            raise ConfigError(f"{path}: {str(error).splitlines()[-1]}") from error

    @property
    def num_classes(self) -> int:
        """The number of classes of the model, from the model or from its data set."""
        if "num_classes" in self.dic["model"]:
            return self.dic["model"]["num_classes"]
        dataset = SegBuilder(self).train_dataset_class
        return getattr(dataset, "NUM_CLASSES", self.dic["train_dataset"].get("num_classes"))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes of the validation data set, in order; None where they are not known."""
        names = CLASS_NAMES.get(self.val_dataset_cfg.get("type"))
        return names if names and len(names) == self.num_classes else None

    @property
    def in_channels(self) -> int:
        """The number of channels of the images the model takes."""
        model = self.dic["model"]
        return model.get("backbone", model).get("in_channels", 3)


class Builder(SegBuilder):
    """PaddleSeg's builder without its printing; our errors reach the user unchanged."""

    @classmethod
    def show_msg(cls, name: str, cfg: dict[str, Any]) -> None:
        """Prints nothing; PaddleSeg's method prints every section that it builds."""

    def build(self, name: str) -> Any:
        """One of `model`, `optimizer`, `lr_scheduler`, `loss`, `train_dataset`, `val_dataset`, `val_transforms`.

        Raises the PaddleSegExtError of the component, or ConfigError with the component's message.
        """
        return _translated(lambda: getattr(self, name), name)

    def build_checked_dataset(self, name: str) -> paddle.io.Dataset:
        """Builds `train_dataset` or `val_dataset` and reads some files. Raises DataError for a bad file."""
        dataset = self.build(name)
        if isinstance(dataset, SegmentationDataset):
            dataset.check_some()
        return dataset

    def build_untrained_model(self) -> paddle.nn.Layer:
        """Builds the model without its `pretrained` weights, for callers that load a checkpoint anyway."""
        self.config.dic["model"] = _without_pretrained(self.config.dic["model"])
        return self.build("model")

    def build_optimizer(self) -> paddle.optimizer.Optimizer:
        """Builds the optimizer; warns of settings in its parameter groups that have no effect."""
        optimizer = self.build("optimizer")
        names = [name for name, _ in self.model.named_parameters()]
        for group in self.config.optimizer_cfg.get("custom_cfg") or []:
            if not any(group["name"] in name for name in names):
                get_logger().warning("optimizer.custom_cfg: no parameter has %r in its name", group["name"])
            for key in group.keys() - set(GROUP_KEYS):
                get_logger().warning("optimizer.custom_cfg: %r has no effect%s", key, nearest(key, GROUP_KEYS))
        return optimizer


@contextmanager
def _quiet_paddleseg() -> Iterator[None]:
    """Silences PaddleSeg's warnings that it took `in_channels` or `ignore_index` from the data set, which is right."""
    level, logger.log_level = logger.log_level, 0
    try:
        yield
    finally:
        logger.log_level = level


def _translated(function: Callable[[], Built], name: str) -> Built:
    try:
        with _quiet_paddleseg():
            return function()
    except (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError) as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, PaddleSegExtError):
                raise cause from None
            cause = cause.__context__
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"cannot build {name}: {lines[-1]}") from error


def _without_pretrained(section: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_pretrained(value) if isinstance(value, dict) else value
        for key, value in section.items()
        if key != "pretrained"
    }
