"""Label maps for people: colours, palette PNGs, overlays."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from paddleseg_ext_runtime.errors import ConfigError, ConversionError

_PICTURE_WEIGHT = 0.6


def palette(custom_color: Sequence[int] | None = None) -> np.ndarray:
    """uint8 [256, 3] RGB colours by class: PaddleSeg's, or custom ones (then 0 for the rest).

    PaddleSeg's are Pascal VOC's, counted from 1: the bits of a number, three by three, become the high bits of red,
    green and blue. Raises ConfigError when `custom_color` is no sequence of R G B triples.
    """
    if custom_color is None:
        numbers = np.arange(1, 257)
        bits = [[(numbers >> (3 * place + channel) & 1) << (7 - place) for place in range(3)] for channel in range(3)]
        return np.asarray(bits).sum(axis=1).T.astype("uint8")
    if len(custom_color) % 3 or not all(0 <= value <= 255 for value in custom_color):
        raise ConfigError(f"--custom_color takes R G B triples from 0 to 255, got {len(custom_color)} numbers")
    colors = np.zeros((256, 3), "uint8")
    given = np.asarray(custom_color, "uint8").reshape(-1, 3)[:256]
    colors[: len(given)] = given
    return colors


def overlay(image: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """uint8 BGR [H, W, 3]: the picture [H, W, 3] (or grey [H, W]) with the colours of its labels [H, W] over it.

    Raises ConversionError for labels beyond 255.
    """
    if image.ndim == 2:
        image = np.repeat(image[:, :, np.newaxis], 3, axis=2)
    check_range(labels)
    colored = colors[labels][:, :, ::-1]
    return cv2.addWeighted(image.astype("uint8"), _PICTURE_WEIGHT, colored, 1 - _PICTURE_WEIGHT, 0)


def check_range(labels: np.ndarray) -> None:
    """Raises ConversionError for labels that have no colour."""
    if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise ConversionError(f"labels run from {labels.min()} to {labels.max()}; a palette PNG holds 0 to 255")


def encode_labels(labels: np.ndarray, colors: np.ndarray) -> bytes:
    """A palette PNG: it shows colours, and its pixels are the class numbers. Raises ConversionError beyond 255."""
    check_range(labels)
    image = Image.fromarray(labels.astype("uint8"), "P")
    image.putpalette(colors.reshape(-1).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_labels(path: Path, labels: np.ndarray, colors: np.ndarray) -> None:
    """Writes `encode_labels` to a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_labels(labels, colors))
