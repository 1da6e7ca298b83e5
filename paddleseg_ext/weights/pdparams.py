"""Reads what `paddle.save` wrote (.pdparams, .pdopt, .pdstates) without executing anything in it.

`paddle.load` unpickles, and a pickle can run any code. The unpickler here knows the seven globals that
files written by Paddle contain, has its own stand-ins for numpy's, and refuses every other.
"""

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paddleseg_ext.errors import CheckpointError

_ALLOWED = {("collections", "OrderedDict"), ("builtins", "tuple")}
_NUMERIC = re.compile(r"[<>|=]?([biufc]\d{1,2}|\?)")
_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"


class _Dtype:
    """Stands for a numpy dtype. Its state is read, not set: numpy would set it on the dtype that all share."""

    def __init__(self, name: Any, *_: Any):
        if not (isinstance(name, str) and _NUMERIC.fullmatch(name)):
            raise pickle.UnpicklingError(f"an array holds {str(name)[:40]!r}, not numbers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for a numpy array. numpy's own would allocate whatever shape the file says, before its content."""

    def __init__(self, *_: Any):
        self.array = np.empty(0, "u1")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(content, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C").astype(dtype.dtype.newbyteorder("="))


class _DataUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, strings and containers; refuses everything else.

    What it hands out has a `__setstate__` or is a bound method: no pickle can leave anything in it.
    """

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("_codecs", "encode"): self._encode,
            ("numpy", "dtype"): _Dtype,
            ("numpy", "ndarray"): _Array,
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy.core.multiarray", "scalar"): self._scalar,
        }
        key = (module.replace("numpy._core", "numpy.core"), name)
        if key not in known and key not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weights need")
        return known.get(key) or super().find_class(*key)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"codec {encoding}")
        return text.encode("latin1")

    def _scalar(self, dtype: _Dtype, content: bytes) -> np.generic:
        return np.frombuffer(content, dtype.dtype, count=1)[0]


def _to_arrays(value: Any, done: dict[int, Any]) -> Any:
    """Paddle pickles a tensor as a (name, array) pair; only the array is wanted. `done` holds what was seen, by id."""
    if id(value) not in done:
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], _Array):
            done[id(value)] = value[1].array
        elif isinstance(value, _Array):
            done[id(value)] = value.array
        elif isinstance(value, dict):
            done[id(value)] = {key: _to_arrays(item, done) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            done[id(value)] = type(value)([_to_arrays(item, done) for item in value])
        else:
            return value
    return done[id(value)]


def _join_slices(state: dict[str, Any]) -> dict[str, Any]:
    """Undoes the splitting of arrays above 1 GiB (protocol 2)."""
    for name, info in (state.pop(_SLICES, None) or {}).items():
        parts = [state.pop(part) for part in info["slices"]]
        state[name] = np.concatenate([part.reshape(-1) for part in parts]).reshape(info["OriginShape"])
    return state


def read_pdparams(path: str | Path) -> dict[str, Any]:
    """The dictionary in a file written by `paddle.save`, tensors as numpy arrays.

    Raises CheckpointError when the file is missing, is not such a file, or holds anything but data.
    """
    state = _read(Path(path))
    state.pop(_NAME_TABLE, None)
    return state


def load_state(file: BinaryIO, path: Path) -> dict[str, Any]:
    """As `read_pdparams`, from an open file; `path` is what messages call it."""
    state = _load(file, path)
    state.pop(_NAME_TABLE, None)
    return state


def read_name_table(path: str | Path) -> dict[str, str]:
    """Names in the network -> names of Paddle's parameters in the process that saved the weights; may be empty."""
    return dict(_read(Path(path)).get(_NAME_TABLE, {}))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a .pdparams file")
    with path.open("rb") as file:
        return _load(file, path)


def _load(file: BinaryIO, path: Path) -> dict[str, Any]:
    try:
        state = _DataUnpickler(file, encoding="latin1").load()
        if not isinstance(state, dict):
            raise CheckpointError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
        return _join_slices(_to_arrays(state, {}))
    except MemoryError as error:
        raise CheckpointError(f"{path} declares more data than memory holds; it is damaged") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise CheckpointError(f"{path} is not a readable Paddle checkpoint: {error}") from error
