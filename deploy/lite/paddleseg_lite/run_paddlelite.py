"""The child that measures: one .nb file under Paddle-Lite's light predictor.

Runs as a program of its own because the runtime aborts on bad input. Writes `measurement.json` and
`output<i>.npy` (dtype kept: int32 labels stay int32) to --output_dir. Only `run()` lies between the
clock readings. The parent sets OMP_NUM_THREADS, which the OpenMP runtime reads when it is loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Measure what the command line names; 0, or 3 with one line on stderr."""
    args = _arguments()
    if int(args.affinity, 0) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core for core in range(1024) if int(args.affinity, 0) >> core & 1})
    import numpy as np
    import paddlelite
    from paddlelite.lite import MobileConfig, create_paddle_predictor

    start = time.perf_counter_ns()
    config = MobileConfig()
    config.set_model_from_file(args.nb)
    predictor = create_paddle_predictor(config)
    init_ms = _since(start)
    if args.threads > 1:
        _raise_threads(Path(paddlelite.__file__).parent / "libs", args.threads)
    names = predictor.get_input_names()
    if len(names) != 1:
        print(f"the model has {len(names)} inputs ({', '.join(names)}), one is served", file=sys.stderr)
        return 3
    predictor.get_input(0).from_numpy(np.load(args.input, allow_pickle=False))
    timings = _timings(predictor.run, args.warmup, args.repeats, args.min_seconds)
    report = {"init_ms": init_ms, **timings, "runtime_version": predictor.get_version(), "outputs": []}
    for index in range(len(predictor.get_output_names())):
        np.save(os.path.join(args.output_dir, f"output{index}.npy"), predictor.get_output(index).numpy())
        report["outputs"].append(f"output{index}.npy")
    Path(args.output_dir, "measurement.json").write_text(json.dumps(report), encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--nb", required=True, help="converted model")
    parser.add_argument("--input", required=True, help=".npy of the input tensor, float32 NCHW")
    parser.add_argument("--output_dir", required=True, help="existing folder to write to")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--affinity", default="0x0", help="mask of the cores to stay on")
    parser.add_argument("--warmup", type=int, default=20, help="runs before the counted ones")
    parser.add_argument("--repeats", type=int, default=50, help="counted runs, at least")
    parser.add_argument("--min_seconds", type=float, default=0.0, help="count this long, at least")
    return parser.parse_args()


def _timings(run, warmup: int, repeats: int, min_seconds: float) -> dict:
    """`warmup_ms` and `series_ms` of each run, and the processor time used per wall time over the series."""
    warmup_ms = [_timed(run) for _ in range(warmup)]
    series_ms: list[float] = []
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    while len(series_ms) < repeats or time.perf_counter_ns() - wall < min_seconds * 1e9:
        series_ms.append(_timed(run))
    ratio = (time.process_time_ns() - cpu) / (time.perf_counter_ns() - wall)
    first_ms = (warmup_ms or series_ms)[0]
    return {"first_ms": first_ms, "warmup_ms": warmup_ms, "series_ms": series_ms, "cpu_per_wall": ratio}


def _timed(run) -> float:
    start = time.perf_counter_ns()
    run()
    return _since(start)


def _since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e6


def _raise_threads(libraries: Path, threads: int) -> None:
    """Undo the predictor's own limit of one MKL thread; the wheel binds no call for it."""
    ctypes.CDLL(str(libraries / "libmklml_intel.so")).MKL_Set_Num_Threads(threads)
    ctypes.CDLL(str(libraries / "libiomp5.so")).omp_set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(main())
