"""ADE20K in the layout of the SceneParsing benchmark (Zhou et al. 2017), real or made by `scenes`."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddleseg.transforms import Compose
from paddleseg.transforms.functional import mask_to_binary_edge

from paddleseg_ext.cvlibs.registry import DATASETS, register
from paddleseg_ext.datasets.reading import check_same_size, read_image, read_label
from paddleseg_ext.errors import ConfigError, DataError

_FOLDERS = {"train": "training", "val": "validation"}
_TREE = """  {root}
  ├── images/training/*.jpg        ├── annotations/training/*.png
  └── images/validation/*.jpg      └── annotations/validation/*.png"""


@register(DATASETS)
class ADE20K(paddle.io.Dataset):
    """150 classes; in the files 0 is ignored and 1 … 150 are the classes, in samples 0 … 149 and 255.

    Args:
        transforms: PaddleSeg transforms, applied in order.
        dataset_root: the folder that holds `images` and `annotations`.
        mode: 'train' or 'val'.
        edge: whether training samples also carry a binary edge mask.

    Raises DataError when the folder is not such a data set or an image has no label. Nothing is downloaded.
    """

    NUM_CLASSES = 150
    IGNORE_INDEX = 255
    IMG_CHANNELS = 3

    def __init__(
        self,
        transforms: list,
        dataset_root: str = "data/ADEChallengeData2016",
        mode: str = "train",
        edge: bool = False,
    ):
        super().__init__()
        if mode not in _FOLDERS:
            raise ConfigError(f"mode of ADE20K is {mode!r}; it must be 'train' or 'val'")
        self.transforms = Compose(transforms)
        self.mode = mode
        self.edge = edge
        self.num_classes = self.NUM_CLASSES
        self.ignore_index = self.IGNORE_INDEX
        self.file_list = _pairs(Path(dataset_root), _FOLDERS[mode])

    def __len__(self) -> int:
        return len(self.file_list)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_path, label_path = self.file_list[index]
        image = read_image(image_path)
        label = read_label(label_path, self.num_classes, zero_is_ignore=True)
        check_same_size(image, label, image_path, label_path)
        sample = {"img": image, "label": label, "trans_info": [], "gt_fields": []}
        if self.mode == "val":
            # Labels keep their size: predictions are brought back to it.
            sample = self.transforms(sample)
            sample["label"] = sample["label"][np.newaxis]
            return sample
        sample["gt_fields"].append("label")
        sample = self.transforms(sample)
        if self.edge:
            sample["edge"] = mask_to_binary_edge(sample["label"], radius=2, num_classes=self.num_classes)
        return sample


def _pairs(root: Path, split: str) -> list[tuple[str, str]]:
    """(image, label) paths in the order of their names, paired by name."""
    images, labels = root / "images" / split, root / "annotations" / split
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(
                f"no ADE20K data set at {root}: {folder} is missing. Needed:\n{_TREE.format(root=root)}\n"
                "Give its place with --opts train_dataset.dataset_root=… val_dataset.dataset_root=…, or make a "
                "small one with: python tools/make_scenes.py --save_dir data/scenes"
            )
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise DataError(f"{images} holds no images")
    pairs = [(str(path), str(labels / f"{path.stem}.png")) for path in paths]
    missing = [label for _, label in pairs if not Path(label).is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(pairs)} images have no label, the first is {missing[0]}")
    return pairs
