"""Nothing a client sends ends the server, makes it grow, or gets it to show a traceback."""

import collections
import contextlib
import http.client
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import tritonclient.http as triton
from deploy_serving.hostile import MB, Attacker
from deploy_serving.test_protocol import infer

pytestmark = pytest.mark.system


AT_ONCE, BATCH = 12, 120
MOST_GROWTH_MB = 100
MEMORY_MB = 512
SILENCE_S = 45


def send(server, case):
    """The statuses of the answers; sending stops when the server has closed."""
    with server.connect(SILENCE_S) as connection:
        try:
            for piece in case.pieces:
                connection.sendall(piece)
                if case.pause_s and wait_for_answer(connection, case.pause_s):
                    break
        except OSError:
            pass  # it answers, or closes, before it has heard everything
        if case.leaves:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return []
        return list(answers(connection))


def wait_for_answer(connection, seconds):
    connection.settimeout(seconds)
    try:
        return connection.recv(1, socket.MSG_PEEK) is not None
    except TimeoutError:
        return False
    finally:
        connection.settimeout(SILENCE_S)


def answers(connection):
    """Status and body of each, until the server closes or says nothing more."""
    reader = connection.makefile("rb")
    while True:
        answer = http.client.HTTPResponse(Shared(reader))
        try:
            answer.begin()
            yield answer.status, answer.read()
            connection.settimeout(0.2)  # a second one, to what was pipelined
        except (http.client.HTTPException, OSError):
            return


class Shared:
    """One buffered reader for several HTTPResponses, which would each close theirs."""

    def __init__(self, reader):
        self.reader = reader

    def makefile(self, _):
        return self

    def close(self):
        pass

    def flush(self):
        pass

    def __getattr__(self, name):
        return getattr(self.reader, name)


def attack(server, attacker, count):
    """Sends `count` cases, some at once; returns what each status was given to, and what is not right."""
    problems, given = [], collections.Counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for start in range(0, count, BATCH):
            cases = [attacker.case() for _ in range(min(BATCH, count - start))]
            for case, said in zip(cases, threads.map(partial(send, server), cases), strict=True):
                given.update((case.name, status) for status, _ in said)
                wrong = [status for status, _ in said if status not in case.allowed]
                if wrong or not (said or case.may_be_silent):
                    problems.append((case.name, wrong, [piece[:300] for piece in case.pieces[:2]]))
                problems += [(case.name, "traceback", body[:300]) for _, body in said if b"Traceback" in body]
    return given, problems


def check(start, levels_folder, photos, tensor, count, body_mb):
    server = start("--config", levels_folder, "--max_body_mb", body_mb, "--read_seconds", 3, "--workers", 1)
    attacker = Attacker(5, (photos / "a.jpg").read_bytes(), body_mb * MB)
    expected = good_answer(server, tensor)
    assert server.ask("/predict", (photos / "b.png").read_bytes())[0] == 200
    before, workers = server.rss_mb(), server.models
    with watched(server) as sizes:
        given, problems = attack(server, attacker, count)
    time.sleep(1)
    grown, peak = server.rss_mb() - before, max(sizes) - before
    said = f"{grown:.1f} MB of growth over {before:.0f} MB, {peak:.1f} MB at most under way"
    print(f"{count} requests; {said};", dict(sorted(given.items())))
    assert not problems
    assert server.models == workers, "a model's process was replaced"
    assert grown < MOST_GROWTH_MB
    assert peak < MOST_GROWTH_MB + MEMORY_MB  # bodies and answers under way are what --memory_mb is for
    assert "Traceback" not in server.said and "defect" not in server.said, server.said[-3000:]
    assert np.array_equal(good_answer(server, tensor), expected)
    assert server.ask("/predict", (photos / "b.png").read_bytes())[0] == 200
    assert server.stop() == 0


@contextlib.contextmanager
def watched(server):
    """Its size, ten times a second."""
    sizes, ended = [server.rss_mb()], threading.Event()

    def look():
        while not ended.wait(0.1):
            sizes.append(server.rss_mb())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def good_answer(server, tensor):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        return infer(client, tensor)


@pytest.mark.timeout(1500)
def test_5000_hostile_requests(start, levels_folder, photos, tensor):
    check(start, levels_folder, photos, tensor, 5000, body_mb=32)


def test_a_hundred_slow_clients_do_not_stop_others(server, photos):
    """They hold connections and nothing else."""
    photo = (photos / "a.jpg").read_bytes()
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    slow = [server.connect() for _ in range(100)]
    try:
        for connection, sent in zip(slow, 50 * [head[:9], head], strict=True):
            connection.sendall(sent)
        assert all(server.ask("/predict", photo)[0] == 200 for _ in range(5))
    finally:
        for connection in slow:
            connection.close()
