"""Prediction: pictures in, label maps and overlays out, at the size of the pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.label_map import overlay, write_labels
from paddleseg_ext_runtime.pictures import Picture, left_out
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.reading import read_image

ADDED, PSEUDO_COLOR = "added_prediction", "pseudo_color_prediction"
Run = Callable[[np.ndarray], np.ndarray]


def predict(
    run: Run,
    pipeline: ImagePipeline,
    pictures: Sequence[Picture],
    save_dir: Path,
    colors: np.ndarray,
    channels: int = 3,
) -> int:
    """Writes `added_prediction/<name>` and `pseudo_color_prediction/<stem>.png` below `save_dir` for each picture.

    `run` takes a tensor [1, C, H, W] and gives scores [1, K, h, w] or labels [1, H, W]; `colors` are uint8 [256, 3].
    Returns how many were written. A picture that cannot be read does not stop the others; DataError names
    all of those at the end.
    """
    with left_out(len(pictures)) as failures:
        for picture in track(pictures, len(pictures), "prediction"):
            try:
                image = read_image(picture.path, channels)
                x, steps = pipeline.prepare(image)
            except DataError as error:
                failures.append(str(error))
                continue
            labels = pipeline.restore(run(x)[0], x.shape[2:], steps)
            _write(save_dir / ADDED / picture.name, overlay(image, labels, colors))
            write_labels(save_dir / PSEUDO_COLOR / picture.mask, labels, colors)
    return len(pictures)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise DataError(f"cannot write {path}")
