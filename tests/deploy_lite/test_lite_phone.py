"""The seed's command against the test phone, through the real adb client, both versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parse import parse_log
from result import Result

LITE = Path(__file__).resolve().parents[2] / "deploy" / "lite"
FEW = ("--warmup", 1, "--repeats", 3, "--rounds", 2, "--cool_down", 0)


@pytest.fixture
def measure(server, benchmark_bin, image, tmp_path):
    """Run the seed's command line on `models`; returns the finished process."""

    def run(models, *flags, text=tmp_path / "test_result.txt", program=benchmark_bin):
        command = ["sh", LITE / "benchmark.sh", program, models, text, image, *FEW, *flags]
        env = {**server.env, "PYTHON": sys.executable}
        return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=120)

    return run


def copies(exported, folder: Path, *names: str, params="model.pdiparams") -> Path:
    """The seed's layout: one folder a model."""
    for name in names:
        shutil.copytree(exported / "tiny", folder / name)
        (folder / name / "model.pdiparams").rename(folder / name / params)
    return folder


def stored(folder: Path, name: str = "test_result_json") -> list[Result]:
    return [Result.from_json(path.read_text()) for path in sorted((folder / name).glob("*-t?.json"))]


def test_the_seeds_command_on_the_seeds_layout(plug, measure, exported, tmp_path):
    phone = plug()
    names = ("pp_mobileseg_base", "pp_mobileseg_tiny")
    models = copies(exported, tmp_path / "models_dir", *names, params="mdoel.pdiparams")
    done = measure(models)
    assert done.returncode in (0, 7), done.stdout + done.stderr
    text = (tmp_path / "test_result.txt").read_text()
    seed = (Path(__file__).parent / "data" / "seed_log.txt").read_text()
    for block in text.split("-----------------Model=")[1:]:
        titles = [line for line in block.splitlines() if line.startswith("=")]
        assert titles[:6] == [line for line in seed.splitlines() if line.startswith("=")]
    entries = parse_log(text)
    assert [entry.model_name for entry in entries] == list(names) and all(entry.complete for entry in entries)
    labels = np.load(exported / "tiny.npy")
    for entry, result in zip(entries, stored(tmp_path), strict=True):
        assert entry.device_facts["Brand"] == "Loopback" and entry.device_facts["Android API Level"] == "28"
        assert entry.output_mean == pytest.approx(labels.mean(), rel=1e-4)
        assert result.agreement == 1.0 and "Paddle-Lite on this machine" in result.agreement_note
        assert result.outputs[0].labels == np.unique(labels).size
        assert (result.runs, result.runs_per_value, len(result.series_ms)) == (6, 3, 2)
        assert (result.optimized_on, result.runtime, result.runtime_version) == ("device", "benchmark_bin", "v2.13-rc")
        assert result.device_facts["SoC"] == "looped" and result.device_facts["Serial"] == phone.serial
        assert "cpu0-3 1785600, cpu4-7 2841600" in result.state_before["frequency limit (kHz)"]
        assert result.state_before["thermal status"] == "0 (none)" and "31.2 °C" in result.state_before["battery"]
        assert result.state_after["temperature"] == "41.2 °C (cpu-0-0-usr)"
        assert np.array_equal(
            np.load(tmp_path / "test_result_json" / result.outputs[0].file), labels.reshape(1, 16, 24)
        )
