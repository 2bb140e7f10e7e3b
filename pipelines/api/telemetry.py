"""Metrics for Prometheus, and log lines for people and machines: one JSON object a line, on stderr.

Each worker process has its own registry: with several workers `/metrics` answers for the one that took the
scrape (its `mostwatched_worker_info` names it). Run one worker per port to scrape every one of them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from pipelines.api.watching import Serving

BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)  # seconds; a prepared answer takes < 1 ms
UNMATCHED = "unmatched"  # the route label of unknown paths: their number is not bounded

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


log = logging.getLogger("mostwatched.api")


class Metrics:
    """Everything that `/metrics` shows, in a registry of its own.

    Counting is plain arithmetic on the event loop's own thread: prometheus_client's counters take a lock and look
    their labels up, which would be a tenth of what a request costs. They become its metrics when somebody asks.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._serving: Serving | None = None
        self._routes: dict[str, _Route] = {}
        self._counts: dict[str, dict[str, int]] = {name: {} for name in _COUNTERS}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        known = self._routes.get(route)
        if known is None:
            known = self._routes[route] = _Route()
        known.statuses[status] = known.statuses.get(status, 0) + 1
        known.buckets[bisect_left(BUCKETS, seconds)] += 1
        known.seconds += seconds

    def snapshot(self, serving: Serving | None) -> None:
        """An attempt to load a snapshot ended, with None when it failed."""
        self._count("mostwatched_snapshot_loads", "failed" if serving is None else "loaded")
        self._serving = serving or self._serving

    def auth(self, outcome: str) -> None:
        """An authorization ended."""
        self._count("mostwatched_auth_requests", outcome)

    def limited(self, *, is_admitted: bool) -> None:
        """The rate limits decided about a request."""
        self._count("mostwatched_rate_limit_requests", "admitted" if is_admitted else "refused")

    def limited_alone(self) -> None:
        """They decided without the shared Redis."""
        self._count("mostwatched_rate_limit_fallbacks", "redis_away")

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks a collector for."""
        requests = CounterMetricFamily("mostwatched_http_requests", "Requests answered.", labels=["route", "status"])
        durations = HistogramMetricFamily(
            "mostwatched_http_request_duration_seconds",
            "From the request's headers to the end of its answer.",
            labels=["route"],
        )
        for path, route in self._routes.items():
            for status, count in route.statuses.items():
                requests.add_metric([path, str(status)], count)
            bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(route.buckets)), strict=True))
            durations.add_metric([path], buckets, route.seconds)
        yield requests
        yield durations
        for name, (help_text, label) in _COUNTERS.items():
            counter = CounterMetricFamily(name, help_text, labels=[label])
            for value, count in self._counts[name].copy().items():
                counter.add_metric([value], count)
            yield counter
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "mostwatched_snapshot_info", "1, labelled with the snapshot being served.", labels=["snapshot_id"]
        )
        age = GaugeMetricFamily("mostwatched_snapshot_age_seconds", "Since the snapshot being served was published.")
        if self._serving is not None:
            info.add_metric([self._serving.snapshot_id], 1)
            age.add_metric([], (self._now_ms() - self._serving.published_ms) / 1000)
        yield info
        yield age
        worker = GaugeMetricFamily("mostwatched_worker_info", "1, labelled with the answering process.", labels=["pid"])
        worker.add_metric([str(os.getpid())], 1)
        yield worker

    def _count(self, name: str, value: str) -> None:
        counts = self._counts[name]
        counts[value] = counts.get(value, 0) + 1


_COUNTERS = {  # name -> what it counts, and its label
    "mostwatched_snapshot_loads": ("Attempts to load a snapshot.", "outcome"),
    "mostwatched_auth_requests": (
        "Authorization of the endpoints that take a token: anonymous, accepted, or why refused.",
        "outcome",
    ),
    "mostwatched_rate_limit_requests": ("Requests that the rate limits admitted or refused.", "outcome"),
    "mostwatched_rate_limit_fallbacks": ("Requests limited by this worker alone.", "reason"),
}


class _Route:
    """What is known of one route."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)  # requests of each bucket by itself; the last is for the slowest
        self.seconds = 0.0


class JsonLines(logging.Formatter):
    """A record as one JSON object; what a record carries in `extra` becomes further keys.

    Escaping is JSON's (ASCII only), so nothing that a client sends can break a line or reach a terminal raw.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json_lines(level: str) -> None:
    """Make every logger of this process, uvicorn's too, write JSON lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    threading.excepthook = _log_the_end_of_a_thread


def _log_the_end_of_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        log.critical("a thread has ended", exc_info=ended.exc_value)
