"""What happens to an image before the graph and behind it: the definition in deploy/README.md, executed.

numpy and OpenCV alone, one image at a time, so that everything that runs a model can share it: predict.py, the
scripts of deploy/python, the server, the benchmarks. deploy/cpp has the same in C++.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from paddleseg_ext_runtime.errors import ConversionError, DataError

_MAX_SIDE = 80_000
_MAX_ELEMENTS = 1_200_000_000  # four times three channels of the largest photograph that is read
_INTERPOLATIONS = {name: getattr(cv2, f"INTER_{name}") for name in ("NEAREST", "LINEAR", "CUBIC", "AREA", "LANCZOS4")}

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Step:
    """A change of size to be undone: 'resize' or 'padding', and the (height, width) before it."""

    kind: str
    before: Size


class TooLargeError(DataError):
    """An image that would become larger than its pipeline allows."""


@dataclass
class Sample:
    """An image [H, W, C] on its way, float32, and what happened to its size."""

    image: np.ndarray
    max_elements: int
    steps: list[Step] = field(default_factory=list)

    def begin(self, kind: str, size: Size) -> None:
        """Notes a change to `size`, before memory is taken for it. Raises TooLargeError."""
        if math.prod(size) * self.image.shape[2] > self.max_elements:
            raise TooLargeError(f"an image of {_text(self.size)} would become one of {_text(size)}")
        self.steps.append(Step(kind, self.size))

    @property
    def size(self) -> Size:
        """Its height and width now."""
        return self.image.shape[:2]


Transform = Callable[[Sample], None]


class ImagePipeline:
    """The two ends of an exported model, as its deploy.yaml describes them.

    Args:
        transforms: PaddleSeg's, each a mapping with a `type`.
        input_shape: [N, C, H, W] of the graph, None (or -1) for what is open.
        color_order: of the graph's input, 'RGB' or 'BGR'; images come in OpenCV's BGR.
        max_elements: of the image, after any transform.

    Raises ConversionError for a transform or a setting that is not known, or that draws at random.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]] | None = None,
        input_shape: Sequence[int | None] = (None, 3, None, None),
        color_order: str = "RGB",
        max_elements: int = _MAX_ELEMENTS,
    ):
        self._transforms = [make_transform(entry, input_shape[1]) for entry in transforms or ()]
        self._fixed = tuple(None if length in (None, -1) else length for length in input_shape[2:])
        self._is_rgb, self._max_elements = color_order == "RGB", max_elements

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[Step, ...]]:
        """BGR [H, W, 3] or grey [H, W] -> the tensor [1, C, h, w], float32, and the steps that `restore` undoes.

        Raises DataError for an image that a transform cannot take.
        """
        image = image.astype("float32")  # before any resizing, and a copy
        if image.ndim == 2:
            image = image[:, :, np.newaxis]
        elif self._is_rgb:
            image = np.ascontiguousarray(image[:, :, ::-1])
        sample = Sample(image, self._max_elements)
        for transform in self._transforms:
            transform(sample)
        size = tuple(length or now for length, now in zip(self._fixed, sample.size, strict=True))
        if size != sample.size:
            _resize_to(sample, size)
        return np.ascontiguousarray(sample.image.transpose(2, 0, 1)[np.newaxis]), tuple(sample.steps)

    @staticmethod
    def restore(output: np.ndarray, input_size: Size, steps: Sequence[Step]) -> np.ndarray:
        """What the graph gave for one image -> int32 labels [H, W] at the size it had before `prepare`.

        `output` is labels (integers [h, w]) or scores [K, h, w]; `input_size` is what the graph was given.
        Raises ConversionError for any other output.
        """
        is_labels = np.issubdtype(output.dtype, np.integer)
        if is_labels and output.shape == tuple(input_size):
            return _undo(output.astype("int32"), steps, _nearest)
        if is_labels or output.ndim != 3 or 0 in output.shape:
            expected = f"labels {list(input_size)} or scores [K, h, w]"
            raise ConversionError(f"the graph gives {output.dtype} {list(output.shape)} an image; expected {expected}")
        return _best_class(output, input_size, steps)


def _best_class(scores: np.ndarray, input_size: Size, steps: Sequence[Step]) -> np.ndarray:
    """One class after the other: full-size scores of all would fill the memory. Of equal ones the first wins."""
    best = labels = None
    for number, plane in enumerate(scores):
        plane = _undo(_bilinear(np.ascontiguousarray(plane, "float32"), input_size), steps, _bilinear)
        if best is None:
            best, labels = plane.copy(), np.zeros(plane.shape, "int32")
            continue
        labels[plane > best] = number
        np.maximum(best, plane, out=best)
    return labels


def _undo(array: np.ndarray, steps: Sequence[Step], resize: Callable[[np.ndarray, Size], np.ndarray]) -> np.ndarray:
    for step in reversed(steps):
        height, width = step.before
        array = array[:height, :width] if step.kind == "padding" else resize(array, step.before)
    return array


def _bilinear(plane: np.ndarray, size: Size) -> np.ndarray:
    if plane.shape == tuple(size):
        return plane
    return _by_opencv(plane, size, cv2.INTER_LINEAR)


def _by_opencv(image: np.ndarray, size: Size, interpolation: int) -> np.ndarray:
    """With OpenCV's own code: Intel's, which PyPI's wheels prefer and Debian's library lacks, rounds in another way."""
    if not hasattr(cv2, "ipp"):
        return cv2.resize(image, (size[1], size[0]), interpolation=interpolation)
    before = cv2.ipp.useIPP()  # of this thread alone
    cv2.ipp.setUseIPP(False)
    try:
        return cv2.resize(image, (size[1], size[0]), interpolation=interpolation)
    finally:
        cv2.ipp.setUseIPP(before)


def _nearest(labels: np.ndarray, size: Size) -> np.ndarray:
    """The pixel that holds the centre of each new one, in whole numbers: OpenCV's would lie half a pixel off."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, labels.shape, strict=True))
    return labels[rows[:, np.newaxis], columns]


def _resize_to(sample: Sample, size: Size, interpolation: int = cv2.INTER_LINEAR) -> None:
    if min(size) < 1 or max(size) > _MAX_SIDE:
        raise DataError(f"an image of {_text(sample.size)} would be resized to {_text(size)}")
    sample.begin("resize", size)
    channels = sample.image.shape[2]
    image = _by_opencv(sample.image, size, interpolation)
    sample.image = image.reshape(*size, channels)  # OpenCV drops a single channel


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]} (width x height)"


def _scaled(size: Size, scale: float) -> Size:
    return round(size[0] * scale), round(size[1] * scale)


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= _MAX_SIDE:
        raise ValueError(f"{name} is {value!r}")
    return value


def _target(target_size: Any) -> Size:
    """PaddleSeg's [width, height]."""
    if not isinstance(target_size, list | tuple) or len(target_size) != 2:
        raise ValueError(f"target_size is {target_size!r}, not width and height")
    width, height = (_positive("target_size", side) for side in target_size)
    return height, width


def _resize(
    target_size: Any = (512, 512), interp: str = "LINEAR", keep_ratio: bool = False, size_divisor: int | None = None
) -> Transform:
    target = _target(target_size)
    if interp not in _INTERPOLATIONS:
        raise ValueError(f"interp is {interp!r}; of {' '.join(_INTERPOLATIONS)} each gives the same result twice")
    if size_divisor:
        _positive("size_divisor", size_divisor)

    def apply(sample: Sample) -> None:
        size, now = target, sample.size
        if keep_ratio:
            size = _scaled(now, min(max(target) / max(now), min(target) / min(now)))
        if size_divisor:
            size = tuple(math.ceil(side / size_divisor) * size_divisor for side in size)
        _resize_to(sample, size, _INTERPOLATIONS[interp])

    return apply


def _resize_by_long(long_size: int) -> Transform:
    _positive("long_size", long_size)
    return lambda sample: _resize_to(sample, _scaled(sample.size, long_size / max(sample.size)))


def _resize_by_short(short_size: int, max_size: float | None = None) -> Transform:
    """PaddleSeg keeps the side that `max_size` shortened for all images that follow; here each is on its own."""
    if isinstance(short_size, list | tuple):
        raise ValueError("it draws short_size at random; give one number")
    _positive("short_size", short_size)

    def apply(sample: Sample) -> None:
        side, longest, shortest = short_size, max(sample.size), min(sample.size)
        if max_size is not None and side / shortest * longest > max_size:
            side = int(max_size / longest * shortest)
        _resize_to(sample, _scaled(sample.size, side / shortest))

    return apply


def _limit_long(max_long: int | None = None, min_long: int | None = None) -> Transform:
    for name, value in (("max_long", max_long), ("min_long", min_long)):
        if value:
            _positive(name, value)
    if max_long and min_long and min_long > max_long:
        raise ValueError(f"min_long is {min_long}, max_long {max_long}")

    def apply(sample: Sample) -> None:
        now = max(sample.size)
        target = max_long if max_long and now > max_long else max(now, min_long or now)
        if target != now:
            _resize_to(sample, _scaled(sample.size, target / now))

    return apply


def _pad_to(sample: Sample, size: Size, value: float) -> None:
    height, width = sample.size
    if height > size[0] or width > size[1]:
        raise DataError(f"the image is {_text(sample.size)} before Padding to {_text(size)}, which is smaller")
    sample.begin("padding", size)
    padded = np.full((*size, sample.image.shape[2]), value, "float32")
    padded[:height, :width] = sample.image
    sample.image = padded


def _padding(target_size: Any, im_padding_value: float = 127.5, label_padding_value: int = 255) -> Transform:
    target, value = _target(target_size), float(im_padding_value)
    return lambda sample: _pad_to(sample, target, value)


def _padding_by_aspect_ratio(
    aspect_ratio: float = 1.0, im_padding_value: float = 127.5, label_padding_value: int = 255
) -> Transform:
    value = float(im_padding_value)
    if not 1e-3 < float(aspect_ratio) < 1e3:
        raise ValueError(f"aspect_ratio is {aspect_ratio!r}")

    def apply(sample: Sample) -> None:
        height, width = sample.size
        if width / height > aspect_ratio:
            height = int(width / aspect_ratio)
        elif width / height < aspect_ratio:
            width = int(height * aspect_ratio)
        if (height, width) != sample.size:
            _pad_to(sample, (height, width), value)

    return apply


def _normalize(channels: int | None, mean: Sequence[float] = (0.5,), std: Sequence[float] = (0.5,)) -> Transform:
    mean, std = np.asarray(mean, "float64"), np.asarray(std, "float64")
    if not {mean.shape, std.shape} <= {(1,), (channels or mean.size,)} or not std.all():
        needed = f"one value or {channels or mean.size} values each, std without a 0"
        raise ValueError(f"mean is {mean.tolist()}, std {std.tolist()}: {needed}")

    def apply(sample: Sample) -> None:
        values, given = max(mean.size, std.size), sample.image.shape[2]
        if values not in (1, given):
            raise DataError(f"Normalize has values for {values} channels; the image has {given}")
        # Each step rounds to float32, the values being float64, as in training.
        sample.image /= np.float32(255)
        np.subtract(sample.image, mean, out=sample.image, casting="same_kind")
        np.divide(sample.image, std, out=sample.image, casting="same_kind")

    return apply


_MAKERS: dict[str, Callable[..., Transform]] = {
    "LimitLong": _limit_long,
    "Normalize": _normalize,
    "Padding": _padding,
    "PaddingByAspectRatio": _padding_by_aspect_ratio,
    "Resize": _resize,
    "ResizeByLong": _resize_by_long,
    "ResizeByShort": _resize_by_short,
}


def make_transform(entry: Mapping[str, Any], channels: int | None) -> Transform:
    """The transform a yaml names, as a function that changes a sample of `channels` (None: of any number).

    Raises ConversionError as `ImagePipeline`.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise ConversionError(f"each of the transforms must be a mapping with a type, got {entry!r}")
    settings = dict(entry)
    name = settings.pop("type")
    if name not in _MAKERS:
        raise ConversionError(
            f"the transform {name!r} cannot be executed outside of training; those that can: {' '.join(_MAKERS)}"
        )
    try:
        return _MAKERS[name](**settings) if name != "Normalize" else _normalize(channels, **settings)
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix(f"{_MAKERS[name].__name__}() ")
        raise ConversionError(f"the transform {name}: {reason}") from error
