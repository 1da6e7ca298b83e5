"""Reads files of `paddle.save` (.pdparams, .pdopt, .pdstates) without executing anything in them.

`paddle.load` unpickles, and a pickle can run any code. Here the pickle is read as data: of the calls in it, only
those that build arrays, numbers and a few containers are understood, and all others are refused.
"""

import re
import reprlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paddleseg_ext.weights.pickle_tree import Call, DataUnpickler, Entries, entries, reported
from paddleseg_ext_runtime.errors import CheckpointError

_ARRAY = "numpy.core.multiarray._reconstruct"
_NUMERIC = re.compile(r"[<>|=]?([biufc]\d{1,2}|\?)")
_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"


def read_pdparams(path: str | Path) -> dict[str, Any]:
    """The dictionary in a file of `paddle.save`, with tensors as numpy arrays.

    Raises CheckpointError when the file is missing, has another format, or holds more than data.
    """
    return _read(Path(path))[0]


def load_state(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Like `read_pdparams`, but from an open file; messages call it `path`."""
    with reported(path, "Paddle", ".pdparams"):
        return _load(file)[0]


def read_name_table(path: str | Path) -> dict[str, str]:
    """Names in the network -> Paddle's parameter names in the process that saved the weights; may be empty."""
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with reported(path, "Paddle", ".pdparams"), path.open("rb") as file:
        return _load(file)


def _load(file: BinaryIO) -> tuple[dict[str, Any], dict[str, str]]:
    root = DataUnpickler(file).load()
    state = _Values(4 * file.tell() + (1 << 20)).of(root)
    if not isinstance(state, dict):
        raise CheckpointError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    table = state.pop(_NAME_TABLE, {})
    return _join_slices(state), dict(table)


def _join_slices(state: dict[str, Any]) -> dict[str, Any]:
    """Undoes the splitting of arrays above 1 GiB (protocol 2)."""
    for name, info in (state.pop(_SLICES, None) or {}).items():
        parts = [state.pop(part) for part in info["slices"]]
        state[name] = np.concatenate([part.reshape(-1) for part in parts]).reshape(info["OriginShape"])
    return state


class _Values:
    """Turns the nodes of a pickle into values. `budget` limits the bytes of all arrays, as nodes may share content."""

    def __init__(self, budget: int):
        self.budget = budget
        self.done: dict[int, Any] = {}  # by id of the node, which the root keeps alive

    def of(self, node: Any) -> Any:
        """The value of a node, made once."""
        if not isinstance(node, Entries | list | tuple):
            return node
        if id(node) not in self.done:
            self.done[id(node)] = self._make(node)
        return self.done[id(node)]

    def _make(self, node: Any) -> Any:
        if isinstance(node, Call) and node.name != "collections.OrderedDict":
            return self._result(node.name, self.of(node.arguments), self.of(node.state))
        if isinstance(node, Entries):
            pairs = list(entries(node))
            # Only strings are allowed: computing the hash of nested tuples can take forever.
            if not all(isinstance(key, str) for key, _ in pairs):
                raise CheckpointError("it has keys that are not strings")
            return {key: self.of(value) for key, value in pairs}
        # Paddle pickles a tensor as a (name, array) pair; the name is not needed.
        if isinstance(node, tuple) and len(node) == 2 and isinstance(node[1], Call) and node[1].name == _ARRAY:
            return self.of(node[1])
        return type(node)([self.of(item) for item in node])

    def _result(self, name: str, arguments: Any, state: Any) -> Any:
        if name == _ARRAY:
            _, shape, dtype, is_fortran, content = state
            flat = self._numbers(dtype, content)
            return flat.reshape(shape, order="F" if is_fortran else "C").astype(dtype.newbyteorder("="))
        if name == "numpy.core.multiarray.scalar":
            return self._numbers(*arguments)[0]
        if name == "numpy.dtype":
            if not (isinstance(arguments[0], str) and _NUMERIC.fullmatch(arguments[0])):
                raise CheckpointError(f"an array holds {reprlib.repr(arguments[0])[:40]}, not numbers")
            # A new dtype: setting the state, as numpy does, would change the dtype object that all of Python shares.
            return np.dtype(arguments[0]).newbyteorder(state[1] if state else "=")
        if name == "builtins.tuple" or (name == "_codecs.encode" and arguments[1] in ("latin1", "latin-1")):
            return arguments[0]
        if name == "builtins.bytes" and arguments == ():  # the content of an empty array, in protocol 2
            return b""
        raise CheckpointError(f"it calls {name}, which no weights of Paddle need")

    def _numbers(self, dtype: Any, content: bytes | str) -> np.ndarray:
        self.budget -= len(content)
        if not isinstance(dtype, np.dtype) or self.budget < 0:
            raise CheckpointError("it holds an array that cannot be")
        return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, dtype)
