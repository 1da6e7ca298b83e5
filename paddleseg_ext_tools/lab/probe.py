"""Makes weights for timing in seconds: any model then gives label maps with coherent regions of fifteen classes.

The time of an output op depends on the picture: VIM interpolates the classes that win somewhere. With random weights
one class wins, or a hundred, and a latency measured with them means nothing. Training takes hours. So the batch norms
are set from a few drawn scenes, and the classifier alone is fitted, in closed form, to the labels of these scenes.
A network with these weights takes as long as a trained one; the weights have no other use.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import paddle
from paddle import Tensor, nn

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_tools.scenes import SCENE_CLASSES, make_scene

CLASSES = 15
SCENES = (4, 74, 201, 275)  # 16 or 17 classes each
_NOT_USED = -1
_RIDGE = 1e-3  # of the features' mean square
_LEAST_SHARE = 2e-3  # the share of the picture given to a class that wins nowhere after the fit
_MARGIN = 0.02  # the lead with which this class then wins; the fitted scores are about 0 or 1
_ROUNDS = 500
_DEPTH = 20.0  # the distance of the scores of unused classes below the fitted scores


@paddle.no_grad()
def probe(
    model: nn.Layer, num_classes: int, picture: Tensor, mean: Sequence[float], std: Sequence[float]
) -> tuple[int, ...]:
    """Sets the batch norm statistics and the classifier of `model` in place; leaves it in eval mode.

    `picture` [1, 3, H, W] is the input of the measurement, normalised with `mean` and `std`. Returns the indices of
    the classes that win in at least one of its pixels. Their number is CLASSES; it is smaller if the model has fewer
    classes or if the label map is too small. Raises ConversionError if the model has no 1x1 convolution to
    `num_classes` channels.
    """
    images, labels = _scenes(picture.shape[2:], mean, std)
    classifier, features = _calibrate(model, num_classes, paddle.concat([picture, images]))
    targets, classes = _targets(labels, features.shape[2:], num_classes)
    rows = features.transpose([0, 2, 3, 1]).numpy().astype("float64")
    rows = rows.reshape(len(rows), -1, rows.shape[-1])
    scenes = rows[1:].reshape(-1, rows.shape[-1])
    constant = None if classifier.bias is not None else _constant(scenes)
    weight = _fit(_extended(scenes, constant), targets.reshape(-1), len(classes))
    _let_all_win(_extended(rows[0], constant), weight)
    _assign(classifier, _all_classes(weight, classes, num_classes), constant)
    model.eval()
    return tuple(classes[place] for place in np.unique((_extended(rows[0], constant) @ weight.T).argmax(axis=1)))


def _scenes(size: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, np.ndarray]:
    """Scenes [N, 3, H, W], normalised, and their labels [N, H, W] in ADE20K's values."""
    pairs = [make_scene(seed, *size) for seed in SCENES]
    images = np.stack([image for image, _ in pairs]).astype("float32") / 255
    images = (images - np.float32(mean)) / np.float32(std)
    return paddle.to_tensor(images.transpose(0, 3, 1, 2)), np.stack([label for _, label in pairs])


def _calibrate(model: nn.Layer, num_classes: int, batch: Tensor) -> tuple[nn.Conv2D, Tensor]:
    """Sets every batch norm to the statistics of `batch`; returns the classifier and its input [N, C, h, w]."""
    seen: list[tuple[nn.Conv2D, Tensor]] = []
    candidates = [
        layer
        for layer in model.sublayers()
        if isinstance(layer, nn.Conv2D) and layer.weight.shape[0] == num_classes and layer.weight.shape[2:] == [1, 1]
    ]
    hooks = [c.register_forward_pre_hook(lambda layer, inputs: seen.append((layer, inputs[0]))) for c in candidates]
    norms = [layer for layer in model.sublayers() if hasattr(layer, "_mean") and hasattr(layer, "_variance")]
    momenta = [norm._momentum for norm in norms]
    model.eval()  # without dropout and auxiliary heads
    try:
        for norm in norms:
            norm.training, norm._momentum = True, 0.0
        _ = model.logits(batch) if hasattr(model, "logits") else model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm._momentum = False, momentum
        for hook in hooks:
            hook.remove()
    if not seen:
        raise ConversionError(
            f"{type(model).__name__} has no 1x1 convolution to its {num_classes} classes to make weights for; "
            "time it with trained ones"
        )
    return seen[-1]


def _targets(labels: np.ndarray, size: Sequence[int], num_classes: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Each pixel's position in the list of used classes [N, h, w], and this list of class indices, ascending.

    The indices are those of ADE20K if the model has enough classes; otherwise they count from 0.
    """
    height, width = size
    small = np.stack([cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST) for label in labels])
    seen = [value for value in SCENE_CLASSES if (small == value).any()]
    values = sorted(sorted(seen, key=lambda value: -int((small == value).sum()))[: min(CLASSES, num_classes)])
    targets = np.full(small.shape, _NOT_USED)
    for place, value in enumerate(values):
        targets[small == value] = place
    is_counted = num_classes < max(SCENE_CLASSES)
    return targets, tuple(range(len(values))) if is_counted else tuple(value - 1 for value in values)


def _constant(rows: np.ndarray) -> np.ndarray:
    """A direction [C] whose product with every pixel's features is about 1; it replaces a missing bias.

    Two directions are tried: the least-squares solution, and the scaled sum of the features, which suits features
    behind a ReLU. The direction whose smallest product is larger is returned.
    """
    best = np.linalg.solve(_gram(rows), rows.sum(axis=0))
    total = np.full_like(best, 1 / max(rows.sum(axis=1).mean(), 1e-9))
    return max(best, total, key=lambda direction: (rows @ direction).min())


def _gram(rows: np.ndarray) -> np.ndarray:
    gram = rows.T @ rows
    return gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))


def _extended(rows: np.ndarray, constant: np.ndarray | None) -> np.ndarray:
    """[n, C] -> [n, C + 1]: adds the column that is multiplied by the bias or by its replacement."""
    column = np.ones(len(rows)) if constant is None else rows @ constant
    return np.column_stack([rows, column])


def _fit(rows: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """Ridge regression of rows [n, C + 1] to one-hot targets -> [count, C + 1].

    A pixel has the weight 1 / sqrt(number of pixels of its class). Without weights, small classes would win nowhere.
    """
    used = targets != _NOT_USED
    rows, targets = rows[used], targets[used]
    root = np.bincount(targets, minlength=count)[targets] ** -0.25
    rows = rows * root[:, None]
    return np.linalg.solve(_gram(rows), rows.T @ (np.eye(count)[targets] * root[:, None])).T


def _let_all_win(rows: np.ndarray, weight: np.ndarray) -> None:
    """Raises the last column of `weight` [count, C + 1] until each class clearly wins its share of rows [n, C + 1].

    Each class wins by at least _MARGIN. With a smaller lead, the rounding of a runtime would decide which classes
    VIM keeps.
    """
    if len(weight) == 1:
        return
    least = max(1, round(_LEAST_SHARE * len(rows)))
    scores = rows @ weight.T
    for _ in range(_ROUNDS):
        best_two = np.partition(scores, -2, axis=1)[:, -2:]
        others = np.where(scores == best_two[:, 1:], best_two[:, :1], best_two[:, 1:])
        lacking = (_MARGIN - (scores - others)) / rows[:, -1:]  # what the last column lacks, per row and class
        needed = np.partition(lacking, least - 1, axis=0)[least - 1]
        loser = int(needed.argmax())
        if needed[loser] <= 0:
            return
        weight[loser, -1] += needed[loser] + 1e-9
        scores[:, loser] = rows @ weight[loser]


def _all_classes(weight: np.ndarray, classes: Sequence[int], num_classes: int) -> np.ndarray:
    """[len(classes), C + 1] -> [num_classes, C + 1]; the scores of the other classes are far lower."""
    everything = np.repeat(weight.mean(axis=0, keepdims=True), num_classes, axis=0)
    everything[:, -1] -= _DEPTH
    everything[list(classes)] = weight
    return everything


def _assign(classifier: nn.Conv2D, weight: np.ndarray, constant: np.ndarray | None) -> None:
    matrix, last = weight[:, :-1], weight[:, -1]
    if constant is None:
        classifier.bias.set_value(last.astype("float32"))
    else:
        matrix = matrix + last[:, None] * constant
    classifier.weight.set_value(matrix.astype("float32")[:, :, None, None])
