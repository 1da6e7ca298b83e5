"""Settings that a checkpoint stores beside its tensors, because its weights were trained with them.

A layer lists the attributes that a checkpoint may set in `checkpoint_settings`. Priority: the yaml (then
`<name>_is_given` is true), then the checkpoint, then PaddleSeg's value (`<name>_default`). A .pdparams file holds
the settings as `sublayer.attribute` -> value.
"""

from collections.abc import Collection, Iterator, Mapping

from paddle import nn

from paddleseg_ext_runtime.errors import CheckpointError
from paddleseg_ext_runtime.log import get_logger


def settings_of(model: nn.Layer) -> dict[str, str]:
    """The settings of a network, which are saved with its weights."""
    return {key: getattr(layer, name) for key, layer, name in _declared(model)}


def apply_settings(
    model: nn.Layer, settings: Mapping[str, str], source: object, untouched: Collection[str] = ()
) -> None:
    """Sets the values of a checkpoint, or else PaddleSeg's, unless the config gives one.

    The parts of the network named `untouched` get no weights from the checkpoint and keep their settings.
    Raises CheckpointError, which names `source`, for an unknown setting or a value that it cannot take.
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
