"""The pictures a command line names: one, a folder with all below it, or a list."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paddleseg_ext_runtime.errors import DataError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Picture:
    """One picture to predict, and the name of its results below the folder they go to."""

    path: Path
    name: Path

    @property
    def mask(self) -> Path:
        """The name of its label map."""
        return self.name.with_suffix(".png")


def list_pictures(path: str | Path) -> list[Picture]:
    """The pictures that `--image_path` names: a file, a folder with all below it, or a text file of paths.

    Paths in a text file are relative to it; what follows the first blank on a line is a label, and ignored.
    Raises DataError when nothing is there, or when two would write the same mask.
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
    _check_masks(pictures)
    return pictures


def _check_masks(pictures: Sequence[Picture]) -> None:
    seen: dict[Path, Path] = {}
    for picture in pictures:
        if (other := seen.setdefault(picture.mask, picture.path)) is not picture.path:
            raise DataError(f"{other} and {picture.path} would both give the mask {picture.mask}; rename one")


def _from_list(path: Path) -> list[Picture]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        # A name may hold blanks; otherwise what follows the first one is a label's.
        names = [line if (path.parent / line).is_file() else line.split()[0] for line in lines if line]
        if any("\0" in name for name in names):
            raise ValueError("a 0 in a name")
    except (UnicodeDecodeError, ValueError, OSError) as error:  # a line too long for a name, or with a 0 in it
        raise DataError(f"{path} is neither an image nor a text file of image paths") from error
    for name in names:
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{path} names {name}, which is no image (by its ending)")
    return [_listed(path.parent, Path(name)) for name in names]


def _listed(folder: Path, path: Path) -> Picture:
    """Results keep the folders of a relative path; those of any other would land outside of `save_dir`."""
    is_inside = not path.is_absolute() and ".." not in path.parts
    return Picture(folder / path, path if is_inside else Path(path.name))


@contextmanager
def left_out(count: int) -> Iterator[list[str]]:
    """Collects what was wrong with some of `count` pictures, and raises it as one DataError at the end."""
    failures: list[str] = []
    yield failures
    if failures:
        raise DataError(f"{len(failures)} of {count} images were left out:\n" + "\n".join(failures))
