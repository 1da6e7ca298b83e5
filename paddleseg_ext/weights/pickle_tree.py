"""Reads a pickle as data, with Python's own unpickler changed so that it imports, creates and calls nothing.

A name becomes a `Name`, a call becomes a `Call` that is never executed, and a dictionary becomes `Entries`. Anything
that weights do not need is refused. Only this file decides what a checkpoint of Paddle or torch may name and call.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from paddleseg_ext_runtime.errors import CheckpointError

MAX_INSTRUCTIONS = 2_000_000  # a training checkpoint of the largest network here has some 60,000
# The instructions that data needs in protocols 2 to 5, which torch and Paddle write. Python 2 writes INT from 2^31 on.
_DATA = """
PROTO FRAME STOP MARK POP POP_MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE NEWTRUE NEWFALSE INT
BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINUNICODE8
BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT EMPTY_SET
FROZENSET APPEND APPENDS SETITEM SETITEMS ADDITEMS GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID
"""
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocols below 3 use Python 2's names
# The functions that build weights, and those that real training checkpoints call for other data.
_BUILTINS = ("set", "frozenset", "slice", "complex", "bytearray", "bytes", "range", "tuple")
_CALLS = {f"builtins.{name}" for name in _BUILTINS} | {
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state", "torch.Size", "torch.device", "collections.OrderedDict",
    "collections.defaultdict", "collections.deque", "collections.Counter", "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar", "numpy.dtype", "_codecs.encode", "copyreg._reconstructor", "datetime.datetime",
    "datetime.timedelta", "pathlib.PosixPath", "pathlib.WindowsPath", "mmengine.config.config.ConfigDict",
    "mmcv.utils.config.ConfigDict",
}  # fmt: skip
# A file may name anything of these packages, even classes of instances; nothing is ever imported.
_PACKAGES = {"torch", "numpy", "collections", "mmengine", "mmcv", "mmseg", "mmcls", "mmpretrain", "timm", "argparse"}
_GETATTR, _HISTORY = "builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"
# mmengine's log history names its own methods by getattr in pickles of protocol 2.
_HISTORY_METHODS = [(_HISTORY, name) for name in ("min", "max", "mean", "current")]
_NAMES = _CALLS | {f"builtins.{name}" for name in ("object", "dict", "list", "int", "float", "str", "bool", "getattr")}


class UnsafePickle(Exception):
    """The pickle asks for something that data never needs."""


class Name(str):
    """The name of an object that a pickle would import."""


class Entries:
    """A dictionary or set as a list of pairs. It is not hashed: the hash of nested tuples can take forever."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def append(self, item: Any) -> None:
        """Called by the unpickler for the items of a list and, as `add`, of a set."""
        self.pairs.append((item, None))

    add = append


class Call(Entries):
    """A function or class that a pickle would call, with its arguments; `pairs` and `state` go into the result."""

    def __init__(self, name: Name, arguments: Any):
        super().__init__()
        self.name, self.arguments, self.state = name, arguments, None


class _Instructions(dict[int, Any]):
    """The method of each instruction. Raises UnsafePickle after MAX_INSTRUCTIONS look-ups."""

    count = 0

    def __getitem__(self, code: int) -> Any:
        self.count += 1
        if self.count > MAX_INSTRUCTIONS:
            raise UnsafePickle(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Any:
        if self.count == 1:
            raise ValueError("it does not begin as a pickle does")
        raise UnsafePickle(f"it has the instruction {bytes([code])!r}, which data never needs")


class DataUnpickler(pickle._Unpickler):
    """Reads one pickle from a file; `load` gives its root. Raises UnsafePickle, or almost anything when damaged."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")
        self.dispatch = _Instructions(_METHODS)

    def find_class(self, module: str, name: str) -> Name:
        """The name itself; nothing is imported."""
        full = Name(f"{_RENAMED.get(module, module)}.{name}".replace("numpy._core.", "numpy.core."))
        if full not in _NAMES and full.split(".")[0] not in _PACKAGES:
            raise UnsafePickle(f"it names {full}, which no weights need")
        return full

    def load_reduce(self) -> None:
        """Records a call without making it."""
        arguments, function = self.stack.pop(), self.stack.pop()
        called = function if isinstance(function, Name) else "something that is not a name"
        if called not in _CALLS and not (called == _GETATTR and arguments in _HISTORY_METHODS):
            raise UnsafePickle(f"it calls {called}, which no weights need")
        self.append(Call(function, arguments))

    def load_newobj(self) -> None:
        """Records an instance, of any class that a file may name."""
        arguments, cls = self.stack.pop(), self.stack.pop()
        if not isinstance(cls, Name) or cls == _GETATTR:
            raise UnsafePickle("it instantiates something that is not a class")
        self.append(Call(cls, arguments))

    def load_build(self) -> None:
        """Records the attributes of an instance."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call):
            raise UnsafePickle("it gives a state to something that has none")
        self.stack[-1].state = state

    def load_empty_dictionary(self) -> None:
        """Starts a dictionary or set, which later instructions fill."""
        self.append(Entries())

    load_empty_set = load_empty_dictionary
    load_frozenset = pickle._Unpickler.load_list
    load_bytearray8 = pickle._Unpickler.load_binbytes8  # Python's own allocates any length that the file claims


_CODES = [getattr(pickle, name)[0] for name in _DATA.split()]
_METHODS = {code: getattr(DataUnpickler, pickle._Unpickler.dispatch[code].__name__) for code in _CODES}


def entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """The pairs of a dictionary or of a call of OrderedDict, nothing for any other node."""
    if isinstance(node, Call):
        if node.name != "collections.OrderedDict":
            return
        if node.arguments:
            yield from (tuple(pair) for pair in node.arguments[0])
    if isinstance(node, Entries):
        yield from node.pairs


@contextmanager
def reported(path: Path, project: str, suffix: str) -> Iterator[None]:
    """Turns every error of reading a checkpoint of `project` into CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a {suffix} file")
    try:
        yield
    except UnsafePickle as error:
        raise CheckpointError(f"{path} is refused: {error}. Nothing in it was executed") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises almost anything
        reason = str(error) or "it ends before its data does"
        raise CheckpointError(f"{path} is not a readable {project} checkpoint: {reason}") from error
