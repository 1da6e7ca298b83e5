"""What a report says of the machine and of what is installed on it."""

import os
import platform
from importlib import metadata
from pathlib import Path


def package_version(package: str) -> str:
    """The version of an installed package, or that there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The name of the processor, or its architecture where the system gives no name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return names[0] if names else platform.machine()


def facts() -> dict[str, str]:
    """The processor, the cores that this process may use, the system and Python."""
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"
    system = {"OS": platform.platform(), "Python": platform.python_version()}
    return {"Host CPU": processor(), "Cores": cores, **system}
