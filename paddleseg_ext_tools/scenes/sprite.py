"""A sprite: a small picture with coverage, on which one object is drawn in metres. Also picks from palettes."""

from collections.abc import Sequence

import cv2
import numpy as np

Colour = Sequence[float] | np.ndarray
Points = Sequence[tuple[float, float]] | np.ndarray
SUBPIXEL_BITS = 4  # cv2 takes fixed-point coordinates
PAINTS = (
    (186, 44, 40), (44, 84, 160), (226, 228, 230), (52, 56, 62), (214, 170, 52), (150, 156, 162), (58, 120, 92),
)  # fmt: skip
GLASS = (96, 122, 146)


def pick(rng: np.random.Generator, palette: Sequence[Colour]) -> np.ndarray:
    """One colour of `palette`."""
    return np.asarray(palette[rng.integers(len(palette))], float)


def mix(a: Colour, b: Colour, t: float | np.ndarray) -> np.ndarray:
    """`a` turning into `b` as `t` goes from 0 to 1."""
    return np.asarray(a, float) * (1 - t) + np.asarray(b, float) * t


class Sprite:
    """A picture `width` x `height` metres with coverage; x runs from its middle, y up from the ground."""

    def __init__(self, width: float, height: float, px_per_m: float) -> None:
        self.width, self.height = max(1, round(width * px_per_m)), max(1, round(height * px_per_m))
        supersampling = 4 if self.height < 48 else 2
        self._fixed = px_per_m * supersampling * 2**SUBPIXEL_BITS  # fixed-point units per metre
        self.pixels = np.zeros((self.height * supersampling, self.width * supersampling, 4), np.uint8)

    def _at(self, points: Points) -> np.ndarray:
        """Points in metres to cv2's fixed-point (column, row)."""
        rows, columns = self.pixels.shape[:2]
        origin = np.array([columns / 2, rows]) * 2**SUBPIXEL_BITS
        return np.round(origin + np.asarray(points, float) * (self._fixed, -self._fixed)).astype(np.int32)

    @staticmethod
    def _ink(colour: Colour) -> tuple[float, ...]:
        return (*(min(255.0, float(c)) for c in colour), 255.0)

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill an outline of (x, y) points."""
        cv2.fillPoly(self.pixels, [self._at(points)], self._ink(colour), cv2.LINE_8, SUBPIXEL_BITS)

    def symmetric(self, half: Points, colour: Colour) -> None:
        """Fill a symmetric outline, given its right half from bottom to top."""
        self.polygon([*half, *((-x, y) for x, y in reversed(half))], colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse with the given half axes."""
        middle, axes = self._at([(x, y)])[0].tolist(), (round(rx * self._fixed), round(ry * self._fixed))
        ink = self._ink(colour)
        cv2.ellipse(self.pixels, middle, axes, 0, 0, 360, ink, -1, cv2.LINE_8, SUBPIXEL_BITS)

    def turned(self, rng: np.random.Generator) -> "Sprite":
        """This sprite, mirrored with probability 1/2."""
        if rng.random() < 0.5:
            self.pixels = np.ascontiguousarray(self.pixels[:, ::-1])
        return self

    def resolve(self) -> tuple[np.ndarray, np.ndarray]:
        """Colour multiplied by coverage float32 [h, w, 3] and coverage float32 [h, w, 1], at the final size."""
        small = cv2.resize(self.pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)
        small = small.astype(np.float32)
        return small[..., :3], small[..., 3:] / 255
