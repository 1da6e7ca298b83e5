"""The routes: the Open Inference Protocol, `/predict` for photographs, the page, `/metrics`."""

import asyncio
import base64
import hashlib
import html
import os
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from limits import Budget, Lease, Limits, Refusal, read_body, until_gone
from metrics import CONTENT_TYPE, Metrics
from photo import RESULTS
from pool import Pool, Worker
from protocol import EXTENSIONS, HEADER_LENGTH, MOST_DIGITS, VERSION, ModelInfo, parse, reply
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paddleseg_ext_runtime.log import get_logger

__version__ = version("paddleseg-ext")
_PIECE = 64 << 10
_SHORT = 64 << 10  # JSON that is read at once; longer JSON takes turns in a thread
_CLOSED_BY_CLIENT = 499  # nginx's number, for the log and the metrics alone
_FOREVER = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
T = TypeVar("T")


class Answer(Response):
    """A response that sends its body in pieces, so that it ends only when the client has received all of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), _PIECE):
            piece = bytes(body[start : start + _PIECE])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Service:
    """The state that the routes share; each public coroutine is one route.

    Args:
        model: the served model.
        takes_photos: whether the graph takes one image at a time.

    While `is_draining` is True, new requests are refused.
    """

    def __init__(self, model: ModelInfo, pool: Pool, limits: Limits, takes_photos: bool):
        self.model, self.pool, self.limits = model, pool, limits
        self.budget, self.metrics = Budget(limits.memory_bytes), Metrics(pool)
        self.active, self.is_draining = 0, False
        self._takes_photos = takes_photos
        self._long_json = asyncio.Semaphore(1)
        self._page, self._policy = _page(model, limits)

    @property
    def is_ready(self) -> bool:
        """Whether the server can compute a request now."""
        return not self.is_draining and self.pool.alive > 0

    async def page(self, _: Request) -> Response:
        """The page for trying photographs."""
        return Response(self._page, media_type="text/html", headers={"Content-Security-Policy": self._policy})

    async def prometheus(self, _: Request) -> Response:
        """Prometheus' text."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def server_metadata(self, _: Request) -> Response:
        """The server's name, version and protocol extensions."""
        return JSONResponse({"name": "paddleseg-ext", "version": __version__, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """200, or 503 without a worker and while draining."""
        return JSONResponse({"ready": self.is_ready}, 200 if self.is_ready else 503)

    async def model_metadata(self, request: Request) -> Response:
        """Inputs and outputs."""
        self._check_model(request)
        return JSONResponse(self.model.metadata())

    async def model_ready(self, request: Request) -> Response:
        """As `ready`, for the one model."""
        self._check_model(request)
        ready = {"name": self.model.name, "ready": self.is_ready}
        return JSONResponse(ready, 200 if self.is_ready else 503)

    async def infer(self, request: Request) -> Response:
        """A tensor in, a tensor out."""
        self._check_model(request)
        self._check_open()
        lease = request.scope["lease"]
        body = await read_body(request, self.limits, lease)
        deadline = time.monotonic() + self.limits.request_s
        header = request.headers.get(HEADER_LENGTH)
        json_bytes = int(header) if header and header.isdecimal() and len(header) < MOST_DIGITS else len(body)
        asked = await self._in_turn(json_bytes <= _SHORT, parse, body, header, self.model, self.limits)
        lease.grow(self._check_memory(asked.array))
        output = await self._compute(request, deadline, lambda worker: self._run(worker, asked.array))
        short = asked.wants_binary or output.nbytes <= _SHORT
        content, headers = await self._in_turn(short, reply, asked, output, self.model, self.limits)
        return Answer(content, headers=headers)

    async def predict(self, request: Request) -> Response:
        """A photograph in, its labels at the photograph's size out."""
        result = request.query_params.get("result", "mask")
        if result not in RESULTS:
            raise Refusal(400, f"result must be one of {', '.join(RESULTS)}")
        self._check_open()
        if not self._takes_photos:
            images = self.model.input_shape[0]
            raise Refusal(400, f"this graph takes {images} images at once; use /v2/models/NAME/infer")
        body = await read_body(request, self.limits, request.scope["lease"])
        if not body:
            raise Refusal(400, "the body is empty; it must be a JPEG, PNG or WebP file")
        deadline = time.monotonic() + self.limits.request_s
        content, media_type, times = await self._compute(
            request, deadline, lambda worker: self._segment(worker, body, result)
        )
        request.scope["lease"].grow(len(content))
        timing = ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in times.items())
        return Answer(content, media_type=media_type, headers={"Server-Timing": timing})

    def _check_open(self) -> None:
        if self.is_draining:
            raise Refusal(503, "the server is closing")

    def _check_model(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version", VERSION)
        if name != self.model.name or version != VERSION:
            raise Refusal(404, f"the one model here is {self.model.name!r}, version {VERSION}")

    def _check_memory(self, tensor: np.ndarray) -> int:
        """The bytes for the graph's output and for the answer made of it. Raises Refusal (413) for too many."""
        expected = 2 * self.model.answer_bytes(tensor.shape)
        if expected > self.limits.memory_bytes:
            raise Refusal(413, f"the graph's output would take {expected >> 20} MB, more than this server has")
        return expected

    async def _in_turn(self, is_short: Any, function: Callable[..., T], *args: Any) -> T:
        """Calls `function`; a long call, which needs much memory, runs in a thread, and only one at a time."""
        if is_short:
            return function(*args)
        async with self._long_json:
            return await asyncio.to_thread(function, *args)

    async def _compute(self, request: Request, deadline: float, work: Callable[[Worker], T]) -> T:
        """Waits for a worker's result until `deadline`, or until the client closes the connection."""
        done = asyncio.wrap_future(self.pool.submit(work, deadline))
        done.add_done_callback(lambda future: future.cancelled() or future.exception())  # it may come too late
        gone = asyncio.ensure_future(until_gone(request))
        try:
            await asyncio.wait({done, gone}, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            if done.cancelled():
                raise Refusal(503, "the server is closing")
            if done.done():
                return done.result()
            done.cancel()
            if gone.done():
                raise ClientDisconnect
            raise Refusal(503, f"no result within {self.limits.request_s:g} s")
        finally:
            gone.cancel()
            del done, work  # with an error they would be a cycle, and keep the body until it is collected

    def _run(self, worker: Worker, tensor: np.ndarray) -> np.ndarray:
        with self.metrics.model_seconds.time():
            return worker.run(tensor)

    def _segment(self, worker: Worker, body: bytearray, result: str) -> tuple[bytes, str, dict[str, float]]:
        start = time.perf_counter()
        tensor = worker.prepare(body)
        self._check_memory(tensor)
        prepared = time.perf_counter()
        output = self._run(worker, tensor)
        computed = time.perf_counter()
        content, media_type = worker.finish(output[0], result)
        times = {
            "prepare": prepared - start, "model": computed - prepared, "finish": time.perf_counter() - computed
        }  # fmt: skip
        return content, media_type, times


def _page(model: ModelInfo, limits: Limits) -> tuple[bytes, str]:
    """The page, and the content security policy that allows only its own style and script."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    for key, value in {"NAME": model.name, "BODY_BYTES": limits.body_bytes}.items():
        text = text.replace(f"@{key}@", html.escape(str(value)))
    rules = [_FOREVER, "img-src 'self' blob: data:", "connect-src 'self'"]
    for tag in ("style", "script"):
        inline = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        rules.append(f"{tag}-src 'sha256-{digest}'")
    return text.encode(), "; ".join(rules)


def make_app(service: Service) -> ASGIApp:
    """All routes, with errors in the protocol's format."""
    model = "/v2/models/{name}"
    routes = [
        Route("/", service.page),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/metrics", service.prometheus),
        Route("/v2", service.server_metadata),
        Route("/v2/health/live", service.live),
        Route("/v2/health/ready", service.ready),
    ]
    for path in (model, model + "/versions/{version}"):
        routes += [
            Route(path, service.model_metadata),
            Route(path + "/ready", service.model_ready),
            Route(path + "/infer", service.infer, methods=["POST"]),
        ]
    handlers = {HTTPException: _refused, ClientDisconnect: _gone, Exception: _defect}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Recorder(app, service)


async def _refused(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=_CLOSED_BY_CLIENT)


async def _defect(request: Request, error: Exception) -> Response:
    if isinstance(error, MemoryError):
        return await _refused(request, Refusal(503, "the memory did not suffice"))
    return await _refused(request, Refusal(500, "an error of the server's; its log has a line about it"))


class Recorder:
    """Counts every request, logs it in one line, gives its memory back, and catches every error."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        service, start, status = self._service, time.perf_counter(), _CLOSED_BY_CLIENT
        scope["lease"] = Lease(service.budget)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        service.active += 1
        service.metrics.active.inc()
        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # answered already
            shown = error if shows_tracebacks() else None
            get_logger().error("%s in %s: a defect", type(error).__name__, _where(error), exc_info=shown)
        finally:
            scope["lease"].release()
            service.active -= 1
            service.metrics.active.dec()
            route, seconds = getattr(scope.get("endpoint"), "__name__", "none"), time.perf_counter() - start
            service.metrics.count(route, status, seconds)
            get_logger().info("%s %d %.0f ms", route, status, 1000 * seconds)


def shows_tracebacks() -> bool:
    """Whether the log shows tracebacks of defects: with PADDLESEG_EXT_DEBUG=1, as in all tools."""
    return os.environ.get("PADDLESEG_EXT_DEBUG") == "1"


def _where(error: Exception) -> str:
    step = error.__traceback__
    while step.tb_next:
        step = step.tb_next
    return f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}"
