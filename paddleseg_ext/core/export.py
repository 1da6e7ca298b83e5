"""Export: trace, make the graph fit Paddle-Lite, run it in another process, and only then let it be seen."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from paddleseg_ext.datasets.scenes import make_scene
from paddleseg_ext.deploy import passes, run_static
from paddleseg_ext.deploy.deploy_yaml import DEPLOY_FILE, DeployConfig, write_deploy_yaml
from paddleseg_ext.deploy.output_ops import OUTPUT_OPS, Decoder, ExportModel
from paddleseg_ext.deploy.program import INFO_FILE, MODEL_FILE, PARAMS_FILE, read_program, write_program
from paddleseg_ext.errors import ConfigError, ConversionError
from paddleseg_ext.utils.child import run_child
from paddleseg_ext.version import __version__

MIN_EQUAL_LABELS = 0.999
MAX_SCORE_ERROR = 5e-3
DYNAMIC_CHECK_SIZES = ((256, 384), (320, 256))
_CHECK_SCENE = 4


@dataclass(frozen=True)
class Agreement:
    """How the exported graph compares with the network it came from, over all checked sizes.

    `equal` is the fraction of equal labels, or of scores within the tolerance; `error` the largest
    difference of scores over their standard deviation (0 for labels).
    """

    equal: float
    error: float
    is_labels: bool

    @property
    def is_good(self) -> bool:
        """Whether the export may be used."""
        return self.equal >= MIN_EQUAL_LABELS if self.is_labels else self.error <= MAX_SCORE_ERROR

    def __str__(self) -> str:
        if self.is_labels:
            return f"{100 * self.equal:.4f} % of the labels are equal"
        return f"the scores differ by at most {self.error:.1e} of their standard deviation"


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what it was checked by."""

    folder: Path
    config: DeployConfig
    agreement: Agreement
    passes: dict[str, int]
    operators: int


def check_input_shape(shape: Sequence[int] | None, in_channels: int = 3) -> list[int | None]:
    """[N, C, H, W] with None for unknown lengths, from what `--input_shape` gives (None: all sizes).

    Raises ConfigError for another number of lengths, or other channels than the network takes.
    """
    if shape is None:
        return [None, in_channels, None, None]
    if len(shape) != 4 or any(length < 1 and length != -1 for length in shape):
        raise ConfigError(f"--input_shape is {list(shape)}; it takes N C H W such as 1 3 512 512 (-1: any)")
    if shape[1] != in_channels:
        raise ConfigError(f"--input_shape has {shape[1]} channels, the network takes {in_channels}")
    return [None if length == -1 else length for length in shape]


def export(
    model: nn.Layer,
    output_op: str,
    input_shape: Sequence[int | None],
    save_dir: Path,
    num_classes: int,
    transforms: list[dict] | None = None,
) -> ExportReport:
    """Writes model.pdmodel, model.pdiparams, model.pdiparams.info and deploy.yaml into `save_dir`.

    The graph is traced, optimised for Paddle-Lite, run by Paddle Inference in a child process and compared
    with the network. Raises ConversionError, and leaves `save_dir` as it was, when tracing fails or the
    two disagree.
    """
    if output_op == Decoder.name and not hasattr(model, "logits"):
        raise ConversionError(f"{type(model).__name__} gives full-size logits only; export it with --output_op none")
    wrapped = ExportModel(model, OUTPUT_OPS[output_op](getattr(model, "align_corners", False)))
    wrapped.eval()
    inputs = [_check_input(shape, transforms or []) for shape in _check_shapes(input_shape)]
    with paddle.no_grad():
        expected = [_run_dynamic(wrapped, array) for array in inputs]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=save_dir) as name:
        folder = Path(name)
        _trace(wrapped, input_shape, folder)
        program = read_program(folder)
        changed = passes.optimise(program)
        write_program(program, folder)
        agreement = _compare(folder, inputs, expected, wrapped.output_op.is_labels)
        if not agreement.is_good:
            raise ConversionError(
                f"the exported graph disagrees with the network: {agreement}; nothing was written to {save_dir}"
            )
        config = _describe(wrapped, input_shape, num_classes, expected[0].shape, transforms or [])
        write_deploy_yaml(config, folder)
        # The description goes first and comes last: with it stands what it describes, even after a kill in between.
        (save_dir / DEPLOY_FILE).unlink(missing_ok=True)
        for name in (MODEL_FILE, PARAMS_FILE, INFO_FILE, DEPLOY_FILE):
            shutil.move(folder / name, save_dir / name)
    return ExportReport(save_dir, config, agreement, changed, sum(program.operator_counts().values()))


def _check_shapes(input_shape: Sequence[int | None]) -> list[list[int]]:
    """Concrete shapes to check at: the one exported, or two sizes when height or width are open."""
    batch, channels, height, width = input_shape
    sizes = DYNAMIC_CHECK_SIZES if height is None or width is None else ((height, width),)
    return [[batch or 1, channels, height or h, width or w] for h, w in sizes]


def _check_input(shape: Sequence[int], transforms: list[dict]) -> np.ndarray:
    """A scene, normalised as the model's images are: noise would leave most logits in a tie."""
    batch, channels, height, width = shape
    image = make_scene(_CHECK_SCENE, height, width)[0][:, :, np.arange(channels) % 3]
    normalize = next((item for item in transforms if item.get("type") == "Normalize"), {})
    mean, std = (np.resize(np.asarray(normalize.get(key, 0.5), "float32"), channels) for key in ("mean", "std"))
    array = ((image / 255.0 - mean) / std).transpose(2, 0, 1)
    return np.repeat(array[np.newaxis].astype("float32"), batch, axis=0)


def _run_dynamic(model: nn.Layer, array: np.ndarray) -> np.ndarray:
    try:
        return model(paddle.to_tensor(array)).numpy()
    except (ValueError, RuntimeError) as error:
        size = f"{array.shape[2]}x{array.shape[3]}"
        raise ConversionError(f"the network cannot take {size} (height x width): {_last_line(error)}") from error


def _trace(model: ExportModel, input_shape: Sequence[int | None], folder: Path) -> None:
    spec = [paddle.static.InputSpec(list(input_shape), "float32", name="x")]  # it replaces None in the list it gets
    try:
        # Without full_graph, paddle 2.6 mixes up height and width in the axial attention.
        static = paddle.jit.to_static(model, input_spec=spec, full_graph=True)
        # clip_extra drops relu6's threshold, and with it Paddle-Lite's `opt` aborts.
        paddle.jit.save(static, str(folder / "model"), clip_extra=False)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConversionError(f"the network cannot be traced: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _compare(folder: Path, inputs: list[np.ndarray], expected: list[np.ndarray], is_labels: bool) -> Agreement:
    """Runs the files in a child process, where a crash of the native code costs no more than an error."""
    equal, error = 1.0, 0.0
    for array, reference in zip(inputs, expected, strict=True):
        np.save(folder / "in.npy", array)
        files = {"model": MODEL_FILE, "params": PARAMS_FILE, "input": "in.npy", "output": "out.npz"}
        run_child(run_static.__file__, [f"--{key}={folder / file}" for key, file in files.items()])
        with np.load(folder / "out.npz") as outputs:
            actual = outputs["output0"]
        for name in ("in.npy", "out.npz"):
            (folder / name).unlink()
        if actual.shape != reference.shape or actual.dtype != reference.dtype:
            raise ConversionError(
                f"the exported graph gives {actual.dtype} {list(actual.shape)}, "
                f"the network {reference.dtype} {list(reference.shape)}"
            )
        difference = np.abs(actual - reference) / max(float(reference.std()), 1e-6)
        difference = np.nan_to_num(difference, nan=np.inf)  # what is not a number agrees with nothing
        equal = min(equal, float((difference <= (0 if is_labels else MAX_SCORE_ERROR)).mean()))
        error = max(error, 0.0 if is_labels else float(difference.max()))
    return Agreement(equal, error, is_labels)


def _describe(
    model: ExportModel,
    input_shape: Sequence[int | None],
    num_classes: int,
    shape: Sequence[int],
    transforms: list[dict],
) -> DeployConfig:
    op = model.output_op
    is_open = [input_shape[0] is None, False, None in input_shape[2:], None in input_shape[2:]]
    is_open = [flag for i, flag in enumerate(is_open) if not (op.is_labels and i == 1)]
    return DeployConfig(
        input_shape=list(input_shape),
        output_op=op.name,
        output_dtype=op.dtype,
        output_shape=[None if open_ else int(length) for open_, length in zip(is_open, shape, strict=True)],
        output_kind="labels" if op.is_labels else "scores",
        num_classes=num_classes,
        transforms=transforms,
        versions={"paddle": paddle.__version__, "paddleseg_ext": __version__},
    )
