"""A pass that computes, at export, the sizes that PaddleSeg's models compute from `paddle.shape(x)`.

`F.interpolate(y, paddle.shape(x)[2:])` is a chain of shape, slice and cast. If the export fixes the size of the
image, its result is known. Paddle-Lite would run the chain on the host at every inference, and it refuses some
chains: in `paddle.shape(x)[2] // 8` the number 8 is a constant without a shape.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from paddle.base.proto import framework_pb2

from paddleseg_ext.compat import tensor_desc
from paddleseg_ext.export.program import StaticProgram, argument, attribute

_INTEGERS = {framework_pb2.VarType.INT32, framework_pb2.VarType.INT64}
_ARITHMETIC: dict[str, Callable] = {
    "elementwise_add": np.add,
    "elementwise_sub": np.subtract,
    "elementwise_mul": np.multiply,
    "elementwise_floordiv": np.floor_divide,
}
_TENSOR_SLOTS = ("SizeTensor", "OutSize")


def fold_sizes(program: StaticProgram) -> int:
    """Writes known sizes of interpolations as attributes; returns their number. Open sizes are still computed."""
    block = program.desc.blocks[0]
    shapes = {var.name: list(tensor_desc(var).dims) for var in block.vars}
    writers = Counter(name for op in program.operators() for slot in op.outputs for name in slot.arguments)
    known: dict[str, np.ndarray] = {}
    folded = 0
    for op in block.ops:
        value = _value(op, known, shapes)
        if value is not None and writers[argument(op, "Out")] == 1:  # in a loop a variable has two writers
            known[argument(op, "Out")] = value
        elif op.type.endswith("_interp_v2") and (size := _size(op, known)):
            attribute(op, "out_h").i, attribute(op, "out_w").i = size
            for slot in op.inputs:
                if slot.parameter in _TENSOR_SLOTS:
                    del slot.arguments[:]
            folded += 1
    _remove_unread(program, known)
    return folded


def _value(op: Any, known: dict[str, np.ndarray], shapes: dict[str, list[int]]) -> np.ndarray | None:
    """The result of an operator on lengths, where -1 is an open length; None when it is not known."""
    if op.type == "shape":
        return np.array(shapes[argument(op, "Input")], "int64")
    names = [name for slot in op.inputs for name in slot.arguments]
    if any(name not in known for name in names):
        return None
    if op.type == "fill_constant" and not names and attribute(op, "dtype").i in _INTEGERS:
        return np.full(
            [*attribute(op, "shape").longs, *attribute(op, "shape").ints], int(attribute(op, "value").f), "int64"
        )
    if op.type == "slice" and len(names) == 1:
        return _slice(known[names[0]], op)
    if op.type == "cast" and attribute(op, "out_dtype").i in _INTEGERS:
        return known[names[0]]
    if any((known[name] < 0).any() for name in names):
        return None
    if op.type in _ARITHMETIC:
        return np.asarray(_ARITHMETIC[op.type](known[argument(op, "X")], known[argument(op, "Y")]))
    return _scale(known[names[0]], op) if op.type == "scale" and len(names) == 1 else None


def _scale(value: np.ndarray, op: Any) -> np.ndarray | None:
    scale, bias = attribute(op, "scale").f, attribute(op, "bias").f
    if scale != int(scale) or bias != int(bias):
        return None
    value = value * int(scale)
    return value + int(bias) * (1 if attribute(op, "bias_after_scale").b else int(scale))


def _slice(value: np.ndarray, op: Any) -> np.ndarray | None:
    starts, ends, axes = (list(attribute(op, name).ints) for name in ("starts", "ends", "axes"))
    if value.ndim != 1 or axes != [0]:
        return None
    part = value[starts[0] : ends[0]]
    return part.reshape([]) if list(attribute(op, "decrease_axis").ints) else part


def _size(op: Any, known: dict[str, np.ndarray]) -> list[int] | None:
    """The (height, width) that an interpolation gets from tensors; None when it is not known."""
    names = [name for slot in op.inputs if slot.parameter in _TENSOR_SLOTS for name in slot.arguments]
    if not names or any(name not in known for name in names):
        return None
    size = np.concatenate([known[name].reshape([-1]) for name in names])
    return [int(length) for length in size] if size.size == 2 and (size > 0).all() else None


def _remove_unread(program: StaticProgram, known: dict[str, np.ndarray]) -> None:
    """Removes operators whose known result is not read any more, from the end of each chain to its start."""
    block = program.desc.blocks[0]
    uses = program.uses()
    for index in reversed(range(len(block.ops))):
        op = block.ops[index]
        name = argument(op, "Out")
        if name in known and uses[name] == 0:
            uses.subtract(name for slot in op.inputs for name in slot.arguments)
            del block.ops[index]
