"""The pictures of the demo's report: class colours, the mosaic of predictions, curves and confusion matrix.

Label maps are palette PNG and photographs JPEG in data URIs, figures are inline SVG (`lab.drawing`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from paddleseg_ext_runtime.reading import check_same_size, read_image, read_label
from paddleseg_ext_tools.lab.drawing import FIGURE_STYLE, INK, MUTED, data_uri, inline_svg
from paddleseg_ext_tools.scenes import SCENE_CLASSES

# By ADE20K annotation value, as SCENE_CLASSES: nature in its own colours, what is built in earthen ones, what
# moves in strong ones.
CLASS_COLOURS: dict[int, str] = {
    2: "#a5533f",  # building
    3: "#a8d8f8",  # sky
    5: "#23643a",  # tree
    7: "#777c84",  # road
    10: "#8fc754",  # grass
    12: "#d6cbc0",  # sidewalk
    13: "#f01f80",  # person
    14: "#9a7a4b",  # earth
    17: "#7f79b3",  # mountain
    21: "#e8452c",  # car
    22: "#2a6cc0",  # water
    26: "#efa878",  # house
    33: "#5a3a22",  # fence
    35: "#43484f",  # rock
    47: "#f3e2a0",  # sand
    77: "#7a2fb5",  # boat
    81: "#f7b500",  # bus
    88: "#00b3a4",  # streetlight
}
OTHER_COLOUR, IGNORED_COLOUR = "#c9b6ee", "#ffffff"
IGNORED = 255
SCENES = 6
WRONG = (222, 40, 48)

TRAIN_COLOUR, EVAL_COLOUR, EMA_COLOUR = "#2a6cc0", "#d9572f", "#00857a"
CONFUSION_COLOURS = LinearSegmentedColormap.from_list("report", ["#ffffff", "#d3e4f5", "#79ade0", "#2a6cc0", "#123a75"])


def class_name(index: int) -> str:
    """The name of class `index` (annotation value less one); a class no scene holds goes by its value."""
    return SCENE_CLASSES.get(index + 1, f"ADE20K class {index + 1}")


def class_colour(index: int) -> str:
    """The colour of class `index` as #rrggbb."""
    return CLASS_COLOURS.get(index + 1, OTHER_COLOUR)


def custom_colours(num_classes: int) -> list[int]:
    """R, G, B of class 0, of class 1, …: what `predict(custom_color=…)` takes to paint as the report does."""
    return [value for index in range(num_classes) for value in _rgb(class_colour(index))]


def read_rgb(path: Path) -> np.ndarray:
    """The picture at `path` as RGB uint8 [H, W, 3]. Raises DataError naming the file."""
    return np.ascontiguousarray(read_image(path)[:, :, ::-1]).astype("uint8")


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def paint(labels: np.ndarray) -> np.ndarray:
    """labels [H, W] of class indices, 255 where ignored -> RGB uint8 [H, W, 3] in the report's colours."""
    table = np.array([_rgb(class_colour(index)) for index in range(256)], "uint8")
    table[IGNORED] = _rgb(IGNORED_COLOUR)
    return table[labels]


def choose_scenes(names: Sequence[str], dataset_root: Path, num_classes: int) -> list[str]:
    """One name out of each of SCENES equal parts: the one whose truth is least like those already chosen.

    The first is the one of most classes; how unlike two are is told by how much the areas of their classes differ.
    """
    chosen, areas = [], []
    for part in np.array_split(np.array(names), min(SCENES, len(names))):
        candidates = {name: _areas(_truth_path(dataset_root, name), num_classes) for name in part.tolist()}
        gaps = {
            name: min((float(np.abs(area - other).sum()) for other in areas), default=float(np.count_nonzero(area)))
            for name, area in candidates.items()
        }
        best = max(gaps, key=lambda name: gaps[name])
        chosen.append(best)
        areas.append(candidates[best])
    return chosen


def _areas(path: Path, num_classes: int) -> np.ndarray:
    """The share of each class in the truth at `path`, [num_classes]."""
    counts = np.bincount(read_label(path, num_classes, zero_is_ignore=True).ravel(), minlength=256)[:num_classes]
    return counts / max(counts.sum(), 1)


def _truth_path(dataset_root: Path, name: str) -> Path:
    return dataset_root / "annotations" / "validation" / f"{name}.png"


def mosaic(names: Sequence[str], labels_dir: Path, dataset_root: Path, num_classes: int) -> tuple[list, list[int]]:
    """Rows of four tiles for the named validation scenes, and the classes they show by falling area.

    A row is {"right": share of pixels that are right, "tiles": [(title, uri, alt), …]}.
    Raises DataError naming a picture, label or prediction that is missing, broken or of another size.
    """
    rows, area = [], np.zeros(256, "int64")
    for name in names:
        image_path = dataset_root / "images" / "validation" / f"{name}.jpg"
        image = read_rgb(image_path)
        truth_path, guess_path = _truth_path(dataset_root, name), labels_dir / f"{name}.png"
        truth = read_label(truth_path, num_classes, zero_is_ignore=True)
        guess = read_label(guess_path, num_classes)
        check_same_size(image, truth, image_path, truth_path)
        check_same_size(image, guess, image_path, guess_path)
        judged = truth != IGNORED
        wrong = judged & (guess != truth)
        right = 1 - wrong.sum() / max(judged.sum(), 1)
        alt = f"in red the {1 - right:.1%} of {name} gone wrong"
        tiles = [
            ("Picture", data_uri(image), f"the drawn scene {name}"),
            ("Truth", data_uri(paint(truth), "png"), f"the true classes of {name}"),
            ("Prediction", data_uri(paint(guess), "png"), f"the predicted classes of {name}"),
            ("Where they differ", data_uri(_errors(image, wrong, judged)), alt),
        ]
        rows.append({"right": float(right), "tiles": tiles})
        area += np.bincount(truth.ravel(), minlength=256) + np.bincount(guess.ravel(), minlength=256)
    area[IGNORED] = 0
    return rows, [int(index) for index in np.argsort(-area, kind="stable") if area[index]]


def _errors(image: np.ndarray, wrong: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Right pixels a pale shadow of the picture, wrong ones red, ignored ones white."""
    grey = 214 + image.mean(axis=2, keepdims=True) / 255 * 34
    tile = np.repeat(grey, 3, axis=2)
    tile[wrong], tile[~judged] = WRONG, 255
    return tile.astype("uint8")


def curves(history: Sequence[dict[str, Any]]) -> list[Markup]:
    """Loss, learning rate and mIoU over iterations, from the rows of history.jsonl: three small figures."""
    train = [row for row in history if row["kind"] == "train"]
    steps = [row["iter"] for row in train]
    last = max([row["iter"] for row in history], default=1)
    figures = []
    for name, key, title in (("loss", "loss", "Training loss"), ("rate", "lr", "Learning rate")):
        values = [row[key] for row in train]
        with matplotlib.rc_context(FIGURE_STYLE):
            figure, axes = _panel(title, last)
            axes.plot(steps, values, color=TRAIN_COLOUR, linewidth=1.8, solid_capstyle="round")
            axes.set_ylim(bottom=0)
            alt = f"{title}: {values[0]:.3g} at first, {values[-1]:.3g} at last" if values else f"{title}: no rows"
        figures.append(inline_svg(figure, name, alt))
    return [*figures, _miou_figure([row for row in history if row["kind"] == "eval"], last)]


def _miou_figure(rows: Sequence[dict[str, Any]], last: int) -> Markup:
    with matplotlib.rc_context(FIGURE_STYLE):
        figure, axes = _panel("mIoU on the validation scenes", last)
        for ema, colour, label in ((False, EVAL_COLOUR, "model"), (True, EMA_COLOUR, "moving average (EMA)")):
            points = [(row["iter"], row["miou"]) for row in rows if bool(row["ema"]) is ema]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, linewidth=1.8, markersize=5, label=label)
                label_at = {"xytext": (-2, 7 if ema or points[-1][1] < 0.9 else -13), "ha": "right"}
                axes.annotate(f"{points[-1][1]:.3f}", points[-1], textcoords="offset points", **label_at, color=colour)
        axes.set_ylim(0, 1)
        if any(row["ema"] for row in rows):
            axes.legend(loc="lower right")
    marks = ", ".join(f"{row['miou']:.3f} at {row['iter']}{' (EMA)' if row['ema'] else ''}" for row in rows)
    return inline_svg(figure, "miou", f"mIoU by iteration: {marks or 'never evaluated'}")


def _panel(title: str, last: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.7, 2.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, pad=8)
    axes.set_xlabel("iteration")
    axes.set_xlim(0, last * 1.03)
    axes.grid(axis="x", visible=False)
    return figure, axes


def confusion_figure(confusion: np.ndarray, classes: Sequence[int]) -> Markup:
    """Rows of `confusion` [K, K] (truth, prediction) for `classes`, each as shares of its pixels, as a heat map.

    A last column gathers what went to classes that no validation scene holds, if anything did.
    """
    rows = confusion[list(classes)].astype("float64")
    shares = rows / rows.sum(axis=1, keepdims=True).clip(min=1)
    inside = shares[:, list(classes)]
    elsewhere = 1 - inside.sum(axis=1)
    names = [class_name(index) for index in classes]
    columns = list(names)
    if (elsewhere > 1e-9).any():
        inside, columns = np.column_stack([inside, elsewhere]), [*names, "elsewhere"]
    with matplotlib.rc_context(FIGURE_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(1.9 + 0.4 * len(columns), 1.4 + 0.33 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.pcolormesh(inside, cmap=CONFUSION_COLOURS, vmin=0, vmax=1, edgecolor="#eef1f5", linewidth=0.6)
        for (row, column), share in np.ndenumerate(inside):
            if share >= 0.005:
                colour = "#ffffff" if share > 0.6 else INK
                axes.text(
                    column + 0.5, row + 0.52, f"{100 * share:.0f}", color=colour, ha="center", va="center", size=7.5
                )
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=45, ha="left", rotation_mode="anchor")
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        axes.set_ylabel("truth")
        axes.set_title("prediction", loc="center", size=8.5, weight="normal", color=MUTED, pad=6)
        axes.spines[:].set_visible(False)
    diagonal = ", ".join(
        f"{name} {shares[i, index]:.0%}" for i, (name, index) in enumerate(zip(names, classes, strict=True))
    )
    return inline_svg(figure, "confusion", f"Share of each class's pixels that were found: {diagonal}")
