"""People, vehicles and boats: sprites standing on y = 0, lengths in metres."""

import numpy as np

from paddleseg_ext_tools.scenes.sprite import GLASS, PAINTS, Sprite, mix, pick

CLOTHES = (
    (188, 62, 58), (52, 88, 152), (226, 196, 96), (70, 120, 84), (236, 232, 224), (122, 74, 132), (60, 60, 68),
)  # fmt: skip
SKINS = ((232, 190, 160), (198, 146, 108), (124, 84, 60))
HAIRS = ((50, 38, 32), (120, 84, 50), (24, 22, 24))
SAILS = ((248, 244, 236), (226, 104, 76), (240, 214, 140))
CAR_SIDE = (
    (-2.1, 0.28), (-2.16, 0.62), (-2.05, 0.9), (-1.5, 0.98), (-0.95, 1.42), (-0.6, 1.49), (0.4, 1.48),
    (0.75, 1.38), (1.25, 0.97), (1.9, 0.84), (2.14, 0.6), (2.12, 0.28),
)  # fmt: skip
WHITE = (255, 255, 255)


def person(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """A standing or walking person, 1.5 to 1.85 m (the figures below are for 1.75 m)."""
    sprite, step = Sprite(1.0, 1.78, px_per_m * rng.uniform(1.5, 1.85) / 1.75), rng.uniform(0.02, 0.2)
    top, legs = (np.array(CLOTHES[i]) for i in rng.choice(len(CLOTHES), 2, replace=False))
    skin, hair = pick(rng, SKINS), pick(rng, HAIRS)
    for side, tone in ((-1, 0.7), (1, 0.85)):
        foot, hand = side * (0.07 + step), side * (0.3 + step * 0.4)
        hip, shoulder = [(side * 0.17, 0.88), (-side * 0.01, 0.88)], [(side * 0.15, 1.44), (side * 0.25, 1.4)]
        sprite.polygon([*hip, (foot - side * 0.07, 0.05), (foot + side * 0.07, 0.05)], legs * tone)
        sprite.box(foot - 0.09, 0, foot + 0.11, 0.07, (44, 38, 36))
        sprite.polygon([*shoulder, (hand + side * 0.05, 0.86), (hand - side * 0.05, 0.86)], top * 0.8)
        sprite.ellipse(hand, 0.83, 0.055, 0.06, skin)
    sprite.symmetric([(0.17, 0.84), (0.22, 1.42), (0.1, 1.5)], top)
    sprite.box(-0.05, 1.46, 0.05, 1.56, skin)
    sprite.ellipse(0, 1.65, 0.12, 0.13, hair)
    sprite.ellipse(0, 1.62, 0.1, 0.11, skin)
    return sprite


def vehicle_end(rng: np.random.Generator, px_per_m: float, front: bool, bus: bool) -> Sprite:
    """A car (1.85 x 1.5 m) or bus (2.5 x 3.1 m) seen from its front or rear."""
    w, h = (2.5, 3.1) if bus else (1.85, 1.5)
    sprite, paint = Sprite(w + 0.2, h, px_per_m), pick(rng, PAINTS)
    a, waist = w / 2, h * (0.42 if bus else 0.56)
    roof, sill = a * (0.97 if bus else 0.7), waist * 1.03
    for side in (-1, 1):
        sprite.box(side * a * 0.92 - 0.14, 0, side * a * 0.92 + 0.14, h * 0.3, (26, 26, 28))
    sprite.symmetric([(a, h * 0.12), (a, waist * 0.9), (a * 0.94, waist)], paint)
    sprite.symmetric([(a * 0.93, waist), (roof, h * 0.96), (roof * 0.9, h)], paint * 0.9)
    glass = GLASS if front else mix(GLASS, (30, 34, 40), 0.45)
    sprite.symmetric([(a * 0.82, sill), (roof * 0.9, h * 0.9)], glass)
    shine = [(-a * 0.7, sill), (-a * 0.3, sill), (roof * 0.1, h * 0.9), (-roof * 0.3, h * 0.9)]
    sprite.polygon(shine, (158, 182, 200))
    sprite.box(-a * 0.98, h * 0.12, a * 0.98, h * 0.22, paint * 0.6)
    sprite.box(-0.28, h * 0.24, 0.28, h * 0.24 + 0.14, (236, 232, 214))
    for side in (-1, 1):
        lamp = (255, 246, 206) if front else (214, 44, 40)
        sprite.ellipse(side * a * 0.76, waist * 0.72, a * 0.17, h * 0.06, lamp)
    if bus:
        sprite.box(-a * 0.7, h * 0.92, a * 0.7, h * 0.98, (40, 40, 36))
    return sprite


def _wheels(sprite: Sprite, places: tuple[float, float], radius: float) -> None:
    for x in places:
        for share, tone in ((1.0, (28, 28, 30)), (0.58, (168, 170, 174)), (0.22, (80, 82, 86))):
            sprite.ellipse(x, radius, radius * share, radius * share, tone)


def _bus_side(px_per_m: float, paint: np.ndarray) -> Sprite:
    sprite = Sprite(10.7, 3.15, px_per_m)
    outline = [(-5.2, 0.35), (5.2, 0.35), (5.25, 2.2), (5.0, 3.1), (-5.15, 3.1), (-5.25, 2.9)]
    sprite.polygon(outline, paint)
    sprite.box(-5.2, 0.95, 5.2, 1.15, mix(paint, WHITE, 0.6))
    for x in np.arange(-4.9, 4.2, 1.3):
        sprite.box(x, 1.5, x + 1.12, 2.6, GLASS)
        sprite.polygon([(x + 0.2, 1.5), (x + 0.5, 1.5), (x + 0.9, 2.6), (x + 0.6, 2.6)], (150, 176, 196))
    sprite.box(3.0, 0.5, 4.0, 2.6, mix(GLASS, (40, 44, 50), 0.4))
    _wheels(sprite, (-3.2, 2.2), 0.5)
    return sprite


def _car_side(px_per_m: float, paint: np.ndarray) -> Sprite:
    sprite = Sprite(4.4, 1.5, px_per_m)
    sprite.polygon(CAR_SIDE, paint)
    sprite.box(-2.1, 0.26, 2.1, 0.4, paint * 0.55)
    sprite.polygon([(-1.3, 0.96), (-0.82, 1.36), (-0.2, 1.4), (-0.2, 0.96)], GLASS)
    sprite.polygon([(-0.1, 0.96), (-0.1, 1.4), (0.4, 1.38), (0.62, 1.32), (1.05, 0.96)], GLASS)
    sprite.polygon([(0.1, 0.96), (0.32, 0.96), (0.52, 1.36), (0.3, 1.38)], (164, 188, 204))
    sprite.box(-0.16, 0.42, -0.13, 0.96, paint * 0.7)
    sprite.ellipse(1.98, 0.7, 0.12, 0.08, (255, 244, 206))
    sprite.ellipse(-2.06, 0.74, 0.08, 0.1, (206, 40, 40))
    _wheels(sprite, (-1.3, 1.32), 0.34)
    return sprite


def vehicle_side(rng: np.random.Generator, px_per_m: float, bus: bool) -> Sprite:
    """A car (4.3 m) or bus (10.5 m) from its side, facing left or right."""
    return (_bus_side if bus else _car_side)(px_per_m, pick(rng, PAINTS)).turned(rng)


def boat(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """A sailing boat (9 m high) or a small motor boat with a cabin."""
    sail, hull = rng.random() < 0.6, pick(rng, PAINTS)
    sprite = Sprite(7.4, 9.2 if sail else 3.2, px_per_m)
    if sail:
        cloth = pick(rng, SAILS)
        sprite.box(-0.1, 0.8, 0.1, 9.1, (110, 84, 62))
        sprite.polygon([(0.25, 1.5), (3.2, 1.6), (0.2, 9.0)], cloth)
        sprite.polygon([(-0.2, 1.5), (-2.8, 1.7), (-0.15, 8.2)], cloth * 0.88)
    else:
        sprite.polygon([(-1.6, 1.0), (1.2, 1.0), (0.8, 2.5), (-1.4, 2.5)], (240, 240, 236))
        sprite.box(-1.1, 1.6, 0.6, 2.2, GLASS)
        sprite.box(-0.4, 2.5, -0.25, 3.2, (90, 90, 90))
    sprite.polygon([(-3.2, 1.25), (3.6, 1.35), (2.6, 0), (-2.6, 0)], hull)
    sprite.polygon([(-3.2, 1.25), (3.6, 1.35), (3.45, 1.1), (-3.1, 1.02)], mix(hull, WHITE, 0.7))
    return sprite.turned(rng)
