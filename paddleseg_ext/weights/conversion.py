"""From a torch project's checkpoint to PaddleSeg's and back, file to file."""

from collections.abc import Sequence
from pathlib import Path

from paddle import nn

from paddleseg_ext.errors import CheckpointError
from paddleseg_ext.utils.logging import get_logger
from paddleseg_ext.version import __version__
from paddleseg_ext.weights.fitting import compare, misfit
from paddleseg_ext.weights.ignoring import Ignored
from paddleseg_ext.weights.mapping import Conversion, paddle_to_torch, torch_to_paddle
from paddleseg_ext.weights.reading import Checkpoint, is_torch, local_path, read_checkpoint, write_checkpoint
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext.weights.torch_writer import write_torch

PADDLE_ENDING, TORCH_ENDINGS = ".pdparams", (".pth", ".pt")


def convert(source: str, output: Path, model: nn.Layer | None = None, ignore: Sequence[str] = ()) -> Conversion:
    """Converts `source` (path or URL) to what the ending of `output` says: .pdparams, .pth or .pt.

    With a `model` every tensor must fit it, or its backbone if that is all there is. Tensors of `source` that match
    a pattern of `ignore` are left out. `output` appears complete or not at all.

    Raises DownloadError; CheckpointError when `source` cannot be read or does not fit; ConfigError for a pattern
    that matches nothing or an `output` that cannot be written.
    """
    ignored = Ignored(ignore)
    if output.suffix == PADDLE_ENDING:
        tensors = _without(read_torch(local_path(source)), ignored)
        conversion = torch_to_paddle(tensors, source)
        _check(Checkpoint(conversion.tensors), model, conversion.is_backbone, ignored, source)
        write_checkpoint(output, conversion.tensors, conversion.settings)
        return conversion
    if is_torch(local_path(source)):
        raise CheckpointError(f"{source} is a checkpoint of torch already; give an --output that ends in .pdparams")
    checkpoint = read_checkpoint(source)
    tensors = _without(checkpoint.tensors, ignored)
    conversion = paddle_to_torch(tensors, source)
    _check(Checkpoint(tensors), model, conversion.is_backbone, ignored, source)
    _warn_of_settings(conversion, checkpoint, source)
    write_torch(output, conversion.tensors, {"converted_by": f"paddleseg_ext {__version__}"})
    return conversion


def _without(tensors: dict, ignored: Ignored) -> dict:
    left = ignored.among(tensors)
    ignored.check()
    return {name: value for name, value in tensors.items() if name not in left}


def _check(checkpoint: Checkpoint, model: nn.Layer | None, is_backbone: bool, ignored: Ignored, source: str) -> None:
    if model is None:
        return
    network = model.backbone if is_backbone else model
    difference, _ = compare(checkpoint, network, ignored)
    difference = difference.without(getattr(network, "absent_from_pretrained", ()) if is_backbone else ())
    if difference:
        raise misfit(f"{source} does not fit the model of --config", network, difference)


def _warn_of_settings(conversion: Conversion, checkpoint: Checkpoint, source: str) -> None:
    """The torch project's network has no settings; it always does what its own weights want."""
    for key, value in conversion.project.settings.items():
        has = checkpoint.settings.get(key.removeprefix("backbone.") if conversion.is_backbone else key)
        if has != value:
            get_logger().warning(
                "%s: %s has %s %r and no other; these weights were trained with %s. Results will differ, "
                "except where the image's sides are multiples of 64",
                source, conversion.project.name, key, value, repr(has) if has else "PaddleSeg's",
            )  # fmt: skip
