"""Runs the server: listens, handles signals, finishes running requests, and logs errors without tracebacks."""

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from app import Service, make_app, shows_tracebacks
from connection import guarded

from paddleseg_ext_runtime.errors import ConfigError, Stopped
from paddleseg_ext_runtime.log import get_logger

_BACKLOG = 128
_LOOPBACK = ("127.", "::1")
_LOOK_S = 0.05
_M_MMAP_THRESHOLD, _LARGE = -3, 1 << 20
_CLOSE_S = 1  # for clients to close their connections, when everything is answered


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from error


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `run` handles signals, and finishes running requests first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def return_memory() -> None:
    """Makes glibc return each large body's memory; by default it raises its threshold and keeps them in its heap."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def run(service: Service, listener: socket.socket, url: str, about: str, drain_s: float) -> None:
    """Serves until SIGTERM or SIGINT, then refuses new requests and waits for the running ones.

    Raises Stopped if this takes more than `drain_s` seconds, or at a second signal.
    """
    loop, limits = asyncio.get_running_loop(), service.limits
    loop.set_exception_handler(_log_in_one_line)
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.append, number)
    config = uvicorn.Config(
        make_app(service), http=guarded(limits), ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=limits.idle_s,
        timeout_graceful_shutdown=_CLOSE_S, h11_max_incomplete_event_size=limits.header_bytes, backlog=_BACKLOG,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(_LOOK_S)
    if not listener.getsockname()[0].startswith(_LOOPBACK):
        get_logger().warning("whoever reaches this address may use the server: it asks nobody who they are")
    print(f"serving {about}, on {url}", flush=True)
    while not signals and not serving.done():
        await asyncio.sleep(_LOOK_S)
    end = time.monotonic() + drain_s
    unanswered = await _drain(service, signals, end)
    server.should_exit = True
    if unanswered:
        service.pool.kill()  # the unanswered requests get an error
    await serving
    if unanswered:
        raise Stopped(f"{unanswered} request{'s were' if unanswered > 1 else ' was'} cut off", 128 + signals[0])
    service.pool.stop()
    while not service.pool.is_done and time.monotonic() < end and len(signals) < 2:
        await asyncio.sleep(_LOOK_S)
    service.pool.kill()  # a worker that is being replaced may take minutes


async def _drain(service: Service, signals: list[int], end: float) -> int:
    """Waits for running requests; returns how many are unanswered at `end` or at a second signal."""
    service.is_draining = True
    get_logger().info("stopping; %d requests are under way", service.active)
    while service.active and time.monotonic() < end and len(signals) < 2:
        await asyncio.sleep(_LOOK_S)
    return service.active


def _log_in_one_line(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    name = f": {type(error).__name__}" if error else ""
    get_logger().error("%s%s", context.get("message", ""), name, exc_info=error if shows_tracebacks() else None)
