"""From a config to what can be measured: the network with its weights, exported, with its own output to compare with.

Without a checkpoint the weights are made for timing (`lab.probe`); they say nothing about accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import paddle

from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.core.val import evaluate
from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.export.static_graph import export, with_output_op
from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import scaled_size
from paddleseg_ext.weights import load_weights
from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.verify import normalisation
from paddleseg_ext_tools.comparison.rows import Failed, System
from paddleseg_ext_tools.lab.complexity import Complexity, measure_complexity
from paddleseg_ext_tools.lab.probe import probe
from paddleseg_ext_tools.scenes import make_scene

if TYPE_CHECKING:
    from paddle import nn

SCENE = 4  # of 17 classes
PROBED = "made for timing"
COUNTED_AT = (512, 512)


@dataclass(frozen=True)
class Prepared:
    """An exported system. `array` [1, 3, H, W] is the picture, `output` what the network itself makes of it.

    `classes_kept` is how many classes the output op interpolates on it, None for ops without labels; `labels` how many
    classes the label map holds. `miou` in percent and `evaluated_on`, which says on what, are None where nothing was
    evaluated.
    """

    folder: Path
    array: np.ndarray
    output: np.ndarray
    complexity: Complexity
    num_classes: int
    weights: str
    classes_kept: int | None
    labels: int | None
    miou: float | None
    evaluated_on: str | None


@dataclass(frozen=True)
class _Network:
    """What systems with the same config and weights share."""

    model: nn.Layer
    config: Config
    array: np.ndarray
    test_scale: float
    complexity: Complexity
    miou: float | None
    evaluated_on: str | None


def read_picture(path: str | None, size: Sequence[int]) -> np.ndarray:
    """RGB uint8 [H, W, 3] at `size` (height, width): the picture at `path`, or a drawn scene of many classes.

    Raises DataError for a file that is no picture.
    """
    if path is None:
        return make_scene(SCENE, *size)[0]
    picture = cv2.resize(read_image(path), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(picture[:, :, ::-1]).astype("uint8")


def prepare_all(systems: Sequence[System], picture: np.ndarray, folder: Path, evaluates: bool) -> None:
    """Fills `prepared` or `failure` of each system. Exports go to `folder/<slug>`."""
    networks: dict[Any, _Network | Failed] = {}
    for system in track(systems, len(systems), "preparing"):
        if system.failure is not None:
            get_logger().error("%s: %s", system.slug, system.failure.message)
            continue
        key = system.network
        try:
            if key not in networks:
                networks[key] = _network(system, picture, evaluates)
            if isinstance(networks[key], Failed):
                system.failure = networks[key]
                continue
            system.prepared = _export(system, networks[key], folder / system.slug)
        except Exception as error:  # a network that cannot be built is no reason to lose the others' figures
            networks.setdefault(key, Failed.by(error))
            system.failure = Failed.by(error)
            get_logger().error("%s: %s", system.slug, system.failure.message, exc_info=wants_traceback(error))


def _network(system: System, picture: np.ndarray, evaluates: bool) -> _Network:
    config = Config(system.config, opts=list(system.opts))
    builder = Builder(config)
    model = builder.build_untrained_model()
    mean, std = normalisation(config.val_dataset_cfg.get("transforms") or [])
    array = ((picture.astype("float32") / 255 - mean) / std).transpose(2, 0, 1)[None]
    array = np.ascontiguousarray(array, "float32")
    test = InferenceOptions.from_dict(config.test_config)
    scale = test.single_scale()
    miou = evaluated_on = None
    if system.weights:
        load_weights(model, system.weights)
        root = config.val_dataset_cfg.get("dataset_root")
        if not evaluates or not root or not Path(root).is_dir():
            reason = f"there is no data set at {root}" if evaluates else "--no_eval"
            get_logger().warning(
                "%s: the weights are not evaluated (%s); the mIoU shown is the authors', of theirs", system.slug, reason
            )
        else:
            dataset = builder.build_checked_dataset("val_dataset")
            get_logger().info("%s: validation on %d images", system.slug, len(dataset))
            metrics = evaluate(model, dataset, test, num_workers=1)
            miou, evaluated_on = 100 * metrics.miou, f"{len(dataset):,} images of {root}"
    else:
        seen = paddle.to_tensor(array)
        seen = seen if scale == 1.0 else resize(seen, scaled_size(picture.shape[:2], scale))
        probe(model, config.num_classes, seen, mean, std)
    model.eval()
    return _Network(model, config, array, scale, measure_complexity(model, COUNTED_AT), miou, evaluated_on)


def _export(system: System, network: _Network, folder: Path) -> Prepared:
    config, array = network.config, network.array
    folder.mkdir(parents=True, exist_ok=True)
    transforms = config.val_dataset_cfg.get("transforms")
    names = {"transforms": transforms, "test_scale": network.test_scale, "class_names": config.class_names}
    export(network.model, system.output_op, array.shape, folder, config.num_classes, **names)
    wrapped = with_output_op(network.model, system.output_op, array, network.test_scale)
    op = wrapped.output_op
    with paddle.no_grad():
        logits = wrapped.logits(paddle.to_tensor(array))
        output = op(logits, array.shape[2:]).numpy()
        kept = int(op.kept(logits).shape[0]) if op.is_labels else None
    return Prepared(
        folder=folder,
        array=array,
        output=output,
        complexity=network.complexity,
        num_classes=config.num_classes,
        weights=system.weights or PROBED,
        classes_kept=kept,
        labels=len(np.unique(output)) if op.is_labels else None,
        miou=network.miou,
        evaluated_on=network.evaluated_on,
    )
