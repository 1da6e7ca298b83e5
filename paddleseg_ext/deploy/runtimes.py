"""One way to run and time an exported folder, whatever runtime executes it. Each call is a child process."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddleseg_ext.deploy import run_static
from paddleseg_ext.deploy.program import MODEL_FILE, PARAMS_FILE
from paddleseg_ext.errors import ConversionError
from paddleseg_ext.utils.child import run_child

ONNX_FILE = "model.onnx"
# The files of an exported folder that a runtime reads: the model, and its parameters if they are apart.
_FILES = {"paddle_inference": (MODEL_FILE, PARAMS_FILE), "onnxruntime": (ONNX_FILE,)}
RUNTIMES = tuple(_FILES)


@dataclass(frozen=True)
class RuntimeResult:
    """What one process measured, named as in `deploy/lite`.

    `outputs` are those of the last run; `first_ms` is the very first run, a warm-up where there are any;
    `series_ms` the counted runs in order; `cpu_per_wall` the processors at work over them.
    """

    outputs: tuple[np.ndarray, ...]
    init_ms: float
    first_ms: float
    series_ms: tuple[float, ...]
    runtime: str
    runtime_version: str
    cpu_per_wall: float


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
    """Runs the model in `folder` on `array` [B, C, H, W] under one of RUNTIMES.

    `repeats` runs are counted (at least 1), or as many as `min_seconds` takes.
    Raises ConversionError when a file is missing, the runtime refuses the model, crashes or takes too long,
    and ValueError for a runtime that is not known.
    """
    counts = {"warmup": warmup, "repeats": repeats, "min_seconds": min_seconds, "threads": threads}
    outputs, times = _run(runtime, Path(folder), [array], counts, timeout_s)
    series = tuple(times.pop("series_ms"))
    return RuntimeResult(outputs=outputs, series_ms=series, runtime=runtime, **times)


def outputs_for(
    runtime: str, folder: str | Path, arrays: Sequence[np.ndarray], timeout_s: float = 900.0
) -> tuple[np.ndarray, ...]:
    """The output for each of `arrays`, which may differ in size, of a model with one; raises as `measure`."""
    return _run(runtime, Path(folder), arrays, {}, timeout_s)[0]


def _run(
    runtime: str, folder: Path, arrays: Sequence[np.ndarray], counts: Mapping[str, float], timeout_s: float
) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
    """Outputs and times of one child."""
    files = _files(runtime, folder)
    with tempfile.TemporaryDirectory(prefix="run-") as name:
        work = Path(name)
        inputs = [work / f"in{i}.npy" for i in range(len(arrays))]
        for file, array in zip(inputs, arrays, strict=True):
            np.save(file, array)
        arguments = [f"--{key}={file}" for key, file in zip(("model", "params"), files, strict=False)]
        arguments += [f"--output={work / 'out.npz'}", f"--json={work / 'times.json'}"]
        arguments += [f"--{key}={number}" for key, number in counts.items()]
        run_child(run_static.__file__, [*arguments, "--input", *map(str, inputs)], timeout_s)
        times = json.loads((work / "times.json").read_text(encoding="utf-8"))
        with np.load(work / "out.npz", allow_pickle=False) as outputs:
            return tuple(outputs[f"output{i}"] for i in range(len(outputs.files))), times


def _files(runtime: str, folder: Path) -> list[Path]:
    if runtime not in _FILES:
        raise ValueError(f"{runtime!r} is no runtime of {', '.join(RUNTIMES)}")
    files = [folder / name for name in _FILES[runtime]]
    for file in files:
        if not file.is_file():
            how = "tools/export.py --onnx" if file.name == ONNX_FILE else "tools/export.py"
            raise ConversionError(f"{file} is missing; {how} writes it")
    return files
