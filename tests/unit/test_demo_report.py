"""The demo's report: written from a small folder, whole without other files, and clear about what is missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from unit.lite_results import stored

from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.label_map import palette, write_labels
from paddleseg_ext_tools.demonstration import figures as demo_figures
from paddleseg_ext_tools.demonstration.report import percent, write_report
from paddleseg_ext_tools.scenes import SCENE_CLASSES

SKY, GRASS, ROAD = 3, 10, 7  # annotation values
TIMES = {"decoder": 40.0, "vim": 50.0, "argmax": 200.0}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def lite_result(op: str, **changes: object) -> dict:
    median = TIMES[op]
    times = {"median_ms": median, "min_ms": median - 1, "p90_ms": median + 3}
    return stored((median, median + 1, median * 3), model=f"tiny_{op}", output_op=op, **times, **changes)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two scenes: sky over grass, a third of one ignored."""
    root = tmp_path / "scenes"
    for number in (1, 2):
        label = np.full((48, 64), SKY, "uint8")
        label[24:] = GRASS
        label[:, : 20 * (number - 1)] = 0
        name = f"ADE_val_{number:08d}"
        write_picture(root / "images" / "validation" / f"{name}.jpg", np.full((48, 64, 3), 90 * number, "uint8"))
        write_picture(root / "annotations" / "validation" / f"{name}.png", label)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the demo leaves: a quarter of the grass taken for road, no vim_exact."""
    folder = tmp_path / "demo"
    for number in (1, 2):
        guess = np.full((48, 64), SKY - 1, "uint8")
        guess[24:] = GRASS - 1
        guess[36:, 32:] = ROAD - 1
        write_picture(folder / "labels" / f"ADE_val_{number:08d}.png", guess)
    confusion = np.zeros((150, 150), int)
    confusion[SKY - 1, SKY - 1], confusion[GRASS - 1, GRASS - 1], confusion[GRASS - 1, ROAD - 1] = 400, 300, 100
    val = {"miou": 0.875, "miou_all_classes": 0.0117, "classes_present": 2, "accuracy": 0.875, "kappa": 0.77}
    ious = {str(SKY - 1): 1.0, str(GRASS - 1): 0.75}
    write_json(folder / "val.json", {**val, "class_iou": ious, "confusion": confusion.tolist()})
    ops = {
        "argmax": {"equal": 1.0, "kept_min": 150, "kept_mean": 150.0, "kept_max": 150},
        "vim": {"equal": 0.9999999, "kept_min": 2, "kept_mean": 3.4, "kept_max": 5},
    }
    write_json(folder / "agreement.json", {"images": 2, "ops": ops})
    for op in TIMES:
        write_json(folder / "lite" / "test_result_json" / f"tiny_{op}-x86-t1.json", lite_result(op))
    rows = [{"kind": "train", "iter": i, "loss": 5 / i, "lr": 0.01, "images_per_second": 9.0} for i in (1, 2)]
    shared = {"kind": "eval", "iter": 2, "miou_all_classes": 0.01, "accuracy": 0.8}
    rows += [{**shared, "ema": ema, "miou": 0.5 + 0.2 * ema} for ema in (False, True)]
    history = folder / "train" / "history.jsonl"
    history.parent.mkdir()
    history.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    write_json(folder / "timings.json", {"steps": {"training": 151.4, "export": 30.0}, "photo": None})
    return folder


class Page(HTMLParser):
    """The visible text, every attribute, and whether the elements close as they opened."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.attributes, self.open = [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def test_the_report_needs_no_other_file(folder: Path, dataset: Path) -> None:
    path = write_report(folder, dataset)
    assert path == folder / "report.html"
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open
    assert not re.search(r"https?://|@import|<script|<link|url\((?!#)", html)
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "data", "action"):
            assert value.startswith("data:image/"), (tag, name, value[:60])
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), (tag, name, value[:60])
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == html.count("<img") == 8
    assert all(alts)
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))


def test_the_figures_are_in_it(folder: Path, dataset: Path) -> None:
    text = Page(write_report(folder, dataset).read_text(encoding="utf-8")).text
    for words in (
        "mIoU 0.88 over 2 classes after 2:31 of training; VIM answers in 50 ms where argmax takes 200 ms (4.0×), "
        "interpolating 3 of 150 classes on average.",
        "+10.0 ms, 1.25×", "+160.0 ms, 5.00×", "2 · 3.4 · 5", "99.9999%", "6.36", "Some <CPU>", "elsewhere",
        "Not measured: vim_exact", "(0.012 over all 150)",
    ):  # fmt: skip
        assert words in text, words
    assert "Your photograph" not in text
    assert "marked invalid;" not in text


def test_an_invalid_figure_says_why(folder: Path, dataset: Path) -> None:
    path = folder / "lite" / "test_result_json" / "tiny_vim-x86-t1.json"
    write_json(path, lite_result("vim", valid=False, invalid_reasons=["the machine was busy"], agreement=None))
    text = Page(write_report(folder, dataset).read_text(encoding="utf-8")).text
    assert "on average (times marked invalid, see below)." in text
    assert "1 of 3 latency figures are marked invalid" in text
    assert "the machine was busy" in text
    assert "not checked" in text


def test_nothing_measured(folder: Path, dataset: Path) -> None:
    for path in (folder / "lite" / "test_result_json").glob("*.json"):
        path.unlink()
    (folder / "timings.json").unlink()
    text = Page(write_report(folder, dataset).read_text(encoding="utf-8")).text
    assert "mIoU 0.88 over 2 classes after 2 iterations." in text
    assert "No output op was measured." in text


@pytest.mark.parametrize("custom", [None, demo_figures.custom_colours(150)])
def test_a_photograph(folder: Path, dataset: Path, custom: list[int] | None) -> None:
    write_picture(folder / "photo" / "added_prediction" / "mine.jpg", np.full((30, 40, 3), 120, "uint8"))
    labels = folder / "photo" / "pseudo_color_prediction" / "mine.png"
    write_labels(labels, np.full((30, 40), SKY - 1), palette(custom))
    text = Page(write_report(folder, dataset).read_text(encoding="utf-8")).text
    assert "Your photograph" in text
    assert "sky 100%" in text


@pytest.mark.parametrize(
    "name", ["val.json", "agreement.json", "train/history.jsonl", "lite/test_result_json/tiny_vim-x86-t1.json"]
)
@pytest.mark.parametrize("content", ["", "{}", '{"kind": 3', "[1]"])
def test_a_broken_file_is_named(folder: Path, dataset: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(name)):
        write_report(folder, dataset)


@pytest.mark.parametrize("name", ["val.json", "agreement.json", "train/history.jsonl"])
def test_a_missing_file_is_named(folder: Path, dataset: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=re.escape(name)):
        write_report(folder, dataset)


def test_a_missing_scene_or_prediction_is_named(folder: Path, dataset: Path) -> None:
    (dataset / "images" / "validation" / "ADE_val_00000002.jpg").unlink()
    with pytest.raises(DataError, match=r"ADE_val_00000002\.jpg"):
        write_report(folder, dataset)
    for path in (folder / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="labels"):
        write_report(folder, dataset)


def test_every_scene_class_has_its_own_colour() -> None:
    assert demo_figures.CLASS_COLOURS.keys() == SCENE_CLASSES.keys()
    colours = np.array([list(bytes.fromhex(colour[1:])) for colour in demo_figures.CLASS_COLOURS.values()], int)
    gaps = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(len(colours), dtype=int)
    assert gaps.min() >= 45


def test_percent_says_all_only_for_all() -> None:
    assert [percent(share) for share in (1, 0.99999999, 0.99995, 0.5)] == ["100%", "99.9999%", "99.995%", "50%"]
