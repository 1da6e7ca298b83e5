"""Exports a static graph: `python tools/export.py --config configs/….yml --input_shape 1 3 512 512 --output_op vim`."""

from __future__ import annotations

import argparse

from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_tools.arguments import add_ignore_flag, launch, new_parser, set_device


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = new_parser("Export a model as a static graph for Paddle Inference and Paddle-Lite.", device=False)
    parser.add_argument("--model_path", help="trained weights (.pdparams or .pth, path or URL)")
    add_ignore_flag(parser, "--model_path")
    parser.add_argument("--save_dir", default="./output/inference_model", help="where the graph goes")
    parser.add_argument("--input_shape", nargs="+", type=int, help="fixed input N C H W, such as 1 3 512 512")
    parser.add_argument(
        "--output_op", choices=OUTPUT_OPS, help="what follows the decoder; default argmax, or vim if the yaml says so"
    )
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, checked under ONNX Runtime")
    parser.add_argument(
        "--opset", type=int, help="of model.onnx; default: the lowest from 11 on that has its operators"
    )
    parser.add_argument("--triton_repository", help="also write model.onnx as a model of this Triton model repository")
    args = parser.parse_args(argv)
    args.onnx = args.onnx or bool(args.triton_repository)
    if args.opset and not args.onnx:
        parser.error("--opset is about model.onnx; add --onnx")
    if args.ignore and not args.model_path:
        parser.error("--ignore is about --model_path, which is not given")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(export, parse_args(argv))


def export(args: argparse.Namespace) -> None:
    """Builds the model, loads its weights strictly, exports, and says how the export was checked."""
    from paddleseg_ext.export.onnx import export_onnx
    from paddleseg_ext.export.static_graph import check_input_shape
    from paddleseg_ext.export.triton import write_triton_model
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.log import get_logger
    from paddleseg_ext_tools.lab.systems import Network

    network = Network(args.config, args.opts)
    shape = check_input_shape(args.input_shape, network.config.in_channels)
    test_scale = network.test_scale
    save_dir = writable_dir(args.save_dir)
    if args.triton_repository:
        writable_dir(args.triton_repository)
    set_device("cpu")
    output_op = network.output_op(args.output_op)
    network.load(args.model_path, otherwise="exporting random weights, good for timing only", ignore=args.ignore)
    report = network.export(output_op, shape, save_dir)
    if test_scale != 1.0:
        get_logger().info(
            "the graph resizes its input by %g inside, as test_config says: give it whole images", test_scale
        )
    done = [f"{count} {name}" for name, count in report.passes.items() if count]
    get_logger().info("graph passes: %s", ", ".join(done) or "nothing to do")
    if None in report.config.input_shape[2:]:
        get_logger().info("any size is accepted; for Paddle-Lite, export a fixed one with --input_shape 1 3 512 512")
    print(
        f"{save_dir}: {output_op}, {report.config.output_dtype} {report.config.output_shape}, "
        f"{report.operators} operators. Checked with Paddle Inference: {report.agreement}."
    )
    if args.onnx:
        onnx = export_onnx(save_dir, opset=args.opset, checked=report.checked)
        print(f"{onnx.file}: opset {onnx.opset}. Checked under ONNX Runtime: {onnx.agreement}.")
    if args.triton_repository:
        print(
            f"{write_triton_model(save_dir, args.triton_repository, save_dir.resolve().name)}: for Triton's onnxruntime"
        )
