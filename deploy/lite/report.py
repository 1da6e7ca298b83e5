"""Results as text: the blocks benchmark_bin prints, a markdown table, a ratio."""

from __future__ import annotations

from collections.abc import Sequence

from result import Failure, Output, Result

RULE = "-" * 17, "-" * 25  # before and after the name, as the published log has them


def text_block(result: Result) -> str:
    """One case in benchmark_bin's layout, then `More Info`: what that tool does not print.

    The mean of an integer output is in labels here (benchmark_bin prints its bits as a float), which
    the added `dtype` line tells a reader.
    """
    sections = [f"{RULE[0]}Model={result.model} Threads={result.threads}{RULE[1]}"]
    if result.model_file:
        loaded = f"Load paddle model from {result.model_file} and {result.param_file}"
        sections.append(_section("Opt", [loaded, f"Save optimized model to {result.nb_file}"]))
    sections.append(_section("Device", [f"{key}: {value}" for key, value in result.device_facts.items()]))
    sections.append(_section("Model", _model_lines(result)))
    sections.append(_section("Runtime", _runtime_lines(result)))
    sections.append(_section("Backend", [f"backend: {result.target}", f"cpu precision: {result.precision}"]))
    sections.append(_section("Perf", _perf_lines(result)))
    sections.append(_section("More", _more_lines(result)))
    return "\n".join(sections)


def failure_block(failure: Failure) -> str:
    """The place of a case that gave no number: its name, and why."""
    head = f"{RULE[0]}Model={failure.model} Threads={failure.threads}{RULE[1]}"
    return f"{head}\nFAILED (exit code {failure.exit_code}): {failure.message}\n"


def markdown_table(outcomes: Sequence[Result | Failure]) -> str:
    """One row a case; `× first row` compares medians with the first case that has a number."""
    head = "model|output op|threads|init|first|min|median|mean|p90|std|× first row|labels|agreement|valid"
    names = head.split("|")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    first = next((outcome for outcome in outcomes if isinstance(outcome, Result)), None)
    lines += [_failed_row(o, len(names)) if isinstance(o, Failure) else _row(o, first) for o in outcomes]
    return "\n".join([*lines, "", "Times in ms.", ""])


def ratio(result: Result, base: Result) -> float:
    """`result`'s median over `base`'s; only of use when both were measured in one run."""
    return result.median_ms / base.median_ms


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
        lines += _output_lines(index, output)
    return lines


def _output_lines(index: int, output: Output) -> list[str]:
    count = 1
    for size in output.shape:
        count *= size
    return [
        f"--- output tensor {index} ---",
        f"output shape(NCHW): {' '.join(map(str, output.shape))} ",
        f"output tensor {index} elem num: {count}",
        f"output tensor {index} dtype: {output.dtype}",
        f"output tensor {index} mean value: {_number(output.mean)}",
        f"output tensor {index} standard deviation: {_number(output.std)}",
    ]


def _runtime_lines(result: Result) -> list[str]:
    return [
        f"{result.runtime} version: {result.runtime_version}",
        f"threads: {result.threads}",
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
    lines += [f"runs: {len(result.series_ms)}", f"rounds: {result.rounds}"]
    lines += [f"opt version: {result.opt_version or 'not used'}"]
    lines += [f"output_op: {result.output_op or 'unknown'}"]
    labels = result.outputs[0].labels if result.outputs else None
    lines += [f"labels in the output: {labels}"] if labels is not None else []
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
    times += (result.mean_ms, result.p90_ms, result.std_ms)
    labels = result.outputs[0].labels if result.outputs else None
    cells = [result.model, result.output_op or "?", str(result.threads), *(f"{time:.1f}" for time in times)]
    cells += [f"{ratio(result, first or result):.2f}", "" if labels is None else str(labels)]
    cells += [_agreement(result), "yes" if result.valid else "NO: " + "; ".join(result.invalid_reasons)]
    return f"| {' | '.join(cells)} |"


def _agreement(result: Result) -> str:
    if result.agreement is None:
        return "not checked" if result.valid else "none"
    if result.agreement_kind == "equal_pixels":
        return f"{result.agreement:.3%}"
    return f"within {result.agreement:.1g} std"


def _failed_row(failure: Failure, columns: int) -> str:
    reason = " ".join(failure.message.split())
    cells = [failure.model, "", str(failure.threads), *[""] * (columns - 4), f"FAILED: {reason}"]
    return f"| {' | '.join(cells)} |"
