"""Whether two runs of one model agree: inputs to compare at, the comparison, and the limits of what is accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.log import get_logger

MIN_EQUAL_LABELS = 0.999
MAX_SCORE_ERROR = 5e-3
OPEN_SIZES = ((256, 384), (203, 317))  # of which the second is no multiple of anything
EVEN_SIZES = ((256, 384), (320, 256))  # for a network that cannot take it
_SCENE = Path(__file__).with_name("check_scene.jpg")  # paddleseg_ext_tools/scenes drew it: make_scene(4, 512, 512)


@dataclass(frozen=True)
class Agreement:
    """How two runs compare over all checked inputs; the first is what the second should give.

    `equal` is the fraction of equal labels, or of scores within the tolerance; `error` the largest
    difference of scores over their standard deviation (0 for labels).
    """

    equal: float
    error: float
    is_labels: bool

    @property
    def is_good(self) -> bool:
        """Whether the second may take the place of the first."""
        return self.equal >= MIN_EQUAL_LABELS if self.is_labels else self.error <= MAX_SCORE_ERROR

    def __str__(self) -> str:
        if self.is_labels:
            return f"{100 * self.equal:.4f} % of the labels are equal"
        return f"the scores differ by at most {self.error:.1e} of their standard deviation"


@dataclass(frozen=True)
class Checked:
    """Inputs, and what something that is right about them gave for each."""

    by: str
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]


def check_shapes(input_shape: Sequence[int | None], open_sizes: Sequence[tuple] = OPEN_SIZES) -> list[list[int]]:
    """Concrete shapes to check at: the one exported, or `open_sizes` when height or width are open."""
    batch, channels, height, width = input_shape
    sizes = open_sizes if height is None or width is None else ((height, width),)
    return [[batch or 1, channels, height or h, width or w] for h, w in sizes]


def normalisation(transforms: Sequence[dict], channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [C] of the values from 0 to 1, as `Normalize` of a yaml's transforms has them."""
    normalize = next((item for item in transforms if item.get("type") == "Normalize"), {})
    mean, std = (np.resize(np.asarray(normalize.get(key, 0.5), "float32"), channels) for key in ("mean", "std"))
    return mean, std


def check_input(shape: Sequence[int], transforms: Sequence[dict]) -> np.ndarray:
    """A scene [B, C, H, W], normalised as the model's images are: noise would leave most logits in a tie."""
    batch, channels, height, width = shape
    mean, std = normalisation(transforms, channels)
    scene, _ = ImagePipeline(input_shape=(1, 3, height, width)).prepare(cv2.imread(str(_SCENE)))
    pixels = scene[:, np.arange(channels) % 3] / np.float32(255)
    return np.repeat((pixels - mean[:, None, None]) / std[:, None, None], batch, axis=0)


def run_at_sizes(
    input_shape: Sequence[int | None],
    transforms: Sequence[dict],
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]],
    name: str,
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Inputs to check at and what `run` gives for them; where it refuses the odd size, with a word, of even ones."""
    inputs = [check_input(shape, transforms) for shape in check_shapes(input_shape)]
    try:
        return inputs, run(inputs)
    except ConversionError as error:
        if len(inputs) == 1:
            raise
        inputs = [check_input(shape, transforms) for shape in check_shapes(input_shape, EVEN_SIZES)]
        outputs = run(inputs)
        get_logger().warning("%s does not take every size: %s", name, str(error).splitlines()[0])
        return inputs, outputs


def compare(
    expected: Sequence[np.ndarray], actual: Sequence[np.ndarray], is_labels: bool, names: tuple[str, str]
) -> Agreement:
    """Compares the results for each input; `names` are those of the two sides in the error.

    Raises ConversionError when a shape or a dtype differs.
    """
    equal, error = 1.0, 0.0
    for wanted, got in zip(expected, actual, strict=True):
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            raise ConversionError(
                f"{names[1]} gives {got.dtype} {list(got.shape)}, {names[0]} {wanted.dtype} {list(wanted.shape)}"
            )
        difference = np.abs(got - wanted) / max(float(wanted.std()), 1e-6)
        difference = np.nan_to_num(difference, nan=np.inf)  # what is not a number agrees with nothing
        equal = min(equal, float((difference <= (0 if is_labels else MAX_SCORE_ERROR)).mean()))
        error = max(error, 0.0 if is_labels else float(difference.max()))
    return Agreement(equal, error, is_labels)
