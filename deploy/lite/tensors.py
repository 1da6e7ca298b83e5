"""Tensors in and out: the input from `image1.txt` (numbers in NCHW order) or `.npy`, facts about outputs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from errors import DataError
from result import Output

HOW_TO_MAKE = "python gen_val_txt.py --image photo.jpg --deploy_yaml deploy.yaml --output image1.txt"


def read_input(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """float32 array of `shape`.

    Raises:
        DataError: missing or unreadable file, a token that is no number, NaN or infinity, or a
            count of numbers other than the product of `shape`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such input file", hint=HOW_TO_MAKE)
    values = _read_npy(path) if path.suffix == ".npy" else _read_text(path)
    expected = int(np.prod(shape))
    if values.size != expected:
        raise DataError(
            f"{path}: holds {values.size} numbers",
            f"{expected}, for the model's input {'x'.join(map(str, shape))}",
            HOW_TO_MAKE,
        )
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds NaN or infinity", hint=HOW_TO_MAKE)
    return np.ascontiguousarray(values.reshape(shape))


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable .npy array ({error})") from error


def _read_text(path: Path) -> np.ndarray:
    try:
        return np.array(path.read_text(encoding="ascii").split(), dtype=np.float32)
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{path}: not a text of numbers ({error})", hint=HOW_TO_MAKE) from error


def describe_output(array: np.ndarray, file: str | None = None) -> Output:
    """Shape, dtype and statistics of one output."""
    integer = np.issubdtype(array.dtype, np.integer)
    wide = array.astype(np.float64)
    finite = bool(wide.size and np.isfinite(wide).all())
    return Output(
        tuple(array.shape),
        str(array.dtype),
        float(wide.mean()) if finite else None,
        float(wide.std()) if finite else None,
        int(np.unique(array).size) if integer else None,
        file,
    )


def to_npy(array: np.ndarray) -> bytes:
    """The content of a `.npy` file holding `array`."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def all_finite(arrays: Sequence[np.ndarray]) -> bool:
    """False if any value is NaN or infinite."""
    return all(bool(np.isfinite(array).all()) for array in arrays)


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Equal integers; floats equal up to the rounding that a different split between threads brings."""
    return len(one) == len(other) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )
