"""Types of command line flags; argparse shows what they raise."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def counted(least: int) -> Callable[[str], int]:
    """A whole number of at least `least`."""

    def count(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) < 2**31):
            raise ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return count


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ArgumentTypeError(f"{text!r} is no positive number")
    return value


def truth(text: str) -> bool:
    """True or False, as PaddleSeg's flags spell it."""
    if text.lower() not in ("true", "false"):
        raise ArgumentTypeError(f"{text!r} is neither True nor False")
    return text.lower() == "true"
