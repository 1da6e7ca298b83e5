"""A scene while it is made: its canvas, the backdrop, the ground, and objects placed in metres."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from paddleseg_ext_tools.scenes.buildings import facade, house, planks, streetlight
from paddleseg_ext_tools.scenes.canvas import Camera, Canvas, noise
from paddleseg_ext_tools.scenes.light import LIGHT_SHARES, LIGHTS
from paddleseg_ext_tools.scenes.nature import conifer, leafy_tree, rock
from paddleseg_ext_tools.scenes.sprite import Colour, Sprite, mix, pick
from paddleseg_ext_tools.scenes.traffic import boat, person, vehicle_end, vehicle_side

# The label values of these classes in ADE20K's annotations.
BUILDING, SKY, TREE, ROAD, GRASS, SIDEWALK, PERSON, EARTH = 2, 3, 5, 7, 10, 12, 13, 14
MOUNTAIN, CAR, WATER, HOUSE, FENCE, ROCK, SAND = 17, 21, 22, 26, 33, 35, 47
BOAT, BUS, STREETLIGHT = 77, 81, 88

SCENE_CLASSES: dict[int, str] = {
    BUILDING: "building", SKY: "sky", TREE: "tree", ROAD: "road", GRASS: "grass", SIDEWALK: "sidewalk",
    PERSON: "person", EARTH: "earth", MOUNTAIN: "mountain", CAR: "car", WATER: "water", HOUSE: "house",
    FENCE: "fence", ROCK: "rock", SAND: "sand", BOAT: "boat", BUS: "bus", STREETLIGHT: "streetlight",
}  # fmt: skip
RANGES = ((104, 112, 96), (112, 104, 98), (86, 108, 84))
MEADOWS = ((104, 146, 62), (118, 150, 70), (88, 134, 64))

Material = tuple[Colour, int, float]  # colour, class, grain
PAVING, KERB = ((176, 170, 162), SIDEWALK, 0.06), ((206, 202, 196), SIDEWALK, 0.06)
ASPHALT, PAINT = ((88, 89, 94), ROAD, 0.05), ((224, 222, 212), ROAD, 0.06)

Range = tuple[float, float]
Place = Callable[[], tuple[float, float]]


def _smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth ramp between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class World:
    """A canvas with its camera and light, and the objects that wait to be painted from far to near.

    Places are (x, z) in metres; `bend` is the centre line of the road, x over z.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], horizon: Range, eye_m: Range) -> None:
        """`size` is (height, width) in px; `horizon` is a share of the height."""
        (height, width), self.rng = size, rng
        row, eye = round(height * rng.uniform(*horizon)), rng.uniform(*eye_m)
        self.light = LIGHTS[rng.choice(len(LIGHTS), p=LIGHT_SHARES)]
        self.camera = Camera(height, width, row, width * rng.uniform(0.38, 0.62), 0.85 * height, eye)
        self.canvas = Canvas(self.camera, self.light, self.side(), rng)
        self.bend: Callable[[np.ndarray], np.ndarray] = np.zeros_like
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    # ---- random draws

    def side(self) -> int:
        """Left (-1) or right (1)."""
        return int(self.rng.choice((-1, 1)))

    def some(self, low: int, high: int) -> range:
        """A range of random length, `low` to `high`."""
        return range(self.rng.integers(low, high + 1))

    def spread(self, z: float, margin: float = 1.05) -> float:
        """An x that is inside the picture at depth `z`."""
        column = self.rng.uniform(1 - margin, margin) * self.camera.width
        return (column - self.camera.centre) * z / self.camera.focal

    def at(self, x: float, z: float) -> tuple[float, float]:
        """The place `x` metres from the centre line at depth `z`."""
        return float(self.bend(np.float64(z))) + x, z

    # ---- queued objects

    def paint_objects(self, beyond_m: float = 0.0) -> None:
        """Paint the objects that are further away than `beyond_m`, from far to near."""
        ready = [entry for entry in self._waiting if entry[0] > beyond_m]
        self._waiting = [entry for entry in self._waiting if entry[0] <= beyond_m]
        for _, paint in sorted(ready, key=lambda entry: -entry[0]):
            paint()

    def stand(
        self,
        make: Callable[..., Sprite],
        label: int,
        place: tuple[float, float],
        *args: object,
        shade: tuple[float, float, float] | None = None,
        mirror: float = 0.0,
    ) -> None:
        """Queue the object `make(rng, px_per_m, *args)`.

        `shade` is the half width, half depth and offset of its shadow in metres; `mirror` is the strength of its
        reflection in water.
        """

        def paint() -> None:
            sprite = make(self.rng, self.camera.focal / place[1], *args)
            if shade:
                self.canvas.shadow(*place, *shade)
            if mirror:
                self.canvas.stamp(sprite, *place, label, mirror)
            self.canvas.stamp(sprite, *place, label)

        self._waiting.append((place[1], paint))

    # ---- backdrop

    def sky(self) -> None:
        """Gradient, sun and clouds down to the horizon."""
        c, rng, light = self.camera, self.rng, self.light
        rows, columns = c.horizon + 2, c.width
        at = np.linspace(0, 2, rows)
        stops = [np.interp(at, (0, 1, 2), channel) for channel in zip(*light.sky, strict=True)]
        picture = np.repeat(np.stack(stops, -1)[:, None], columns, 1)
        sun_x = (0.5 + self.canvas.sun_side * rng.uniform(0.12, 0.38)) * columns
        if light.sun_height > 0:
            y, x = np.ogrid[:rows, :columns]
            far = np.hypot(x - sun_x, y - c.horizon * (1 - light.sun_height)) / c.height
            glow = np.exp(-((far / 0.2) ** 2)) * 0.5 + np.exp(-((far / 0.06) ** 2)) * 0.4
            picture = mix(picture, light.sun, np.maximum(glow, _smoothstep(0.034, 0.03, far))[..., None])
        amount = rng.uniform(-0.2, 0.9) + (0.7 if light.name == "overcast" else 0)
        body = noise(rng, rows, columns, (6, 4), 5)
        shift = max(1, c.height // 40)
        under = np.concatenate([body[:shift], body[:-shift]])  # the cloud above each pixel makes lower rims darker
        cover = _smoothstep(1.1 - amount, 2.6 - amount, body) * np.linspace(1, 0.35, rows)[:, None]
        tone = np.clip(1.0 - 0.1 * (under - body * 0.6), 0.8, 1.04)[..., None]
        picture = mix(picture, light.cloud * tone, (0.88 * cover)[..., None])
        self.canvas.image[:rows], self.canvas.label[:rows] = picture, SKY

    def mountains(self, peak: float, layers: int, lean: float = 0.0, snow: bool = False) -> None:
        """Ridges up to `peak` of the picture's height above the horizon; `lean` lowers one side (-1..1)."""
        c, rng, sun_side = self.camera, self.rng, self.canvas.sun_side
        rows, columns = np.ogrid[: c.horizon + 1, : c.width]
        base = pick(rng, RANGES)
        for layer in range(layers):
            near = (layer + 1) / layers
            line = noise(rng, 2, c.width, (1, 3 + layer), 6)[:1]
            rise = c.height * peak * (1.15 - 0.75 * near) * np.clip(0.75 + 0.3 * line, 0.06, 1.5)
            depth = rows - c.horizon + rise * np.clip(0.75 - lean * (columns - c.centre) / c.width * 1.9, 0, 1)
            spurs = noise(rng, 2, 2 * c.width, (1, 14), 3)[0]
            rough = noise(rng, len(rows), c.width, (14, 24), 3)
            across = np.mod(columns + depth * 1.1 * sun_side + rough * c.width / 90, 2 * c.width)
            spurs = spurs[across.astype(int)]
            shade = 1 + 0.09 * spurs + 0.06 * rough + 0.2 * sun_side * np.gradient(line, axis=1)
            shade = np.clip(shade, 0.6, 1.3)[..., None]
            paint = mix(base, (70, 98, 62), near * 0.7) * shade
            if snow and layer == 0:
                white = _smoothstep(0.5, 0.2, depth / (c.height * peak) + 0.09 * spurs)[..., None]
                paint = mix(paint, (246, 248, 252) * np.clip(shade + 0.05, 0.8, 1.05), white)
            alpha = np.clip(depth + 0.5, 0, 1)[..., None].astype(np.float32)
            haze = self.light.visibility_m * (1.15 - 0.8 * near)
            where = (slice(0, len(rows)), slice(0, c.width))
            self.canvas.blend(where, self.light.lit(paint, haze), alpha, MOUNTAIN)

    # ---- ground

    def lane(self, left: float, right: float, near: float = 0.0, far: float = 3000.0) -> np.ndarray:
        """Outline in px of the ground between two distances from the centre line and two depths."""
        z = np.geomspace(max(near, self.camera.nearest_m * 0.5), far, 60)
        sides = [self.camera.project(self.bend(z) + x, 0, z) for x in (left, right)]
        return np.concatenate([np.stack(sides[0], 1), np.stack(sides[1], 1)[::-1]])

    def strip(self, left: float, right: float, material: Material, **depths: float) -> None:
        """Ground along the centre line, see `lane`."""
        self.canvas.ground(self.lane(left, right, **depths), *material)

    def expanse(self, far: float = 1e6, wavy: float = 0.0) -> np.ndarray:
        """Outline in px of all ground nearer than `far`; that edge waves by a share of its depth."""
        c = self.camera
        columns = np.linspace(-9, c.width + 9, 60)
        depth = far * (1 + wavy * noise(self.rng, 2, 60, (1, 2), 3)[0]) if wavy else np.full(60, far)
        edge = np.stack([columns, c.horizon + c.focal * c.eye_m / depth], 1)
        return np.concatenate([edge, [(c.width + 9, c.height + 9), (-9, c.height + 9)]])

    def band(self, material: Material, far: float = 1e6, wavy: float = 0.0) -> None:
        """Ground across the whole picture, see `expanse`; the far bands are painted first."""
        self.canvas.ground(self.expanse(far, wavy), *material)

    def meadow(self, far: float = 1e6, wavy: float = 0.0) -> None:
        """Grass across the whole picture, see `expanse`."""
        self.band((pick(self.rng, MEADOWS), GRASS, 0.11), far, wavy)

    def road(self, half: float, walk: float) -> None:
        """The road along the centre line: asphalt, edge lines, dashes, and sidewalks `walk` metres wide."""
        if walk:
            self.strip(-half - walk, half + walk, PAVING)
            self.strip(-half - 0.2, half + 0.2, KERB)
        self.strip(-half, half, ASPHALT)
        for x in (0.35 - half, half - 0.35):
            self.strip(x - 0.07, x + 0.07, PAINT)
        for z in np.arange(self.camera.nearest_m * 0.6, 70, 5):
            self.strip(-0.09, 0.09, PAINT, near=z, far=z + 2.4)

    # ---- objects

    def tree(self, x: float, z: float, low: float, high: float, fir: float = 0.0) -> None:
        """A tree `low` to `high` metres high, a fir with the given probability."""
        height, make = self.rng.uniform(low, high), conifer if self.rng.random() < fir else leafy_tree
        self.stand(make, TREE, (x, z), height, shade=(height * 0.34, height * 0.2, height * 0.12))

    def people(self, low: int, high: int, place: Place) -> None:
        """`low` to `high` people, each at a place drawn for it."""
        for _ in self.some(low, high):
            self.stand(person, PERSON, place(), shade=(0.5, 0.28, 0.25))

    def walkers(self, low: int, high: int, half: float, walk: float) -> None:
        """People on both sidewalks of a road."""
        draw = self.rng.uniform
        self.people(low, high, lambda: (self.side() * (half + draw(0.6, walk - 0.3)), draw(5, 12)))

    def rocks(self, low: int, high: int, place: Place, largest: float = 2.6) -> None:
        """`low` to `high` boulders, each at a place drawn for it."""
        for _ in self.some(low, high):
            size = self.rng.uniform(1.3, largest)
            self.stand(rock, ROCK, place(), size, shade=(size * 0.65, size * 0.4, size * 0.15))

    def house(self, x: float, z: float) -> None:
        """A family house."""
        lit = self.rng.random() < self.light.lamps * 1.5
        self.stand(house, HOUSE, (x, z), lit, shade=(6.2, 1.6, 1.0))

    def building(self, x: float, z0: float, z1: float, width: float) -> None:
        """A block on the ground, its road side at `x` (signed), its front at depth `z0`."""
        floors, state = int(self.rng.integers(2, 7)), self.rng.integers(2**31)
        high, size = floors * 3.2 + 0.6, self.camera.focal * 3.2 / np.sqrt(z0 * z1)
        away = 1.08 if self.canvas.sun_side != np.sign(x) else 0.84
        corner, outer, back = (x, z0), (x + np.sign(x) * width, z0), (x, z1)

        def paint() -> None:
            for end, length, px, shade in ((outer, width, size * 1.3, 0.95), (back, z1 - z0, size, away)):
                bays, rng = max(2, round(length / 3.2)), np.random.default_rng(state)
                texture = facade(rng, floors, bays, self.light.lamps, px)
                left, right = (corner, end) if (x > 0) == (end is outer) else (end, corner)
                self.canvas.wall(texture, left, right, high, BUILDING, shade)

        self._waiting.append((z1, paint))  # sorted by its far end, because objects along the road are in front of it

    def row_of_buildings(self, side: int, x: float, far: float) -> None:
        """Blocks, and a tree here and there, from `x` metres beside the road."""
        z = self.rng.uniform(3, 9)
        while z < far:
            length = self.rng.uniform(8, 17)
            if self.rng.random() < 0.84:
                self.building(side * (x + self.rng.uniform(0, 1.2)), z, z + length, self.rng.uniform(9, 14))
            else:
                self.tree(side * (x + 2.5), z + length / 2, 4.5, 8.5, fir=0.15)
            z += length + self.rng.uniform(0, 1.5)

    def fence(self, posts: Sequence[tuple[float, float]], tone: Colour) -> None:
        """A fence through `posts` (x, z), 2 m apart."""
        texture = planks(tone)
        for post, other in pairwise(posts):
            left, right = sorted((post, other), key=lambda p: p[0] / p[1])
            self._waiting.append((post[1], lambda ends=(left, right): self.canvas.wall(texture, *ends, 1.1, FENCE)))

    def fence_along(self, x: float, far: float, tone: Colour) -> None:
        """A fence running away from us at `x` metres from the centre line."""
        self.fence([self.at(x, z) for z in np.arange(self.camera.nearest_m, far, 2.0)], tone)

    def fence_across(self, z: float, tone: Colour) -> None:
        """A fence parallel to the picture at depth `z`."""
        self.fence([(x, z) for x in np.arange(-40, 41, 2.0)], tone)

    def traffic(self, half: float, low: int, high: int, bus: float) -> None:
        """`low` to `high` vehicles on each lane, driving on the right; `bus` is the share of buses."""
        count = self.some(low, high)
        for side in (-1, 1):
            z = self.camera.nearest_m + self.rng.uniform(2.5, 9)
            for _ in count:
                big = self.rng.random() < bus
                args = (BUS if big else CAR, self.at(side * half * 0.52, z), side < 0, big)
                self.stand(vehicle_end, *args, shade=(1.5, 2.2, 0.2))
                z += self.rng.uniform(7, 22) + 6 * big

    def traffic_across(self, z: float, low: int, high: int, bus: float) -> None:
        """`low` to `high` vehicles crossing the picture at depth `z`."""
        count, x = self.some(low, high), self.spread(z, 0.95)
        for _ in count:
            big = self.rng.random() < bus
            shade = (5.6 if big else 2.5, 0.9, 0.0)
            self.stand(vehicle_side, BUS if big else CAR, (x, z), big, shade=shade)
            x += self.side() * self.rng.uniform(7, 12)

    def lamp(self, x: float, z: float, arm: int) -> None:
        """A streetlight whose arm points left (-1) or right (1)."""
        self.stand(streetlight, STREETLIGHT, (x, z), arm, self.light.lamps > 0.2)

    def boats(self, low: int, high: int, near: float, far: float, x: Callable[[float], float]) -> None:
        """`low` to `high` boats between two depths; `x` is drawn for the depth."""
        for _ in self.some(low, high):
            z = self.rng.uniform(near, far)
            self.stand(boat, BOAT, (x(z), z), mirror=0.4)
