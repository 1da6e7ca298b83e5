"""What tools/benchmark_export.py measures: the network itself, and one row per form."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import paddle

from paddleseg_ext.core.metrics import Metrics, confusion_matrix
from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.datasets.base import SegmentationDataset
from paddleseg_ext.export.static_graph import check_input_shape, with_output_op
from paddleseg_ext.weights import load_weights
from paddleseg_ext_runtime.command import wants_traceback
from paddleseg_ext_runtime.deploy_yaml import DeployConfig
from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.reading import IGNORE, read_image, read_label
from paddleseg_ext_runtime.runtimes import RuntimeResult
from paddleseg_ext_runtime.verify import MIN_EQUAL_LABELS
from paddleseg_ext_tools.lab.forms import Counts, Form
from paddleseg_ext_tools.lab.rounds import Latency, summarise
from paddleseg_ext_tools.lab.systems import PROBED, read_picture
from paddleseg_ext_tools.lab.systems import Network as System
from paddleseg_lite.reference import Agreement


@dataclass(frozen=True)
class Row:
    """One form. `equal` is the share of pixels labelled as by the network, `error` why there are no figures."""

    key: str
    title: str
    size_mb: float | None = None
    equal: float | None = None
    miou: float | None = None
    timing: Latency | None = None
    error: str | None = None
    is_lossy: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it ran and gives the network's labels."""
        is_equal = self.equal is not None and (self.equal >= MIN_EQUAL_LABELS or self.is_lossy)
        return self.error is None and is_equal


@dataclass(frozen=True)
class Network:
    """The exported model, and its own labels of each photograph; `truth(i)` are photograph i's labels, or None."""

    folder: Path
    config: DeployConfig
    photograph: Path
    photographs: list[Path]
    labels: list[np.ndarray]
    truth: Callable[[int], np.ndarray | None]
    ignore_index: int
    weights: str
    size_mb: float

    @classmethod
    def build(cls, path: Path, args: argparse.Namespace, folder: Path, work: Path) -> Network:
        """Builds and exports it, and predicts every photograph with it. Raises a PaddleSegExtError where it cannot."""
        system = System(path, args.opts)
        config, builder = system.config, system.builder
        shape = check_input_shape(args.input_shape, config.in_channels)
        model, output_op = system.model, system.output_op(args.output_op)
        photograph = _photograph(args.image, shape, work)
        dataset = _dataset(builder, config, args.images)
        if args.model_path:
            load_weights(model, args.model_path)
        else:
            size = [fixed or now for fixed, now in zip(shape[2:], read_image(photograph).shape, strict=False)]
            system.make_weights(system.normalised(read_picture(photograph, size)))
        report = system.export(output_op, shape, folder)
        pairs = dataset.file_list[: args.images] if dataset else [(str(photograph), None)]
        wrapped = with_output_op(model, output_op, report.checked.inputs[0], system.test_scale)
        photographs = [Path(image) for image, _ in pairs]
        labels = list(track(_labels(wrapped, report.config, photographs), len(pairs), "the network"))

        def truth(index: int) -> np.ndarray | None:
            if dataset is None:
                return None
            return read_label(pairs[index][1], dataset.num_classes, dataset.ignore_index, dataset.zero_is_ignore)

        ignore_index = dataset.ignore_index if dataset else IGNORE
        size = sum(value.numel().item() for value in model.state_dict().values()) * 4 / 2**20
        weights = args.model_path or PROBED
        return cls(folder, report.config, photograph, photographs, labels, truth, ignore_index, weights, size)

    def row(self) -> Row:
        """The network's own."""
        return Row("dygraph", "Paddle, the network itself", self.size_mb, 1.0, self.miou(self.labels))

    def miou(self, labels: list[np.ndarray]) -> float | None:
        """In percent, over the photographs whose labels are known."""
        classes = self.config.num_classes
        confusion = np.zeros((classes, classes), "int64")
        for index, one in enumerate(labels):
            if (truth := self.truth(index)) is not None:
                confusion += confusion_matrix(one, truth, classes, self.ignore_index)
        return 100 * Metrics(confusion).miou if confusion.any() else None


def compared_row(form: Form, network: Network, counts: Counts) -> Row:
    """Prepares one form and compares its labels with the network's; a failure becomes the row's `error`."""

    def compare() -> Row:
        form.require(counts)
        form.prepare()
        size = sum(file.stat().st_size for file in form.files) / 2**20
        labels = list(track(form.labels(network.photographs, counts), len(network.photographs), form.title))
        pixels = sum(labels_.size for labels_ in labels)
        equal = sum(int((a == b).sum()) for a, b in zip(labels, network.labels, strict=True)) / pixels
        return Row(form.key, form.title, size, equal, network.miou(labels), is_lossy=form.is_lossy)

    return _attempt(compare, Row(form.key, form.title))


def timed_row(row: Row, form: Form, network: Network, counts: Counts, measured: list[RuntimeResult]) -> Row:
    """`row` with one round more: its figures are over all of `measured`, to which the round is added."""

    def time() -> Row:
        measured.append(form.time(network.photograph, counts))
        note = f"{100 * row.equal:.4f}% of the labels are the network's"
        agreement = Agreement(row.equal, "equal_pixels", note, good=row.is_good)
        shape = [length or 0 for length in network.config.input_shape]
        place = {"name": row.key, "folder": network.folder, "shape": shape, "threads": counts.threads}
        return replace(row, timing=summarise(measured, agreement, **place))

    return row if row.error else _attempt(time, row)


def _attempt(step: Callable[[], Row], row: Row) -> Row:
    try:
        return step()
    except Exception as error:  # the failure of one form must not lose the figures of the others
        get_logger().error("%s: %s", row.title, error, exc_info=wants_traceback(error))
        return replace(row, error=str(error).strip() or type(error).__name__)


@paddle.no_grad()
def _labels(wrapped: paddle.nn.Layer, config: DeployConfig, photographs: list[Path]) -> Iterator[np.ndarray]:
    pipeline = config.pipeline()
    for path in photographs:
        x, steps = pipeline.prepare(read_image(path, config.channels))
        yield pipeline.restore(wrapped(paddle.to_tensor(x)).numpy()[0], x.shape[2:], steps)


def _dataset(builder: Builder, config: Config, images: int) -> SegmentationDataset | None:
    """The validation set, None where there is none here or none is wanted."""
    root = config.val_dataset_cfg.get("dataset_root")
    if images < 1 or not root or not Path(root).is_dir():
        get_logger().info("no validation images (%s): labels are compared on the timed photograph alone", root)
        return None
    return builder.build_checked_dataset("val_dataset")


def _photograph(path: str | None, shape: list[int | None], work: Path) -> Path:
    if path is not None:
        read_image(path)
        return Path(path)
    height, width = (length or 512 for length in shape[2:])
    drawn = work / "scene.png"
    if not cv2.imwrite(str(drawn), read_picture(None, (height, width))[:, :, ::-1]):
        raise DataError(f"cannot write {drawn}")
    return drawn
