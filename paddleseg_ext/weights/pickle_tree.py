"""A pickle read as data: Python's own unpickler, which here imports, makes and calls nothing a file names.

A name becomes a `Name`, a call a `Call` that nobody makes, a dictionary its `Entries`; what no weights need is
refused. This is the one place that says what a file may name and call, whether Paddle or torch wrote it.
"""

import pickle
from collections.abc import Iterable
from typing import Any, BinaryIO

MAX_INSTRUCTIONS = 2_000_000  # a training checkpoint of the largest network here has some 60,000
# Those that neither name, nor make, nor call: they move what the file holds, and Python's own methods serve them.
_PLAIN = """
PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET NONE NEWTRUE NEWFALSE INT
BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE
SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 LIST EMPTY_LIST TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3
APPEND APPENDS SETITEM SETITEMS ADDITEMS GLOBAL STACK_GLOBAL BINPERSID
"""
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocols below 3 use Python 2's
ORDERED_DICT, RECONSTRUCT = "collections.OrderedDict", "numpy.core.multiarray._reconstruct"
TENSOR = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}
PARAMETER = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
# What weights are made of, and what real training checkpoints call beside them.
_CALLS = TENSOR | PARAMETER | {
    "torch.Size", "torch.device", ORDERED_DICT, "collections.defaultdict", "collections.deque", "collections.Counter",
    RECONSTRUCT, "numpy.core.multiarray.scalar", "numpy.dtype", "_codecs.encode", "copyreg._reconstructor",
    "datetime.datetime", "datetime.timedelta", "pathlib.PosixPath", "pathlib.WindowsPath",
    "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict",
}  # fmt: skip
_CALLS |= {f"builtins.{name}" for name in ("set", "frozenset", "slice", "complex", "bytearray", "range", "tuple")}
# Packages whose names may stand in a file, to be instantiated or not; they are never looked up.
_PACKAGES = {"torch", "numpy", "collections", "mmengine", "mmcv", "mmseg", "mmcls", "mmpretrain", "timm", "argparse"}
_GETATTR, _HISTORY = "builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"
_NAMES = _CALLS | {f"builtins.{name}" for name in ("object", "dict", "list", "int", "float", "str", "bool", "getattr")}


class UnsafePickle(Exception):
    """The pickle asks for something that data never needs."""


class Name:
    """What a pickle would import."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text


class Entries:
    """A dictionary or set as it was written: pairs, not hashed, for the hash of nested tuples can take forever."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = ()):
        self.pairs = list(pairs)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def append(self, item: Any) -> None:
        """What the unpickler puts into lists and, as `add`, into sets."""
        self.pairs.append((item, None))

    add = append


class Call(Entries):
    """What a pickle would call or instantiate, with what; `pairs` and `state` are put into the result."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: Any):
        super().__init__()
        self.name, self.arguments, self.state = name, arguments, None


class _Instructions(dict[int, Any]):
    """The method of each instruction, so many times in all."""

    count = 0

    def __getitem__(self, code: int) -> Any:
        self.count += 1
        if self.count > MAX_INSTRUCTIONS:
            raise UnsafePickle(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Any:
        raise UnsafePickle(f"it has the instruction {bytes([code])!r}, which data never needs")


class DataUnpickler(pickle._Unpickler):
    """Reads one pickle from a file; `load` gives its root. Raises UnsafePickle, or almost anything when damaged."""

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")
        self.dispatch = _Instructions(_METHODS)

    def load(self) -> Any:
        """The root of the tree."""
        try:
            return super().load()
        except EOFError as error:
            raise ValueError("it ends too early") from error

    def find_class(self, module: str, name: str) -> Name:
        """Finds nothing: a name stays one."""
        text = f"{_RENAMED.get(module, module)}.{name}".replace("numpy._core.", "numpy.core.")
        if text not in _NAMES and text.split(".")[0] not in _PACKAGES:
            raise UnsafePickle(f"it names {text}, which no weights need")
        return Name(text)

    def persistent_load(self, pid: Any) -> Any:
        """What stands for something beside the pickle."""
        raise UnsafePickle("it refers to objects outside the file")

    def _call(self) -> None:
        function, arguments = self._function_and_arguments()
        if function not in _CALLS and not (function == _GETATTR and _is_history_method(arguments)):
            raise UnsafePickle(f"it calls {function}, which no weights need")
        self.append(Call(function, arguments))

    def _instantiate_class(self) -> None:
        function, arguments = self._function_and_arguments()
        if function == _GETATTR:
            raise UnsafePickle(f"it instantiates {function}, which no weights need")
        self.append(Call(function, arguments))

    def _function_and_arguments(self) -> tuple[str, Any]:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name):
            raise UnsafePickle("it calls what is not a name")
        return function.text, arguments

    def _instantiate_with_keywords(self) -> None:
        del self.stack[-1]
        self._instantiate_class()

    def _set_state(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call):
            raise UnsafePickle("it gives a state to something that has none")
        self.stack[-1].state = state

    def _make_entries(self) -> None:
        self.append(Entries())

    def _make_dict(self) -> None:
        items = self.pop_mark()
        self.append(Entries(zip(items[::2], items[1::2], strict=True)))

    def _make_frozenset(self) -> None:
        self.append(Entries((item, None) for item in self.pop_mark()))


_CODES = {name: getattr(pickle, name)[0] for name in pickle.__all__ if name.isupper() and name not in ("DEFAULT")}
_METHODS = {}
