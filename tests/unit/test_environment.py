"""`check()` under a wrong Python, numpy 2, a machine without libGL: one line, with its cure."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


def load_environment() -> ModuleType:
    """environment.py by its path: importable alone, without the package around it."""
    spec = importlib.util.spec_from_file_location("lone_environment", ROOT / "paddleseg_ext" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environment = load_environment()


class RefusingFinder:
    """Makes `import cv2` raise, as the loader does when a shared library is missing."""

    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "cv2":
            raise self.error


def failure_line() -> str:
    with pytest.raises(ImportError) as caught:
        environment.check()
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def fake_numpy(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = ModuleType("numpy")
    module.__version__ = version
    monkeypatch.setitem(sys.modules, "numpy", module)


def refuse_cv2(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [RefusingFinder(error), *sys.meta_path])


def test_this_environment_passes() -> None:
    environment.check()


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 9, 1), (3, 14, 0), (4, 0, 0)])
def test_wrong_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (*version, "final", 0))
    line = failure_line()
    assert f"Python {version[0]}.{version[1]} found" in line
    assert "needs 3.10 to 3.13" in line
    assert "make setup" in line


@pytest.mark.parametrize("version", ["2.1.0", "2.0.0rc1", "10.0"])
def test_numpy_of_another_abi(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    fake_numpy(monkeypatch, version)
    monkeypatch.setattr(environment, "_paddle_version", lambda: "2.6.2")
    line = failure_line()
    assert f"numpy {version} found, paddlepaddle 2.6.2 needs numpy<2" in line
    assert line.endswith(f'{sys.executable} -m pip install "numpy==1.26.4"')


def test_paddle_3_takes_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_numpy(monkeypatch, "2.5.5")
    monkeypatch.setattr(environment, "_paddle_version", lambda: "3.3.1")
    environment._check_numpy()


def test_numpy_1_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_numpy(monkeypatch, "1.23.0")
    environment._check_numpy()


@pytest.mark.parametrize(
    ("paddle", "remedy"), [("2.6.2", '"numpy==1.26.4"'), ("", '"numpy==1.26.4"'), ("3.3.1", "numpy")]
)
def test_missing_numpy(monkeypatch: pytest.MonkeyPatch, paddle: str, remedy: str) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(environment, "_paddle_version", lambda: paddle)
    assert failure_line().endswith(f"pip install {remedy}")


def test_missing_libgl(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_cv2(monkeypatch, ImportError(LIBGL))
    line = failure_line()
    assert LIBGL in line
    assert "pip uninstall -y opencv-python && " in line
    assert "opencv-python-headless==4.11.0.86" in line


def test_missing_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_cv2(monkeypatch, ModuleNotFoundError("No module named 'cv2'"))
    line = failure_line()
    assert "No module named 'cv2'" in line
    assert "uninstall" not in line


def test_of_several_lines_the_first_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_cv2(monkeypatch, ImportError("first cause\nsecond line\nthird line"))
    line = failure_line()
    assert "first cause" in line
    assert "second line" not in line


def test_the_pins_named_are_those_of_requirements() -> None:
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"numpy=={environment.NUMPY} " in pinned
    assert f"opencv-python-headless=={environment.OPENCV} " in pinned


def test_imports_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); "
        f"sys.path.insert(0, {str(ROOT / 'paddleseg_ext')!r}); import environment; "
        "print(sorted({'numpy', 'cv2', 'paddle', 'paddleseg'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def command(args: list[str], path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the console entry in a child whose PYTHONPATH begins with `path`."""
    env = {**os.environ, "PYTHONPATH": str(path)} if path else None
    return subprocess.run(
        [sys.executable, "-m", "paddleseg_ext_tools", *args],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("numpy", "__version__ = '2.1.0'", "numpy 2.1.0 found"),
        ("cv2", f"raise ImportError({LIBGL!r})", "libGL.so.1"),
    ],
)
@pytest.mark.parametrize("tool", ["val", "compare", "benchmark_export"])
def test_the_command_line_prints_that_line_alone(
    tmp_path: Path, tool: str, module: str, source: str, expected: str
) -> None:
    """The real tool and library, under a fake numpy or cv2 on PYTHONPATH."""
    (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
    done = command([tool, "--config", "any.yml"], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert expected in done.stderr


def test_help_and_unknown_commands() -> None:
    assert "train" in command(["--help"]).stdout
    wrong = command(["tran"])
    assert wrong.returncode == 2
    assert wrong.stderr == "paddleseg-ext: no command `tran`; did you mean `train`?\n"
    assert command([]).returncode == 2
