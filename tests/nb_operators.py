"""The operators in a converted model, as the runtime's own drawing of the graph shows them."""

import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_OPERATOR = re.compile(r'^\s*node_\d+\[label="([^"]+)".*fillcolor="yellow"', re.MULTILINE)
_DRAW = "import sys; from paddlelite.lite import Opt; Opt().visualize_optimized_nb_model(*sys.argv[1:])"


def count_operators(nb_file):
    """Operators by type over all blocks of `nb_file`; each input's `feed` and output's `fetch` count."""
    with tempfile.TemporaryDirectory(prefix="nb-") as work:
        done = subprocess.run([sys.executable, "-c", _DRAW, str(nb_file), work], capture_output=True, timeout=60)
        drawings = sorted(Path(work).glob("*.dot"))
        assert done.returncode == 0 and drawings, f"{nb_file} cannot be drawn: {done.stderr.decode(errors='replace')}"
        names = [name for drawing in drawings for name in _OPERATOR.findall(drawing.read_text())]
    return dict(sorted(collections.Counter(names).items()))
