#!/usr/bin/env python3
# A STAND-IN FOR TESTS: not Paddle-Lite's benchmark_bin, never shipped, and its times are not a phone's.
"""Loads the .nb through the paddlelite wheel and prints what benchmark_bin prints, byte for byte in layout.

It also keeps the original's habits: exit code 0 after bad flags and after an input it cannot read, abort on a model
it cannot load, int32 outputs read as float32. What should go wrong is named in `$ADBD_ROOT/misbehave`.
"""

import math
import os
import subprocess
import sys
import time

FLAGS = {
    "optimized_model_file": "", "model_file": "", "param_file": "", "input_shape": "", "input_data_path": "",
    "output_data_path": "", "backend": "", "cpu_precision": "fp32", "threads": "1", "power_mode": "0",
    "warmup": "0", "repeats": "1", "result_path": "",
}  # fmt: skip
VERSION = "v2.13-rc"


def main():
    flags = dict(FLAGS)
    for word in sys.argv[1:]:
        name, _, value = word.removeprefix("--").partition("=")
        if name not in flags:
            print(f"ERROR: unknown command line flag '{name}'", file=sys.stderr)
            return 1
        flags[name] = value
    mode = misbehaviour()
    early(mode)
    given = flags["optimized_model_file"] or flags["model_file"]
    if not given or not flags["input_shape"] or not flags["backend"] or mode == "usage":
        print("Please set --optimized_model_file or --model_file, --input_shape, --backend", file=sys.stderr)
        print("Usage: benchmark_bin --optimized_model_file=... --input_shape=... --backend=...")
        return 0
    os.environ["OMP_NUM_THREADS"] = flags["threads"]
    if flags["model_file"]:
        optimise(flags, mode)
    print_device()
    return run(flags, mode)


def misbehaviour():
    try:
        with open(os.path.join(os.environ.get("ADBD_ROOT", "/nowhere"), "misbehave")) as file:
            return file.read().strip()
    except OSError:
        return ""


def early(mode):
    if mode == "hang":
        open(os.path.join(os.environ["ADBD_ROOT"], "hangs"), "w").close()
        time.sleep(600)
    if mode == "library":
        print('CANNOT LINK EXECUTABLE "benchmark_bin": library "libc++_shared.so" not found', file=sys.stderr)
        sys.exit(1)
    if mode == "garbage":
        sys.stdout.buffer.write(bytes(range(256)) * 20)
        sys.exit(0)
    if mode == "silent":
        sys.exit(0)


def abort(reason):
    sys.stdout.flush()
    print(f"[F  1/ 1  0: 0: 0.  0 tools/benchmark.cc:1 Run] {reason}", file=sys.stderr, flush=True)
    os.abort()


def optimise(flags, mode):
    made = flags["optimized_model_file"]
    if os.path.exists(made):
        os.remove(made)
        print(f"Delete previous optimized model: {made}")
    print("\n======= Opt Info =======")
    print(f"Load paddle model from {flags['model_file']} and {flags['param_file']}")
    opt = os.path.join(os.path.dirname(sys.executable), "paddle_lite_opt")
    command = [opt, f"--model_file={flags['model_file']}", f"--param_file={flags['param_file']}"]
    command += [f"--optimize_out={made.removesuffix('.nb')}", f"--valid_targets={flags['backend']}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if mode == "opt" or done.returncode:
        sys.stderr.write(done.stderr)
        abort("No attributes called threshold found for relu6" if mode == "opt" else "opt failed")
    print(f"Save optimized model to {made}")


def print_device():
    print("\n======= Device Info =======")
    for name, prop in (
        ("Brand", "ro.product.brand"), ("Device", "ro.product.device"), ("Model", "ro.product.model"),
        ("Android Version", "ro.build.version.release"), ("Android API Level", "ro.build.version.sdk"),
    ):  # fmt: skip
        print(f"{name}: {subprocess.run(['getprop', prop], capture_output=True, text=True).stdout.strip()}")


def run(flags, mode):
    import numpy as np
    from paddlelite.lite import MobileConfig, create_paddle_predictor

    model = flags["optimized_model_file"]
    if not os.path.exists(model):
        abort(f"Mode file[{model}] not exist!")
    start = time.perf_counter()
    config = MobileConfig()
    config.set_model_from_file(model)
    predictor = create_paddle_predictor(config)
    init = 1000 * (time.perf_counter() - start)
    if mode == "crash":
        abort("Check failed: (a->dims() == b->dims())")
    shape = [int(n) for n in flags["input_shape"].split(",")]
    predictor.get_input(0).from_numpy(read_input(np, flags["input_data_path"], shape, mode))
    warm = [timed(predictor) for _ in range(int(flags["warmup"]))]
    counted = [timed(predictor) for _ in range(int(flags["repeats"]))]
    output = predictor.get_output(0).numpy()
    if mode == "labels":
        output = (output + 1) % 4
    if mode == "heat":
        heat()
    report(np, flags, output, (init, (warm + counted)[0], counted), mode)
    return 0


def read_input(np, path, shape, mode):
    try:
        if mode == "input":
            raise OSError
        return np.array(open(path).read().split(), np.float32).reshape(shape)
    except (OSError, ValueError):
        print(f"Open input image {path} error.", file=sys.stderr)
        return np.zeros(shape, np.float32)


def timed(predictor):
    start = time.perf_counter()
    predictor.run()
    return 1000 * (time.perf_counter() - start)


def heat():
    with open(os.path.join(os.environ["ADBD_ROOT"], "dumpsys", "thermalservice"), "w") as file:
        file.write("Thermal Status: 2\n")


def report(np, flags, output, times, mode):
    floats = np.ascontiguousarray(output).view(np.float32).ravel()  # int32 labels become denormals
    if flags["output_data_path"]:
        with open(flags["output_data_path"], "w") as file:
            file.writelines(f"{value:g}\n" for value in floats.tolist())
    wide = floats.astype(np.float64)
    print("\n======= Model Info =======")
    print(f"optimized_model_file: {flags['optimized_model_file']}")
    print(f"input_data_path: {flags['input_data_path']}\ninput_shape: {flags['input_shape']}\noutput tensor num: 1")
    print("--- output tensor 0 ---")
    print(f"output shape(NCHW): {''.join(f'{n} ' for n in output.shape)}")
    print(f"output tensor 0 elem num: {floats.size}")
    print(f"output tensor 0 mean value: {wide.mean():g}\noutput tensor 0 standard deviation: {wide.std():g}")
    print("\n======= Runtime Info =======")
    print(f"benchmark_bin version: {VERSION}\nthreads: {flags['threads']}\npower_mode: {flags['power_mode']}")
    repeats = "1" if mode == "repeats" else flags["repeats"]
    print(f"warmup: {flags['warmup']}\nrepeats: {repeats}\nresult_path: {flags['result_path']}")
    print(f"\n======= Backend Info =======\nbackend: {flags['backend']}\ncpu precision: {flags['cpu_precision']}")
    if mode == "perf":
        sys.stdout.flush()
        os._exit(0)
    init, first, counted = times
    mean = math.nan if mode == "nan" else sum(counted) / len(counted)
    print("\n======= Perf Info =======\nTime(unit: ms):")
    named = ("init", init), ("first", first), ("min", min(counted)), ("max", max(counted)), ("avg", mean)
    for name, value in named:
        print(f"{name:<6}= {value:<12.3f}")


if __name__ == "__main__":
    sys.exit(main())
