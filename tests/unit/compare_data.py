"""A comparison with made-up measurements over the real rows, for the tests of the reports."""

from pathlib import Path

import numpy as np

from paddleseg_ext_tools.commands import compare
from paddleseg_ext_tools.comparison import rows as compare_rows
from paddleseg_ext_tools.comparison.prepare import PROBED, Prepared
from paddleseg_ext_tools.comparison.published import load_catalogue
from paddleseg_ext_tools.comparison.report import Comparison
from paddleseg_ext_tools.lab.complexity import Complexity
from paddleseg_ext_tools.lab.forms import FORM
from paddleseg_ext_tools.lab.rounds import Latency

RUNTIMES = [(key, FORM[key].title) for key in compare.RUNTIMES]


def latency(median, valid=True):
    reasons = () if valid else ("the machine was busy",)
    values = dict.fromkeys(("min_ms", "mean_ms", "max_ms", "std_ms", "init_ms", "first_ms"), median)
    series = (median - 1, median, median + 7)
    return Latency("runtime", "1.0", median_ms=median, p90_ms=median + 5.6, **values, series_ms=series,
                   round_medians_ms=(median,), threads=1, cpu_per_wall=1.0, agreement="100% equal", valid=valid,
                   invalid_reasons=reasons, warnings=())  # fmt: skip


def prepared(trainable, miou=None, kept=15, weights=PROBED):
    complexity = Complexity(
        trainable, 50_000, trainable - 20_000, trainable - 30_000, 2_000_000_000, 1_000_000, (512, 512)
    )
    array = np.zeros((1, 3, 8, 8), "float32")
    return Prepared(
        Path("models"), array, array, complexity, 150, weights, kept, kept, miou, "10 images of data" if miou else None
    )


def comparison(*argv):
    """The rows of a command line, each system with latencies of its own; decoders under Paddle-Lite."""
    catalogue = load_catalogue()
    rows = compare_rows.plan(compare.parse_args(list(argv)), catalogue)
    systems = compare_rows.distinct(rows)
    decoders = compare_rows.decoders(systems)
    for number, system in enumerate(systems):
        published = next(row.published for row in rows if row.system is system)
        base = published.latency_ms or 200.0
        kept = 15 if system.output_op == "vim" else 150
        system.prepared = prepared(1_000_000 * (number + 1), kept=kept)
        system.latencies = {
            key: latency(base * share) for (key, _), share in zip(RUNTIMES, (0.5, 0.4, 0.9), strict=True)
        }
    for decoder in decoders.values():
        decoder.latencies = decoder.latencies or {"lite_fp32": latency(80.0)}
    conditions = [("Command", "python tools/compare.py"), ("Host CPU", "Some <CPU>")]
    return Comparison(rows, catalogue, RUNTIMES, conditions, decoders)
