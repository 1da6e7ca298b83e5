"""Each operator of the table, written into a `.pdmodel` by the installed Paddle, against the same in dygraph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from paddleseg_ext.export.old_operators import OLD_OPERATORS, explain, old_operators
from paddleseg_ext.export.program import read_program
from paddleseg_ext.export.static_graph import trace
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.run_model import create_predictor


def of_x(*names: str, shift: float = 0.0) -> dict[str, Callable]:
    return {name: lambda x, y, name=name: getattr(paddle, name)(x + shift) for name in names}


def of_both(*names: str) -> dict[str, Callable]:
    return {name: lambda x, y, name=name: getattr(paddle, name)(x, y) for name in names}


# `x` and `y` are float32 [2, 3, 4, 4] in (0.1, 0.9).
CALLS: dict[str, Callable] = {
    **of_x("abs", "ceil", "floor", "round", "sign", shift=-0.5),
    **of_x("acos", "asin", "atanh", "cos", "cosh", "exp", "expm1", "log", "log1p", "log2", "log10"),
    **of_x("rsqrt", "sin", "sinh", "sqrt", "tanh"),
    **of_x("acosh", shift=1.0),
    "sigmoid": lambda x, y: F.sigmoid(x),
    "gelu": lambda x, y: F.gelu(x) + F.gelu(x, approximate=True),
    "softplus": lambda x, y: F.softplus(x, beta=2.0, threshold=3.0),
    "isfinite": lambda x, y: paddle.isfinite(paddle.log(x - 0.5)),
    "isinf": lambda x, y: paddle.isinf(1 / F.relu(x - 0.5)),
    "isnan": lambda x, y: paddle.isnan(paddle.log(x - 0.5)),
    "logical_not": lambda x, y: paddle.logical_not(x > y),
    "logical_and": lambda x, y: paddle.logical_and(x > 0.5, y > 0.5),
    "logical_or": lambda x, y: paddle.logical_or(x > 0.5, y > 0.5),
    "logical_xor": lambda x, y: paddle.logical_xor(x > 0.5, y > 0.5),
    **of_both("greater_than", "maximum", "minimum", "multiply"),
    "matmul": lambda x, y: paddle.matmul(x, y, transpose_x=True) + paddle.matmul(x, y, transpose_y=True),
    "bmm": lambda x, y: paddle.bmm(x[:, 0], y[:, 1]),
    "dot": lambda x, y: paddle.dot(x[0, 0], y[0, 0]),
    "sum": lambda x, y: paddle.sum(x, axis=[1, -1], keepdim=True) + paddle.sum(x > 0.5).astype("float32"),
    "all": lambda x, y: paddle.all(x > 0.2, axis=1, keepdim=True),
    "any": lambda x, y: paddle.any(x > 0.8, axis=1),
    "amax": lambda x, y: paddle.amax(x, axis=-1),
    "amin": lambda x, y: paddle.amin(x),
    "logsumexp": lambda x, y: paddle.logsumexp(x, axis=[1, 2], keepdim=True),
    "argmax": lambda x, y: paddle.argmax(x, axis=1, dtype="int32"),
    "argmin": lambda x, y: paddle.argmin(x, axis=1, keepdim=True),
    "diagonal": lambda x, y: paddle.diagonal(x, offset=1, axis1=2, axis2=3),
    "expand_as": lambda x, y: paddle.expand_as(x[:, :1], y),
    "grid_sample": lambda x, y: F.grid_sample(x, y[:, 0, :, :, None].tile([1, 1, 1, 2]), align_corners=False),
    "roll": lambda x, y: paddle.roll(x, shifts=[1, 2], axis=[2, 3]),
    "tril": lambda x, y: paddle.tril(x, 1),
    "triu": lambda x, y: paddle.triu(x),
}


class Calls(nn.Layer):
    """Every call of CALLS, on the first and the second half of the input's channels, as one list of float outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = self.create_parameter([1])  # Paddle Inference loads no program without a parameter
        self.zero.set_value(np.zeros(1, "float32"))

    def forward(self, both: paddle.Tensor) -> list[paddle.Tensor]:
        x, y = both[:, :3] + self.zero, both[:, 3:]
        return [call(x, y).astype("float32") for call in CALLS.values()]


def test_each_operator_computes_in_the_old_program_what_it_does_in_dygraph(tmp_path: Path) -> None:
    array = np.random.default_rng(0).uniform(0.1, 0.9, (2, 6, 4, 4)).astype("float32")
    expected = [output.numpy() for output in Calls()(paddle.to_tensor(array))]
    trace(Calls(), [2, 6, 4, 4], tmp_path)
    predictor = create_predictor(str(tmp_path / "model.pdmodel"), str(tmp_path / "model.pdiparams"), engine="native")
    actual = run(predictor, array)
    for name, one, other in zip(CALLS, expected, actual, strict=True):
        assert other.shape == one.shape, name
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6, err_msg=name)


def run(predictor: paddle.inference.Predictor, array: np.ndarray) -> list[np.ndarray]:
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(array)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def test_the_table_and_the_calls_name_the_same_operators() -> None:
    assert set(CALLS) == set(OLD_OPERATORS)


def test_everything_is_as_before_afterwards() -> None:
    before = paddle.matmul, paddle._C_ops.matmul, F.gelu
    with old_operators():
        assert paddle.matmul(paddle.ones([1, 2]), paddle.ones([2, 1])).item() == 2
    assert (paddle.matmul, paddle._C_ops.matmul, F.gelu) == before


class Put(nn.Layer):
    """An operator without an old form."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.index_put(x, (paddle.to_tensor([0]),), paddle.to_tensor([1.0]))


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2.6 writes every operator")
def test_an_operator_without_an_old_form_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"operator index_put into a .pdmodel.*old_operators.py"):
        trace(Put(), [2, 3], tmp_path)


class Setting(nn.Layer):
    """One call that no old operator can express."""

    def __init__(self, call: Callable) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.call(x)


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2.6 has none of these settings")
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: paddle.round(x, 2), "round to 2 decimals"),
        (lambda x: paddle.round(x, decimals=1), "round to 1 decimals"),
        (lambda x: paddle.multiply(x, x, out=x), "out"),
        (lambda x: paddle.multiply(x, x.astype("int32")), "needs equal types"),
        (lambda x: paddle.matmul(x, x.astype("float64").t()), "needs equal types"),
        (lambda x: paddle.roll(x, paddle.argmax(x)), "needs a number"),
    ],
)
def test_a_setting_that_the_old_operator_lacks_is_refused(tmp_path: Path, call: Callable, expected: str) -> None:
    with pytest.raises(ConversionError, match=expected):
        trace(Setting(call), [2, 3], tmp_path)


class Scaled(nn.Layer):
    """A product whose first factor is a tensor that is no parameter and no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = paddle.to_tensor([2.0])
        self.linear = nn.Linear(3, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.multiply(self.factor, self.linear(x))


def test_a_plain_tensor_as_first_argument_is_taken(tmp_path: Path) -> None:
    model, array = Scaled(), np.ones((2, 3), "float32")
    trace(model, [2, 3], tmp_path)
    predictor = create_predictor(str(tmp_path / "model.pdmodel"), str(tmp_path / "model.pdiparams"), engine="native")
    np.testing.assert_allclose(run(predictor, array)[0], model(paddle.to_tensor(array)).numpy(), rtol=1e-5)


def test_the_type_of_a_position_may_be_written_in_any_way(tmp_path: Path) -> None:
    for number, dtype in enumerate(["int32", np.int32, np.dtype("int32")]):
        trace(Setting(lambda x, dtype=dtype: paddle.argmax(x, axis=1, dtype=dtype)), [2, 3], tmp_path / str(number))


def test_only_an_operator_of_pir_is_explained() -> None:
    cause = "{}(): argument (position 1) must be Value, but got Variable"
    assert "no form of it" in explain(ValueError(cause.format("index_put")))
    assert "write paddle.matmul(...)" in explain(ValueError(cause.format("matmul")))
    assert explain(ValueError("the sizes do not fit")) is None


def test_a_written_program_reads_back(tmp_path: Path) -> None:
    trace(nn.Conv2D(3, 4, 3), [1, 3, 8, 8], tmp_path)
    program = read_program(tmp_path)
    assert program.operator_counts()["conv2d"] == 1
    assert sorted(value.shape for value in program.params.values()) == [(4,), (4, 3, 3, 3)]
