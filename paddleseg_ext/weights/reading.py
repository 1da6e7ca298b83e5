"""Reads a checkpoint in any format, from a path or a URL, as tensors under PaddleSeg's names.

The first bytes decide the format: Paddle's pickle, torch's zip or older format, or an archive (.zip, .tar, .tar.gz,
as PaddleSeg publishes) that holds one .pdparams. Nothing is unpacked to disk.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import paddle

from paddleseg_ext.weights.atomic import replaced
from paddleseg_ext.weights.download import fetch_weights, is_url
from paddleseg_ext.weights.ignoring import Ignored
from paddleseg_ext.weights.mapping import torch_to_paddle
from paddleseg_ext.weights.pdparams import load_state, read_pdparams
from paddleseg_ext.weights.torch_file import LEGACY_MAGIC, is_torch_zip, read_torch
from paddleseg_ext_runtime.errors import CheckpointError
from paddleseg_ext_runtime.log import get_logger

SETTINGS_KEY = "paddleseg_ext.settings"  # PaddleSeg's loaders ignore this key: they look only for names they know
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
MAX_EXPANSION = 20  # weights shrink by a tenth when compressed


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by PaddleSeg's names, and the settings that their network was trained with.

    `settings` maps `sublayer.attribute` to its value; see `paddleseg_ext.weights.settings`. `ignored_names` are the
    ignored tensors of a torch file; see `paddleseg_ext.weights.mapping.Conversion`.
    """

    tensors: dict[str, np.ndarray]
    settings: dict[str, str] = field(default_factory=dict)
    ignored_names: frozenset[str] = frozenset()


def read_checkpoint(source: str | Path, ignored: Ignored | None = None) -> Checkpoint:
    """Reads .pdparams, .pth, or an archive with one .pdparams, from a path or a URL (`…#sha256=<hex>`).

    Weights of the three torch projects are converted, except the `ignored` ones. Raises DownloadError, or
    CheckpointError when the file is missing, has another format, or would run code when it is unpickled.
    """
    path = local_path(source)
    if is_torch(path):
        converted = torch_to_paddle(read_torch(path), source, ignored)
        get_logger().info("%s: converted from %s", source, converted.project.name)
        return Checkpoint(converted.tensors, converted.settings, converted.ignored_names)
    return _checked(_read_archive(path) if _is_archive(path) else read_pdparams(path), source)


def write_checkpoint(path: str | Path, tensors: Mapping[str, np.ndarray], settings: Mapping[str, str]) -> None:
    """Writes a .pdparams file in Paddle's layout; it appears complete or not at all.

    Raises ConfigError when `path` cannot be written.
    """
    state: dict[str, Any] = {name: paddle.to_tensor(value, place="cpu") for name, value in tensors.items()}
    with replaced(path) as temporary:
        paddle.save({**state, **({SETTINGS_KEY: dict(settings)} if settings else {})}, str(temporary))


def local_path(source: str | Path) -> Path:
    """The path of the file, which is fetched first if `source` is a URL."""
    return fetch_weights(str(source)) if is_url(str(source)) else Path(source)


def is_torch(path: Path) -> bool:
    """Whether the file is a checkpoint of torch; False if it does not exist."""
    head = _head(path)
    return LEGACY_MAGIC in head[:32] or (head.startswith(ZIP) and is_torch_zip(path))


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(512)


def _is_archive(path: Path) -> bool:
    head = _head(path)
    return head.startswith((ZIP, GZIP)) or head[257:262] == b"ustar"


def _read_archive(path: Path) -> dict[str, Any]:
    limit = MAX_EXPANSION * path.stat().st_size + (1 << 20)
    try:
        content = _member_of_zip(path, limit) if _head(path).startswith(ZIP) else _member_of_tar(path, limit)
    except CheckpointError:
        raise
    except Exception as error:  # damaged archives raise almost anything
        raise CheckpointError(f"{path} is not a readable archive: {error}") from error
    return load_state(io.BytesIO(content), path)


def _member_of_zip(path: Path, limit: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return _take(archive.open(_only_weights(archive.namelist(), path)), limit, path)


def _member_of_tar(path: Path, limit: int) -> bytes:
    # Unpacked first: tarfile would trust the length in a header, however large, and read so much.
    with path.open("rb") as file:
        content = _take(gzip.GzipFile(fileobj=file) if _head(path).startswith(GZIP) else file, limit, path)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members = [member.name for member in archive if member.isfile()]
        return _take(archive.extractfile(_only_weights(members, path)), limit, path)


def _only_weights(members: Sequence[str], path: Path) -> str:
    weights = [name for name in members if name.endswith(".pdparams") and not Path(name).name.startswith("._")]
    if len(weights) != 1:
        holds = ", ".join(weights or sorted(members)[:5]) or "nothing"
        raise CheckpointError(f"{path} holds {holds}; an archive of weights holds one .pdparams")
    return weights[0]


def _take(file: BinaryIO, limit: int, path: Path) -> bytes:
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CheckpointError(f"{path} unpacks to more than {limit:,} bytes; weights never do")
    return content


def _checked(state: dict[str, Any], source: str | Path) -> Checkpoint:
    settings = state.pop(SETTINGS_KEY, {})
    if not (isinstance(settings, dict) and all(isinstance(text, str) for pair in settings.items() for text in pair)):
        raise CheckpointError(f"{source} holds settings that cannot be read under {SETTINGS_KEY}")
    for name, value in state.items():
        if not isinstance(value, np.ndarray):
            raise CheckpointError(f"{source} holds a {type(value).__name__} under {name}, weights are tensors")
    return Checkpoint(state, settings)
