"""Photographs and videos through an exported model, in batches, with the time of each part."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from paddleseg_ext_runtime.deploy_yaml import DeployConfig
from paddleseg_ext_runtime.errors import ConfigError, ConversionError, DataError
from paddleseg_ext_runtime.image_pipeline import Step
from paddleseg_ext_runtime.label_map import overlay, write_labels
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.pictures import Picture, left_out
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.runtimes import ModelProcess

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}


@dataclass
class Times:
    """ms of each image for what is done before the graph and behind it, and of each run for the graph."""

    preprocessing: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    postprocessing: list[float] = field(default_factory=list)

    def table(self) -> str:
        """Minimum, median, mean and 90th percentile of each part that was timed."""
        lines = [f"{'ms':<16}{'min':>9}{'median':>9}{'mean':>9}{'p90':>9}{'runs':>7}"]
        for name, series in vars(self).items():
            if series:
                p90 = float(np.percentile(series, 90))
                row = min(series), statistics.median(series), statistics.fmean(series), p90
                lines.append(f"{name:<16}" + "".join(f"{value:>9.2f}" for value in row) + f"{len(series):>7}")
        return "\n".join(lines)


class Segmenter:
    """An exported model with what happens before and behind it: images in, labels at their size out.

    Args:
        process: the model; stays the caller's to close.
        config: its deploy.yaml.
        warmup, repeats: uncounted and counted runs of each batch, for timing.
    """

    def __init__(self, process: ModelProcess, config: DeployConfig, warmup: int = 0, repeats: int = 1):
        self.config, self.times = config, Times()
        self._process, self._pipeline = process, config.pipeline()
        self._counts = {"warmup": warmup, "repeats": repeats}

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[Step, ...]]:
        """As `ImagePipeline.prepare`, timed."""
        with _timed(self.times.preprocessing):
            return self._pipeline.prepare(image)

    def labels(self, batch: Sequence[tuple[np.ndarray, tuple[Step, ...]]]) -> list[np.ndarray]:
        """int32 labels [H, W] of each of several prepared images whose tensors have one shape."""
        array = np.concatenate([x for x, _ in batch])
        result = self._process.measure(array, **self._counts)
        self.times.inference += result.series_ms
        outputs = result.outputs[0]
        kind = "labels" if np.issubdtype(outputs.dtype, np.integer) else "scores"
        if self.config.output_kind not in ("", kind):
            raise ConversionError(
                f"the graph gives {kind}, deploy.yaml says {self.config.output_kind}; do they belong together?"
            )
        if len(outputs) != len(batch):
            raise ConversionError(f"the graph gives {len(outputs)} results for a batch of {len(batch)}")
        labels = []
        for output, (_, steps) in zip(outputs, batch, strict=True):
            with _timed(self.times.postprocessing):
                labels.append(self._pipeline.restore(output, array.shape[2:], steps))
        return labels

    def segment(self, image: np.ndarray) -> np.ndarray:
        """BGR [H, W, 3] (or grey [H, W]) -> int32 labels [H, W]."""
        return self.labels([self.prepare(image)])[0]


def check_batch(config: DeployConfig, batch_size: int) -> None:
    """Raises ConversionError for a graph that cannot take so many images at once, or mixes them."""
    if batch_size > 1 and config.output_op == "vim":
        raise ConversionError(
            f"--batch_size is {batch_size}, and `vim` keeps the classes of all images of a batch, so that each mask "
            "would depend on the others. Use --batch_size 1, or export vim_exact or argmax"
        )
    fixed = config.input_shape[0]
    if fixed is not None and (fixed, batch_size) != (1, 1):
        raise ConversionError(
            f"the graph takes batches of {fixed}, --batch_size is {batch_size}; "
            "tools/export.py --input_shape -1 3 H W writes one that takes any number"
        )


def infer_pictures(
    segmenter: Segmenter, pictures: Sequence[Picture], save_dir: Path, colors: np.ndarray, batch_size: int = 1
) -> int:
    """Writes `<stem>.png`, a palette PNG of labels, below `save_dir` for each picture; returns how many.

    Neighbours whose tensors have one shape share a batch. A picture that cannot be read does not stop the others;
    DataError names all of those at the end.
    """
    for picture in pictures:
        keep_source(picture.path, save_dir / picture.mask)
    with left_out(len(pictures)) as failures:
        batch: list[tuple[Picture, tuple]] = []
        for picture in track(pictures, len(pictures), "inference"):
            try:
                prepared = segmenter.prepare(read_image(picture.path, segmenter.config.channels))
            except DataError as error:
                failures.append(str(error))
                continue
            if batch and (len(batch) == batch_size or batch[0][1][0].shape != prepared[0].shape):
                _write_batch(segmenter, batch, save_dir, colors)
                batch = []
            batch.append((picture, prepared))
        if batch:
            _write_batch(segmenter, batch, save_dir, colors)
    return len(pictures)


def keep_source(source: Path, target: Path) -> None:
    """Raises ConfigError when a result would take the place of what it is made from."""
    if target.exists() and target.samefile(source):
        raise ConfigError(f"the result for {source} would take its place; choose another --save_dir")


def _write_batch(segmenter: Segmenter, batch: list[tuple[Picture, tuple]], save_dir: Path, colors: np.ndarray) -> None:
    for (picture, _), labels in zip(batch, segmenter.labels([one for _, one in batch]), strict=True):
        write_labels(save_dir / picture.mask, labels, colors)


def infer_video(segmenter: Segmenter, path: Path, save_file: Path, colors: np.ndarray) -> int:
    """Writes the video with its labels over it (MPEG-4, without sound); returns how many frames it has.

    A file that ends before the frames it announces, as a truncated one does and a sound track's length may pretend, is
    warned of. Raises DataError for one without a frame that OpenCV can read, ConfigError for `path` as `save_file`.
    """
    keep_source(path, save_file)
    video = cv2.VideoCapture(str(path))
    total, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
    unfinished = save_file.with_name(f".{save_file.name}")
    writer, count = None, 0
    try:
        for frame in track(_frames(video), total, "inference"):
            if writer is None:
                size = frame.shape[1], frame.shape[0]
                writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*"mp4v"), rate or 25.0, size)
                if not writer.isOpened():
                    raise DataError(f"cannot write {save_file}")
            image = frame if segmenter.config.channels == 3 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            writer.write(overlay(frame, segmenter.segment(image), colors))
            count += 1
        if count == 0:
            raise DataError(f"{path} is no video OpenCV can read")
        if count < total:
            get_logger().warning("%s ends after %d of the %d frames it announces", path, count, total)
        writer.release()
        unfinished.replace(save_file)
    finally:
        video.release()
        if writer is not None:
            writer.release()
        unfinished.unlink(missing_ok=True)
    return count


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        is_there, frame = video.read()
        if not is_there:
            return
        yield frame


@contextmanager
def _timed(series: list[float]) -> Iterator[None]:
    start = time.perf_counter_ns()
    yield
    series.append((time.perf_counter_ns() - start) / 1e6)
