"""Prints where an interpreter keeps what deploy/cpp builds from, one NAME=value a line. Imports none of it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path


def folder_of(package: str) -> Path | None:
    """The folder of an installed package, found without importing it."""
    spec = util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def shared_python() -> Path | None:
    """The interpreter as a shared library: libpaddle.so is an extension module and takes Python's symbols from it."""
    name = str(sysconfig.get_config_var("INSTSONAME") or "")
    # Relocatable interpreters name the folder they were built for.
    folders = [sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"]
    found = [Path(folder) / name for folder in folders if folder and ".so" in name and (Path(folder) / name).is_file()]
    return found[0] if found else None


def facts() -> Iterator[tuple[str, object]]:
    """What is there; a name that is not printed is missing."""
    yield "PYTHON_LIBRARY", shared_python()
    paddle = folder_of("paddle")
    if paddle and (paddle / "base" / "libpaddle.so").is_file():
        yield "PADDLE", paddle
        yield "PADDLE_VERSION", metadata.version("paddlepaddle")
    openvino = folder_of("openvino")
    if openvino:
        yield "OPENVINO_CMAKE", openvino / "cmake"


if __name__ == "__main__":
    for key, value in facts():
        if value is not None:
            print(f"{key}={value}")
