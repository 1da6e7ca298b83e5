"""From a config to what can be measured: the network with its weights, exported, with its own output to compare with.

Without a checkpoint the weights are made for timing (`lab.probe`); they say nothing about accuracy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.core.val import evaluate
from paddleseg_ext.export.static_graph import with_output_op
from paddleseg_ext.weights import load_weights
from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_tools.comparison.rows import Failed, System
from paddleseg_ext_tools.lab.complexity import Complexity, measure_complexity
from paddleseg_ext_tools.lab.systems import PROBED, Network

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
class _Shared:
    """What systems with the same config and weights share."""

    network: Network
    array: np.ndarray
    complexity: Complexity
    miou: float | None
    evaluated_on: str | None


def prepare_all(systems: Sequence[System], picture: np.ndarray, folder: Path, evaluates: bool) -> None:
    """Fills `prepared` or `failure` of each system. Exports go to `folder/<slug>`."""
    networks: dict[Any, _Shared | Failed] = {}
    for system in track(systems, len(systems), "preparing"):
        if system.failure is not None:
            get_logger().error("%s: %s", system.slug, system.failure.message)
            continue
        key = system.network
        try:
            if key not in networks:
                networks[key] = _shared(system, picture, evaluates)
            if isinstance(networks[key], Failed):
                system.failure = networks[key]
                continue
            system.prepared = _export(system, networks[key], folder / system.slug)
        except Exception as error:  # a network that cannot be built is no reason to lose the others' figures
            networks.setdefault(key, Failed.by(error))
            system.failure = Failed.by(error)
            get_logger().error("%s: %s", system.slug, system.failure.message, exc_info=wants_traceback(error))


def _shared(system: System, picture: np.ndarray, evaluates: bool) -> _Shared:
    network = Network(system.config, system.opts)
    model, config = network.model, network.config
    array = network.normalised(picture)
    _ = network.test_scale  # a config with several scales is refused before it is evaluated
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
            dataset = network.builder.build_checked_dataset("val_dataset")
            get_logger().info("%s: validation on %d images", system.slug, len(dataset))
            metrics = evaluate(model, dataset, InferenceOptions.from_dict(config.test_config), num_workers=1)
            miou, evaluated_on = 100 * metrics.miou, f"{len(dataset):,} images of {root}"
    else:
        network.make_weights(array)
    model.eval()
    return _Shared(network, array, measure_complexity(model, COUNTED_AT), miou, evaluated_on)


def _export(system: System, shared: _Shared, folder: Path) -> Prepared:
    network, array = shared.network, shared.array
    network.export(system.output_op, array.shape, folder)
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
        complexity=shared.complexity,
        num_classes=network.config.num_classes,
        weights=system.weights or PROBED,
        classes_kept=kept,
        labels=len(np.unique(output)) if op.is_labels else None,
        miou=shared.miou,
        evaluated_on=shared.evaluated_on,
    )
