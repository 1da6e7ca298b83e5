"""PaddleSeg's cross entropies, which also work under Paddle 3.

PaddleSeg's own multiply integer tensors by float tensors, which Paddle 3 refuses. `CrossEntropyLoss` is the loss of
nearly every published config; `DistillCrossEntropyLoss` compares with a teacher. Both keep PaddleSeg's names and
settings. Under Paddle 2.6 their values and gradients equal PaddleSeg's to the last bit (tests/unit/test_losses.py).
"""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.registry import LOSSES, register

_EPSILON = 1e-8  # keeps the mean over no pixels finite, as PaddleSeg does


@register(LOSSES)
class CrossEntropyLoss(nn.Layer):
    """The mean of the cross entropy over the counted pixels.

    Args:
        weight: one factor per class; the mean is divided by the mean factor of the pixels' classes.
        ignore_index: pixels with this label have no loss.
        top_k_percent_pixels: the share in (0, 1] of the pixels, those of the largest loss, that are averaged.
        avg_non_ignore: whether the mean is over the pixels that are not ignored, or over all.
        data_format: `NCHW`, or `NHWC` for logits [B, H, W, K].
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = 255,
        top_k_percent_pixels: float = 1.0,
        avg_non_ignore: bool = True,
        data_format: str = "NCHW",
    ) -> None:
        super().__init__()
        self.weight = None if weight is None else paddle.to_tensor(weight, dtype="float32")
        self.ignore_index = ignore_index
        self.top_k_percent_pixels = top_k_percent_pixels
        self.avg_non_ignore = avg_non_ignore
        self.data_format = data_format

    def forward(self, logit: Tensor, label: Tensor, semantic_weights: Tensor | None = None) -> Tensor:
        """Logits float [B, K, H, W], labels int [B, H, W] and weights [B, H, W] per pixel -> a scalar.

        Raises ValueError when there are not as many class weights as classes.
        """
        logit, label = self._classes_last(logit), label.astype("int64")
        loss = F.cross_entropy(
            logit, label, weight=self.weight, ignore_index=self.ignore_index, reduction="none"
        ).reshape(label.shape)
        return self._mean(loss, label, logit.shape[-1], semantic_weights)

    def _classes_last(self, logit: Tensor) -> Tensor:
        if self.data_format == "NCHW":
            logit = logit.transpose([0, 2, 3, 1])
        if self.weight is not None and len(self.weight) != logit.shape[-1]:
            raise ValueError(f"the loss has {len(self.weight)} class weights, the network {logit.shape[-1]} classes")
        return logit

    def _mean(self, loss: Tensor, label: Tensor, num_classes: int, semantic_weights: Tensor | None) -> Tensor:
        """The mean of `loss` [B, H, W] over the counted pixels, or over those of the largest loss."""
        is_counted = label != self.ignore_index
        counted = is_counted.astype("float32") if self.avg_non_ignore else paddle.ones(label.shape, "float32")
        loss = loss * counted
        if semantic_weights is not None:
            loss = loss * semantic_weights
        if self.weight is None:
            factors = paddle.ones(label.shape, "float32")
        else:
            # An ignored pixel needs a factor too. As in PaddleSeg, it is that of class 0, or with avg_non_ignore=False
            # that of its label if this is a class. PaddleSeg fails if it is none; here the factor is that of class 0.
            is_class = not self.avg_non_ignore and 0 <= self.ignore_index < num_classes
            known = label if is_class else label * is_counted.astype("int64")
            factors = (F.one_hot(known, num_classes) * self.weight).sum(axis=-1)
        if self.top_k_percent_pixels == 1.0:
            return loss.mean() / ((counted * factors).mean() + _EPSILON)
        kept = int(np.float32(self.top_k_percent_pixels) * np.float32(label.size))  # in float32, as PaddleSeg counts
        hardest, places = loss.flatten().topk(kept)
        return hardest.mean() / (factors.flatten().gather(places).detach().mean() + _EPSILON)


@register(LOSSES)
class DistillCrossEntropyLoss(CrossEntropyLoss):
    """The cross entropy of a student's logits with a teacher's probabilities, over the pixels that have a label.

    PaddleSeg hands `data_format` on as `avg_non_ignore`; here `NHWC` has its meaning.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = 255,
        top_k_percent_pixels: float = 1.0,
        data_format: str = "NCHW",
    ) -> None:
        super().__init__(weight, ignore_index, top_k_percent_pixels, data_format=data_format)

    def forward(
        self, student_logit: Tensor, teacher_logit: Tensor, label: Tensor, semantic_weights: Tensor | None = None
    ) -> Tensor:
        """Both logits float [B, K, H, W], labels int [B, H, W] -> a scalar. Raises ValueError for unequal shapes."""
        if student_logit.shape != teacher_logit.shape:
            raise ValueError(f"the student's logits are {student_logit.shape}, the teacher's {teacher_logit.shape}")
        student, teacher = self._classes_last(student_logit), self._classes_last(teacher_logit)
        loss = F.cross_entropy(student, F.softmax(teacher), weight=self.weight, reduction="none", soft_label=True)
        return self._mean(loss.reshape(label.shape), label.astype("int64"), student.shape[-1], semantic_weights)
