"""deploy/lite is a folder of sibling modules, not a package: its scripts are started from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from process import run_child

LITE = Path(__file__).resolve().parents[2] / "deploy" / "lite"

DEPLOY = """\
Deploy:
  input_shape: [1, 3, 16, 24]
  model: model.pdmodel
  output_dtype: int32
  output_op: argmax
  params: model.pdiparams
  transforms:
  - target_size: [24, 16]
    type: Resize
  - mean:
    - 0.1
    - 0.2
    - 0.3
    std: [0.5, 0.5, 0.25]
    type: Normalize
"""


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with `input.npy`, the exported models `tiny` and `unsupported`, and their labels."""
    folder = tmp_path_factory.mktemp("exported")
    script = Path(__file__).with_name("make_models.py")
    done = run_child([sys.executable, str(script), str(folder)], 100)
    assert done.returncode == 0, done.stderr
    for name in ("tiny", "unsupported"):
        (folder / name / "deploy.yaml").write_text(DEPLOY)
    return folder


@pytest.fixture
def run_cli():
    """Start one of deploy/lite's scripts as a user would; returns the finished process."""

    def run(script: str, *arguments, cwd=None) -> subprocess.CompletedProcess:
        command = [sys.executable, str(LITE / script)] if script.endswith(".py") else ["sh", str(LITE / script)]
        command += [str(argument) for argument in arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)

    return run
