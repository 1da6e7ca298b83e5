"""The stock tritonclient gets what the model gives offline, bit by bit."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from paddleseg_ext import __version__
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml, write_deploy_yaml
from paddleseg_ext_runtime.runtimes import outputs_for

ENGINES = {"onnx": "onnxruntime", "paddle": "paddle_inference"}
CLIENTS, EACH = 32, 3


def infer(client, array, binary_in=True, binary_out=True, packed=None):
    given = triton.InferInput("x", list(array.shape), "FP32")
    given.set_data_from_numpy(array, binary_data=binary_in)
    outputs = None if binary_out is None else [triton.InferRequestedOutput("labels", binary_data=binary_out)]
    result = client.infer("levels", [given], outputs=outputs, request_id="7", request_compression_algorithm=packed)
    assert result.get_response()["id"] == "7"
    return result.as_numpy("labels")


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.RandomState(3)
    sizes = [(1, 24, 36), (2, 17, 33), (1, 64, 48), (3, 9, 9)]
    return [rng.uniform(-2, 2, (batch, 3, height, width)).astype("float32") for batch, height, width in sizes]


@pytest.fixture(scope="module", params=ENGINES)
def engine_and_server(request, start, server, levels_folder):
    if request.param == "onnx":
        return "onnx", server
    return "paddle", start("--config", levels_folder, "--engine", "paddle", "--queue", 64)


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype == np.int32
    assert np.array_equal(actual, expected) and len(np.unique(expected)) > 3


def test_clients_in_parallel_get_what_the_model_gives(engine_and_server, levels_folder, arrays):
    engine, server = engine_and_server
    expected = outputs_for(ENGINES[engine], levels_folder, arrays)

    def one_client(number):
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            for turn in range(EACH):
                place = (number + turn) % len(arrays)
                ways = {"binary_in": bool(number & 1), "binary_out": bool(number & 2)}
                assert_same(infer(client, arrays[place], **ways), expected[place])

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(one_client, range(CLIENTS)))


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_packed_and_default_output(server, levels_folder, arrays, packed):
    expected = outputs_for("onnxruntime", levels_folder, arrays[:1])[0]
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert_same(infer(client, arrays[0], binary_out=None, packed=packed), expected)
        assert_same(infer(client, arrays[0], binary_in=False, packed=packed), expected)


def test_what_a_client_asks_first(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("levels") and client.is_model_ready("levels", "1")
        assert not client.is_model_ready("other") and not client.is_model_ready("levels", "2")
        assert client.get_server_metadata() == {
            "name": "paddleseg-ext", "version": __version__, "extensions": ["binary_tensor_data"]
        }  # fmt: skip
        assert client.get_model_metadata("levels") == {
            "name": "levels",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1, -1]}],
            "outputs": [{"name": "labels", "datatype": "INT32", "shape": [-1, -1, -1]}],
        }


def test_errors_reach_the_client(server, tensor):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        with pytest.raises(InferenceServerException, match=r"\[404\] the one model here is 'levels', version 1"):
            given = triton.InferInput("x", list(tensor.shape), "FP32")
            given.set_data_from_numpy(tensor)
            client.infer("other", [given])
        with pytest.raises(InferenceServerException, match=r"\[400\] the input's shape must be \[-1, 3, -1, -1\]"):
            infer(client, tensor[:, :2])


def test_json_by_hand(server):
    """Flat and nested data; a flat list answers."""
    message = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, 1, 2], "data": [1, 2, 0.5, 1, 0, -1.5]}]}
    answers = []
    for data in ([1, 2, 0.5, 1, 0, -1.5], [[[[1, 2]], [[0.5, 1]], [[0, -1.5]]]]):
        message["inputs"][0]["data"] = data
        status, headers, body = server.ask("/v2/models/levels/versions/1/infer", json.dumps(message).encode())
        assert status == 200 and headers["Content-Type"] == "application/json"
        answers.append(json.loads(body))
    assert answers[0] == answers[1]
    output = answers[0]["outputs"][0]
    assert answers[0]["model_name"] == "levels" and output["shape"] == [1, 1, 2] and len(output["data"]) == 2


def test_a_graph_of_fixed_size_names_it(start, levels_folder, tmp_path_factory):
    """Another size, another batch: each is an answer and not a crash; so is a photograph for a graph of two images."""
    folder = shutil.copytree(levels_folder, tmp_path_factory.mktemp("fixed") / "levels")
    write_deploy_yaml(replace(read_deploy_yaml(folder), input_shape=[2, 3, 24, 36]), folder)
    server = start("--config", folder)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        right = np.random.RandomState(0).uniform(-2, 2, (2, 3, 24, 36)).astype("float32")
        assert infer(client, right).shape == (2, 24, 36)
        for wrong in (right[:1], right[:, :, :20], np.repeat(right, 2, 0)):
            with pytest.raises(InferenceServerException, match=r"\[400\] the input's shape must be \[2, 3, 24, 36\]"):
                infer(client, wrong)
    status, _, body = server.ask("/predict", b"x")
    assert status == 400 and "this graph takes 2 images at once" in json.loads(body)["error"]
    assert server.stop() == 0
