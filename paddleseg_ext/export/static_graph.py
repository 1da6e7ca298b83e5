"""Exports a network: traces it, adapts the graph to Paddle-Lite, runs it in a child process, then publishes it."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddleseg_ext import compat
from paddleseg_ext.export import passes
from paddleseg_ext.export.decoder_logits import with_logits
from paddleseg_ext.export.old_operators import explain, old_operators
from paddleseg_ext.export.program import read_program, write_program
from paddleseg_ext.models.output_ops import OUTPUT_OPS, Decoder, ExportModel
from paddleseg_ext.version import __version__
from paddleseg_ext_runtime.deploy_yaml import DeployConfig, describe_labels, write_deploy_yaml
from paddleseg_ext_runtime.errors import ConfigError, ConversionError
from paddleseg_ext_runtime.exported import DEPLOY_FILE, INFO_FILE, MODEL_FILE, ONNX_FILE, PARAMS_FILE
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.run_model import harmful_passes
from paddleseg_ext_runtime.runtimes import outputs_for
from paddleseg_ext_runtime.verify import Agreement, Checked, check_input, check_shapes, compare, run_at_sizes


@dataclass(frozen=True)
class ExportReport:
    """The written files and their check: `checked` holds the results of the network itself."""

    folder: Path
    config: DeployConfig
    agreement: Agreement
    checked: Checked
    passes: dict[str, int]
    operators: int


def check_input_shape(shape: Sequence[int] | None, in_channels: int = 3) -> list[int | None]:
    """[N, C, H, W] with None for unknown lengths, from the value of `--input_shape` (None: all sizes).

    Raises ConfigError for a wrong number of lengths or of channels.
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
    test_scale: float = 1.0,
    class_names: Sequence[str] | None = None,
) -> ExportReport:
    """Writes model.pdmodel, model.pdiparams, model.pdiparams.info and deploy.yaml into `save_dir`.

    The graph is traced, optimised for Paddle-Lite, run by Paddle Inference in a child process and compared
    with the network, which sees the input at `test_scale`. Raises ConversionError, and leaves `save_dir` as it
    was, when tracing fails or the two disagree.
    """
    example = check_input(check_shapes(input_shape)[0], transforms or [])
    wrapped = with_output_op(model, output_op, example, test_scale)
    inputs, expected = run_at_sizes(
        input_shape, transforms or [], lambda arrays: [_run_dynamic(wrapped, array) for array in arrays], "the network"
    )
    if wrapped.output_op.is_labels and num_classes > 1 and all(len(np.unique(labels)) == 1 for labels in expected):
        get_logger().warning("these weights give every pixel the same label: comparing such graphs says little")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=save_dir) as name:
        folder = Path(name)
        trace(wrapped, input_shape, folder)
        _warn(wrapped, num_classes)
        program = read_program(folder)
        changed = passes.optimise(program)
        write_program(program, folder)
        actual = outputs_for("paddle_inference", folder, inputs)
        agreement = compare(expected, actual, wrapped.output_op.is_labels, ("the network", "the exported graph"))
        if not agreement.is_good:
            hint = "; of a fixed --input_shape it may agree" if None in input_shape[2:] else ""
            raise ConversionError(
                f"the exported graph disagrees with the network: {agreement}; nothing was written to {save_dir}{hint}"
            )
        config = _describe(
            wrapped, input_shape, expected[0].shape, transforms=transforms or [], num_classes=num_classes,
            labels=describe_labels(num_classes, class_names), harmful_passes=harmful_passes(str(folder / MODEL_FILE)),
        )  # fmt: skip
        write_deploy_yaml(config, folder)
        # deploy.yaml is deleted first and written last, so that a folder with a deploy.yaml is always complete.
        for name in (DEPLOY_FILE, ONNX_FILE):  # an old ONNX file belongs to another graph
            (save_dir / name).unlink(missing_ok=True)
        for name in (MODEL_FILE, PARAMS_FILE, INFO_FILE, DEPLOY_FILE):
            shutil.move(folder / name, save_dir / name)
    checked = Checked("the network", inputs, expected)
    return ExportReport(save_dir, config, agreement, checked, changed, sum(program.operator_counts().values()))


def with_output_op(model: nn.Layer, output_op: str, example: np.ndarray, test_scale: float = 1.0) -> ExportModel:
    """The network as it is exported: with the test scale before it and the output op behind its logits.

    `example` [B, C, H, W] is an input for a first run. Raises ConversionError when the network cannot take it.
    """
    with _naming_size(example):
        model = with_logits(model, example)
    # With a test scale, the last upsampling is PaddleSeg's, which does not align corners.
    align_corners = getattr(model, "align_corners", False) if test_scale == 1.0 else False
    wrapped = ExportModel(model, OUTPUT_OPS[output_op](align_corners), test_scale)
    wrapped.eval()
    return wrapped


def _run_dynamic(model: nn.Layer, array: np.ndarray) -> np.ndarray:
    with _naming_size(array), paddle.no_grad():
        return model(paddle.to_tensor(array)).numpy()


@contextmanager
def _naming_size(array: np.ndarray) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        size = f"{array.shape[2]}x{array.shape[3]}"
        raise ConversionError(f"the network cannot take {size} (height x width): {_last_line(error)}") from error


def _warn(wrapped: ExportModel, num_classes: int) -> None:
    """Warns of surprises. Raises ConversionError for `decoder` if the logits at decoder resolution are unknown."""
    op, logger = wrapped.output_op, get_logger()
    if num_classes == 1 and op.is_labels:
        logger.warning("the network has one class, so every label is 0; --output_op none gives its scores")
    if getattr(wrapped.model, "is_before_upsampling", True):
        return
    name = type(wrapped.model.model).__name__
    if isinstance(op, Decoder):
        raise ConversionError(f"{name} does not end in an upsampling of its logits; export it with --output_op none")
    if op.name.startswith("vim"):
        logger.warning("%s does not end in an upsampling of its logits: %s gains nothing on it", name, op.name)


def trace(model: nn.Layer, input_shape: Sequence[int | None], folder: Path) -> None:
    """Writes the static graph that Paddle traces from `model` into `folder`. Raises ConversionError if it cannot."""
    # A copy, because InputSpec replaces None in the list.
    spec = [paddle.static.InputSpec(list(input_shape), "float32", name="x")]
    try:
        with compat.old_program(), old_operators():
            # Without full_graph, paddle 2.6 mixes up height and width in the axial attention.
            static = paddle.jit.to_static(model, input_spec=spec, full_graph=True)
            # clip_extra would drop the threshold of relu6, without which Paddle-Lite's `opt` aborts.
            paddle.jit.save(static, str(folder / "model"), clip_extra=False)
    except (ValueError, RuntimeError, TypeError) as error:
        reason = explain(error) or f"the network cannot be traced: {_last_line(error)}"
        raise ConversionError(reason) from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _describe(
    model: ExportModel, input_shape: Sequence[int | None], output_shape: Sequence[int], **settings: Any
) -> DeployConfig:
    op, any_size = model.output_op, None in input_shape[2:]
    is_open = [input_shape[0] is None, *([] if op.is_labels else [False]), any_size, any_size]
    return DeployConfig(
        input_shape=list(input_shape),
        output_op=op.name,
        output_dtype=op.dtype,
        output_shape=[None if open_ else int(length) for open_, length in zip(is_open, output_shape, strict=True)],
        output_kind="labels" if op.is_labels else "scores",
        test_scale=model.test_scale,
        versions={"paddle": paddle.__version__, "paddleseg_ext": __version__},
        **settings,
    )
