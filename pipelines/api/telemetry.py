"""Metrics for Prometheus.

With several workers any of them answers for all: each saves its figures to a file in a shared folder every second, and
the one that is asked adds its own current figures to those that the others saved last. No counter ever goes back:
figures of a worker that has died stay among them, and a worker saves what it is about to show, since it may die next.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from pipelines.api.snapshot_watcher import Serving

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

SAVE_EVERY_SECONDS = 1.0
GONE_AFTER_SECONDS = 10.0  # a worker that left nothing for so long is no more: it serves nothing

log = logging.getLogger("mostwatched.api")


class WorkerMetrics:
    """The figures of the workers of one server, each in a file of a folder that is the server's alone."""

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        """`worker` is the name that this one is known by; by default one that no other process ever has."""
        self._folder = folder
        self._name = f"{worker or f'{os.getpid()}-{secrets.token_hex(8)}'}.json"
        self._last: dict[str, dict[str, Any]] = {}  # what the others saved, by file

    def save(self, state: dict[str, Any]) -> None:
        """Save this worker's figures for the others."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / self._name
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(state))
        beside.replace(path)

    def others(self) -> list[dict[str, Any]]:
        """Read the figures that the others saved last, and keep them: a file that is gone was counted all the same."""
        for path in sorted(self._folder.glob("*.json")):
            if path.name != self._name:
                with suppress(OSError, ValueError):
                    self._last[path.name] = json.loads(path.read_text())
        return [*self._last.values()]


class Metrics:
    """Everything that `/metrics` shows, in a registry of its own.

    Counting is plain arithmetic on the event loop's own thread: prometheus_client's counters take a lock and look
    their labels up, which would be a tenth of what a request costs. They become its metrics when somebody asks.
    """

    def __init__(self, now_ms: Callable[[], int], colleagues: WorkerMetrics | None = None) -> None:
        """`colleagues` are the other workers of this server, if there are any."""
        self._now_ms = now_ms
        self._colleagues = colleagues
        self._serving: Serving | None = None
        self._routes: dict[str, _Route] = {}
        # a series that began at 1 would show no increase: what an alert is about begins at 0
        self._counts: dict[str, dict[str, int]] = {
            name: dict.fromkeys(values, 0) for name, (_, _, values) in _COUNTERS.items()
        }
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
        """Count an attempt to load a snapshot: None when it failed."""
        self._count("mostwatched_snapshot_loads", "failed" if serving is None else "loaded")
        self._serving = serving or self._serving

    def auth(self, outcome: str) -> None:
        """Count an authorization by its outcome."""
        self._count("mostwatched_auth_requests", outcome)

    def rate_limited(self, *, is_admitted: bool) -> None:
        """Count a request that the rate limits admitted or refused."""
        self._count("mostwatched_rate_limit_requests", "admitted" if is_admitted else "refused")

    def rate_limit_fallback(self) -> None:
        """Count a decision without the shared Redis."""
        self._count("mostwatched_rate_limit_fallbacks", "redis_away")

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        with suppress(OSError):
            self.save()  # safeguard: shown-figures-saved
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as prometheus_client asks for."""
        workers = [self._state(), *(self._colleagues.others() if self._colleagues else ())]
        yield from _requests(workers)
        for name, (help_text, label, _) in _COUNTERS.items():
            counter = CounterMetricFamily(name, help_text, labels=[label])
            for value, count in _added(worker["counts"][name] for worker in workers).items():
                counter.add_metric([value], count)
            yield counter
        yield from self._gauges([worker for worker in workers if self._is_there(worker)])

    async def share(self) -> None:
        """Save the figures for the other workers regularly until it is cancelled, and then a last time."""
        if self._colleagues is None:
            return
        is_said = False
        try:
            while True:
                try:
                    self.save()
                except OSError as error:
                    if not is_said:
                        log.warning("metrics cannot be shared among workers", extra={"reason": str(error)})
                    is_said = True
                await asyncio.sleep(SAVE_EVERY_SECONDS)
        finally:
            with suppress(OSError):
                self.save()

    def save(self) -> None:
        """Save the figures for the other workers, if there are any."""
        if self._colleagues is not None:
            self._colleagues.save(self._state())

    def _state(self) -> dict[str, Any]:
        """This worker's figures, as plain JSON."""
        serving = self._serving
        return {
            "pid": os.getpid(),
            "at_ms": self._now_ms(),
            "routes": {
                path: {
                    "statuses": {str(status): count for status, count in route.statuses.items()},
                    "buckets": list(route.buckets),
                    "seconds": route.seconds,
                }
                for path, route in self._routes.copy().items()
            },
            "counts": {name: counts.copy() for name, counts in self._counts.items()},
            "serving": serving and {"snapshot_id": serving.snapshot_id, "published_ms": serving.published_ms},
        }

    def _is_there(self, worker: dict[str, Any]) -> bool:
        return bool(worker["at_ms"] > self._now_ms() - GONE_AFTER_SECONDS * 1000)

    def _gauges(self, workers: Sequence[dict[str, Any]]) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "mostwatched_snapshot_info", "1, labelled with the snapshot being served.", labels=["snapshot_id"]
        )
        age = GaugeMetricFamily(
            "mostwatched_snapshot_age_seconds", "Age of the snapshot being served, since it was published."
        )
        serving = {each["serving"]["snapshot_id"]: each["serving"] for each in workers if each["serving"]}
        for snapshot_id in sorted(serving):
            info.add_metric([snapshot_id], 1)
        if serving:  # of several, while workers move from one to the next, the oldest
            age.add_metric([], (self._now_ms() - min(each["published_ms"] for each in serving.values())) / 1000)
        yield info
        yield age
        info = GaugeMetricFamily(
            "mostwatched_worker_info", "1, labelled with each process that serves.", labels=["pid"]
        )
        for each in workers:
            info.add_metric([str(each["pid"])], 1)
        yield info

    def _count(self, name: str, value: str) -> None:
        counts = self._counts[name]
        counts[value] = counts.get(value, 0) + 1


def _requests(workers: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    """What all of them answered, and how long that took."""
    requests = CounterMetricFamily("mostwatched_http_requests", "Requests answered.", labels=["route", "status"])
    durations = HistogramMetricFamily(
        "mostwatched_http_request_duration_seconds",
        "Request latency, from the headers of the request to the end of the response.",
        labels=["route"],
    )
    bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
    for path in dict.fromkeys(path for worker in workers for path in worker["routes"]):
        of_it = [worker["routes"][path] for worker in workers if path in worker["routes"]]
        for status, count in _added(route["statuses"] for route in of_it).items():
            requests.add_metric([path, status], count)
        counts = map(sum, zip(*(route["buckets"] for route in of_it), strict=True))
        buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
        durations.add_metric([path], buckets, sum(route["seconds"] for route in of_it))
    yield requests
    yield durations


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


_COUNTERS = {  # name -> what it counts, its label, and the values that it always has
    "mostwatched_snapshot_loads": ("Attempts to load a snapshot.", "outcome", ("loaded", "failed")),
    "mostwatched_auth_requests": (
        "Authorization of the endpoints that take a token: anonymous, accepted, or why refused.",
        "outcome",
        ("anonymous", "accepted", "no_keys_yet"),
    ),
    "mostwatched_rate_limit_requests": (
        "Requests that the rate limits admitted or refused.",
        "outcome",
        ("admitted", "refused"),
    ),
    "mostwatched_rate_limit_fallbacks": (
        "Requests limited by one worker alone, without the shared Redis.",
        "reason",
        ("redis_away",),
    ),
}


class _Route:
    """What is known of one route."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)  # requests of each bucket by itself; the last is for the slowest
        self.seconds = 0.0
