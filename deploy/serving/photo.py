"""Turns photographs into tensors and outputs into answers, in a separate process.

The process is separate because decoders are native code and the bytes come from strangers. `PhotoProcess` is the
server's side. Each process is forked from one that has already imported the library (multiprocessing's forkserver), so
that it starts at once. Messages are JSON and raw bytes, never pickles.
"""

import base64
import contextlib
import json
import multiprocessing
import os
import re
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
from limits import Refusal

from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError, DataError
from paddleseg_ext_runtime.image_pipeline import TooLargeError
from paddleseg_ext_runtime.label_map import encode_labels, overlay
from paddleseg_ext_runtime.reading import TooManyPixelsError, decode_image

WITH_MASK = "json_mask"
RESULTS = ("mask", "overlay", "json", WITH_MASK)
# JPEG, PNG, WebP. OpenCV knows more formats, whose decoders fewer people have attacked.
_STARTS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)
_MAX_ANSWER = 1 << 30
_LIBRARY = ["paddleseg_ext_runtime.reading", "paddleseg_ext_runtime.deploy_yaml", "paddleseg_ext_runtime.label_map"]


def context(max_pixels: int) -> multiprocessing.context.ForkServerContext:
    """The context that starts processes. Call it once: its fork server reads the environment when it starts."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max_pixels)
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(_LIBRARY)
    return forkserver


class PhotoProcess:
    """Prepares photographs for an exported folder's graph, and turns its output into an answer. For one thread.

    If an error ended the process, `is_alive` is False.
    """

    def __init__(
        self, start: multiprocessing.context.ForkServerContext, folder: str, max_pixels: int, max_elements: int
    ):
        theirs, self._pipe = start.Pipe()
        self._process = start.Process(target=serve, args=(theirs, folder, max_pixels, max_elements), daemon=True)
        self._process.start()
        theirs.close()
        self.timeout_s = 60.0
        self._ask({"do": "greet"})

    @property
    def is_alive(self) -> bool:
        """Whether the process still answers requests."""
        return self._process.is_alive()

    def prepare(self, data: bytes | bytearray) -> np.ndarray:
        """The tensor [1, C, h, w] of a picture file's bytes. Raises Refusal with 400, 413, 415 or 503."""
        reply, raw = self._ask({"do": "prepare"}, data)
        return np.frombuffer(raw, "float32").reshape(reply["shape"])

    def finish(self, output: np.ndarray, result: str) -> tuple[bytes, str]:
        """The answer of kind `result` for the last prepared photograph, and its media type. Raises Refusal."""
        output = np.ascontiguousarray(output)
        request = {"do": "finish", "result": result, "dtype": output.dtype.str, "shape": output.shape}
        reply, raw = self._ask(request, output.reshape(-1).view("uint8"))
        return raw, reply["type"]

    def kill(self) -> None:
        """Ends the process at once, from any thread."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process; safe to call twice."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, request: dict[str, Any], raw: Any = b"") -> tuple[dict[str, Any], bytes]:
        watchdog = threading.Timer(self.timeout_s, self._process.kill)
        watchdog.start()
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            self._pipe.send_bytes(raw)
            reply = json.loads(self._pipe.recv_bytes(_MAX_ANSWER))
            answer = self._pipe.recv_bytes(_MAX_ANSWER)
        except (EOFError, OSError) as error:
            self._process.kill()
            self._process.join()
            raise Refusal(503, "the process that read the picture has ended; it is being replaced") from error
        finally:
            watchdog.cancel()
        if "error" in reply:
            raise Refusal(reply["status"], reply["error"])
        return reply, answer


def serve(pipe: Connection, folder: str, max_pixels: int, max_elements: int) -> None:
    """The process's main function: answers requests until the server closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the server closes this process
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print many warnings, so clients could fill the log
    cv2.setNumThreads(1)
    desk = Desk(folder, max_pixels, max_elements)
    with contextlib.suppress(EOFError, OSError):
        while True:
            request, raw = json.loads(pipe.recv_bytes()), pipe.recv_bytes()
            try:
                reply, answer = desk.answer(request, raw)
            except Refusal as error:
                reply, answer = {"status": error.status_code, "error": error.detail}, b""
            except MemoryError:
                reply, answer = {"status": 503, "error": "the memory did not suffice for this picture"}, b""
            except Exception as error:  # raised by a library for unchecked bytes
                reply, answer = {"status": 400, "error": f"the picture cannot be used ({type(error).__name__})"}, b""
            del raw
            pipe.send_bytes(json.dumps(reply).encode())
            pipe.send_bytes(answer)


class Desk:
    """Does the work of the process, one photograph at a time."""

    def __init__(self, folder: str, max_pixels: int, max_elements: int):
        self._config, self._max_pixels = read_deploy_yaml(folder), max_pixels
        self._pipeline, self._colors = self._config.pipeline(max_elements), self._config.colors()
        self._image: np.ndarray | None = None

    def answer(self, request: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], bytes]:
        """The reply and its raw bytes. Raises Refusal, or any exception of a library that cannot use the picture."""
        if request["do"] == "prepare":
            tensor = self._prepare(raw)
            return {"shape": tensor.shape}, tensor.tobytes()
        if request["do"] == "finish":
            output = np.frombuffer(raw, request["dtype"]).reshape(request["shape"])
            answer, media_type = self._finish(output, request["result"])
            self._image = None
            return {"type": media_type}, answer
        return {}, b""

    def _prepare(self, data: bytes) -> np.ndarray:
        if not _STARTS.match(data):
            raise Refusal(415, "the body is no picture: send a JPEG, PNG or WebP file as it is")
        try:
            self._image = decode_image(data, "the picture", self._config.channels, self._max_pixels)
            tensor, self._steps = self._pipeline.prepare(self._image)  # raises TooLargeError
        except (TooManyPixelsError, TooLargeError) as error:
            raise Refusal(413, str(error)) from error
        except DataError as error:
            raise Refusal(400, str(error)) from error
        self._input_size = tensor.shape[2:]
        return tensor

    def _finish(self, output: np.ndarray, result: str) -> tuple[bytes, str]:
        labels = self._pipeline.restore(output, self._input_size, self._steps)
        if result == "mask":
            return self._mask(labels), "image/png"
        if result == "overlay":
            return cv2.imencode(".png", overlay(self._image, labels, self._colors))[1].tobytes(), "image/png"
        about = self._about(labels)
        if result == WITH_MASK:
            about["mask"] = "data:image/png;base64," + base64.b64encode(self._mask(labels)).decode()
        return json.dumps(about).encode(), "application/json"

    def _mask(self, labels: np.ndarray) -> bytes:
        try:
            return encode_labels(labels, self._colors)
        except ConversionError as error:
            raise Refusal(400, f"{error}; ask for result=json") from error

    def _about(self, labels: np.ndarray) -> dict[str, Any]:
        """Size and classes, the largest first."""
        numbers, counts = np.unique(labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        named = self._config.labels
        classes = [
            {
                "label": int(number),
                "name": str(named[number]["name"]) if 0 <= number < len(named) else f"class {number}",
                "color": f"#{bytes(self._colors[number % 256]).hex()}",
                "pixels": int(count),
            }
            for number, count in zip(numbers[order], counts[order], strict=True)
        ]
        return {"height": labels.shape[0], "width": labels.shape[1], "classes": classes}
