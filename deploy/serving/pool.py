"""The workers, each a thread with its own processes, and the limited queue of requests that wait for them."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from limits import Refusal
from photo import PhotoProcess

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.runtimes import ModelProcess

_LOOK_S = 1.0  # how often an idle worker checks its processes
_LONGEST_PAUSE_S = 5.0  # between two attempts to start one


class Worker:
    """The two processes that serve one request at a time."""

    def __init__(self, model: ModelProcess, photo: PhotoProcess):
        self.model, self.photo = model, photo
        self.deadline = math.inf  # as time.monotonic() counts; a process that is not finished then is killed

    @property
    def is_alive(self) -> bool:
        """Whether both processes still answer."""
        return self.model.is_alive and self.photo.is_alive

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The graph's first output. Raises Refusal: 400 if the model refuses the tensor, 503 if its process ended."""
        self.model.timeout_s = self._seconds_left()
        try:
            return self.model.run(tensor)[0]
        except ConversionError as error:
            reason = str(error).splitlines()[-1]
            get_logger().warning("%s", reason)
            if self.model.is_alive:
                raise Refusal(400, f"the model cannot take an input of the shape {list(tensor.shape)}") from error
            raise Refusal(503, "the model's process has ended; it is being replaced") from error

    def prepare(self, data: bytes | bytearray) -> np.ndarray:
        """As `PhotoProcess.prepare`."""
        self.photo.timeout_s = self._seconds_left()
        return self.photo.prepare(data)

    def finish(self, output: np.ndarray, result: str) -> tuple[bytes, str]:
        """As `PhotoProcess.finish`."""
        self.photo.timeout_s = self._seconds_left()
        return self.photo.finish(output, result)

    def _seconds_left(self) -> float:
        return min(max(self.deadline - time.monotonic(), 0.001), threading.TIMEOUT_MAX)

    def kill(self) -> None:
        """Kills both processes at once; any thread may call it."""
        self.model.kill()
        self.photo.kill()

    def close(self) -> None:
        """Ends both processes."""
        self.photo.close()
        self.model.close()


@dataclass(eq=False)
class _Job:
    work: Callable[[Worker], Any]
    deadline: float
    future: Future = field(default_factory=Future)


class Pool:
    """Starts `count` workers; raises the exception of the first `start` that fails.

    A worker whose process ended is replaced; failed starts are repeated until one works.
    """

    def __init__(self, start: Callable[[], Worker], count: int, queue_length: int):
        self._start, self._most = start, count + queue_length
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._unfinished, self._is_closing, self.restarts = 0, False, 0
        with ThreadPoolExecutor(count) as starting:
            futures = [starting.submit(start) for _ in range(count)]
        self._workers: list[Worker | None] = [None if one.exception() else one.result() for one in futures]
        if failed := next((one for one in futures if one.exception()), None):
            self.kill()
            raise failed.exception()
        self._threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._jobs)

    @property
    def alive(self) -> int:
        """Workers that can compute."""
        return sum(worker is not None and worker.is_alive for worker in self._workers)

    def submit(self, work: Callable[[Worker], Any], deadline: float) -> Future:
        """Calls `work` with a worker, unless the future is cancelled before or `deadline` (time.monotonic) passes.

        Raises Refusal (503) if the queue is full; the future raises it if the deadline passed.
        """
        job = _Job(work, deadline)
        with self._changed:
            if self._unfinished >= self._most or self._is_closing:
                raise Refusal(503, "the queue is full")
            self._unfinished += 1
            self._jobs.append(job)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._count_down(job))
        return job.future

    @property
    def is_done(self) -> bool:
        """Whether all workers have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Refuses new requests and cancels waiting ones; each worker ends after its current request or start."""
        with self._changed:
            self._is_closing = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()

    def kill(self) -> None:
        """Kills all processes at once; running requests fail, and waiting requests are cancelled."""
        self.stop()
        for worker in filter(None, self._workers):
            worker.kill()

    def _count_down(self, job: _Job) -> None:
        with self._changed:
            self._unfinished -= 1
            if job in self._jobs:  # it was cancelled
                self._jobs.remove(job)

    def _serve(self, place: int) -> None:
        while self._look_after(place):
            job = self._next_job()
            worker = self._workers[place]
            if job is None:
                continue
            if not worker.is_alive:
                self._put_back(job)
            elif job.future.set_running_or_notify_cancel():
                self._do(job, worker)
        if worker := self._workers[place]:
            worker.close()

    def _next_job(self) -> _Job | None:
        with self._changed:
            if not self._jobs and not self._is_closing:
                self._changed.wait(_LOOK_S)
            return self._jobs.popleft() if self._jobs else None

    def _put_back(self, job: _Job) -> None:
        with self._changed:
            self._jobs.appendleft(job)
            self._changed.notify()

    @staticmethod
    def _do(job: _Job, worker: Worker) -> None:
        try:
            if job.deadline <= time.monotonic():
                raise Refusal(503, "the request waited too long")
            worker.deadline = job.deadline
            job.future.set_result(job.work(worker))
        except BaseException as error:
            job.future.set_exception(error)

    def _look_after(self, place: int) -> bool:
        """Replaces a worker that ended, and tries until it works; False if the pool closes meanwhile."""
        pause = 1.0
        while not self._is_closing:
            worker = self._workers[place]
            if worker is not None and worker.is_alive:
                return True
            if worker is not None:
                worker.close()
                self._workers[place] = None
            try:
                self._workers[place] = self._start()
                self.restarts += 1
                get_logger().warning("worker %d was replaced", place)
            except Exception as error:  # a later start may work, for example after a lack of memory
                get_logger().error("worker %d cannot be started: %s", place, str(error).splitlines()[-1])
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        return False
