"""The base of all data sets: a list of image and label files, read with checks, then PaddleSeg's transforms."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddleseg.transforms import Compose
from paddleseg.transforms.functional import mask_to_binary_edge

from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.reading import IGNORE, check_same_size, read_image, read_label

Pair = tuple[str, str | None]


class SegmentationDataset(paddle.io.Dataset):
    """Samples from `file_list`, pairs of image and label paths (None for no label).

    In training, the transforms change the label together with the image. In validation, the label keeps the size of
    the file, because predictions are resized to it. Keys are PaddleSeg's: `img` [C, H, W], `label` [H, W] in training
    and [1, H, W] in validation, `trans_info`, and `edge` if it is set.

    Args:
        zero_is_ignore: label files count from 1, and 0 is ignored.
    """

    zero_is_ignore = False

    def __init__(
        self,
        file_list: Sequence[Pair],
        transforms: list,
        mode: str,
        num_classes: int,
        ignore_index: int = IGNORE,
        img_channels: int = 3,
        edge: bool = False,
    ):
        super().__init__()
        self.file_list = list(file_list)
        self.transforms = Compose(transforms, img_channels=img_channels)
        self.mode, self.edge = mode, edge
        self.num_classes, self.ignore_index, self.img_channels = num_classes, ignore_index, img_channels

    def __len__(self) -> int:
        return len(self.file_list)

    def read(self, index: int) -> dict[str, Any]:
        """Reads and checks image and label, without transforms. Raises DataError."""
        image_path, label_path = self.file_list[index]
        sample = {"img": read_image(image_path, self.img_channels), "trans_info": [], "gt_fields": []}
        if label_path is not None:
            sample["label"] = read_label(label_path, self.num_classes, self.ignore_index, self.zero_is_ignore)
            check_same_size(sample["img"], sample["label"], image_path, label_path)
        return sample

    def check_some(self, count: int = 64) -> None:
        """Reads `count` evenly spread samples, so that a bad file shows before training. Raises DataError."""
        indices = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self.read, indices):
                pass

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.read(index)
        if self.mode != "train":
            sample = self.transforms(sample)
            if "label" in sample:
                sample["label"] = sample["label"][np.newaxis]
            return sample
        sample["gt_fields"].append("label")
        sample = self.transforms(sample)
        if self.edge:
            sample["edge"] = mask_to_binary_edge(sample["label"], radius=2, num_classes=self.num_classes)
        return sample


def check_files(pairs: Sequence[Pair]) -> None:
    """Raises DataError, with their number and the first one, when images or labels of a list are missing."""
    paths = [path for pair in pairs for path in pair if path is not None]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(paths)} files of the data set are missing, the first is {missing[0]}")
