"""`resource()` finds what ships, in a checkout and in an installed package, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "paddleseg_ext_tools" / "paths.py"


def paths_at(folder: Path) -> ModuleType:
    """A copy of paddleseg_ext_tools/paths.py, loaded from `folder`."""
    folder.mkdir(parents=True)
    copy = folder / "paths.py"
    copy.write_bytes(SOURCE.read_bytes())
    spec = importlib.util.spec_from_file_location("lone_paths", copy)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", encoding="utf-8")
    return path


def test_in_a_checkout(tmp_path: Path) -> None:
    put(tmp_path / "setup.py")
    config = put(tmp_path / "configs" / "m" / "a.yml")
    assert paths_at(tmp_path / "paddleseg_ext_tools").resource("configs/m/a.yml") == config


def test_installed(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "paddleseg_ext_tools"
    put(tmp_path / "site-packages" / "configs" / "m" / "a.yml")  # another project's: not ours
    paths = paths_at(package)
    script = put(package / "deploy" / "lite" / "benchmark.sh")
    assert paths.resource("deploy/lite/benchmark.sh") == script
    with pytest.raises(FileNotFoundError, match=r"configs/m/a\.yml: no such file"):
        paths.resource("configs/m/a.yml")


@pytest.mark.parametrize("relative", ["setup.py", "configs/../setup.py", "deploy/other.py", "/etc/passwd", ""])
def test_only_what_ships(tmp_path: Path, relative: str) -> None:
    put(tmp_path / "setup.py")
    put(tmp_path / "deploy" / "other.py")
    with pytest.raises(FileNotFoundError):
        paths_at(tmp_path / "paddleseg_ext_tools").resource(relative)
