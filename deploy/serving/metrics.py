"""The figures that `GET /metrics` gives to Prometheus."""

from collections.abc import Iterable

from pool import Pool
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class _Replaced(Collector):
    """A counter that the pool keeps."""

    def __init__(self, pool: Pool):
        self._pool = pool

    def collect(self) -> Iterable[CounterMetricFamily]:
        """See Collector."""
        what = "Workers that were started in place of one that ended."
        yield CounterMetricFamily("segmentation_workers_replaced", what, value=self._pool.restarts)


class Metrics:
    """Counters of one server. Labels are fixed names, never texts from a client."""

    def __init__(self, pool: Pool):
        self._registry = CollectorRegistry()
        kwargs = {"registry": self._registry, "namespace": "segmentation"}
        self._requests = Counter("requests", "Answers by route and status.", ("route", "code"), **kwargs)
        self._seconds = Histogram("request_seconds", "From header to answer.", ("route",), buckets=_SECONDS, **kwargs)
        self.model_seconds = Histogram("model_seconds", "In the model's process.", buckets=_SECONDS, **kwargs)
        self.active = Gauge("active_requests", "Requests whose answer is not yet sent.", **kwargs)
        Gauge("queue_depth", "Requests that wait for a worker.", **kwargs).set_function(lambda: pool.waiting)
        Gauge("workers_alive", "Workers that can compute.", **kwargs).set_function(lambda: pool.alive)
        self._registry.register(_Replaced(pool))

    def count(self, route: str, code: int, seconds: float) -> None:
        """Counts one finished request."""
        self._requests.labels(route, str(code)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._registry)
