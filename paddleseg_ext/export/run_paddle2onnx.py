"""Converts an exported program to ONNX. A script for a child process, because paddle2onnx may abort the process.

    python run_paddle2onnx.py --model model.pdmodel --params model.pdiparams --output model.onnx --opset 11 --exact 0

It imports nothing of this package. The messages of paddle2onnx go to standard output.
"""

import argparse
import zlib  # noqa: F401  before paddle, because paddle's own zlib breaks Pillow


def main() -> None:
    """Writes the ONNX file, with a newer opset if an operator needs it and `--exact` is 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "params", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--opset", type=int, required=True)
    parser.add_argument("--exact", type=int, choices=(0, 1), default=0)
    args = parser.parse_args()

    import paddle

    paddle.disable_signal_handler()  # it would hide the reason of an abort behind a C++ stack
    import paddle2onnx

    # paddle2onnx would check the graph before our corrections.
    paddle2onnx.export(
        args.model,
        args.params,
        args.output,
        opset_version=args.opset,
        auto_upgrade_opset=not args.exact,
        enable_onnx_checker=False,
    )


if __name__ == "__main__":
    main()
