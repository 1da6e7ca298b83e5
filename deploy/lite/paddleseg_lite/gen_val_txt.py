"""Make `image1.txt`, the input benchmark_bin and benchmark.py read, from any image.

    python gen_val_txt.py --image photo.jpg --deploy_yaml models_dir/pp_mobileseg_base/deploy.yaml
    python gen_val_txt.py --image photo.jpg --size 512 512

The image is read as RGB, turned into float32, taken through the transforms of deploy.yaml in their order, and
resized to the model's input if its size is fixed and different. The result is written as whitespace-separated
numbers in NCHW order. It is the tensor that deploy/python/infer.py gives to the model.

Exit codes: 0 written · 2 usage · 4 the image or deploy.yaml cannot be used.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paddleseg_lite.deploy_yaml import read_deploy
from paddleseg_lite.errors import DataError, LiteError, UsageError
from paddleseg_lite.result import write_atomically
from paddleseg_lite.tensors import Tensor, to_text

DEFAULT_NORM = (0.5,)  # what PaddleSeg's Normalize takes when a config names neither mean nor std
RESIZING = ("Resize", "ResizeByLong", "ResizeByShort", "LimitLong")
Size = tuple  # (height, width)


@dataclass(frozen=True)
class Recipe:
    """How an image becomes the input: PaddleSeg's `transforms` in order, then `size` (height, width) if it is fixed."""

    transforms: Sequence[Mapping[str, Any]]
    size: Size | None

    def normalisation(self) -> str:
        """Mean and deviation as a line of text, '' where the transforms hold no Normalize."""
        normalize = [transform for transform in self.transforms if transform["type"] == "Normalize"]
        return "".join(f", mean {list(one['mean'])}, std {list(one['std'])}" for one in normalize)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        recipe = _recipe(args)
        tensor = image_tensor(args.image, recipe)
        write_tensor(tensor, args.output)
    except (LiteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", DataError.exit_code)
    print(f"{args.output}: {'x'.join(map(str, tensor.shape))} numbers{recipe.normalisation()}")
    return 0


def image_tensor(path: Path, recipe: Recipe) -> np.ndarray:
    """float32 `[1, 3, H, W]` of the image file at `path`, as `recipe` prepares it.

    Raises:
        DataError: the file is missing or is no image OpenCV can read.
    """
    # float32 before any resizing, as deploy/README.md defines: resized bytes would be rounded.
    image = np.ascontiguousarray(_read(path)[:, :, ::-1], dtype=np.float32)
    for transform in recipe.transforms:
        if transform["type"] == "Normalize":
            # Each step rounds to float32, while mean and std are float64, as in training.
            image /= np.float32(255)
            np.subtract(image, np.float64(transform["mean"]), out=image, casting="same_kind")
            np.divide(image, np.float64(transform["std"]), out=image, casting="same_kind")
        else:
            image = _resize(image, _new_size(transform, image.shape[:2]))
    if recipe.size:
        image = _resize(image, recipe.size)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _read(path: Path) -> np.ndarray:
    """BGR bytes `[H, W, 3]`, turned as the EXIF data asks."""
    import cv2

    if not path.is_file():
        raise DataError(f"{path}: no such image")
    raw = np.fromfile(path, dtype=np.uint8)
    data = raw.tobytes()
    # OpenCV fills what a truncated JPEG lacks with grey.
    if data.startswith(b"\xff\xd8") and data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0:
        raise DataError(f"{path}: truncated after {len(data)} bytes", "the whole JPEG")
    pixels = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    if pixels is None:
        raise DataError(f"{path}: not a readable image", "JPEG, PNG or another format OpenCV reads")
    return pixels


def _resize(image: np.ndarray, size: Size) -> np.ndarray:
    """Bilinear, by OpenCV's own code: Intel's, which the wheels prefer, rounds in another way."""
    import cv2

    if image.shape[:2] == tuple(size):
        return image
    if hasattr(cv2, "ipp"):
        cv2.ipp.setUseIPP(False)
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _new_size(transform: Mapping[str, Any], now: Size) -> Size:
    """(height, width) that one of RESIZING gives to an image of size `now`."""
    longest, shortest = max(now), min(now)
    if transform["type"] == "Resize":
        width, height = transform.get("target_size") or (512, 512)
        target = height, width
        if transform.get("keep_ratio"):
            target = _scaled(now, min(max(target) / longest, min(target) / shortest))
        divisor = transform.get("size_divisor") or 1
        return tuple(math.ceil(side / divisor) * divisor for side in target)
    if transform["type"] == "ResizeByLong":
        return _scaled(now, transform["long_size"] / longest)
    if transform["type"] == "ResizeByShort":
        side, limit = transform["short_size"], transform.get("max_size")
        if limit is not None and side / shortest * longest > limit:
            side = int(limit / longest * shortest)
        return _scaled(now, side / shortest)
    largest, least = transform.get("max_long"), transform.get("min_long")
    target = largest if largest and longest > largest else max(longest, least or longest)
    return now if target == longest else _scaled(now, target / longest)


def _scaled(size: Size, scale: float) -> Size:
    return round(size[0] * scale), round(size[1] * scale)


def write_tensor(tensor: np.ndarray, path: Path) -> None:
    """See `tensors.to_text`."""
    write_atomically(path, to_text(Tensor.of(tensor)))


def read_recipe(deploy_yaml: Path) -> Recipe:
    """The recipe in a deploy.yaml.

    Raises:
        DataError: a transform or an interpolation that this script does not compute.
    """
    deploy = read_deploy(deploy_yaml)
    transforms = []
    for transform in deploy.get("transforms") or []:
        kind = transform.get("type") if isinstance(transform, dict) else transform
        if kind == "Normalize":
            transform = {**transform, **{key: list(transform.get(key) or DEFAULT_NORM) for key in ("mean", "std")}}
        elif kind not in RESIZING or transform.get("interp", "LINEAR") != "LINEAR":
            raise DataError(f"{deploy_yaml}: transform {transform!r}", "bilinear resizing and Normalize only")
        transforms.append(transform)
    shape = deploy.get("input_shape") or []
    is_fixed = len(shape) == 4 and all(isinstance(length, int) and length > 0 for length in shape[2:])
    return Recipe(transforms, tuple(shape[2:]) if is_fixed else None)


def _recipe(args: argparse.Namespace) -> Recipe:
    """What the command line asks for: the flags have priority over deploy.yaml."""
    default = {"type": "Normalize", "mean": DEFAULT_NORM * 3, "std": DEFAULT_NORM * 3}
    recipe = read_recipe(args.deploy_yaml) if args.deploy_yaml else Recipe([default], None)
    size = tuple(args.size) if args.size else recipe.size
    resizes = any(transform["type"] in RESIZING for transform in recipe.transforms)
    if not (size or resizes) or (size and min(size) < 1):
        raise UsageError("the input's size is not known", "--size HEIGHT WIDTH, or a deploy.yaml with one")
    given = {name: value for name, value in (("mean", args.mean), ("std", args.std)) if value}
    transforms = [{**one, **given} if one["type"] == "Normalize" else one for one in recipe.transforms]
    if given and not any(one["type"] == "Normalize" for one in transforms):
        transforms.append({"type": "Normalize", "mean": [0.0] * 3, "std": [1.0] * 3, **given})
    for normalize in (one for one in transforms if one["type"] == "Normalize"):
        mean, std = normalize["mean"], normalize["std"]
        if len(mean) not in (1, 3) or len(std) not in (1, 3) or not all(std):
            raise UsageError(f"mean {mean}, std {std}", "three numbers each, std without zeros")
    return Recipe(transforms, size)


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
