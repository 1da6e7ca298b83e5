"""Measures the latency of exported segmentation models under Paddle-Lite, and records the conditions.

    python benchmark.py --benchmark_bin benchmark_bin --models_dir models_dir --input image1.txt   # a phone, over adb
    python benchmark.py --benchmark_bin host --models_dir models_dir --input image1.txt            # this machine

A case is one model with one precision and one number of threads. Writes text blocks like benchmark_bin's to
--result_file; one JSON file per case with every figure, the output tensors, results.md and results.csv to
--json_dir; and prints a table.

Exit codes: 0 all valid · 2 usage · 4 data · 6 conversion · 7 device, measurement, or a result that is
not valid · 130 interrupted. A failed model does not stop the others; the first failure decides the exit code.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from paddleseg_lite.adb import Adb, find_adb
from paddleseg_lite.benchmark_bin import BenchmarkBin
from paddleseg_lite.device import Device, Settings
from paddleseg_lite.errors import DataError, DeviceError, LiteError, UsageError
from paddleseg_lite.host import HostDevice
from paddleseg_lite.phone import DEFAULT_DIR, AdbDevice
from paddleseg_lite.plan import Case, find_cases
from paddleseg_lite.report import markdown_table
from paddleseg_lite.result import Failure, Result
from paddleseg_lite.runner import PaddleliteRunner, Runner
from paddleseg_lite.session import Options, Session

PRECISIONS = ("fp32", "fp16", "int8")
UNBOUND = 3  # in this power mode Paddle-Lite does not move threads away from the cores `taskset` chose


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`; returns the exit code."""
    args = _parser().parse_args(argv)
    if argv is None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that a running child is killed too
    try:
        return _run(args)
    except LiteError as error:
        print(f"error ({error.kind}): {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return DataError.exit_code
    except KeyboardInterrupt:
        print("interrupted; what was measured before is kept, --resume goes on from there", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    on_host = args.device == "host" or (args.device is None and args.benchmark_bin in ("host", "-"))
    optimize = args.optimize or ("host" if on_host else "device")
    _check(args, on_host, optimize)
    json_dir = args.json_dir or args.result_file.with_name(f"{args.result_file.stem}_json")
    _require_writable(args.result_file, json_dir)
    shape = tuple(args.input_shape) if args.input_shape else None
    cases = find_cases(args.models_dir, args.threads, args.precision, shape)
    _check_backend(args, optimize, cases)
    if not args.input.is_file():
        raise DataError(f"{args.input}: no such input file", hint="gen_val_txt.py makes it from a picture")
    device, runner = _open(args, on_host)
    if device.target == "x86" and "fp16" in args.precision:
        raise UsageError("--precision fp16: Paddle-Lite computes it on ARM only", "a phone with ARM v8.2 cores")
    options = Options(
        input_file=args.input,
        result_file=args.result_file,
        json_dir=json_dir,
        settings=Settings(
            warmup=args.warmup, repeats=args.repeats, min_seconds=args.min_seconds, timeout_s=args.timeout,
            power_mode=_power_mode(args), affinity=args.affinity, backend=args.backend or "",
        ),
        rounds=args.rounds or (1 if on_host else 3),
        interleave=args.interleave,
        opt=args.opt,
        check=args.reference == "auto",
        optimize=optimize,
        resume=args.resume,
        cool_down_s=(0.0 if on_host else 300.0) if args.cool_down is None else args.cool_down,
        reconnect_s=args.reconnect,
        html=args.html,
    )  # fmt: skip
    outcomes = Session(device, runner, options).run(cases)
    print()
    print(markdown_table(outcomes))
    print(f"{args.result_file} and {json_dir}" + (f" and {args.html}" if args.html else ""))
    return exit_code(outcomes)


def _open(args: argparse.Namespace, on_host: bool) -> tuple[Device, Runner]:
    program = Path(args.benchmark_bin)
    wheel = args.benchmark_bin in ("host", "-")
    if not wheel and not program.is_file():
        raise DataError(
            f"{program}: no such file",
            "Paddle-Lite's benchmark_bin built for the phone (README.md says where it comes from)",
            "`host` in its place, which measures on this machine",
        )
    if on_host:
        host = HostDevice()
        return host, PaddleliteRunner(host) if wheel else BenchmarkBin(host, program)
    adb = Adb(find_adb(args.adb))
    phone = AdbDevice(adb, serial=args.serial, remote_dir=args.remote_dir, timeout_s=args.timeout)
    return phone, BenchmarkBin(phone, program)


def exit_code(outcomes: Sequence[Result | Failure]) -> int:
    """0 if every outcome is a valid result, else the exit code of the first failure."""
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return outcome.exit_code
        if not outcome.valid:
            return DeviceError.exit_code
    return 0


def _check(args: argparse.Namespace, on_host: bool, optimize: str) -> None:
    """Refuse flags that cannot work together, before anything is written."""
    wheel = args.benchmark_bin in ("host", "-")
    if not on_host and wheel:
        raise UsageError("--device adb needs a program to run on the phone", "--benchmark_bin PATH")
    if wheel and optimize == "device":
        raise UsageError("--optimize device is benchmark_bin's", "--optimize host")
    if on_host and wheel and (args.power_mode or args.backend):
        raise UsageError("--power_mode and --backend are benchmark_bin's", "--affinity, which works here too")
    if args.affinity and args.power_mode not in (None, UNBOUND):
        raise UsageError(
            f"--affinity with --power_mode {args.power_mode}, which binds the threads to cores of its own",
            f"--affinity alone, which goes with --power_mode {UNBOUND}",
        )


def _power_mode(args: argparse.Namespace) -> int:
    bound = args.affinity and args.benchmark_bin not in ("host", "-")
    return args.power_mode if args.power_mode is not None else UNBOUND if bound else 0


def _check_backend(args: argparse.Namespace, optimize: str, cases: Sequence[Case]) -> None:
    """Refuse --backend for a converted model: its kernels are chosen already, so the flag would have no effect."""
    if args.backend in (None, "arm", "x86"):
        return
    converted = [case.model_name for case in cases if case.nb_file or case.precision == "int8"]
    if optimize == "host" or converted:
        what = ", ".join(converted) or "models converted here"
        raise UsageError(
            f"--backend {args.backend} does not act on {what}", "a Paddle program, fp32 or fp16, and --optimize device"
        )


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
    either = argparse.BooleanOptionalAction
    add = parser.add_argument_group("what").add_argument
    add("--models_dir", type=Path, required=True, help="exported folders, or one, or .nb files")
    add("--input", type=Path, required=True, help="image1.txt (see gen_val_txt.py) or .npy")
    add("--result_file", type=Path, default=Path("test_result.txt"), help="text report (test_result.txt)")
    add("--json_dir", type=Path, help="JSON, .nb and output files (<result_file>_json)")
    add("--html", type=Path, help="also write a page with every model's distribution")
    add("--input_shape", type=_count(1), nargs=4, help="N C H W, for models without a fixed shape in deploy.yaml")
    add("--threads", type=_list_of(_count(1)), default=(1,), help="such as 1 or 1,2,4 (1)")
    add("--precision", type=_list_of(_precision), default=("fp32",), help="such as fp32 or fp32,fp16,int8 (fp32)")
    add = parser.add_argument_group("where").add_argument
    add("--benchmark_bin", default="host", help="the phone's program; `host` or `-`: the paddlelite wheel (host)")
    add("--device", choices=["adb", "host"], help="(adb, or host without a benchmark_bin)")
    add("--serial", help="which phone ($ANDROID_SERIAL, or the only one)")
    add("--adb", help="the adb program ($ADB, PATH, the adbutils wheel)")
    add("--remote_dir", default=DEFAULT_DIR, help=f"folder on the phone ({DEFAULT_DIR})")
    add("--backend", help="benchmark_bin's (arm or x86, as the phone)")
    add("--power_mode", type=int, choices=range(6), help="0 big cores, 1 little, 2 all, 3 none (0; 3 with --affinity)")
    add("--affinity", default="", help="big, little, all, or a mask such as 0xf0")
    add("--optimize", choices=["host", "device"], help="where opt runs (device for a phone, else host)")
    add("--opt", help="the opt program, when not beside this Python or on PATH")
    add = parser.add_argument_group("how").add_argument
    add("--warmup", type=_count(0), default=20, help="runs before the counted ones (20)")
    add("--repeats", type=_count(1), default=50, help="counted runs per round, at least (50)")
    add("--min_seconds", type=_seconds, default=0.0, help="seconds that the counted runs must take, at least (0)")
    add("--rounds", type=_count(1), help="new processes per case (3 on a phone, 1 on this machine)")
    add("--interleave", action=either, default=True, help="let models take turns: A B A B, not A A B B")
    add("--cool_down", type=_seconds, help="seconds a round may wait for a cool phone (300 on a phone)")
    add("--timeout", type=_seconds, default=600.0, help="seconds for one conversion or one round (600)")
    add("--reconnect", type=_seconds, default=60.0, help="part of --timeout: seconds to wait for a lost phone (60)")
    add("--resume", action="store_true", help="measure only the cases that are missing in --json_dir")
    add("--reference", choices=["auto", "none"], default="auto", help="compare with another runtime's output (auto)")
    return parser


def _count(least: int):
    def whole_number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return whole_number


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(PRECISIONS)}")
    return text


def _list_of(kind):
    def values(text: str) -> tuple:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",")))

    return values
