"""Prediction: pictures in, label maps and overlays out, at the size of the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from paddle import nn
from paddleseg.transforms import Compose
from paddleseg.utils.visualize import get_color_map_list
from PIL import Image

from paddleseg_ext.core.inference import InferenceOptions, predict_labels
from paddleseg_ext.datasets.reading import read_image
from paddleseg_ext.errors import ConfigError, DataError
from paddleseg_ext.utils.progress import track

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
PICTURE_WEIGHT = 0.6
ADDED, PSEUDO_COLOR = "added_prediction", "pseudo_color_prediction"


@dataclass(frozen=True)
class Picture:
    """One picture to predict, and the name of its results below the folder they go to."""

    path: Path
    name: Path


def list_pictures(path: str | Path) -> list[Picture]:
    """The pictures that `--image_path` names: a file, a folder with all below it, or a text file of paths.

    Paths in a text file are relative to it; what follows the first blank on a line is a label, and ignored.
    Raises DataError when nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in IMAGE_SUFFIXES)
        pictures = [Picture(item, item.relative_to(path)) for item in found]
    elif not path.is_file():
        raise DataError(f"no image, folder or list at {path}")
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        pictures = [Picture(path, Path(path.name))]
    else:
        pictures = _from_list(path)
    if not pictures:
        raise DataError(f"{path} names no image; known endings: {' '.join(sorted(IMAGE_SUFFIXES))}")
    return pictures


def _from_list(path: Path) -> list[Picture]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither an image nor a text file of image paths") from error
    # A name may hold blanks; otherwise what follows the first one is a label's.
    names = [line if (path.parent / line).is_file() else line.split()[0] for line in lines if line]
    for name in names:
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{path} names {name}, which is no image (by its ending)")
    return [_listed(path.parent, Path(name)) for name in names]


def _listed(folder: Path, path: Path) -> Picture:
    """Results keep the folders of a relative path; those of any other would land outside of `save_dir`."""
    is_inside = not path.is_absolute() and ".." not in path.parts
    return Picture(folder / path, path if is_inside else Path(path.name))


def palette(custom_color: Sequence[int] | None = None) -> np.ndarray:
    """uint8 [256, 3] RGB colours by class: PaddleSeg's, or custom ones (then 0 for the rest).

    Raises ConfigError when `custom_color` is no sequence of R G B triples.
    """
    if custom_color is not None and (len(custom_color) % 3 or not all(0 <= value <= 255 for value in custom_color)):
        raise ConfigError(f"--custom_color takes R G B triples from 0 to 255, got {len(custom_color)} numbers")
    colors = np.asarray(get_color_map_list(256, custom_color=custom_color), "uint8").reshape(-1, 3)
    return np.vstack([colors, np.zeros((256, 3), "uint8")])[:256]


def predict(
    model: nn.Layer,
    transforms: list,
    pictures: Sequence[Picture],
    save_dir: Path,
    config: InferenceOptions | None = None,
    custom_color: Sequence[int] | None = None,
) -> int:
    """Writes `added_prediction/<name>` and `pseudo_color_prediction/<stem>.png` below `save_dir` for each picture.

    Returns how many were written. A picture that cannot be read does not stop the others; DataError names
    all of those at the end.
    """
    model.eval()
    compose, colors, failures = Compose(transforms), palette(custom_color), []
    for picture in track(pictures, len(pictures), "prediction"):
        try:
            image = read_image(picture.path)
        except DataError as error:
            failures.append(str(error))
            continue
        sample = compose({"img": image.copy(), "trans_info": [], "gt_fields": []})
        labels = predict_labels(model, sample, config or InferenceOptions())
        colored = colors[labels][:, :, ::-1]
        overlay = cv2.addWeighted(image.astype("uint8"), PICTURE_WEIGHT, colored, 1 - PICTURE_WEIGHT, 0)
        _write(save_dir / ADDED / picture.name, overlay)
        write_labels(save_dir / PSEUDO_COLOR / picture.name.with_suffix(".png"), labels, colors)
    if failures:
        raise DataError(f"{len(failures)} of {len(pictures)} images were left out:\n" + "\n".join(failures))
    return len(pictures)


def write_labels(path: Path, labels: np.ndarray, colors: np.ndarray) -> None:
    """A palette PNG: it shows colours, and its pixels are the class numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype("uint8"), "P")
    image.putpalette(colors.reshape(-1).tolist())
    image.save(path)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise DataError(f"cannot write {path}")
