"""`report.html` of the demo: the quality of the model, its predictions and the cost of each output op, in one file.

Reads what the demo leaves in its folder, draws with figures.py and fills report.html.jinja. The page
needs neither network nor other files.
"""

import dataclasses
import json
import math
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paddleseg_ext.version import __version__
from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_runtime.pictures import IMAGE_SUFFIXES
from paddleseg_ext_runtime.prediction import ADDED, PSEUDO_COLOR
from paddleseg_ext_runtime.progress import duration
from paddleseg_ext_tools.demonstration import figures
from paddleseg_ext_tools.lab.drawing import data_uri
from paddleseg_ext_tools.lab.machine import package_version
from paddleseg_ext_tools.lab.pages import render
from paddleseg_lite.errors import LiteError
from paddleseg_lite.result import Result

DECODER, VIM, ARGMAX = "decoder", "vim", "argmax"
ALWAYS = (DECODER, VIM, "vim_exact", ARGMAX)
PACKAGES = {
    "paddle": "paddlepaddle",
    "paddleseg": "paddleseg",
    "paddlelite": "paddlelite",
    "numpy": "numpy",
    "OpenCV": "opencv-python-headless",
}
Values = dict[str, Any]
LEAST_SHOWN = 0.01  # the share of a photograph from which a class is in its legend
PHOTO_SIDE = 1100


def write_report(folder: Path, dataset_root: Path) -> Path:
    """Writes `folder/report.html` from the demo's results in `folder` and returns its path.

    `dataset_root` holds the validation scenes in ADE20K's layout. Raises DataError naming the file that is
    missing or that does not hold what it should.
    """
    val = _read_json(folder / "val.json")
    agreement = _read_json(folder / "agreement.json")
    timings = _read_json(folder / "timings.json") if (folder / "timings.json").exists() else {}
    history = _read_history(folder / "train" / "history.jsonl")
    results = _read_results(folder / "lite" / "test_result_json")
    with _naming(folder / "timings.json"):
        steps = _steps(timings)
    with _naming(folder / "train" / "history.jsonl"):
        curves, training = figures.curves(history), _training(history)
    with _naming(folder / "val.json"):
        quality = _quality(val)
    with _naming(folder / "agreement.json"):
        ops, images = _ops(results, agreement), agreement["images"]
        missing = [op for op in dict.fromkeys([*ALWAYS, *agreement["ops"]]) if op not in results]
    run = next(iter(results.values()), {})  # of the values that are alike in all of them
    by_op = {row["name"]: row for row in ops}
    page = {
        **quality,
        **_scenes(folder / "labels", dataset_root, quality["num_classes"]),
        "headline": _headline(quality, by_op, steps, history),
        "ops": ops,
        "by_op": by_op,
        "missing": missing,
        "chart": _chart(ops),
        "validation_images": images,
        "curves": curves,
        "training": training,
        "steps": steps,
        "photo": _photo(folder / "photo", timings.get("photo")),
        "versions": _versions(run),
        "run": run,
        "conditions": _conditions(run),
    }
    report = folder / "report.html"
    try:
        report.write_text(render("demonstration/report.html.jinja", **page), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {report}: {error.strerror}") from error
    return report


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns any error in the contents of `path` into a DataError that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise DataError(f"{path} has no {error}; run the demo again") from error
    except (ValueError, TypeError, AttributeError, IndexError, LiteError) as error:
        raise DataError(f"{path} does not hold what the demo writes: {error}") from error


def _read_json(path: Path) -> Values:
    with _naming(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("an object was expected")
        return content


def _read_history(path: Path) -> list[Values]:
    with _naming(path):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not rows:
            raise ValueError("it is empty")
        return rows


def _read_results(folder: Path) -> dict[str, Values]:
    """Lite's single-thread results by output op; if an op has several, the last one measured."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: nothing was measured under Paddle-Lite")
    rows = []
    for path in sorted(folder.glob("*-t1.json")):
        with _naming(path):
            rows.append(_latency(Result.from_json(path.read_text(encoding="utf-8"))))
    return {row["name"]: row for row in sorted(rows, key=lambda row: row["measured_at"])}


def _latency(result: Result) -> Values:
    """The values of one result, and how the report words them."""
    row = dataclasses.asdict(result)
    row["name"] = result.output_op or result.model
    row["about"] = OUTPUT_OPS.get(row["name"], "")
    row["lite_note"] = result.agreement_note or "not compared with Paddle"
    if result.agreement is None:
        row["lite"] = "not checked"
    elif result.agreement_kind == "equal_pixels":
        row["lite"] = percent(result.agreement)
    else:
        row["lite"] = f"{result.agreement:.1e} σ"
    return row


def percent(share: float) -> str:
    """`share` in percent with at most four decimals, rounded down: 100% means all."""
    return f"{math.floor(share * 1e6 + 1e-6) / 1e4:.4f}".rstrip("0").rstrip(".") + "%"


def _steps(timings: Values) -> list[Values]:
    steps = {str(name): float(seconds) for name, seconds in timings.get("steps", {}).items()}
    longest = max(steps.values(), default=0) or 1
    return [
        {"name": name, "seconds": seconds, "text": _clock(seconds), "width": 100 * seconds / longest}
        for name, seconds in steps.items()
    ]


def _training(history: Sequence[Values]) -> str:
    speeds = [row["images_per_second"] for row in history if row["kind"] == "train"]
    speed = f" at {np.median(speeds):.0f} pictures a second" if speeds else ""
    return f"{history[-1]['iter']} iterations{speed}"


def _clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    return duration(seconds).removeprefix("0:").removeprefix("0") if seconds < 3600 else duration(seconds)


def _quality(val: Values) -> Values:
    """The figures of val.json, its classes by falling IoU, and the confusion matrix."""
    confusion = np.array(val["confusion"], "float64")
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.sum():
        raise ValueError("confusion must be a square table with pixels in it")
    pixels = confusion.sum(axis=1)
    ious = {int(index): float(iou) for index, iou in val["class_iou"].items() if pixels[int(index)]}
    rows = [
        {
            "name": figures.class_name(index),
            "colour": figures.class_colour(index),
            "iou": iou,
            "pixels": f"{100 * pixels[index] / pixels.sum():.1f}%",
        }
        for index, iou in sorted(ious.items(), key=lambda pair: -pair[1])
    ]
    present = [int(index) for index in np.argsort(-pixels, kind="stable") if pixels[index]]
    return {
        **{key: val[key] for key in ("miou", "miou_all_classes", "classes_present", "accuracy", "kappa")},
        "classes": rows,
        "num_classes": len(confusion),
        "confusion": figures.confusion_figure(confusion, present),
    }


def _ops(results: dict[str, Values], agreement: Values) -> list[Values]:
    """A row for each measured op: the decoder first, then by cost, each with its cost over the decoder's."""
    base = results.get(DECODER, {}).get("median_ms")
    rows = []
    for name, row in sorted(results.items(), key=lambda pair: (pair[0] != DECODER, pair[1]["median_ms"])):
        seen = agreement["ops"].get(name)
        costs = {
            "times": row["median_ms"] / base if base else None,
            "over_ms": row["median_ms"] - base if base else None,
            "kept": [seen["kept_min"], seen["kept_mean"], seen["kept_max"]] if seen else None,
            "equal": percent(seen["equal"]) if seen else None,
        }
        rows.append(row | costs)
    return rows


def _chart(ops: Sequence[Values]) -> Values | None:
    """The latency bars in percent of an axis that ends a little beyond the largest p90."""
    if not ops:
        return None
    limit = 1.06 * max(row["p90_ms"] for row in ops)
    step = 10 ** math.floor(math.log10(limit))
    step = next(step * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if limit / (step * part) <= 6)
    limit = max(limit, step)
    base = ops[0]["median_ms"] if ops[0]["name"] == DECODER else None
    bars = []
    for row in ops:
        runs = [100 * run / limit for run in row["series_ms"] if run <= limit]
        bars.append(
            {
                "row": row,
                "network": 100 * min(base or row["median_ms"], row["median_ms"]) / limit,
                "op": 100 * max(row["median_ms"] - (base or row["median_ms"]), 0) / limit,
                "median": 100 * row["median_ms"] / limit,
                "whisker": 100 * max(row["p90_ms"] - row["median_ms"], 0) / limit,
                # The golden ratio spreads neighbours in the series over the height of the bar.
                "dots": [(x, 18 + 64 * (i * 0.618 % 1)) for i, x in enumerate(runs)],
            }
        )
    ticks = [(100 * i * step / limit, f"{i * step:g}") for i in range(int(limit / step) + 1)]
    beyond = sum(run > limit for row in ops for run in row["series_ms"])
    return {"bars": bars, "ticks": ticks, "beyond": beyond, "base": 100 * base / limit if base else None}


def _headline(quality: Values, by_op: dict[str, Values], steps: Sequence[Values], history: Sequence[Values]) -> str:
    """The result in one sentence."""
    trained = next((step["text"] for step in steps if step["name"].lower().startswith("train")), None)
    after = f"{trained} of training" if trained else f"{history[-1]['iter']} iterations"
    text = f"mIoU {quality['miou']:.2f} over {quality['classes_present']} classes after {after}"
    if VIM not in by_op or ARGMAX not in by_op:
        return text + "."
    vim, argmax = by_op[VIM], by_op[ARGMAX]
    ratio = argmax["median_ms"] / vim["median_ms"]
    text += f"; VIM answers in {vim['median_ms']:.0f} ms where argmax takes {argmax['median_ms']:.0f} ms ({ratio:.1f}×)"
    if vim["kept"]:
        text += f", interpolating {vim['kept'][1]:.0f} of {quality['num_classes']} classes on average"
    if not (vim["valid"] and argmax["valid"]):
        text += " (times marked invalid, see below)"
    return text + "."


def _scenes(labels_dir: Path, dataset_root: Path, num_classes: int) -> Values:
    names = sorted(path.stem for path in labels_dir.glob("*.png"))
    if not names:
        raise DataError(f"no predicted label maps (*.png) in {labels_dir}")
    chosen = figures.choose_scenes(names, dataset_root, num_classes)
    rows, shown = figures.mosaic(chosen, labels_dir, dataset_root, num_classes)
    known = [index for index in shown if index + 1 in figures.CLASS_COLOURS]
    legend = [(figures.class_name(index), figures.class_colour(index)) for index in known]
    if len(known) < len(shown):
        legend.append(("a class no scene holds", figures.OTHER_COLOUR))
    return {"scenes": rows, "legend": legend}


def _photo(folder: Path, source: str | None) -> Values | None:
    """The overlay of the user's photograph, the photograph if it is still there, and what was seen in it."""
    added = sorted(path for path in (folder / ADDED).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not added:
        return None
    # Predictions of other photographs may still lie there.
    added.sort(key=lambda path: path.name != Path(source or "").name)
    pictures = [Path(source)] if source and Path(source).is_file() else []
    uris = [data_uri(figures.read_rgb(path), longest=PHOTO_SIDE) for path in [*pictures, added[0]]]
    tiles = list(zip(["photograph", "prediction"][-len(uris) :], uris, strict=True))
    colours = folder / PSEUDO_COLOR / f"{added[0].stem}.png"
    return {"tiles": tiles, "legend": _photo_legend(colours) if colours.is_file() else []}


def _photo_legend(path: Path) -> list[tuple[str, str]]:
    """Name with share, and colour, of the larger classes in a predicted label map, a palette PNG."""
    with Image.open(path) as file:
        labels, colours = np.asarray(file), np.asarray(file.getpalette()).reshape(-1, 3)
    classes, counts = np.unique(labels, return_counts=True)
    shares = sorted(zip((counts / counts.sum()).tolist(), classes.tolist(), strict=True), reverse=True)
    return [
        (f"{figures.class_name(index)} {share:.0%}", "#{:02x}{:02x}{:02x}".format(*colours[index]))
        for share, index in shares
        if share >= LEAST_SHOWN
    ]


def _versions(run: Values) -> list[tuple[str, str]]:
    rows = [("paddleseg_ext", __version__), ("Python", platform.python_version())]
    rows += [(name, package_version(package)) for name, package in PACKAGES.items()]
    measured = (("Paddle-Lite runtime", "runtime_version"), ("opt", "opt_version"))
    return rows + [(name, run[key]) for name, key in measured if run.get(key)]


def _conditions(run: Values) -> list[tuple[str, str]]:
    """The machine as the measurement found it, and how it measured; what `_versions` says is left out."""
    if not run:
        return []
    return [
        *((name, value) for name, value in run["device_facts"].items() if name not in ("Python", *PACKAGES)),
        ("Threads", str(run["threads"])),
        ("Warm-up", f"{run['warmup']} runs a round"),
        ("Counted", f"{run['rounds']} rounds of {run['repeats']} runs"),
        ("Measured", f"{run['measured_at'][:16].replace('T', ' ')} UTC"),
    ]
