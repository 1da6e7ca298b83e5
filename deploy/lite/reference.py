"""Is the fast answer the right one? The model's output under Paddle Inference, and the comparison with it.

The reference is computed by `deploy/run_static.py` of the package that exported the model, in a child
process; on a machine without that package there is no reference, and the result says so.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plan import Case
from process import run_child

PACKAGE = "paddleseg_ext"
LEAST_EQUAL = 0.999  # of the pixels of an integer output
MOST_DEVIATION = 1e-2  # largest difference of a float output, in standard deviations of the reference


@dataclass(frozen=True)
class Reference:
    """`outputs` of Paddle for the same input, or None and the reason in `note`."""

    outputs: tuple[np.ndarray, ...] | None
    note: str


@dataclass(frozen=True)
class Agreement:
    """`value` is a fraction (`equal_pixels`, 1 is best) or a distance (`max_abs_over_std`, 0 is best)."""

    value: float | None
    kind: str | None
    note: str
    good: bool = True


def find_runner() -> Path | None:
    """The installed package's `deploy/run_static.py`, or that of the checkout this file lies in."""
    folders = [Path(__file__).resolve().parents[2] / PACKAGE]
    spec = importlib.util.find_spec(PACKAGE)
    if spec and spec.submodule_search_locations:
        folders = [Path(place) for place in spec.submodule_search_locations] + folders
    scripts = [folder / "deploy" / "run_static.py" for folder in folders]
    return next((script for script in scripts if script.is_file()), None)


def compute_reference(case: Case, input_array: np.ndarray, timeout_s: float) -> Reference:
    """Run Paddle Inference on `case`'s program. Never raises for a reference that cannot be had."""
    if case.model_file is None or case.param_file is None:
        return Reference(None, "no Paddle program beside the .nb file to compare with")
    script = find_runner()
    if script is None:
        return Reference(None, f"{PACKAGE} is not on this machine, so nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="reference-") as work:
        source, made = Path(work) / "in.npy", Path(work) / "out.npz"
        np.save(source, input_array)
        command = [sys.executable, str(script), "--model", str(case.model_file)]
        command += ["--params", str(case.param_file), "--input", str(source), "--output", str(made)]
        try:
            finished = run_child(command, timeout_s)
            if finished.returncode != 0:
                last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
                return Reference(None, f"the reference run failed ({finished.cause()}): {last}")
            with np.load(made, allow_pickle=False) as arrays:
                outputs = tuple(arrays[f"output{index}"] for index in range(len(arrays.files)))
            return Reference(outputs, "Paddle Inference")
        except (OSError, ValueError, KeyError) as error:
            return Reference(None, f"the reference run left no readable output ({error!r})")


def compare(outputs: tuple[np.ndarray, ...], reference: Reference) -> Agreement:
    """How well `outputs` agree with `reference`; of several outputs the worst one."""
    if reference.outputs is None:
        return Agreement(None, None, reference.note)
    if len(outputs) != len(reference.outputs):
        note = f"{len(outputs)} outputs, the reference has {len(reference.outputs)}"
        return Agreement(None, None, note, good=False)
    found = [_compare_one(*pair) for pair in zip(outputs, reference.outputs, strict=True)]
    return next((agreement for agreement in found if not agreement.good), found[0])


def _compare_one(got: np.ndarray, wanted: np.ndarray) -> Agreement:
    if got.size != wanted.size:
        note = f"output shape {got.shape}, the reference's is {wanted.shape}"
        return Agreement(None, None, note, good=False)
    got, wanted = got.ravel(), wanted.ravel()
    if np.issubdtype(wanted.dtype, np.integer):
        equal = float(np.mean(got == wanted))
        good = equal >= LEAST_EQUAL
        note = f"{equal:.4%} of the pixels equal Paddle's"
        note += "" if good else f", less than {LEAST_EQUAL:.1%}"
        return Agreement(equal, "equal_pixels", note, good)
    difference = float(np.max(np.abs(got.astype(np.float64) - wanted)))
    distance = difference / max(float(np.std(wanted.astype(np.float64))), np.finfo(np.float32).tiny)
    good = bool(distance <= MOST_DEVIATION)  # False for NaN
    note = f"largest difference from Paddle's is {distance:.2g} standard deviations"
    if not good:
        note += f", more than {MOST_DEVIATION:g}"
    return Agreement(distance if np.isfinite(distance) else None, "max_abs_over_std", note, good)
