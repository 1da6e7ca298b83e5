"""One way to run and time an exported folder, whatever runtime executes it, in a process that may crash or hang."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from paddleseg_ext_runtime import run_model
from paddleseg_ext_runtime.child import how_it_ended, last_lines
from paddleseg_ext_runtime.deploy_yaml import DeployConfig, read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import DEPLOY_FILE
from paddleseg_ext_runtime.run_model import KINDS, PaddleInference

# The runtimes that have a name on command lines; `_gpu` and `_native` behind one of them name its variants.
ENGINES = {kind.engine: name for name, kind in KINDS.items() if "engine" in vars(kind)}


@dataclass(frozen=True)
class RuntimeResult:
    """What one process measured, named as in `deploy/lite`.

    `outputs` are those of the last run; `first_ms` is the first run for this input, a warm-up where there are any;
    `series_ms` the counted runs in order; `cpu_per_wall` the processors at work over them. `device` is where it ran,
    `peak_memory_mb` what the process took at most, the runtime itself included.
    """

    outputs: tuple[np.ndarray, ...]
    init_ms: float
    first_ms: float
    series_ms: tuple[float, ...]
    runtime: str
    runtime_version: str
    device: str
    cpu_per_wall: float | None
    peak_memory_mb: float


class ModelProcess:
    """An exported model, loaded by one of the runtimes `KINDS` in a child process; a context manager.

    `device` is where it runs: 'cpu', or an execution provider of ONNX Runtime. Each call may take `timeout_s`, which
    may be changed between two. `config` is the folder's deploy.yaml where the caller has read it.
    After an error that ended the process, `is_alive` is False and every call raises; one that the runtime
    merely refused (a size it cannot take) leaves it usable. Calls from several threads take turns.

    Raises ConversionError when a file is missing, or the runtime refuses the model, crashes or takes too long,
    and ValueError for a runtime that is not known.
    """

    def __init__(
        self,
        runtime: str,
        folder: str | Path,
        threads: int = 1,
        timeout_s: float = 900.0,
        config: DeployConfig | None = None,
    ):
        files, without = _files(runtime, Path(folder), config)
        self.runtime, self.timeout_s = runtime, timeout_s
        self._turn = threading.Lock()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  what the native code prints; closed with the process
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [sys.executable, run_model.__file__, "--runtime", runtime, "--files", *map(str, files)]
        command += ["--threads", str(threads), "--pipes", str(theirs_in), str(theirs_out)]
        command += ["--without", *without] if without else []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs_in, theirs_out),
            start_new_session=True,  # Ctrl-C is the parent's business, which closes this
        )
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))
        for descriptor in (theirs_in, theirs_out):
            os.close(descriptor)
        self._requests = Connection(ours_out, readable=False)
        self._replies = Connection(ours_in, writable=False)
        hello = self._exchange(self._receive)
        self.init_ms, self.runtime_version, self.device = (
            hello[key] for key in ("init_ms", "runtime_version", "device")
        )

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process can be asked."""
        return not self._requests.closed and self._process.poll() is None

    def run(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for one input tensor."""
        return self.measure(array).outputs

    def measure(
        self, array: np.ndarray, *, warmup: int = 0, repeats: int = 1, min_seconds: float = 0.0
    ) -> RuntimeResult:
        """Outputs and times for one input tensor: `repeats` counted runs, or as many as `min_seconds` takes."""
        array = np.ascontiguousarray(array)
        counts = {"warmup": warmup, "repeats": repeats, "min_seconds": min_seconds}
        request = counts | {"dtype": array.dtype.str, "shape": array.shape}
        with self._turn:
            if not self.is_alive:
                raise ConversionError(f"the {self.runtime} process has ended before")
            times, outputs = self._exchange(lambda: self._ask(request, array))
        series = tuple(times.pop("series_ms"))
        about = {name: getattr(self, name) for name in ("init_ms", "runtime", "runtime_version", "device")}
        return RuntimeResult(outputs=outputs, series_ms=series, **about, **times)

    def kill(self) -> None:
        """Ends the process at once, from any thread; a call that waits for it raises."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process; safe to call twice."""
        for connection in (self._requests, self._replies):
            connection.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _ask(self, request: dict[str, Any], array: np.ndarray) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
        self._requests.send_bytes(json.dumps(request).encode())
        self._requests.send_bytes(array.reshape(-1).view("uint8"))
        reply = self._receive()
        if "error" in reply:
            raise ConversionError(f"{self.runtime} refuses the input {list(array.shape)}: {last_lines(reply['error'])}")
        outputs = [
            np.frombuffer(self._replies.recv_bytes(), one["dtype"]).reshape(one["shape"]) for one in reply["outputs"]
        ]
        return reply["times"], tuple(outputs)

    def _receive(self) -> dict[str, Any]:
        return json.loads(self._replies.recv_bytes())

    def _exchange(self, talk: Any) -> Any:
        """Calls `talk`; kills a process that is not done in time, which ends every blocked read and write."""
        watchdog = threading.Timer(self.timeout_s, self._process.kill)
        watchdog.daemon = True  # whoever leaves meanwhile need not wait for it
        watchdog.start()
        try:
            return talk()
        except (EOFError, OSError) as error:
            is_late = not watchdog.is_alive()
            self._process.wait()
            reason = f"did not finish within {self.timeout_s:g} s" if is_late else self._reason()
            self.close()
            raise ConversionError(f"{self.runtime} {reason}") from error
        finally:
            watchdog.cancel()

    def _reason(self) -> str:
        self._said.seek(0)
        return f"{how_it_ended(self._process.returncode)}:\n{last_lines(self._said.read().decode(errors='replace'))}"


def measure(
    runtime: str,
    folder: str | Path,
    array: np.ndarray,
    *,
    warmup: int = 0,
    repeats: int = 1,
    min_seconds: float = 0.0,
    threads: int = 1,
    timeout_s: float = 900.0,
) -> RuntimeResult:
    """Runs the model in `folder` on `array` [B, C, H, W] in a process of its own; raises as `ModelProcess`."""
    with ModelProcess(runtime, folder, threads, timeout_s) as process:
        return process.measure(array, warmup=warmup, repeats=repeats, min_seconds=min_seconds)


def outputs_for(
    runtime: str, folder: str | Path, arrays: Sequence[np.ndarray], timeout_s: float = 900.0
) -> tuple[np.ndarray, ...]:
    """The output for each of `arrays`, which may differ in size, of a model with one; raises as `ModelProcess`."""
    with ModelProcess(runtime, folder, timeout_s=timeout_s) as process:
        return tuple(process.run(array)[0] for array in arrays)


def _files(runtime: str, folder: Path, config: DeployConfig | None) -> tuple[list[Path], list[str]]:
    # Files, and the passes that deploy.yaml keeps Paddle Inference from.
    if runtime not in KINDS:
        raise ValueError(f"{runtime!r} is no runtime of {', '.join(KINDS)}")
    names, without = KINDS[runtime].files, []
    if issubclass(KINDS[runtime], PaddleInference) and (config or (folder / DEPLOY_FILE).is_file()):
        config = config or read_deploy_yaml(folder)
        names, without = (config.model, config.params), config.harmful_passes
    files = [folder / name for name in names]
    for file in files:
        if not file.is_file():
            raise ConversionError(f"{file} is missing; {KINDS[runtime].made_by} writes it")
    return files, without
