"""Fetches weights. A broken download is resumed; a file is checked before it appears in the cache."""

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urldefrag, urlsplit

import requests
from filelock import FileLock

from paddleseg_ext_runtime.errors import DownloadError
from paddleseg_ext_runtime.log import get_logger

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30


def is_url(text: str) -> bool:
    """Whether `text` is a URL and not the path of a file."""
    return text.lower().startswith(("http://", "https://"))


def cache_dir() -> Path:
    """The folder of fetched files: $PADDLESEG_EXT_HOME, else ~/.cache/paddleseg_ext."""
    return Path(os.environ.get("PADDLESEG_EXT_HOME", Path.home() / ".cache" / "paddleseg_ext"))


def fetch_weights(url: str) -> Path:
    """The local copy of the file at `url`, fetched if it is not there yet.

    A fragment `#sha256=<hex>` is the checksum that the file must have, even if it was fetched earlier. The download
    goes to a temporary file, is resumed by range request after a break, checked, and then moved to its place, where
    it replaces a file with another checksum.

    Raises DownloadError when the server does not answer, refuses, or the checksum differs.
    """
    try:
        address, fragment = urldefrag(url)
        name = PurePosixPath(urlsplit(address).path).name.strip(".") or "weights"
        if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
            raise DownloadError(f"{url}: a checksum is given as #sha256= and 64 hexadecimal digits")
        # The whole URL makes the key: many released files are all called model.pdparams.
        folder = cache_dir() / "weights" / hashlib.sha256(address.encode()).hexdigest()[:16]
        return _fetch(address, folder / name, fragment.removeprefix("sha256=").lower() or None)
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(
            f"cannot fetch {url}: {error}. Fetch it elsewhere and give its path, "
            "or train from scratch with --opts model.backbone.pretrained=None"
        ) from error
    except OSError as error:
        raise DownloadError(f"cannot keep {url} in {cache_dir()}: {error.strerror or error}") from error


def _fetch(url: str, target: Path, expected: str | None) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        # A cached file with another checksum stays until a new one has passed the check: the checksum may be mistyped.
        if not (target.exists() and expected in (None, _digest(target))):
            get_logger().info("fetching %s", url)
            partial = target.with_name(target.name + ".part")
            _download(url, partial)
            _check(url, partial, expected)
            partial.replace(target)
            partial.with_name(f"{partial.name}.etag").unlink(missing_ok=True)
    return target


def _download(url: str, partial: Path) -> None:
    """Appends the missing bytes to `partial`, or starts again if the server sends another range or file."""
    offset = partial.stat().st_size if partial.exists() else 0
    tag = partial.with_name(f"{partial.name}.etag")
    # A compressed answer would have another length than Content-Length says.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text()  # if the file has changed, the server sends all of it
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        content_range = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if offset and response.status_code == 416 and content_range and content_range[2] == str(offset):
            return  # the partial file is already complete
        is_rest = bool(response.status_code == 206 and content_range and content_range[1] == str(offset))
        if offset and response.status_code in (206, 416) and not is_rest:
            partial.unlink()  # it belongs to another file, or this server cannot resume it
            return _download(url, partial)
        response.raise_for_status()
        if not is_rest:
            _remember(tag, response.headers.get("ETag", ""))
        with partial.open("ab" if is_rest else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
        expected = response.headers.get("Content-Length")
        received = partial.stat().st_size - (offset if is_rest else 0)
        if expected is not None and received != int(expected):
            raise DownloadError(f"{url} broke off after {received} of {expected} bytes; run again to resume")


def _remember(tag: Path, etag: str) -> None:
    if etag.startswith('"'):  # a weak tag (W/"…") does not promise equal bytes
        tag.write_text(etag)
    else:
        tag.unlink(missing_ok=True)


def _check(url: str, path: Path, expected: str | None) -> None:
    with path.open("rb") as file:
        head = file.read(64)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        path.unlink()
        raise DownloadError(f"{url} answered with a page, not with weights; check the address")
    digest = _digest(path) if expected else None
    if digest != expected:
        path.unlink()
        raise DownloadError(f"{url} has SHA-256 {digest}, expected {expected}; the download was discarded")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
