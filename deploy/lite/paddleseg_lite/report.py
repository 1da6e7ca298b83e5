"""Results as text: the blocks benchmark_bin prints, a markdown table, CSV; the page is in `page.py`."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

from paddleseg_lite.page import html_page
from paddleseg_lite.result import Failure, Result, first_valid, ratio, write_atomically

RULE = "-" * 17, "-" * 25  # before and after the name, as the published log has them
PRINTED = ("Brand", "Device", "Model", "Android Version", "Android API Level")  # benchmark_bin's Device Info
_CSV = (
    *("model", "output_op", "device", "target", "backend", "precision", "threads", "power_mode", "affinity"),
    *("init_ms", "first_ms", "min_ms", "median_ms", "mean_ms", "p90_ms", "max_ms", "std_ms"),
    *("runs", "runs_per_value", "rounds", "warmup", "agreement", "agreement_kind", "valid"),
    *("runtime", "runtime_version", "opt_version", "measured_at", "key"),
)


def write_texts(outcomes: Sequence[Result | Failure], result_file: Path, folder: Path, html: Path | None) -> None:
    """The text report, `results.md` and `results.csv` in `folder`, and, if asked for, the page."""
    blocks = (failure_block(one) if isinstance(one, Failure) else text_block(one) for one in outcomes)
    write_atomically(result_file, "\n".join(blocks))
    write_atomically(folder / "results.md", markdown_table(outcomes))
    write_atomically(folder / "results.csv", csv_table(outcomes))
    if html:
        write_atomically(html, html_page(outcomes))


def text_block(result: Result) -> str:
    """One case in benchmark_bin's layout, then `More Info`: what that tool does not print.

    The mean of an integer output is in labels here (benchmark_bin prints its bits as a float), which
    the added `dtype` line tells a reader.
    """
    sections = [f"{RULE[0]}Model={result.model} Threads={result.threads}{RULE[1]}"]
    if result.model_file:
        loaded = f"Load paddle model from {result.model_file} and {result.param_file}"
        sections.append(_section("Opt", [loaded, f"Save optimized model to {result.nb_file}"]))
    facts = result.device_facts
    shown = [key for key in facts if key in PRINTED or result.device == "host"]
    sections.append(_section("Device", [f"{key}: {facts[key]}" for key in shown]))
    sections.append(_section("Model", _model_lines(result)))
    sections.append(_section("Runtime", _runtime_lines(result)))
    sections.append(_section("Backend", [f"backend: {result.backend}", f"cpu precision: {result.precision}"]))
    sections.append(_section("Perf", _perf_lines(result)))
    sections.append(_section("More", _more_lines(result)))
    return "\n".join(sections)


def failure_block(failure: Failure) -> str:
    """The block of a failed case: its name and the reason."""
    head = f"{RULE[0]}Model={failure.model} Threads={failure.threads}{RULE[1]}"
    return f"{head}\nFAILED (exit code {failure.exit_code}, {failure.kind}): {failure.message}\n"


def markdown_table(outcomes: Sequence[Result | Failure]) -> str:
    """One row per case; `× first` compares medians with the first valid result."""
    head = "model|output op|precision|threads|init|first|min|median|mean|p90|max|std"
    head += "|× first|labels|agreement|valid"
    names = head.split("|")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    first = first_valid(outcomes)
    lines += [_failed_row(o, len(names)) if isinstance(o, Failure) else _row(o, first) for o in outcomes]
    return "\n".join([*lines, "", _legend(outcomes), ""])


def csv_table(outcomes: Sequence[Result | Failure]) -> str:
    """One row per result, one column per field; failures have a model, a message and no numbers."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_CSV, "labels", "invalid_reasons", "failure"])
    for one in outcomes:
        values = dataclasses.asdict(one)
        row = ["" if values.get(name) is None else values[name] for name in _CSV]
        if isinstance(one, Failure):
            row += ["", "", f"{one.kind}: {' '.join(one.message.split())}"]
        else:
            row += ["" if one.labels is None else one.labels, "; ".join(one.invalid_reasons), ""]
        writer.writerow(row)
    return stream.getvalue()


def _legend(outcomes: Sequence[Result | Failure]) -> str:
    averaged = [one.runs_per_value for one in outcomes if isinstance(one, Result) and one.runs_per_value > 1]
    if not averaged:
        return "Times in ms."
    return f"Times in ms; median, p90 and std are of means of {averaged[0]} runs (all that benchmark_bin prints)."


def _section(name: str, lines: list[str]) -> str:
    return "\n".join(["", f"======= {name} Info =======", *lines])


def _model_lines(result: Result) -> list[str]:
    lines = [
        f"optimized_model_file: {result.nb_file}",
        f"input_data_path: {result.input_file}",
        f"input_shape: {','.join(map(str, result.input_shape))}",
        f"output tensor num: {len(result.outputs)}",
    ]
    for index, output in enumerate(result.outputs):
        lines += [
            f"--- output tensor {index} ---",
            f"output shape(NCHW): {' '.join(map(str, output.shape))} ",
            f"output tensor {index} elem num: {math.prod(output.shape)}",
            f"output tensor {index} dtype: {output.dtype}",
            f"output tensor {index} mean value: {_number(output.mean)}",
            f"output tensor {index} standard deviation: {_number(output.std)}",
        ]
    return lines


def _runtime_lines(result: Result) -> list[str]:
    return [
        f"{result.runtime} version: {result.runtime_version}",
        f"threads: {result.threads}",
        f"power_mode: {result.power_mode}",
        f"warmup: {result.warmup}",
        f"repeats: {result.repeats}",
        "result_path: ",
    ]


def _perf_lines(result: Result) -> list[str]:
    named = ("init", result.init_ms), ("first", result.first_ms), ("min", result.min_ms)
    named += ("max", result.max_ms), ("avg", result.mean_ms)
    return ["Time(unit: ms):", *(f"{name:<5} = {value:<12.3f}" for name, value in named)]


def _more_lines(result: Result) -> list[str]:
    named = ("median", result.median_ms), ("p90", result.p90_ms), ("std", result.std_ms)
    lines = [f"{name:<6} = {value:<12.3f}" for name, value in named]
    lines += [f"runs: {result.runs}", f"rounds: {result.rounds}"]
    if result.runs_per_value > 1:
        lines += [f"median, p90 and std are of: means of {result.runs_per_value} runs"]
    lines += [f"means: {' '.join(f'{time:.3f}' for time in result.series_ms)}"] if result.runs_per_value > 1 else []
    lines += [f"opt version: {result.opt_version or 'not known'}", f"optimized on: {result.optimized_on}"]
    if result.device != "host":
        lines += [f"{key}: {value}" for key, value in result.device_facts.items() if key not in PRINTED]
    lines += [f"affinity: {result.affinity}"] if result.affinity else []
    lines += [f"output_op: {result.output_op or 'unknown'}"]
    lines += [f"labels in the output: {result.labels}"] if result.labels is not None else []
    lines += [f"{key} before: {value}" for key, value in result.state_before.items()]
    lines += [f"{key} after: {value}" for key, value in result.state_after.items()]
    lines += [f"agreement: {result.agreement_note}", f"valid: {'yes' if result.valid else 'NO'}"]
    lines += [f"not valid because: {reason}" for reason in result.invalid_reasons]
    lines += [f"mind: {word}" for word in result.warnings]
    return [*lines, ""]


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:g}"


def _row(result: Result, first: Result | None) -> str:
    times = (result.init_ms, result.first_ms, result.min_ms, result.median_ms)
    times += (result.mean_ms, result.p90_ms, result.max_ms, result.std_ms)
    cells = [result.model, result.output_op or "?", result.precision, str(result.threads)]
    cells += [f"{time:.1f}" for time in times]
    cells += [ratio(result, first), "" if result.labels is None else str(result.labels)]
    cells += [result.agreement_text, "yes" if result.valid else "NO: " + "; ".join(result.invalid_reasons)]
    return f"| {' | '.join(cells)} |"


def _failed_row(failure: Failure, columns: int) -> str:
    reason = " ".join(failure.message.split())
    cells = [failure.model, "", failure.precision, str(failure.threads), *[""] * (columns - 5)]
    cells.append(f"FAILED ({failure.kind}): {reason}")
    return f"| {' | '.join(cells)} |"
