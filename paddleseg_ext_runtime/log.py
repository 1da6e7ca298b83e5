"""The package's logger: one line a message on standard error."""

import logging
import sys
from typing import TextIO

_NAME = "paddleseg_ext"


class _StandardError(logging.StreamHandler):
    """Writes to what sys.stderr is at the moment, also when something redirects it later."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """StreamHandler sets it when it is made."""


def get_logger() -> logging.Logger:
    """The package's logger, given a handler at first use unless the application gave it one.

    It does not propagate: paddle puts a handler on the root logger that would repeat or swallow lines.
    """
    logger = logging.getLogger(_NAME)
    if not logger.handlers:
        handler = _StandardError()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger
