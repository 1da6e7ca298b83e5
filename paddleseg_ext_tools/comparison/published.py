"""Reader of `configs/published.yml`: what authors published about each config, and their comparisons row by row."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "configs/published.yml"
NONE = "–"  # in a cell without a figure
MIOU_KINDS = {"single": "single scale", "flip": "with flips", "ms_flip": "with three scales and flips"}


@dataclass(frozen=True)
class Figures:
    """The figures printed for one model: mIoU in percent by kind, milliseconds, and "params (M)" as text."""

    miou: dict[str, float] = field(default_factory=dict)
    latency_ms: float | None = None
    params: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedConfig:
    """One config's entry. `batch` is over all devices; `sources` are keys of `Catalogue.sources`."""

    path: str
    model: str
    what: str
    data: str
    tested_at: str
    batch: int | None
    output_op: str | None
    figures: Figures
    sources: tuple[str, ...]


@dataclass(frozen=True)
class TableRow:
    """One row of the comparison `table`; `reference` names the row it is compared with.

    `output_op` is the row's own op, `printed_op` the op of the printed latency.
    """

    table: str
    name: str
    backbone: str
    config: str
    output_op: str
    printed_op: str | None
    figures: Figures
    reference: str | None


@dataclass(frozen=True)
class PublishedTable:
    """One published comparison."""

    key: str
    title: str
    source: str
    notes: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Catalogue:
    """Everything in the file. `same_as` maps another name of a config to the config; paths are below `configs/`."""

    device: str
    sources: dict[str, dict[str, str]]
    notes: dict[str, str]
    configs: dict[str, PublishedConfig]
    same_as: dict[str, str]
    readme: dict[str, list[str]]
    tables: dict[str, PublishedTable]

    def of(self, path: str) -> PublishedConfig | None:
        """The entry of a config under any of its names; None when there is none."""
        return self.configs.get(self.same_as.get(path, path))


def load_catalogue() -> Catalogue:
    """Reads the file that ships with the tools. Raises ConfigError when its content is wrong."""
    import yaml

    from paddleseg_ext_runtime.errors import ConfigError
    from paddleseg_ext_tools.paths import resource

    try:
        return parse(yaml.safe_load(resource(FILE).read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{FILE} does not hold what it should: {error}") from error


def parse(content: dict[str, Any]) -> Catalogue:
    """The catalogue in the file's content. Raises ValueError, KeyError or TypeError for errors in it."""
    entries = content["configs"]
    same_as = {path: entry["same_as"] for path, entry in entries.items() if "same_as" in entry}
    catalogue = Catalogue(
        device=content["device"],
        sources=content["sources"],
        notes={key: " ".join(text.split()) for key, text in content["notes"].items()},
        configs={path: _config(path, entry) for path, entry in entries.items() if path not in same_as},
        same_as=same_as,
        readme=content["readme"],
        tables={key: _table(key, entry) for key, entry in content["tables"].items()},
    )
    _check(catalogue)
    return catalogue


def _figures(miou: dict[str, float], entry: dict[str, Any]) -> Figures:
    latency = entry.get("latency_ms")
    return Figures(
        miou={kind: float(value) for kind, value in miou.items()},
        latency_ms=None if latency is None else float(latency),
        params=entry.get("params"),
        notes=tuple(entry.get("notes", ())),
    )


def _config(path: str, entry: dict[str, Any]) -> PublishedConfig:
    known = {"model", "what", "data", "tested_at", "batch", "output_op", "sources"}
    _refuse_unknown(path, entry, known | {"miou", "latency_ms", "params", "notes"})
    return PublishedConfig(
        path=path,
        model=entry["model"],
        what=entry.get("what", ""),
        data=entry["data"],
        tested_at=entry["tested_at"],
        batch=entry.get("batch"),
        output_op=entry.get("output_op"),
        figures=_figures(entry.get("miou", {}), entry),
        sources=tuple(entry.get("sources", ())),
    )


def _table(key: str, entry: dict[str, Any]) -> PublishedTable:
    rows = []
    for row in entry["rows"]:
        known = {"name", "backbone", "config", "output_op", "reference"}
        _refuse_unknown(f"{key}, {row.get('name')}", row, known | {"miou", "latency_ms", "params", "notes"})
        figures = _figures({"single": row["miou"]}, row)
        given = key, row["name"], row["backbone"], f"configs/{row['config']}", row["output_op"], row["output_op"]
        rows.append(TableRow(*given, figures, row.get("reference")))
    return PublishedTable(key, entry["title"], entry["source"], tuple(entry.get("notes", ())), tuple(rows))


def _refuse_unknown(where: str, entry: dict[str, Any], known: set[str]) -> None:
    if unknown := entry.keys() - known:
        raise ValueError(f"{where} has {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    if not isinstance(entry.get("params", ""), str):
        raise ValueError(f"{where}: params must be quoted, to stay as printed")


def _check(catalogue: Catalogue) -> None:
    """Checks that every name which one part of the file uses is defined in the other part."""
    entries = [(entry.path, entry.figures, entry.sources) for entry in catalogue.configs.values()]
    for table in catalogue.tables.values():
        entries.append((table.key, Figures(notes=table.notes), (table.source,)))
        names = {row.name for row in table.rows}
        for row in table.rows:
            entries.append((f"{table.key}, {row.name}", row.figures, ()))
            if catalogue.of(relative_config(row.config)) is None:
                raise ValueError(f"{table.key} names {row.config}, which has no entry")
            if row.reference is not None and row.reference not in names:
                raise ValueError(f"{table.key}, {row.name} is compared with {row.reference}, which is no row")
    for path in (path for paths in catalogue.readme.values() for path in paths):
        if path not in catalogue.configs:
            raise ValueError(f"readme names {path}, which has no entry")
    for where, figures, sources in entries:
        missing = [*(set(figures.notes) - catalogue.notes.keys()), *(set(sources) - catalogue.sources.keys())]
        missing += figures.miou.keys() - MIOU_KINDS.keys()
        if missing:
            raise ValueError(f"{where} names {', '.join(missing)}, which is not in the file")
    for path, target in catalogue.same_as.items():
        if target not in catalogue.configs:
            raise ValueError(f"{path} is said to be {target}, which has no entry")


def relative_config(path: str | Path) -> str:
    """A config's key in the file: its path below `configs/`; without such a folder, the last two parts of its path."""
    parts = Path(path).parts
    below = parts[len(parts) - parts[::-1].index("configs") :] if "configs" in parts else parts[-2:]
    return "/".join(below)


def model_key(model: dict[str, Any], num_classes: int) -> str:
    """Equal for configs that build the same network: a digest of the yaml's `model` without weights and upsampling."""
    text = json.dumps([_without(model, ("pretrained", "upsample")), num_classes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(section: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(section, dict):
        return {key: _without(value, keys) for key, value in section.items() if key not in keys}
    return section


def read_counts(configs: Path) -> dict[str, dict[str, Any]]:
    """The counts that tools/config_tables.py keeps, by config; empty when there are none."""
    file = configs / "computed.json"
    return json.loads(file.read_text(encoding="utf-8"))["configs"] if file.is_file() else {}
