"""Compares models: parameters, multiply-adds, latency and mIoU, one row per model.

    python tools/compare.py                      the published tables of PP-MobileSeg, measured on this machine
    python tools/compare.py --config a.yml b.yml --model_path a.yml=a.pdparams --runtimes lite --output_op argmax vim

Writes compare.md, .csv, .json (every single run), .html and the picture of each table to --save_dir, the exported
models to its models/, and the files that runtimes convert them to, to its converted/.
Weights that you give are used, and evaluated if the config's validation data exist. Without weights the tool makes
weights for timing: they carry no information about accuracy, and the mIoU is the authors' figure, with a mark.

Exit codes: 0 all measured · 1 a defect of ours in some model · 2 usage or config · 4 data · 5 weights · 6 export or
conversion · 7 device, measurement, or a figure that is not valid · 8 download · 130 interrupted, with
reports of the results so far. One failed model does not stop the others; its row gives the reason, and the exit
code is the code of the first failure.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddleseg_ext_runtime.flags import counted
from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_tools.arguments import launch

if TYPE_CHECKING:
    from paddleseg_ext_tools.comparison.report import Comparison
    from paddleseg_ext_tools.comparison.rows import Row
    from paddleseg_ext_tools.lab.forms import Counts, ProcessForm

RUNTIMES = ("lite_fp32", "onnxruntime", "paddle_inference")
OLDER_NAMES = {"lite": "lite_fp32", "onnx": "onnxruntime", "paddle": "paddle_inference"}
INTERRUPTED = 130
PACKAGES = ("paddlepaddle", "paddleseg", "paddlelite", "paddle2onnx", "onnxruntime", "openvino", "mnn", "numpy")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    from paddleseg_ext_tools.lab.forms import TENSOR_FORMS

    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout, allow_abbrev=False)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--config", nargs="+", help="yamls to compare, each with the first, in place of a table")
    what.add_argument("--table", default="all", choices=("sota", "ablation", "all"), help="published tables (all)")
    add("--model_path", nargs="+", metavar="[CONFIG=]WEIGHTS", help="trained weights; CONFIG is the yaml or its name")
    add("--opts", nargs="+", help="override settings of every yaml: val_dataset.dataset_root=data/scenes …")
    add("--no_eval", action="store_true", help="do not evaluate the weights that are given")
    add("--output_op", nargs="+", choices=OUTPUT_OPS, help="for all rows; default: each row's published one")
    add(
        "--runtimes",
        nargs="+",
        default=list(RUNTIMES),
        type=lambda name: OLDER_NAMES.get(name, name),
        choices=TENSOR_FORMS,
        help=f"where latency is measured ({' '.join(RUNTIMES)}; lite, onnx and paddle stand for these)",
    )
    add("--no_latency", action="store_true", help="measure no latency")
    add(
        "--split",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="under the first runtime, also time networks alone",
    )
    add("--image", help="the picture to measure on (a drawn scene of 17 classes)")
    add("--size", nargs=2, type=counted(32), default=(512, 512), metavar=("H", "W"), help="what networks see (512 512)")
    add("--threads", type=counted(1), default=1, help="threads of each runtime (1)")
    add("--warmup", type=counted(0), default=2, help="runs before the counted ones (2)")
    add("--repeats", type=counted(1), default=5, help="least number of counted runs per round (5)")
    add("--min_seconds", type=float, default=1.0, help="repeat until a round has counted this many seconds (1)")
    add("--rounds", type=counted(1), default=2, help="fresh processes per measurement, all systems in turns (2)")
    add("--phone_results", help="folder with the JSON files of deploy/lite/benchmark.py")
    add("--save_dir", default="output/compare", help="folder for all results (output/compare)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    args = parse_args(argv)
    args.command = shlex.join(["python", "tools/compare.py", *(sys.argv[1:] if argv is None else argv)])
    code = 0

    def work() -> None:
        nonlocal code
        code = compare(args)

    return launch(work) or code


def compare(args: argparse.Namespace) -> int:
    """Prepares, measures and reports; returns the exit code of the first failure. Raises PaddleSegExtError before."""
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.log import get_logger
    from paddleseg_ext_tools.arguments import set_device
    from paddleseg_ext_tools.comparison import prepare as compare_prepare
    from paddleseg_ext_tools.comparison import rows as compare_rows
    from paddleseg_ext_tools.comparison.latencies import measure_all
    from paddleseg_ext_tools.comparison.phone import attach_phone_results
    from paddleseg_ext_tools.comparison.published import load_catalogue
    from paddleseg_ext_tools.comparison.report import Comparison, markdown
    from paddleseg_ext_tools.lab.forms import Counts
    from paddleseg_ext_tools.lab.systems import read_picture

    started = time.monotonic()
    catalogue = load_catalogue()
    rows = compare_rows.plan(args, catalogue)
    systems = compare_rows.distinct(rows)
    picture = read_picture(args.image, args.size)
    if args.phone_results:
        attach_phone_results(systems, args.phone_results)
    folder = writable_dir(args.save_dir)
    counts = Counts(args.threads, args.warmup, args.repeats, args.min_seconds)
    runtimes = _runtimes(args, counts)
    set_device("cpu")
    decoders = compare_rows.decoders(systems) if runtimes and args.split else {}
    alone = [decoder for decoder in decoders.values() if not any(decoder is system for system in systems)]
    load = os.getloadavg()
    pairs = [(system, runtime) for system in systems for runtime in runtimes]
    pairs += [(decoder, runtimes[0]) for decoder in alone]
    interrupted = False
    try:
        compare_prepare.prepare_all([*systems, *alone], picture, folder / "models", not args.no_eval)
        measure_all(pairs, counts, args.rounds, folder / "converted")
    except KeyboardInterrupt:
        interrupted = True
        get_logger().warning("interrupted: the reports hold what was measured before")
    conditions = _conditions(args, runtimes, load, time.monotonic() - started)
    titles = [(runtime.key, runtime.title) for runtime in runtimes]
    comparison = Comparison(rows, catalogue, titles, conditions, decoders)
    _write(comparison, folder, picture)
    print(markdown(comparison))
    print(folder / "compare.html")
    return INTERRUPTED if interrupted else exit_code(rows)


def exit_code(rows: Sequence[Row]) -> int:
    """0 if every row has all its figures and all are valid, otherwise the code of the first row without."""
    from paddleseg_ext_runtime.errors import DeviceError
    from paddleseg_ext_tools.comparison.rows import Failed

    for row in rows:
        if row.system.failure:
            return row.system.failure.exit_code
        for found in row.system.latencies.values():
            if isinstance(found, Failed):
                return found.exit_code
            if not found.valid:
                return DeviceError.exit_code
    return 0


def _runtimes(args: argparse.Namespace, counts: Counts) -> list[ProcessForm]:
    """Raises DeviceError if a runtime cannot be used here, before an hour of work."""
    from paddleseg_ext_runtime.errors import DeviceError
    from paddleseg_ext_tools.lab.forms import FORM
    from paddleseg_lite.errors import LiteError

    chosen = [] if args.no_latency else [FORM[key] for key in dict.fromkeys(args.runtimes)]
    for form in chosen:
        try:
            form.require(counts)
        except (LiteError, DeviceError) as error:
            others = [other.key for other in chosen if type(other) is not type(form)] or RUNTIMES[1:]
            raise DeviceError(f"{error}\n  Or leave it out: --runtimes {' '.join(others)}") from error
    return chosen


def _conditions(
    args: argparse.Namespace, runtimes: Sequence[ProcessForm], load: tuple[float, float, float], seconds: float
) -> list[tuple[str, str]]:
    from paddleseg_ext.version import __version__
    from paddleseg_ext_runtime.progress import duration
    from paddleseg_ext_tools.lab import machine

    now = datetime.datetime.now(datetime.timezone.utc)
    found = {"Command": args.command, "Date": f"{now:%Y-%m-%d %H:%M} UTC", "Took": duration(seconds)}
    found |= machine.facts() | {"paddleseg_ext": __version__}
    found |= {name: machine.package_version(name) for name in PACKAGES}
    if runtimes:
        each = f"{args.rounds} rounds of at least {args.repeats} runs and {args.min_seconds:g} s, {args.warmup} before"
        found |= {"Measured": f"{each}; systems and runtimes in turns", "Threads": str(args.threads)}
        found["Load average"] = f"{load[0]:.2f} before, {os.getloadavg()[0]:.2f} after, a minute's mean"
    found["Picture"] = f"{args.image or 'a drawn scene'} at {args.size[1]}x{args.size[0]}"
    return list(found.items())


def _write(comparison: Comparison, folder: Path, picture: Any) -> None:
    from paddleseg_ext_runtime.errors import DataError
    from paddleseg_ext_tools.comparison.figures import pareto_figure
    from paddleseg_ext_tools.comparison.page import html
    from paddleseg_ext_tools.comparison.report import as_csv, as_json, markdown

    try:
        for name, text in (("md", markdown(comparison)), ("csv", as_csv(comparison)), ("json", as_json(comparison))):
            (folder / f"compare.{name}").write_text(text, encoding="utf-8")
        (folder / "compare.html").write_text(html(comparison, picture), encoding="utf-8")
        for table in comparison.tables():
            if (figure := pareto_figure(comparison, table)) is not None:
                figure.savefig(folder / f"pareto_{table}.png", dpi=150)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from error
