"""The comparison as text: markdown, CSV, and JSON with every single run."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

from paddleseg_ext_tools.comparison.published import NONE, Catalogue
from paddleseg_ext_tools.comparison.rows import Failed, Row, System
from paddleseg_ext_tools.lab.complexity import explain
from paddleseg_ext_tools.lab.rounds import Latency

# The mark of a figure that the authors published; measured figures have none.
PUBLISHED_MARK = "†"
GFLOPS = "GFLOPs"
NOT_VALID = "not valid"
BACKBONE = "backbone"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Everything that the reports contain. `runtimes` are (key, title); `conditions` are (name, value) in words.

    `decoders` has, by `System.network`, the networks without any output op, where those were measured.
    """

    rows: Sequence[Row]
    catalogue: Catalogue
    runtimes: Sequence[tuple[str, str]]
    conditions: Sequence[tuple[str, str]]
    decoders: dict[Any, System] = dataclasses.field(default_factory=dict)

    def tables(self) -> dict[str, list[Row]]:
        """The rows by table, in order."""
        tables: dict[str, list[Row]] = {}
        for row in self.rows:
            tables.setdefault(row.table, []).append(row)
        return tables

    def title(self, table: str) -> str:
        """The title printed above a table."""
        published = self.catalogue.tables.get(table)
        return published.title if published else "The given configs"

    def reference(self, row: Row) -> Row | None:
        """The row that `row` is compared with."""
        same = [other for other in self.rows if other.table == row.table and other.name == row.reference]
        return same[0] if same else None

    def network_ms(self, row: Row, key: str) -> float | None:
        """The median of a row's network without its output op; None if there is no valid one."""
        decoder = self.decoders.get(row.system.network)
        found = decoder.latencies.get(key) if decoder else None
        return found.median_ms if isinstance(found, Latency) and found.valid else None

    def phones(self) -> list[str]:
        """The devices that results come from, as columns."""
        return list(dict.fromkeys(phone["column"] for row in self.rows for phone in row.system.phone))

    def notes(self, table: str) -> list[str]:
        """The notes to a table: first on the table, then on its rows, each with the row's name."""
        published, texts = self.catalogue.tables.get(table), self.catalogue.notes
        names: dict[str, list[str]] = {}
        for row in self.tables()[table]:
            for note in row.published.notes:
                names.setdefault(note, []).append(row.name)
        own = published.notes if published else ()
        of_rows = [f"{', '.join(rows)}: {texts[note]}" for note, rows in names.items() if note not in own]
        return [*(texts[note] for note in own), *of_rows]


def miou(row: Row) -> tuple[float | None, bool]:
    """The mIoU of a row in percent, and whether it was measured here."""
    prepared = row.system.prepared
    if prepared is not None and prepared.miou is not None:
        return prepared.miou, True
    return row.published.miou.get("single"), False


def latency(row: Row, key: str) -> float | None:
    """The median under a runtime in ms; None if there is none."""
    found = row.system.latencies.get(key)
    return found.median_ms if isinstance(found, Latency) else None


def is_valid(row: Row, key: str) -> bool:
    """Whether a runtime has a valid figure for the row."""
    found = row.system.latencies.get(key)
    return isinstance(found, Latency) and found.valid


def percent(value: float | None, base: float | None) -> str | None:
    """The change from `base` to `value` as the published tables print it: -48.2 %."""
    return f"{100 * (value / base - 1):+.1f} %" if value is not None and base else None


def cells(row: Row, comparison: Comparison) -> dict[str, str]:
    """One row in words, by column."""
    against, prepared = comparison.reference(row), row.system.prepared
    found = {"model": row.name, BACKBONE: row.backbone or NONE, "output op": row.system.output_op}
    found["mIoU %"] = _miou_cell(row, against)
    if prepared is None:
        failed = row.system.failure if not comparison.runtimes else None
        found |= {"parameters": f"failed: {failed.message}" if failed else NONE, GFLOPS: NONE, "classes kept": NONE}
    else:
        counted = prepared.complexity
        kept = NONE if prepared.classes_kept is None else f"{prepared.classes_kept} of {prepared.num_classes}"
        change = percent(counted.trainable, _trainable(against))
        found |= {"parameters": _with(f"{counted.trainable:,}", change), GFLOPS: f"{counted.gflops:.3f}"}
        found["classes kept"] = kept
    for key, title in comparison.runtimes:
        found[f"{title}, ms"] = _latency_cell(row, key, against)
    for column in comparison.phones():
        there = [phone for phone in row.system.phone if phone["column"] == column]
        mark = f", {NOT_VALID}" if there and not there[-1]["valid"] else ""
        found[f"{column}, ms"] = f"{there[-1]['median_ms']:.1f}{mark}" if there else NONE
    printed = row.published.latency_ms
    change = percent(printed, against.published.latency_ms if against else None)
    found[f"published, ms {PUBLISHED_MARK}"] = _with(NONE if printed is None else f"{printed:.1f}", change)
    found[f"published, params (M) {PUBLISHED_MARK}"] = row.published.params or NONE
    return found


def _with(text: str, change: str | None) -> str:
    return f"{text} ({change})" if change and text != NONE else text


def _trainable(row: Row | None) -> int | None:
    return row.system.prepared.complexity.trainable if row and row.system.prepared else None


def _miou_cell(row: Row, against: Row | None) -> str:
    value, is_measured = miou(row)
    if value is None:
        return NONE
    base, base_is_measured = miou(against) if against else (None, is_measured)
    # A measured figure less a published one would compare two evaluations.
    change = f"{value - base:+.2f}" if base is not None and base_is_measured == is_measured else None
    return _with(f"{value:.2f}{'' if is_measured else ' ' + PUBLISHED_MARK}", change)


def _latency_cell(row: Row, key: str, against: Row | None) -> str:
    found = row.system.failure or row.system.latencies.get(key)
    if found is None:
        return NONE
    if isinstance(found, Failed):
        return f"failed: {found.message}"
    text = f"{found.median_ms:.1f}, p90 {found.p90_ms:.1f}"
    is_comparable = against is not None and found.valid and is_valid(against, key)
    text = _with(text, percent(found.median_ms, latency(against, key)) if is_comparable else None)
    return text if found.valid else f"{text}, {NOT_VALID}"


def problems(comparison: Comparison) -> list[str]:
    """The failures and the figures that are not valid, with the reasons: one line per system."""
    titles, said = dict(comparison.runtimes), {}
    named = [(row.name, row.system) for row in comparison.rows]
    named += [(f"{system.config.stem}, the network alone", system) for system in comparison.decoders.values()]
    for name, system in named:
        parts = [system.failure.message] if system.failure else []
        for key, found in system.latencies.items():
            if isinstance(found, Failed):
                parts.append(f"{titles[key]} failed: {found.message}")
            elif not found.valid:
                parts.append(f"{titles[key]} not valid: {', '.join(found.invalid_reasons)}")
        for phone in system.phone:
            if not phone["valid"]:
                parts.append(f"{phone['column']} not valid: {', '.join(phone['invalid_reasons'])}")
        if parts:
            said.setdefault(id(system), f"{name}: {'; '.join(parts)}")
    return list(said.values())


def counting(rows: Sequence[Row]) -> list[str]:
    """Gives for each printed parameter count the rule that yields it."""
    lines = []
    for row in rows:
        if row.published.params and row.system.prepared:
            rule = explain(row.published.params, row.system.prepared.complexity)
            name = row.name.removesuffix(f", {row.system.output_op}")
            lines.append(f'"{row.published.params}" of {name}: {rule or "no counting rule gives it"}.')
    return list(dict.fromkeys(lines))


def explanations(comparison: Comparison) -> list[str]:
    """The explanations that a reader needs for the tables."""
    probed = any(row.system.prepared and row.system.prepared.weights != row.system.weights for row in comparison.rows)
    lines = [
        f"{PUBLISHED_MARK} The authors' figure, not measured here. Published milliseconds: "
        f"{comparison.catalogue.device}, one thread.",
        "Milliseconds are medians over the counted runs of all rounds, with the 90th percentile, on one picture. In "
        "brackets: the change against the row's reference.",
        f"{GFLOPS}: 10^9 multiply-adds of convolutions and matrix products at 512x512; published ones often "
        "add batch norm and pooling. Parameters: the trainable ones.",
        "Classes kept: how many the output op interpolates on the measured picture. The cost of `vim` depends on it.",
    ]
    measured = {row.name: row.system.prepared.evaluated_on for row in comparison.rows if miou(row)[1]}
    lines += [f"The mIoU of {name} was measured here, on {data}." for name, data in measured.items()]
    if probed:
        lines.append(
            "Rows without a checkpoint run on weights made for timing: batch norms set from drawn scenes, the "
            "classifier fitted so that 15 classes, or all there are, win somewhere. They say nothing about accuracy."
        )
    return lines


def phone_conditions(comparison: Comparison) -> list[tuple[str, str]]:
    """Describes each device that results come from, and its way of measuring, by the device's first result."""
    found: dict[str, str] = {}
    for phone in (phone for row in comparison.rows for phone in row.system.phone):
        facts = ", ".join(f"{name} {value}" for name, value in phone["device_facts"].items())
        each = f"{phone['rounds']} x {phone['repeats']} runs after {phone['warmup']}"
        runtime = f"{phone['runtime']} {phone['runtime_version']}"
        found.setdefault(phone["column"], f"{facts}; {runtime}, {each}; {phone['measured_at'][:16].replace('T', ' ')}")
    return list(found.items())


def markdown(comparison: Comparison) -> str:
    """All tables, with notes and conditions."""
    lines = ["# Comparison", ""]
    for table, rows in comparison.tables().items():
        found = [cells(row, comparison) for row in rows]
        shown = [name for name in found[0] if any(row[name] != NONE for row in found)]
        lines += [f"## {comparison.title(table)}", "", f"| {' | '.join(shown)} |", f"|{'---|' * len(shown)}"]
        lines += [f"| {' | '.join(_escaped(row[name]) for name in shown)} |" for row in found]
        lines += ["", *(f"- {line}" for line in counting(rows))]
        lines += [*(f"- {note}" for note in comparison.notes(table)), ""]
    lines += [f"{line}\n" for line in explanations(comparison)]
    if wrong := problems(comparison):
        lines += ["## Not to be used", "", *(f"- {line}" for line in wrong), ""]
    told = [*comparison.conditions, *phone_conditions(comparison)]
    lines += ["## Conditions", "", *(f"- {name}: {value}" for name, value in told), ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def flat(row: Row, comparison: Comparison) -> dict[str, Any]:
    """One row in plain numbers, by column."""
    prepared, system = row.system.prepared, row.system
    value, is_measured = miou(row)
    found = {
        "table": row.table,
        "model": row.name,
        "backbone": row.backbone,
        "config": row.config,
        "output_op": system.output_op,
        "reference": row.reference,
        "weights": prepared.weights if prepared else None,
        "miou_percent": value,
        "miou_is_measured": is_measured if value is not None else None,
        "published_latency_ms": row.published.latency_ms,
        "published_params": row.published.params,
    }
    if prepared:
        counted = dataclasses.asdict(prepared.complexity)
        found |= {**counted, "size": "x".join(map(str, counted["size"])), "gflops": prepared.complexity.gflops}
        found["params_rule"] = explain(row.published.params, prepared.complexity) if row.published.params else None
        found |= {"classes_kept": prepared.classes_kept, "labels": prepared.labels}
        found["evaluated_on"] = prepared.evaluated_on
    for key, _ in comparison.runtimes:
        measured = system.latencies.get(key)
        if isinstance(measured, Latency):
            found |= {f"{key}_median_ms": measured.median_ms, f"{key}_p90_ms": measured.p90_ms}
            found[f"{key}_valid"] = measured.valid
    found["error"] = "; ".join(_errors(row)) or None
    return found


def _errors(row: Row) -> list[str]:
    if row.system.failure:
        return [row.system.failure.message]
    return [f"{key}: {found.message}" for key, found in row.system.latencies.items() if isinstance(found, Failed)]


def as_csv(comparison: Comparison) -> str:
    """One line per row, in plain numbers."""
    rows = [flat(row, comparison) for row in comparison.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(comparison: Comparison) -> str:
    """The CSV's rows with every run of every measurement, networks alone among them, and the conditions."""
    rows = [
        {**flat(row, comparison), "latencies": _measured(row.system), "phone": row.system.phone}
        for row in comparison.rows
    ]
    alone = {system.slug: _measured(system) for system in comparison.decoders.values()}
    content = {"conditions": dict(comparison.conditions), "rows": rows, "networks_alone": alone}
    return json.dumps({**content, "notes": comparison.catalogue.notes}, indent=1, allow_nan=False) + "\n"


def _measured(system: System) -> dict[str, dict]:
    found = system.latencies.items()
    return {key: dataclasses.asdict(latency) for key, latency in found if isinstance(latency, Latency)}
