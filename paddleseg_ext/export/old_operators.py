"""Lets Paddle 3.2 and newer trace the old program, which `.pdmodel` holds and Paddle-Lite reads.

Since Paddle 3.2 some functions call an operator of `paddle._C_ops` directly, and this operator takes the values of PIR
alone: "matmul(): argument must be Value, but got Variable". `old_operators()` replaces them, in every module that holds
them, by functions that append the operator of Paddle 2.6 when they receive a Variable of the old program.

`OLD_OPERATORS` is the one table. It holds the 56 functions that Paddle 3.3.1 imports from `_C_ops`, except `index_put`,
`index_put_` and `isclose`. To add an operator, add a line; the slots and attributes of the old operator stand in
Paddle 2.6's Python function of the same name. A setting that the old operator lacks is refused by TypeError.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import paddle
from paddle import _C_ops
from paddle.base.framework import Variable, convert_np_dtype_to_dtype_
from paddle.base.layer_helper import LayerHelper

_PATCHED = ("paddle", "paddleseg", "paddleseg_ext")  # packages whose modules may hold an operator
_NOT_A_VALUE = re.compile(r"(\w+)\(\):? .*must be .*Value")


@contextmanager
def old_operators() -> Iterator[None]:
    """Inside the context, the operators of `OLD_OPERATORS` also take Variables of the old program.

    In a Paddle that has them in both programs, such as 2.6, the context changes nothing that can be seen.
    """
    names = {id(getattr(_C_ops, name)): name for name in OLD_OPERATORS if hasattr(_C_ops, name)}
    replaced = []
    for owner in [*_modules(), Variable]:
        for name, value in list(vars(owner).items()):
            if id(value) in names:
                replaced.append((owner, name, value))
                setattr(owner, name, _for_either(value, OLD_OPERATORS[names[id(value)]]))
    try:
        yield
    finally:
        for owner, name, value in replaced:
            setattr(owner, name, value)


def explain(error: Exception) -> str | None:
    """Why a trace failed with `error`, if an operator that takes only values of PIR was the cause; else None."""
    found = _NOT_A_VALUE.search(str(error))
    if not found:
        return None
    name = found.group(1)
    if name in OLD_OPERATORS:
        return (
            f"{name} was called in a way that Paddle {paddle.__version__} cannot write into a .pdmodel; write "
            f"paddle.{name}(...) where the network calls it, or export under Paddle 2.6.2"
        )
    return (
        f"Paddle {paddle.__version__} cannot write the operator {name} into a .pdmodel, and "
        "export/old_operators.py has no form of it; export under Paddle 2.6.2, or add its form there"
    )


def _modules() -> list[Any]:
    """The loaded Python modules of _PATCHED. `paddle._C_ops` is one of them: most functions look there per call."""
    return [
        module
        for name, module in list(sys.modules.items())
        if module is not None and name.partition(".")[0] in _PATCHED and ".libpaddle" not in name
    ]


def _for_either(modern: Callable, old: Callable) -> Callable:
    """Calls `old` while an old program is traced, else `modern`. Both take PyTorch's argument names too."""

    @paddle.jit.not_to_static
    def function(*args: Any, **kwargs: Any) -> Any:
        if paddle.in_dynamic_mode():
            return modern(*args, **kwargs)
        named = {_ALIASES.get(name, name): value for name, value in kwargs.items()}
        return old(*args, **named)

    return function


_ALIASES = {"input": "x", "other": "y", "dim": "axis", "dim1": "axis1", "dim2": "axis2"}


def _append(kind: str, inputs: dict[str, Any], dtype: Any, attrs: dict[str, Any], slot: str = "Out") -> Variable:
    helper = LayerHelper(kind)
    out = helper.create_variable_for_type_inference(dtype)
    helper.append_op(type=kind, inputs=inputs, outputs={slot: out}, attrs=attrs)
    return out


def _unary(x: Variable, name: Any = None, *, kind: str, dtype: str | None = None) -> Variable:
    return _append(kind, {"X": x}, dtype or x.dtype, {})


def _round(x: Variable, decimals: int = 0, name: Any = None) -> Variable:
    if decimals != 0:
        raise TypeError(f"round to {decimals} decimals: a .pdmodel only rounds to whole numbers")
    return _unary(x, kind="round")


def _binary(
    x: Variable, y: Variable, name: Any = None, *, kind: str, dtype: str | None = None, axis: int | None = None
) -> Variable:
    _refuse_unequal(kind, x, y)
    return _append(kind, {"X": x, "Y": y}, dtype or x.dtype, {} if axis is None else {"axis": axis})


def _refuse_unequal(kind: str, x: Variable, y: Variable) -> None:
    if x.dtype != y.dtype:
        raise TypeError(f"{kind} of {x.dtype} and {y.dtype}: a .pdmodel needs equal types; cast one of the two")


def _integers(value: int | Sequence[int] | None) -> list[int]:
    if isinstance(value, Variable):
        raise TypeError("an axis or shift that is computed by the network: a .pdmodel needs a number here")
    return [] if value is None else [value] if isinstance(value, int) else list(value)


def _axes(x: Variable, axis: int | Sequence[int] | None) -> list[int]:
    """The numbers of the axes, all by default: Paddle 3 takes `dim` [0] for one axis even if `reduce_all` is true."""
    return _integers(axis) or list(range(len(x.shape)))


def _reduce(x: Variable, axis: Any = None, keepdim: bool = False, name: Any = None, *, kind: str) -> Variable:
    axes = _axes(x, axis)
    attrs = {"dim": axes, "keep_dim": keepdim, "reduce_all": len(axes) == len(x.shape)}
    return _append(kind, {"X": x}, x.dtype, attrs)


def _sum(x: Variable, axis: Any = None, dtype: Any = None, keepdim: bool = False, name: Any = None) -> Variable:
    if isinstance(dtype, bool):  # PyTorch's order: the sizes kept, then the type
        dtype, keepdim = keepdim or None, dtype
    if dtype is None and x.dtype in (convert_np_dtype_to_dtype_("bool"), convert_np_dtype_to_dtype_("int32")):
        dtype = "int64"
    return _reduce(x if dtype is None else paddle.cast(x, dtype), axis, keepdim, kind="reduce_sum")


def _logsumexp(x: Variable, axis: Any = None, keepdim: bool = False, name: Any = None) -> Variable:
    axes = _axes(x, axis)
    attrs = {"axis": axes, "keepdim": keepdim, "reduce_all": len(axes) == len(x.shape)}
    return _append("logsumexp", {"X": x}, x.dtype, attrs)


def _position(
    x: Variable, axis: int | None = None, keepdim: bool = False, dtype: Any = "int64", name: Any = None, *, kind: str
) -> Variable:
    dtype = convert_np_dtype_to_dtype_(dtype)
    attrs = {"axis": 0 if axis is None else axis, "keepdims": keepdim, "flatten": axis is None, "dtype": dtype}
    return _append(kind, {"X": x}, dtype, attrs)


def _matmul(
    x: Variable, y: Variable, transpose_x: bool = False, transpose_y: bool = False, name: Any = None
) -> Variable:
    _refuse_unequal("matmul", x, y)
    return _append("matmul_v2", {"X": x, "Y": y}, x.dtype, {"trans_x": transpose_x, "trans_y": transpose_y})


def _expand_as(x: Variable, y: Variable, name: Any = None) -> Variable:
    return _append("expand_as_v2", {"X": x, "Y": y}, x.dtype, {"target_shape": list(y.shape)})


def _gelu(x: Variable, approximate: bool | str = False, name: Any = None) -> Variable:
    return _append("gelu", {"X": x}, x.dtype, {"approximate": approximate in (True, "tanh")})


def _softplus(x: Variable, beta: float = 1.0, threshold: float = 20.0, name: Any = None) -> Variable:
    return _append("softplus", {"X": x}, x.dtype, {"beta": float(beta), "threshold": float(threshold)})


def _triangle(x: Variable, diagonal: int = 0, name: Any = None, *, lower: bool) -> Variable:
    return _append("tril_triu", {"X": x}, x.dtype, {"diagonal": diagonal, "lower": lower})


def _diagonal(x: Variable, offset: int = 0, axis1: int = 0, axis2: int = 1, name: Any = None) -> Variable:
    return _append("diagonal", {"Input": x}, x.dtype, {"offset": offset, "axis1": axis1, "axis2": axis2})


def _roll(x: Variable, shifts: Any, axis: Any = None, name: Any = None) -> Variable:
    return _append("roll", {"X": x}, x.dtype, {"shifts": _integers(shifts), "axis": _integers(axis)})


def _grid_sample(
    x: Variable,
    grid: Variable,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = True,
    name: Any = None,
) -> Variable:
    attrs = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    return _append("grid_sampler", {"X": x, "Grid": grid}, x.dtype, attrs, slot="Output")


_SAME_NAME = (
    "abs", "acos", "acosh", "asin", "atanh", "ceil", "cos", "cosh", "exp", "expm1", "floor", "log", "log1p", "log2",
    "log10", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tanh",
)  # fmt: skip

OLD_OPERATORS: dict[str, Callable[..., Variable]] = {
    **{name: partial(_unary, kind=name) for name in _SAME_NAME},
    **{name: partial(_unary, kind=f"{name}_v2", dtype="bool") for name in ("isfinite", "isinf", "isnan")},
    "logical_not": partial(_unary, kind="logical_not", dtype="bool"),
    **{name: partial(_binary, kind=name, dtype="bool") for name in ("logical_and", "logical_or", "logical_xor")},
    "greater_than": partial(_binary, kind="greater_than", dtype="bool"),
    "maximum": partial(_binary, kind="elementwise_max", axis=-1),
    "minimum": partial(_binary, kind="elementwise_min", axis=-1),
    "multiply": partial(_binary, kind="elementwise_mul", axis=-1),
    "bmm": partial(_binary, kind="bmm"),
    "dot": partial(_binary, kind="dot"),
    "matmul": _matmul,
    "sum": _sum,
    **{name: partial(_reduce, kind=f"reduce_{name}") for name in ("all", "any", "amax", "amin")},
    "logsumexp": _logsumexp,
    "argmax": partial(_position, kind="arg_max"),
    "argmin": partial(_position, kind="arg_min"),
    "diagonal": _diagonal,
    "expand_as": _expand_as,
    "gelu": _gelu,
    "grid_sample": _grid_sample,
    "roll": _roll,
    "round": _round,
    "softplus": _softplus,
    "tril": partial(_triangle, lower=True),
    "triu": partial(_triangle, lower=False),
}
