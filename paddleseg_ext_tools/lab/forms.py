"""The forms in which an exported model is run: one interface from photographs to labels and times, and their list.

Command lines take their choices from the list, so that numpy and OpenCV are imported only when a form is used.
"""

from __future__ import annotations

import json
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from paddleseg_ext_runtime.errors import ConversionError, DeviceError
from paddleseg_ext_runtime.exported import MODEL_FILE, ONNX_FILE, PARAMS_FILE
from paddleseg_lite import convert
from paddleseg_lite.host import HostDevice, check_threads, require_paddlelite
from paddleseg_lite.process import last_words, run_child

if TYPE_CHECKING:
    import numpy as np

    from paddleseg_ext_runtime.run_model import PaddleInference
    from paddleseg_ext_runtime.runtimes import ModelProcess, RuntimeResult

CPP_PROGRAM = Path("build/cpp/segment")  # where `make cpp` puts it
# MNN's own command `mnnconvert` installs a package and sends statistics; its native part only converts.
_CONVERT_TO_MNN = "import sys, _tools; _tools.mnnconvert(sys.argv)"


@dataclass(frozen=True)
class Counts:
    """How a latency is taken: at least `repeats` counted runs that take at least `min_seconds`."""

    threads: int = 1
    warmup: int = 5
    repeats: int = 20
    min_seconds: float = 0.0
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Form(ABC):
    """A model in a runtime. `folder` is the export it starts from, `work` the place for the files it makes of it.

    A form that `is_lossy` changes the network: its labels are reported and need not be equal. Every method raises
    an error with an `exit_code` when it cannot go on.
    """

    key: str
    title: str
    folder: Path = Path()
    work: Path = Path()
    is_lossy: bool = False

    def of(self, folder: Path, work: Path) -> Form:
        """This form of the export in `folder`; its own files go to a folder in `work`."""
        return replace(self, folder=folder, work=work / self.key)

    def require(self, counts: Counts) -> None:  # noqa: B027  not every form can be checked before it runs
        """Checks that this machine can run it."""

    def prepare(self) -> None:  # noqa: B027  most forms read what the export wrote
        """Converts the export if the runtime reads another file."""

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """The files that a user deploys."""

    @abstractmethod
    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """Times the model alone on one photograph, in a process of its own: one round."""

    @abstractmethod
    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """int32 labels [H, W] of each photograph, at its size."""


@dataclass(frozen=True)
class ProcessForm(Form):
    """A model that `ModelProcess` runs; `runtime` is one of its `KINDS`."""

    runtime: str = ""

    @property
    def files(self) -> list[Path]:
        """See Form."""
        return [self._place / name for name in self._kind.files]

    @property
    def _kind(self) -> type[PaddleInference]:
        from paddleseg_ext_runtime.run_model import KINDS

        return KINDS[self.runtime]

    def require(self, counts: Counts) -> None:
        """See Form."""
        if find_spec(self._kind.module) is None:
            raise DeviceError(f"{self.title} needs the Python package {self._kind.module}, which is not installed")

    @property
    def _place(self) -> Path:
        return self.folder

    def measure(self, array: np.ndarray, counts: Counts) -> RuntimeResult:
        """Times the model on a tensor [B, C, H, W], in a process of its own: one round."""
        with self._open(counts) as process:
            limits = {"repeats": counts.repeats, "min_seconds": counts.min_seconds}
            return process.measure(array, warmup=counts.warmup, **limits)

    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """See Form."""
        from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
        from paddleseg_ext_runtime.reading import read_image

        config = read_deploy_yaml(self.folder)
        return self.measure(config.pipeline().prepare(read_image(photograph, config.channels))[0], counts)

    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """See Form."""
        from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
        from paddleseg_ext_runtime.reading import read_image
        from paddleseg_ext_runtime.segmenter import ExportedSegmenter

        config = read_deploy_yaml(self.folder)
        with self._open(counts) as process:
            segmenter = ExportedSegmenter(process, config)
            for photograph in photographs:
                yield segmenter.segment(read_image(photograph, config.channels))

    def _open(self, counts: Counts) -> ModelProcess:
        from paddleseg_ext_runtime.runtimes import ModelProcess

        return ModelProcess(self.runtime, self._place, counts.threads, counts.timeout_s)


@dataclass(frozen=True)
class OnnxForm(ProcessForm):
    """A runtime that reads `model.onnx`."""

    def prepare(self) -> None:
        """See Form."""
        write_onnx(self.folder)


@dataclass(frozen=True)
class ConvertedForm(ProcessForm):
    """A runtime with a file format of its own, whose file lies in `work`."""

    @property
    def _place(self) -> Path:
        return self.work

    def prepare(self) -> None:
        """See Form."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._convert()

    @abstractmethod
    def _convert(self) -> None:
        """Writes the file."""


@dataclass(frozen=True)
class LiteForm(ConvertedForm):
    """Paddle-Lite on this machine's processor; `precision` is that of the weights, fp32 or int8."""

    runtime: str = "paddlelite"
    precision: str = "fp32"

    def require(self, counts: Counts) -> None:
        """See Form."""
        require_paddlelite()
        HostDevice()
        convert.find_opt(None)
        check_threads(counts.threads)

    def _convert(self) -> None:
        files = self.folder / MODEL_FILE, self.folder / PARAMS_FILE, self.files[0]
        convert.convert(*files, HostDevice().target, convert.find_opt(None), precision=self.precision)


@dataclass(frozen=True)
class MnnForm(ConvertedForm):
    """MNN, on what its converter makes of model.onnx."""

    runtime: str = "mnn"

    def _convert(self) -> None:
        source, target = write_onnx(self.folder), self.files[0]
        made = target.with_suffix(".part.mnn")  # an earlier model stays until this one is whole
        made.unlink(missing_ok=True)
        command = [sys.executable, "-c", _CONVERT_TO_MNN, "-f", "ONNX", "--modelFile", str(source)]
        finished = run_child([*command, "--MNNModel", str(made), "--bizCode", "none"], timeout_s=600.0)
        if finished.returncode != 0 or not made.is_file():
            said = last_words(f"{finished.stdout}\n{finished.stderr}")
            raise ConversionError(f"MNN's converter does not take {source} ({finished.cause()}): {said}")
        made.replace(target)


@dataclass(frozen=True)
class CppForm(Form):
    """The program of deploy/cpp, which reads deploy.yaml itself."""

    backend: str = ""
    program: Path = CPP_PROGRAM

    def prepare(self) -> None:
        """See Form."""
        if not self.program.is_file():
            raise ConversionError(f"{self.program} is not there; `make cpp` builds it (deploy/cpp/README.md)")

    @property
    def files(self) -> list[Path]:
        """See Form."""
        return [self.folder / MODEL_FILE, self.folder / PARAMS_FILE]

    def time(self, photograph: Path, counts: Counts) -> RuntimeResult:
        """See Form; the program does not measure the processors at work."""
        from paddleseg_ext_runtime.runtimes import RuntimeResult

        with tempfile.TemporaryDirectory(prefix="cpp-") as name:
            report, flags = Path(name) / "times.json", ["--warmup", counts.warmup, "--repeats", counts.repeats]
            self._run(photograph, Path(name), counts, *flags, "--json", report)
            found = json.loads(report.read_text(encoding="utf-8"))
            labels = _read_mask(Path(name) / f"{photograph.stem}.png")
        about = {"runtime": self.key, "runtime_version": found.pop("runtime"), "device": "cpu", "cpu_per_wall": None}
        times = {key: found[key] for key in ("init_ms", "first_ms", "peak_memory_mb")}
        return RuntimeResult(outputs=(labels,), series_ms=tuple(found["inference_ms"]), **times, **about)

    def labels(self, photographs: Sequence[Path], counts: Counts) -> Iterator[np.ndarray]:
        """See Form."""
        with tempfile.TemporaryDirectory(prefix="cpp-") as name:
            source, target = Path(name) / "photographs", Path(name) / "masks"
            source.mkdir()
            for number, photograph in enumerate(photographs):
                (source / f"{number:06d}{photograph.suffix}").symlink_to(photograph.resolve())
            self._run(source, target, counts)
            for number in range(len(photographs)):
                yield _read_mask(target / f"{number:06d}.png")

    def _run(self, source: Path, target: Path, counts: Counts, *more: object) -> None:
        command = [self.program.absolute(), "--config", self.folder, "--image_path", source, "--save_dir", target]
        command += ["--backend", self.backend, "--threads", counts.threads, *more]
        finished = run_child([str(part) for part in command], counts.timeout_s)
        if finished.timed_out:
            raise ConversionError(f"{self.program.name} did not finish within {counts.timeout_s:g} s; try --timeout")
        if finished.returncode != 0:
            said = last_words(finished.stderr)
            raise ConversionError(f"{self.program.name} failed ({finished.cause()}): {said}")


def _read_mask(path: Path) -> np.ndarray:
    import numpy as np
    from PIL import Image

    with Image.open(path) as mask:
        return np.asarray(mask).astype("int32")


def write_onnx(folder: Path) -> Path:
    """Writes `model.onnx` into an exported folder that has none; returns its path."""
    from paddleseg_ext.export.onnx import export_onnx  # which loads Paddle

    if not (folder / ONNX_FILE).is_file():
        export_onnx(folder)
    return folder / ONNX_FILE


FORMS: tuple[Form, ...] = (
    ProcessForm("paddle_static", "Paddle static", runtime="paddle_static"),
    ProcessForm("paddle_inference", "Paddle Inference", runtime="paddle_inference"),
    ProcessForm("paddle_native", "Paddle Inference, without oneDNN", runtime="paddle_inference_native"),
    OnnxForm("onnxruntime", "ONNX Runtime", runtime="onnxruntime"),
    OnnxForm("openvino", "OpenVINO", runtime="openvino"),
    MnnForm("mnn", "MNN"),
    LiteForm("lite_fp32", "Paddle-Lite"),
    LiteForm("lite_int8", "Paddle-Lite, int8 weights", precision="int8", is_lossy=True),
    CppForm("cpp", "C++, Paddle Inference", backend="paddle"),
    CppForm("cpp_openvino", "C++, OpenVINO", backend="openvino"),
)
FORM = {form.key: form for form in FORMS}
# The C++ program takes photographs and no tensors.
TENSOR_FORMS = tuple(form.key for form in FORMS if isinstance(form, ProcessForm))


def chosen_forms(keys: Sequence[str], folder: Path, work: Path, program: Path) -> list[Form]:
    """Those forms of the export in `folder`; `program` is that of deploy/cpp."""
    chosen = [form.of(folder, work) for form in FORMS if form.key in keys]
    return [replace(form, program=program) if isinstance(form, CppForm) else form for form in chosen]
