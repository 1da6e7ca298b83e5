"""Writes a model for a Triton Inference Server repository from an exported folder with a model.onnx."""

import shutil
from pathlib import Path

import onnx

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import DEPLOY_FILE, ONNX_FILE

_TYPES = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT32: "TYPE_INT32"}


def write_triton_model(folder: str | Path, repository: str | Path, name: str) -> Path:
    """Writes `<repository>/<name>/`: config.pbtxt, 1/model.onnx and the deploy.yaml beside it. Returns it.

    All shapes, including the batch (`max_batch_size: 0`), stay as exported; -1 stands for an open length.
    Raises ConversionError when the folder has no model.onnx.
    """
    source, target = Path(folder) / ONNX_FILE, Path(repository) / name
    if not source.is_file():
        raise ConversionError(f"{source} is missing; tools/export.py --onnx writes it")
    graph = onnx.load(str(source), load_external_data=False).graph
    (target / "1").mkdir(parents=True, exist_ok=True)
    for file in (source, Path(folder) / DEPLOY_FILE):
        shutil.copyfile(file, target / "1" / file.name)
    text = f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n'
    text += "".join(_tensors(*part) for part in (("input", graph.input), ("output", graph.output)))
    (target / "config.pbtxt").write_text(text, encoding="utf-8")
    return target


def _tensors(key: str, values: list[onnx.ValueInfoProto]) -> str:
    entries = []
    for value in values:
        tensor = value.type.tensor_type
        dims = ", ".join(str(dim.dim_value if dim.dim_value > 0 else -1) for dim in tensor.shape.dim)
        entries.append(f'  {{ name: "{value.name}" data_type: {_TYPES[tensor.elem_type]} dims: [ {dims} ] }}')
    return f"{key} [\n" + ",\n".join(entries) + "\n]\n"
