"""Measures how far the cheap output ops agree with the full argmax, and how many classes they keep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddleseg_ext.datasets.loader import validation_samples
from paddleseg_ext.models.output_ops import OUTPUT_OPS, Argmax
from paddleseg_ext_runtime.output_ops import LABEL_OPS


@dataclass
class OpAgreement:
    """One output operator over a data set: pixels equal to argmax, and classes kept in each image."""

    equal_pixels: int = 0
    pixels: int = 0
    kept: list[int] = field(default_factory=list)

    @property
    def equal(self) -> float:
        """The fraction of pixels whose label is that of argmax."""
        return self.equal_pixels / max(self.pixels, 1)

    def to_dict(self) -> dict[str, float]:
        """Plain numbers for JSON."""
        return {
            "equal": self.equal,
            "kept_min": min(self.kept),
            "kept_mean": float(np.mean(self.kept)),
            "kept_max": max(self.kept),
        }


@paddle.no_grad()
def compare_output_ops(
    model: nn.Layer,
    dataset: paddle.io.Dataset,
    names: Sequence[str] = LABEL_OPS,
    on_labels: Callable[[int, np.ndarray], Any] | None = None,
) -> dict[str, OpAgreement]:
    """Runs label-giving output operators on the logits of every image of `dataset`, at the size the network sees.

    `on_labels(index, labels)` receives the argmax labels [H, W] of each image. Needs a model with `logits`.
    """
    model.eval()
    ops = {name: OUTPUT_OPS[name](model.align_corners) for name in names}
    results = {name: OpAgreement() for name in names}
    for index, sample in enumerate(validation_samples(dataset, num_workers=1)):
        x = paddle.to_tensor(sample["img"]).unsqueeze(0)
        logits, size = model.logits(x), x.shape[2:]
        reference = Argmax(model.align_corners)(logits, size).numpy()
        if on_labels is not None:
            on_labels(index, reference[0])
        for name, op in ops.items():
            labels = op(logits, size).numpy()
            result = results[name]
            result.equal_pixels += int((labels == reference).sum())
            result.pixels += labels.size
            result.kept.append(int(op.kept(logits).shape[0]))
    return results
