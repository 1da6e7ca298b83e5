"""What the pages share to draw: the style of figures, figures as inline SVG, photographs as data URIs.

Everything is ready for a page without other files, and the text of a figure takes the page's font. Figures are made
without pyplot, so that no backend is chosen for anyone else.
"""

import base64
import io
import re
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

TILE = 384  # longest side of a tile in pixels; smaller pictures stay as they are
INK, MUTED, GRID = "#1b2533", "#5b6878", "#e4e8ee"
FIGURE_STYLE = {
    "font.size": 8.5,
    "axes.edgecolor": "#b9c2ce",
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def data_uri(image: np.ndarray, kind: str = "jpeg", longest: int = TILE) -> str:
    """`image`, RGB uint8 [H, W, 3], scaled down to `longest` and packed into a data URI (`jpeg` or `png`)."""
    picture = Image.fromarray(image)
    if kind == "jpeg":
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        options: dict[str, Any] = {"quality": 88, "subsampling": 0}
    else:
        picture.thumbnail((longest, longest), Image.Resampling.NEAREST)
        picture, options = picture.quantize(256, dither=Image.Dither.NONE), {"optimize": True}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """`figure` as an <svg> element: no XML prologue, no addresses, identifiers of its own, `alt` as its label."""
    buffer = io.StringIO()
    with matplotlib.rc_context(FIGURE_STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True)
    _, _, text = buffer.getvalue().partition("<svg")
    attributes, end, content = text.partition(">")
    attributes = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", attributes)
    text = attributes + end + re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
    # The page's font, at the size matplotlib chose.
    text = re.sub(r"(font: [^;\"]*?)(['\w][^;\"]*)(?=[;\"])", _page_font, text)
    return Markup('<svg role="img" aria-label="{}"').format(alt) + Markup(text)  # noqa: S704


def _page_font(match: re.Match) -> str:
    size = re.search(r"[\d.]+px", match.group(0))
    bold = "bold " if re.search(r"bold|700", match.group(0)) else ""
    return f"font: {bold}{size.group(0) if size else '9px'} system-ui, sans-serif"
