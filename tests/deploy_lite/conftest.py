"""The scripts of deploy/lite are started as a user would start them; `paddleseg_lite` is imported for its parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deploy_lite.bench import ADBS, Server, free_port, plugged

from paddleseg_lite.convert import convert, find_opt
from paddleseg_lite.process import run_child

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


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Server by name of ADBS, started when first asked for, killed at the end."""
    started: dict[str, Server] = {}

    def start(name: str) -> Server:
        program = ADBS[name]
        if not program or not os.access(program, os.X_OK):
            pytest.skip(f"no {name}: apt-get install adb, pip install adbutils")
        if name not in started:
            home = tmp_path_factory.mktemp(name)
            own = {"HOME": str(home), "TMPDIR": str(home), "ANDROID_ADB_SERVER_PORT": str(free_port()), "ADB": program}
            kept = {key: value for key, value in os.environ.items() if not key.startswith("ANDROID")}
            started[name] = Server(program, {**kept, **own}, free_port())
            started[name].adb("start-server")
        return started[name]

    yield start
    for server in started.values():
        server.adb("kill-server")


@pytest.fixture(params=ADBS)
def server(request, servers) -> Server:
    """One after the other, both versions of adb."""
    return servers(request.param)


@pytest.fixture
def plug(server, tmp_path):
    """Plug a test phone in; returns it."""
    with plugged(server, tmp_path) as connect:
        yield connect


@pytest.fixture(scope="session")
def benchmark_bin(tmp_path_factory) -> Path:
    """The stand-in, made to run with this Python."""
    program = tmp_path_factory.mktemp("bin") / "benchmark_bin"
    source = Path(__file__).parent / "adbd" / "benchmark_bin.py"
    program.write_text(f"#!{sys.executable}\n" + source.read_text().partition("\n")[2])
    return program


@pytest.fixture(scope="session")
def image(exported) -> Path:
    """The exported models' input as text."""
    path = exported / "image1.txt"
    path.write_text(" ".join(f"{value:.9g}" for value in np.load(exported / "input.npy").ravel().tolist()))
    return path


@pytest.fixture(scope="session")
def ready_nb(exported, tmp_path_factory) -> Path:
    """`tiny`, converted for the test phone, whose ABI is x86_64. Not in `exported`, all of which some tests measure."""
    model, nb_file = exported / "tiny", tmp_path_factory.mktemp("ready") / "t.nb"
    return convert(model / "model.pdmodel", model / "model.pdiparams", nb_file, "x86", find_opt())
