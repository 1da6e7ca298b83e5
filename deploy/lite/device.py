"""Stage 3: where a converted model is measured.

A device does the whole of one measurement: bring the files there, run, bring the output back, tidy up.
How (a phone has to push, run, pull and remove; this machine only starts a child) is its own affair,
so the rest of the tool sees nothing but this interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from errors import DeviceError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """How a model is run: `repeats` runs or more, `min_seconds` of them or more, all within `timeout_s`."""

    threads: int = 1
    warmup: int = 20
    repeats: int = 50
    min_seconds: float = 0.0
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Measurement:
    """What one process measured. `first_ms` is its very first run; `series_ms` the counted ones, in order.

    `cpu_per_wall` is the processor time used per wall time over the series (1.0: one thread, undisturbed),
    None where the device cannot tell. `outputs` keep the runtime's own dtypes.
    """

    init_ms: float
    first_ms: float
    series_ms: tuple[float, ...]
    outputs: tuple[np.ndarray, ...]
    runtime: str
    runtime_version: str
    cpu_per_wall: float | None = None


class Device(ABC):
    """One place to measure on.

    Attributes:
        name: as it stands in results, such as `host`.
        target: what opt's `--valid_targets` must be.
    """

    name: str
    target: str

    @abstractmethod
    def info(self) -> dict[str, str]:
        """Facts that do not change during a run: processor, system, versions."""

    @abstractmethod
    def state(self) -> dict[str, str]:
        """What may change between before and after: load here; clock, temperature, battery on a phone."""

    @abstractmethod
    def measure(self, nb_file: Path, input_array: np.ndarray, settings: Settings) -> Measurement:
        """Run `nb_file` in one fresh process on `input_array`.

        Raises:
            DeviceError: it crashed, gave no answer in time, or its answer is incomplete.
        """


def open_device(name: str) -> Device:
    """The device called `name`.

    Raises:
        DeviceError: there is none of that name, or it cannot be used.
    """
    if name == "host":
        from host import HostDevice  # here, for what only this device needs

        return HostDevice()
    raise DeviceError(f"no device named {name!r} in this version", "host, which measures on this machine")
