"""Draws the pictures of the comparison as inline SVG: latency against mIoU, and how each model spends its time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paddleseg_ext_tools.comparison.report import Comparison, is_valid, latency, miou
from paddleseg_ext_tools.comparison.rows import Row
from paddleseg_ext_tools.lab.drawing import FIGURE_STYLE, INK, MUTED, inline_svg

OURS, OTHERS = "#d9572f", "#2a6cc0"
OURS_LIGHT, OTHERS_LIGHT = "#f2c5b7", "#b4cdea"
NETWORK, OP = "#b9c9dd", "#e2683c"
PUBLISHED = "published"
_CHARACTER, _LINE = 4.5, 9.5  # width and height of the labels' letters, in points
_POINTS_PER_MILLION = 26.0


@dataclass(frozen=True)
class Point:
    """One model in a panel. `miou` is in percent; `measured` is the number of coordinates, 0 to 2, measured here."""

    name: str
    ms: float
    miou: float
    parameters: int
    is_ours: bool
    measured: int
    is_valid: bool = True


def points(comparison: Comparison, table: str, panel: str) -> list[Point]:
    """The points of one panel: `published`, or the key of a runtime. A row that lacks a coordinate has no point."""
    found = []
    for row in comparison.tables()[table]:
        value, is_measured = miou(row)
        ms = row.published.latency_ms if panel == PUBLISHED else latency(row, panel)
        if panel == PUBLISHED:
            value, is_measured = row.published.miou.get("single"), False
        if value is None or ms is None:
            continue
        parameters = row.system.prepared.complexity.trainable if row.system.prepared else 0
        measured = (panel != PUBLISHED) + is_measured
        valid = panel == PUBLISHED or is_valid(row, panel)
        found.append(Point(row.name, ms, value, parameters, is_ours(row), measured, valid))
    return found


def is_ours(row: Row) -> bool:
    """Whether the row is PP-MobileSeg or a part of it."""
    return "pp_mobileseg" in row.config or "strideformer" in row.config


def front(found: Sequence[Point]) -> list[Point]:
    """The valid points that no other point beats in both coordinates, by rising latency."""
    best: list[Point] = []
    for point in sorted((p for p in found if p.is_valid), key=lambda p: (p.ms, -p.miou)):
        if not best or point.miou > best[-1].miou:
            best.append(point)
    return best


def pareto(comparison: Comparison, table: str) -> Markup | None:
    """Draws `pareto_figure` for the page. Returns None if there are no points."""
    figure = pareto_figure(comparison, table)
    if figure is None:
        return None
    description = "; ".join(
        f"{title}: " + ", ".join(f"{p.name} {p.ms:.0f} ms {p.miou:.1f} %" for p in found)
        for title, found in _panels(comparison, table).items()
    )
    return inline_svg(figure, f"pareto-{table}", f"Latency against mIoU. {description}")


def pareto_figure(comparison: Comparison, table: str) -> Figure | None:
    """Draws latency against mIoU, one panel for the published figures and one per runtime.

    The area of a point shows the number of parameters. Returns None if there are no points.
    """
    panels = _panels(comparison, table)
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    wide, high = 5.0 * columns, 3.5 * rows
    with matplotlib.rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(wide, high))
        figure.subplots_adjust(
            left=0.55 / wide, right=1 - 0.1 / wide, top=1 - 0.35 / high, bottom=0.5 / high, wspace=0.13, hspace=0.34
        )
        for number, (title, found) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.set_title(title, pad=6)
            axes.set_xlabel("milliseconds")
            axes.set_ylabel("" if number % columns else "mIoU, %")
            _panel(axes, found)
    return figure


def _panels(comparison: Comparison, table: str) -> dict[str, list[Point]]:
    device = comparison.catalogue.device.partition(" (")[0]
    titles = {PUBLISHED: f"Published: {device}", **dict(comparison.runtimes)}
    return {title: found for key, title in titles.items() if (found := points(comparison, table, key))}


def _panel(axes: Axes, found: Sequence[Point]) -> None:
    low, high = min(p.miou for p in found), max(p.miou for p in found)
    room = max(1.0, 0.16 * (high - low))
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))  # longer numbers would push the label off the picture
    axes.set_xlim(0, 1.12 * max(p.ms for p in found))
    line = front(found)
    axes.plot([p.ms for p in line], [p.miou for p in line], color="#9aa7b8", linewidth=1.2, linestyle="--", zorder=1)
    for point in sorted(found, key=lambda p: -p.parameters):
        colour = OURS if point.is_ours else OTHERS
        face = ("#ffffff", OURS_LIGHT if point.is_ours else OTHERS_LIGHT, colour)[point.measured]
        style = {"s": _area(point), "linewidth": 1.5, "linestyle": "-" if point.is_valid else ":", "zorder": 2}
        axes.scatter([point.ms], [point.miou], facecolor=face, edgecolor=colour, **style)
    _label(axes, found)


def _area(point: Point) -> float:
    return 24 + _POINTS_PER_MILLION * point.parameters / 1e6


def _label(axes: Axes, found: Sequence[Point]) -> None:
    """Writes each name at the first place beside its point where it covers no other name and no point."""
    scale = 72 / axes.figure.dpi
    centres = [axes.transData.transform((p.ms, p.miou)) * scale for p in found]
    radii = [math.sqrt(_area(p) / math.pi) for p in found]
    frame = axes.get_window_extent()
    left, right = frame.x0 * scale, frame.x1 * scale
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, radii, strict=True)]
    for number, point in enumerate(found):
        (x, y), r, width = centres[number], radii[number] + 3, _CHARACTER * len(point.name)
        places = [(r, -3.0, "left"), (-r, -3.0, "right"), (0, r, "center"), (0, -r - 7, "center")]
        places += [(r, r, "left"), (-r, r, "right"), (r, -r - 6, "left"), (-r, -r - 6, "right")]
        places += [(0, r + 11, "center"), (0, -r - 18, "center"), (r, r + 11, "left"), (-r, -r - 17, "right")]
        others = [box for index, box in enumerate(taken) if index != number]
        boxes = [_box(x + dx, y + dy, width, align) for dx, dy, align in places]
        costs = [sum(_overlap(box, other) for other in others) + _outside(box, left, right) for box in boxes]
        best = min(range(len(places)), key=lambda index: (round(costs[index]), index))
        dx, dy, align = places[best]
        taken.append(boxes[best])
        axes.annotate(
            point.name, (point.ms, point.miou), (dx, dy), textcoords="offset points", ha=align, size=8,
            color=OURS if point.is_ours else INK, weight="bold" if point.is_ours else "normal",
        )  # fmt: skip


def _box(x: float, y: float, width: float, align: str) -> tuple[float, float, float, float]:
    start = {"left": x, "right": x - width, "center": x - width / 2}[align]
    return start, y - 1, start + width, y + _LINE - 1


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _outside(box: Sequence[float], left: float, right: float) -> float:
    return 50 * (max(left - box[0], 0.0) + max(box[2] - right, 0.0))


def bars(comparison: Comparison, table: str) -> Markup | None:
    """Draws each row's time under each runtime, split into network and output op if the network was timed alone."""
    rows = [row for row in comparison.tables()[table] if any(latency(row, key) for key, _ in comparison.runtimes)]
    if not rows:
        return None
    runtimes = list(comparison.runtimes)
    high = 0.2 + len(rows) * (0.14 + 0.19 * len(runtimes))
    longest = max(latency(row, key) or 0 for row in rows for key, _ in runtimes)
    with matplotlib.rc_context(FIGURE_STYLE | {"axes.spines.left": False}):
        figure = Figure(figsize=(9.6, high + 0.45))
        figure.subplots_adjust(left=0.19, right=0.985, top=1 - 0.05 / (high + 0.45), bottom=0.4 / (high + 0.45))
        axes = figure.add_subplot()
        step, ticks = len(runtimes) + 0.8, []
        for index, row in enumerate(rows):
            ticks.append(index * step + (len(runtimes) - 1) / 2)
            for place, (key, title) in enumerate(runtimes):
                _bar(axes, index * step + place, row, key, title, comparison, longest)
        axes.set_yticks(ticks, [f"{row.name}\n{row.system.output_op}" for row in rows], color=INK)
        axes.set_ylim(len(rows) * step - 0.6, -0.8)
        axes.set_xlim(0, 1.3 * longest)
        axes.set_xlabel("milliseconds, median")
        axes.grid(axis="y", visible=False)
    times = [" / ".join(f"{latency(row, key) or 0:.0f}" for key, _ in runtimes) for row in rows]
    description = ", ".join(f"{row.name}: {of_row}" for row, of_row in zip(rows, times, strict=True))
    titles = " / ".join(title for _, title in runtimes)
    return inline_svg(figure, f"bars-{table}", f"Milliseconds under {titles}. {description}")


def _bar(axes: Axes, place: float, row: Row, key: str, title: str, comparison: Comparison, longest: float) -> None:
    ms = latency(row, key)
    if ms is None:
        axes.text(0.004 * longest, place, f"{title}: no figure", size=7.5, color=MUTED, va="center")
        return
    network = comparison.network_ms(row, key)
    shown = min(network, ms) if network else ms
    axes.barh(place, shown, height=0.84, color=NETWORK)
    if network and ms > network:
        axes.barh(place, ms - network, left=network, height=0.84, color=OP)
    valid = is_valid(row, key)
    text = f"{ms:.1f}  {title}" if valid else f"{ms:.1f}  {title}: not valid"
    axes.text(ms + 0.006 * longest, place, text, size=7.5, color=INK if valid else "#b3261e", va="center")
