"""Reads results that `deploy/lite/benchmark.py` measured on another device, and attaches them to their rows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_tools.comparison.rows import System
from paddleseg_lite.errors import LiteError
from paddleseg_lite.result import Result

# The keys for a device's own name; the first key that a result has is used.
NAMES = ("Model", "Device", "Host CPU")


def attach_phone_results(systems: Sequence[System], folder: str | Path) -> None:
    """Fills `phone` of each system that a result in `folder` (JSON files, sought below it) belongs to.

    A result belongs to a system when its model has the system's slug, as exports in `models/` are named, or the name
    of the config and the same output op. Of several with the same conditions the last counts: a valid one, the newest.
    Raises DataError when there is no result at all or a file is not one.
    """
    results = [_read(path) for path in sorted(Path(folder).rglob("*.json"))]
    results = [result for result in results if result is not None]
    if not results:
        raise DataError(f"no result of deploy/lite/benchmark.py in {folder}; --phone_results takes its --json_dir")
    for result in sorted(results, key=lambda result: (result["valid"], result["measured_at"])):
        owners = [system for system in systems if _belongs(result, system)]
        for system in owners:
            system.phone.append(result)
        if not owners:
            get_logger().warning("phone result of %s, %s: no row has it", result["model"], result["output_op"])


def _belongs(result: dict[str, Any], system: System) -> bool:
    name = result["model"]
    return name == system.slug or (name == system.config.stem and result["output_op"] == system.output_op)


def _read(path: Path) -> dict[str, Any] | None:
    """The values of one file with the name of its column; None for a measurement on this kind of machine, `host`."""
    try:
        result = Result.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LiteError) as error:
        raise DataError(f"{path} is no result of deploy/lite/benchmark.py ({error!r})") from error
    if result.device == "host":
        return None
    name = next((result.device_facts[key] for key in NAMES if result.device_facts.get(key)), result.device)
    threads = f"{result.threads} thread{'s' if result.threads != 1 else ''}"
    precision = "" if result.precision in ("fp32", "as converted") else f", {result.precision}"
    return {**dataclasses.asdict(result), "column": f"Paddle-Lite on {name}, {threads}{precision}"}
