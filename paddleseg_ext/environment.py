"""Checks that paddleseg_ext can run in this interpreter. An error is one line with the cause and the command to fix it.

`paddleseg_ext/__init__.py` calls `check()` before it imports paddle. Paddle's own errors with a wrong numpy or without
libGL are forty lines long and do not name the cause. This file imports only the standard library at the top, older
Pythons can parse it, and it changes nothing global.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import shlex
import sys

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
NUMPY = "1.26.4"
OPENCV = "4.11.0.86"

_NUMPY = f'install "numpy=={NUMPY}"'
_OPENCV = f'install --force-reinstall --no-deps "opencv-python-headless=={OPENCV}"'


class UnsuitableEnvironmentError(ImportError):
    """Raised by `check()`. The message is one line; the command line prints it without a traceback."""


def check() -> None:
    """Check the Python version, then that numpy suits the installed Paddle, then that OpenCV loads.

    Raises:
        UnsuitableEnvironmentError: its one line names the found and the needed version, and the command that
            repairs the environment.
    """
    _check_python()
    _check_numpy()
    _check_opencv()


def _check_python() -> None:
    version = tuple(sys.version_info[:2])
    if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        raise UnsuitableEnvironmentError(
            f"Python {version[0]}.{version[1]} found ({sys.executable}), paddleseg_ext needs 3.10 to 3.13: "
            "`make setup` in a checkout, or python3.10 -m venv .venv"
        )


def _check_numpy() -> None:
    paddle = _paddle_version()
    try:
        numpy = importlib.import_module("numpy")
    except ImportError as error:
        remedy = "install numpy" if paddle.startswith("3.") else _NUMPY
        raise UnsuitableEnvironmentError(
            f"numpy cannot be imported ({_first_line(error)}), paddleseg_ext needs it: {_pip(remedy)}"
        ) from None
    if int(numpy.__version__.split(".")[0]) >= 2 and paddle.startswith("2."):
        raise UnsuitableEnvironmentError(
            f"numpy {numpy.__version__} found, paddlepaddle {paddle} needs numpy<2, because it breaks with 2: "
            f"{_pip(_NUMPY)}"
        )


def _paddle_version() -> str:
    """The installed version, without importing paddle, which would fail first; empty if there is none."""
    for name in ("paddlepaddle", "paddlepaddle-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _check_opencv() -> None:
    try:
        importlib.import_module("cv2")
    except ModuleNotFoundError as error:
        raise UnsuitableEnvironmentError(
            f"OpenCV cannot be imported ({_first_line(error)}), paddleseg_ext needs opencv-python-headless "
            f"{OPENCV}: {_pip(_OPENCV)}"
        ) from None
    except ImportError as error:
        raise UnsuitableEnvironmentError(
            f"OpenCV does not load here ({_first_line(error)}); the headless build needs no libGL or other "
            f"display library: {_pip('uninstall -y opencv-python')} && {_pip(_OPENCV)}"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _pip(arguments: str) -> str:
    """The command for this interpreter, as a shell takes it."""
    return f"{shlex.quote(sys.executable or 'python')} -m pip {arguments}"
