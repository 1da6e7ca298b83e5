"""Measures the classes kept, the agreement and the time of the output ops, on all validation images, in three runtimes.

    python benchmarks/output_ops.py --config … --model_path … --opts … --save_json docs/figures/output_ops_tiny.json

Exports argmax, vim, vim_exact and decoder at 512x512; runs all of the validation set through the network, Paddle
Inference and Paddle-Lite; measures the time of all four ops under Paddle-Lite in turns. Prints markdown. `make
matrix` asserts on it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from paddleseg_ext_runtime.output_ops import LABEL_OPS
from paddleseg_ext_tools.arguments import find_config, set_device
from paddleseg_lite import run_paddlelite
from paddleseg_lite.convert import convert, find_opt

SIZE = 512


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--opts", nargs="+", default=[])
    parser.add_argument("--images", type=int, help="only so many validation images")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs of each operator, in each of two rounds")
    parser.add_argument("--save_json", help="where the figures go as well")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; returns the exit code."""
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        figures = measure(args, Path(name))
    print(markdown(figures))
    if args.save_json:
        Path(args.save_json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All figures as plain numbers; `folder` takes exports and intermediate tensors."""
    import paddle

    from paddleseg_ext.models.layers.resize import resize
    from paddleseg_ext.models.output_ops import OUTPUT_OPS
    from paddleseg_ext.weights import load_weights
    from paddleseg_ext_runtime.runtimes import ModelProcess
    from paddleseg_ext_tools.lab.systems import Network

    set_device("cpu")
    network = Network(find_config(args.config), args.opts)
    dataset, model = network.builder.build("val_dataset"), network.model
    load_weights(model, args.model_path)
    model.eval()
    for op in (*LABEL_OPS, "decoder"):
        report = network.export(op, (1, 3, SIZE, SIZE), folder / "models" / op)
        print(f"{op}: {report.operators} operators. Checked with Paddle Inference: {report.agreement}.")
    count = min(args.images or len(dataset), len(dataset))
    processes = {op: ModelProcess("paddle_inference", folder / "models" / op) for op in LABEL_OPS}
    lite = {op: _convert(folder, op) for op in LABEL_OPS}
    rows = {op: {"kept": [], "argmax": 0, "paddle_inference": 0, "lite": 0} for op in LABEL_OPS}
    for index in range(count):
        with paddle.no_grad():
            x = resize(paddle.to_tensor(dataset[index]["img"]).unsqueeze(0), [SIZE, SIZE])
            logits = model.logits(x)
            labels = {op: OUTPUT_OPS[op](model.align_corners)(logits, [SIZE, SIZE]).numpy() for op in LABEL_OPS}
        np.save(folder / "in.npy", x.numpy())
        for op, row in rows.items():
            row["kept"].append(len(OUTPUT_OPS[op]().kept(logits)))
            row["argmax"] += int((labels[op] == labels["argmax"]).sum())
            row["paddle_inference"] += int((processes[op].run(x.numpy())[0] == labels[op]).sum())
            row["lite"] += int((_run_lite(lite[op], folder) == labels[op]).sum())
        if rows["vim"]["kept"][index] == max(rows["vim"]["kept"]):
            np.save(folder / "timed.npy", x.numpy())
            timed = {"image": index, "kept": {op: row["kept"][index] for op, row in rows.items()}}
        print(f"{index + 1} of {count} images", end="\r", file=sys.stderr, flush=True)
    for row in rows.values():
        for name in ("argmax", "paddle_inference", "lite"):
            row[name] /= count * SIZE * SIZE
    config = {"config": str(args.config), "opts": args.opts, "images": count}
    return config | {"ops": rows, "timed": timed, "lite_ms": _time(args, folder)}


def _convert(folder: Path, op: str) -> Path:
    model, params = (folder / "models" / op / name for name in ("model.pdmodel", "model.pdiparams"))
    return convert(model, params, folder / f"{op}.nb", "x86", find_opt(None), 300.0)


def _run_lite(nb_file: Path, folder: Path):
    command = [sys.executable, run_paddlelite.__file__, f"--nb={nb_file}", f"--input={folder / 'in.npy'}"]
    command += [f"--output_dir={folder}", "--threads=1", "--warmup=0", "--repeats=1", "--min_seconds=0"]
    subprocess.run(command, check=True, capture_output=True)
    report = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))
    return np.load(folder / report["outputs"][0])


def _time(args: argparse.Namespace, folder: Path) -> dict[str, dict]:
    """Median and all runs in ms by operator, in turns on the image that costs VIM most; `valid` as the tool says."""
    from lite_families import run_lite

    _, results = run_lite(folder, folder / "timed.npy", f"--repeats={args.repeats}", "--rounds=2")
    keys = ("median_ms", "min_ms", "p90_ms", "series_ms", "valid", "invalid_reasons")
    return {result.output_op: {key: getattr(result, key) for key in keys} for result in results}


def markdown(figures: dict) -> str:
    """The figures as a table."""
    lines = [
        f"{figures['config']} {' '.join(figures['opts'])}, {figures['images']} validation images at {SIZE}x{SIZE}",
        "",
        "| output op | classes kept: min, mean, max | = argmax | Paddle Inference = dygraph | Lite = dygraph "
        "| timed image keeps | Lite median ms | × decoder |",
        "|---|---|---|---|---|---|---|---|",
    ]
    times, yardstick = figures["lite_ms"], figures["lite_ms"].get("decoder", {}).get("median_ms")
    for op in ("decoder", *figures["ops"]):
        row, cost = figures["ops"].get(op), times.get(op)
        cells = [""] * 5
        if row:
            kept = row["kept"]
            cells = [f"{min(kept)}, {sum(kept) / len(kept):.1f}, {max(kept)}"]
            cells += [f"{100 * row[name]:.4f} %" for name in ("argmax", "paddle_inference", "lite")]
            cells += [str(figures["timed"]["kept"][op])]
        if cost and yardstick:
            mark = "" if cost["valid"] else " (not valid)"
            cells += [f"{cost['median_ms']:.1f}{mark}", f"{cost['median_ms'] / yardstick:.2f}"]
        lines.append(f"| {op} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
