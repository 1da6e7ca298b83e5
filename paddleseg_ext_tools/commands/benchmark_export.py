"""One model in every form it can be deployed in: size, agreement with the network, mIoU, latency, memory.

    python tools/benchmark_export.py --config configs/….yml --model_path ….pdparams --input_shape 1 3 512 512

Writes benchmark_export.md, .csv and .json to --save_dir. A form that fails says why in its row and stops none of the
others. Labels are compared at the photographs' size, on the validation images where there are any, else on the one
photograph that is timed. Without --model_path the weights are made for timing: they say nothing about accuracy.

Exit codes: 0 all rows have their figures, all valid · 2 usage or config · 4 data · 5 weights · 6 export, or a form that
failed or disagrees with the network · 7 a latency is not valid · 130 interrupted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from paddleseg_ext_runtime.flags import counted, positive
from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_tools.arguments import find_config, launch, set_device


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    from paddleseg_ext_tools.lab.forms import CPP_PROGRAM, FORM

    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout, allow_abbrev=False)
    add = parser.add_argument
    add("--config", required=True, help="the yaml of the model")
    add("--model_path", help="trained weights (.pdparams or .pth, path or URL)")
    add("--opts", nargs="+", help="override settings of the yaml: val_dataset.dataset_root=data/scenes …")
    add("--output_op", choices=OUTPUT_OPS, help="default argmax, or vim if the yaml says so")
    add("--input_shape", nargs=4, type=int, default=(1, 3, 512, 512), help="N C H W (1 3 512 512)")
    add("--formats", nargs="+", choices=FORM, default=list(FORM), help="which rows (all)")
    add("--image", help="the photograph that is timed (a drawn scene of many classes)")
    add("--images", type=counted(0), default=50, help="of the validation set; 0: none (50)")
    add("--threads", type=counted(1), default=1, help="(1)")
    add("--warmup", type=counted(0), default=5, help="uncounted runs (5)")
    add("--repeats", type=counted(1), default=20, help="counted runs per round (20)")
    add("--rounds", type=counted(1), default=3, help="processes per form, all forms in turns (3)")
    add("--timeout", type=positive, default=600.0, help="seconds a run may take (600)")
    add("--cpp", type=Path, default=CPP_PROGRAM, help=f"deploy/cpp's program ({CPP_PROGRAM})")
    add("--save_dir", default="./output/benchmark_export", help="where everything goes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(benchmark, parse_args(argv))


def benchmark(args: argparse.Namespace) -> None:
    """Exports, runs every form, reports. Raises ConversionError at the end when a row failed or disagrees."""
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.errors import ConversionError, DeviceError
    from paddleseg_ext_runtime.progress import track
    from paddleseg_ext_tools.comparison import forms_report as report
    from paddleseg_ext_tools.comparison.forms_rows import Network, compared_row, timed_row
    from paddleseg_ext_tools.lab.forms import Counts, chosen_forms
    from paddleseg_ext_tools.lab.rounds import in_turns

    save_dir = writable_dir(args.save_dir)
    set_device("cpu")
    counts = Counts(args.threads, args.warmup, args.repeats, timeout_s=args.timeout)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        network = Network.build(find_config(args.config), args, save_dir / "model", Path(name))
        rows = {"network": network.row()}
        measured: dict[str, list] = {}
        forms = chosen_forms(args.formats, network.folder, Path(name), args.cpp)
        try:
            for form in forms:
                rows[form.key] = compared_row(form, network, counts)
                print(report.line(rows[form.key]), flush=True)
            turns = in_turns(forms, args.rounds)
            for form in track(turns, len(turns), "measuring"):
                series = measured.setdefault(form.key, [])
                rows[form.key] = timed_row(rows[form.key], form, network, counts, series)
        finally:  # what an interruption left is kept
            facts = report.conditions(args, network)
            for suffix, text in report.written(list(rows.values()), facts).items():
                (save_dir / f"benchmark_export.{suffix}").write_text(text, encoding="utf-8")
    print((save_dir / "benchmark_export.md").read_text(encoding="utf-8"))
    wrong = [row.title for row in rows.values() if not row.is_good]
    if wrong:
        raise ConversionError(f"{len(wrong)} of {len(rows)} rows failed or disagree: {', '.join(wrong)}")
    invalid = [row.title for row in rows.values() if row.timing and not row.timing.valid]
    if invalid:
        raise DeviceError(f"the latencies of {len(invalid)} of {len(rows)} rows are not valid: {', '.join(invalid)}")
