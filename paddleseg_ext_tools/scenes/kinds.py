"""The kinds of scene, and a function that draws one scene from a seed."""

import numpy as np

from paddleseg_ext_tools.scenes.sprite import pick
from paddleseg_ext_tools.scenes.world import ASPHALT, EARTH, PAINT, PAVING, SAND, SIDEWALK, WATER, World

SEAS = ((38, 104, 140), (48, 124, 138), (58, 106, 132))
BEACH, FOAM, DIRT = ((221, 199, 153), SAND, 0.05), ((228, 236, 236), WATER, 0), ((158, 140, 110), EARTH, 0.1)
GRAVEL = ((188, 178, 160), SIDEWALK, 0.06)


def _street(rng: np.random.Generator, size: tuple[int, int]) -> World:
    world = World(rng, size, (0.46, 0.56), (2.0, 3.0))
    half, walk, verge = rng.uniform(3.2, 4.4), rng.uniform(1.8, 2.8), rng.uniform(0, 3.0)
    edge = half + walk + verge + 0.2
    world.sky()
    if rng.random() < 0.4:
        world.mountains(rng.uniform(0.1, 0.2), 2)
    world.meadow()
    world.road(half, walk)
    for side in (-1, 1):
        if rng.random() < 0.78:
            world.row_of_buildings(side, edge, 110)
        else:
            for z in np.arange(rng.uniform(12, 18), 90, 15):
                world.house(side * (edge + 8), z)
            world.fence_along(side * (half + walk + 0.5), 60, (206, 196, 178))
        for z in np.arange(rng.uniform(7, 14), 80, rng.uniform(10, 18)):
            world.tree(side * (half + walk * 0.85 + verge * 0.4), z, 3.8, 6.0)
        for z in np.arange(rng.uniform(8, 14), 75, 16):
            world.lamp(side * (half + 0.5), z, -side)
    world.traffic(half, 1, 3, bus=0.16)
    world.walkers(1, 5, half, walk)
    return world


def _pond(world: World) -> None:
    """A pond 17 m away with an earthen bank and rocks; first paints the objects behind it."""
    rng, turn = world.rng, np.linspace(0, 2 * np.pi, 60, endpoint=False)
    world.paint_objects(beyond_m=24)
    wave = 1 + 0.09 * np.sin(turn * 3 + rng.uniform(0, 6)) + 0.05 * np.sin(turn * 5 + rng.uniform(0, 6))
    x, z = world.spread(17, 0.75), rng.uniform(17, 20)
    bank, shore = (
        np.stack(world.camera.project(x + np.cos(turn) * wide * wave, 0, z + np.sin(turn) * deep * wave), 1)
        for wide, deep in ((9.6, 6.4), (9, 6))
    )
    world.canvas.ground(bank, *DIRT)
    world.canvas.water(shore, (66, 104, 112), WATER)
    world.rocks(1, 4, lambda: (x + world.side() * rng.uniform(9, 11), z + rng.uniform(-4, 4)))


def _park(rng: np.random.Generator, size: tuple[int, int]) -> World:
    world = World(rng, size, (0.4, 0.5), (2.4, 3.6))
    world.sky()
    if rng.random() < 0.6:
        world.mountains(rng.uniform(0.1, 0.22), rng.integers(2, 4))
    world.meadow()
    for side in (-1, 1):
        if rng.random() < 0.5:
            world.building(side * rng.uniform(12, 40), rng.uniform(60, 90), 110, rng.uniform(18, 30))
    for _ in world.some(14, 23):
        z = rng.uniform(38, 80)
        world.tree(world.spread(z), z, 5, 10, fir=0.3)
    if rng.random() < 0.5:
        world.house(world.spread(36, 0.9), 36)
    if rng.random() < 0.75:
        _pond(world)
    else:
        sway, start = rng.uniform(-4, 4), rng.uniform(-3, 3)
        world.bend = lambda z: start + sway * np.sin(z / 7.0)
        world.strip(-1.3, 1.3, GRAVEL, far=45)
    if rng.random() < 0.5:
        world.fence_across(rng.uniform(24, 30), (190, 160, 120))
    for _ in world.some(2, 4):
        z = rng.uniform(7, 9.5)
        world.tree(world.spread(z), z, 3.2, 5.5, fir=0.2)
    world.people(1, 4, lambda: (world.spread(7, 0.95), rng.uniform(6, 9.5)))
    return world


def _seaside(rng: np.random.Generator, size: tuple[int, int]) -> World:
    world = World(rng, size, (0.36, 0.48), (3.2, 4.2))
    world.sky()
    if rng.random() < 0.75:
        world.mountains(rng.uniform(0.08, 0.18), 2, lean=world.side())
    promenade, shore, near = rng.random() < 0.6, rng.uniform(22, 34), world.camera.nearest_m
    world.canvas.water(world.expanse(), pick(rng, SEAS), WATER)
    world.boats(2, 5, shore + 8, 75, world.spread)
    world.paint_objects()
    world.band(FOAM, shore * 1.06, wavy=0.06)
    world.band(BEACH, shore, wavy=0.05)
    if promenade:
        world.band(PAVING, near + 7.8)
        for far, material in ((6.2, ASPHALT), (3.55, PAINT), (3.4, ASPHALT)):
            world.band(material, near + far)
        world.band(PAVING, near + 1.0)
        world.traffic_across(near + 4.6, 1, 2, bus=0.25)
        world.traffic_across(near + 2.3, 0, 1, bus=0)
        if rng.random() < 0.5:
            world.fence_across(near + 7.9, (232, 228, 218))
        for x in np.arange(rng.uniform(-12, -6), 14, 9):
            world.lamp(x, near + 7.0, 1)
    else:
        world.meadow(near + rng.uniform(0.5, 2.0), wavy=0.05)
    back = near + (9 if promenade else 2.5)
    world.people(2, 6, lambda: (world.spread(back + 1, 0.95), rng.uniform(back, back + 4)))
    world.rocks(2, 6, lambda: (world.spread(shore, 0.98), shore * rng.uniform(0.6, 1.0)), 4.0)
    return world


def _mountain_road(rng: np.random.Generator, size: tuple[int, int]) -> World:
    world = World(rng, size, (0.46, 0.56), (2.4, 3.6))
    world.sky()
    world.mountains(rng.uniform(0.24, 0.38), rng.integers(2, 5), snow=rng.random() < 0.6)
    world.meadow()
    side, near = world.side(), world.camera.nearest_m
    if rng.random() < 0.6:
        world.canvas.water(world.lane(side * 14, side * 400, 32, 170), (58, 104, 122), WATER)
    sway, phase, half = rng.uniform(1.5, 5), rng.uniform(0, 6), rng.uniform(2.8, 3.6)
    world.bend = lambda z: sway * (np.sin(z / 17 + phase) - np.sin(near / 17 + phase))
    world.strip(-half - 1, half + 1, DIRT)
    world.road(half, walk=0)
    world.fence_along(side * (half + 0.8), 50, (196, 184, 164))
    world.traffic(half, 0, 2, bus=0.12)
    if rng.random() < 0.55:
        world.house(*world.at(-side * rng.uniform(14, 18), 30))
    for _ in world.some(10, 23):
        z = rng.uniform(9, 75)
        world.tree(*world.at(rng.choice((-1, 1, -side)) * (half + rng.uniform(4, 30)), z), 4, 9, fir=0.7)
    world.rocks(2, 6, lambda: (-side * (half + rng.uniform(2.2, 5)), rng.uniform(7, 16)))
    return world


def _coast_street(rng: np.random.Generator, size: tuple[int, int]) -> World:
    world = World(rng, size, (0.42, 0.5), (2.6, 3.4))
    sea, half, walk = world.side(), rng.uniform(3.0, 3.8), rng.uniform(1.8, 2.4)
    edge = half + walk
    world.sky()
    world.mountains(rng.uniform(0.14, 0.24), 3, lean=sea * 0.6)
    world.meadow()
    world.canvas.water(world.lane(sea * (edge + 11), sea * 30000, far=5000), (44, 110, 138), WATER)
    world.boats(1, 3, 30, 65, lambda z: sea * rng.uniform(edge + 18, edge + 45))
    world.paint_objects()
    world.strip(sea * (edge + 10), sea * (edge + 11.3), FOAM)
    world.strip(sea * (edge + 1.6), sea * (edge + 10.6), BEACH)
    world.road(half, walk)
    world.row_of_buildings(-sea, edge + 1.5, 34)
    for z in np.arange(40, 110, 17):
        world.house(-sea * (edge + 9), z)
    world.fence_along(sea * (edge + 1.6), 60, (228, 222, 210))
    for z in np.arange(rng.uniform(9, 13), 70, 15):
        world.lamp(sea * (edge - 0.4), z, -sea)
    for z in np.arange(rng.uniform(9, 14), 70, 12):
        world.tree(-sea * (edge + 0.6), z, 3.8, 6)
    world.traffic(half, 1, 3, bus=0.3)
    world.rocks(3, 7, lambda: (sea * (edge + rng.uniform(8, 13)), rng.uniform(11, 28)), 4.0)
    world.walkers(2, 5, half, walk)
    return world


KINDS = {
    "street": (_street, 0.28),
    "park": (_park, 0.2),
    "seaside": (_seaside, 0.18),
    "mountain road": (_mountain_road, 0.18),
    "coast street": (_coast_street, 0.16),
}  # the function that makes the scene, its share of all scenes


def scene_kind(seed: int) -> str:
    """The kind of scene `make_scene` draws for this seed, a key of KINDS."""
    return str(np.random.default_rng(seed).choice(list(KINDS), p=[share for _, share in KINDS.values()]))


def make_scene(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene: RGB uint8 [H, W, 3] and label uint8 [H, W] (keys of SCENE_CLASSES, 0 = none).

    The same seed and size give the same bits; the same seed at another size shows the same world.
    Raises ValueError when a side is below 32 px.
    """
    if min(height, width) < 32:
        raise ValueError(f"scenes need at least 32 x 32 px, got {height} x {width}")
    make, _ = KINDS[scene_kind(seed)]
    world = make(np.random.default_rng((seed, 1)), (height, width))
    world.paint_objects()
    grain = np.random.default_rng((seed, 2)).standard_normal((height, width, 1), np.float32)
    image = np.clip(world.canvas.image + 1.6 * grain, 0, 255).astype(np.uint8)
    return image, world.canvas.label
