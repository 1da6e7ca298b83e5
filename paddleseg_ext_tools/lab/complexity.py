"""Counts a model's parameters under every counting rule in use, and its multiply-adds.

Papers and model zoos print "params (M)" and "FLOPs (G)" without their rule of counting. Everything here is counted,
not estimated: parameters over the network and over the graph that is exported from it, multiply-adds over that graph.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from paddleseg_ext.compat import tensor_desc
from paddleseg_ext.export import passes
from paddleseg_ext.export.decoder_logits import with_logits
from paddleseg_ext.export.program import StaticProgram, argument, attribute, read_program
from paddleseg_ext.export.static_graph import trace
from paddleseg_ext.models.output_ops import Decoder, ExportModel
from paddleseg_ext_runtime.errors import ConversionError

# A convolution's filter is applied once for each number of this argument.
_CONVOLUTIONS = {
    "conv2d": "Output",
    "depthwise_conv2d": "Output",
    "deformable_conv": "Output",
    "conv2d_transpose": "Input",
    "depthwise_conv2d_transpose": "Input",
}
_PRODUCTS = ("matmul_v2", "bmm")
_NORM_PARAMETERS = ("Scale", "Bias", "Mean", "Variance")


@dataclass(frozen=True)
class Complexity:
    """Counts of one model at one input size.

    Attributes:
        trainable: parameters with a gradient, those of auxiliary heads included.
        statistics: running means and variances of batch norms, which Paddle stores as parameters too.
        folded: what inference needs: no auxiliary heads, batch norms folded into the convolutions before them.
        deployed: the same in the graph that is exported at this size, with position embeddings stretched to it.
        conv_macs: multiply-adds of convolutions for one image; biases, batch norms and pooling are not counted.
        matmul_macs: multiply-adds of matrix products, those of attention.
        size: (height, width) of the image.
    """

    trainable: int
    statistics: int
    folded: int
    deployed: int
    conv_macs: int
    matmul_macs: int
    size: tuple[int, int]

    @property
    def gflops(self) -> float:
        """10^9 multiply-adds of convolutions and matrix products: "FLOPs" as papers on mobile models use the word."""
        return (self.conv_macs + self.matmul_macs) / 1e9


# What may be counted for a printed "params (M)".
_COUNTS: tuple[tuple[str, Callable[[Complexity], int]], ...] = (
    ("trainable", lambda c: c.trainable),
    ("trainable and running means", lambda c: c.trainable + c.statistics // 2),
    ("trainable and batch norm statistics", lambda c: c.trainable + c.statistics),
    ("batch norms folded", lambda c: c.folded),
    ("batch norms folded, position embeddings stretched", lambda c: c.deployed),
)


def explain(printed: str, complexity: Complexity) -> str | None:
    """The first counting rule that gives a published number such as "5.62", rounded or else cut off, or None.

    A rule is one of the counts in units of 10^6 or 2^20. With so many rules one may fit by chance.
    """
    decimals = len(printed.partition(".")[2])
    for is_cut_off in (False, True):
        for unit, million in ((10**6, "10^6"), (2**20, "2^20")):
            for counted, count in _COUNTS:
                value = count(complexity) / unit
                if is_cut_off:
                    value = math.floor(value * 10**decimals) / 10**decimals
                if f"{value:.{decimals}f}" == printed:
                    return f"{counted}, in units of {million}{', cut off' if is_cut_off else ''}"
    return None


def measure_complexity(model: nn.Layer, size: Sequence[int] = (512, 512), in_channels: int = 3) -> Complexity:
    """Counts for one image of `size` (height, width). Traces the model, which takes seconds.

    Raises ConversionError when it cannot be traced.
    """
    shape = [1, in_channels, *size]
    wrapped = ExportModel(with_logits(model, np.zeros(shape, "float32")), Decoder())
    wrapped.eval()
    with tempfile.TemporaryDirectory(prefix="complexity-") as folder:
        trace(wrapped, shape, Path(folder))
        program = read_program(folder)
    passes.fuse_conv_bias(program)
    folded = folded_parameters(program)
    passes.optimise(program)
    conv, matmul = multiply_adds(program)
    statistics = [p for name, p in model.named_parameters() if name.endswith(("._mean", "._variance"))]
    return Complexity(
        trainable=sum(int(p.size) for p in model.parameters() if not p.stop_gradient),
        statistics=sum(int(p.size) for p in statistics),
        folded=folded,
        deployed=folded_parameters(program),
        conv_macs=conv,
        matmul_macs=matmul,
        size=tuple(size),
    )


def multiply_adds(program: StaticProgram) -> tuple[int, int]:
    """Multiply-adds of the convolutions and of the matrix products in `program`, from the shapes it declares.

    Raises ConversionError for a program of open size, where they have no number, and for an operator with a filter that
    this does not know.
    """
    shapes = {var.name: tensor_desc(var).dims for block in program.desc.blocks for var in block.vars}
    conv = matmul = 0
    for op in program.operators():
        if op.type in _CONVOLUTIONS:
            filter_shape = shapes[argument(op, "Filter")]
            conv += _volume(shapes[argument(op, _CONVOLUTIONS[op.type])], op) * math.prod(filter_shape[1:])
        elif op.type in _PRODUCTS:
            transposed = attribute(op, "trans_x")
            inner = shapes[argument(op, "X")][-2 if transposed is not None and transposed.b else -1]
            matmul += _volume([*shapes[argument(op, "Out")], inner], op)
        elif any(slot.parameter == "Filter" for slot in op.inputs) or op.type in ("mul", "matmul"):
            raise ConversionError(f"the multiply-adds of a {op.type} are not known here")
    return conv, matmul


def _volume(shape: Sequence[int], op: Any) -> int:
    if any(length < 0 for length in shape):
        raise ConversionError(f"a {op.type} of open size {list(shape)}: count a graph exported with --input_shape")
    return math.prod(shape)


def folded_parameters(program: StaticProgram) -> int:
    """Numbers in the parameters of a program once each batch norm is folded: into a bias of the convolution before it
    or, where there is none, into a scale and a shift. `passes.fuse_conv_bias` must have seen the program.
    """
    total = sum(int(value.size) for value in program.params.values() if np.issubdtype(value.dtype, np.floating))
    made_by = {name: op for op in program.operators() for slot in op.outputs for name in slot.arguments}
    for op in program.operators():
        if op.type != "batch_norm":
            continue
        channels = program.params[argument(op, "Scale")].size
        total -= len(_NORM_PARAMETERS) * channels
        source = made_by.get(argument(op, "X"))
        if source is not None and source.type in _CONVOLUTIONS:
            total += channels
        elif source is None or not _adds_conv_bias(source, made_by, program):
            total += 2 * channels
    return total


def _adds_conv_bias(op: Any, made_by: dict[str, Any], program: StaticProgram) -> bool:
    source = made_by.get(argument(op, "X"))
    is_conv = source is not None and source.type in _CONVOLUTIONS
    return op.type == "elementwise_add" and is_conv and argument(op, "Y") in program.params
