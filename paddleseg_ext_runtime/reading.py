"""The one place where images and labels are read from files, with the checks that name the file.

OpenCV decodes a truncated JPEG to a grey-padded picture without a word, and a label beyond the number of
classes surfaces as an index error inside a loss. Both are caught here.
"""

import io
import re
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from paddleseg_ext_runtime.errors import DataError

MAX_PIXELS = 100_000_000
IGNORE = 255
_ORIENTATION = 0x0112  # EXIF's tag

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", 0xDA, 0xD9
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in a scan: neither data nor a restart
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class TooManyPixelsError(DataError):
    """A picture that would take too much memory; it was not decoded."""


def read_image(path: str | Path, channels: int = 3) -> np.ndarray:
    """The picture at `path` as float32, BGR [H, W, 3] or, for one channel, grey [H, W].

    Raises DataError naming the file and what is wrong.
    """
    return decode_image(_read_bytes(path), path, channels).astype("float32")


def decode_image(data: bytes, name: str | Path, channels: int = 3, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """What the bytes of a picture file show, as uint8, BGR [H, W, 3] or, for one channel, grey [H, W].

    Raises DataError naming the file and what is wrong, TooManyPixelsError before a picture that large is decoded.
    """
    _check_complete(name, data)
    _check_header(name, data, max_pixels)
    flag = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise DataError(f"{name} cannot be decoded: {error.err}") from error
    if image is None:
        raise DataError(f"{name} is not an image OpenCV can read ({len(data)} bytes)")
    return image


def read_label(
    path: str | Path, num_classes: int, ignore_index: int = IGNORE, zero_is_ignore: bool = False
) -> np.ndarray:
    """The label map at `path` as uint8 [H, W], classes 0 … num_classes - 1 and `ignore_index` for ignored pixels.

    With `zero_is_ignore` the file counts from 1 and 0 is ignored (ADE20K). Palette PNGs give their indices.
    Raises DataError for an unreadable file, more than one channel, or a value that is no class.
    """
    data = _read_bytes(path)
    _check_complete(path, data)
    try:
        with Image.open(path) as file:
            if file.mode not in ("L", "P", "I", "I;16", "1"):
                raise DataError(f"{path} has {file.mode} pixels; a label map has one channel of class numbers")
            label = np.asarray(file).astype("int64")
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    first = 1 if zero_is_ignore else 0
    is_ignored = (label == ignore_index) | (zero_is_ignore & (label == 0))
    is_class = (label >= first) & (label < num_classes + first)
    wrong = label[~(is_class | is_ignored)]
    if wrong.size:
        values = ", ".join(str(value) for value in np.unique(wrong)[:5])
        ignored = f"0 and {ignore_index}" if zero_is_ignore else f"{ignore_index}"
        raise DataError(
            f"{path} holds the label {values} in {wrong.size} pixels; allowed are "
            f"{first} to {num_classes + first - 1}, and {ignored} for ignored pixels"
        )
    return np.where(is_ignored, ignore_index, label - first).astype("uint8")


def check_same_size(image: np.ndarray, label: np.ndarray, image_path: str | Path, label_path: str | Path) -> None:
    """Raises DataError when a picture and its label map differ in height or width."""
    if image.shape[:2] != label.shape[:2]:
        (ih, iw), (lh, lw) = image.shape[:2], label.shape[:2]
        raise DataError(f"{image_path} is {iw}x{ih} but its label {label_path} is {lw}x{lh}")


def _read_bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise DataError(f"{path} is empty")
    return data


def _check_header(path: str | Path, data: bytes, max_pixels: int) -> None:
    """A small file can declare a picture that fills the memory; its header says so before it is decoded."""
    is_turned = False
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
            if header.format == "WEBP" and width * height <= max_pixels:
                is_turned = header.getexif().get(_ORIENTATION, 1) != 1
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"{path} declares too many pixels: {error}") from error
    except (ValueError, SyntaxError, struct.error) as error:
        raise DataError(f"{path} has a header that cannot be read: {error}") from error
    except OSError:
        return  # a format that Pillow does not know; OpenCV has a limit of its own
    if width * height > max_pixels:
        raise TooManyPixelsError(f"{path} is {width}x{height}; at most {max_pixels / 10**6:g} million pixels are read")
    if is_turned:
        raise DataError(f"{path} is a WebP to be turned by its EXIF data, which OpenCV does not do; save it turned")


def _check_complete(path: str | Path, data: bytes) -> None:
    """A JPEG must have an end marker behind its scans, a PNG its end chunk."""
    is_cut_jpeg = data.startswith(_JPEG_START) and not _jpeg_ends(data)
    is_cut_png = data.startswith(_PNG_START) and _PNG_END not in data
    if is_cut_jpeg or is_cut_png:
        raise DataError(f"{path} is truncated: it ends after {len(data)} bytes, before the end of the picture")


def _jpeg_ends(data: bytes) -> bool:
    """Walks the segments: a thumbnail before the picture and a film behind it have markers of their own."""
    at, has_scan = len(_JPEG_START), False
    while marker := _JPEG_MARKER.search(data, at):
        kind, at = data[marker.end() - 1], marker.end()
        if kind == _JPEG_END:
            return has_scan
        length = int.from_bytes(data[at : at + 2], "big")
        has_scan |= kind == _JPEG_SCAN
        at += length
    return False
