"""ADE20K in the layout of the SceneParsing benchmark (Zhou et al. 2017), real or made by `scenes`."""

from pathlib import Path

from paddleseg_ext.datasets.base import Pair, SegmentationDataset, check_files
from paddleseg_ext.registry import DATASETS, register
from paddleseg_ext_runtime.errors import ConfigError, DataError

_FOLDERS = {"train": "training", "val": "validation"}
_TREE = """  {root}
  ├── images/training/*.jpg        ├── annotations/training/*.png
  └── images/validation/*.jpg      └── annotations/validation/*.png"""


@register(DATASETS)
class ADE20K(SegmentationDataset):
    """150 classes. In the files 1 … 150 are the classes and 0 is ignored; in samples, 0 … 149 and 255.

    Args:
        dataset_root: the folder that holds `images` and `annotations`.
        mode: 'train' or 'val'.
        edge: whether training samples also carry a binary edge mask.

    Raises DataError when the folder is not such a data set or an image has no label. Nothing is downloaded.
    """

    NUM_CLASSES = 150
    IGNORE_INDEX = 255
    IMG_CHANNELS = 3
    zero_is_ignore = True

    def __init__(
        self,
        transforms: list,
        dataset_root: str = "data/ADEChallengeData2016",
        mode: str = "train",
        edge: bool = False,
    ):
        mode = mode.lower()
        if mode not in _FOLDERS:
            raise ConfigError(f"mode of ADE20K is {mode!r}; it must be 'train' or 'val'")
        pairs = _pairs(Path(dataset_root), _FOLDERS[mode])
        check_files(pairs)
        super().__init__(pairs, transforms, mode, self.NUM_CLASSES, self.IGNORE_INDEX, self.IMG_CHANNELS, edge)


def _pairs(root: Path, split: str) -> list[Pair]:
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
    return [(str(path), str(labels / f"{path.stem}.png")) for path in paths]
