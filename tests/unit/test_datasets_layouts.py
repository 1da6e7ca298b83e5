"""The drawn sets in the layouts of Cityscapes and CamVid; ADE20K's is in test_scenes.py."""

import json

import cv2
import numpy as np
import pytest

from paddleseg_ext_tools import scenes
from paddleseg_ext_tools.commands import make_scenes
from paddleseg_ext_tools.scenes import LAYOUTS, SCENE_CLASSES, writer
from paddleseg_ext_tools.scenes.layouts import CAMVID_CLASSES, CITYSCAPES_CLASSES, DRIVES, IGNORE

MAPPED = ["cityscapes", "camvid"]


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def labels_of(root):
    return [path for path in sorted(root.rglob("*.png")) if {"gtFine", "annot"} & set(path.parts)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    for layout in MAPPED:
        scenes.write_dataset(folder / layout, train=12, val=3, size=(64, 128), seed=1, layout=layout)
    return folder


def test_classes_are_the_official_ones_in_order():
    assert [CITYSCAPES_CLASSES.index(name) for name in ("road", "pole", "sky", "car", "bicycle")] == [0, 5, 10, 13, 18]
    assert [CAMVID_CLASSES.index(name) for name in ("Sky", "Road", "Car", "Bicyclist")] == [0, 3, 8, 10]
    assert (len(CITYSCAPES_CLASSES), len(CAMVID_CLASSES)) == (19, 11)


@pytest.mark.parametrize("layout", MAPPED)
def test_every_scene_class_becomes_one_class_or_is_ignored(layout):
    table, classes = LAYOUTS[layout].table, LAYOUTS[layout].classes
    values = {name: table[value] for value, name in SCENE_CLASSES.items()}
    assert set(values.values()) <= {*classes, IGNORE} and table[0] == IGNORE
    assert classes[values["road"]].lower() == "road" and values["house"] == values["building"]
    assert classes[values["streetlight"]] in ("pole", "Column_Pole") and values["water"] == IGNORE
    assert classes[values["person"]] in ("person", "Pedestrian")


@pytest.mark.parametrize("layout", MAPPED)
def test_pictures_and_labels_belong_together(drawn, layout):
    root, chosen = drawn / layout, LAYOUTS[layout]
    record = json.loads((root / "scenes.json").read_text())
    assert record["classes"] == {str(value): name for value, name in chosen.classes.items()}
    found = list(chosen.scenes(1, {"train": 12, "val": 3, "test": 3}))
    assert len({scene.seed for scene in found}) == len(found) == 18
    for scene in found:
        assert scenes.scene_kind(scene.seed) in DRIVES
        image, label = scenes.make_scene(scene.seed, 64, 128)
        np.testing.assert_array_equal(read(root / scene.image)[..., ::-1], image)
        if scene.label:
            np.testing.assert_array_equal(read(root / scene.label), chosen.table[label])
    assert len(np.unique(np.concatenate([np.unique(read(path)) for path in labels_of(root)]))) >= 9
    assert np.mean([(read(path) == IGNORE).mean() for path in labels_of(root)]) < 0.1


def test_files_lie_where_the_real_sets_have_them(drawn):
    root = drawn / "cityscapes"
    assert {path.name for path in root.iterdir()} == {
        "leftImg8bit", "gtFine", "train.list", "val.list", "test.list", "trainval.list", "infer.list", "scenes.json",
    }  # fmt: skip
    assert len(list((root / "leftImg8bit" / "train").glob("*/*_leftImg8bit.png"))) == 12
    assert len({path.parent for path in (root / "gtFine" / "train").glob("*/*_gtFine_labelTrainIds.png")}) == 2
    assert not (root / "gtFine" / "test").exists()
    root = drawn / "camvid"
    names = {path.name for path in root.iterdir()}
    assert names == {"images", "annot", "train.txt", "val.txt", "test.txt", "scenes.json"}
    assert len(list((root / "images").iterdir())) == len(list((root / "annot").iterdir())) == 18
    for line in (root / "test.txt").read_text().splitlines():
        assert all((root / name).is_file() for name in line.split())


def test_a_record_without_layout_is_ade20k(tmp_path, monkeypatch):
    """Written before there were others: it stays as it is, and may be replaced."""
    root = tmp_path / "old"
    scenes.write_dataset(root, 1, 1, (48, 48))
    record = json.loads((root / "scenes.json").read_text())
    del record["layout"]
    (root / "scenes.json").write_text(json.dumps(record))
    with monkeypatch.context() as patched:
        patched.setattr(writer, "make_scene", None)  # nothing may be drawn
        scenes.write_dataset(root, 1, 1, (48, 48))
    scenes.write_dataset(root, 1, 1, (48, 48), layout="camvid")
    assert (root / "annot" / "train_000001.png").is_file() and not (root / "annotations").exists()


@pytest.mark.parametrize(
    ("layout", "size"), [("cityscapes", (128, 256)), ("camvid", (180, 240)), ("ade20k", (256, 256))]
)
def test_the_tool_draws_in_the_proportions_of_the_set(tmp_path, layout, size, capsys):
    root = tmp_path / layout
    assert make_scenes.main(["--save_dir", str(root), "--layout", layout, "--train", "1", "--val", "1"]) == 0
    assert f"in the layout of {layout}" in capsys.readouterr().out
    pictures = [path for path in root.rglob("*") if path.suffix in (".png", ".jpg")]
    assert pictures and {read(path).shape[:2] for path in pictures} == {size}
    assert (
        make_scenes.main(
            ["--save_dir", str(root), "--layout", layout, "--size", "40", "50", "--train", "1", "--val", "1"]
        )
        == 0
    )
    assert {read(path).shape[:2] for path in root.rglob("*.png")} == {(40, 50)}
