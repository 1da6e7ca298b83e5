"""Serves an exported model over HTTP: the Open Inference Protocol, photographs, and a page to drop one on.

    python deploy/serving/server.py --config output/inference_model

README.md in the same folder describes the routes, the limits, and what happens when the server is stopped.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paddleseg_ext_runtime.command import run as run_command
from paddleseg_ext_runtime.flags import counted, positive

if TYPE_CHECKING:
    import socket

    import numpy as np
    from app import Service
    from limits import Limits
    from photo import PhotoProcess
    from pool import Pool, Worker

    from paddleseg_ext_runtime.deploy_yaml import DeployConfig

_LOAD_S = 120.0
_MB = 1 << 20


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    from paddleseg_ext_runtime.runtimes import ENGINES

    parser = argparse.ArgumentParser(description="Serve an exported model over HTTP.", allow_abbrev=False)
    add = parser.add_argument
    add("--config", required=True, help="an exported folder, or its deploy.yaml")
    add("--engine", choices=ENGINES, help="onnx where model.onnx is there, else paddle")
    add("--name", type=_name, help="of the model in the protocol; the folder's by default")
    add("--host", default="127.0.0.1", help="0.0.0.0 lets everybody in who can reach this machine")
    add("--port", type=counted(0), default=8000, help="0: any free port, printed when the server is ready")
    add("--workers", type=counted(1), default=1, help="requests computed at the same time, each in its own processes")
    add("--threads", type=counted(1), default=1, help="threads per worker")
    add("--queue", type=counted(0), default=32, help="requests that may wait for a worker")
    add("--max_body_mb", type=positive, default=32, help="size of a request's body, also after decompression")
    add("--max_json_mb", type=positive, default=8, help="size of the JSON in a body")
    add("--max_megapixels", type=positive, default=16, help="size of a photograph, as its header says")
    add("--max_elements", type=counted(1), default=8 * _MB, help="elements of the model's input tensor")
    add("--max_batch", type=counted(1), default=16, help="images in a tensor, if the graph takes any number")
    add("--max_connections", type=counted(1), default=256)
    add("--memory_mb", type=positive, default=512, help="memory for the bodies and answers of all requests")
    add("--read_seconds", type=positive, default=20, help="time limit for a header, a body, or 64 kB of an answer")
    add("--timeout", type=positive, default=30, help="seconds a request may wait and be computed")
    add("--drain_seconds", type=positive, default=30, help="time for running requests when the server is stopped")
    return parser.parse_args(argv)


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be part of a route: letters, digits and . _ - can")
    return text


def main(argv: list[str] | None = None) -> int:
    """Serves until it is stopped; returns the exit code."""
    args = parse_args(argv)
    return run_command(lambda: serve(args))


def serve(args: argparse.Namespace) -> None:
    """Loads the model, listens, and returns when all requests were answered after a signal.

    Raises ConfigError or ConversionError if it cannot start, Stopped if requests had to be cut off.
    """
    import asyncio

    from running import listen, return_memory, run

    from paddleseg_ext_runtime.deploy_yaml import exported_folder, read_deploy_yaml

    config = read_deploy_yaml(args.config)
    folder = exported_folder(args.config)
    limits = limits_of(args)
    return_memory()
    with listen(args.host, args.port) as listener:
        service, about = load(args, config, folder.resolve(), limits)
        try:
            asyncio.run(run(service, listener, _where(listener), about, args.drain_seconds))
        finally:
            service.pool.kill()


def limits_of(args: argparse.Namespace) -> Limits:
    """The limits that the flags set."""
    from limits import Limits

    return Limits(
        body_bytes=int(args.max_body_mb * _MB),
        json_bytes=int(args.max_json_mb * _MB),
        elements=args.max_elements,
        batch=args.max_batch,
        pixels=int(args.max_megapixels * 1e6),
        memory_bytes=int(args.memory_mb * _MB),
        connections=args.max_connections,
        read_s=args.read_seconds,
        request_s=args.timeout,
    )


def _where(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def load(args: argparse.Namespace, config: DeployConfig, folder: Path, limits: Limits) -> tuple[Service, str]:
    """The service with its workers started and the model tried, and one line about it."""
    from app import Service
    from photo import PhotoProcess, context
    from pool import Pool, Worker
    from protocol import ModelInfo

    from paddleseg_ext_runtime.exported import ONNX_FILE
    from paddleseg_ext_runtime.runtimes import ENGINES, KINDS, ModelProcess

    engine = args.engine or ("onnx" if (folder / ONNX_FILE).is_file() else "paddle")
    forkserver = context(limits.pixels)

    def start() -> Worker:
        model = ModelProcess(ENGINES[engine], folder, args.threads, _LOAD_S)
        try:
            photo: PhotoProcess = PhotoProcess(forkserver, str(folder), limits.pixels, limits.elements)
        except BaseException:
            model.close()
            raise
        return Worker(model, photo)

    pool = Pool(start, args.workers, args.queue)
    try:
        tensor, output = try_out(pool, config)
    except BaseException:
        pool.kill()
        raise
    info = ModelInfo(
        name=args.name or folder.name,
        platform=KINDS[ENGINES[engine]].platform,
        input_name=config.input_name,
        input_shape=config.input_shape,
        output_name=config.output_kind or "output",
        output_dtype=output.dtype.name,
        output_shape=config.output_shape or [None, *output.shape[1:-2], None, None],
        reduction=max(1, tensor.shape[-1] // output.shape[-1]),
    )
    workers = f"{args.workers} worker{'s' * (args.workers > 1)}"
    about = f"{info.name}, {config.output_op}, on {ENGINES[engine]} with {workers}"
    return Service(info, pool, limits, config.input_shape[0] in (None, 1)), about


def try_out(pool: Pool, config: DeployConfig) -> tuple[np.ndarray, np.ndarray]:
    """A scene's tensor and what the model gives for it. Raises ConversionError for a model that cannot compute."""
    from limits import Refusal

    from paddleseg_ext_runtime import verify
    from paddleseg_ext_runtime.errors import ConversionError

    tensor = verify.check_input(verify.check_shapes(config.input_shape)[0], config.transforms)
    scene = Path(verify.__file__).with_name("check_scene.jpg").read_bytes()

    def work(worker: Worker) -> np.ndarray:
        output = worker.run(tensor)
        if len(tensor) == 1:
            try:
                prepared = worker.prepare(scene)
            except Refusal as error:
                if error.status_code == 503:
                    raise
                return output  # limits or transforms refuse this picture; others may still be accepted
            worker.finish(worker.run(prepared)[0], "json")
        return output

    try:
        return tensor, pool.submit(work, time.monotonic() + _LOAD_S).result()
    except Refusal as error:
        raise ConversionError(f"the model cannot be served: {error.detail}") from error


if __name__ == "__main__":
    sys.exit(main())
