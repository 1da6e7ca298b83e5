"""The forms an exported model is run in: one interface from photographs to labels and times, whatever runs it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import MODEL_FILE, NB_FILE, PARAMS_FILE
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.runtimes import FILES, ModelProcess, RuntimeResult
from paddleseg_ext_runtime.segmenter import Segmenter
from paddleseg_lite import convert
from paddleseg_lite.host import HostDevice

CPP_PROGRAM = Path("build/cpp/segment")  # where `make cpp` puts it


@dataclass(frozen=True)
class Counts:
    """How a latency is taken."""

    threads: int = 1
    warmup: int = 5
    repeats: int = 20
    timeout_s: float = 600.0


@dataclass
class Format(ABC):
    """One form of a model. `folder` is the export it starts from, `work` where it puts what it makes of it.

    Every method raises an error with an `exit_code` where it cannot go on.
    """

    key: str
    title: str
    folder: Path = Path()
    work: Path = Path()

    def prepare(self) -> None:  # noqa: B027  nothing, for most
        """Converts the export, if it must."""

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """What would be deployed."""

    @abstractmethod
    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """Times the model alone on one photograph, in a process of its own: one round."""

    @abstractmethod
    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """int32 labels [H, W] of each photograph, at its size."""


@dataclass
class ProcessFormat(Format):
    """What `ModelProcess` runs; `convert(folder, work)` makes its files in `work` where it needs others."""

    runtime: str = ""
    convert: Callable[[Path, Path], None] | None = None

    def prepare(self) -> None:
        """See Format."""
        if self.convert is not None:
            self.work.mkdir(parents=True, exist_ok=True)
            self.convert(self.folder, self.work)

    @property
    def files(self) -> list[Path]:
        """See Format."""
        return [self._place / name for name in FILES[self.runtime]]

    @property
    def _place(self) -> Path:
        return self.folder if self.convert is None else self.work

    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """See Format."""
        with self._open(counts) as process:
            config = read_deploy_yaml(self.folder)
            x, _ = config.pipeline().prepare(read_image(photograph, config.channels))
            return process.measure(x, warmup=counts.warmup, repeats=counts.repeats)

    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """See Format."""
        config = read_deploy_yaml(self.folder)
        with self._open(counts) as process:
            segmenter = Segmenter(process, config)
            for photograph in photographs:
                yield segmenter.segment(read_image(photograph, config.channels))

    def _open(self, counts: Counts) -> ModelProcess:
        return ModelProcess(self.runtime, self._place, counts.threads, counts.timeout_s)


@dataclass
class CppFormat(Format):
    """deploy/cpp's program, which reads deploy.yaml itself."""

    backend: str = ""
    program: Path = CPP_PROGRAM

    def prepare(self) -> None:
        """See Format."""
        if not self.program.is_file():
            raise ConversionError(f"{self.program} is not there; `make cpp` builds it (deploy/cpp/README.md)")

    @property
    def files(self) -> list[Path]:
        """See Format."""
        return [self.folder / MODEL_FILE, self.folder / PARAMS_FILE]

    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """See Format."""
        with tempfile.TemporaryDirectory(prefix="cpp-") as name:
            report, flags = Path(name) / "times.json", ["--warmup", counts.warmup, "--repeats", counts.repeats]
            self._run(photograph, Path(name), counts, *flags, "--json", report)
            found = json.loads(report.read_text(encoding="utf-8"))
            labels = _read_mask(Path(name) / f"{photograph.stem}.png")
        return RuntimeResult(
            outputs=(labels,),
            init_ms=found["init_ms"],
            first_ms=found["first_ms"],
            series_ms=tuple(found["inference_ms"]),
            runtime=self.key,
            runtime_version=found["runtime"],
            device="cpu",
            cpu_per_wall=None,  # the program does not measure it
            peak_memory_mb=found["peak_memory_mb"],
        )

    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """See Format."""
        with tempfile.TemporaryDirectory(prefix="cpp-") as name:
            source, target = Path(name) / "photographs", Path(name) / "masks"
            source.mkdir()
            for number, photograph in enumerate(photographs):
                (source / f"{number:06d}{photograph.suffix}").symlink_to(photograph.resolve())
            self._run(source, target, counts)
            for number in range(len(photographs)):
                yield _read_mask(target / f"{number:06d}.png")

    def _run(self, source: Path, target: Path, counts: Counts, *more: object) -> None:
        flags = {"config": self.folder, "image_path": source, "save_dir": target, "backend": self.backend}
        command = [
            str(self.program.absolute()),
            *(str(part) for key, value in flags.items() for part in (f"--{key}", value)),
        ]
        command += ["--threads", str(counts.threads), *map(str, more)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=counts.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ConversionError(f"{self.program.name} did not finish within {counts.timeout_s:g} s") from error
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ConversionError(f"{self.program.name} failed with exit code {done.returncode}: {said}")


def _read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask).astype("int32")


def to_lite(precision: str) -> Callable[[Path, Path], None]:
    """What turns an exported folder into `work`'s model.nb, with `opt`: fp32, or int8 weights."""

    def write_nb(folder: Path, work: Path) -> None:
        target = HostDevice().target
        files = folder / MODEL_FILE, folder / PARAMS_FILE, work / NB_FILE
        convert.convert(*files, target, convert.find_opt(None), precision=precision)

    return write_nb


def all_formats() -> list[Format]:
    """Every form there is; `model.onnx` must lie in the exported folder for those that read it."""
    return [
        ProcessFormat("paddle_static", "Paddle static", runtime="paddle_static"),
        ProcessFormat("paddle_inference", "Paddle Inference, oneDNN", runtime="paddle_inference"),
        ProcessFormat("paddle_native", "Paddle Inference, without oneDNN", runtime="paddle_inference_native"),
        ProcessFormat("onnxruntime", "ONNX Runtime", runtime="onnxruntime"),
        ProcessFormat("openvino", "OpenVINO, ONNX", runtime="openvino"),
        ProcessFormat("lite_fp32", "Paddle-Lite fp32", runtime="paddlelite", convert=to_lite("fp32")),
        ProcessFormat("lite_int8", "Paddle-Lite int8 weights", runtime="paddlelite", convert=to_lite("int8")),
        CppFormat("cpp", "C++, Paddle Inference", backend="paddle"),
        CppFormat("cpp_openvino", "C++, OpenVINO", backend="openvino"),
    ]


def chosen_formats(keys: Sequence[str], folder: Path, work: Path, program: Path) -> list[Format]:
    """Those forms, of the export in `folder`; `program` is deploy/cpp's."""
    chosen = [one for one in all_formats() if one.key in keys]
    for one in chosen:
        one.folder, one.work = folder, work / one.key
        if isinstance(one, CppFormat):
            one.program = program
    return chosen


FORMATS = tuple(one.key for one in all_formats())
