"""Holds an exported model and runs it for whoever started this process. A script, run by `runtimes.ModelProcess`.

    python run_model.py --files model.pdmodel model.pdiparams --input in.npy --output out.npz

runs it once, without that other side. It imports nothing of this package, so that it starts quickly and a server's
processes stay small. Messages are JSON and raw arrays over two file descriptors, never pickles. Only `run()` lies
between the clock readings: input and output are bound or copied outside.
"""

import argparse
import ctypes
import json
import os
import time
import zlib  # noqa: F401  before paddle, whose own breaks Pillow
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

# What oneDNN computes together with a convolution.
_ACTIVATIONS = {
    "abs", "clip", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "mish", "relu", "relu6", "sigmoid", "sqrt",
    "swish", "tanh",
}  # fmt: skip
_GPU_MEMORY_MB = 256  # to begin with; it grows
# MNN's hint for the sizes of Winograd convolutions. At its default, 3, the scores of PP-LiteSeg-T were wrong by 0.3 to
# 6 % of their deviation from run to run, and 0.2 % of its labels; at 1 by 0.01 %, in the same time.
_MNN_WINOGRAD_LEVEL = 3


def create_predictor(
    model: str, params: str, threads: int = 1, engine: str = "onednn", without: Sequence[str] | None = None
) -> Any:
    """A predictor that computes what the model says; `engine` is 'onednn', 'native' (Paddle's CPU kernels) or 'gpu'.

    oneDNN is on by default in Paddle Inference 2.6; the fusions `without`, or else of `harmful_passes`, are taken out.
    """
    from paddle import inference

    config = inference.Config(model, params)
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    if engine == "gpu":
        config.enable_use_gpu(_GPU_MEMORY_MB, 0)
    else:
        config.disable_gpu()
    if engine == "onednn":
        for name in without or harmful_passes(model):
            # Paddle 3 says onednn where Paddle 2.6 says mkldnn. To delete an unknown name does nothing, silently.
            for spelling in (name, name.replace("mkldnn", "onednn")):
                config.delete_pass(spelling)
    else:
        config.disable_mkldnn()
    return inference.create_predictor(config)


def harmful_passes(model: str) -> list[str]:
    """The oneDNN fusions that miscompute, of those that Paddle Inference 2.6 would apply to this .pdmodel.

    One takes attention written as reshape, transpose and matmul, as PaddleSeg's models have it. The other takes an
    activation into a convolution, and when a second follows (BiSeNetV1's relu and sigmoid), this one in the place of
    the first. It goes only from such a model: a convolution and its activation are faster together.
    """
    found = ["reshape_transpose_matmul_mkldnn_fuse_pass"]
    return [*found, "conv_activation_mkldnn_fuse_pass"] if _has_activation_on_activation(model) else found


def _has_activation_on_activation(model: str) -> bool:
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc.FromString(Path(model).read_bytes())
    activated = set()
    for op in (op for block in program.blocks for op in block.ops if op.type in _ACTIVATIONS):
        if any(activated.intersection(slot.arguments) for slot in op.inputs):
            return True
        activated.update(name for slot in op.outputs for name in slot.arguments)
    return False


class PaddleInference:
    """Paddle Inference on the CPU.

    Every runtime has these attributes: `module` is the Python module that it needs, `files` are the names in an
    exported folder, `made_by` names the program that writes them; `engine` and `platform` are its names on a command
    line and in the inference protocol, if it has such names.
    """

    module, files, made_by = "paddle", ("model.pdmodel", "model.pdiparams"), "tools/export.py"
    engine, platform = "paddle", "paddle_inference"
    device, _kernels = "cpu", "onednn"

    def __init__(self, files: Sequence[str], threads: int, without: Sequence[str] | None = None):
        import paddle

        self.version = paddle.__version__
        self._files, self._threads, self._without = files, threads, without

    def load(self) -> None:
        """From the files to a predictor that can run."""
        self._predictor = create_predictor(*self._files, self._threads, self._kernels, self._without)

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        handle = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        handle.reshape(array.shape)
        handle.copy_from_cpu(array)
        return self._predictor.run

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in self._predictor.get_output_names()]


class PaddleInferenceNative(PaddleInference):
    """Paddle Inference on the CPU with Paddle's own kernels alone."""

    _kernels = "native"


class PaddleInferenceGpu(PaddleInference):
    """Paddle Inference on the first GPU, in float32. Needs a paddlepaddle with CUDA; never run where this is tested."""

    device = _kernels = "gpu"


class PaddleStatic(PaddleInference):
    """Paddle's executor, operator by operator: the program as it was written, without Paddle Inference's passes."""

    def load(self) -> None:
        """See PaddleInference."""
        import paddle

        paddle.enable_static()
        if guard := getattr(paddle.pir_utils, "OldIrGuard", None):
            guard().__enter__()  # for the rest of this process: Paddle 3 would look for its own format, PIR
        model, params = (Path(file) for file in self._files)
        self._executor = paddle.static.Executor(paddle.CPUPlace())
        prefix, names = str(model.parent), {"model_filename": model.name, "params_filename": params.name}
        self._program, self._inputs, self._fetched = paddle.static.load_inference_model(prefix, self._executor, **names)

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """See PaddleInference."""
        self._feed = {self._inputs[0]: array}
        return self._run

    def _run(self) -> None:
        self._results = self._executor.run(self._program, feed=self._feed, fetch_list=self._fetched)

    def outputs(self) -> list[np.ndarray]:
        """See PaddleInference."""
        return list(self._results)


class OnnxRuntime:
    """ONNX Runtime; on a GPU, by TensorRT or CUDA, where one is asked for and this build has it."""

    module, files, made_by = "onnxruntime", ("model.onnx",), "tools/export.py --onnx"
    engine, platform = "onnx", "onnxruntime_onnx"

    def __init__(self, files: Sequence[str], threads: int, device: str = "cpu"):
        import onnxruntime

        self.version = onnxruntime.__version__
        self._ort, self._model, self._wanted = onnxruntime, files[0], device
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 4  # errors come as exceptions

    def load(self) -> None:
        """From the file to a session that can run."""
        available = self._ort.get_available_providers()
        gpu = ["TensorrtExecutionProvider", "CUDAExecutionProvider"] if self._wanted == "gpu" else []
        providers = [name for name in gpu if name in available]
        self._session = self._ort.InferenceSession(
            self._model, self._options, providers=[*providers, "CPUExecutionProvider"]
        )
        self.device = self._session.get_providers()[0].removesuffix("ExecutionProvider").lower()

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._session.get_inputs()[0].name, array)
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cpu")
        self._binding = binding
        return lambda: self._session.run_with_iobinding(binding)

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return self._binding.copy_outputs_to_cpu()


class OnnxRuntimeGpu(OnnxRuntime):
    """ONNX Runtime on the best provider it has."""

    def __init__(self, files: Sequence[str], threads: int):
        super().__init__(files, threads, "gpu")


class OpenVino:
    """OpenVINO's CPU plugin, in the precision of the model."""

    module, files, made_by, device = "openvino", OnnxRuntime.files, OnnxRuntime.made_by, "cpu"

    def __init__(self, files: Sequence[str], threads: int):
        import openvino

        self.version = openvino.__version__.split("-")[0]
        self._openvino, self._model, self._threads = openvino, files[0], threads

    def load(self) -> None:
        """From the file to a compiled model."""
        settings = {"INFERENCE_NUM_THREADS": self._threads, "INFERENCE_PRECISION_HINT": "f32"}
        core = self._openvino.Core()
        self._request = core.compile_model(self._model, "CPU", settings).create_infer_request()

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        self._request.set_input_tensor(self._openvino.Tensor(array, shared_memory=False))
        return self._request.infer

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return [tensor.data.copy() for tensor in self._request.output_tensors]


class PaddleLite:
    """Paddle-Lite's runtime for this machine's processor."""

    module, files, made_by, device = "paddlelite", ("model.nb",), "deploy/lite", "cpu"

    def __init__(self, files: Sequence[str], threads: int):
        from paddlelite import lite

        self._lite, self._model, self._threads = lite, files[0], threads

    def load(self) -> None:
        """From the .nb file to a predictor that can run."""
        config = self._lite.MobileConfig()
        config.set_model_from_file(self._model)
        self._predictor = self._lite.create_paddle_predictor(config)
        self.version = self._predictor.get_version()
        if self._threads > 1:  # the predictor has set one thread, and the wheel has no call that sets more
            libraries = Path(self._lite.__file__).parent / "libs"
            ctypes.CDLL(str(libraries / "libmklml_intel.so")).MKL_Set_Num_Threads(self._threads)
            ctypes.CDLL(str(libraries / "libiomp5.so")).omp_set_num_threads(self._threads)

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        self._predictor.get_input(0).from_numpy(array)
        return self._predictor.run

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return [self._predictor.get_output(i).numpy() for i in range(len(self._predictor.get_output_names()))]


class Mnn:
    """MNN on the CPU, in the precision of the model.

    Its modules take every output op; its older sessions refuse those whose shapes depend on the input's content.
    """

    module, files, made_by, device = "MNN", ("model.mnn",), "MNN's converter", "cpu"

    def __init__(self, files: Sequence[str], threads: int):
        import MNN

        self.version = MNN.version()
        self._mnn, self._model, self._threads = MNN, files[0], threads

    def load(self) -> None:
        """From the file to a module that can run; empty lists stand for all inputs and outputs."""
        settings = {"backend": "CPU", "precision": "high", "numThread": self._threads}
        self._manager = self._mnn.nn.create_runtime_manager((settings,))
        self._manager.set_hint(_MNN_WINOGRAD_LEVEL, 1)
        self._module = self._mnn.nn.load_module_from_file(self._model, [], [], runtime_manager=self._manager)

    def bind(self, array: np.ndarray) -> Callable[[], Any]:
        """Gives the input; returns what runs the model."""
        expr = self._mnn.expr
        self._input = expr.placeholder(array.shape, expr.NCHW, expr.float)
        self._input.write(array)
        return self._run

    def _run(self) -> None:
        self._results = self._module.forward([self._input])

    def outputs(self) -> list[np.ndarray]:
        """What the last run gave."""
        return [np.array(result.read()) for result in self._results]


KINDS = {
    "paddle_inference": PaddleInference,
    "paddle_inference_native": PaddleInferenceNative,
    "paddle_inference_gpu": PaddleInferenceGpu,
    "paddle_static": PaddleStatic,
    "onnxruntime": OnnxRuntime,
    "onnxruntime_gpu": OnnxRuntimeGpu,
    "openvino": OpenVino,
    "paddlelite": PaddleLite,
    "mnn": Mnn,
}


def measure(runtime: Any, array: np.ndarray, warmup: int, repeats: int, min_seconds: float) -> dict[str, Any]:
    """Runs; times in ms, and the processors at work over the counted runs.

    These are `repeats`, or as many as `min_seconds` takes.
    """
    start = runtime.bind(array)
    before = [_timed(start) for _ in range(warmup)]
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    series: list[float] = []
    while len(series) < repeats or time.perf_counter_ns() - wall < min_seconds * 1e9:
        series.append(_timed(start))
    ratio = (time.process_time_ns() - cpu) / (time.perf_counter_ns() - wall)
    return {"first_ms": (before or series)[0], "series_ms": series, "cpu_per_wall": ratio}


def _timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def _peak_memory_mb() -> float:
    """Of this process alone: getrusage would start from what the parent had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def serve(runtime: Any, requests: Connection, replies: Connection) -> None:
    """Loads the model, says so, and answers until the other side closes."""
    init_ms = _timed(runtime.load)
    _send(replies, {"init_ms": init_ms, "runtime_version": runtime.version, "device": runtime.device})
    while True:
        try:
            request = json.loads(requests.recv_bytes())
        except EOFError:
            return
        array = np.frombuffer(requests.recv_bytes(), request.pop("dtype")).reshape(request.pop("shape"))
        try:
            times = measure(runtime, array, **request)
            outputs = [np.ascontiguousarray(output) for output in runtime.outputs()]
        except Exception as error:  # whatever the runtime throws: one input it refuses is no reason to end
            _send(replies, {"error": str(error).strip() or repr(error)})
            continue
        headers = [{"dtype": output.dtype.str, "shape": output.shape} for output in outputs]
        _send(replies, {"times": times | {"peak_memory_mb": _peak_memory_mb()}, "outputs": headers})
        for output in outputs:
            replies.send_bytes(output.reshape(-1).view("uint8"))


def _send(replies: Connection, message: dict[str, Any]) -> None:
    replies.send_bytes(json.dumps(message).encode())


def run_once(runtime: Any, source: str, target: str) -> None:
    """Writes the outputs for the array in `source` to `target`, as output0, output1, …"""
    runtime.load()
    runtime.bind(np.ascontiguousarray(np.load(source, allow_pickle=False)))()
    np.savez(target, **{f"output{i}": output for i, output in enumerate(runtime.outputs())})


def main() -> None:
    """Reads the command line, and serves or runs once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="paddle_inference", choices=KINDS)
    parser.add_argument("--files", required=True, nargs="+", help="the model, and its parameters if they are apart")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without", nargs="+", help="passes that Paddle Inference must be kept from")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--pipes", nargs=2, type=int, help="descriptors: requests in, replies out")
    mode.add_argument("--input", help=".npy of the input tensor")
    parser.add_argument("--output", help=".npz to write, with --input")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when paddle is loaded
    try:
        more = {"without": args.without} if args.without else {}
        runtime = KINDS[args.runtime](args.files, args.threads, **more)
        if args.input:
            run_once(runtime, args.input, args.output)
        else:
            requests, replies = (Connection(args.pipes[i], readable=i == 0, writable=i == 1) for i in range(2))
            serve(runtime, requests, replies)
    except Exception as error:  # one line for whoever started this, no traceback
        raise SystemExit(str(error).strip() or repr(error)) from error


if __name__ == "__main__":
    main()
