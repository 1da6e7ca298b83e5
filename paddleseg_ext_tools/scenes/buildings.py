"""Draws houses and lamps as sprites, and town fronts and fences as RGBA textures uint8 [h, w, 4]."""

import cv2
import numpy as np

from paddleseg_ext_tools.scenes.sprite import GLASS, PAINTS, Colour, Sprite, mix, pick

WALLS = (
    (188, 170, 148), (164, 108, 86), (206, 198, 184), (140, 146, 154), (198, 160, 112), (120, 128, 140),
    (176, 138, 122),
)  # fmt: skip
RENDERS = ((236, 226, 204), (226, 200, 160), (206, 214, 216), (214, 176, 150))
ROOFS = ((166, 82, 60), (120, 66, 54), (92, 96, 108))


def house(rng: np.random.Generator, px_per_m: float, lit: bool) -> Sprite:
    """A family house, 11 x 7 m: its gable faces us, and its roof runs back to one side."""
    sprite, wall, roof = Sprite(11.4, 7.4, px_per_m), pick(rng, RENDERS), pick(rng, ROOFS)
    sprite.box(2.8, 5.2, 3.6, 7.3, roof * 0.7)
    sprite.box(-0.6, 0, 5.4, 3.4, wall * 0.86)
    sprite.polygon([(-5.4, 0), (-0.4, 0), (-0.4, 3.4), (-2.9, 6.4), (-5.4, 3.4)], wall)
    sprite.polygon([(-3.1, 6.75), (3.9, 6.75), (5.7, 3.2), (-0.5, 3.2)], roof)
    for y in np.arange(3.7, 6.7, 0.5):
        sprite.box(-0.5 - (y - 3.2) * 0.72, y, 5.5 - (y - 3.2) * 0.5, y + 0.09, roof * 0.86)
    gable = [(-5.7, 3.0), (-5.45, 3.0), (-2.9, 6.3), (-0.45, 3.0), (-0.15, 3.2), (-2.9, 6.8)]
    sprite.polygon(gable, roof * 0.72)
    sprite.box(-3.4, 0, -2.4, 2.1, roof * 0.55)
    for x, y in ((-4.7, 1.0), (-1.8, 1.0), (-3.35, 3.7), (0.8, 1.1), (3.2, 1.1)):
        sprite.box(x - 0.1, y - 0.1, x + 1.0, y + 1.3, (246, 244, 238))
        for left in (x, x + 0.48):
            sprite.box(left, y, left + 0.42, y + 1.2, (255, 222, 140) if lit else (92, 110, 128))
    return sprite.turned(rng)


def streetlight(_: np.random.Generator, px_per_m: float, side: int, on: bool) -> Sprite:
    """A 6.5 m lamp post whose arm reaches `side`ways; at least two and a half pixels thick."""
    sprite, t, x = Sprite(3.4, 6.7, px_per_m), max(0.1, 1.25 / px_per_m), side * 1.2
    sprite.symmetric([(t * 1.3, 0), (t * 0.9, 6.4)], (74, 80, 84))
    sprite.box(min(0, side * 1.3), 6.4 - t, max(0, side * 1.3), 6.4 + t, (74, 80, 84))
    sprite.box(x - 0.45, 6.3 - t, x + 0.45, 6.6, (58, 62, 66))
    sprite.box(x - 0.38, 6.12 - t, x + 0.38, 6.34 - t, (255, 236, 170) if on else (226, 228, 222))
    return sprite


def facade(rng: np.random.Generator, floors: int, bays: int, lamps: float, floor_px: float) -> np.ndarray:
    """RGBA texture of a town front: windows over a shop floor, a cornice; `lamps` is the share of lit windows."""
    wall = pick(rng, WALLS) * rng.uniform(0.88, 1.1)
    cell, tall = np.tile(wall, (30, 24, 1)), bool(rng.integers(2))
    cell[4 if tall else 7 : 25, 5:19] = mix(wall, (245, 242, 235), 0.55)
    lit, pane = rng.random((floors, bays)) < lamps, rng.uniform(0.6, 1.25, (floors, bays, 1))
    glass = np.where(lit[..., None], (255, 218, 140), np.asarray(GLASS) * pane)
    panes = np.zeros((30, 24), bool)
    panes[(5 if tall else 8) : 24, 6:18] = True
    panes[:, 12], panes[14] = False, False
    picture = np.tile(cell, (floors, bays, 1))
    picture = np.where(np.tile(panes, (floors, bays))[..., None], glass.repeat(30, 0).repeat(24, 1), picture)
    picture[-30:] = wall * 0.7
    for bay in range(bays):
        picture[-25:-4, bay * 24 + 2 : bay * 24 + 21] = glass[-1, bay] * 0.9
    picture[-30:-26] = pick(rng, PAINTS) * 0.8
    picture[:4] = wall * 0.72
    picture = np.pad(np.clip(picture, 0, 255), ((0, 0), (0, 0), (0, 1)), constant_values=255)
    size = [max(2, round(side * min(1.0, floor_px / 30))) for side in (picture.shape[1], picture.shape[0])]
    return cv2.resize(picture.astype(np.uint8), size, interpolation=cv2.INTER_AREA)


def planks(colour: Colour) -> np.ndarray:
    """RGBA texture of 2 m of wooden fence, closed, with pointed tops."""
    texture = np.zeros((48, 96, 4), np.uint8)
    texture[8:] = (*(int(c * 0.62) for c in colour), 255)
    for k, x in enumerate(range(0, 96, 12)):
        ink = (*(float(c) * (0.92 + 0.08 * (k % 3)) for c in colour), 255)
        cv2.fillPoly(texture, [np.array([(x + 1, 48), (x + 1, 6), (x + 5, 0), (x + 9, 6), (x + 9, 48)])], ink)
    for y in (12, 34):
        texture[y : y + 5] = (*(int(c * 0.78) for c in colour), 255)
    return texture
