"""Writes the tables of `configs/*/README.md` and of `README.md`: `python tools/config_tables.py`, or `make tables`.

Published figures come from `configs/published.yml`; parameters and multiply-adds at 512x512 are counted on the
networks themselves. Counting takes seconds per network, so the counts are kept in `configs/computed.json`, each with
a digest of its `model` section, and only changed networks are counted again. `--check` writes nothing and fails if
a README or a count is out of date.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddleseg_ext_tools.arguments import launch
from paddleseg_ext_tools.comparison.published import (
    MIOU_KINDS,
    NONE,
    Catalogue,
    PublishedConfig,
    load_catalogue,
    model_key,
    read_counts,
)
from paddleseg_ext_tools.paths import resource

if TYPE_CHECKING:
    from paddleseg_ext_tools.lab.complexity import Complexity

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
ABOUT = "Counted by tools/config_tables.py (`make tables`); not to be edited."
SIZE = (512, 512)
OVERVIEW_DEVICE = "Snapdragon 855"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is out of date")
    parser.add_argument("--recount", action="store_true", help="count all networks again")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(run, parse_args(argv))


def run(args: argparse.Namespace) -> None:
    """Counts new networks and writes the changed tables. Raises ConfigError when `--check` finds something stale."""
    from paddleseg_ext_runtime.errors import ConfigError

    configs = resource("configs")
    catalogue = load_catalogue()
    wrong = problems(configs, catalogue)
    stale = stale_counts(configs, catalogue)
    if args.check:
        wrong += [f"{path} is to be counted" for path in stale]
        if not wrong:
            wrong = [f"{readme} is stale" for readme in rewrite(configs, catalogue, write=False)]
    if wrong:
        raise ConfigError("\n  ".join([*wrong, "run `make tables`" if args.check else "mend configs/published.yml"]))
    if not args.check:
        count(configs, catalogue, [*catalogue.configs] if args.recount else stale)
        for readme in rewrite(configs, catalogue):
            print(readme)


def config_paths(configs: Path) -> list[str]:
    """Every config below `configs`, as published.yml names them; names with `_` in front are parts of configs."""
    return [path.relative_to(configs).as_posix() for path in sorted(configs.glob("[!_]*/[!_]*.yml"))]


def problems(configs: Path, catalogue: Catalogue) -> list[str]:
    """Configs without an entry, entries without a config, READMEs without a place for their table."""
    found, named = set(config_paths(configs)), catalogue.configs.keys() | catalogue.same_as.keys()
    wrong = [f"{path} has no entry in configs/published.yml" for path in sorted(found - named)]
    wrong += [f"configs/published.yml names {path}, which is not there" for path in sorted(named - found)]
    for folder in sorted({path.split("/")[0] for path in found}):
        readme = configs / folder / "README.md"
        if not readme.is_file() or BEGIN not in (text := readme.read_text(encoding="utf-8")) or END not in text:
            wrong.append(f"configs/{folder}/README.md has no {BEGIN} … {END}")
    return wrong


def digest(config_file: Path) -> str:
    """`model_key` of a config."""
    from paddleseg_ext.cvlibs.config import Config

    config = Config(config_file)
    return model_key(config.dic["model"], config.num_classes)


def stale_counts(configs: Path, catalogue: Catalogue) -> list[str]:
    """Configs whose network is not the one that was counted."""
    kept = read_counts(configs)
    return [path for path in catalogue.configs if kept.get(path, {}).get("model") != digest(configs / path)]


def count(configs: Path, catalogue: Catalogue, paths: Sequence[str]) -> None:
    """Counts the networks of `paths`, each once, and keeps the results."""
    from paddleseg_ext.cvlibs.config import Builder, Config
    from paddleseg_ext_runtime.progress import track
    from paddleseg_ext_tools.lab.complexity import measure_complexity

    kept, fresh = read_counts(configs), {}
    for path in track(paths, len(paths), "counting"):
        key = digest(configs / path)
        if key not in fresh:
            fresh[key] = measure_complexity(Builder(Config(configs / path)).build_untrained_model(), SIZE)
        kept[path] = {"model": key, **dataclasses.asdict(fresh[key])}
    rows = [f"  {json.dumps(path)}: {json.dumps(kept[path])}" for path in sorted(catalogue.configs)]
    text = f'{{"about": {json.dumps(ABOUT)}, "configs": {{\n' + ",\n".join(rows) + "\n}}\n"
    (configs / "computed.json").write_text(text, encoding="utf-8")


def rewrite(configs: Path, catalogue: Catalogue, write: bool = True) -> list[Path]:
    """Puts each table between the markers of its README; returns the READMEs that were stale."""
    from paddleseg_ext_tools.lab.complexity import Complexity

    counts = {}
    for path, numbers in read_counts(configs).items():
        del numbers["model"]
        counts[path] = Complexity(**numbers)
    tables = {configs.parent / "README.md": overview(catalogue, counts)}
    for folder in sorted({path.split("/")[0] for path in config_paths(configs)}):
        tables[configs / folder / "README.md"] = folder_table(configs, folder, catalogue, counts)
    changed = []
    for readme, table in tables.items():
        if not readme.is_file():  # an installed package has no README.md above its configs
            continue
        old = readme.read_text(encoding="utf-8")
        before, _, rest = old.partition(BEGIN)
        new = f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"
        if new != old:
            changed.append(readme)
            if write:
                readme.write_text(new, encoding="utf-8")
    return changed


def overview(catalogue: Catalogue, counts: dict[str, Complexity]) -> str:
    """The markdown of README.md's table: a row per family, its variants' figures side by side."""
    lines = [
        f"| model | trainable parameters | GFLOPs at 512x512 | published mIoU | published latency, {OVERVIEW_DEVICE} |",
        "|---|---|---|---|---|",
    ]
    beside = " · ".join
    for name, paths in catalogue.readme.items():
        entries = [catalogue.configs[path] for path in paths]
        size = f" at {entries[0].tested_at}" if "x" in entries[0].tested_at else ""
        mious = beside(f"{entry.figures.miou['single']:.2f}" for entry in entries)
        latencies = [entry.figures.latency_ms for entry in entries]
        unit = " ms with VIM" if entries[0].output_op == "vim" else " ms"
        cells = (
            name,
            beside(f"{counts[path].trainable:,}" for path in paths),
            beside(f"{counts[path].gflops:.2f}" for path in paths),
            f"{entries[0].data} {mious} %{size}",
            beside(NONE if ms is None else str(ms) for ms in latencies) + unit if any(latencies) else NONE,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def folder_table(configs: Path, folder: str, catalogue: Catalogue, counts: dict[str, Complexity]) -> str:
    """The markdown of one folder: its configs, the notes on them, how the printed parameters were counted."""
    found = config_paths(configs)
    entries = [entry for path, entry in catalogue.configs.items() if path in found and path.startswith(f"{folder}/")]
    notes = list(dict.fromkeys(note for entry in entries for note in entry.figures.notes))
    rows = [_cells(configs, entry, catalogue, counts[entry.path], notes) for entry in entries]
    # A column without any value is left out.
    shown = [name for name in rows[0] if any(row[name] != NONE for row in rows)]
    lines = [f"| {' | '.join(shown)} |", f"|{'---|' * len(shown)}"]
    lines += [f"| {' | '.join(row[name] for name in shown)} |" for row in rows]
    lines += ["", _below(entries, catalogue, counts, notes)]
    return "\n".join(lines)


def _cells(configs: Path, entry: PublishedConfig, catalogue: Catalogue, counts: Complexity, notes: list[str]) -> dict:
    from paddleseg_ext.cvlibs.yaml_file import read_yaml

    names = [entry.path, *(other for other, target in catalogue.same_as.items() if target == entry.path)]
    links = [f"[{Path(name).stem}]({Path(name).name})" for name in names]
    marks = "".join(f"<sup>{notes.index(note) + 1}</sup>" for note in entry.figures.notes)
    settings = read_yaml(configs / entry.path)
    batch = entry.batch or f"{settings['batch_size']} a device"
    miou, latency = entry.figures.miou, entry.figures.latency_ms
    return {
        "config": f"{', also '.join(links)}{marks}",
        "model": ", ".join(word for word in (entry.model, entry.what) if word),
        "data": f"{entry.data}, {entry.tested_at}",
        "iterations x batch": f"{settings['iters']:,} x {batch}",
        "parameters": f"{counts.trainable:,}",
        "GFLOPs": f"{counts.gflops:.3f}",
        **{
            f"mIoU{'' if kind == 'single' else ', ' + name}": f"{miou[kind]:.2f} %" if kind in miou else NONE
            for kind, name in MIOU_KINDS.items()
        },
        "latency": NONE if latency is None else f"{latency} ms, {entry.output_op}",
        "printed as (M)": entry.figures.params or NONE,
    }


def _below(
    entries: Sequence[PublishedConfig], catalogue: Catalogue, counts: dict[str, Complexity], notes: Sequence[str]
) -> str:
    """The sources of the figures, the counting rules and the notes."""
    from paddleseg_ext_tools.lab.complexity import explain

    sources = dict.fromkeys(source for entry in entries for source in entry.sources)
    links = [f"[{catalogue.sources[key]['title']}]({catalogue.sources[key]['url']})" for key in sources]
    said = [
        "Parameters are the trainable ones, GFLOPs 10^9 multiply-adds of convolutions and matrix products at 512x512."
    ]
    if links:
        said.append(f"Published figures are the authors': {'; '.join(links)}.")
    if any(entry.figures.latency_ms for entry in entries):
        said.append(f"Latency: {catalogue.device}, one thread.")
    rules = []
    for entry in entries:
        if printed := entry.figures.params:
            rule = explain(printed, counts[entry.path])
            rules.append(f'- "{printed}" of {_name(entry)}: {rule or "no counting rule gives it"}.')
    numbered = [f"{number}. {catalogue.notes[note]}" for number, note in enumerate(notes, start=1)]
    return "\n\n".join("\n".join(block) for block in (said, rules, numbered) if block)


def _name(entry: PublishedConfig) -> str:
    return f"{entry.model} ({entry.what})" if entry.what.startswith(("baseline", "+")) else entry.model
