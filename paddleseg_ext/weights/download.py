"""Fetching weights: resumed where they broke off, checked, and never half there."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import requests
from filelock import FileLock

from paddleseg_ext.errors import DownloadError
from paddleseg_ext.utils.logging import get_logger

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30


def is_url(text: str) -> bool:
    """Whether `text` names something to be fetched rather than a file."""
    return urlsplit(text).scheme in ("http", "https")


def cache_dir() -> Path:
    """Where fetched files are kept: $PADDLESEG_EXT_HOME, else ~/.cache/paddleseg_ext."""
    return Path(os.environ.get("PADDLESEG_EXT_HOME", Path.home() / ".cache" / "paddleseg_ext"))


def fetch_weights(url: str) -> Path:
    """The local copy of the file at `url`, fetched if it is not there yet.

    A fragment `#sha256=<hex>` is the checksum the file must have. The file appears only when complete:
    it is written beside its place, resumed by range request after a break, checked and then moved.

    Raises DownloadError when the server does not answer, refuses, or the checksum differs.
    """
    url, fragment = urldefrag(url)
    expected = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    # The whole URL makes the key: many released files are all called model.pdparams.
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    target = cache_dir() / "weights" / key / Path(urlsplit(url).path).name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            partial = target.with_name(target.name + ".part")
            get_logger().info("fetching %s", url)
            _download(url, partial)
            _check(url, partial, expected)
            partial.replace(target)
    return target


def _download(url: str, partial: Path) -> None:
    offset = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            if response.status_code == 416:  # nothing left to send: the part is complete
                return
            response.raise_for_status()
            mode = "ab" if response.status_code == 206 else "wb"
            with partial.open(mode) as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
            expected = response.headers.get("Content-Length")
            received = partial.stat().st_size - (offset if mode == "ab" else 0)
            if expected is not None and received != int(expected):
                raise DownloadError(f"{url} broke off after {received} of {expected} bytes; run again to resume")
    except requests.RequestException as error:
        raise DownloadError(
            f"cannot fetch {url}: {error}. Fetch it elsewhere and give its path, "
            "or train from scratch with --opts model.backbone.pretrained=None"
        ) from error


def _check(url: str, path: Path, expected: str | None) -> None:
    if path.read_bytes()[:32].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        path.unlink()
        raise DownloadError(f"{url} answered with a page, not with weights; check the address")
    if expected is None:
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != expected:
        path.unlink()
        raise DownloadError(f"{url} has SHA-256 {digest}, expected {expected}; the download was discarded")
