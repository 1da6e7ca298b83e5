"""Fitting a checkpoint to a model: strict by default, with a table of what differs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paddle import nn

from paddleseg_ext.errors import CheckpointError
from paddleseg_ext.utils.logging import get_logger
from paddleseg_ext.weights.download import fetch_weights, is_url
from paddleseg_ext.weights.pdparams import read_pdparams

_ROWS = 8


@dataclass(frozen=True)
class Difference:
    """How the tensors of a checkpoint differ from those a model needs."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def table(self) -> str:
        """One line a tensor, at most eight of a kind, aligned."""
        lines = [f"  shape      {n}  checkpoint {list(got)}, model {list(need)}" for n, got, need in self.misshapen]
        blocks = [
            [f"  missing    {name}" for name in self.missing],
            [f"  unexpected {name}" for name in self.unexpected],
            lines,
        ]
        shown = []
        for block in blocks:
            shown += block[:_ROWS]
            if len(block) > _ROWS:
                shown.append(f"  … and {len(block) - _ROWS} more like it")
        return "\n".join(shown)


def compare(weights: Mapping[str, np.ndarray], model: nn.Layer) -> Difference:
    """What `weights` lacks, has too much, or has in another shape than `model`."""
    needed = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(np.shape(value)) for name, value in weights.items()}
    common = [name for name in needed if name in got]
    return Difference(
        missing=tuple(name for name in needed if name not in got),
        unexpected=tuple(name for name in got if name not in needed),
        misshapen=tuple((name, got[name], needed[name]) for name in common if got[name] != needed[name]),
    )


def load_weights(model: nn.Layer, path: str | Path) -> None:
    """Loads a checkpoint (path or URL) into `model`; every tensor must fit.

    Raises CheckpointError with a table of what differs, and then leaves the model as it was.
    """
    weights = read_pdparams(fetch_weights(str(path)) if is_url(str(path)) else path)
    difference = compare(weights, model)
    if difference:
        matching = len(model.state_dict()) - len(difference.missing) - len(difference.misshapen)
        raise CheckpointError(
            f"{path} is not a checkpoint of this model: {matching} of {len(model.state_dict())} tensors fit.\n"
            f"{difference.table()}\n"
            "Use the config this checkpoint was trained with (model, backbone, inj_type, num_classes)."
        )
    _check_finite(weights, path)
    model.set_state_dict(weights)


def load_pretrained(model: nn.Layer, path: str | None) -> None:
    """Starts `model` from the tensors that fit in a pretrained checkpoint (path or URL); None does nothing.

    Weights pretrained on another task lack this model's fusion, and their classifier is of another name or
    another number of classes: what does not fit is left at its initial value and reported. A file of which
    less than half of the model comes raises CheckpointError: it belongs to another network.
    """
    if path is None:
        return
    weights = read_pdparams(fetch_weights(path) if is_url(path) else path)
    difference = compare(weights, model)
    total = len(model.state_dict())
    fitting = total - len(difference.missing) - len(difference.misshapen)
    if fitting * 2 < total:
        raise CheckpointError(
            f"{path} cannot pretrain this model: {fitting} of {total} tensors fit.\n{difference.table()}"
        )
    _check_finite(weights, path)
    skipped = {*difference.unexpected, *(name for name, _, _ in difference.misshapen)}
    model.set_state_dict({name: value for name, value in weights.items() if name not in skipped})
    get_logger().info(
        "pretrained %s: %d of %d tensors loaded, %d left at their initial values, %d in the file not used",
        path, fitting, total, total - fitting, len(skipped),
    )  # fmt: skip
    for name, got, need in difference.misshapen:
        get_logger().warning(
            "pretrained %s: %s is %s, the model's is %s: not loaded", path, name, list(got), list(need)
        )


def _check_finite(weights: Mapping[str, np.ndarray], path: str | Path) -> None:
    bad = [name for name, value in weights.items() if not np.isfinite(np.asarray(value, dtype="float32")).all()]
    if bad:
        raise CheckpointError(f"{path} holds NaN or infinity in {len(bad)} tensors, the first is {bad[0]}")
