"""Requests that mean harm or that know no better, drawn from a seed, as bytes for a socket."""

import gzip
import json
import random
import struct
import zlib
from dataclasses import dataclass

INFER = "/v2/models/levels/infer"
REFUSED = frozenset({*range(400, 500), 503})
SERVED = REFUSED | {200}
MB = 1 << 20


@dataclass
class Case:
    """What is sent, piece by piece.

    `allowed` are the statuses of every answer; `may_be_silent` says that the connection may end without one, and
    `leaves` that the client ends it itself; `pause_s` lies between the pieces.
    """

    name: str
    pieces: list[bytes]
    allowed: frozenset = REFUSED
    may_be_silent: bool = False
    leaves: bool = False
    pause_s: float = 0.0


def http(path, body=b"", headers=(), method="POST", length=True):
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def tensor(**changes):
    base = {"name": "x", "datatype": "FP32", "shape": [1, 3, 2, 2], "data": [0.5] * 12}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def message(*inputs, **others):
    return json.dumps({"inputs": list(inputs) or [tensor()], **others}).encode()


def png_header(width, height):
    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", data) + part(b"IEND", b"")


def jpeg_header(width, height):
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    scan = bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])
    sections = [(0xC0, frame), (0xDA, scan)]
    parts = [b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in sections]
    return b"\xff\xd8" + b"".join(parts) + bytes(100) + b"\xff\xd9"


def webp_header(width, height):
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + bytes(64)
    return b"RIFF" + struct.pack("<I", len(body)) + body


class Attacker:
    """Draws cases. `photo` is a picture file's bytes, `body_bytes` what the server takes."""

    def __init__(self, seed, photo, body_bytes):
        self.rng, self.photo, self.body_bytes = random.Random(seed), photo, body_bytes
        often = (
            self.json_field, self.json_text, self.binary, self.picture_cut, self.picture_changed, self.noise,
            self.no_picture, self.method, self.path, self.header, self.garbage, self.chunk, self.packed, self.model,
        )  # fmt: skip
        seldom = (self.announced, self.bomb, self.nested, self.leaver, self.pipelined)
        self._packed_bomb = gzip.compress(bytes(4 * body_bytes), 6)
        self._makers = [*often * 3, *seldom * 2, self.streamed, self.slow, self.packed_bomb]

    def case(self):
        return self.rng.choice(self._makers)()

    def one(self, *choices):
        return self.rng.choice(choices)

    def bytes(self, most):
        return self.rng.randbytes(self.rng.randrange(1, most))

    def json_field(self):
        """One field is not what it must be."""
        shapes = ([], [0], [1, 3, 0, 2], [-1, 3, 2, 2], [2**63, 2**63, 3, 3], [1, 3, 10**9, 10**9], [1.0, 3, 2, 2],
                  ["1", 3, 2, 2], [True, 3, 2, 2], [[1], 3, 2, 2], [1, 3, 2], [1, 3, 2, 2, 1], [1, 4, 2, 2], None, 12,
                  "1322", {}, [17, 3, 1, 1], [10**400, 3, 1, 1], [1, 3, 4000, 4000])  # fmt: skip
        data = (None, [], [0.5] * 11, [0.5] * 13, ["0.5"] * 12, [True] * 12, [None] * 12, "0.5", 0.5, {}, [[0.5] * 12],
                [[[[1, 2], [3]]]], [1e300] * 12, [[0.5]] + [0.5] * 11, [10**40] * 12, [{}] * 12)  # fmt: skip
        changes = [
            {"shape": self.one(*shapes)},
            {"data": self.one(*data)},
            {"name": self.one(None, "", "y", 7, [], "x" * 10000, "\ud800", "../x")},
            {"datatype": self.one(None, "FP16", "INT64", "BYTES", "fp32", 32, "float32", "FP32\0")},
            {"parameters": self.one([], "a", 3, {"shared_memory_region": "/etc"}, {"binary_data_size": 48})},
        ]
        given = tensor(**self.rng.choice(changes))
        if "parameters" not in given and self.rng.random() < 0.3:
            whole = self.one(
                {"inputs": []}, {"inputs": [given, given]}, {"inputs": given}, {"inputs": None}, {}, [], 3, "x", None,
                {"inputs": [[]]}, {"inputs": [3]}, {"inputs": [tensor()], "id": 5},
                {"inputs": [tensor()], "outputs": 3}, {"inputs": [tensor()], "id": "i" * 999},
                {"inputs": [tensor()], "outputs": [{"name": "other"}]}, {"inputs": [tensor()], "outputs": [{}, {}]},
                {"inputs": [tensor()], "outputs": [{"name": "labels", "parameters": {"classification": 3}}]},
                {"inputs": [tensor()], "outputs": [{"name": "labels", "parameters": {"binary_data": "yes"}}]},
                {"inputs": [tensor()], "parameters": {"binary_data_output": 1}},
            )  # fmt: skip
            return Case("json_whole", [http(INFER, json.dumps(whole).encode())])
        return Case("json_field", [http(INFER, message(given))])

    def json_text(self):
        """Not JSON, or JSON that Python's reader takes and RFC 8259 does not."""
        right = message()
        number = self.one(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"0x10", b"01", b"+1", b".5", b"1.")
        texts = (
            right[: self.rng.randrange(len(right))],
            right.replace(b"0.5", number, 1),
            right[:-1] + b', "inputs": []}',
            right.replace(b'"name"', b'"name": "x", "name"', 1),
            right + b"x",
            right.replace(b'"x"', b"'x'"),
            right.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + right,
            right.replace(b'"x"', b'"\xff\xfe"'),
            b'"' + b"\\u0000" * 1000 + b'"',
        )
        return Case("json_text", [http(INFER, self.one(*texts))])

    def nested(self):
        depth = self.one(500, 2000, 100_000, 400_000)
        text = self.one(b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b"[" + b"{}," * depth + b"1]")
        return Case("nested", [http(INFER, text)])

    def binary(self):
        """The binary extension with lengths that do not fit."""
        size = self.one(-1, 0, 47, 49, 48.0, "48", True, 2**63, 10**30, [48], None, 48)
        rest = bytes(self.one(0, 1, 47, 49, 480))
        header = message(tensor(data=None, parameters={"binary_data_size": size}))
        if self.rng.random() < 0.3:
            header = message(tensor(parameters={"binary_data_size": 48}))  # data as well
        length = len(header)
        stated = self.one(length, length, length, -1, 0, length - 1, length + 481, 10**20, "9" * 5000, "x", "", "١٢",
                          f"{length}.0", f"+{length}", f"{length}, {length}")  # fmt: skip
        stated = str(stated).encode("utf-8").decode("latin-1")
        return Case("binary", [http(INFER, header + rest, [("Inference-Header-Content-Length", stated)])])

    def announced(self):
        """Larger than allowed by its header; the body never comes."""
        length = self.one(self.body_bytes + 1, 10 * self.body_bytes, 2**40, 10**19, 10**25, "-1", "1e3", "0x10", "1,2")
        headers = [("Content-Length", length)] + [("Expect", "100-continue")] * self.one(0, 1)
        return Case("announced", [http(self.one(INFER, "/predict"), b"", headers, length=False) + b"x" * 100])

    def streamed(self):
        """Larger than allowed, in chunks that do not say so."""
        pieces = [chunk(bytes(64 << 10))] * (self.body_bytes // (64 << 10) + 3)
        head = http(self.one(INFER, "/predict"), headers=[("Transfer-Encoding", "chunked")], length=False)
        return Case("streamed", [head, *pieces, b"0\r\n\r\n"], frozenset({413, 408}))

    def packed_bomb(self):
        head = [("Content-Encoding", "gzip")]
        return Case("packed_bomb", [http(self.one(INFER, "/predict"), self._packed_bomb, head)], frozenset({413}))

    def packed(self):
        whole = gzip.compress(message())
        body = self.one(whole[:-9], whole + b"x", whole[:10] + self.bytes(50), self.bytes(300), b"", message())
        encoding = self.one("gzip", "deflate", "br", "zstd", "gzip, gzip", "", "GZIP ")
        if encoding in ("", "GZIP "):
            body = self.bytes(300)
        return Case("packed", [http(INFER, body, [("Content-Encoding", encoding)])])

    def chunk(self):
        head = http(INFER, headers=[("Transfer-Encoding", self.one("chunked", "chunked", "gzip, chunked", "x"))],
                    length=False)  # fmt: skip
        tail = self.one(b"ZZ\r\nabc\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFFFFF\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n",
                        b"3;" + b"e" * 40000 + b"\r\nabc\r\n0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 9000 + b"\r\n",
                        b"\x00\r\n", b"3\nabc\n0\n\n")  # fmt: skip
        return Case("chunk", [head, tail], may_be_silent=True)

    def bomb(self):
        width, height = self.one((60000, 60000), (65535, 65535), (16384, 16384), (2**31 - 1, 1), (4001, 4000))
        make = self.one(png_header, jpeg_header, webp_header)
        if make is not png_header:
            width, height = min(width, 65535 if make is jpeg_header else 2**24), min(height, 65535)
        return Case("bomb", [http("/predict", make(width, height))])

    def picture_cut(self):
        return Case("picture_cut", [http("/predict", self.photo[: self.rng.randrange(3, len(self.photo) - 2)])])

    def picture_changed(self):
        """May still be a picture."""
        data = bytearray(self.photo)
        for _ in range(self.rng.randrange(1, 30)):
            data[self.rng.randrange(len(data))] = self.rng.randrange(256)
        return Case("picture_changed", [http("/predict?result=json", bytes(data))], SERVED)

    def noise(self):
        start = self.one(
            b"", b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"BM", b"II*\0"
        )
        return Case("noise", [http(self.one(INFER, "/predict"), start + self.bytes(5000))])

    def no_picture(self):
        body = self.one(
            b"",
            b"/etc/passwd",
            b"file:///etc/passwd",
            b"http://169.254.169.254/",
            b"<svg/>",
            b"\x80\x04N.",
            b"%PDF-1.4",
            b"PK\x03\x04" + bytes(50),
            b"{}",
            b"--b\r\nContent-Disposition: form-data\r\n",
        )
        path = self.one("/predict", "/predict", "/predict?result=pickle", "/predict?result=", "/predict?result=%00",
                        "/predict?path=/etc/passwd", "/predict?" + "a=b&" * 5000)  # fmt: skip
        return Case("no_picture", [http(path, body)])

    def method(self):
        method, path = self.one(
            ("GET", INFER), ("PUT", "/predict"), ("DELETE", "/v2"), ("TRACE", "/"), ("OPTIONS", "/predict"),
            ("PATCH", INFER), ("POST", "/metrics"), ("POST", "/v2/health/live"), ("CONNECT", "a:80"), ("OPTIONS", "*"),
            ("A" * 3000, "/"), ("get", "/predict"), ("PROPFIND", "/"),
        )  # fmt: skip
        return Case("method", [http(path, method=method)])

    def path(self):
        word = "".join(self.rng.choices("abc/.%0123é ;?#&=\\", k=self.rng.randrange(1, 40))).replace(" ", "%20")
        path = self.one(
            "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//", "/v2/", "/v2/models", "/v2/models//infer",
            "/page.html", "/predict/", "/%00", "/" + "a" * 9000, "/v2/models/levels/versions/2/infer", "/nix" + word,
            "http://a.example/nix", "/v2/repository/index", "/.git/config", "/v2/models/%2e%2e/infer",
        )  # fmt: skip
        return Case("path", [http(path, method=self.one("GET", "POST"))])

    def model(self):
        name = self.one(
            "other", "Levels", "levels%00", "levels/../levels", "%F0%9F%98%80", "a" * 5000, "<script>", "{name}"
        )
        return Case("model", [http(f"/v2/models/{name}/{self.one('infer', 'versions/1/infer')}", message())])

    def header(self):
        lines = self.one(
            [("A", "b" * 40000)], [("A", "b")] * 9000, [("A\0", "b")], [("A B", "c")], [(" A", "b")], [("A", "b\0c")],
            [("Content-Length", "5"), ("Content-Length", "6")], [("Transfer-Encoding", "chunked, chunked")],
            [("Host", "a"), ("Host", "b")], [("Upgrade", "websocket"), ("Connection", "Upgrade")], [("", "x")],
        )  # fmt: skip
        return Case("header", [http(INFER, b"{}", lines)], may_be_silent=True)

    def garbage(self):
        """What is not HTTP/1.1 at all."""
        data = self.one(
            self.bytes(300) + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + self.bytes(200),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n", b"GET /nix HTTP/9.9\r\n\r\n", b"\r\n" * 20000,
            b"GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        )  # fmt: skip
        return Case("garbage", [data], may_be_silent=True, pause_s=0.01)

    def pipelined(self):
        """Good requests with something else behind them, in one go."""
        good = self.one(http("/v2/health/live", method="GET"), http("/predict", self.photo), http(INFER, message()))
        bad = self.one(self.bytes(500), good[:20], http("/nowhere"), b"\0" * 70000, http(INFER, b"{"), good * 20)
        return Case("pipelined", [good + bad], SERVED, may_be_silent=True)

    def leaver(self):
        """Goes away before the body is whole, or before the answer."""
        whole = self.one(http("/predict", self.photo), http(INFER, message()))
        sent = self.one(whole, whole, whole[: self.rng.randrange(1, len(whole))])
        return Case("leaver", [sent], SERVED, may_be_silent=True, leaves=True)

    def slow(self):
        """A header or a body that comes drop by drop and never ends."""
        header = [bytes([byte]) for byte in b"POST /predict HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 400]
        body = [http("/predict", headers=[("Content-Length", 5000)], length=False), *[b"z"] * 400]
        return Case("slow", self.one(header, body), frozenset({408}), pause_s=0.1)
