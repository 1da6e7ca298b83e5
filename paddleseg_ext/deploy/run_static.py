"""Runs an exported model once with Paddle Inference. A script, started in a child process by its callers.

    python run_static.py --model model.pdmodel --params model.pdiparams --input in.npy --output out.npz

Imports nothing of this package, so that it starts quickly and serves whoever holds only an exported folder.
"""

import argparse
import zlib  # noqa: F401  before paddle, whose own breaks Pillow
from typing import Any

import numpy as np


def create_predictor(model: str, params: str, threads: int = 1) -> Any:
    """A CPU predictor that computes what the model says.

    oneDNN is on by default in Paddle Inference 2.6, and one of its fusions miscomputes attention written as
    reshape, transpose and matmul, as PaddleSeg's models have it; that fusion is taken out.
    """
    from paddle import inference

    config = inference.Config(model, params)
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.delete_pass("reshape_transpose_matmul_mkldnn_fuse_pass")
    return inference.create_predictor(config)


def run(predictor: Any, array: np.ndarray) -> list[np.ndarray]:
    """The outputs of `predictor` for one input tensor."""
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.reshape(array.shape)
    handle.copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def main() -> None:
    """Reads the input, runs the model, writes `output0`, `output1`, … to an .npz file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "params", "input", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    outputs = run(create_predictor(args.model, args.params, args.threads), np.load(args.input))
    np.savez(args.output, **{f"output{i}": value for i, value in enumerate(outputs)})


if __name__ == "__main__":
    main()
