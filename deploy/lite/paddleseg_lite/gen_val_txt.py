"""Make `image1.txt`, the input benchmark_bin and benchmark.py read, from any image.

    python gen_val_txt.py --image photo.jpg --deploy_yaml models_dir/pp_mobileseg_base/deploy.yaml
    python gen_val_txt.py --image photo.jpg --size 512 512

The image is read as RGB, resized to the model's height and width, scaled to 0..1, normalised, and
written as whitespace-separated numbers in NCHW order.

Exit codes: 0 written · 2 usage · 4 the image or deploy.yaml cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddleseg_lite.deploy_yaml import read_deploy
from paddleseg_lite.errors import DataError, LiteError, UsageError
from paddleseg_lite.result import write_atomically

DEFAULT_NORM = (0.5, 0.5, 0.5)  # what PaddleSeg's Normalize takes when a config names neither mean nor std


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        size, mean, std = _recipe(args)
        tensor = image_tensor(args.image, size, mean, std)
        write_tensor(tensor, args.output)
    except LiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return DataError.exit_code
    shown = "x".join(map(str, tensor.shape))
    print(f"{args.output}: {shown} numbers, mean {np.round(mean, 4)}, std {np.round(std, 4)}")
    return 0


def image_tensor(image: Path, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """float32 `[1, 3, H, W]` of `image` at `size` (height, width), normalised as `(x / 255 - mean) / std`.

    Raises:
        DataError: the file is missing or is no image OpenCV can read.
    """
    import cv2

    if not image.is_file():
        raise DataError(f"{image}: no such image")
    raw = np.fromfile(image, dtype=np.uint8)
    data = raw.tobytes()
    # OpenCV fills what a truncated JPEG lacks with grey.
    if data.startswith(b"\xff\xd8") and data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0:
        raise DataError(f"{image}: truncated after {len(data)} bytes", "the whole JPEG")
    pixels = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    if pixels is None:
        raise DataError(f"{image}: not a readable image", "JPEG, PNG or another format OpenCV reads")
    resized = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    rgb = resized[:, :, ::-1].astype(np.float32) / 255.0
    normalised = (rgb - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], dtype=np.float32)


def write_tensor(tensor: np.ndarray, path: Path) -> None:
    """Nine digits a number, so that float32 survives the way through text; one image row a line."""
    rows = tensor.reshape(-1, tensor.shape[-1])
    write_atomically(path, "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows.tolist()))


def read_recipe(deploy_yaml: Path) -> tuple[tuple[int, int] | None, list[float], list[float]]:
    """Size (height, width; None if variable), mean and std of a deploy.yaml.

    The model's `input_shape` goes before a Resize: it is what the model can take.

    Raises:
        DataError: a transform other than Resize and Normalize that would change what the model sees.
    """
    deploy = read_deploy(deploy_yaml)
    size, mean, std = None, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    for transform in deploy.get("transforms") or []:
        kind = transform.get("type") if isinstance(transform, dict) else transform
        if kind == "Normalize":
            mean = list(transform.get("mean") or DEFAULT_NORM)
            std = list(transform.get("std") or DEFAULT_NORM)
        elif kind == "Resize":
            width, height = transform.get("target_size") or (512, 512)
            size = (height, width)
        elif kind not in ("ResizeByLong", "ResizeByShort", "LimitLong", "LimitShort"):
            raise DataError(f"{deploy_yaml}: transform {kind!r}", "resizing and Normalize only")
    shape = deploy.get("input_shape") or []
    if len(shape) == 4 and all(isinstance(n, int) and n > 0 for n in shape[2:]):
        size = (shape[2], shape[3])
    return size, mean, std


def _recipe(args: argparse.Namespace) -> tuple[tuple[int, int], list[float], list[float]]:
    size, mean, std = None, list(DEFAULT_NORM), list(DEFAULT_NORM)
    if args.deploy_yaml:
        size, mean, std = read_recipe(args.deploy_yaml)
    size = tuple(args.size) if args.size else size
    if not size or min(size) < 1:
        raise UsageError("the input's size is not known", "--size HEIGHT WIDTH, or a deploy.yaml with one")
    mean, std = args.mean or mean, args.std or std
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise UsageError(f"mean {mean}, std {std}", "three numbers each, std without zeros")
    return size, mean, std


def _parser() -> argparse.ArgumentParser:
    head, _, tail = __doc__.partition("\n")
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=head, epilog=tail, formatter_class=layout)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--deploy_yaml", type=Path, help="takes size, mean and std from an exported model")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--mean", type=float, nargs=3, help="(0.5 0.5 0.5)")
    parser.add_argument("--std", type=float, nargs=3, help="(0.5 0.5 0.5)")
    parser.add_argument("--output", type=Path, default=Path("image1.txt"), help="(image1.txt)")
    return parser
