"""What a network does otherwise than its config says, because its weights were trained so.

A layer that can be told names the attributes in `checkpoint_settings`; what the yaml said about one (`<name>_is_given`)
has the last word. In a .pdparams the settings lie beside the tensors, as `sublayer.attribute` -> value.
"""

from collections.abc import Iterator, Mapping

from paddle import nn

from paddleseg_ext.errors import CheckpointError
from paddleseg_ext.utils.logging import get_logger


def settings_of(model: nn.Layer) -> dict[str, str]:
    """The settings of a network, to be saved with its weights."""
    return {key: getattr(layer, name) for key, layer, name in _declared(model)}


def apply_settings(model: nn.Layer, settings: Mapping[str, str], source: object) -> None:
    """Sets what a checkpoint says, where the config says nothing.

    Raises CheckpointError, which names `source`, for a setting that the network has not or a value it cannot take.
    """
    declared = {key: (layer, name) for key, layer, name in _declared(model)}
    for key, value in settings.items():
        if key not in declared:
            raise CheckpointError(f"{source} sets {key} to {value!r}, which this network does not know")
        layer, name = declared[key]
        current = getattr(layer, name)
        if value == current:
            continue
        if getattr(layer, f"{name}_is_given", False):
            get_logger().warning("%s was trained with %s %r; the config says %r", source, key, value, current)
            continue
        try:
            setattr(layer, name, value)
        except ValueError as error:
            raise CheckpointError(f"{source} sets {key} to {value!r}: {error}") from error
        get_logger().info("%s sets %s to %r", source, key, value)


def _declared(model: nn.Layer) -> Iterator[tuple[str, nn.Layer, str]]:
    for path, layer in model.named_sublayers(include_self=True):
        for name in getattr(layer, "checkpoint_settings", ()):
            yield f"{path}.{name}".removeprefix("."), layer, name
