"""What a network does otherwise than its config says, because its weights were trained so.

A layer that can be told names the attributes in `checkpoint_settings`; what the yaml said about one (`<name>_is_given`)
has the last word, and where a file says nothing it is as in PaddleSeg (`<name>_default`). In a .pdparams the settings
lie beside the tensors, as `sublayer.attribute` -> value.
"""

from collections.abc import Collection, Iterator, Mapping

from paddle import nn

from paddleseg_ext_runtime.errors import CheckpointError
from paddleseg_ext_runtime.log import get_logger


def settings_of(model: nn.Layer) -> dict[str, str]:
    """The settings of a network, to be saved with its weights."""
    return {key: getattr(layer, name) for key, layer, name in _declared(model)}


def apply_settings(
    model: nn.Layer, settings: Mapping[str, str], source: object, untouched: Collection[str] = ()
) -> None:
    """Sets what a checkpoint says, else PaddleSeg's values, where the config says nothing.

    The parts of the network named `untouched` have no weights of the checkpoint, and keep what they do.
    Raises CheckpointError, which names `source`, for a setting that the network has not or a value it cannot take.
    """
    declared = {key: (layer, name) for key, layer, name in _declared(model)}
    defaults = {
        key: getattr(layer, f"{name}_default")  # weights loaded earlier may have set something else
        for key, (layer, name) in declared.items()
        if not getattr(layer, f"{name}_is_given", False)
    }
    for key, value in {**defaults, **settings}.items():
        if key.partition(".")[0] in untouched:
            continue
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
