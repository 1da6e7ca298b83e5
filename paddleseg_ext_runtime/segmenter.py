"""A model with the steps before and after it: images in, labels at their size out, with the time of each part."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from paddleseg_ext_runtime.deploy_yaml import DeployConfig
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline, Step
from paddleseg_ext_runtime.runtimes import ModelProcess

Run = Callable[[np.ndarray], np.ndarray]
Prepared = tuple[np.ndarray, tuple[Step, ...]]  # as `ImagePipeline.prepare` gives it


@dataclass
class Times:
    """The ms of each image before and after the model, and of each run of the model."""

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
    """A model between the two ends of its image pipeline.

    Args:
        run: takes tensors [B, C, H, W] of images and gives scores [B, K, h, w] or labels [B, H, W].
        pipeline: the steps before and after it.
        channels: of the images, 3 or 1.
    """

    def __init__(self, run: Run, pipeline: ImagePipeline, channels: int = 3):
        self.channels, self.times = channels, Times()
        self._run, self._pipeline = run, pipeline

    def prepare(self, image: np.ndarray) -> Prepared:
        """As `ImagePipeline.prepare`, timed."""
        with _timed(self.times.preprocessing):
            return self._pipeline.prepare(image)

    def labels(self, batch: Sequence[Prepared]) -> list[np.ndarray]:
        """int32 labels [H, W] of each of several prepared images whose tensors have one shape."""
        array = np.concatenate([x for x, _ in batch])
        outputs = self._run(array)
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


class ExportedSegmenter(Segmenter):
    """An exported model in a process, which stays the caller's to close.

    Args:
        process: the model.
        config: its deploy.yaml.
        warmup, repeats: uncounted and counted runs of each batch, for timing.
    """

    def __init__(self, process: ModelProcess, config: DeployConfig, warmup: int = 0, repeats: int = 1):
        super().__init__(self._measured, config.pipeline(), config.channels)
        self._process, self._output_kind = process, config.output_kind
        self._counts = {"warmup": warmup, "repeats": repeats}

    def _measured(self, array: np.ndarray) -> np.ndarray:
        result = self._process.measure(array, **self._counts)
        self.times.inference += result.series_ms
        outputs = result.outputs[0]
        kind = "labels" if np.issubdtype(outputs.dtype, np.integer) else "scores"
        if self._output_kind not in ("", kind):
            raise ConversionError(
                f"the graph gives {kind}, deploy.yaml says {self._output_kind}; do they belong together?"
            )
        return outputs


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


@contextmanager
def _timed(series: list[float]) -> Iterator[None]:
    start = time.perf_counter_ns()
    yield
    series.append((time.perf_counter_ns() - start) / 1e6)
