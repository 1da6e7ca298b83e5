"""Converts an exported program to ONNX. A script, started in a child process: paddle2onnx aborts at what it cannot do.

    python run_paddle2onnx.py --model model.pdmodel --params model.pdiparams --output model.onnx --opset 11 --exact 0

Imports nothing of this package. What paddle2onnx says goes to standard output.
"""

import argparse
import zlib  # noqa: F401  before paddle, whose own breaks Pillow


def main() -> None:
    """Writes the ONNX file, with a newer opset if an operator needs it and `--exact` is 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "params", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--opset", type=int, required=True)
    parser.add_argument("--exact", type=int, choices=(0, 1), default=0)
    args = parser.parse_args()

    import paddle

    paddle.disable_signal_handler()  # it would bury the reason of an abort under a C++ stack
    import paddle2onnx

    # Its own check would come before the graph is made right.
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
