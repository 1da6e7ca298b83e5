"""uvicorn's HTTP/1.1 connection, with limits on time and on the number of connections, and with errors as JSON.

uvicorn itself waits for ever for the header of a new connection, for the rest of a body, and for a client that does not
read its answer.
"""

import asyncio
import json

import h11
from limits import Limits, Refusal
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# A refused body is read to its end, so that the client gets the answer, but at most to 4 times the size limit and until
# 2 seconds after the time limit.
_LINGER_BYTES, _LINGER_S = 4, 2.0


def guarded(limits: Limits) -> type[H11Protocol]:
    """The connection class of one server, for uvicorn's argument `http`."""
    return type("Connection", (GuardedConnection,), {"limits": limits})


class GuardedConnection(H11Protocol):
    """One connection. Its time limit depends on what it waits for: a header, a body, or a client that reads."""

    limits: Limits
    _timer: asyncio.TimerHandle | None = None
    _slow_reader: asyncio.TimerHandle | None = None
    _awaited = ""
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Refuses the client if there are too many connections."""
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
        """Takes bytes of a header or a body."""
        if self.transport.is_closing():
            return
        if self._awaited == "body":
            self._body_bytes += len(data)
            if self._body_bytes > _LINGER_BYTES * self.limits.body_bytes + self.limits.header_bytes:
                self.transport.abort()
                return
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # the bytes do not fit the connection's state
            self.transport.abort()
            return
        self._await({h11.IDLE: "header", h11.SEND_BODY: "body"}.get(self.conn.their_state, ""))

    def on_response_complete(self) -> None:
        """Called when the answer is sent; the next request may have arrived already."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._await("body" if self.conn.their_state is h11.SEND_BODY else "")

    def send_400_response(self, msg: str) -> None:
        """Closes a connection whose bytes are not HTTP; answers first, unless another answer is being sent."""
        can_answer = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if can_answer:
            self._say_and_close(Refusal(400, "not an HTTP/1.1 request"))
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Called when the client does not read fast enough: starts its time limit."""
        super().pause_writing()
        self._slow_reader = self.loop.call_later(self.limits.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Called when the client has read: ends the time limit."""
        super().resume_writing()
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection when no next request came, in whatever state it is."""
        self.transport.close()

    def shutdown(self) -> None:
        """Called when the server ends: closes the connection now, or after the answer to a running request."""
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
        """Writes an answer without h11, whose state may not allow one."""
        body = json.dumps({"error": refusal.detail}).encode()
        phrase = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}[refusal.status_code]
        headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
        lines = [f"HTTP/1.1 {refusal.status_code} {phrase}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **refusal.headers}.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
