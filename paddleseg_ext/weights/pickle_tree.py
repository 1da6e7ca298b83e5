"""A pickle read as data: its instructions build a tree of nodes, and nothing in it is imported, made or called.

`pickle` calls whatever a file names. Here a name becomes a `Name`, a call becomes a `Call` that nobody makes, and
the reader of the tree decides which of them it understands.
"""

import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_INSTRUCTIONS = 5_000_000  # a training checkpoint of the largest network here has some 200,000
_MARK = object()
_CONSTANTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocols below 3 use its names


class UnsafePickle(Exception):
    """The pickle asks for something that data never needs."""


class Name:
    """What a pickle would import."""

    __slots__ = ("text",)

    def __init__(self, module: str, name: str):
        self.text = f"{_PYTHON_2.get(module, module)}.{name}"


class Persistent:
    """A reference to something beside the pickle, such as the storage of a tensor."""

    __slots__ = ("key",)

    def __init__(self, key: Any):
        self.key = key


class Entries:
    """A dictionary or set as it was written: pairs, not hashed."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]):
        self.pairs = pairs


class Call(Entries):
    """What a pickle would call, or instantiate (`is_class`), with what; `pairs` are put into the result."""

    __slots__ = ("arguments", "function", "is_class")

    def __init__(self, function: Any, arguments: Any, is_class: bool = False):
        super().__init__([])
        self.function, self.arguments, self.is_class = function, arguments, is_class


class Tree:
    """The root of a pickle, and every node of these kinds in it, whether the root still refers to it or not."""

    def __init__(self, file: BinaryIO):
        self.names: list[Name] = []
        self.calls: list[Call] = []
        self.persistent: list[Persistent] = []
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.root = self._run(file)

    def _run(self, file: BinaryIO) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise UnsafePickle(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
            if opcode.name in _CONSTANTS:
                self._stack.append(argument)
            elif opcode.name in _LITERALS:
                self._stack.append(_LITERALS[opcode.name])
            elif opcode.name in _TUPLES:
                self._stack.append(tuple(self._pop(_TUPLES[opcode.name])))
            else:
                method = getattr(self, f"_do_{opcode.name.lower()}", None)
                if method is None:
                    raise UnsafePickle(f"it has the instruction {opcode.name}, which data never needs")
                method(argument)
        return self._stack.pop()

    def _pop(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise ValueError("an instruction finds too little on the stack")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                taken = self._stack[index + 1 :]
                del self._stack[index:]
                return taken
        raise ValueError("an instruction finds no mark on the stack")

    def _push_name(self, module: Any, name: Any) -> Name:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnsafePickle("it computes the name of what it imports")
        self.names.append(Name(module, name))
        self._stack.append(self.names[-1])
        return self.names[-1]

    def _push_call(self, function: Any, arguments: Any, is_class: bool = False) -> None:
        self.calls.append(Call(function, arguments, is_class))
        self._stack.append(self.calls[-1])

    def _do_proto(self, _: int) -> None:
        """The protocol's number: the instructions say for themselves what they are."""

    _do_frame = _do_stop = _do_proto

    def _do_mark(self, _: None) -> None:
        self._stack.append(_MARK)

    def _do_pop(self, _: None) -> None:
        self._pop(1)

    def _do_pop_mark(self, _: None) -> None:
        self._pop_to_mark()

    def _do_dup(self, _: None) -> None:
        self._stack.append(self._stack[-1])

    def _do_put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _do_binput = _do_long_binput = _do_put

    def _do_memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _do_binget = _do_long_binget = _do_get

    def _do_empty_list(self, _: None) -> None:
        self._stack.append([])

    def _do_list(self, _: None) -> None:
        self._stack.append(self._pop_to_mark())

    def _do_tuple(self, _: None) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _do_empty_dict(self, _: None) -> None:
        self._stack.append(Entries([]))

    _do_empty_set = _do_empty_dict

    def _do_dict(self, _: None) -> None:
        self._stack.append(Entries(_pairs(self._pop_to_mark())))

    def _do_frozenset(self, _: None) -> None:
        self._stack.append(Entries([(item, None) for item in self._pop_to_mark()]))

    def _do_append(self, _: None) -> None:
        self._extend(self._pop(1))

    def _do_appends(self, _: None) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Entries):
            target.pairs.extend((item, None) for item in items)
        else:
            target.extend(items)

    _do_additems = _do_appends

    def _do_setitem(self, _: None) -> None:
        pairs = _pairs(self._pop(2))
        self._stack[-1].pairs.extend(pairs)

    def _do_setitems(self, _: None) -> None:
        pairs = _pairs(self._pop_to_mark())
        self._stack[-1].pairs.extend(pairs)

    def _do_global(self, names: str) -> None:
        self._push_name(*names.split(" ", 1))

    def _do_stack_global(self, _: None) -> None:
        self._push_name(*self._pop(2))

    def _do_reduce(self, _: None) -> None:
        self._push_call(*self._pop(2))

    def _do_newobj(self, _: None) -> None:
        self._push_call(*self._pop(2), is_class=True)

    def _do_newobj_ex(self, _: None) -> None:
        function, arguments, _keywords = self._pop(3)
        self._push_call(function, arguments, is_class=True)

    def _do_inst(self, names: str) -> None:
        arguments = tuple(self._pop_to_mark())
        self._push_name(*names.split(" ", 1))
        self._push_call(self._stack.pop(), arguments)

    def _do_obj(self, _: None) -> None:
        function, *arguments = self._pop_to_mark()
        self._push_call(function, tuple(arguments))

    def _do_build(self, _: None) -> None:
        self._pop(1)  # the state of an object nobody makes
        if not isinstance(self._stack[-1], Entries):
            raise UnsafePickle("it gives a state to something that has none")

    def _do_persid(self, key: Any) -> None:
        self.persistent.append(Persistent(key))
        self._stack.append(self.persistent[-1])

    def _do_binpersid(self, _: None) -> None:
        self._do_persid(self._stack.pop())


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """The pairs of a dictionary or of a call of OrderedDict, nothing for any other node."""
    if isinstance(node, Call):
        if not (isinstance(node.function, Name) and node.function.text == "collections.OrderedDict"):
            return
        if node.arguments:
            yield from (tuple(pair) for pair in node.arguments[0])
    if isinstance(node, Entries):
        yield from node.pairs
