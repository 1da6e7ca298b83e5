"""Shell scripts that read an Android phone's properties and state, and pure functions that parse their output.

A phone may refuse any value (on many phones the shell cannot read thermal zones), so every value is optional.
"""

from __future__ import annotations

import re

from paddleseg_lite.device import State

PROPERTIES = {
    "Brand": ("ro.product.brand",),
    "Device": ("ro.product.device",),
    "Model": ("ro.product.model",),
    "Android Version": ("ro.build.version.release",),
    "Android API Level": ("ro.build.version.sdk",),
    "SoC": ("ro.soc.model", "ro.board.platform", "ro.hardware"),
    "ABI": ("ro.product.cpu.abi",),
    "Build": ("ro.build.fingerprint",),
}
_NAMES = sorted({name for names in PROPERTIES.values() for name in names})
_CORES = 'cd /sys/devices/system/cpu\nfor f in {}; do echo "$f=$(cat $f)"; done\n'
INFO_SCRIPT = (
    f'for p in {" ".join(_NAMES)}; do echo "$p=$(getprop $p)"; done\n'
    'echo "kernel=$(uname -r)"\n' + _CORES.format("cpu[0-9]*/cpufreq/cpuinfo_max_freq")
)
STATE_SCRIPT = (
    _CORES.format(" ".join(f"cpu[0-9]*/cpufreq/scaling_{name}" for name in ("governor", "cur_freq", "max_freq")))
    + 'for z in /sys/class/thermal/thermal_zone*; do echo "zone:$(cat $z/type)=$(cat $z/temp)"; done\n'
    "echo \"load=$(cut -d' ' -f1-3 /proc/loadavg)\"\n"
    "dumpsys thermalservice | grep -m1 'Thermal Status'\n"
    "dumpsys battery"
)
_CPU_FILE = re.compile(r"^cpu(\d+)/cpufreq/(\w+)=(.+)$", re.MULTILINE)
_ZONE = re.compile(r"^zone:(.+)=(-?\d+)$", re.MULTILINE)
_BATTERY = re.compile(r"^\s+(level|scale|temperature|AC powered|USB powered): (\S+)\s*$", re.MULTILINE)
_NEAR_CPU = re.compile(r"cpu|soc|cluster|tsens|big|little|apc", re.IGNORECASE)
_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def parse_info(text: str) -> dict[str, str]:
    """The phone's properties under the names that results use, and the kernel's version."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    facts = {}
    for name, properties in PROPERTIES.items():
        facts[name] = next((values[one].strip() for one in properties if values.get(one, "").strip()), "")
    facts["Kernel"] = values.get("kernel", "").strip()
    return {name: value for name, value in facts.items() if value}


def highest_frequencies(text: str) -> dict[int, int]:
    """kHz per core, from the output of `INFO_SCRIPT`."""
    found = _CPU_FILE.findall(text)
    return {int(core): int(value) for core, name, value in found if name == "cpuinfo_max_freq" and value.isdigit()}


def parse_state(text: str) -> State:
    """The state in the output of `STATE_SCRIPT`."""
    cores: dict[str, dict[int, str]] = {}
    for core, name, value in _CPU_FILE.findall(text):
        cores.setdefault(name, {})[int(core)] = value.strip()
    battery = dict(_BATTERY.findall(text))
    zones = {name.strip(): _celsius(int(value)) for name, value in _ZONE.findall(text)}
    hottest = _hottest(zones, battery)
    status = re.search(r"Thermal Status: (\d+)", text)
    load = re.search(r"^load=(.+)$", text, re.MULTILINE)
    limits = cores.get("scaling_max_freq", {})
    facts = {
        "governor": _by_value(cores.get("scaling_governor", {})),
        "frequency now (kHz)": _by_value(cores.get("scaling_cur_freq", {})),
        "frequency limit (kHz)": _by_value(limits),
        "temperature": f"{hottest[1]:.1f} °C ({hottest[0]})" if hottest else "",
        "thermal status": _status(int(status[1])) if status else "",
        "battery": _battery(battery),
        "load average": load[1].strip() if load else "",
    }
    return State(
        temperature_c=hottest[1] if hottest else None,
        thermal_status=int(status[1]) if status else None,
        battery_percent=float(battery["level"]) if battery.get("level", "").isdigit() else None,
        limits_khz={core: int(limits[core]) for core in sorted(limits) if limits[core].isdigit()},
        facts={name: value for name, value in facts.items() if value},
    )


def _hottest(zones: dict[str, float | None], battery: dict[str, str]) -> tuple[str, float] | None:
    """The hottest sensor near the processor, else the battery's; `_celsius` drops sensors that are off."""
    near = [(name, value) for name, value in zones.items() if _NEAR_CPU.search(name) and value is not None]
    if near:
        return max(near, key=lambda pair: pair[1])
    tenths = battery.get("temperature", "")
    return ("battery", int(tenths) / 10) if tenths.isdigit() else None


def _celsius(raw: int) -> float | None:
    """Degrees from a kernel's degrees, tenths or thousandths; None for absurd values (a sensor that is off)."""
    value = raw / 1000 if abs(raw) > 2000 else raw / 10 if abs(raw) > 200 else float(raw)
    return value if 5 <= value <= 150 else None


def _by_value(cores: dict[int, str]) -> str:
    """`0-3 schedutil, 4-7 performance`: cores in a row with one value stand together."""
    groups: list[tuple[int, int, str]] = []
    for core in sorted(cores):
        if groups and groups[-1][1] == core - 1 and groups[-1][2] == cores[core]:
            groups[-1] = (groups[-1][0], core, cores[core])
        else:
            groups.append((core, core, cores[core]))
    return ", ".join(f"cpu{a}{'' if a == b else f'-{b}'} {value}" for a, b, value in groups)


def _status(number: int) -> str:
    return f"{number} ({_STATUS[number]})" if 0 <= number < len(_STATUS) else str(number)


def _battery(battery: dict[str, str]) -> str:
    if "level" not in battery:
        return ""
    powered = [name for name in ("AC", "USB") if battery.get(f"{name} powered") == "true"]
    tenths = battery.get("temperature", "")
    warm = f", {int(tenths) / 10:.1f} °C" if tenths.isdigit() else ""
    return f"{battery['level']} %{warm}, {'on ' + ' and '.join(powered) if powered else 'not charging'}"
