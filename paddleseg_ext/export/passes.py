"""Passes over an exported program, so that Paddle-Lite's released `opt` accepts it and fuses its operators.

They work on the graph of any model, also of PaddleSeg's own. None changes the results;
`paddleseg_ext.export.static_graph` checks this after every export.
"""

from collections.abc import Callable
from typing import Any

import paddle
from paddle.base.proto import framework_pb2
from paddle.nn import functional as F

from paddleseg_ext.compat import tensor_desc
from paddleseg_ext.export.program import StaticProgram, argument, attribute
from paddleseg_ext.export.size_folding import fold_sizes

_ATTR = framework_pb2.AttrType
# Callstacks hold absolute paths of the exporting machine; the other attributes matter only in training.
_DEBUG_ATTRIBUTES = {"op_callstack", "op_namescope", "op_role", "op_role_var", "op_device", "with_quant_attr"}


def optimise(program: StaticProgram) -> dict[str, int]:
    """Applies every pass in place; returns the number of changed operators by the name of the pass."""
    changed = {
        "sizes fixed": fold_sizes(program),
        "position embeddings folded": fold_constant_interpolation(program),
        "convolution biases made fusible": fuse_conv_bias(program),
        "relu6 thresholds restored": restore_relu6_threshold(program),
        "batched products renamed": rename_batched_products(program),
    }
    strip_debug_attributes(program)
    remove_unused(program)
    return changed


def fold_constant_interpolation(program: StaticProgram) -> int:
    """Replaces `linear_interp_v2` of a parameter to a fixed length by a parameter of that length.

    Paddle-Lite has no x86 kernel for it, and a phone would compute the same values at every run.
    """
    block = program.desc.blocks[0]
    folded = set()
    for op in block.ops:
        source, name = argument(op, "X"), argument(op, "Out")
        if op.type != "linear_interp_v2" or source not in program.params or not _has_fixed_length(op):
            continue
        program.params[name] = _stretch(program.params[source], op)
        program.info[name] = {"structured_name": name, "stop_gradient": True}
        var = next(var for var in block.vars if var.name == name)
        var.persistable = True
        tensor_desc(var).dims[:] = program.params[name].shape
        folded.add(name)
    _keep(block.ops, lambda op: op.type != "linear_interp_v2" or argument(op, "Out") not in folded)
    return len(folded)


def fuse_conv_bias(program: StaticProgram) -> int:
    """Adds convolution biases as 1-D parameters on axis 1 instead of reshaped to [1, C, 1, 1].

    Paddle from 2.5 on writes `elementwise_add(x, reshape2(bias))`, which Paddle-Lite cannot fuse into the
    convolution; the batch norm and the activation behind it stay unfused too.
    """
    block = program.desc.blocks[0]
    uses = program.uses()
    reshapes = {argument(op, "Out"): op for op in block.ops if _is_bias_reshape(op, program)}
    replaced = set()
    for op in block.ops:
        name = argument(op, "Y")
        if op.type != "elementwise_add" or name not in reshapes or uses[name] != 1:
            continue
        slot = next(slot for slot in op.inputs if slot.parameter == "Y")
        slot.arguments[:] = [argument(reshapes[name], "X")]
        attribute(op, "axis").i = 1
        replaced.add(name)
    _keep(block.ops, lambda op: op.type != "reshape2" or argument(op, "Out") not in replaced)
    return len(replaced)


def restore_relu6_threshold(program: StaticProgram) -> int:
    """Gives every relu6 the `threshold` that `opt` requires and that `jit.save` drops by default."""
    restored = 0
    for op in program.operators():
        if op.type == "relu6" and attribute(op, "threshold") is None:
            op.attrs.add(name="threshold", type=_ATTR.FLOAT, f=6.0)
            restored += 1
    return restored


def rename_batched_products(program: StaticProgram) -> int:
    """Replaces bmm by matmul_v2, which includes it: Paddle-Lite has only matmul_v2."""
    renamed = 0
    for op in program.operators():
        if op.type == "bmm":
            op.type = "matmul_v2"
            for name in ("trans_x", "trans_y"):
                op.attrs.add(name=name, type=_ATTR.BOOLEAN, b=False)
            renamed += 1
    return renamed


def strip_debug_attributes(program: StaticProgram) -> None:
    """Removes attributes that only debuggers and training read; some contain paths of this machine."""
    for op in program.operators():
        _keep(op.attrs, lambda attr: attr.name not in _DEBUG_ATTRIBUTES)


def remove_unused(program: StaticProgram) -> None:
    """Removes variables and parameters that no operator uses any more."""
    used = {name for op in program.operators() for slot in [*op.inputs, *op.outputs] for name in slot.arguments}
    _keep(program.desc.blocks[0].vars, lambda var: var.name in used)
    program.params = {name: value for name, value in program.params.items() if name in used}
    program.info = {name: value for name, value in program.info.items() if name in used}


def _keep(items: Any, is_kept: Callable[[Any], bool]) -> None:
    """Deletes the other items of a protobuf list in place."""
    for index in reversed(range(len(items))):
        if not is_kept(items[index]):
            del items[index]


def _has_fixed_length(op: Any) -> bool:
    is_dynamic = any(argument(op, slot) for slot in ("OutSize", "SizeTensor", "Scale"))
    length = attribute(op, "out_w")
    return not is_dynamic and length is not None and length.i > 0


def _stretch(value: Any, op: Any) -> Any:
    stretched = F.interpolate(
        paddle.to_tensor(value),
        size=[attribute(op, "out_w").i],
        mode="linear",
        align_corners=attribute(op, "align_corners").b,
        align_mode=attribute(op, "align_mode").i,
        data_format="NCW",
    )
    return stretched.numpy()


def _is_bias_reshape(op: Any, program: StaticProgram) -> bool:
    if op.type != "reshape2" or argument(op, "X") not in program.params:
        return False
    shape = list(attribute(op, "shape").ints)
    value = program.params[argument(op, "X")]
    return value.ndim == 1 and len(shape) == 4 and [shape[0], *shape[2:]] == [1, 1, 1]
