"""Reads and writes tensors, with or without numpy: inputs (`image1.txt` or `.npy`) and facts about outputs.

numpy only makes the same sums faster; a machine that measures over adb need not have it.
"""

from __future__ import annotations

import array
import ast
import math
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddleseg_lite.errors import DataError
from paddleseg_lite.result import Output

try:
    import numpy as np
except ImportError:
    np = None

HOW_TO_MAKE = "python gen_val_txt.py --image photo.jpg --deploy_yaml deploy.yaml --output image1.txt"
_CODES = {"float32": "f", "float64": "d", "int32": "i", "int64": "q", "uint8": "B", "bool": "B"}
_NPY = {"<f4": "float32", "<f8": "float64", "<i4": "int32", "<i8": "int64", "|u1": "uint8", "|b1": "bool"}


class Tensor:
    """Numbers in row order with their dtype (`float32`, `int32`, …) and shape."""

    def __init__(self, dtype: str, shape: Sequence[int], values: array.array) -> None:
        self.dtype, self.shape, self.values = dtype, tuple(int(n) for n in shape), values
        if len(values) != math.prod(self.shape):
            raise ValueError(f"{len(values)} values for shape {self.shape}")

    @classmethod
    def of(cls, given: Any) -> Tensor:
        """From a Tensor or a numpy array of one of the known dtypes."""
        if isinstance(given, Tensor):
            return given
        return cls(str(given.dtype), given.shape, array.array(_CODES[str(given.dtype)], given.tobytes()))

    @property
    def integer(self) -> bool:
        """True for whole numbers."""
        return not self.dtype.startswith("float")

    def numpy(self) -> Any:
        """As a numpy array; where numpy is missing, an ImportError."""
        import numpy

        return numpy.frombuffer(self.values, dtype=self.dtype).reshape(self.shape)

    def reshape(self, shape: Sequence[int]) -> Tensor:
        """The same values in another shape of the same size."""
        return Tensor(self.dtype, shape, self.values)

    def mean_std(self) -> tuple[float | None, float | None]:
        """Mean and population deviation, (None, None) if a value is not finite or there is none."""
        if not len(self.values):
            return None, None
        if np is not None:
            wide = self.numpy().astype(np.float64)
            mean, std = float(wide.mean()), float(wide.std())
        else:
            mean = math.fsum(self.values) / len(self.values)
            std = math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / len(self.values))
        return (mean, std) if math.isfinite(mean) and math.isfinite(std) else (None, None)

    def finite(self) -> bool:
        """False if any value is NaN or infinite."""
        if self.integer:
            return True
        return bool(np.isfinite(self.numpy()).all()) if np is not None else all(map(math.isfinite, self.values))

    def labels(self) -> int | None:
        """How many distinct values an integer tensor has."""
        return len(set(self.values)) if self.integer else None

    def equal_fraction(self, other: Tensor) -> float:
        """Of the values, those equal to `other`'s at the same place; sizes must be equal."""
        if np is not None:
            return float(np.mean(self.numpy().ravel() == other.numpy().ravel()))
        return sum(map(lambda a, b: a == b, self.values, other.values)) / max(len(self.values), 1)

    def largest_difference(self, other: Tensor) -> float:
        """Largest distance from `other`'s value at the same place, NaN if any is NaN; sizes must be equal."""
        if np is not None:
            return float(np.max(np.abs(self.numpy().ravel().astype(np.float64) - other.numpy().ravel())))
        distances = list(map(lambda a, b: abs(a - b), self.values, other.values))
        return math.nan if any(map(math.isnan, distances)) else max(distances)


def read_input(path: Path, shape: tuple[int, ...]) -> Tensor:
    """float32 of `shape`.

    Raises:
        DataError: missing or unreadable file, a token that is no number, NaN or infinity, or a
            count of numbers other than the product of `shape`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such input file", hint=HOW_TO_MAKE)
    values = array.array("f", read_npy(path).values if path.suffix == ".npy" else _read_text(path))
    expected = math.prod(shape)
    if len(values) != expected:
        raise DataError(
            f"{path}: holds {len(values)} numbers",
            f"{expected}, for the model's input {'x'.join(map(str, shape))}",
            HOW_TO_MAKE,
        )
    tensor = Tensor("float32", shape, values)
    if not tensor.finite():
        raise DataError(f"{path}: holds NaN or infinity", hint=HOW_TO_MAKE)
    return tensor


def _read_text(path: Path) -> array.array:
    try:
        return array.array("f", list(map(float, path.read_text(encoding="ascii").split())))
    except (OSError, ValueError, OverflowError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{path}: not a text of numbers ({error})", hint=HOW_TO_MAKE) from error


def to_text(tensor: Tensor) -> str:
    """Numbers as benchmark_bin reads them, with the nine digits that keep a float32; one image row per line."""
    words, width = [f"{value:.9g}" for value in tensor.values], tensor.shape[-1]
    return "".join(" ".join(words[start : start + width]) + "\n" for start in range(0, len(words), width))


def read_npy(source: Path | bytes) -> Tensor:
    """A `.npy` file or its content.

    Raises:
        DataError: it is none, or of a dtype or order other than this tool writes.
    """
    name = "a .npy" if isinstance(source, bytes) else source
    try:
        raw = source if isinstance(source, bytes) else source.read_bytes()
        if raw[:6] != b"\x93NUMPY":
            raise ValueError("no .npy header")
        wide = raw[6] >= 2
        (length,) = struct.unpack_from("<I" if wide else "<H", raw, 8)
        start = (12 if wide else 10) + length
        header = ast.literal_eval(raw[12 if wide else 10 : start].decode("latin1"))
        if header["fortran_order"] or header["descr"] not in _NPY:
            raise ValueError(f"dtype {header['descr']} or its order is not served")
        dtype = _NPY[header["descr"]]
        values = array.array(_CODES[dtype])
        values.frombytes(raw[start:])
        if sys.byteorder == "big":
            values.byteswap()
        return Tensor(dtype, header["shape"], values)
    except (OSError, ValueError, KeyError, TypeError, IndexError, SyntaxError, struct.error) as error:
        raise DataError(f"{name}: not a readable .npy array ({error})") from error


def to_npy(tensor: Tensor) -> bytes:
    """The content of a `.npy` file holding `tensor`."""
    descr = {dtype: descr for descr, dtype in _NPY.items()}[tensor.dtype]
    shape = f"({tensor.shape[0]},)" if len(tensor.shape) == 1 else str(tensor.shape)
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    raw = tensor.values.tobytes()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1") + raw


def describe_output(tensor: Tensor, file: str | None = None) -> Output:
    """Shape, dtype and statistics of one output."""
    mean, std = tensor.mean_std()
    return Output(tensor.shape, tensor.dtype, mean, std, tensor.labels(), file)


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Equal integers; floats equal up to the rounding that a different split between threads brings."""
    return len(one) == len(other) and all(_close(a, b) for a, b in zip(one, other))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if one.integer or one.values == other.values:
        return one.values == other.values
    if np is not None:
        return bool(np.allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5, equal_nan=True))
    pairs = zip(one.values, other.values)
    return all(abs(a - b) <= 1e-5 + 1e-4 * abs(b) or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def decode_printed(text: str, dtype: str | None) -> Tensor:
    """The output file benchmark_bin writes: one number per line; every tensor was read as if it were float32.

    An int32 label n is then printed as the denormal n * 2**-149, which is turned back where `dtype` says
    int32, or says nothing and no number is a normal float.

    Raises:
        DataError: a token is no number, or is no label though `dtype` says int32.
    """
    try:
        numbers = [float(token) for token in re.split(r"\s+", text.strip())]
    except ValueError as error:
        raise DataError(f"the output file holds something else than numbers ({error})") from error
    labels = dtype == "int32" if dtype else any(numbers) and all(abs(n) < 2.0**-126 for n in numbers)
    if not labels:
        return Tensor("float32", (len(numbers),), array.array("f", numbers))
    scaled = [number * 2.0**149 for number in numbers]
    # Six printed digits hold a label up to a million to within half.
    if not all(math.isfinite(n) and abs(n) < 1e6 and abs(n - round(n)) <= 1e-5 * abs(n) + 1e-9 for n in scaled):
        raise DataError("the output file should hold int32 labels and holds something else")
    return Tensor("int32", (len(numbers),), array.array("i", map(round, scaled)))
