"""The rows of a comparison, from the published tables or from given configs, and the systems that they share.

A row is a line of a table with its published figures. A system is a network with its weights and an output op. Each
system is exported and measured once, even if several rows use it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paddleseg_ext.models.output_ops import resolve_output_op
from paddleseg_ext_runtime.errors import ConfigError, PaddleSegExtError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_tools.arguments import find_config
from paddleseg_ext_tools.comparison.published import (
    Catalogue,
    Figures,
    TableRow,
    model_key,
    read_counts,
    relative_config,
)
from paddleseg_ext_tools.paths import resource

DECODER = "decoder"  # the output op that changes nothing


@dataclass(frozen=True)
class Failed:
    """The reason for a missing figure, in one line, and its exit code."""

    message: str
    exit_code: int

    @classmethod
    def by(cls, error: Exception) -> Failed:
        """The first line of an error, or the last if it holds the reason; code 1 if no user can repair the error."""
        said = str(error).strip().splitlines() or [type(error).__name__]
        text = f"{said[0]} {said[-1].strip()}" if said[0].endswith(":") else said[0]
        kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
        return cls(f"{kind}{text}", getattr(error, "exit_code", 1))


@dataclass
class System:
    """A network, its weights and an output op. `failure` says why it could not be prepared, `prepared` how it was.

    `network` is equal for systems that differ in the output op alone. `latencies` holds a `lab.rounds.Latency`
    or a Failed for each form, `phone` what was measured elsewhere.
    """

    slug: str
    config: Path
    output_op: str
    weights: str | None
    opts: tuple[str, ...]
    network: Any
    failure: Failed | None = None
    prepared: Any = None
    latencies: dict[str, Any] = field(default_factory=dict)
    phone: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Row:
    """A row of a table. `reference` names the row of the same table for the comparison."""

    table: str
    name: str
    backbone: str
    config: str
    system: System
    published: Figures
    reference: str | None = None


def plan(args: argparse.Namespace, catalogue: Catalogue) -> list[Row]:
    """The rows that the command line asks for, in order.

    Raises ConfigError for weights of a config that is not compared.
    """
    chosen = [] if args.config else [table for key, table in catalogue.tables.items() if args.table in (key, "all")]
    wanted = [row for table in chosen for row in table.rows] or _of_configs(args, catalogue)
    given = Weights(args.model_path or [])
    systems: dict[Any, System] = {}
    counts = read_counts(resource("configs"))
    rows = []
    for row in wanted:
        entry = catalogue.of(relative_config(row.config))
        counted = counts.get(entry.path, {}).get("model") if entry else None
        weights = given.of(row.name, row.config, only=len(wanted) == 1)
        ops = args.output_op or [row.output_op]
        for op in ops:
            suffix = f", {op}" if len(ops) > 1 else ""
            system = _system(systems, row.config, op, weights, tuple(args.opts or ()))
            published = _of_this_network(row, system, counted)
            published = replace(published, latency_ms=published.latency_ms if op == row.printed_op else None)
            against = f"{row.reference}{suffix}" if row.reference else None
            rows.append(Row(row.table, f"{row.name}{suffix}", row.backbone, row.config, system, published, against))
    given.refuse_unused([row.name for row in wanted], [row.config for row in wanted])
    _warn_of_twins(rows)
    return rows


def _of_this_network(row: TableRow, system: System, counted: str | None) -> Figures:
    """The published figures, if `system` is still the published network: users edit yamls, and --opts changes them."""
    if system.failure is not None or counted in (None, system.network[0]):
        return row.figures
    get_logger().warning("%s: not the network whose figures were published; they are left out", row.name)
    return Figures()


def _warn_of_twins(rows: Sequence[Row]) -> None:
    """Warns if one row has weights and another row of the same network has none: their figures would differ."""
    built = [row for row in rows if row.system.failure is None]
    weighed = {row.system.network[0]: row.name for row in built if row.system.weights}
    for row in built:
        twin = weighed.get(row.system.network[0])
        if twin and not row.system.weights:
            said = "%s is the network of %s but has no weights; give it some with --model_path %r=…"
            get_logger().warning(said, row.name, twin, row.name)


def _of_configs(args: argparse.Namespace, catalogue: Catalogue) -> list[TableRow]:
    """Rows of given configs, compared with the first; without --output_op as tools/export.py would export them."""
    rows: list[TableRow] = []
    for config in args.config:
        entry, op = catalogue.of(relative_config(config)), _default_op(config, args.opts)
        name, figures, printed_op = Path(config).stem, Figures(), None
        if entry:
            name = ", ".join(word for word in (entry.model, entry.what, entry.data) if word)
            figures, printed_op = entry.figures, entry.output_op
        if name in {row.name for row in rows}:
            name = Path(config).stem
        reference = rows[0].name if rows else None
        rows.append(TableRow("given", name, "", config, op, printed_op, figures, reference))
    return rows


def _default_op(config: str, opts: list[str] | None) -> str:
    from paddleseg_ext.cvlibs.config import Config
    from paddleseg_ext.models.base import UPSAMPLINGS

    try:
        upsample = Config(find_config(config), opts=opts).dic["model"].get("upsample")
    except ConfigError:
        return "argmax"  # the row will print the error
    return resolve_output_op(None, UPSAMPLINGS.get(upsample, "bilinear"))


def _system(systems: dict[Any, System], config: str, op: str, weights: str | None, opts: tuple[str, ...]) -> System:
    """The system of a row: an existing one if it has the same network, otherwise a new one."""
    from paddleseg_ext.cvlibs.config import Config

    path = find_config(config)
    slug, failure = f"{path.stem}-{op}", None
    try:
        loaded = Config(path, opts=list(opts))
        # The evaluation data are part of a row only if it has weights.
        data = loaded.val_dataset_cfg if weights else loaded.val_dataset_cfg.get("transforms")
        network = model_key(loaded.dic["model"], loaded.num_classes), str((data, loaded.test_config)), weights
    except PaddleSegExtError as error:
        network, failure = str(path), Failed.by(error)
    key = network, op
    if key not in systems:
        taken = {system.slug for system in systems.values()}
        slug = next(name for name in (slug, *(f"{slug}-{i}" for i in range(2, 1000))) if name not in taken)
        systems[key] = System(slug, path, op, weights, opts, network, failure)
    return systems[key]


class Weights:
    """`--model_path config=weights …`: the config's path or name, or the row's name. One config needs no name."""

    def __init__(self, given: list[str]):
        self._by_name: dict[str, str] = {}
        self._alone: str | None = None
        self._used: set[str] = set()
        for item in given:
            name, sign, path = item.partition("=")
            # A URL may contain an equals sign too.
            if sign and "://" not in name:
                self._by_name[name] = path
            elif len(given) == 1:
                self._alone = item
            else:
                raise ConfigError(f"--model_path {item}: of several, each needs its config: CONFIG=WEIGHTS")

    def of(self, name: str, config: str, only: bool) -> str | None:
        """The weights of a row, or None."""
        if self._alone is not None:
            if not only:
                raise ConfigError(f"--model_path {self._alone}: name the config it belongs to: CONFIG=WEIGHTS")
            return self._alone
        names = (name, config, relative_config(config), Path(config).stem)
        found = next((known for known in names if known in self._by_name), None)
        if found is not None:
            self._used.add(found)
            return self._by_name[found]
        return None

    def refuse_unused(self, names: list[str], configs: list[str]) -> None:
        """Raises ConfigError for weights that no row took."""
        if unused := self._by_name.keys() - self._used:
            known = ", ".join(dict.fromkeys([*names, *(Path(config).stem for config in configs)]))
            raise ConfigError(f"--model_path: {', '.join(sorted(unused))} is not compared; there are {known}")


def distinct(rows: list[Row]) -> list[System]:
    """The systems of `rows`, each once, in order."""
    return list({id(row.system): row.system for row in rows}.values())


def decoders(systems: list[System]) -> dict[Any, System]:
    """Per network the system that ends at its decoder: one of `systems` if it is among them, otherwise a new one."""
    found: dict[Any, System] = {}
    for system in systems:
        if system.failure is None and (system.output_op == DECODER or system.network not in found):
            own = system if system.output_op == DECODER else None
            slug = f"{system.slug.removesuffix('-' + system.output_op)}-{DECODER}"
            found[system.network] = own or replace(system, slug=slug, output_op=DECODER, latencies={}, phone=[])
    return found
