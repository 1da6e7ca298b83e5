"""uvicorn's HTTP/1.1 connection with what it lacks: limits on time and number, and errors as JSON.

uvicorn waits for ever for the header of a fresh connection, for the rest of a body, and for a client that does not
read.
"""

from __future__ import annotations

import asyncio
import json

import h11
from limits import Limits, Refusal
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# A body that was refused is read to its end, so that the client sees the answer; of no more than so many times
# what is allowed, and this much longer than a body may take.
_LINGER_BYTES, _LINGER_S = 4, 2.0


def guarded(limits: Limits) -> type[H11Protocol]:
    """The class of a connection for one server, for uvicorn's `http`."""

    class Connection(GuardedConnection):
        """One with these limits."""

    Connection.limits = limits
    return Connection


class GuardedConnection(H11Protocol):
    """One connection. What is awaited from the client (header, body, room for the answer) decides its time."""

    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _slow_reader: asyncio.TimerHandle | None = None
    _awaited = ""
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Turns a client away when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._say_and_close(Refusal(503, "too many connections"))
        else:
            self._await("header")

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the timers."""
        self._await("")
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a header or a body."""
        if self.transport.is_closing():
            return
        if self._awaited == "body":
            self._body_bytes += len(data)
            if self._body_bytes > _LINGER_BYTES * self.limits.body_bytes + self.limits.header_bytes:
                self.transport.abort()
                return
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # what was sent fits to no state of the connection
            self.transport.abort()
            return
        self._await({h11.IDLE: "header", h11.SEND_BODY: "body"}.get(self.conn.their_state, ""))

    def on_response_complete(self) -> None:
        """The answer is sent; another request may be here already."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._await("body" if self.conn.their_state is h11.SEND_BODY else "")

    def send_400_response(self, msg: str) -> None:
        """Not HTTP. Without an answer when one is under way."""
        can_answer = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if can_answer:
            self._say_and_close(Refusal(400, "not an HTTP/1.1 request"))
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        super().pause_writing()
        self._slow_reader = self.loop.call_later(self.limits.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None

    def timeout_keep_alive_handler(self) -> None:
        """No next request came; whatever state the connection is in."""
        self.transport.close()

    def shutdown(self) -> None:
        """The server ends: at once without a request, else after its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()
        else:
            cycle.keep_alive = False

    def _await(self, what: str) -> None:
        if what == self._awaited:
            return
        self._awaited, self._body_bytes = what, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if what == "header":
            self._timer = self.loop.call_later(self.limits.read_s, self._header_is_late)
        elif what == "body":
            self._timer = self.loop.call_later(self.limits.read_s + _LINGER_S, self.transport.abort)

    def _header_is_late(self) -> None:
        self._say_and_close(Refusal(408, f"the header did not arrive within {self.limits.read_s:g} s"))

    def _say_and_close(self, refusal: Refusal) -> None:
        """An answer past h11, which may be in no state to give one."""
        body = json.dumps({"error": str(refusal)}).encode()
        phrase = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}[refusal.status]
        headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
        lines = [f"HTTP/1.1 {refusal.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **refusal.headers}.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
