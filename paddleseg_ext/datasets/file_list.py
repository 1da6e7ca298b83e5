"""The user's own data set: lists of image and label files, as PaddleSeg's `type: Dataset` reads them."""

from os.path import commonprefix
from pathlib import Path

from paddleseg_ext.datasets.base import Pair, SegmentationDataset, check_files
from paddleseg_ext.registry import DATASETS, register
from paddleseg_ext_runtime.errors import ConfigError, DataError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.reading import IGNORE


@register(DATASETS)
class Dataset(SegmentationDataset):
    """Images and labels listed in a text file, one pair per line: `image1.jpg label1.png`, below `dataset_root`.

    Args:
        mode: 'train', 'val' or 'test'; chooses `train_path`, `val_path` or `test_path`. A test list may name
            images without labels.
        separator: the text between the two names; set another one if names contain blanks.

    Labels are class numbers from 0 and `ignore_index`. Raises ConfigError for impossible settings, DataError for a
    wrong line of a list or a missing file.
    """

    def __init__(
        self,
        mode: str,
        dataset_root: str,
        transforms: list,
        num_classes: int,
        img_channels: int = 3,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        separator: str = " ",
        ignore_index: int = IGNORE,
        edge: bool = False,
    ):
        lists = {"train": train_path, "val": val_path, "test": test_path}
        mode = mode.lower()
        if mode not in lists:
            raise ConfigError(f"mode of Dataset is {mode!r}; it must be one of {', '.join(lists)}")
        if lists[mode] is None:
            raise ConfigError(f"Dataset in mode {mode!r} needs {mode}_path, a text file of images and labels")
        if img_channels not in (1, 3):
            raise ConfigError(f"img_channels of Dataset is {img_channels}; it must be 1 or 3")
        if not Path(dataset_root).is_dir():
            section = "train_dataset" if mode == "train" else "val_dataset"
            raise DataError(
                f"no data set at {dataset_root}; give the folder and its list with "
                f"--opts {section}.dataset_root=… {section}.{mode}_path=…"
            )
        pairs = read_list(Path(lists[mode]), Path(dataset_root), separator, needs_labels=mode != "test")
        check_files(pairs)
        _check_names(Path(lists[mode]), pairs)
        super().__init__(pairs, transforms, mode, num_classes, ignore_index, img_channels, edge)


def read_list(path: Path, root: Path, separator: str, needs_labels: bool) -> list[Pair]:
    """The pairs in a list file; blank lines are skipped. Raises DataError with the wrong line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list {path}: {error}") from error
    pairs: list[Pair] = []
    for number, line in enumerate(lines, start=1):
        names = line.strip().split(separator) if line.strip() else []
        if len(names) == 2:
            pairs.append((str(root / names[0]), str(root / names[1])))
        elif len(names) == 1 and not needs_labels:
            pairs.append((str(root / names[0]), None))
        elif names:
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} is not an image and a label with {separator!r} between; "
                "for names with blanks write another separator, and set `separator` in the data set"
            )
    if not pairs:
        raise DataError(f"the list {path} names no image")
    return pairs


def _check_names(path: Path, pairs: list[Pair]) -> None:
    """Looks for images that are paired with the label of another image, as in a list that is shifted.

    Raises DataError if most are; a few may be intended, so they only give a warning.
    """
    named = [(Path(image).stem, Path(label).stem) for image, label in pairs if label is not None]
    images = {image for image, _ in named}
    if images.isdisjoint(label for _, label in named):  # labels may have a suffix of their own, as CamVid's have
        suffix = commonprefix([label[::-1] for _, label in named])  # noqa: RUF071  of names, not of paths
        named = [(image, label[: len(label) - len(suffix)]) for image, label in named]
    crossed = [(image, label) for image, label in named if image != label and label in images]
    if not crossed:
        return
    image, label = crossed[0]
    message = (
        f"{path} pairs {len(crossed)} of {len(named)} images with the label of another one, by name; "
        f"the first is {image} with {label}"
    )
    if len(crossed) * 2 > len(named):
        raise DataError(f"{message}. The lists seem shifted against each other: write each image beside its own label")
    get_logger().warning("%s", message)
