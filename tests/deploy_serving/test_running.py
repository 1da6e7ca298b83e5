"""How the server starts, what happens to its processes, when it is full, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploy_serving.conftest import ROOT, until
from deploy_serving.hostile import Case
from deploy_serving.test_hostile import send

pytestmark = pytest.mark.system


TIMEOUT_S = 5


@pytest.fixture(scope="module")
def small(start, levels_folder):
    """One worker, room for one more request, little time for each."""
    return start("--config", levels_folder, "--queue", 1, "--timeout", TIMEOUT_S, "--name", "small")


@pytest.fixture(scope="module")
def impatient(start, levels_folder):
    """Three connections, little time for clients and for the end; started by `paddleseg-ext`."""
    flags = ("--config", levels_folder, "--drain_seconds", 0.5, "--max_connections", 3, "--read_seconds", 2)
    return start(*flags, command=("-m", "paddleseg_ext_tools", "serve"))


@pytest.fixture(scope="module")
def photo(photos):
    return (photos / "a.jpg").read_bytes()


def is_ready(server):
    return server.ask("/v2/health/ready")[0] == 200


def metric(server, name):
    """The sum over its labels."""
    lines = server.ask("/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{")))


@pytest.mark.parametrize("process", ["run_model.py", "forkserver"])
def test_a_killed_process_is_replaced(small, photo, process):
    """The model's, and the one that reads pictures; between requests nobody notices."""
    until(lambda: is_ready(small), "a worker")
    replaced, right = metric(small, "segmentation_workers_replaced_total"), small.ask("/predict", photo)
    victim = small.pids_of(process)[-1]  # of the forkserver's, the one it has forked
    os.kill(victim, signal.SIGKILL)
    until(lambda: metric(small, "segmentation_workers_replaced_total") == replaced + 1, "another worker")
    assert victim not in small.pids_of(process)
    again = small.ask("/predict", photo)
    assert right[0] == again[0] == 200 and right[2] == again[2]


def test_a_crash_costs_one_request(small, photo):
    until(lambda: is_ready(small), "a worker")
    (model,) = small.models
    os.kill(model, signal.SIGSTOP)  # so that the request is certain to be under way
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(small.ask, "/predict", photo)
        until(lambda: metric(small, "segmentation_active_requests") == 2, "the request")  # and the one for the metrics
        time.sleep(1)  # one that a worker has not begun would be given to the next
        os.kill(model, signal.SIGKILL)
        status, headers, body = asked.result()
    assert status == 503 and headers["Retry-After"] == "1"
    assert json.loads(body)["error"] == "the model's process has ended; it is being replaced"
    until(lambda: is_ready(small) and small.models and small.ask("/predict", photo)[0] == 200, "another worker")


def test_a_hanging_model_is_ended_and_a_full_queue_says_so(small, photo):
    until(lambda: is_ready(small), "a worker")
    (model,) = small.models
    os.kill(model, signal.SIGSTOP)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: small.ask("/predict", photo), range(4)))
    assert [status for status, _, _ in answers] == [503] * 4
    assert all(headers["Retry-After"] == "1" for _, headers, _ in answers)
    said = [json.loads(body)["error"] for _, _, body in answers]
    assert said.count("the queue is full") == 2
    until(lambda: model not in small.models and is_ready(small), "another worker")
    assert small.ask("/predict", photo)[0] == 200


def test_who_has_left_is_not_computed(small, photo):
    until(lambda: is_ready(small), "a worker")
    computed = metric(small, "segmentation_model_seconds_count")
    (model,) = small.models
    os.kill(model, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(small.ask, "/predict", photo)
        until(lambda: metric(small, "segmentation_active_requests") == 2, "the first request")
        with small.connect() as waiting:
            head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(photo)}\r\n\r\n"
            waiting.sendall(head.encode() + photo)
            until(lambda: metric(small, "segmentation_queue_depth") == 1, "the second request")
        until(lambda: metric(small, "segmentation_queue_depth") == 0, "its end")
        os.kill(model, signal.SIGCONT)
        assert first.result()[0] == 200
    assert metric(small, "segmentation_model_seconds_count") == computed + 1
    assert 'segmentation_requests_total{code="499",route="predict"}' in small.ask("/metrics")[2].decode()


def test_metrics(small, photo):
    before = metric(small, 'segmentation_requests_total{code="200",route="predict"}')
    small.ask("/predict", photo)
    small.ask("/a-path-of-the-client")
    text = small.ask("/metrics")[2].decode()
    assert metric(small, 'segmentation_requests_total{code="200",route="predict"}') == before + 1
    for name in ("workers_alive 1.0", "queue_depth 0.0", "active_requests 1.0"):
        assert f"segmentation_{name}" in text
    assert 'segmentation_requests_total{code="404",route="none"}' in text and "of-the-client" not in text + small.said
    assert 'segmentation_request_seconds_bucket{le="+Inf",route="predict"}' in text


def test_draining(start, levels_folder, photo):
    """What is under way is finished; nothing new begins."""
    server = start("--config", levels_folder)
    (model,) = server.models
    os.kill(model, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(server.ask, "/predict", photo)
        until(lambda: metric(server, "segmentation_active_requests") == 2, "the request")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not is_ready(server), "the end of readiness")
        assert json.loads(server.ask("/v2/health/ready")[2]) == {"ready": False}
        status, headers, _ = server.ask("/predict", photo)
        assert status == 503 and headers["Retry-After"]
        os.kill(model, signal.SIGCONT)
        assert asked.result()[0] == 200
    pids = server.pids
    assert server.process.wait(30) == 0
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the end of its processes")


def test_a_worker_that_is_being_started_does_not_delay_the_end(start, levels_folder):
    server = start("--config", levels_folder, "--drain_seconds", 2)
    (old,) = server.models
    os.kill(old, signal.SIGKILL)
    until(lambda: set(server.models) - {old}, "another process")
    (new,) = set(server.models) - {old}
    os.kill(new, signal.SIGSTOP)  # before it has loaded the model
    try:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    finally:
        os.kill(new, signal.SIGKILL)


def test_too_many_connections_are_turned_away(impatient):
    held = [impatient.connect() for _ in range(3)]
    refused = send(impatient, Case("one more", []))
    assert [status for status, _ in refused] == [503] and b"too many connections" in refused[0][1]
    for connection in held:
        connection.close()
    until(lambda: is_ready(impatient), "room")


def test_who_does_not_read_the_answer_loses_it(impatient):
    """8 MB, more than sockets hold."""
    shape = {"name": "x", "datatype": "FP32", "shape": [1, 3, 1000, 2000], "parameters": {"binary_data_size": 24000000}}
    header = json.dumps({"inputs": [shape], "parameters": {"binary_data_output": True}}).encode()
    head = f"POST /v2/models/levels/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(header) + 24000000}\r\n"
    with impatient.connect() as client:
        client.sendall(f"{head}Inference-Header-Content-Length: {len(header)}\r\n\r\n".encode() + header)
        client.sendall(bytes(24000000))
        assert client.recv(12) == b"HTTP/1.1 200"
        until(lambda: metric(impatient, "segmentation_active_requests") == 1, "the end of the answer")  # but for this
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                taken += len(piece)
        assert taken < 8_000_000


def test_a_request_that_does_not_end_is_cut_off(impatient, photo):
    """The last test of this server."""
    server, (model,) = impatient, impatient.models
    os.kill(model, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as threads:  # one is computed, the other waits
        asked = [threads.submit(server.ask, "/predict", photo) for _ in range(2)]
        until(lambda: metric(server, "segmentation_active_requests") == 3, "the requests")
        assert server.stop(signal.SIGINT) == 128 + signal.SIGINT
        assert [one.result()[0] for one in asked] == [503] * 2
    until(lambda: not os.path.exists(f"/proc/{model}"), "the end of the model's process")
    assert "error: 2 requests were cut off" in server.said and "Traceback" not in server.said


def run(*flags):
    script = ROOT / "deploy" / "serving" / "server.py"
    return subprocess.run([sys.executable, script, *map(str, flags)], capture_output=True, text=True, timeout=120)


def test_what_cannot_be_served_is_said_in_one_line(small, levels_folder, tmp_path):
    (tmp_path / "deploy.yaml").write_bytes((levels_folder / "deploy.yaml").read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"no model")
    for flags, code, reason in (
        (["--config", levels_folder, "--port", small.port], 2, "cannot listen on 127.0.0.1"),
        (["--config", tmp_path, "--port", 0], 6, "onnxruntime failed"),
    ):
        done = run(*flags)
        assert done.returncode == code and reason in done.stderr and "Traceback" not in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("flag", ["--workers=0", "--port=99999999999", "--timeout=nan", "--queue=x"])
def test_flags_are_checked(flag):
    done = run("--config", "anywhere", flag)
    assert done.returncode == 2 and flag.split("=")[0] in done.stderr


def test_it_listens_to_this_machine_alone(small):
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [line[1].split(":") for line in lines if line[3] == "0A"]
    assert [address for address, port in listening if int(port, 16) == small.port] == ["0100007F"]
