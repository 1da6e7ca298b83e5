"""Is the fast answer the right one? The model's output elsewhere for the same input, and the comparison with it.

On a phone the reference is this machine's Paddle-Lite, on this machine Paddle Inference, through
`run_model.py` of the package that exported the model. Where there is neither, the result says so.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.device import Settings
from paddleseg_lite.errors import DataError, LiteError
from paddleseg_lite.host import HostDevice, paddlelite_version
from paddleseg_lite.plan import Case
from paddleseg_lite.process import Deadline, last_words, run_child
from paddleseg_lite.runner import PaddleliteRunner
from paddleseg_lite.tensors import Tensor, read_npy, to_npy

PACKAGE = "paddleseg_ext_runtime"
LEAST_EQUAL = 0.999  # of the pixels of an integer output
MOST_DEVIATION = 1e-2  # largest difference of a float output, in standard deviations of the reference
# Against fp32, fp16 changes some labels; a wrong kernel changes most. What weights of 8 bits change depends on the
# weights alone (random weights: up to 80 % of the labels), so they are compared with fp32 but not judged.
LEAST_EQUAL_FP16, MOST_DEVIATION_FP16 = 0.80, 1.0


@dataclass(frozen=True)
class Reference:
    """`outputs` of another runtime for the same input, computed in `precision`, and its name in `note`; or None, and
    the reason in `note`."""

    outputs: tuple[Tensor, ...] | None
    note: str
    precision: str = "fp32"


@dataclass(frozen=True)
class Agreement:
    """`value` is a fraction (`equal_pixels`, 1 is best) or a distance (`max_abs_over_std`, 0 is best)."""

    value: float | None
    kind: str | None
    note: str
    good: bool = True


def find_runner() -> Path | None:
    """The installed package's `run_model.py`, or that of the checkout this file lies in."""
    folders = [Path(__file__).resolve().parents[3] / "paddleseg_ext_runtime"]
    spec = importlib.util.find_spec(PACKAGE)
    if spec and spec.submodule_search_locations:
        folders = [Path(place) for place in spec.submodule_search_locations] + folders
    scripts = [folder / "run_model.py" for folder in folders]
    return next((script for script in scripts if script.is_file()), None)


def compute_reference(case: Case, tensor: Tensor, on_phone: bool, opt: str | None, timeout_s: float) -> Reference:
    """The best reference this machine can compute. If there is none, the result says why; it does not raise."""
    if case.model_file is None or case.param_file is None:
        return Reference(None, "no Paddle program beside the .nb file to compare with")
    if on_phone and paddlelite_version():
        return _by_lite(case, tensor, opt, timeout_s)
    return _by_paddle(case, tensor, timeout_s)


def _by_lite(case: Case, tensor: Tensor, opt: str | None, timeout_s: float) -> Reference:
    try:
        host = HostDevice()
        with tempfile.TemporaryDirectory(prefix="reference-") as work:
            nb_file = Path(work) / "reference.nb"
            # With 8 bit weights both sides compute in fp32, so the same limits apply.
            precision = "int8" if case.precision == "int8" else "fp32"
            convert(case.model_file, case.param_file, nb_file, host.target, find_opt(opt), timeout_s, precision)
            once = Settings(threads=1, warmup=0, repeats=1)
            got = PaddleliteRunner(host).measure(nb_file, tensor, once, Deadline(timeout_s))
        return Reference(got.outputs, f"Paddle-Lite on this machine ({host.target}, {precision})", precision)
    except (LiteError, OSError) as error:
        return Reference(None, f"the reference run here failed: {getattr(error, 'got', error)}")


def _by_paddle(case: Case, tensor: Tensor, timeout_s: float) -> Reference:
    script = find_runner()
    if script is None:
        return Reference(None, f"neither paddlelite nor {PACKAGE} is on this machine, so nothing to compare with")
    try:
        with tempfile.TemporaryDirectory(prefix="reference-") as work:
            source, made = Path(work) / "in.npy", Path(work) / "out.npz"
            source.write_bytes(to_npy(tensor))
            command = [sys.executable, str(script), "--files", str(case.model_file), str(case.param_file)]
            command += ["--input", str(source), "--output", str(made)]
            finished = run_child(command, timeout_s)
            if finished.returncode != 0:
                return Reference(None, f"the reference run failed ({finished.cause()}): {last_words(finished.stderr)}")
            with zipfile.ZipFile(made) as arrays:
                names = [f"output{index}.npy" for index in range(len(arrays.namelist()))]
                outputs = tuple(read_npy(arrays.read(name)) for name in names)
        return Reference(outputs, "Paddle Inference")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, DataError) as error:
        return Reference(None, f"the reference run left no readable output ({error!r})")


def compare(
    outputs: tuple[Tensor, ...],
    reference: Reference,
    precision: str = "fp32",
    printed: tuple[float | None, float | None] = (None, None),
) -> Agreement:
    """How well `outputs` agree with `reference`; if there are several outputs, the worst one counts.

    `printed` is benchmark_bin's mean and deviation of output 0, which stand in for an output left on the device.
    """
    if reference.outputs is None:
        return Agreement(None, None, reference.note)
    if not outputs and printed[0] is not None:
        return _compare_printed(printed, reference)
    if len(outputs) != len(reference.outputs):
        note = f"{len(outputs)} outputs, the reference has {len(reference.outputs)}"
        return Agreement(None, None, note, good=False)
    found = [_compare_one(*pair, reference, precision) for pair in zip(outputs, reference.outputs)]
    return next((agreement for agreement in found if not agreement.good), found[0])


def _compare_printed(printed: tuple[float | None, float | None], reference: Reference) -> Agreement:
    wanted = reference.outputs[0]
    if wanted.dtype == "int64":
        return Agreement(None, None, "benchmark_bin prints nothing of an int64 output that could be compared")
    mean, std = wanted.mean_std()
    if mean is None:
        return Agreement(None, None, f"the output of {reference.note} is not finite")
    far = [abs(got - there) for got, there in zip(printed, (mean, std)) if got is not None]
    distance = max(far) / max(std, 1e-30)
    good = distance <= MOST_DEVIATION
    note = f"the printed mean and deviation are within {distance:.2g} deviations of those of {reference.note}"
    return Agreement(distance, "mean_over_std", note if good else f"{note}, more than {MOST_DEVIATION:g}", good)


def _compare_one(got: Tensor, wanted: Tensor, reference: Reference, precision: str) -> Agreement:
    if len(got.values) != len(wanted.values):
        note = f"output shape {got.shape}, the reference's is {wanted.shape}"
        return Agreement(None, None, note, good=False)
    fp16, alike = precision == "fp16", precision == reference.precision
    if wanted.integer:
        least = LEAST_EQUAL_FP16 if fp16 else LEAST_EQUAL if alike else 0.0
        value, kind = got.equal_fraction(wanted), "equal_pixels"
        note = f"{value:.4%} of the pixels equal those of {reference.note}"
        good, limit = value >= least, f"less than {least:.1%}"
    else:
        most = MOST_DEVIATION_FP16 if fp16 else MOST_DEVIATION if alike else math.inf
        value, kind = got.largest_difference(wanted) / max(wanted.mean_std()[1] or 0.0, 1e-30), "max_abs_over_std"
        note = f"largest difference from {reference.note} is {value:.2g} standard deviations"
        good, limit = value <= most, f"more than {most:g}"  # False for NaN
    if not good:
        note += f", {limit}"
    elif not fp16 and not alike:
        note += f"; not judged, {precision} weights are another model"
    return Agreement(value if math.isfinite(value) else None, kind, note, good)
