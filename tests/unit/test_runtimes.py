"""ModelProcess: a model that stays, survives what it refuses, and ends with a reason."""

import os
import signal
import threading

import numpy as np
import pytest
from models.zoo import smooth_image
from unit.test_onnx import Small

from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.runtimes import ModelProcess
from paddleseg_ext_tools.lab.forms import FORM

X = smooth_image(24, 32).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    export_onnx(folder, checked=export(Small(), "none", [1, 3, 24, 32], folder, 5).checked)
    mnn = FORM["mnn"].of(folder, folder)
    mnn.prepare()
    mnn.files[0].rename(folder / mnn.files[0].name)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    with ModelProcess("paddle_static", folder) as process:
        return process.run(X)[0]


@pytest.mark.parametrize("runtime", ["paddle_inference", "paddle_inference_native", "onnxruntime", "openvino", "mnn"])
def test_every_runtime(runtime, folder, expected):
    with ModelProcess(runtime, folder) as process:
        first = process.measure(X, warmup=1, repeats=3)
        second = process.run(X)[0]
    assert np.abs(first.outputs[0] - expected).max() <= 1e-5 * expected.std()
    assert np.array_equal(first.outputs[0], second)
    assert len(first.series_ms) == 3 and first.device == "cpu" and first.init_ms > 0
    # The runtime's own: a parent with paddle in it, as here, takes several hundred.
    assert 20 < first.peak_memory_mb < (150 if "paddle" not in runtime else 600)


def test_an_input_that_is_refused_costs_nothing(folder, expected):
    with ModelProcess("onnxruntime", folder) as process:
        with pytest.raises(
            ConversionError, match=r"onnxruntime refuses the input \[1, 3, 5, 7\]: .*invalid dimensions"
        ):
            process.run(np.zeros([1, 3, 5, 7], "float32"))
        with pytest.raises(ConversionError, match="refuses the input"):
            process.run(X.astype("float64"))
        assert process.is_alive and np.allclose(process.run(X)[0], expected, atol=1e-4)


def test_threads_take_turns(folder, expected):
    with ModelProcess("onnxruntime", folder) as process:
        wrong = []

        def ask(factor):
            for _ in range(20):
                if not np.array_equal(process.run(X * factor)[0], wanted[factor]):
                    wrong.append(factor)

        wanted = {factor: process.run(X * factor)[0] for factor in np.float32([0.5, 1, 2, 3])}
        threads = [threading.Thread(target=ask, args=[factor]) for factor in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_process_that_is_killed(folder):
    with ModelProcess("onnxruntime", folder) as process:
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(ConversionError, match=r"onnxruntime was ended by SIGKILL|has ended before"):
            process.run(X)
        assert not process.is_alive
        with pytest.raises(ConversionError, match="has ended before"):
            process.run(X)
    process.close()


def test_a_process_that_hangs(folder):
    with ModelProcess("onnxruntime", folder, timeout_s=20) as process:
        process.timeout_s = 0.5
        os.kill(process._process.pid, signal.SIGSTOP)
        with pytest.raises(ConversionError, match=r"onnxruntime did not finish within 0\.5 s"):
            process.run(np.zeros([1, 3, 2000, 2000], "float32"))  # more than the pipe holds: writing blocks as well
        assert not process.is_alive


def test_a_start_that_takes_too_long(folder):
    with pytest.raises(ConversionError, match=r"onnxruntime did not finish within 0\.01 s"):
        ModelProcess("onnxruntime", folder, timeout_s=0.01)
