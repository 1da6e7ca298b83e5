"""Reads what `paddle.save` wrote (.pdparams, .pdopt, .pdstates) without executing anything in it.

`paddle.load` unpickles, and a pickle can run any code. The unpickler here knows the seven globals that
files written by Paddle contain and refuses every other.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from paddleseg_ext.errors import CheckpointError

_NUMPY = {"_reconstruct", "scalar"}
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("builtins", "tuple")}
_ALLOWED |= {(f"{package}.multiarray", name) for package in ("numpy.core", "numpy._core") for name in _NUMPY}
_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding}")
    return text.encode("latin1")


class _DataUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, strings and containers; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        if (module, name) in _ALLOWED:
            return super().find_class(module.replace("numpy._core", "numpy.core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weights need")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def _to_arrays(value: Any) -> Any:
    """Paddle pickles a tensor as a (name, array) pair; only the array is wanted."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        value = value[1]
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        raise CheckpointError(f"an array holds {value.dtype}, not numbers")
    if isinstance(value, dict):
        return {key: _to_arrays(item) for key, item in value.items()}
    return value


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


def read_name_table(path: str | Path) -> dict[str, str]:
    """Names in the network -> names of Paddle's parameters in the process that saved the weights; may be empty."""
    return dict(_read(Path(path)).get(_NAME_TABLE, {}))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a .pdparams file")
    try:
        with path.open("rb") as file:
            state = _DataUnpickler(file, encoding="latin1").load()
        if not isinstance(state, dict):
            raise CheckpointError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
        return _to_arrays(_join_slices(state))
    except MemoryError as error:
        raise CheckpointError(f"{path} declares more data than memory holds; it is damaged") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise CheckpointError(f"{path} is not a readable Paddle checkpoint: {error}") from error
