#!/usr/bin/env python3
"""Latency of exported segmentation models under Paddle-Lite, with the conditions they were measured in.

    python benchmark.py --models_dir models_dir --result_file test_result.txt --input image1.txt

Writes the text blocks benchmark_bin prints to --result_file, one JSON (with every single run) and the output
tensors of each case to --json_dir, and a table to the screen.

Exit codes: 0 all valid · 2 usage · 4 data · 6 conversion · 7 device, measurement, or a result that is
not valid · 130 interrupted. One failed model does not stop the others; the code is that of the first failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from device import Settings, open_device
from errors import DataError, DeviceError, LiteError, UsageError
from plan import find_cases
from report import markdown_table
from result import Failure, Result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except LiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return DataError.exit_code
    except KeyboardInterrupt:
        print("interrupted; what was measured before is kept", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    _refuse_runner(args.benchmark_bin)
    _require_numpy()
    from session import Options, Session

    json_dir = args.json_dir or args.result_file.with_name(f"{args.result_file.stem}_json")
    _require_writable(args.result_file, json_dir)
    device = open_device(args.device)
    shape = tuple(args.input_shape) if args.input_shape else None
    cases = find_cases(args.models_dir, args.threads, args.precision, shape)
    settings = Settings(1, args.warmup, args.repeats, args.min_seconds, args.timeout)
    options = Options(
        args.input,
        args.result_file,
        json_dir,
        settings,
        rounds=args.rounds,
        interleave=args.interleave,
        opt=args.opt,
        check=args.reference == "auto",
    )
    outcomes = Session(device, options).run(cases)
    print()
    print(markdown_table(outcomes))
    print(f"{args.result_file} and {json_dir}")
    return exit_code(outcomes)


def exit_code(outcomes: Sequence[Result | Failure]) -> int:
    """0 if every outcome is a valid result, else the code of the first that is not."""
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return outcome.exit_code
        if not outcome.valid:
            return DeviceError.exit_code
    return 0


def _refuse_runner(runner: str) -> None:
    if runner not in ("host", "-"):
        raise DeviceError(
            f"{runner}: measuring on a phone with benchmark_bin is not in this version",
            "`host` in its place, which measures on this machine with the paddlelite wheel",
            "sh benchmark.sh host models_dir test_result.txt image1.txt",
        )


def _require_numpy() -> None:
    if importlib.util.find_spec("numpy") is None:
        raise UsageError(f"{sys.executable} has no numpy", hint="pip install numpy paddlelite==2.13rc0")


def _require_writable(result_file: Path, json_dir: Path) -> None:
    for folder in (result_file.absolute().parent, json_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}", "a place to write results to") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{folder}: no permission to write", "a place to write results to")
    if result_file.is_dir():
        raise UsageError(f"{result_file}: is a folder", "the name of a text file")


def _parser() -> argparse.ArgumentParser:
    head, _, tail = __doc__.partition("\n")
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=head, epilog=tail, formatter_class=layout)
    add = parser.add_argument
    add("--models_dir", type=Path, required=True, help="exported folders, or one, or .nb files")
    add("--result_file", type=Path, default=Path("test_result.txt"), help="text report (test_result.txt)")
    add("--input", type=Path, required=True, help="image1.txt (see gen_val_txt.py) or .npy")
    add("--input_shape", type=int, nargs=4, help="N C H W, where no deploy.yaml gives a fixed one")
    add("--device", choices=["host"], default="host", help="where to measure (host: this machine)")
    add("--benchmark_bin", default="host", help="`host` or `-`: the paddlelite wheel (host)")
    add("--threads", type=_thread_counts, default=(1,), help="such as 1 or 1,2 (1)")
    add("--warmup", type=_count(0), default=20, help="runs before the counted ones (20)")
    add("--repeats", type=_count(1), default=50, help="counted runs of a round, at least (50)")
    add("--min_seconds", type=float, default=0.0, help="go on until a round has counted this long (0)")
    add("--rounds", type=_count(1), default=1, help="fresh processes a case (1)")
    either = argparse.BooleanOptionalAction
    add("--interleave", action=either, default=True, help="A B A B, not A A B B")
    add("--precision", choices=["fp32"], default="fp32", help="x86 computes in fp32 only (fp32)")
    add("--optimize", choices=["host"], default="host", help="where opt runs (host)")
    add("--opt", help="the opt program, when not beside this Python or on PATH")
    add("--timeout", type=float, default=600.0, help="seconds for one conversion or one round (600)")
    add("--json_dir", type=Path, help="JSON, .nb and output files (<result_file>_json)")
    add("--reference", choices=["auto", "none"], default="auto", help="compare with Paddle's output (auto)")
    return parser


def _count(least: int):
    def whole_number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return whole_number


def _thread_counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_count(1)(part.strip()) for part in text.split(",")))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that a running child ends too
    sys.exit(main())
