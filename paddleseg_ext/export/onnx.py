"""ONNX from an exported folder: converted in a child process, corrected, checked, run, and only then let be seen."""

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
    """What was written, and how its results under ONNX Runtime compare with those it should give."""

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
    """Writes `model.onnx` (or `save_file`) from the exported program in `folder`, with the shapes that one has.

    Without `opset`, it is the lowest from 11 on that has all operators. The file is checked by onnx, run under
    ONNX Runtime and compared with what the network gave for some inputs (`checked`, of an export's report), else with
    Paddle Inference on a scene. Raises ConversionError, and leaves what was
    there, when an operator cannot be expressed, a step takes longer than `timeout_s` or the two disagree.
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
        said = run_child(run_paddle2onnx.__file__, arguments, timeout_s)
    except ConversionError as error:
        raise ConversionError(f"{folder} has no ONNX form: {_reason(str(error))}") from error
    model = onnx.load(str(written)) if written.is_file() else None
    if model is None or not model.graph.node:  # it reports success then, too
        raise ConversionError(f"{folder} has no ONNX form: {_reason(said)}")
    return model


def _reason(said: str) -> str:
    """What paddle2onnx complained of, in a line; its last one when nothing is known of it."""
    if found := re.search(r"operators not supported yet, including ([\w,]+\w)", said):
        return f"paddle2onnx cannot convert {found[1].replace(',', ', ')}"
    if found := re.search(r"operator: (\w+), requires opset_version >= (\d+)", said):
        return f"{found[1]} needs opset {found[2]} or newer"
    return (said.strip().splitlines() or ["paddle2onnx said nothing"])[-1]


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
