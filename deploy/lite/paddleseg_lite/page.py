"""Writes the results as a single HTML file: a table, and every model's distribution as inline SVG."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape

from paddleseg_lite.result import Failure, Result, first_valid, percentile, ratio

_STYLE = """
:root { --ink: #1d2530; --soft: #66707c; --line: #dfe3e8; --paper: #fff; --wash: #f5f7f9; --mark: #1864ab;
  --bad: #b42318; --ok: #2b7a3d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --line: #333b45; --paper: #14181d;
  --wash: #1c2229; --mark: #74b0e8; --bad: #ff8a7a; --ok: #7fce91; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 2.5rem 1.5rem 4rem }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; letter-spacing: -.01em }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem }
p.lead, .soft { color: var(--soft) }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .9rem 1.5rem; margin: 1.4rem 0 0;
  padding: 1rem 1.2rem; background: var(--wash); border-radius: 8px }
dt { color: var(--soft); font-size: .78rem } dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums }
th, td { padding: .45rem .45rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500; font-size: .82rem } td:first-child, th:first-child { text-align: left }
tr.why td { text-align: left; white-space: normal; padding-top: 0; font-size: .88rem }
tr:has(+ tr.why) td { border: 0 }
td.main { font-weight: 650 } .bad { color: var(--bad) } .ok { color: var(--ok) }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--ink); font-size: 13px }
svg .soft { fill: var(--soft); font-size: 11.5px } svg .axis { stroke: var(--line) }
svg .bar { fill: var(--mark); fill-opacity: .8 } svg .inside { fill: var(--paper); font-weight: 600 }
svg .dot { fill: var(--mark); fill-opacity: .35 } svg .median { stroke: var(--mark); stroke-width: 2.5 }
svg .span { stroke: var(--mark); stroke-opacity: .5; stroke-width: 1.5 }
svg .box { fill: var(--mark); fill-opacity: .13 } svg .invalid { opacity: .4 }
details { border-top: 1px solid var(--line); padding: .7rem 0 } summary { cursor: pointer; font-weight: 600 }
"""
_WIDTH, _ROW, _BAR, _ZOOM = 1100, 54, (230, 650), (700, 1075)  # of the picture, in its own units
_MOST_DOTS = 400
_SHARED = ("Brand", "Model", "SoC", "Host CPU", "Cores", "Android Version", "Android API Level", "ABI", "OS", "Serial")


def html_page(outcomes: Sequence[Result | Failure]) -> str:
    """The complete document; it loads no other file and runs no script."""
    results = [one for one in outcomes if isinstance(one, Result)]
    failures = [one for one in outcomes if isinstance(one, Failure)]
    valid = sum(one.valid for one in results)
    said = f"{valid} of {len(outcomes)} cases valid"
    said += f", {len(results) - valid} measured but not valid" if len(results) > valid else ""
    said += f", {len(failures)} failed" if failures else ""
    parts = ["<h1>Latency under Paddle-Lite</h1>", f'<p class="lead">{said}. Times in milliseconds.</p>']
    if results:
        parts += [_facts(results[0]), "<h2>Figures</h2>", _table(outcomes), "<h2>Distribution of the counted runs</h2>"]
        parts += [_note(results), _picture(results), "<h2>Conditions</h2>", *map(_conditions, results)]
    if failures:
        parts += ["<h2>Failed</h2>", *map(_failure, failures)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    title = "<title>Latency under Paddle-Lite</title>"
    return f"<!doctype html>\n<html lang=en>{head}{title}<main>{''.join(parts)}</main></html>\n"


def _facts(result: Result) -> str:
    pairs = [(name, result.device_facts[name]) for name in _SHARED if result.device_facts.get(name)]
    pairs += [("Runtime", f"{result.runtime} {result.runtime_version}"), ("opt", result.opt_version or "not known")]
    pairs += [("Measured", result.measured_at.replace("T", " ").replace("+00:00", " UTC"))]
    return "<dl>" + "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in pairs) + "</dl>"


def _table(outcomes: Sequence[Result | Failure]) -> str:
    names = "model|output op|precision|threads|median|p90|min|max|mean|std|first|init|× first|labels|agreement|"
    head = "".join(f"<th>{name}</th>" for name in names.split("|"))
    first = first_valid(outcomes)
    rows = [_row(one, first) if isinstance(one, Result) else "" for one in outcomes]
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(result: Result, first: Result | None) -> str:
    cells = [_cell(escape(result.model)), _cell(escape(result.output_op or "?")), _cell(result.precision)]
    cells += [_cell(str(result.threads)), _cell(f"{result.median_ms:.1f}", "main")]
    times = (result.p90_ms, result.min_ms, result.max_ms, result.mean_ms)
    times += (result.std_ms, result.first_ms, result.init_ms)
    cells += [_cell(f"{time:.1f}") for time in times]
    cells += [_cell(ratio(result, first)), _cell("" if result.labels is None else str(result.labels))]
    cells += [_cell(result.agreement_text), _cell("valid", "ok") if result.valid else _cell("not valid", "bad")]
    row = f"<tr>{''.join(cells)}</tr>"
    if result.valid:
        return row
    reasons = escape("; ".join(result.invalid_reasons))
    return f'{row}<tr class="why"><td colspan="{len(cells)}" class="bad">{reasons}</td></tr>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def _note(results: Sequence[Result]) -> str:
    words = (
        "Left, the medians on one scale. Right, each model's runs around its own median: a dot is one counted run,"
        " the box the middle half, the whisker minimum to maximum."
    )
    if any(one.runs_per_value > 1 for one in results):
        words += (
            f" Of a phone, a dot is the mean of {max(one.runs_per_value for one in results)} runs of one process:"
            " benchmark_bin prints no single ones; its whisker is of single runs."
        )
    return f'<p class="soft">{words} Fainter rows are not valid.</p>'


def _picture(results: Sequence[Result]) -> str:
    most = max(one.median_ms for one in results) * 1.02
    # A single slow run must not squeeze the others together: values beyond the axis are drawn at its edge.
    wide = max(percentile([abs(v / one.median_ms - 1) for v in one.series_ms], 95) for one in results)
    wide = max(0.02, wide * 1.1)
    height = _ROW * len(results) + 34
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="medians, and runs around them, by model">']
    step = _step(most)
    parts += [_tick(_bar(n * step, most), f"{n * step:g}", height) for n in range(int(most / step) + 1)]
    side = _step(wide * 100, 3) / 100
    marks = range(-int(wide / side), int(wide / side) + 1)
    parts += [_tick(_zoom(n * side, wide), f"{n * side * 100:+g} %" if n else "median", height) for n in marks]
    parts += [_strip(one, number * _ROW + _ROW / 2, most, wide) for number, one in enumerate(results)]
    return "".join(parts) + "</svg>"


def _tick(x: float, text: str, height: int) -> str:
    line = f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 26}"/>'
    return f'{line}<text class="soft" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{text}</text>'


def _strip(result: Result, y: float, most: float, wide: float) -> str:
    def place(value: float) -> float:
        return _zoom(min(max(value / result.median_ms - 1, -wide), wide), wide)

    low, high = place(result.min_ms), place(result.max_ms)
    left, right = place(percentile(result.series_ms, 25)), place(percentile(result.series_ms, 75))
    end, middle = _bar(result.median_ms, most), _zoom(0, wide)
    under = f"{result.output_op or '?'}, {result.precision}, {result.threads} thread{'s' if result.threads > 1 else ''}"
    parts = [
        f'<text x="0" y="{y - 3:.1f}">{escape(_short(result.model))}</text>',
        f'<text class="soft" x="0" y="{y + 13:.1f}">{escape(under)}</text>',
        f'<rect class="bar" x="{_BAR[0]}" y="{y - 11:.1f}" width="{end - _BAR[0]:.1f}" height="22" rx="3"/>',
        f'<text x="{end - 7:.1f}" y="{y + 4.5:.1f}" text-anchor="end" class="inside">{result.median_ms:.1f}</text>',
        f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<rect class="box" x="{left:.1f}" y="{y - 13:.1f}" width="{max(right - left, 1):.1f}" height="26" rx="3"/>',
    ]
    every = max(1, len(result.series_ms) // _MOST_DOTS)
    for number, value in enumerate(result.series_ms[::every]):
        spread = (number * 0.618034 % 1 - 0.5) * 22  # even, and the same in every picture
        parts.append(f'<circle class="dot" cx="{place(value):.1f}" cy="{y + spread:.1f}" r="2.6"/>')
    parts.append(f'<line class="median" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 15:.1f}" y2="{y + 15:.1f}"/>')
    return f'<g class="{"" if result.valid else "invalid"}">{"".join(parts)}</g>'


def _bar(value: float, most: float) -> float:
    return _BAR[0] + value / most * (_BAR[1] - _BAR[0])


def _zoom(share: float, wide: float) -> float:
    return (_ZOOM[0] + _ZOOM[1]) / 2 + share / wide * (_ZOOM[1] - _ZOOM[0]) / 2


def _step(most: float, ticks: int = 6) -> float:
    """Of the axis: 1, 2 or 5 times a power of ten, for at most `ticks` ticks."""
    power = 1e-3
    while power * 10 < most / ticks:
        power *= 10
    return next(power * factor for factor in (1, 2, 5, 10) if most / (power * factor) <= ticks)


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:33] + "…"


def _conditions(result: Result) -> str:
    pairs = {
        "rounds × counted runs": f"{result.rounds} × {result.runs // result.rounds}, after {result.warmup} to warm up",
        "medians of the rounds": ", ".join(f"{time:.1f}" for time in result.round_medians_ms),
        "spread": f"{result.std_ms / statistics.fmean(result.series_ms):.1%} standard deviation over mean",
        "backend, power mode": f"{result.backend}, {result.power_mode}",
        "cores": result.affinity or "as the runtime chooses",
        "input": f"{result.input_file}, {'x'.join(map(str, result.input_shape))}",
        "optimized on": result.optimized_on,
    }
    for name in {**result.state_before, **result.state_after}:
        before, after = result.state_before.get(name, "?"), result.state_after.get(name, "?")
        pairs[name] = before if before == after else f"{before} → {after}"
    pairs.update({"not valid because" + " " * n: reason for n, reason in enumerate(result.invalid_reasons)})
    pairs.update({"mind" + " " * n: word for n, word in enumerate(result.warnings)})
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in pairs.items())
    title = f"{result.model}, {result.precision}, {result.threads} thread(s)"
    return f"<details><summary>{escape(title)}</summary><dl>{rows}</dl></details>"


def _failure(failure: Failure) -> str:
    name = f"{failure.model}, {failure.precision}, {failure.threads} thread(s)"
    why = f'<span class="bad">{failure.kind}</span>: {escape(failure.message)}'
    return f"<p><b>{escape(name)}</b><br>{why}</p>"
