"""The layouts of data sets: the places of the files, the names of the classes, and the kinds of scene that fit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np

from paddleseg_ext.datasets.class_names import CLASS_NAMES
from paddleseg_ext_tools.scenes.kinds import KINDS, scene_kind
from paddleseg_ext_tools.scenes.world import SCENE_CLASSES

IGNORE = 255
SPLITS = {"train": 0, "val": 500_000, "test": 750_000}  # the seed of the first scene of each split
DRIVES = ("street", "coast street")

CITYSCAPES_CLASSES, CAMVID_CLASSES = CLASS_NAMES["Cityscapes"], CLASS_NAMES["CamVid"]
# Classes that the other data set lacks are ignored there: mountains, water, boats, rocks.
TO_CITYSCAPES = {
    "road": "road", "sidewalk": "sidewalk", "building": "building", "house": "building", "fence": "fence",
    "streetlight": "pole", "tree": "vegetation", "grass": "terrain", "earth": "terrain", "sand": "terrain",
    "sky": "sky", "person": "person", "car": "car", "bus": "bus",
}  # fmt: skip
TO_CAMVID = {
    "road": "Road", "sidewalk": "Sidewalk", "building": "Building", "house": "Building", "fence": "Fence",
    "streetlight": "Column_Pole", "tree": "Tree", "grass": "Tree", "sky": "Sky", "person": "Pedestrian", "car": "Car",
    "bus": "Car",
}  # fmt: skip
_CITIES = {"train": ("eastham", "westham"), "val": ("northam",), "test": ("southam",)}

Place = tuple[str, str | None]  # image, label: paths below the root; the label is None if the real data set has none


@dataclass(frozen=True)
class Scene:
    """One scene of a data set: its split, its seed, and the paths of its files."""

    split: str
    seed: int
    image: str
    label: str | None


@dataclass(frozen=True)
class Layout:
    """The layout of a data set on disk.

    `place(split, number)` gives the files of a scene (from 1); `lists(scenes)` gives text files by name; `table`
    maps label values of scenes to those of the files; `size` is the default (height, width).
    """

    size: tuple[int, int]
    splits: tuple[str, ...]
    kinds: tuple[str, ...]
    classes: dict[int, str]
    table: np.ndarray
    place: Callable[[str, int], Place]
    lists: Callable[[Iterable[Scene]], dict[str, str]] = field(default=lambda scenes: {})

    def scenes(self, seed: int, lengths: dict[str, int]) -> Iterator[Scene]:
        """Every scene of a data set, split by split; `lengths` gives the number of scenes per split."""
        for split in self.splits:
            fitting = (n for n in count(seed * 1_000_000 + SPLITS[split]) if scene_kind(n) in self.kinds)
            for number, one in enumerate(islice(fitting, lengths[split]), start=1):
                yield Scene(split, one, *self.place(split, number))


def _table(names: tuple[str, ...], mapping: dict[str, str]) -> np.ndarray:
    table = np.full(256, IGNORE, np.uint8)
    for value, name in SCENE_CLASSES.items():
        if name in mapping:
            table[value] = names.index(mapping[name])
    return table


def _ade20k_place(split: str, number: int) -> Place:
    folder = {"train": "training", "val": "validation"}[split]
    name = f"{folder}/ADE_{split}_{number:08d}"
    return f"images/{name}.jpg", f"annotations/{name}.png"


def _cityscapes_place(split: str, number: int) -> Place:
    city = _CITIES[split][number % len(_CITIES[split])]
    name = f"{split}/{city}/{city}_000000_{number:06d}"
    label = None if split == "test" else f"gtFine/{name}_gtFine_labelTrainIds.png"
    return f"leftImg8bit/{name}_leftImg8bit.png", label


def _camvid_place(split: str, number: int) -> Place:
    return f"images/{split}_{number:06d}.png", f"annot/{split}_{number:06d}.png"


def _lines(scenes: Iterable[Scene]) -> dict[str, str]:
    """The text of each split's list: a line per scene with the path of its image and, where it has one, its label."""
    lines = dict.fromkeys(SPLITS, "")
    for scene in scenes:
        lines[scene.split] += f"{scene.image} {scene.label}\n" if scene.label else f"{scene.image}\n"
    return lines


def _cityscapes_lists(scenes: Iterable[Scene]) -> dict[str, str]:
    lines = _lines(scenes)
    lines |= {"trainval": lines["train"] + lines["val"], "infer": lines["test"]}
    return {f"{name}.list": text for name, text in lines.items()}


def _camvid_lists(scenes: Iterable[Scene]) -> dict[str, str]:
    return {f"{name}.txt": text for name, text in _lines(scenes).items()}


LAYOUTS = {
    "ade20k": Layout(
        (256, 256), ("train", "val"), tuple(KINDS), SCENE_CLASSES, np.arange(256, dtype=np.uint8), _ade20k_place,
    ),
    "cityscapes": Layout(
        (128, 256), ("train", "val", "test"), DRIVES, dict(enumerate(CITYSCAPES_CLASSES)),
        _table(CITYSCAPES_CLASSES, TO_CITYSCAPES), _cityscapes_place, _cityscapes_lists,
    ),
    "camvid": Layout(
        (180, 240), ("train", "val", "test"), DRIVES, dict(enumerate(CAMVID_CLASSES)),
        _table(CAMVID_CLASSES, TO_CAMVID), _camvid_place, _camvid_lists,
    ),
}  # fmt: skip
