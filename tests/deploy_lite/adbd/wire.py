"""The transport of the ADB protocol, device side: packets of 24 bytes and a payload, many streams on one socket.

Each direction of a stream has at most one unacknowledged WRTE. Checksums are always computed.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
VERSION, LARGEST = 0x01000001, 256 * 1024
_HEAD = struct.Struct("<6I")


class Gone(Exception):
    """The other side, or a fault, ended the stream or the connection."""


class Stream:
    """One service in use. `mine` and `theirs` are its two ids."""

    def __init__(self, link: Link, mine: int, theirs: int) -> None:
        self.link, self.mine, self.theirs = link, mine, theirs
        self.ended = threading.Event()
        self.on_end: Callable[[], None] = lambda: None
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._may_write = threading.Semaphore(1)
        self._rest = b""

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.link.largest):
            self._may_write.acquire()
            if self.ended.is_set():
                raise Gone
            self.link.send(WRTE, self.mine, self.theirs, data[start : start + self.link.largest])

    def read(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._rest += self.read_some()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def read_some(self) -> bytes:
        data = self._incoming.get()
        if not data:
            raise Gone
        return data

    def received(self, data: bytes) -> None:
        self._incoming.put(data)

    def acknowledged(self) -> None:
        self._may_write.release()

    def close(self) -> None:
        """Ours to end: after the last WRTE was acknowledged."""
        self._may_write.acquire()
        if not self.ended.is_set():
            self.link.send(CLSE, self.mine, self.theirs)
        self.end()

    def end(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._incoming.put(b"")
            self._may_write.release()
            self.on_end()


class Link:
    """One connection of an adb server. `serve` returns when it is over."""

    def __init__(self, connection: socket.socket, banner: bytes, opener: Callable, greeting: str = "") -> None:
        """`opener(service)` gives a function of a stream, or None; `greeting` is `unauthorized` or `offline`."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.largest = LARGEST
        self._connection, self._banner, self._opener, self._greeting = connection, banner, opener, greeting
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._count = 0

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = _HEAD.pack(command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        try:
            with self._sending:
                self._connection.sendall(head + data)
        except OSError as error:
            raise Gone from error

    def cut(self) -> None:
        """What pulling the cable does."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        try:
            while True:
                command, first, second, length, _, magic = _HEAD.unpack(self._receive(_HEAD.size))
                if magic != command ^ 0xFFFFFFFF or length > 4 * LARGEST:
                    return
                self._handle(command, first, second, self._receive(length))
        except (Gone, OSError):
            return
        finally:
            for stream in list(self._streams.values()):
                stream.end()
            self._connection.close()

    def _receive(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            got = self._connection.recv(count - len(parts))
            if not got:
                raise Gone
            parts += got
        return bytes(parts)

    def _handle(self, command: int, first: int, second: int, data: bytes) -> None:
        stream = self._streams.get(second)
        if command in (CNXN, AUTH):
            self._greet(command, second)
        elif command == OPEN:
            self._open(first, data)
        elif stream is None:
            if command == WRTE:
                self.send(CLSE, 0, first)
        elif command == WRTE:
            stream.received(data)
            self.send(OKAY, second, first)
        elif command == OKAY:
            stream.acknowledged()
        elif command == CLSE:
            self._streams.pop(second)
            stream.end()

    def _greet(self, command: int, largest: int) -> None:
        if self._greeting == "offline":
            return
        if self._greeting == "unauthorized" or command == AUTH:
            self.send(AUTH, 1, 0, bytes(20))  # a token to sign, again and again
            return
        self.largest = min(largest, LARGEST)
        self.send(CNXN, VERSION, self.largest, self._banner)

    def _open(self, theirs: int, data: bytes) -> None:
        service = self._opener(data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
        if service is None:
            self.send(CLSE, 0, theirs)
            return
        self._count += 1
        stream = self._streams[self._count] = Stream(self, self._count, theirs)
        self.send(OKAY, stream.mine, theirs)
        threading.Thread(target=self._run, args=(stream, service), daemon=True).start()

    def _run(self, stream: Stream, service: Callable[[Stream], None]) -> None:
        try:
            service(stream)
            stream.close()
        except (Gone, OSError):
            stream.end()
