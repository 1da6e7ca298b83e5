"""Trees and rocks: sprites standing on y = 0, lengths in metres."""

import numpy as np

from paddleseg_ext_tools.scenes.sprite import Sprite, pick

GREENS = ((74, 116, 52), (92, 130, 56), (60, 104, 58), (112, 128, 54))


def leafy_tree(rng: np.random.Generator, px_per_m: float, height: float) -> Sprite:
    """A broad tree: a forked trunk under four layers of leaf clusters, lighter towards the top."""
    sprite, crown = Sprite(1, 1, px_per_m * height), rng.uniform(0.26, 0.34)  # in units of its height
    bark, leaf = (96, 76, 58), pick(rng, GREENS) * rng.uniform(0.85, 1.15)
    sprite.symmetric([(0.0525, 0), (0.0245, 0.5)], bark)
    for side in (-1, 1):
        sprite.polygon([(-0.035, 0.28), (0.035, 0.28), (side * crown * 0.7, 0.55)], bark)
    for tone, lift, count in ((0.62, -0.2, 14), (0.85, 0.0, 14), (1.08, 0.16, 12), (1.3, 0.3, 7)):
        for u, v, size, shine in rng.random((count, 4)):
            angle, reach = 2 * np.pi * u, np.sqrt(v) * (1 - max(lift, 0)) * crown
            radius = crown * (0.2 + 0.16 * size) * (1 - 0.6 * max(lift, 0))
            x, y = np.cos(angle) * reach, 0.64 + np.sin(angle) * reach * 0.8 + crown * lift
            sprite.ellipse(x, y, radius * 1.15, radius, leaf * tone * (0.94 + 0.12 * shine))
    return sprite


def conifer(rng: np.random.Generator, px_per_m: float, height: float) -> Sprite:
    """A fir: ragged tiers narrowing to the top."""
    sprite, leaf = Sprite(0.6, 1, px_per_m * height), np.array((46, 84, 62)) * rng.uniform(0.8, 1.2)
    sprite.box(-0.025, 0, 0.025, 0.2, (84, 64, 50))
    for i in range(7):
        base, half = 0.1 + 0.78 * i / 7, 0.26 * (1 - i / 7 * 0.85)
        tip = (0, min(base + 0.26, 1))
        hem = [(x * half, base + rng.uniform(0, 0.05) * (k % 2)) for k, x in enumerate(np.linspace(-1, 1, 9))]
        sprite.polygon([*hem, tip], leaf * (0.82 + 0.05 * i))
        sprite.polygon([(half * 0.1, base + 0.04), (half * 0.7, base + 0.03), tip], leaf * (1 + 0.05 * i))
    return sprite


def rock(rng: np.random.Generator, px_per_m: float, size: float) -> Sprite:
    """A boulder `size` metres wide with a lit top and a dark foot."""
    sprite, tone = Sprite(1.1, 0.75, px_per_m * size), np.array((138, 130, 122)) * rng.uniform(0.8, 1.15)
    angle = np.linspace(np.pi, 0, 9)
    outline = np.stack([np.cos(angle) / 2, np.sin(angle) * 0.6], 1) * rng.uniform(0.78, 1.1, (9, 1))
    outline[:, 1] = np.maximum(outline[:, 1], 0)
    sprite.polygon(outline, tone * 0.8)
    top = (rng.uniform(-0.12, 0.12), 0.3)
    for i in range(8):
        sprite.polygon([outline[i], outline[i + 1], top], tone * rng.uniform(0.72, 1.22))
    return sprite
