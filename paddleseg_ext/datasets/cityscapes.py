"""Cityscapes (Cordts et al. 2016) in the layout of its archives, real or made by `scenes`."""

from pathlib import Path

from paddleseg_ext.datasets.base import Pair, SegmentationDataset
from paddleseg_ext.registry import DATASETS, register
from paddleseg_ext_runtime.errors import ConfigError, DataError

_MODES = ("train", "val", "test")
_IMAGE, _LABEL, _RAW_LABEL = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
_TREE = """  {root}
  ├── leftImg8bit/{mode}/<city>/*_leftImg8bit.png
  └── gtFine/{mode}/<city>/*_gtFine_labelTrainIds.png"""
_CONVERT = (
    "Make the labelTrainIds with: pip install cityscapesscripts && CITYSCAPES_DATASET={root} csCreateTrainIdLabelImgs"
)


@register(DATASETS)
class Cityscapes(SegmentationDataset):
    """19 classes, labelled by training numbers (labelTrainIds); 255 is ignored.

    Images and labels are paired by city and name, never by their order. The lists beside the folders (train.list, …)
    are not needed.

    Args:
        dataset_root: the folder that holds `leftImg8bit` and `gtFine`.
        mode: 'train', 'val' or 'test'; in 'test' all labels may be absent.
        edge: whether training samples also carry a binary edge mask.

    Raises DataError when the folder is not such a data set, or an image or a label has no partner.
    """

    NUM_CLASSES = 19
    IGNORE_INDEX = 255
    IMG_CHANNELS = 3

    def __init__(
        self, transforms: list, dataset_root: str = "data/cityscapes", mode: str = "train", edge: bool = False
    ):
        mode = mode.lower()
        if mode not in _MODES:
            raise ConfigError(f"mode of Cityscapes is {mode!r}; it must be one of {', '.join(_MODES)}")
        pairs = _pairs(Path(dataset_root), mode)
        super().__init__(pairs, transforms, mode, self.NUM_CLASSES, self.IGNORE_INDEX, self.IMG_CHANNELS, edge)


def _pairs(root: Path, mode: str) -> list[Pair]:
    """(image, label) paths in the order of city and name."""
    images, labels = _named(root / "leftImg8bit" / mode, _IMAGE), _named(root / "gtFine" / mode, _LABEL)
    if not images:
        raise DataError(
            f"no Cityscapes data set at {root}: {root / 'leftImg8bit' / mode} holds no <city>/*{_IMAGE}. Needed:\n"
            f"{_TREE.format(root=root, mode=mode)}\n"
            "Give its place with --opts train_dataset.dataset_root=… val_dataset.dataset_root=…, or make a "
            "small one with: python tools/make_scenes.py --layout cityscapes --save_dir data/drawn_cityscapes"
        )
    if mode == "test" and not labels:
        return [(str(path), None) for path in images.values()]
    without_label = [name for name in images if name not in labels]
    if without_label:
        first = root / "gtFine" / mode / f"{without_label[0]}{_LABEL}"
        has_raw = first.with_name(first.name.replace(_LABEL, _RAW_LABEL)).is_file()
        raise DataError(
            f"{len(without_label)} of {len(images)} images of {root / 'leftImg8bit' / mode} have no label, the first "
            f"that is missing is {first}" + (f". {_CONVERT.format(root=root)}" if has_raw else "")
        )
    without_image = [name for name in labels if name not in images]
    if without_image:
        first = root / "leftImg8bit" / mode / f"{without_image[0]}{_IMAGE}"
        raise DataError(
            f"{len(without_image)} of {len(labels)} labels of {root / 'gtFine' / mode} have no image, the first "
            f"that is missing is {first}"
        )
    return [(str(path), str(labels[name])) for name, path in images.items()]


def _named(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of all cities that end in `suffix`, by `<city>/<name without suffix>`, in order."""
    paths = sorted(folder.glob(f"*/*{suffix}"))
    return {f"{path.parent.name}/{path.name.removesuffix(suffix)}": path for path in paths}
