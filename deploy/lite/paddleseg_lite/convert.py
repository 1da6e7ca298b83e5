"""Stage 2: opt turns a Paddle program into an .nb file for one target.

opt aborts if it does not know an operator and writes the reason to stderr, so success means exit code 0 *and* a
non-empty file. The file is written under a temporary name and then renamed, so that a failure leaves no file.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from paddleseg_lite.errors import ConversionError, UsageError
from paddleseg_lite.process import Finished, last_words, run_child

OPT_NAME = "paddle_lite_opt"
_UNSUPPORTED = re.compile(r"(\d+) ops are not supported on '([^']*)'.*?: (.+)")
_CHECK = re.compile(r"^\[F [^\]]*\]\s*(.*(?:\n(?!\[).+)?)", re.MULTILINE)
_HINTS = (
    ("threshold found for relu6", "export again so that relu6 keeps its `threshold`, which saving clips"),
    ("blocks.size()", "the .pdmodel is no Paddle program: export the model again"),
    ("not existed", "check the paths"),
)


def find_opt(named: str | None = None) -> Path:
    """The opt program: `named`, or paddle_lite_opt beside this Python, or on PATH.

    Raises:
        UsageError: there is no opt, or `named` cannot be run.
    """
    if named:
        if not os.access(named, os.X_OK) or not os.path.isfile(named):
            raise UsageError(f"--opt {named}: not a program that can be run")
        return Path(named).absolute()
    beside = Path(sys.executable).parent / OPT_NAME
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(OPT_NAME)
    if not found:
        raise UsageError(
            f"{OPT_NAME} is neither beside {sys.executable} nor on PATH",
            hint="pip install paddlelite==2.13rc0 (wheels exist for Python 3.8 and 3.10), or --opt PATH",
        )
    return Path(found)


def convert(
    model_file: Path,
    param_file: Path,
    nb_file: Path,
    target: str,
    opt: Path,
    timeout_s: float = 300,
    precision: str = "fp32",
) -> Path:
    """Write `nb_file` (must end in .nb) for `target`: `x86`, `arm`, or several opt knows, comma-separated.

    `precision` is `fp32`; `fp16` (ARM, computed in fp16 where the kernels can); or `int8`, which stores the weights
    of convolutions and matrix products in 8 bits, to be computed in fp32: a smaller file, not a faster one.

    Raises:
        ConversionError: opt failed, gave no answer within `timeout_s` seconds, or wrote nothing;
            whatever was at `nb_file` before is then still there.
    """
    try:
        nb_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".opt-", dir=nb_file.parent) as work:
            made = Path(work) / "model.nb"
            finished = run_child(_command(opt, model_file, param_file, made, target, precision), timeout_s)
            if finished.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
                raise _failure(model_file, target, finished)
            os.replace(made, nb_file)
    except OSError as error:
        raise ConversionError(f"{model_file}: opt could not run or write ({error})") from error
    return nb_file


def _command(opt: Path, model_file: Path, param_file: Path, made: Path, target: str, precision: str) -> list[str]:
    more = {"int8": ["--quant_model=true", "--quant_type=QUANT_INT8"], "fp16": ["--enable_fp16=true"]}
    return [
        str(opt),
        f"--model_file={model_file.absolute()}",
        f"--param_file={param_file.absolute()}",
        f"--optimize_out={made.with_suffix('')}",  # opt appends .nb
        f"--valid_targets={target}",
        *more.get(precision, []),
    ]


def _failure(model_file: Path, target: str, finished: Finished) -> ConversionError:
    text = finished.stderr + "\n" + finished.stdout
    if finished.timed_out:
        return ConversionError(f"{model_file}: opt did not end in time", hint="a larger --timeout")
    unsupported = _UNSUPPORTED.search(text)
    if unsupported:
        names = ", ".join(sorted(set(re.findall(r"'([^']+)'", unsupported[3]))))
        return ConversionError(
            f"{model_file}: opt knows no kernel on '{unsupported[2]}' for: {names}",
            "a graph of operators Paddle-Lite has",
            f"export with these operators rewritten or folded, or another target than {target}",
        )
    checks = _CHECK.findall(text)
    reason = " ".join(checks[-1].split()) if checks else last_words(finished.stderr)
    hint = next((hint for sign, hint in _HINTS if sign in reason), "export again; compare versions")
    left = " and left no file" if finished.returncode == 0 else ""
    return ConversionError(f"{model_file}: opt failed for {target}{left} ({finished.cause()}): {reason}", hint=hint)


def nb_version(nb_file: Path) -> str | None:
    """The version of the opt that made `nb_file`, stored after the first two bytes; None if it is not there."""
    with nb_file.open("rb") as stream:
        head = stream.read(18)
    match = re.match(rb"[\w.+-]+(?=\0|$)", head[2:])
    return match[0].decode("ascii") if match else None
