"""The comparison as one HTML file that needs neither network nor other files."""

import re
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from paddleseg_ext_tools.comparison import figures
from paddleseg_ext_tools.comparison.published import NONE
from paddleseg_ext_tools.comparison.report import (
    BACKBONE,
    NOT_VALID,
    Comparison,
    cells,
    counting,
    explanations,
    is_valid,
    latency,
    phone_conditions,
    problems,
)
from paddleseg_ext_tools.lab.drawing import data_uri
from paddleseg_ext_tools.lab.pages import render

TEMPLATE = "comparison/report.html.jinja"


@dataclass(frozen=True)
class _Cell:
    text: str
    more: tuple[str, ...] = ()
    kind: str = ""


def html(comparison: Comparison, picture: np.ndarray) -> str:
    """The page; `picture` is the timed picture, RGB uint8 [H, W, 3]."""
    tables = [_table(comparison, table) for table in comparison.tables()]
    return render(
        TEMPLATE,
        title="What the models cost" if len(tables) > 1 else tables[0]["title"],
        lead=_lead(comparison),
        problems=problems(comparison),
        tables=tables,
        has_split=bool(comparison.decoders),
        explanations=[_code(line) for line in explanations(comparison)],
        picture=data_uri(picture, longest=512),
        conditions=[*comparison.conditions, *phone_conditions(comparison)],
    )


def _table(comparison: Comparison, table: str) -> dict:
    rows = comparison.tables()[table]
    found = [cells(row, comparison) for row in rows]
    shown = [name for name in found[0] if name != BACKBONE and any(row[name] != NONE for row in found)]
    published = comparison.catalogue.tables.get(table)
    return {
        "title": comparison.title(table),
        "columns": shown,
        "rows": [
            {"is_ours": figures.is_ours(row), "cells": [_name(text), *(_cell(text[name]) for name in shown[1:])]}
            for row, text in zip(rows, found, strict=True)
        ],
        "pareto": figures.pareto(comparison, table),
        "bars": figures.bars(comparison, table),
        "counting": counting(rows),
        "notes": [_code(note) for note in comparison.notes(table)],
        "source": comparison.catalogue.sources[published.source]["title"] if published else "",
    }


def _name(text: dict[str, str]) -> _Cell:
    """The model above its backbone in one cell, which saves a column."""
    return _Cell(text["model"], () if text[BACKBONE] == NONE else (text[BACKBONE],))


def _cell(text: str) -> _Cell:
    """A figure above its remarks in one cell: its 90th percentile, its change."""
    if text.startswith("failed: "):
        return _Cell(text, kind="failed")
    if match := re.fullmatch(rf"([\d.,]*\d(?: †)?)(?:, (p90 [\d.]+))?(?: \((.+?)\))?(?:, ({NOT_VALID}))?", text):
        return _Cell(match[1], tuple(part for part in match.groups()[1:] if part), "bad" if match[4] else "")
    return _Cell(text)


def _code(text: str) -> Markup:
    """Markdown's `code` as HTML's."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped before


def _lead(comparison: Comparison) -> str:
    """Sentences on the first table: each row is compared with its reference under the first runtime."""
    said = []
    key, title = comparison.runtimes[0] if comparison.runtimes else ("", "")
    for row in comparison.tables()[next(iter(comparison.tables()))]:
        against = comparison.reference(row)
        ours, theirs = latency(row, key), latency(against, key) if against else None
        if ours and theirs and is_valid(row, key) and is_valid(against, key):
            change = 100 * (ours / theirs - 1)
            word = "less" if change < 0 else "more"
            said.append(f"{row.name} takes {ours:.0f} ms, {abs(change):.0f} % {word} than {against.name}")
    if said:
        return f"{'; '.join(said)} ({title}, one picture)."
    return f"Published figures beside what can be {'measured here' if comparison.runtimes else 'counted'}."
