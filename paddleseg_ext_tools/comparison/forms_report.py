"""The table of tools/benchmark_export.py as markdown, CSV and JSON."""

import argparse
import csv
import dataclasses
import io
import json
import os
from collections.abc import Sequence

from paddleseg_ext_tools.comparison.forms_rows import Network, Row
from paddleseg_ext_tools.comparison.published import NONE
from paddleseg_ext_tools.lab.machine import processor


def cells(row: Row) -> dict[str, str]:
    """One row in words, by column."""
    times = row.timing
    return {
        "form": row.title,
        "runs": "✅" if row.is_good else ("❌" if row.error else "❎ disagrees"),
        "size, MB": NONE if row.size_mb is None else f"{row.size_mb:.2f}",
        "equal labels": NONE if row.equal is None else f"{100 * row.equal:.4f} %",
        "mIoU, %": NONE if row.miou is None else f"{row.miou:.2f}",
        "median, ms": f"{times.median_ms:.1f}" if times else NONE,
        "p90, ms": f"{times.p90_ms:.1f}" if times else NONE,
        "rounds": str(len(times.round_medians_ms)) if times else NONE,
        "spread, %": f"{times.spread_percent:.1f}" if times else NONE,
        "valid": NONE if times is None else "yes" if times.valid else "no",
        "loading, ms": f"{times.init_ms:.0f}" if times else NONE,
        "peak memory, MB": f"{times.peak_memory_mb:.0f}" if times else NONE,
        "version": times.runtime_version if times else NONE,
    }


def line(row: Row) -> str:
    """One row for the terminal, while the others are still to come."""
    found = cells(row)
    if row.error:
        return f"{row.title}: failed: {row.error.splitlines()[0]}"
    return f"{row.title}: {found['equal labels']} of the labels are the network's"


def conditions(args: argparse.Namespace, network: Network) -> dict[str, str]:
    """What the figures were taken under."""
    config = network.config
    return {
        "model": f"{args.config}, weights: {network.weights}",
        "graph": f"{config.output_op}, input {config.input_shape}",
        "compared on": f"{len(network.photographs)} photographs",
        "timed": f"{network.photograph.name}, {args.threads} threads, {args.rounds} rounds of {args.repeats} runs "
        f"after {args.warmup}, all forms in turns, each round in a process of its own",
        "machine": f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at the end",
    }


def written(rows: Sequence[Row], facts: dict[str, str]) -> dict[str, str]:
    """The text of each file by its suffix."""
    return {"md": markdown(rows, facts), "csv": as_csv(rows), "json": as_json(rows, facts)}


def markdown(rows: Sequence[Row], facts: dict[str, str]) -> str:
    """The table, what failed and why, and the conditions."""
    found = [cells(row) for row in rows]
    lines = [f"| {' | '.join(found[0])} |", f"|{'---|' * len(found[0])}"]
    lines += [f"| {' | '.join(one.values())} |" for one in found]
    lines += [
        "",
        "Milliseconds are of the model alone, on one photograph; in C++ with copying in and out. Memory is of "
        "the whole process. The spread is the distance between the medians of the "
        "rounds, in percent of the median: a difference between two forms that is smaller means nothing.",
    ]
    if any(row.is_lossy for row in rows):
        lines += ["Weights of 8 bits change the network: their labels need not be equal."]
    lines += ["", *(f"- {row.title}: {' '.join(row.error.split())}" for row in rows if row.error)]
    lines += [
        f"- {row.title} is not valid: {', '.join(row.timing.invalid_reasons)}"
        for row in rows
        if row.timing and not row.timing.valid
    ]
    lines += [*(f"- {name}: {value}" for name, value in facts.items()), ""]
    return "\n".join(lines)


def as_csv(rows: Sequence[Row]) -> str:
    """One line per row, in plain numbers."""
    stream = io.StringIO()
    names = ["key", "title", "size_mb", "equal", "miou", "median_ms", "p90_ms", "init_ms", "peak_memory_mb", "error"]
    names += ["rounds", "spread_percent", "valid", "invalid_reasons"]
    writer = csv.DictWriter(stream, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        found = dataclasses.asdict(row)
        if row.timing:
            rounds, spread = len(row.timing.round_medians_ms), row.timing.spread_percent
            found |= found["timing"] | {"rounds": rounds, "spread_percent": spread}
            found["invalid_reasons"] = "; ".join(row.timing.invalid_reasons)
        writer.writerow(found)
    return stream.getvalue()


def as_json(rows: Sequence[Row], facts: dict[str, str]) -> str:
    """The rows with every counted run, and the conditions."""
    return json.dumps({"conditions": facts, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1) + "\n"
