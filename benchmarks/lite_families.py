#!/usr/bin/env python3
"""Every family of the published tables through opt and Paddle-Lite on this machine, in fp32 and with int8 weights.

    python benchmarks/lite_families.py --save_json docs/figures/lite_families.json

Exports with random weights (good for timing, not for accuracy), then runs deploy/lite as a user would, all models in
turns in one session. Prints a markdown table; --work keeps the exports for a second run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from paddleseg_ext_tools.paths import resource

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
    "pp_liteseg_stdc1": ("pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale0.5_160k.yml", "argmax"),
    "pp_liteseg_stdc2": ("pp_liteseg/pp_liteseg_stdc2_cityscapes_1024x512_scale0.5_160k.yml", "argmax"),
    "mobileseg_mobilenetv3": ("mobileseg/mobileseg_mobilenetv3_ade20k_512x512_160k.yml", "argmax"),
    "lraspp_mobilenetv3_os32": ("lraspp/lraspp_mobilenetv3_ade20k_512x512_160k_os32.yml", "argmax"),
}

KEPT = (
    *("model", "output_op", "precision", "threads", "init_ms", "min_ms", "median_ms", "p90_ms", "series_ms"),
    *("nb_bytes", "agreement", "agreement_note", "valid", "invalid_reasons", "warnings"),
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
            _export(name, work / "models" / name)
        code = _measure(args, work)
        folder = work / "lite_json"
        results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*-x86-t1*.json"))]
        print((folder / "results.md").read_text(encoding="utf-8"))
    if args.save_json:
        rows = [{key: result[key] for key in KEPT} for result in results]
        args.save_json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return code


def _export(name: str, folder: Path) -> None:
    if (folder / "deploy.yaml").is_file():
        return
    config, op = MODELS[name]
    command = [sys.executable, "-m", "paddleseg_ext_tools", "export", "--config", str(resource(f"configs/{config}"))]
    command += ["--save_dir", str(folder), "--output_op", op, "--input_shape", "1", "3", str(SIZE), str(SIZE)]
    subprocess.run([*command, "--opts", "model.backbone.pretrained=None"], check=True)


def _measure(args: argparse.Namespace, work: Path) -> int:
    """One session over all models: in turns, each round a fresh process."""
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE // 16, SIZE // 16)).astype(np.float32)
    np.save(work / "image.npy", image.repeat(16, axis=2).repeat(16, axis=3))
    command = [sys.executable, str(resource("deploy/lite/benchmark.py")), f"--models_dir={work / 'models'}"]
    command += [f"--input={work / 'image.npy'}", f"--result_file={work / 'lite.txt'}", "--precision=fp32,int8"]
    command += ["--warmup=3", f"--repeats={args.repeats}", f"--rounds={args.rounds}", f"--html={work / 'lite.html'}"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
