"""Stage 3: where a model is measured. One interface for a phone and for this machine.

A device moves files, runs commands, and reports its fixed properties (`info`) and its current condition (`state`).
The runner decides which program to run and reads its output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from paddleseg_lite.errors import DeviceError
from paddleseg_lite.process import Deadline, Finished
from paddleseg_lite.tensors import Tensor


@dataclass(frozen=True)
class Settings:
    """How a model is run: at least `repeats` counted runs that take at least `min_seconds`, all within `timeout_s`.

    `power_mode` is Paddle-Lite's (0 big cores, 1 little, 2 all, 3 unbound) and has an effect on ARM only.
    `affinity` is a mask of cores, `big`, `little`, or empty.
    """

    threads: int = 1
    warmup: int = 20
    repeats: int = 50
    min_seconds: float = 0.0
    timeout_s: float = 600.0
    power_mode: int = 0
    affinity: str = ""
    precision: str = "fp32"
    backend: str = ""


@dataclass(frozen=True)
class Measurement:
    """The times of one process, in milliseconds. `first_ms` is the time of its very first run.

    `series_ms` holds the counted runs in order. If the runtime prints only their mean, it holds this one number, and
    `runs`, `min_ms` and `max_ms` (of single runs) must be given; otherwise they are computed from the series.
    `cpu_per_wall` is processor time divided by wall time over the series (1.0: one thread, undisturbed), or None
    if the device does not report it.
    """

    init_ms: float
    first_ms: float
    series_ms: tuple[float, ...]
    outputs: tuple[Tensor, ...]
    runtime: str
    runtime_version: str
    cpu_per_wall: float | None = None
    runs: int = 0
    min_ms: float = 0.0
    max_ms: float = 0.0
    output_statistics: tuple[float | None, float | None] = (None, None)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.runs:
            object.__setattr__(self, "runs", len(self.series_ms))
            object.__setattr__(self, "min_ms", min(self.series_ms))
            object.__setattr__(self, "max_ms", max(self.series_ms))

    @property
    def counted_s(self) -> float:
        """Seconds that the counted runs took together."""
        return sum(self.series_ms) / len(self.series_ms) * self.runs / 1000


@dataclass(frozen=True)
class State:
    """The device's condition at one moment; values that it does not report are None.

    `temperature_c` is the hottest sensor near the processor, `thermal_status` is Android's (0 none, 1 light, 2
    moderate, …), `limits_khz` is the highest allowed frequency per core, and `facts` holds everything as text.
    """

    temperature_c: float | None = None
    thermal_status: int | None = None
    battery_percent: float | None = None
    limits_khz: dict[int, int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


class Device(ABC):
    """One place to measure on.

    Attributes:
        name: the name used in results: `host`, `adb`.
        identity: distinguishes this device from others of its kind.
        target: the value for opt's `--valid_targets`.
    """

    name: str
    identity: str
    target: str

    @abstractmethod
    def info(self) -> dict[str, str]:
        """Facts that do not change during a run: brand or processor, system, versions."""

    @abstractmethod
    def state(self, deadline: Deadline | None = None) -> State:
        """Values that change during a run: load, clock, temperature, battery."""

    @abstractmethod
    def push(self, local: Path, deadline: Deadline, name: str = "", executable: bool = False) -> str:
        """Copy a file to the device unless it is there already; returns its path there. `name` may hold a folder."""

    @abstractmethod
    def pull(self, remote: str, local: Path, deadline: Deadline) -> None:
        """Copy a file from the device, completely or not at all."""

    @abstractmethod
    def run(self, command: list[str], deadline: Deadline, cwd: str = "", env: dict[str, str] | None = None) -> Finished:
        """Run a program on the device; it and its child processes are killed when the deadline passes.

        Raises:
            DeviceTimeout, DeviceLost: how the program ended is unknown.
        """

    @abstractmethod
    def remove(self, remote: str) -> None:
        """Remove a file on the device; a missing file is no error."""

    @abstractmethod
    def workplace(self) -> str:
        """A folder on the device for the files a runner writes."""

    @abstractmethod
    def alive(self, timeout_s: float) -> bool:
        """True as soon as the device answers, False if it does not within `timeout_s` seconds."""

    @abstractmethod
    def affinity_mask(self, asked: str) -> int:
        """The mask of cores for `big`, `little` or a number such as 0xf0; 0 means all cores."""

    def bound_cores(self, power_mode: int, affinity: str) -> int | None:
        """How many cores Paddle-Lite's threads may use under these settings; None if unknown."""
        return None


def find_mask(asked: str, highest_khz: dict[int, int]) -> int:
    """The mask of cores that `asked` names: 0 for `all` or an empty text, or a number as it is.

    `little` is the cores with the lowest of `highest_khz` (kHz per core), `big` all other cores.

    Raises:
        DeviceError: the word is unknown, or the device does not report its cores' frequencies.
    """
    if asked in ("", "all"):
        return 0
    if asked not in ("big", "little"):
        try:
            return int(asked, 16) if asked.lower().startswith("0x") else int(asked)
        except ValueError:
            raise DeviceError(f"--affinity {asked}", "big, little, all, or a mask such as 0xf0") from None
    if not highest_khz:
        raise DeviceError(f"--affinity {asked}: the device does not tell its cores apart", "a mask such as 0xf0")
    slowest = min(highest_khz.values())
    little = [core for core, khz in highest_khz.items() if khz == slowest]
    chosen = little if asked == "little" else [core for core in highest_khz if core not in little] or little
    return sum(1 << core for core in chosen)
