import hashlib
import pickle
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import paddle
import pytest

from paddleseg_ext.errors import CheckpointError, DownloadError
from paddleseg_ext.weights import load_pretrained, load_weights, read_pdparams
from paddleseg_ext.weights.download import fetch_weights


def net(width=4):
    return paddle.nn.Sequential(paddle.nn.Conv2D(3, width, 3), paddle.nn.BatchNorm2D(width))


class Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.fixture
def saved(tmp_path):
    model = net()
    paddle.save(model.state_dict(), str(tmp_path / "model.pdparams"))
    return model, tmp_path / "model.pdparams"


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_what_paddle_saves(tmp_path, protocol):
    model = net()
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    model(paddle.randn([1, 3, 8, 8])).mean().backward()
    optimizer.step()
    for state in (model.state_dict(), optimizer.state_dict(), {"mIoU": 0.5, "iter": 3}):
        path = str(tmp_path / "x.pdparams")
        paddle.save(state, path, protocol=protocol)
        read, expected = read_pdparams(path), paddle.load(path, return_numpy=True)
        assert read.keys() == expected.keys()
        assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_a_malicious_file_is_refused_and_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pdparams").write_bytes(pickle.dumps({"w": np.ones(3), "x": Evil()}))
    with pytest.raises(CheckpointError, match=r"asks for .*open"):
        read_pdparams(tmp_path / "evil.pdparams")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"not a pickle", pickle.dumps([1, 2])])
def test_what_is_no_checkpoint(tmp_path, content):
    (tmp_path / "x.pdparams").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pdparams"):
        read_pdparams(tmp_path / "x.pdparams")


def test_truncated_checkpoint(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="not a readable Paddle checkpoint"):
        read_pdparams(path)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_pdparams(tmp_path / "none.pdparams")


def test_strict_loading(saved):
    model, path = saved
    other = net()
    load_weights(other, path)
    assert all((other.state_dict()[name] == value).all() for name, value in model.state_dict().items())


def test_another_models_checkpoint_is_refused_with_a_table_and_changes_nothing(saved):
    _, path = saved
    other = paddle.nn.Sequential(*net(8), paddle.nn.Linear(2, 2))
    before = {name: value.numpy() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(other, path)
    text = str(error.value)
    assert "0 of 8 tensors fit" in text
    assert "0.weight  checkpoint [4, 3, 3, 3], model [8, 3, 3, 3]" in text and "missing    2.weight" in text
    assert all((other.state_dict()[name].numpy() == value).all() for name, value in before.items())


def test_weights_that_are_not_finite(saved):
    model, path = saved
    model.state_dict()["0.bias"].set_value(np.full(4, np.nan, "float32"))
    paddle.save(model.state_dict(), str(path))
    with pytest.raises(CheckpointError, match="NaN or infinity in 1 tensors"):
        load_weights(net(), path)


def test_pretrained_may_lack_a_head_and_bring_another(saved, tmp_path):
    model, path = saved
    larger = paddle.nn.Sequential(*net(), paddle.nn.Linear(2, 2))
    state = {**model.state_dict(), "classifier.weight": paddle.ones([5])}
    paddle.save(state, str(path))
    load_pretrained(larger, str(path))
    assert (larger[0].weight == model[0].weight).all()
    other_head = paddle.nn.Sequential(*net(), paddle.nn.Conv2D(4, 9, 1))
    paddle.save({**model.state_dict(), "2.weight": paddle.ones([5, 4, 1, 1])}, str(path))
    before = other_head[2].weight.numpy()
    load_pretrained(other_head, str(path))  # another number of classes: the classifier stays as it is
    assert (other_head[0].weight == model[0].weight).all() and (other_head[2].weight.numpy() == before).all()
    with pytest.raises(CheckpointError, match="cannot pretrain"):
        load_pretrained(net(8), str(path))
    load_pretrained(larger, None)


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; breaks off after `limit` bytes once, then honours Range."""

    content, limit, requests = b"", None, []

    def do_GET(self):
        self.requests.append(self.headers.get("Range"))
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        limit, type(self).limit = self.limit, None
        self.wfile.write(body[:limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLESEG_EXT_HOME", str(tmp_path / "cache"))
    Handler.content, Handler.limit, Handler.requests = saved[1].read_bytes(), None, []
    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


def test_weights_are_fetched_once(server, saved):
    other = net()
    for _ in range(2):
        load_weights(other, f"{server}/a/model.pdparams")
    assert (other[0].weight == saved[0][0].weight).all()
    assert Handler.requests == [None]


def test_a_broken_download_is_resumed(server):
    Handler.content, Handler.limit = bytes(range(256)) * 1000, 100_000
    with pytest.raises(DownloadError, match=r"broke off|cannot fetch"):
        fetch_weights(f"{server}/model.pdparams")
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content
    assert Handler.requests == [None, "bytes=65536-"]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch_weights(f"{server}/model.pdparams#sha256={'0' * 64}")
    assert not list((tmp_path / "cache").rglob("*.pdparams*.part")) + list((tmp_path / "cache").rglob("*.pdparams"))
    right = hashlib.sha256(Handler.content).hexdigest()
    assert fetch_weights(f"{server}/model.pdparams#sha256={right}").is_file()


def test_a_page_is_no_checkpoint(server):
    Handler.content = b"<!DOCTYPE html><html>login</html>"
    with pytest.raises(DownloadError, match="answered with a page"):
        fetch_weights(f"{server}/model.pdparams")


def test_files_of_one_name_are_kept_apart(server):
    first = fetch_weights(f"{server}/a/model.pdparams")
    assert fetch_weights(f"{server}/b/model.pdparams") != first


@pytest.mark.parametrize("url", ["{}/missing.pdparams", "http://127.0.0.1:9/none.pdparams"])
def test_what_cannot_be_fetched_says_what_to_do(server, url):
    with pytest.raises(DownloadError, match=r"cannot fetch .*pretrained=None"):
        fetch_weights(url.format(server))
