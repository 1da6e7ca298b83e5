"""Stage 3: where a model is measured. One interface for a phone and for this machine.

A device moves files and runs commands, and says what it is (`info`) and how it is at the moment (`state`).
What is run there, and how its answer is read, is the runner's affair.
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
    """How a model is run: `repeats` runs or more, `min_seconds` of them or more, all within `timeout_s`.

    `power_mode` is Paddle-Lite's (0 big cores, 1 little, 2 all, 3 unbound) and acts on ARM only; `affinity`
    is a mask of cores, `big`, `little`, or empty.
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
    """What one process measured, in milliseconds. `first_ms` is its very first run.

    `series_ms` holds the counted runs in order, or, where the runtime prints no more, one number: the mean of
    `runs` runs. `min_ms` and `max_ms` are of single runs in both cases. `cpu_per_wall` is the processor time
    used per wall time over the series (1.0: one thread, undisturbed), None where the device cannot tell.
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
    """How the device is at one moment; None where it does not say.

    `temperature_c` is the hottest sensor near the processor, `thermal_status` Android's (0 none, 1 light, 2
    moderate, …), `limits_khz` the highest allowed frequency by core, `facts` everything as text.
    """

    temperature_c: float | None = None
    thermal_status: int | None = None
    battery_percent: float | None = None
    limits_khz: dict[int, int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


class Device(ABC):
    """One place to measure on.

    Attributes:
        name: as it stands in results: `host`, `adb`.
        identity: tells this device from others of its kind.
        target: what opt's `--valid_targets` must be.
    """

    name: str
    identity: str
    target: str

    @abstractmethod
    def info(self) -> dict[str, str]:
        """Facts that do not change during a run: brand or processor, system, versions."""

    @abstractmethod
    def state(self, deadline: Deadline | None = None) -> State:
        """What may change between before and after: load, clock, temperature, battery."""

    @abstractmethod
    def push(self, local: Path, deadline: Deadline, name: str = "", executable: bool = False) -> str:
        """Bring a file there and return its path there; one that is there already stays. `name` may hold a folder."""

    @abstractmethod
    def pull(self, remote: str, local: Path, deadline: Deadline) -> None:
        """Bring a file back, whole or not at all."""

    @abstractmethod
    def run(self, command: list[str], deadline: Deadline, cwd: str = "", env: dict[str, str] | None = None) -> Finished:
        """Run a program there; what it started ends with it when the deadline passes.

        Raises:
            DeviceTimeout, DeviceLost: it is not known how the program ended.
        """

    @abstractmethod
    def remove(self, remote: str) -> None:
        """Remove a file there; no error if there is none."""

    @abstractmethod
    def workplace(self) -> str:
        """A folder there for what a runner writes."""

    @abstractmethod
    def alive(self, timeout_s: float) -> bool:
        """True as soon as the device answers, False when it did not within `timeout_s` seconds."""

    @abstractmethod
    def affinity_mask(self, asked: str) -> int:
        """The mask of cores that `big`, `little` or a number such as 0xf0 means here; 0 for all."""

    def bound_cores(self, power_mode: int, affinity: str) -> int | None:
        """How many cores Paddle-Lite's threads may use under these settings; None where this is not known."""
        return None


def parse_mask(asked: str) -> int | None:
    """A mask given as a number, 0 for `all` or nothing, None for a word."""
    if asked in ("", "all"):
        return 0
    try:
        return int(asked, 16) if asked.lower().startswith("0x") else int(asked)
    except ValueError:
        return None


def find_mask(asked: str, highest_khz: dict[int, int]) -> int:
    """`big`: every core above the slowest cluster; `little`: the slowest cluster; both of `highest_khz` by core.

    Raises:
        DeviceError: the word is unknown, or the device does not tell its cores' frequencies.
    """
    given = parse_mask(asked)
    if given is not None:
        return given
    if asked not in ("big", "little"):
        raise DeviceError(f"--affinity {asked}", "big, little, all, or a mask such as 0xf0")
    if not highest_khz:
        raise DeviceError(f"--affinity {asked}: the device does not tell its cores apart", "a mask such as 0xf0")
    slowest = min(highest_khz.values())
    little = [core for core, khz in highest_khz.items() if khz == slowest]
    chosen = little if asked == "little" else [core for core in highest_khz if core not in little] or little
    return sum(1 << core for core in chosen)
