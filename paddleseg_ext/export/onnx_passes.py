"""Corrects errors in the output of paddle2onnx 1.3.1; the original Paddle program tells what is right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from paddleseg_ext.compat import tensor_desc
from paddleseg_ext.export.program import StaticProgram, argument, attribute

# paddle 2.6 exports F.adaptive_avg_pool2d and F.adaptive_max_pool2d as these operators.
_REDUCE = {"pool2d": "ReduceMean", "max_pool2d_with_index": "ReduceMax"}


def correct(model: onnx.ModelProto, program: StaticProgram, output_name: str) -> dict[str, int]:
    """Applies every correction in place; returns the number of changed nodes by the name of the correction."""
    changed = {"adaptive poolings made exact": exact_adaptive_pooling(model, program)}
    rename_output(model, output_name)
    return changed


def rename_output(model: onnx.ModelProto, name: str) -> None:
    """Renames the only output to `name`; Paddle's `save_infer_model/scale_0.tmp_N` differs in every export."""
    (output,) = model.graph.output
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if old == output.name else old for old in names]
    output.name = name


def exact_adaptive_pooling(model: onnx.ModelProto, program: StaticProgram) -> int:
    """Replaces adaptive poolings whose windows differ in size or whose input has an open size.

    ONNX has no such operator. paddle2onnx writes a pooling with equal windows, which is another function unless the
    output size divides the input size; for an open size it writes -1. Instead, every output row and column reduces
    the slice that Paddle uses: [i * L // n, ceil((i + 1) * L / n)).
    """
    poolings = {argument(op, "Out"): op for op in program.operators() if _is_adaptive(op)}
    shapes = {var.name: list(tensor_desc(var).dims) for var in program.desc.blocks[0].vars}
    nodes, replaced = [], 0
    for node in model.graph.node:
        op = poolings.get(node.output[0]) if node.op_type.endswith("Pool") else None
        if op is None:
            nodes.append(node)
            continue
        counts, lengths = list(attribute(op, "ksize").ints), shapes[argument(op, "X")][2:]
        if counts == [1, 1] or all(size > 0 and size % n == 0 for size, n in zip(lengths, counts, strict=True)):
            nodes.append(node)
            continue
        nodes += _SlicedPooling(node, _REDUCE[op.type]).build(lengths, counts)
        replaced += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return replaced


def _is_adaptive(op: Any) -> bool:
    return op.type in _REDUCE and attribute(op, "adaptive").b


class _SlicedPooling:
    """The nodes that replace one pooling node: they pool one axis after the other."""

    def __init__(self, node: onnx.NodeProto, reduce: str):
        self._source, self._target = node.input[0], node.output[0]
        self._reduce = reduce
        self._nodes: list[onnx.NodeProto] = []

    def build(self, lengths: Sequence[int], counts: Sequence[int]) -> list[onnx.NodeProto]:
        """lengths: height and width of the input, -1 if open; counts: height and width of the output."""
        rows = self._pool(self._source, 2, lengths[0], counts[0])
        self._pool(rows, 3, lengths[1], counts[1])
        self._nodes[-1].output[0] = self._target
        return self._nodes

    def _pool(self, source: str, axis: int, length: int, count: int) -> str:
        size = self._constant([length]) if length > 0 else self._size(source, axis)
        parts = []
        for i in range(count):
            start = self._add("Div", [self._add("Mul", [size, self._constant([i])]), self._constant([count])])
            stop = self._add("Mul", [size, self._constant([i + 1])])
            stop = self._add("Div", [self._add("Add", [stop, self._constant([count - 1])]), self._constant([count])])
            part = self._add("Slice", [source, start, stop, self._constant([axis])])
            parts.append(self._add(self._reduce, [part], axes=[axis], keepdims=1))
        return self._add("Concat", parts, axis=axis)

    def _size(self, source: str, axis: int) -> str:
        shape = self._add("Shape", [source])
        return self._add("Gather", [shape, self._constant([axis])], axis=0)

    def _constant(self, values: Sequence[int]) -> str:
        return self._add("Constant", [], value=numpy_helper.from_array(np.array(values, "int64")))

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{self._target}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name
