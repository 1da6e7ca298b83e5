"""Loads a checkpoint into a network. Every tensor must fit, except those that are ignored by name."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from paddle import nn

from paddleseg_ext.weights.difference import Difference
from paddleseg_ext.weights.ignoring import Ignored, currently_ignored
from paddleseg_ext.weights.reading import Checkpoint, read_checkpoint
from paddleseg_ext.weights.settings import apply_settings
from paddleseg_ext_runtime.errors import CheckpointError
from paddleseg_ext_runtime.log import get_logger

MAX_PATTERNS = 4  # an error suggests at most so many patterns for --ignore
_BACKBONE = "backbone."


def load_weights(model: nn.Layer, source: str | Path, ignore: Sequence[str] = ()) -> None:
    """Loads a checkpoint (see `read_checkpoint`) into `model`; every tensor must fit.

    Tensors whose names match a pattern of `ignore` stay as they are, and a warning lists them. Raises
    CheckpointError with a table of the differences, and then leaves the model as it was; ConfigError for a pattern
    that matches nothing.
    """
    ignored = Ignored(ignore)
    checkpoint = read_checkpoint(source, ignored)
    difference, ignored_names = compare(checkpoint, model, ignored)
    ignored.check()
    if difference:
        raise misfit(f"{source} is not a checkpoint of this model", model, difference)
    _set(model, checkpoint, ignored_names, source)
    _report_ignored(ignored_names, source)


def load_pretrained(model: nn.Layer, source: str | None) -> None:
    """Starts `model` from pretrained weights (see `read_checkpoint`); None does nothing.

    For a whole network the file must fit, except for names that `--ignore` lists (see `ignoring`). A backbone's file
    may hold more parts, such as an ImageNet classifier or the head of a whole network. It may lack the tensors that
    the backbone's class lists in `absent_from_pretrained`, such as a fusion, which classifiers do not have. The log
    reports both. Raises CheckpointError for any other difference, and then leaves the model as it was.
    """
    if source is None:
        return
    ignored = currently_ignored()
    checkpoint = read_checkpoint(source, ignored)
    is_backbone = not hasattr(model, "backbone")
    if is_backbone:
        checkpoint = _backbone_of(checkpoint, model)
    difference, ignored_names = compare(checkpoint, model, ignored, _BACKBONE if is_backbone else "")
    parts = {name.partition(".")[0] for name in model.state_dict()} if is_backbone else set()
    unused = [name for name in difference.unexpected if parts and name.partition(".")[0] not in parts]
    rest = difference.without(getattr(model, "absent_from_pretrained", ()), unused)
    absent = [name for name in difference.missing if name not in rest.missing]
    if rest:
        raise misfit(f"{source} cannot pretrain this {'backbone' if is_backbone else 'model'}", model, rest)
    _set(model, checkpoint, {*ignored_names, *unused}, source)
    loaded = checkpoint.tensors.keys() - ignored_names - {*unused}
    get_logger().info("pretrained %s: %d tensors loaded", source, len(loaded))
    if absent:
        get_logger().info("pretrained %s: not in the file, left as initialised: %s", source, _summary(absent))
    if unused:
        get_logger().info("pretrained %s: in the file, not used: %s", source, _summary(unused))
    _report_ignored(ignored_names, source)


def compare(
    checkpoint: Checkpoint, model: nn.Layer, ignored: Ignored | None = None, prefix: str = ""
) -> tuple[Difference, set[str]]:
    """The tensors that are missing, unexpected or of another shape in `checkpoint`; and the ignored names.

    `prefix` is what users put before the names of this network if it is part of another.
    """
    needed = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in checkpoint.tensors.items()}
    matching = ignored.among({**needed, **got}, prefix) if ignored else ()
    ignored_names = {*checkpoint.ignored_names, *matching}
    difference = Difference(
        missing=tuple(name for name in needed if name not in got and name not in ignored_names),
        unexpected=tuple(name for name in got if name not in needed and name not in ignored_names),
        misshapen=tuple(
            (name, got[name], shape)
            for name, shape in needed.items()
            if name in got and got[name] != shape and name not in ignored_names
        ),
    )
    return difference, ignored_names


def _backbone_of(checkpoint: Checkpoint, backbone: nn.Layer) -> Checkpoint:
    """The backbone's part of a whole network's file, which has `backbone.` before its names; other files unchanged."""
    inside = [name.removeprefix(_BACKBONE) for name in checkpoint.tensors if name.startswith(_BACKBONE)]
    if not backbone.state_dict().keys() & inside:
        return checkpoint
    tensors = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(_BACKBONE)}
    tensors.update({name: checkpoint.tensors[_BACKBONE + name] for name in inside})
    settings = {key.removeprefix(_BACKBONE): value for key, value in checkpoint.settings.items()}
    ignored_names = frozenset(name.removeprefix(_BACKBONE) for name in checkpoint.ignored_names)
    return Checkpoint(tensors, settings, ignored_names)


def _set(model: nn.Layer, checkpoint: Checkpoint, skipped: set[str], source: object) -> None:
    needed = {name: value for name, value in model.state_dict().items() if name not in skipped}
    values = {}
    for name, value in needed.items():
        if name not in checkpoint.tensors:
            continue
        tensor, dtype = checkpoint.tensors[name], str(value.dtype).removeprefix("paddle.")
        if np.issubdtype(tensor.dtype, np.floating) != value.is_floating_point():
            raise CheckpointError(f"{source} holds {name} as {tensor.dtype}, the network needs {dtype}")
        values[name] = tensor.astype(dtype, copy=False)
    bad = [name for name, value in values.items() if not np.isfinite(value).all()]
    if bad:
        raise CheckpointError(f"{source} holds NaN or infinity in {len(bad)} tensors, the first is {bad[0]}")
    untouched = {name.partition(".")[0] for name in skipped} - {name.partition(".")[0] for name in values}
    apply_settings(model, checkpoint.settings, source, untouched)
    for name, value in values.items():
        needed[name].set_value(value)


def misfit(what: str, model: nn.Layer, difference: Difference) -> CheckpointError:
    """The error that shows what does not fit and suggests what to do."""
    total = len(model.state_dict())
    fitting = total - len(difference.missing) - len(difference.misshapen)
    advice = ["Use the config this checkpoint was trained with (model, backbone, inj_type, num_classes)"]
    names = [*difference.missing, *difference.unexpected, *(name for name, *_ in difference.misshapen)]
    layers, parts = ({cut(name, ".")[0] for name in names if "." in name} for cut in (str.rpartition, str.partition))
    patterns = sorted(layers if len(layers) <= MAX_PATTERNS else parts)
    if fitting * 2 >= total and 0 < len(patterns) <= MAX_PATTERNS:
        ignored = " ".join(f"'{pattern}.*'" for pattern in patterns)
        advice.append(f"or leave these at their initial values: --ignore {ignored}")
    return CheckpointError(f"{what}: {fitting} of {total} tensors fit.\n{difference.table()}\n{', '.join(advice)}.")


def _report_ignored(ignored_names: set[str], source: object) -> None:
    if ignored_names:
        get_logger().warning("%s: ignored, left as initialised: %s", source, _summary(sorted(ignored_names)))


def _summary(names: Sequence[str]) -> str:
    """All names if they are at most eight, otherwise the number of names per part."""
    if len(names) <= 8:
        return ", ".join(names)
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{part} ({count} tensors)" for part, count in counts.items())
