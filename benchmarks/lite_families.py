#!/usr/bin/env python3
"""Measures every family of the published tables under Paddle-Lite on this machine, in fp32 and with int8 weights.

    python benchmarks/lite_families.py --save_json docs/figures/lite_families.json

Exports with weights made for timing (`lab.probe`), so that fifteen classes win somewhere in the timed picture, then
runs deploy/lite as a user would, all models in turns in one session. Prints a markdown table; --work keeps the exports
for a second run.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddleseg_ext_tools.lab.systems import Network, read_picture
from paddleseg_ext_tools.paths import resource
from paddleseg_lite.result import Result

SIZE = 512
# Folder of the exported model: config, output op. The op is the one the published latency was measured with.
MODELS = {
    "pp_mobileseg_base": ("pp_mobileseg/pp_mobileseg_base_ade20k_512x512_160k.yml", "vim"),
    "pp_mobileseg_tiny": ("pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_160k.yml", "vim"),
    "topformer_base": ("topformer/topformer_base_ade20k_512x512_160k.yml", "argmax"),
    "topformer_small": ("topformer/topformer_small_ade20k_512x512_160k.yml", "argmax"),
    "topformer_tiny": ("topformer/topformer_tiny_ade20k_512x512_160k.yml", "argmax"),
    "seaformer_base": ("seaformer/seaformer_base_ade20k_512x512_160k.yml", "argmax"),
    "seaformer_small": ("seaformer/seaformer_small_ade20k_512x512_160k.yml", "argmax"),
    "seaformer_tiny": ("seaformer/seaformer_tiny_ade20k_512x512_160k.yml", "argmax"),
    "pp_liteseg_stdc1": ("pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale1.0_160k.yml", "argmax"),
    "pp_liteseg_stdc2": ("pp_liteseg/pp_liteseg_stdc2_cityscapes_1024x512_scale1.0_160k.yml", "argmax"),
    "mobileseg_mobilenetv3": ("mobileseg/mobileseg_mobilenetv3_ade20k_512x512_160k.yml", "argmax"),
    "lraspp_mobilenetv3_os32": ("lraspp/lraspp_mobilenetv3_ade20k_512x512_160k_os32.yml", "argmax"),
}

KEPT = (
    *("model", "output_op", "precision", "threads", "init_ms", "min_ms", "median_ms", "p90_ms", "series_ms"),
    *("nb_bytes", "outputs", "agreement", "agreement_note", "valid", "invalid_reasons", "warnings"),
    *("runtime_version", "device_facts", "state_before", "measured_at"),
)


def main() -> int:
    """Export, measure, print; the exit code is deploy/lite's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="(all)")
    parser.add_argument("--work", type=Path, help="folder to export to and to keep (a temporary one)")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save_json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="families-") as temporary:
        work = args.work or Path(temporary)
        for name in args.models:
            if not (work / "models" / name / "deploy.yaml").is_file():
                _export(name, work)
        flags = ["--precision=fp32,int8", f"--repeats={args.repeats}", f"--rounds={args.rounds}"]
        code, results = run_lite(work, work / "image.npy", *flags, f"--html={work / 'lite.html'}")
        results = [result for result in results if result.model in args.models]
    print(markdown(results))
    if args.save_json:
        rows = [{key: dataclasses.asdict(result)[key] for key in KEPT} for result in results]
        args.save_json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return code


def _export(name: str, work: Path) -> None:
    """Writes the model and `image.npy`, the timed picture, which is normalised alike for all of them."""
    path, op = MODELS[name]
    network = Network(resource(f"configs/{path}"))
    array = network.normalised(read_picture(None, (SIZE, SIZE)))
    network.make_weights(array)
    network.export(op, array.shape, work / "models" / name)
    np.save(work / "image.npy", array)
    print(f"{name}: exported with {op}", file=sys.stderr, flush=True)


def run_lite(work: Path, tensor: Path, *flags: str) -> tuple[int, list[Result]]:
    """One session over all of `work/models`: in turns, each round a fresh process. Its exit code and its results."""
    command = [sys.executable, str(resource("deploy/lite/benchmark.py")), f"--models_dir={work / 'models'}"]
    command += [f"--input={tensor}", f"--result_file={work / 'lite.txt'}", "--warmup=3", *flags]
    code = subprocess.call(command)
    files = sorted((work / "lite_json").glob("*-x86-t1*.json"))
    return code, [Result.from_json(path.read_text(encoding="utf-8")) for path in files]


def markdown(results: Sequence[Result]) -> str:
    """One line a model: what it weighs and takes in fp32 and with int8 weights, and how far its labels are right."""
    lines = ["| model | output op | labels | .nb, MB | int8 | median, p90, ms | int8 | equal labels, % | int8 |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    of = {(one.model, one.precision): one for one in results}
    for name in sorted({model for model, _ in of}):
        both = [of.get((name, precision)) for precision in ("fp32", "int8")]
        any_one = both[0] or both[1]
        cells = [name, any_one.output_op, str(any_one.labels)]
        cells += [f"{one.nb_bytes / 1e6:.2f}" if one else "failed" for one in both]
        cells += [_times(one) if one else "failed" for one in both]
        cells += [_percent(one.agreement) if one else "failed" for one in both]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "not checked" if share is None else f"{100 * share:.4f}"


def _times(one: Result) -> str:
    return f"{one.median_ms:.1f}, {one.p90_ms:.1f}{'' if one.valid else ', not valid'}"


if __name__ == "__main__":
    sys.exit(main())
