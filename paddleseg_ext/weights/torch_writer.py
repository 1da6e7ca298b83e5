"""Writes a checkpoint that `torch.load(weights_only=True)` reads, without torch."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paddleseg_ext.weights.atomic import replaced
from paddleseg_ext_runtime.errors import CheckpointError

_STORAGES = {
    "float64": "Double", "float32": "Float", "float16": "Half", "int64": "Long", "int32": "Int", "int16": "Short",
    "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ALIGNMENT = 64
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def write_torch(path: str | Path, tensors: Mapping[str, np.ndarray], meta: Mapping[str, str]) -> None:
    """Writes `{"meta": meta, "state_dict": tensors}` in torch's zip format; the file appears complete or not at all.

    Raises CheckpointError for a dtype that torch does not have, ConfigError when `path` cannot be written.
    """
    arrays = [np.asarray(value, order="C") for value in tensors.values()]
    for name, array in zip(tensors, arrays, strict=True):
        if array.dtype.name not in _STORAGES:
            raise CheckpointError(f"{name} is of {array.dtype}, which torch has not")
    members = {
        "data.pkl": _pickle(tensors, arrays, meta),
        "byteorder": b"little",
        **{f"data/{i}": array.astype(array.dtype.newbyteorder("<")).tobytes() for i, array in enumerate(arrays)},
        "version": b"3\n",
    }
    with replaced(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"archive/{name}", _EPOCH)
            # Memory-mapped loading needs aligned storages: an extra field of the header fills the gap.
            start = archive.fp.tell() + zipfile.sizeFileHeader + len(info.filename)
            padding = -(start + 4) % _ALIGNMENT
            info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(info, content)


def _pickle(tensors: Mapping[str, np.ndarray], arrays: list[np.ndarray], meta: Mapping[str, str]) -> bytes:
    """Writes protocol 2 one instruction at a time: `pickle` would import torch in order to name its functions."""
    parts = [b"\x80\x02}(", _text("meta"), b"}("]
    for key, value in meta.items():
        parts += [_text(key), _text(value)]
    parts += [b"u", _text("state_dict"), _ORDERED_DICT, b"("]
    for i, (name, array) in enumerate(zip(tensors, arrays, strict=True)):
        stride = [step // array.itemsize for step in array.strides] if array.size else [1] * array.ndim
        kind = f"ctorch\n{_STORAGES[array.dtype.name]}Storage\n".encode()
        storage = [b"(", _text("storage"), kind, _text(str(i)), _text("cpu"), _number(array.size), b"tQ"]
        rebuild = [b"ctorch._utils\n_rebuild_tensor_v2\n(", *storage, _number(0), _tuple(array.shape), _tuple(stride)]
        parts += [_text(name), *rebuild, b"\x89", _ORDERED_DICT, b"tR"]
    return b"".join([*parts, b"uu."])


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(_number(value) for value in values) + b"t"
