"""Writes ONNX from an exported folder. The file appears only after it was converted, corrected, checked and run."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from paddleseg_ext.export import run_paddle2onnx
from paddleseg_ext.export.onnx_passes import correct
from paddleseg_ext.export.program import read_program
from paddleseg_ext_runtime.child import run_child
from paddleseg_ext_runtime.deploy_yaml import DeployConfig, read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import MODEL_FILE, ONNX_FILE, PARAMS_FILE
from paddleseg_ext_runtime.runtimes import outputs_for
from paddleseg_ext_runtime.verify import Agreement, Checked, compare, run_at_sizes

OPSETS = range(11, 17)


@dataclass(frozen=True)
class OnnxReport:
    """The written file, and the agreement of its results under ONNX Runtime with the expected ones."""

    file: Path
    opset: int
    operators: int
    corrected: dict[str, int]
    agreement: Agreement


def export_onnx(
    folder: str | Path,
    save_file: str | Path | None = None,
    opset: int | None = None,
    timeout_s: float = 600.0,
    checked: Checked | None = None,
) -> OnnxReport:
    """Writes `model.onnx` (or `save_file`) from the exported program in `folder`, with the same shapes.

    Without `opset`, the lowest one from 11 on that has all operators is used. onnx checks the file; then its results
    under ONNX Runtime are compared with those of the network (`checked`, from the report of an export) or of Paddle
    Inference. Raises ConversionError, and leaves an old file as it was, when an operator cannot be expressed, a step
    takes longer than `timeout_s`, or the results disagree.
    """
    folder = Path(folder)
    save_file = Path(save_file or folder / ONNX_FILE)
    if opset is not None and opset not in OPSETS:
        raise ConversionError(f"opset {opset} is asked for; paddle2onnx writes {OPSETS.start} to {OPSETS.stop - 1}")
    config, program = read_deploy_yaml(folder), read_program(folder)
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=save_file.parent) as name:
        written = Path(name) / ONNX_FILE
        model = _convert(folder, written, opset, timeout_s)
        corrected = correct(model, program, config.output_kind)
        _check(model)
        onnx.save(model, str(written))
        checked = checked or _by_paddle(folder, config, timeout_s)
        agreement = _verify(written.parent, checked, config.output_kind == "labels", timeout_s)
        os.replace(written, save_file)
    operators = sum(node.op_type != "Constant" for node in model.graph.node)
    return OnnxReport(save_file, model.opset_import[0].version, operators, corrected, agreement)


def _convert(folder: Path, written: Path, opset: int | None, timeout_s: float) -> onnx.ModelProto:
    files = {"model": folder / MODEL_FILE, "params": folder / PARAMS_FILE, "output": written}
    arguments = [f"--{key}={file}" for key, file in files.items()]
    arguments += [f"--opset={opset or OPSETS.start}", f"--exact={int(opset is not None)}"]
    try:
        output = run_child(run_paddle2onnx.__file__, arguments, timeout_s)
    except ConversionError as error:
        raise ConversionError(f"{folder} has no ONNX form: {_reason(str(error))}") from error
    model = onnx.load(str(written)) if written.is_file() else None
    if model is None or not model.graph.node:  # paddle2onnx reports success in this case, too
        raise ConversionError(f"{folder} has no ONNX form: {_reason(output)}")
    return model


def _reason(output: str) -> str:
    """The known complaint in the output of paddle2onnx as one line, otherwise the last line of the output."""
    if match := re.search(r"operators not supported yet, including ([\w,]+\w)", output):
        return f"paddle2onnx cannot convert {match[1].replace(',', ', ')}"
    if match := re.search(r"operator: (\w+), requires opset_version >= (\d+)", output):
        return f"{match[1]} needs opset {match[2]} or newer"
    return (output.strip().splitlines() or ["paddle2onnx said nothing"])[-1]


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"paddle2onnx wrote a wrong graph: {str(error).strip().splitlines()[0]}") from error


def _by_paddle(folder: Path, config: DeployConfig, timeout_s: float) -> Checked:
    def run(inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return outputs_for("paddle_inference", folder, inputs, timeout_s)

    return Checked("Paddle Inference", *run_at_sizes(config.input_shape, config.transforms, run, "the graph"))


def _verify(onnx_folder: Path, checked: Checked, is_labels: bool, timeout_s: float) -> Agreement:
    actual = outputs_for("onnxruntime", onnx_folder, checked.inputs, timeout_s)
    agreement = compare(checked.outputs, actual, is_labels, (checked.by, "ONNX Runtime"))
    if not agreement.is_good:
        raise ConversionError(f"ONNX Runtime disagrees with {checked.by}: {agreement}; nothing was written")
    return agreement
