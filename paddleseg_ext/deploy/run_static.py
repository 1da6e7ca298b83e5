"""Runs an exported model, once or timed, with Paddle Inference or ONNX Runtime. A script, started in a child process.

    python run_static.py --model model.pdmodel --params model.pdiparams --input in.npy --output out.npz
    python run_static.py --model model.onnx --input in.npy --output out.npz --warmup 5 --repeats 20 --json times.json

Imports nothing of this package, so that it starts quickly and serves whoever holds only an exported folder. Only
`run()` lies between the clock readings: input and output are bound or copied outside.
"""

import argparse
import json
import os
import time
import zlib  # noqa: F401  before paddle, whose own breaks Pillow
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# What oneDNN computes together with a convolution.
_ACTIVATIONS = {
    "abs", "clip", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "mish", "relu", "relu6", "sigmoid", "sqrt",
    "swish", "tanh",
}  # fmt: skip


def create_predictor(model: str, params: str, threads: int = 1) -> Any:
    """A CPU predictor that computes what the model says.

    oneDNN is on by default in Paddle Inference 2.6, and two of its fusions miscompute. One takes attention written
    as reshape, transpose and matmul, as PaddleSeg's models have it. The other takes an activation into a convolution,
    and when a second follows (BiSeNetV1's relu and sigmoid), this one in the place of the first. They are taken out,
    the second only from such a model: a convolution and its activation are faster together.
    """
    from paddle import inference

    config = inference.Config(model, params)
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.delete_pass("reshape_transpose_matmul_mkldnn_fuse_pass")
    if _has_activation_on_activation(model):
        config.delete_pass("conv_activation_mkldnn_fuse_pass")
    return inference.create_predictor(config)


def _has_activation_on_activation(model: str) -> bool:
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc.FromString(Path(model).read_bytes())
    activated = set()
    for op in (op for block in program.blocks for op in block.ops if op.type in _ACTIVATIONS):
        if any(activated.intersection(slot.arguments) for slot in op.inputs):
            return True
        activated.update(name for slot in op.outputs for name in slot.arguments)
    return False


def run(predictor: Any, array: np.ndarray) -> list[np.ndarray]:
    """The outputs of `predictor` for one input tensor."""
    _give(predictor, array)
    predictor.run()
    return _take(predictor)


def _give(predictor: Any, array: np.ndarray) -> None:
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.reshape(array.shape)
    handle.copy_from_cpu(np.ascontiguousarray(array))


def _take(predictor: Any) -> list[np.ndarray]:
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


class PaddleInference:
    """Paddle Inference on the CPU."""

    def __init__(self, model: str, params: str, threads: int):
        import paddle

        self.version = paddle.__version__
        self._files, self._threads = (model, params), threads

    def load(self) -> None:
        """From the files to a predictor that can run."""
        self._predictor = create_predictor(*self._files, self._threads)

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        _give(self._predictor, array)
        return self._predictor.run

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return _take(self._predictor)


class OnnxRuntime:
    """ONNX Runtime's CPU provider."""

    def __init__(self, model: str, params: str | None, threads: int):
        import onnxruntime

        self.version = onnxruntime.__version__
        self._ort, self._model = onnxruntime, model
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 4  # errors come as exceptions

    def load(self) -> None:
        """From the file to a session that can run."""
        self._session = self._ort.InferenceSession(self._model, self._options, providers=["CPUExecutionProvider"])

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._session.get_inputs()[0].name, np.ascontiguousarray(array))
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cpu")
        self._binding = binding
        return lambda: self._session.run_with_iobinding(binding)

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return self._binding.copy_outputs_to_cpu()


def measure(runtime: Any, array: np.ndarray, warmup: int, repeats: int, min_seconds: float = 0.0) -> dict[str, Any]:
    """Loads and runs; times in ms, and the processors at work over the counted runs.

    These are `repeats`, or as many as `min_seconds` takes.
    """
    init_ms = _timed(runtime.load)
    start = runtime.bind(array)
    before = [_timed(start) for _ in range(warmup)]
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    series: list[float] = []
    while len(series) < repeats or time.perf_counter_ns() - wall < min_seconds * 1e9:
        series.append(_timed(start))
    ratio = (time.process_time_ns() - cpu) / (time.perf_counter_ns() - wall)
    times = {"init_ms": init_ms, "first_ms": (before or series)[0], "series_ms": series, "cpu_per_wall": ratio}
    return times | {"runtime_version": runtime.version}


def _timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def main() -> None:
    """Reads the input, runs the model, writes the times to a JSON file and `output0`, `output1`, … to an .npz file.

    These are the outputs for the first input, then those for the next.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=".pdmodel or .onnx")
    parser.add_argument("--params", help=".pdiparams, for Paddle Inference")
    parser.add_argument("--input", required=True, nargs="+", help=".npy of the input tensor; the first is timed")
    parser.add_argument("--output", required=True, help=".npz to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=0, help="runs before the counted ones")
    parser.add_argument("--repeats", type=int, default=1, help="counted runs, at least")
    parser.add_argument("--min_seconds", type=float, default=0.0, help="count this long, at least")
    parser.add_argument("--json", help="where the times go")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when paddle is loaded
    kind = OnnxRuntime if args.model.endswith(".onnx") else PaddleInference
    runtime = kind(args.model, args.params, args.threads)
    first, *others = (np.load(file) for file in args.input)
    try:
        times = measure(runtime, first, args.warmup, args.repeats, args.min_seconds)
        outputs = list(runtime.outputs())
        for array in others:
            runtime.bind(array)()
            outputs += runtime.outputs()
    except Exception as error:  # whatever the runtime throws: one line for whoever started this, no traceback
        raise SystemExit(str(error).strip() or repr(error)) from error
    np.savez(args.output, **{f"output{i}": value for i, value in enumerate(outputs)})
    if args.json:
        Path(args.json).write_text(json.dumps(times), encoding="utf-8")


if __name__ == "__main__":
    main()
