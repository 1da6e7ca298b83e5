"""Noise, a pinhole camera and a labelled canvas.

Everything is RGB, lengths in the world are metres and the ground is the plane y = 0. A canvas blends a
shape into the picture by its coverage (0..1) and writes the shape's class wherever the coverage is at
least one half, so picture and label always come from the same mask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from paddleseg_ext_tools.scenes.light import Light
from paddleseg_ext_tools.scenes.sprite import SUBPIXEL_BITS, Colour, Sprite

Window = tuple[slice, slice]


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 4) -> np.ndarray:
    """Smooth noise float32 [height, width], about zero mean and unit deviation.

    `cells` counts the coarsest grid cells (down, across); the draws from `rng` depend only on it, not on
    the size in pixels, so that a seed gives the same scene at every size.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells[0] * 2**octave + 1, cells[1] * 2**octave + 1)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return total


@lru_cache(maxsize=1)
def _ground_tile() -> np.ndarray:
    """Noise [1024, 1024] that wraps (by mirroring). All scenes share it, each with its own offset."""
    tile = noise(np.random.default_rng(0), 512, 512, (32, 32), 4)
    tile = np.concatenate([tile, tile[::-1]])
    return np.concatenate([tile, tile[:, ::-1]], 1)


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera `eye_m` above the ground; x is to the right, z away from it."""

    height: int
    width: int
    horizon: int  # row, px
    centre: float  # column of the vanishing point, px
    focal: float  # px
    eye_m: float

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Pixel (column, row) of a point in metres, z > 0; arrays give arrays."""
        return self.centre + self.focal * x / z, self.horizon - self.focal * (y - self.eye_m) / z

    @property
    def nearest_m(self) -> float:
        """Depth of the ground at the bottom edge of the picture."""
        return self.focal * self.eye_m / (self.height - self.horizon)


class Canvas:
    """The picture float32 [H, W, 3] (0..255) and its label uint8 [H, W], with one camera and one light.

    Outlines are float [n, 2] in px, (column, row).
    """

    def __init__(self, camera: Camera, light: Light, sun_side: int, rng: np.random.Generator) -> None:
        self.camera, self.light, self.sun_side = camera, light, sun_side
        self.image = np.zeros((camera.height, camera.width, 3), np.float32)
        self.label = np.zeros((camera.height, camera.width), np.uint8)
        # World x and z of the ground that each pixel shows; far away at and above the horizon.
        rows, columns = (axis.astype(np.float32) for axis in np.ogrid[: camera.height, : camera.width])
        self.z = camera.focal * camera.eye_m / np.maximum(rows + 0.5 - camera.horizon, 0.4)
        self.x = (columns - camera.centre) * self.z / camera.focal
        self.z = np.broadcast_to(self.z, self.x.shape)
        self._shift = rng.uniform(0, 1024, 2)
        self._keep = light.keep(np.minimum(self.z, 400))[..., None]
        self._grain = 0.7 * self._ground_noise(110, 75) + 0.5 * self._ground_noise(17, 12)

    def _ground_noise(self, per_m_x: float, per_m_z: float) -> np.ndarray:
        """Noise [H, W] lying on the ground, smoother in the distance; `per_m_*` are tile texels per metre."""
        tile = _ground_tile()
        u = np.mod(self.x * per_m_x + self._shift[0], len(tile)).astype(np.float32)
        v = np.mod(self.z * per_m_z + self._shift[1], len(tile)).astype(np.float32)
        found = cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return found * np.clip(14 / self.z, 0.12, 1)

    def _window(self, points: np.ndarray) -> Window | None:
        low, high = np.floor(points.min(0)).astype(int) - 1, np.ceil(points.max(0)).astype(int) + 2
        x0, y0 = max(0, low[0]), max(0, low[1])
        x1, y1 = min(self.camera.width, high[0]), min(self.camera.height, high[1])
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def blend(self, where: Window, colour: np.ndarray, alpha: np.ndarray, label: int) -> None:
        """Mix `colour` into a window by `alpha` [h, w, 1]; pixels with alpha >= 0.5 get the class."""
        self.image[where] += (colour - self.image[where]) * alpha
        self.label[where][alpha[..., 0] >= 0.5] = label

    def _fill(self, points: np.ndarray, paint: Callable[[Window], np.ndarray], label: int) -> None:
        """Fill an outline, anti-aliased, with `paint(window)` RGB or RGBA [h, w, 3 or 4]."""
        where = self._window(points)
        if where is None:
            return
        origin = np.array([where[1].start, where[0].start])
        size = (where[0].stop - where[0].start, where[1].stop - where[1].start)
        limit = 2.0**25 / 2**SUBPIXEL_BITS
        fixed = np.round(np.clip(points - origin, -limit, limit) * 2**SUBPIXEL_BITS).astype(np.int32)
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        alpha, colour = mask[..., None].astype(np.float32) / 255, paint(where)
        if colour.shape[-1] == 4:
            alpha = alpha * colour[..., 3:] / 255
        self.blend(where, colour[..., :3], alpha, label)

    def ground(self, points: np.ndarray, colour: Colour, label: int, grain: float) -> None:
        """Fill an outline with a textured material lying on the ground."""

        def paint(where: Window) -> np.ndarray:
            keep = self._keep[where]
            textured = (1 + grain * self._grain[where])[..., None] * keep
            return self.light.lit(colour) * textured + self.light.haze * (1 - keep)

        self._fill(points, paint, label)

    def water(self, points: np.ndarray, colour: Colour, label: int) -> None:
        """Fill an outline with rippled water mirroring what is painted above the horizon."""
        horizon, height = self.camera.horizon, self.camera.height

        def paint(where: Window) -> np.ndarray:
            ripple = self._ground_noise(14, 60)[where]
            rows, columns = (axis.astype(np.float32) for axis in np.ogrid[where])
            mirrored = np.clip(2 * horizon - rows + ripple * 2.5 * height / 256, 0, horizon - 1)
            shifted = columns + ripple * 1.5 * height / 256
            shown = cv2.remap(self.image, shifted, mirrored, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            deep = np.clip(0.38 + 0.8 * (rows - horizon) / height, 0, 0.75)[..., None]
            glint = (ripple * 11)[..., None] * np.asarray(self.light.tint, np.float32)
            return shown * (1 - deep) + self.light.lit(colour) * deep + glint

        self._fill(points, paint, label)

    def wall(
        self,
        texture: np.ndarray,
        left: tuple[float, float],
        right: tuple[float, float],
        height_m: float,
        label: int,
        shade: float = 1.0,
    ) -> None:
        """Stand an RGBA texture uint8 [h, w, 4] on the ground between two points (x, z)."""
        corners = [(left, height_m), (right, height_m), (right, 0), (left, 0)]
        quad = np.asarray([self.camera.project(x, y, z) for (x, z), y in corners], np.float32)
        h, w = texture.shape[:2]
        source = np.asarray([(0, 0), (w, 0), (w, h), (0, h)], np.float32)

        def paint(where: Window) -> np.ndarray:
            (y0, y1), (x0, x1) = ((s.start, s.stop) for s in where)
            lift = cv2.getPerspectiveTransform(source, quad - np.asarray([x0, y0], np.float32))
            warped = cv2.warpPerspective(
                texture, lift, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ).astype(np.float32)
            lit = self.light.lit(warped[..., :3] * shade, (left[1] + right[1]) / 2)
            return np.concatenate([lit, warped[..., 3:]], -1)

        self._fill(quad, paint, label)

    def shadow(self, x: float, z: float, half_width: float, half_depth: float, slant: float) -> None:
        """Darken a soft ellipse of the ground but no label; `slant` moves it away from the sun, in metres."""
        x -= slant * self.sun_side
        depths = [max(z + side * half_depth, 0.5) for side in (-1, 1)]
        corners = [self.camera.project(x + side * half_width, 0, at) for side in (-1, 1) for at in depths]
        where = self._window(np.asarray(corners))
        if where is None:
            return
        reach = ((self.x[where] - x) / half_width) ** 2 + ((self.z[where] - z) / half_depth) ** 2
        self.image[where] *= 1 - self.light.shadow * np.clip(1.4 * (1 - reach), 0, 1)[..., None]

    def stamp(self, sprite: Sprite, x: float, z: float, label: int, mirror: float = 0.0) -> None:
        """Draw a sprite at (x, z); with `mirror` > 0, draw only its reflection, with that strength and no label."""
        colour, alpha = sprite.resolve()  # colour is already multiplied by coverage
        side = 1 + 0.14 * self.sun_side * np.linspace(-1, 1, sprite.width, dtype=np.float32)[:, None]
        keep = self.light.keep(z)
        colour = colour * side * np.asarray(self.light.tint, np.float32) * keep
        colour += self.light.haze * (1 - keep) * alpha
        foot_x, foot_y = self.camera.project(x, 0, z)
        left, top = round(foot_x - sprite.width / 2), round(foot_y) - sprite.height
        if mirror:
            colour, alpha, top = colour[::-1] * mirror, alpha[::-1] * mirror, round(foot_y)
        y0, y1 = max(0, top), min(self.camera.height, top + sprite.height)
        x0, x1 = max(0, left), min(self.camera.width, left + sprite.width)
        if y0 >= y1 or x0 >= x1:
            return
        inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        window = self.image[y0:y1, x0:x1]
        window += colour[inside] - window * alpha[inside]
        if not mirror:
            self.label[y0:y1, x0:x1][alpha[inside][..., 0] >= 0.5] = label
