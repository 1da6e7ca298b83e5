"""The losses of our own against their definition in float64, and against PaddleSeg's where these still work."""

from __future__ import annotations

import itertools

import numpy as np
import paddle
import pytest
from paddleseg.models.losses import cross_entropy_loss

from paddleseg_ext.models.losses import CrossEntropyLoss, DistillCrossEntropyLoss
from paddleseg_ext.registry import LOSSES

CLASSES, IGNORED = 5, 255
WEIGHTS = [0.5, 2.0, 1.0, 0.25, 3.0]
SETTINGS = [
    {"weight": weight, "top_k_percent_pixels": share, "avg_non_ignore": average}
    for weight, share, average in itertools.product((None, WEIGHTS), (1.0, 0.3), (True, False))
]


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits of a student and a teacher [2, K, 7, 9], labels with ignored pixels, and weights per pixel."""
    rng = np.random.default_rng(3)
    student, teacher = rng.normal(size=(2, 2, CLASSES, 7, 9)).astype("float32") * 3
    labels = rng.integers(0, CLASSES, (2, 7, 9))
    labels[rng.random(labels.shape) < 0.2] = IGNORED
    return student, teacher, labels, rng.random(labels.shape).astype("float32")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype("float64")
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def defined(per_pixel: np.ndarray, labels: np.ndarray, semantic: np.ndarray, settings: dict) -> float:
    """The mean of the losses `per_pixel` [B, H, W] by the definition, pixel by pixel in float64."""
    is_counted = labels != IGNORED
    counted = is_counted if settings["avg_non_ignore"] else np.ones_like(is_counted)
    factors = np.asarray(settings["weight"] or [1.0] * CLASSES)[np.where(is_counted, labels, 0)]
    losses = (per_pixel * counted * semantic).ravel()
    if settings["top_k_percent_pixels"] == 1.0:
        return losses.mean() / (counted * factors).mean()
    hardest = np.argsort(-losses)[: int(settings["top_k_percent_pixels"] * losses.size)]
    return losses[hardest].mean() / factors.ravel()[hardest].mean()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_cross_entropy_is_its_definition(batch: tuple, settings: dict) -> None:
    logits, _, labels, semantic = batch
    is_counted = labels != IGNORED
    known = np.where(is_counted, labels, 0)
    chosen = np.take_along_axis(log_softmax(logits), known[:, None], axis=1)[:, 0]
    factors = np.asarray(settings["weight"] or [1.0] * CLASSES)[known]
    expected = defined(-chosen * factors * is_counted, labels, semantic, settings)
    loss = CrossEntropyLoss(**settings)(*map(paddle.to_tensor, (logits, labels, semantic)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    last = CrossEntropyLoss(**settings, data_format="NHWC")
    again = last(paddle.to_tensor(logits.transpose(0, 2, 3, 1)), *map(paddle.to_tensor, (labels, semantic)))
    assert float(again) == float(loss)


def test_distillation_is_its_definition(batch: tuple) -> None:
    student, teacher, labels, _ = batch
    per_pixel = -(np.exp(log_softmax(teacher)) * log_softmax(student)).sum(axis=1)
    settings = {"weight": None, "top_k_percent_pixels": 1.0, "avg_non_ignore": True}
    expected = defined(per_pixel, labels, np.ones(labels.shape), settings)
    loss = DistillCrossEntropyLoss()(*map(paddle.to_tensor, (student, teacher, labels)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


OLD_PADDLE = pytest.mark.skipif(not paddle.__version__.startswith("2."), reason="PaddleSeg's own fail under Paddle 3")


def value_and_gradient(loss: paddle.nn.Layer, logits: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    source = paddle.to_tensor(logits, stop_gradient=False)
    value = loss(source, *map(paddle.to_tensor, others))
    value.backward()
    return [value.numpy(), source.grad.numpy()]


@OLD_PADDLE
@pytest.mark.parametrize("ignored", [IGNORED, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_cross_entropy_is_paddlesegs_to_the_last_bit(batch: tuple, settings: dict, ignored: int) -> None:
    logits, _, labels, semantic = batch
    labels = np.where(labels == IGNORED, ignored, labels)
    theirs = cross_entropy_loss.CrossEntropyLoss(**settings, ignore_index=ignored)
    ours = CrossEntropyLoss(**settings, ignore_index=ignored)
    for others in ((labels,), (labels, semantic)):
        found = value_and_gradient(ours, logits, *others)
        if settings["weight"] and not settings["avg_non_ignore"] and ignored == IGNORED:
            with pytest.raises(ValueError, match="255"):  # PaddleSeg looks for a class of that number
                theirs(*map(paddle.to_tensor, (logits, *others)))
        else:
            for one, other in zip(found, value_and_gradient(theirs, logits, *others), strict=True):
                np.testing.assert_array_equal(one, other)


@OLD_PADDLE
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_distillation_is_paddlesegs_to_the_last_bit(batch: tuple, share: float) -> None:
    student, *others = batch
    ours, theirs = (
        value_and_gradient(kind(top_k_percent_pixels=share), student, *others)
        for kind in (DistillCrossEntropyLoss, cross_entropy_loss.DistillCrossEntropyLoss)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@OLD_PADDLE
def test_hard_pixels_are_counted_as_paddleseg_counts_them() -> None:
    """0.29 of 102,400 is 29,695 in float64 and 29,696 in float32."""
    logits, labels = np.random.default_rng(1).normal(size=(1, 2, 320, 320)), np.zeros((1, 320, 320), "int64")
    kinds = CrossEntropyLoss, cross_entropy_loss.CrossEntropyLoss
    ours, theirs = (value_and_gradient(kind(top_k_percent_pixels=0.29), logits, labels)[1] for kind in kinds)
    assert np.count_nonzero(ours) == 2 * 29_696
    np.testing.assert_array_equal(ours, theirs)


def test_all_ignored_gives_zero_and_no_gradient(batch: tuple) -> None:
    logits = paddle.to_tensor(batch[0], stop_gradient=False)
    loss = CrossEntropyLoss()(logits, paddle.full(batch[2].shape, IGNORED, "int64"))
    loss.backward()
    assert float(loss) == 0
    assert not logits.grad.numpy().any()


def test_a_config_gets_ours() -> None:
    assert LOSSES["CrossEntropyLoss"] is CrossEntropyLoss
    assert LOSSES["DistillCrossEntropyLoss"] is DistillCrossEntropyLoss


def test_a_wrong_number_of_class_weights_is_refused(batch: tuple) -> None:
    with pytest.raises(ValueError, match="has 3 class weights, the network 5 classes"):
        CrossEntropyLoss(weight=[1, 2, 3])(paddle.to_tensor(batch[0]), paddle.to_tensor(batch[2]))
    with pytest.raises(ValueError, match="the teacher's"):
        DistillCrossEntropyLoss()(paddle.zeros([1, 5, 2, 2]), paddle.zeros([1, 5, 2, 3]), paddle.zeros([1, 2, 2]))
