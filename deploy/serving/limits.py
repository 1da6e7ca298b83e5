"""The limits of a request, the memory that all requests share, and the reading of bodies within both."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

_PIECE = 1 << 20
# zlib's `wbits` by Content-Encoding.
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Refusal(HTTPException):
    """A request that is answered with an error: its status, and one sentence for the client."""

    def __init__(self, status: int, message: str):
        # A client that is refused for lack of room is told when to try again.
        super().__init__(status, message, {"Retry-After": "1"} if status == 503 else {})


@dataclass(frozen=True)
class Limits:
    """The limits of one request, unless a comment says otherwise; the flags of server.py set them."""

    body_bytes: int = 32 << 20  # as sent, and after decompression
    json_bytes: int = 8 << 20
    json_elements: int = 2_000_000  # Python needs 32 bytes for each
    elements: int = 8 << 20  # of the tensor that the graph is given
    batch: int = 16
    pixels: int = 16_000_000
    header_bytes: int = 32 << 10
    memory_bytes: int = 512 << 20  # bodies and answers, of all requests together
    connections: int = 256  # of the server
    read_s: float = 20.0  # for the header, for the body, and for each 64 kB that the client takes of the answer
    idle_s: float = 5.0  # between two requests
    request_s: float = 30.0  # waiting and computing


@dataclass
class Budget:
    """The free bytes of those that bodies and answers may take up together. Belongs to the event loop's thread."""

    free: int


class Lease:
    """The bytes that one request has taken from a Budget."""

    def __init__(self, budget: Budget):
        self._budget, self._taken = budget, 0

    def grow(self, count: int) -> None:
        """Takes `count` more bytes. Raises Refusal (503) if fewer are free."""
        if count > self._budget.free:
            raise Refusal(503, "the server holds as many requests as its memory allows")
        self._budget.free -= count
        self._taken += count

    def release(self) -> None:
        """Gives all bytes back."""
        self._budget.free += self._taken
        self._taken = 0


async def read_body(request: Request, limits: Limits, lease: Lease) -> bytearray:
    """The decompressed body; the announced size and the received size are both checked.

    Raises Refusal: 413 if it is too large, 408 if it takes too long, 415 or 400 if it cannot be decompressed, 503
    if no memory is free; ClientDisconnect if the client has closed the connection.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS and encoding != "identity":
        raise Refusal(415, "Content-Encoding must be gzip, deflate or identity")
    chunks = request.stream()
    if encoding in _ENCODINGS:
        chunks = _unpacked(chunks, _ENCODINGS[encoding])
    try:
        return await asyncio.wait_for(_collect(chunks, limits, lease), limits.read_s)
    except asyncio.TimeoutError as error:
        raise Refusal(408, f"the body did not arrive within {limits.read_s:g} s") from error


async def _collect(chunks: AsyncIterator[bytes], limits: Limits, lease: Lease) -> bytearray:
    body = bytearray()
    try:
        async for chunk in chunks:
            if len(body) + len(chunk) > limits.body_bytes:
                raise _too_large(limits)
            lease.grow(len(chunk))
            body += chunk
    except BaseException:
        body.clear()  # wait_for leaves the error in a cycle, which would keep this frame until it is collected
        raise
    return body


async def _unpacked(chunks: AsyncIterator[bytes], wbits: int) -> AsyncIterator[bytes]:
    """The decompressed body in pieces of limited size, even if a tiny body expands to a huge one."""
    unpacker = zlib.decompressobj(wbits)
    try:
        async for packed in chunks:
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _PIECE)
                packed = unpacker.unconsumed_tail
            if packed or unpacker.unused_data:
                raise Refusal(400, "bytes follow the end of the packed body")
    except zlib.error as error:
        raise Refusal(400, "the body is not packed as its Content-Encoding says") from error
    if not unpacker.eof:
        raise Refusal(400, "the packed body ends early")


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is larger than {limits.body_bytes} bytes")


async def until_gone(request: Request) -> None:
    """Returns when the client has closed the connection; call it after the body was read."""
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        pass
