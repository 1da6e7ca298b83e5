"""Writing a file so that it appears complete or not at all."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paddleseg_ext_runtime.errors import ConfigError


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; it is renamed to `path` when the block ends without an error.

    Raises ConfigError when the disk is full or not writable; the old file at `path` is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ConfigError(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
