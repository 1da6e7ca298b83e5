"""Prediction: pictures or a video in, label maps and overlays out, at the size of the pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from paddleseg_ext_runtime.errors import ConfigError, DataError
from paddleseg_ext_runtime.label_map import overlay, write_labels
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.pictures import Picture, left_out
from paddleseg_ext_runtime.progress import track
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.segmenter import Prepared, Segmenter

ADDED, PSEUDO_COLOR = "added_prediction", "pseudo_color_prediction"
VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}


@dataclass(frozen=True)
class Results:
    """The place for the results of pictures: label maps in `save_dir`, palette PNGs in `colors` (uint8 [256, 3]).

    With overlays, which show the labels over each picture, both kinds have folders of their own below `save_dir`.
    """

    save_dir: Path
    colors: np.ndarray
    has_overlays: bool = False

    def mask(self, picture: Picture) -> Path:
        """The file of its label map."""
        return (self.save_dir / PSEUDO_COLOR if self.has_overlays else self.save_dir) / picture.mask

    def added(self, picture: Picture) -> Path:
        """The file of its overlay."""
        return self.save_dir / ADDED / picture.name

    def check(self, picture: Picture) -> None:
        """Raises ConfigError when a result would take the place of the picture."""
        keep_source(picture.path, self.mask(picture))
        if self.has_overlays:
            keep_source(picture.path, self.added(picture))

    def write(self, picture: Picture, image: np.ndarray, labels: np.ndarray) -> None:
        """Writes the label map of the picture's image, and its overlay if there are overlays; labels are [H, W]."""
        write_labels(self.mask(picture), labels, self.colors)
        if self.has_overlays:
            path = self.added(picture)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), overlay(image, labels, self.colors)):
                raise DataError(f"cannot write {path}")


def predict_pictures(segmenter: Segmenter, pictures: Sequence[Picture], results: Results, batch_size: int = 1) -> int:
    """Writes the results of each picture; returns how many pictures there are.

    Neighbours whose tensors have one shape share a batch. A picture that cannot be read does not stop the others;
    DataError names all of those at the end. Raises ConfigError before the first one when a result would take the
    place of a picture.
    """
    for picture in pictures:
        results.check(picture)
    with left_out(len(pictures)) as failures:
        batch: list[tuple[Picture, np.ndarray, Prepared]] = []
        for picture in track(pictures, len(pictures), "prediction"):
            try:
                image = read_image(picture.path, segmenter.channels)
                prepared = segmenter.prepare(image)
            except DataError as error:
                failures.append(str(error))
                continue
            if batch and (len(batch) == batch_size or batch[0][2][0].shape != prepared[0].shape):
                _write_batch(segmenter, batch, results)
                batch = []
            batch.append((picture, image, prepared))
        if batch:
            _write_batch(segmenter, batch, results)
    return len(pictures)


def _write_batch(segmenter: Segmenter, batch: list[tuple[Picture, np.ndarray, Prepared]], results: Results) -> None:
    found = segmenter.labels([prepared for _, _, prepared in batch])
    for (picture, image, _), labels in zip(batch, found, strict=True):
        results.write(picture, image, labels)


def keep_source(source: Path, target: Path) -> None:
    """Raises ConfigError when a result would take the place of what it is made from."""
    if target.exists() and target.samefile(source):
        raise ConfigError(f"the result for {source} would take its place; choose another --save_dir")


def predict_video(segmenter: Segmenter, path: Path, save_file: Path, colors: np.ndarray) -> int:
    """Writes the video with its labels over it (MPEG-4, without sound); returns how many frames it has.

    Warns when the file ends before the frames it announces: it is truncated, or its sound track is longer. Raises
    DataError for a file without a frame that OpenCV can read, ConfigError for `path` as `save_file`.
    """
    keep_source(path, save_file)
    video = cv2.VideoCapture(str(path))
    total, rate = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
    unfinished = save_file.with_name(f".{save_file.name}")
    writer, count = None, 0
    try:
        for frame in track(_frames(video), total, "prediction"):
            if writer is None:
                size = frame.shape[1], frame.shape[0]
                writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter_fourcc(*"mp4v"), rate or 25.0, size)
                if not writer.isOpened():
                    raise DataError(f"cannot write {save_file}")
            image = frame if segmenter.channels == 3 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            writer.write(overlay(frame, segmenter.segment(image), colors))
            count += 1
        if count == 0:
            raise DataError(f"{path} is no video OpenCV can read")
        if count < total:
            get_logger().warning("%s ends after %d of the %d frames it announces", path, count, total)
        writer.release()
        unfinished.replace(save_file)
    finally:
        video.release()
        if writer is not None:
            writer.release()
        unfinished.unlink(missing_ok=True)
    return count


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        is_there, frame = video.read()
        if not is_there:
            return
        yield frame
