"""The Open Inference Protocol (KServe v2): turns requests into arrays and arrays into replies, JSON and binary.

https://github.com/kserve/open-inference-protocol; the binary extension is Triton's `binary_tensor_data`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from limits import Limits, Refusal
from strict_json import loads

HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data"]
VERSION = "1"
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_INPUT_TYPE = "FP32"
_MAX_ID = 256
MOST_DIGITS = 20  # of a header that is a number


@dataclass(frozen=True)
class ModelInfo:
    """The model as clients see it; None is an open length. The output's sides are `reduction` times shorter."""

    name: str
    platform: str
    input_name: str
    input_shape: Sequence[int | None]
    output_name: str
    output_dtype: str
    output_shape: Sequence[int | None]
    reduction: int = 1

    def answer_bytes(self, input_shape: Sequence[int]) -> int:
        """The largest answer for an input [N, C, H, W]; open lengths are the input's."""
        sides = (math.ceil(side / self.reduction) for side in input_shape[2:])
        ends = (input_shape[0], *(len(self.output_shape) - 3) * (1,), *sides)
        lengths = [end if length is None else length for length, end in zip(self.output_shape, ends, strict=True)]
        return math.prod(lengths) * np.dtype(self.output_dtype).itemsize

    def metadata(self) -> dict[str, Any]:
        """The answer to `GET /v2/models/NAME`."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": self.platform,
            "inputs": [_tensor(self.input_name, _INPUT_TYPE, self.input_shape)],
            "outputs": [_tensor(self.output_name, _DATATYPES[self.output_dtype], self.output_shape)],
        }


def _tensor(name: str, datatype: str, shape: Sequence[int | None]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1 if length is None else length for length in shape]}


@dataclass(frozen=True)
class InferRequest:
    """A valid request: the tensor, and the format of the answer."""

    array: np.ndarray
    id: str | None
    wants_binary: bool


def parse(body: bytearray, header_length: str | None, model: ModelInfo, limits: Limits) -> InferRequest:
    """Reads the body of an infer request. Raises Refusal (400 or 413) if it is not valid."""
    length = len(body) if header_length is None else _header_length(header_length, len(body))
    message = _an_object(loads(body[:length], limits), "the request")
    identifier = message.get("id")
    if identifier is not None and not (isinstance(identifier, str) and len(identifier) <= _MAX_ID):
        raise Refusal(400, f"id must be a string of at most {_MAX_ID} characters")
    inputs = message.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise Refusal(400, f"inputs must be a list of one tensor, {model.input_name!r}")
    array = _input(_an_object(inputs[0], "the input"), memoryview(body)[length:], model, limits)
    return InferRequest(array, identifier, _wants_binary(message, model))


def _header_length(text: str, total: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS and 0 < int(text) <= total):
        raise Refusal(400, f"{HEADER_LENGTH} must be a number from 1 to the length of the body, {total}")
    return int(text)


def _an_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} must be a JSON object")
    return value


def _parameters(tensor: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = _an_object(tensor.get("parameters", {}), f"the parameters of {what}")
    for name in parameters:
        if name.startswith("shared_memory") or name == "classification":
            raise Refusal(400, "shared memory and classification are not supported")
    return parameters


def _input(tensor: dict[str, Any], rest: memoryview, model: ModelInfo, limits: Limits) -> np.ndarray:
    if tensor.get("name") != model.input_name:
        raise Refusal(400, f"the input's name must be {model.input_name!r}")
    if tensor.get("datatype") != _INPUT_TYPE:
        raise Refusal(400, f"the input's datatype must be {_INPUT_TYPE}")
    shape = _shape(tensor.get("shape"), model, limits)
    count = math.prod(shape)
    size = _parameters(tensor, "the input").get("binary_data_size")
    if size is None:
        if len(rest):
            raise Refusal(400, f"{len(rest)} bytes follow the JSON, and binary_data_size is missing")
        return _from_json(tensor.get("data"), shape, count, limits)
    if "data" in tensor:
        raise Refusal(400, "the input has both data and binary_data_size")
    if type(size) is not int or size != 4 * count or size != len(rest):
        needed = f"the shape {shape} takes {4 * count} bytes, {len(rest)} follow the JSON"
        raise Refusal(400, f"binary_data_size is wrong: {needed}")
    return np.frombuffer(rest, "<f4").reshape(shape)


def _shape(shape: Any, model: ModelInfo, limits: Limits) -> list[int]:
    if not isinstance(shape, list) or any(type(length) is not int or length < 1 for length in shape):
        raise Refusal(400, "the input's shape must be a list of positive integers")
    is_given = len(shape) == 4 and all(
        want is None or length == want for length, want in zip(shape, model.input_shape, strict=True)
    )
    if not is_given:
        wanted = [-1 if length is None else length for length in model.input_shape]
        raise Refusal(400, f"the input's shape must be {wanted} (-1: any length)")
    if shape[0] > max(limits.batch, model.input_shape[0] or 1):
        raise Refusal(400, f"a batch may hold {limits.batch} images")
    if math.prod(shape) > limits.elements:
        raise Refusal(413, f"the input may have {limits.elements} elements")
    return shape


def _from_json(data: Any, shape: list[int], count: int, limits: Limits) -> np.ndarray:
    if not isinstance(data, list):
        raise Refusal(400, "the input's data must be a list of numbers")
    if count > limits.json_elements:
        raise Refusal(413, f"JSON may hold {limits.json_elements} elements; send binary tensors")
    flat = data
    if data and isinstance(data[0], list):
        flat = _unnested(data, shape)
    if len(flat) != count:
        raise Refusal(400, f"the shape {shape} takes {count} numbers, data has another number of them")
    if not set(map(type, flat)) <= {int, float}:
        raise Refusal(400, "the input's data must be numbers alone")
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(flat, "float64").astype("float32")
    except (OverflowError, ValueError) as error:
        raise Refusal(400, "the input's data holds numbers that are too large") from error
    if not np.isfinite(array).all():
        raise Refusal(400, "the input's data holds numbers that are too large for FP32")
    return array.reshape(shape)


def _unnested(data: list, shape: list[int]) -> list:
    """The numbers of lists that are nested as the shape; the protocol allows a flat list too."""
    level = [data]
    for length in shape:
        if not all(isinstance(one, list) and len(one) == length for one in level):
            raise Refusal(400, f"the input's data is neither flat nor nested as its shape {shape}")
        level = list(chain.from_iterable(level))
    return level


def _wants_binary(message: dict[str, Any], model: ModelInfo) -> bool:
    by_default = _flag(_parameters(message, "the request"), "binary_data_output")
    outputs = message.get("outputs")
    if outputs is None or outputs == []:
        return bool(by_default)
    if not isinstance(outputs, list) or len(outputs) != 1:
        raise Refusal(400, f"outputs must be a list of one tensor, {model.output_name!r}")
    output = _an_object(outputs[0], "the output")
    if output.get("name") != model.output_name:
        raise Refusal(400, f"the output's name must be {model.output_name!r}")
    asked = _flag(_parameters(output, "the output"), "binary_data")
    return bool(by_default if asked is None else asked)


def _flag(parameters: dict[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal(400, f"{name} must be true or false")
    return value


def reply(request: InferRequest, output: np.ndarray, model: ModelInfo, limits: Limits) -> tuple[bytes, dict[str, str]]:
    """The body of the answer and its headers. Raises Refusal (400) for JSON of too many elements."""
    tensor = _tensor(model.output_name, _DATATYPES[output.dtype.name], output.shape)
    message: dict[str, Any] = {"model_name": model.name, "model_version": VERSION, "outputs": [tensor]}
    if request.id is not None:
        message["id"] = request.id
    if not request.wants_binary:
        if output.size > limits.json_elements:
            raise Refusal(400, f"the output has {output.size} elements; ask for it with binary_data")
        tensor["data"] = [_number(value) for value in output.reshape(-1).tolist()]
        return json.dumps(message).encode(), {"Content-Type": "application/json"}
    raw = np.ascontiguousarray(output).tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    header = json.dumps(message).encode()
    return header + raw, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}


def _number(value: float) -> float | None:
    """The number, or null for NaN and infinity, which JSON does not have."""
    return value if not isinstance(value, float) or math.isfinite(value) else None
