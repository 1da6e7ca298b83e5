"""Reads and writes an exported program and its parameters without running anything.

`model.pdmodel` is a ProgramDesc protobuf; `model.pdiparams` holds the persistable variables, sorted by name,
in Paddle's LoDTensor format; `model.pdiparams.info` maps them to names in the network.
"""

import pickle
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from paddle.base.proto import framework_pb2

from paddleseg_ext.compat import is_tensor
from paddleseg_ext.weights.pdparams import read_pdparams
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import INFO_FILE, MODEL_FILE, PARAMS_FILE

_TYPES = framework_pb2.VarType
_DTYPES = {
    _TYPES.BOOL: np.bool_, _TYPES.INT16: np.int16, _TYPES.INT32: np.int32, _TYPES.INT64: np.int64,
    _TYPES.FP16: np.float16, _TYPES.FP32: np.float32, _TYPES.FP64: np.float64, _TYPES.UINT8: np.uint8,
    _TYPES.INT8: np.int8,
}  # fmt: skip
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}


@dataclass
class StaticProgram:
    """A ProgramDesc, the value of each of its parameters, and Paddle's notes about them."""

    desc: Any
    params: dict[str, np.ndarray]
    info: dict[str, dict]

    def operators(self) -> Iterator[Any]:
        """The OpDescs of all blocks, in order."""
        for block in self.desc.blocks:
            yield from block.ops

    def operator_counts(self) -> Counter:
        """The number of operators per type."""
        return Counter(op.type for op in self.operators())

    def uses(self) -> Counter:
        """The number of operator inputs that read each variable."""
        return Counter(name for op in self.operators() for slot in op.inputs for name in slot.arguments)


def argument(op: Any, slot_name: str) -> str | None:
    """The single variable in an input or output slot of an OpDesc; None when the slot is empty or absent."""
    for slot in [*op.inputs, *op.outputs]:
        if slot.parameter == slot_name and len(slot.arguments) > 0:
            return slot.arguments[0]
    return None


def attribute(op: Any, name: str) -> Any:
    """The protobuf attribute of an OpDesc, or None."""
    return next((attr for attr in op.attrs if attr.name == name), None)


def read_program(folder: str | Path) -> StaticProgram:
    """Reads an exported folder. Raises ConversionError when a file is missing or damaged."""
    folder = Path(folder)
    desc = framework_pb2.ProgramDesc()
    try:
        desc.ParseFromString((folder / MODEL_FILE).read_bytes())
        names = sorted(var.name for var in desc.blocks[0].vars if _is_parameter(var))
        with (folder / PARAMS_FILE).open("rb") as file:
            params = {name: _read_tensor(file) for name in names}
            if file.read(1):
                raise ConversionError(f"{folder / PARAMS_FILE} holds more than the program's {len(names)} parameters")
        info = read_pdparams(folder / INFO_FILE)
    except FileNotFoundError as error:
        raise ConversionError(f"{folder} is not an exported model: {error.filename} is missing") from error
    except (DecodeError, struct.error, ValueError, KeyError) as error:
        raise ConversionError(f"{folder} holds a damaged export: {error}") from error
    return StaticProgram(desc, params, info)


def write_program(program: StaticProgram, folder: str | Path) -> None:
    """Writes the three files of an exported program into an existing folder."""
    folder = Path(folder)
    (folder / MODEL_FILE).write_bytes(program.desc.SerializeToString())
    with (folder / PARAMS_FILE).open("wb") as file:
        for name in sorted(program.params):
            _write_tensor(file, program.params[name])
    (folder / INFO_FILE).write_bytes(pickle.dumps(program.info, protocol=2))


def _is_parameter(var: Any) -> bool:
    return var.persistable and is_tensor(var)


def _read_tensor(file: BinaryIO) -> np.ndarray:
    _version, levels = struct.unpack("<IQ", file.read(12))
    for _ in range(levels):
        (size,) = struct.unpack("<Q", file.read(8))
        file.seek(size, 1)
    _version, size = struct.unpack("<Ii", file.read(8))
    desc = _TYPES.TensorDesc.FromString(file.read(size))
    dtype = np.dtype(_DTYPES[desc.data_type])
    count = int(np.prod(desc.dims, dtype="int64"))
    return np.frombuffer(file.read(count * dtype.itemsize), dtype).reshape(desc.dims)


def _write_tensor(file: BinaryIO, array: np.ndarray) -> None:
    desc = _TYPES.TensorDesc(data_type=_CODES[array.dtype], dims=array.shape).SerializeToString()
    file.write(struct.pack("<IQIi", 0, 0, 0, len(desc)))
    file.write(desc)
    file.write(np.ascontiguousarray(array).tobytes())
