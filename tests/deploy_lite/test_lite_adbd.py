"""The same chain against Android's own adbd, as Debian packages it, in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deploy_lite.adbd.daemon import PROPERTIES, build_phone
from deploy_lite.bench import ADBS

from paddleseg_lite.result import Result

ROOT = Path(__file__).resolve().parents[2]
ADBD = ROOT / ".venv" / "adbd"
HERE = Path(__file__).parent / "adbd"


@pytest.fixture(scope="module")
def namespace() -> list[str]:
    """The command that makes one."""
    if not (ADBD / "usr/lib/android-sdk/platform-tools/adbd").is_file():
        pytest.skip(f"no adbd: sh tests/deploy_lite/adbd/fetch_adbd.sh {ADBD}")
    for command in (["unshare", "-n"], ["unshare", "-Urn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    pytest.skip("this machine lets nobody make a network namespace")


@pytest.mark.parametrize("adb", ADBS)
def test_the_real_adbd(adb, namespace, exported, benchmark_bin, image, tmp_path):
    if not ADBS[adb] or not os.access(ADBS[adb], os.X_OK):
        pytest.skip(f"no {adb}: apt-get install adb, pip install adbutils")
    phone, models = tmp_path / "phone", tmp_path / "models"
    build_phone(phone, PROPERTIES)
    shutil.copytree(exported / "tiny", models / "tiny")
    remote = f"{phone}/data/local/tmp/lite"
    lite = [sys.executable, ROOT / "deploy" / "lite" / "benchmark.py", "--benchmark_bin", benchmark_bin]
    lite += ["--models_dir", models, "--input", image, "--result_file", tmp_path / "r.txt", "--remote_dir", remote]
    lite += ["--serial", "127.0.0.1:5555", "--warmup", 1, "--repeats", 3, "--rounds", 2, "--cool_down", 0]
    command = [*namespace, "sh", HERE / "in_namespace.sh", ADBD, phone, ADBS[adb], *lite]
    # Where others use this machine's adb: the namespace has its own ports, but not its own files.
    env = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "ADB": ADBS[adb]}
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    result = Result.from_json((tmp_path / "r_json" / "tiny-x86-t1.json").read_text())
    assert result.device_facts["Model"] == "LP 1" and result.agreement == 1.0
    labels = np.load(exported / "tiny.npy")
    assert result.outputs[0].labels == np.unique(labels).size and result.runs == 6
    assert (Path(remote) / next(Path(remote).glob("bin-*")).name / "benchmark_bin").is_file()


def test_adbd_is_never_started_on_the_machines_own_network(tmp_path):
    command = ["sh", HERE / "in_namespace.sh", ADBD, tmp_path, "adb", "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 99 and not (tmp_path / "adbd.log").exists()
