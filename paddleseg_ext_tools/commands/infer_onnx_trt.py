"""Exports a model to ONNX and measures it: with TensorRT or CUDA where ONNX Runtime has them, else on the CPU.

    python deploy/python/infer_onnx_trt.py --width 1024 --height 512 \\
        --config configs/pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale0.5_160k.yml

It says on what it ran, and compares the result with the network's own before it prints a time.
"""

from __future__ import annotations

import argparse
import statistics

from paddleseg_ext_runtime.flags import counted
from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_tools.arguments import launch, new_parser, set_device


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = new_parser("Export a model to ONNX and measure it under ONNX Runtime.", device=False)
    parser.add_argument("--model_path", help="trained weights (.pdparams or .pth, path or URL)")
    parser.add_argument("--width", type=counted(1), default=1024, help="of the network's input")
    parser.add_argument("--height", type=counted(1), default=512)
    parser.add_argument("--output_op", choices=OUTPUT_OPS, help="default argmax, or vim if the yaml says so")
    parser.add_argument("--opset_version", type=int, help="default: the lowest from 11 on that has its operators")
    parser.add_argument("--save_dir", default="./output/onnx", help="where the exported folder goes")
    parser.add_argument(
        "--device", default="gpu", choices=("cpu", "gpu"), help="the CPU, saying so, where there is none"
    )
    parser.add_argument("--threads", type=counted(1), default=1, help="of the CPU")
    parser.add_argument("--warmup", type=counted(0), default=10, help="uncounted runs")
    parser.add_argument("--repeats", type=counted(1), default=50, help="counted runs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the script and returns its exit code."""
    return launch(measure, parse_args(argv))


def measure(args: argparse.Namespace) -> None:
    """Exports, checks against the network, times. Without `--model_path` the weights are made, for timing only.

    The network is given the size itself: a test scale of the config's plays no part.
    """
    import numpy as np

    from paddleseg_ext.export.onnx import export_onnx
    from paddleseg_ext.export.static_graph import check_input_shape
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.errors import ConversionError
    from paddleseg_ext_runtime.runtimes import measure as measure_runtime
    from paddleseg_ext_runtime.verify import check_input, compare
    from paddleseg_ext_tools.lab.systems import Network

    network = Network(args.config, [*(args.opts or []), "test_config=null"])
    channels = network.config.in_channels
    shape = check_input_shape([1, channels, args.height, args.width], channels)
    save_dir = writable_dir(args.save_dir)
    set_device("cpu")
    output_op = network.output_op(args.output_op)
    network.load(args.model_path, otherwise="weights made for timing; they say nothing of accuracy")
    if not args.model_path:
        network.make_weights(check_input(shape, network.transforms or []))
    report = network.export(output_op, shape, save_dir)
    onnx = export_onnx(save_dir, opset=args.opset_version, checked=report.checked)
    print(f"{onnx.file}: {output_op}, opset {onnx.opset}, {onnx.operators} operators, checked by onnx")
    runtime = "onnxruntime_gpu" if args.device == "gpu" else "onnxruntime"
    counts = {"warmup": args.warmup, "repeats": args.repeats, "threads": args.threads}
    result = measure_runtime(runtime, save_dir, report.checked.inputs[0], **counts)
    is_labels = report.config.output_kind == "labels"
    agreement = compare(report.checked.outputs, result.outputs, is_labels, ("the network", "ONNX Runtime"))
    if not agreement.is_good:
        raise ConversionError(f"on {result.device}, ONNX Runtime disagrees with the network: {agreement}")
    if args.device == "gpu" and result.device == "cpu":
        print("neither TensorRT nor CUDA in this ONNX Runtime: measured on the CPU")
    classes = f", {len(np.unique(result.outputs[0]))} classes among them" if is_labels else ""
    print(f"compared with the network: {agreement}{classes}")
    series = result.series_ms
    p90 = float(np.percentile(series, 90))
    print(
        f"ONNX Runtime {result.runtime_version} on {result.device}, {args.width}x{args.height} (width x height), "
        f"{args.threads} threads: median {statistics.median(series):.2f} ms, p90 {p90:.2f}, min {min(series):.2f}, "
        f"{len(series)} runs, {result.cpu_per_wall:.2f} processors at work"
    )
