"""What goes wrong on the test phone, and how often.

A fault is armed with the place it acts on: part of a shell command for shell faults, part of a path for sync
faults. It acts `times` times (-1: always) and is then spent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

SHELL = {
    "drop": "the connection breaks while the command runs",
    "drop_late": "the connection breaks after the output, before the exit code",
    "no_exit": "the stream ends properly without an exit code and without the last line",
    "truncated": "half of the output arrives, and exit code 0",
    "garbage": "other bytes arrive instead of the output, and exit code 0",
    "hang": "nothing ever arrives",
    "refuse": "the service cannot be opened",
    "restart": "the daemon goes away for a second and comes back",
    "vanish": "the daemon goes away for good",
}
SYNC = {
    "drop": "the connection breaks in the middle of the file; what arrived stays there",
    "full": "no space left on device, said after the last byte",
    "short": "half of the file is written, and success is claimed",
    "flip": "one byte arrives changed, and success is claimed",
    "readonly": "read-only file system",
    "hang": "nothing ever arrives",
    "vanish": "the daemon goes away for good in the middle of the file",
}


@dataclass
class Fault:
    """`kind` is a key of SHELL, or `push_` or `pull_` and a key of SYNC."""

    kind: str
    where: str = ""
    times: int = -1
    hits: int = 0


class Faults:
    """The armed faults of one phone. Safe to ask from several threads."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._lock = threading.Lock()

    def arm(self, kind: str, where: str = "", times: int = -1) -> Fault:
        verb, _, rest = kind.partition("_")
        assert kind in SHELL or (verb in ("push", "pull") and rest in SYNC), kind
        fault = Fault(kind, where, times)
        with self._lock:
            self._armed.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def hit(self, prefix: str, subject: str) -> str:
        """The kind of the fault that acts now on `subject`, without its `prefix`; empty for none."""
        with self._lock:
            for fault in self._armed:
                mine = fault.kind.startswith(prefix) if prefix else fault.kind in SHELL
                if mine and fault.where in subject and fault.hits != fault.times:
                    fault.hits += 1
                    return fault.kind[len(prefix) :]
        return ""
