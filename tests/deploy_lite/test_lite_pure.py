"""Parsers and sums without a device: what a phone says, which cores are big, tensors with and without numpy."""

from __future__ import annotations

import array

import numpy as np
import pytest

from paddleseg_lite import tensors
from paddleseg_lite.adb import Adb, Listed
from paddleseg_lite.adb import _not_one as not_one
from paddleseg_lite.benchmark_bin import check_run
from paddleseg_lite.device import find_mask
from paddleseg_lite.errors import (
    BadOutput,
    DataError,
    DeviceError,
    MissingLibrary,
    NoDevice,
    RunnerFailed,
    Unauthorized,
    WrongAbi,
)
from paddleseg_lite.process import Finished
from paddleseg_lite.tensors import Tensor, decode_printed, read_npy, same, to_npy
from paddleseg_lite.vitals import highest_frequencies, parse_info, parse_state

STATE = """\
cpu0/cpufreq/scaling_governor=schedutil
cpu4/cpufreq/scaling_governor=performance
cpu0/cpufreq/scaling_max_freq=1785600
cpu4/cpufreq/scaling_max_freq=2419200
cpu4/cpufreq/scaling_cur_freq=1
zone:battery=31200
zone:cpu-1-3-usr=52300
zone:cpu-0-0-usr=0
zone:pm8150_tz=37000
load=1.00 2.00 3.00
Thermal Status: 1
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 57
  temperature: 334
"""


def test_a_phones_state():
    state = parse_state(STATE)
    assert (state.temperature_c, state.thermal_status, state.battery_percent) == (52.3, 1, 57.0)
    assert list(state.limits_khz.values()) == [1785600, 2419200]
    assert state.facts["governor"] == "cpu0 schedutil, cpu4 performance"
    assert state.facts["battery"] == "57 %, 33.4 °C, on USB" and state.facts["thermal status"] == "1 (light)"
    closed = parse_state("  level: 57\n  temperature: 334\n")
    assert closed.temperature_c == 33.4 and closed.thermal_status is None
    assert parse_state("").facts == {} and parse_state("\0garbage=\n=").temperature_c is None


def test_a_phones_facts():
    facts = parse_info("ro.product.brand=Xiaomi\nro.board.platform=msmnile\nro.soc.model=\nkernel=4.14\nno line\n")
    assert facts == {"Brand": "Xiaomi", "SoC": "msmnile", "Kernel": "4.14"}


@pytest.mark.parametrize(
    ("asked", "mask"), [("", 0), ("all", 0), ("0xf0", 0xF0), ("3", 3), ("big", 0xF0), ("little", 0x0F)]
)
def test_masks_of_a_snapdragon_855(asked, mask):
    khz = [1785600] * 4 + [2419200] * 3 + [2841600]
    cores = highest_frequencies("".join(f"cpu{n}/cpufreq/cpuinfo_max_freq={k}\n" for n, k in enumerate(khz)))
    assert find_mask(asked, cores) == mask


@pytest.mark.parametrize(("asked", "cores"), [("large", {0: 1}), ("big", {})])
def test_masks_that_cannot_be(asked, cores):
    with pytest.raises(DeviceError, match="--affinity"):
        find_mask(asked, cores)


@pytest.mark.parametrize("numpy", [np, None])
def test_tensors_with_and_without_numpy(monkeypatch, numpy):
    monkeypatch.setattr(tensors, "np", numpy)
    floats = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    one, other = Tensor.of(floats), Tensor.of(floats + np.float32(0.25))
    assert one.mean_std() == pytest.approx((floats.mean(), floats.std()), rel=1e-5)
    assert one.largest_difference(other) == pytest.approx(0.25, abs=1e-6) and one.finite() and one.labels() is None
    assert one.equal_fraction(one) == 1.0 and not same((one,), (other,)) and same((one,), (Tensor.of(floats + 1e-6),))
    labels = Tensor.of(np.array([1, 2, 2, 7], np.int32))
    assert labels.labels() == 3 and labels.equal_fraction(Tensor.of(np.array([1, 2, 3, 4], np.int32))) == 0.5
    broken = Tensor("float32", (2,), array.array("f", [1.0, np.nan]))
    assert not broken.finite() and broken.mean_std() == (None, None) and np.isnan(broken.largest_difference(broken))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_npy_both_ways_with_numpys_own(tmp_path, dtype):
    given = np.arange(12).reshape(3, 4).astype(dtype)
    np.save(tmp_path / "a.npy", given)
    assert np.array_equal(read_npy(tmp_path / "a.npy").numpy(), given)
    (tmp_path / "b.npy").write_bytes(to_npy(Tensor.of(given)))
    assert np.array_equal(np.load(tmp_path / "b.npy"), given)


def test_outputs_as_benchmark_bin_prints_them():
    labels = np.array([0, 1, 149, 65535, 7], np.int32)
    printed = "\n".join(f"{value:g}" for value in labels.view(np.float32).tolist())
    for dtype in ("int32", None):
        assert decode_printed(printed, dtype).values.tolist() == labels.tolist()
    assert decode_printed("0.5\n-1e-3\n", None).dtype == "float32"
    for text, dtype in (("0.5", "int32"), ("nan", "int32"), ("five", None), ("", None)):
        with pytest.raises(DataError):
            decode_printed(text, dtype)


@pytest.mark.parametrize(
    ("code", "stderr", "error"),
    [
        (0, "Open input image a.txt error.", BadOutput),
        (0, "", BadOutput),
        (134, "[F  1/ 1 model_parser.cc:1] Mode file[a.nb] not exist!", RunnerFailed),
        (1, 'CANNOT LINK EXECUTABLE: library "libc++_shared.so" not found', MissingLibrary),
        (126, "sh: ./benchmark_bin: not executable: 64-bit ELF file", WrongAbi),
        (139, "", RunnerFailed),
    ],
)
def test_what_a_failed_run_is_called(code, stderr, error):
    with pytest.raises(error) as caught:
        check_run("m", Finished(code, "", stderr), {})
    assert type(caught.value) is error


def test_what_adb_lists():
    adb = Adb("adb")
    lines = "List of devices attached\n* daemon started\n0123 unauthorized usb:1-1\nabc no permissions (udev); see x\n"
    adb._call = lambda *_: Finished(0, lines, "")
    listed = adb.devices(None)
    assert [(one.serial, one.state) for one in listed] == [("0123", "unauthorized"), ("abc", "no permissions")]
    assert isinstance(not_one("0123", listed[:1], listed), Unauthorized)
    assert "udev" in str(not_one("abc", listed[1:], listed))
    assert isinstance(not_one(None, [Listed("x", "recovery", "")], []), NoDevice)
