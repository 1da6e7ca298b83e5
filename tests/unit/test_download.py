import gzip
import hashlib
import io
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import paddle
import pytest

from paddleseg_ext.weights import download, load_pretrained, load_weights, reading
from paddleseg_ext.weights.download import fetch_weights
from paddleseg_ext_runtime.errors import CheckpointError, DownloadError


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; breaks off after `limit` bytes once, then honours Range, or does what `mood` says."""

    content, limit, requests, mood, etag = b"", None, [], "", None

    def do_GET(self):
        asked = self.headers.get("Range")
        self.requests.append(asked)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        start = int(asked[6:-1]) if asked else 0
        if self.mood == "no ranges" or (self.etag and self.headers.get("If-Range") not in (None, self.etag)):
            start = 0
        if start and start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        if start:
            claimed = 0 if self.mood == "wrong start" else start
            self.send_header("Content-Range", f"bytes {claimed}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            self.send_header("ETag", self.etag)
        if self.mood != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        limit, type(self).limit = self.limit, None
        self.wfile.write(body[:limit])
        if limit and self.mood == "stall":
            self.wfile.flush()
            time.sleep(3)

    def log_message(self, *args):
        pass


def net():
    return paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))


@pytest.fixture
def saved(tmp_path):
    model = net()
    paddle.save(model.state_dict(), str(tmp_path / "model.pdparams"))
    return model, tmp_path / "model.pdparams"


@pytest.fixture
def server(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLESEG_EXT_HOME", str(tmp_path / "cache"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    Handler.content, Handler.limit, Handler.requests = saved[1].read_bytes(), None, []
    Handler.mood, Handler.etag = "", None
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def break_off(url, content=bytes(range(256)) * 1000, limit=100_000):
    """A download that ends early, and leaves part of `content`."""
    Handler.content, Handler.limit = content, limit
    with pytest.raises(DownloadError, match=r"broke off|cannot fetch"):
        fetch_weights(url)


def leftovers(tmp_path):
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_weights_are_fetched_once(server, saved):
    other = net()
    for _ in range(2):
        load_weights(other, f"{server}/a/model.pdparams")
    assert (other[0].weight == saved[0][0].weight).all()
    assert Handler.requests == [None]


def test_a_broken_download_is_resumed(server, tmp_path):
    break_off(f"{server}/model.pdparams")
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content
    assert Handler.requests == [None, "bytes=65536-"]
    assert leftovers(tmp_path) == ["model.pdparams"]


@pytest.mark.parametrize("mood", ["no ranges", "wrong start"])
def test_a_server_that_sends_something_else_than_the_rest(server, mood):
    Handler.mood = mood
    break_off(f"{server}/model.pdparams")
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content


@pytest.mark.parametrize("size", [256_000, 1000])
def test_a_file_that_changed_in_between_is_fetched_anew(server, size):
    Handler.etag = '"one"'
    break_off(f"{server}/model.pdparams")
    Handler.content, Handler.etag = b"\x07" * size, '"two"'
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content


def test_a_part_longer_than_the_file_is_fetched_anew(server):
    break_off(f"{server}/model.pdparams")
    Handler.content = b"\x07" * 1000
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content
    assert Handler.requests[1:] == ["bytes=65536-", None]


def test_a_part_that_is_complete_is_not_fetched_again(server, monkeypatch):
    checked = []
    monkeypatch.setattr(
        download, "_check", lambda *args: checked.append(args) or (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(DownloadError, match="cannot keep"):
        fetch_weights(f"{server}/model.pdparams")
    monkeypatch.undo()
    monkeypatch.setenv("PADDLESEG_EXT_HOME", str(checked[0][1].parents[2]))
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content
    assert Handler.requests == [None, f"bytes={len(Handler.content)}-"]


def test_a_server_that_stalls(server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.5)
    Handler.mood = "stall"
    break_off(f"{server}/model.pdparams")
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 30)
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == Handler.content


def test_truncated_without_a_length_the_checksum_tells(server, tmp_path):
    right = hashlib.sha256(Handler.content).hexdigest()
    Handler.mood, Handler.limit = "no length", 200
    with pytest.raises(DownloadError, match="the download was discarded"):
        fetch_weights(f"{server}/model.pdparams#sha256={right}")
    assert leftovers(tmp_path) == []
    assert fetch_weights(f"{server}/model.pdparams#sha256={right.upper()}").read_bytes() == Handler.content


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch_weights(f"{server}/model.pdparams#sha256={'0' * 64}")
    assert leftovers(tmp_path) == []


def test_a_checksum_is_held_against_what_was_fetched_without_one(server):
    Handler.content = b"first"
    fetch_weights(f"{server}/model.pdparams")
    Handler.content = b"second"
    right = hashlib.sha256(b"second").hexdigest()
    assert fetch_weights(f"{server}/model.pdparams#sha256={right}").read_bytes() == b"second"


@pytest.mark.parametrize("content", [b"first", b"second", b"<html>"])
def test_a_mistyped_checksum_costs_no_good_file(server, tmp_path, content):
    Handler.content = b"first"
    kept = fetch_weights(f"{server}/model.pdparams")
    Handler.content = content
    with pytest.raises(DownloadError, match=r"SHA-256|answered with a page"):
        fetch_weights(f"{server}/model.pdparams#sha256={'0' * 64}")
    assert kept.read_bytes() == b"first" and leftovers(tmp_path) == ["model.pdparams"]
    Handler.limit = 3
    with pytest.raises(DownloadError, match=r"broke off|cannot fetch"):
        fetch_weights(f"{server}/model.pdparams#sha256={'0' * 64}")
    assert fetch_weights(f"{server}/model.pdparams").read_bytes() == b"first"


@pytest.mark.parametrize("fragment", ["sha256=12", "md5=d41d8cd98f00b204e9800998ecf8427e", "sha-256=" + "0" * 64])
def test_a_checksum_that_cannot_be_checked_is_no_checksum(server, fragment):
    with pytest.raises(DownloadError, match="64 hexadecimal digits"):
        fetch_weights(f"{server}/model.pdparams#{fragment}")
    assert not Handler.requests


def test_a_page_is_no_checkpoint(server, tmp_path):
    Handler.content = b"\n<!DOCTYPE html><html>login</html>"
    with pytest.raises(DownloadError, match="answered with a page"):
        fetch_weights(f"{server}/model.pdparams")
    assert leftovers(tmp_path) == []


def test_files_of_one_name_are_kept_apart(server):
    first = fetch_weights(f"{server}/a/model.pdparams")
    assert fetch_weights(f"{server}/b/model.pdparams") != first


@pytest.mark.parametrize("path", ["", "/", "/..", "/a/../.."])
def test_an_address_without_a_name_stays_in_the_cache(server, tmp_path, path):
    found = fetch_weights(f"{server}{path}")
    assert found.read_bytes() == Handler.content and found.resolve().parents[1] == tmp_path / "cache" / "weights"


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADDLESEG_EXT_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot keep .*Not a directory"):
        fetch_weights(f"{server}/model.pdparams")


@pytest.mark.parametrize("url", ["{}/missing.pdparams", "http://127.0.0.1:9/none.pdparams", "http://[/x"])
def test_what_cannot_be_fetched_says_what_to_do(server, url):
    with pytest.raises(DownloadError, match=r"cannot fetch .*pretrained=None"):
        fetch_weights(url.format(server))


def packed(kind, members):
    """An archive in memory: name -> content."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tar.gz" else "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


KINDS = ("zip", "tar.gz", "tar")


@pytest.mark.parametrize("kind", KINDS)
def test_published_archives_are_read(server, saved, kind):
    members = {"STDC1/model.pdparams": saved[1].read_bytes(), "__MACOSX/STDC1/._model.pdparams": b"x", "README": b"y"}
    Handler.content = packed(kind, members)
    other = net()
    load_pretrained(other, f"{server}/STDC1.{kind}")
    assert (other[0].weight == saved[0][0].weight).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_archives_paths_lead_nowhere(tmp_path, saved, kind):
    path = tmp_path / "in" / f"weights.{kind}"
    path.parent.mkdir()
    path.write_bytes(packed(kind, {"../../escaped.pdparams": saved[1].read_bytes(), "../evil.txt": b"x"}))
    before = {*tmp_path.rglob("*")}
    load_weights(net(), path)
    assert {*tmp_path.rglob("*")} == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("members", [{}, {"a.txt": b"x"}, {"a.pdparams": b"x", "b.pdparams": b"y"}])
def test_an_archive_holds_one_file_of_weights(tmp_path, kind, members):
    path = tmp_path / f"weights.{kind}"
    path.write_bytes(packed(kind, members))
    with pytest.raises(CheckpointError, match=r"weights\..* holds one \.pdparams|not a readable|is not"):
        load_weights(net(), path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path, kind, monkeypatch):
    taken = []
    monkeypatch.setattr(reading, "_take", lambda *args, real=reading._take: taken.append(args[1]) or real(*args))
    path = tmp_path / f"weights.{kind}"
    path.write_bytes(packed(kind, {"model.pdparams": bytes(40_000_000)}))
    with pytest.raises(CheckpointError, match="unpacks to more than"):
        load_weights(net(), path)
    assert max(taken) < 4_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive(tmp_path, saved, kind):
    whole = packed(kind, {"model.pdparams": saved[1].read_bytes()})
    path = tmp_path / f"weights.{kind}"
    end = 512 + saved[1].stat().st_size if kind == "tar" else len(whole) - 30  # a tar ends in padding
    for length in np.linspace(8, end - 1, 12, dtype=int):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="weights"):
            load_weights(net(), path)


def test_a_gzip_that_is_no_archive(tmp_path):
    path = tmp_path / "weights.tar.gz"
    path.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(CheckpointError, match="not a readable archive"):
        load_weights(net(), path)
