"""Progress of long loops: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track as rich_track

from paddleseg_ext_runtime.log import get_logger

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Yields `items` and shows how many of `total` are done."""
    if sys.stderr.isatty():
        yield from rich_track(items, description=label, total=total, transient=True)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - last > SECONDS_BETWEEN_LINES:
            last, left = now, (now - started) * (total - done) / done
            get_logger().info("%s: %d of %d, about %s left", label, done, total, duration(left))
        yield item


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
