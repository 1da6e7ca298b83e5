"""Converts a checkpoint file of a torch project to PaddleSeg's format, and back."""

from collections.abc import Sequence
from pathlib import Path

from paddle import nn

from paddleseg_ext.version import __version__
from paddleseg_ext.weights.fitting import compare, misfit
from paddleseg_ext.weights.ignoring import Ignored
from paddleseg_ext.weights.mapping import Conversion, paddle_to_torch, torch_to_paddle
from paddleseg_ext.weights.reading import Checkpoint, is_torch, local_path, read_checkpoint, write_checkpoint
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext.weights.torch_writer import write_torch
from paddleseg_ext_runtime.errors import CheckpointError
from paddleseg_ext_runtime.log import get_logger

PADDLE_ENDING = ".pdparams"


def convert(source: str, output: Path, model: nn.Layer | None = None, ignore: Sequence[str] = ()) -> Conversion:
    """Converts `source` (path or URL) to the format that the ending of `output` names: .pdparams, .pth or .pt.

    If `model` is given, every tensor must fit it, or its backbone if the file holds only a backbone. Tensors whose
    name on either side matches a pattern of `ignore` are left out. `output` appears complete or not at all.

    Raises DownloadError; CheckpointError when `source` cannot be read or does not fit; ConfigError for a pattern
    that matches nothing or an `output` that cannot be written.
    """
    ignored = Ignored(ignore)
    if output.suffix == PADDLE_ENDING:
        conversion = torch_to_paddle(read_torch(local_path(source)), source, ignored)
        _check(conversion, conversion.tensors, model, ignored, source)
        write_checkpoint(output, conversion.tensors, conversion.settings)
        return conversion
    if is_torch(local_path(source)):
        raise CheckpointError(f"{source} is a checkpoint of torch already; give an --output that ends in .pdparams")
    checkpoint = read_checkpoint(source)
    conversion = paddle_to_torch(checkpoint.tensors, source, ignored)
    _check(conversion, checkpoint.tensors, model, ignored, source)
    _warn_of_settings(conversion, checkpoint, source)
    write_torch(output, conversion.tensors, {"converted_by": f"paddleseg_ext {__version__}"})
    return conversion


def _check(conversion: Conversion, tensors: dict, model: nn.Layer | None, ignored: Ignored, source: str) -> None:
    """Raises CheckpointError when `tensors`, under Paddle's names, do not fit the model."""
    if model is None:
        ignored.check()
        return
    is_backbone = conversion.is_backbone
    network = model.backbone if is_backbone else model
    prefix = "backbone." if is_backbone else ""
    difference, _ = compare(Checkpoint(tensors, ignored_names=conversion.ignored_names), network, ignored, prefix)
    ignored.check()
    difference = difference.without(getattr(network, "absent_from_pretrained", ()) if is_backbone else ())
    if difference:
        raise misfit(f"{source} does not fit the model of --config", network, difference)


def _warn_of_settings(conversion: Conversion, checkpoint: Checkpoint, source: str) -> None:
    """Warns of settings that the torch project's network cannot have: it supports only its own value."""
    for key, value in conversion.project.settings.items():
        trained_with = checkpoint.settings.get(key.removeprefix("backbone.") if conversion.is_backbone else key)
        if trained_with != value:
            get_logger().warning(
                "%s: %s supports only %s %r; these weights were trained with %s. Results will differ, "
                "except where the image's sides are multiples of 64",
                source, conversion.project.name, key, value, repr(trained_with) if trained_with else "PaddleSeg's",
            )  # fmt: skip
