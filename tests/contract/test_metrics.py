"""GET /metrics"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from calling import Client
from tokens import bearer

from pipelines.api.telemetry import Metrics, WorkerMetrics

RANKING = "/api/v1/live-stream/most-watched-creators"
STREAMS = "/lls/v1.0/stream"


def test_metrics_count_what_happened(client: Client) -> None:
    client.get(RANKING)
    client.get(RANKING, headers=bearer("x.y.z"))
    client.get(f"{RANKING}?limit=0")
    client.get("/no/such/path")
    client.get("/another")
    client.request("POST", RANKING)
    for _ in range(101):
        client.get(STREAMS)
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))

    def requests(path: str, status: int) -> str:
        return lines[f'mostwatched_http_requests_total{{route="{path}",status="{status}"}}']

    assert [requests(RANKING, status) for status in (200, 400, 401, 405)] == ["1.0"] * 4
    assert requests("unmatched", 404) == "2.0"
    assert lines[f'mostwatched_http_request_duration_seconds_count{{route="{RANKING}"}}'] == "4.0"
    assert lines['mostwatched_rate_limit_requests_total{outcome="admitted"}'] == "100.0"
    assert lines['mostwatched_rate_limit_requests_total{outcome="refused"}'] == "1.0"
    assert lines['mostwatched_auth_requests_total{outcome="anonymous"}'] == "1.0"
    assert lines['mostwatched_snapshot_loads_total{outcome="loaded"}'] == "1.0"
    snapshot_id = client.get(RANKING).headers["X-Snapshot-Id"]
    assert lines[f'mostwatched_snapshot_info{{snapshot_id="{snapshot_id}"}}'] == "1.0"
    assert "mostwatched_snapshot_age_seconds" in lines


def test_durations_are_a_cumulative_histogram() -> None:
    """A bucket holds what took at most its bound; the last holds everything."""
    metrics = Metrics(lambda: 0)
    for seconds in (0.0001, 0.0005, 0.0006, 0.3, 5.0):
        metrics.request("/x", 200, seconds)
    lines = metrics.text().decode().splitlines()

    def bucket(bound: str) -> list[str]:
        start = f'mostwatched_http_request_duration_seconds_bucket{{le="{bound}",route="/x"}} '
        other = f'mostwatched_http_request_duration_seconds_bucket{{route="/x",le="{bound}"}} '
        return [line.rsplit(" ", 1)[1] for line in lines if line.startswith((start, other))]

    assert [bucket(bound) for bound in ("0.0005", "0.001", "0.25", "1.0", "+Inf")] == [
        ["2.0"],
        ["3.0"],
        ["3.0"],
        ["4.0"],
        ["5.0"],
    ]
    assert 'mostwatched_http_request_duration_seconds_count{route="/x"} 5.0' in lines


def figures(metrics: Metrics) -> dict[str, str]:
    lines = metrics.text().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    """Each adds its own figures to what the others left; those of one that has died stay, and it is no worker more."""
    now = [1_000_000]
    first, second, third = (Metrics(lambda: now[0], WorkerMetrics(tmp_path, name)) for name in ("a", "b", "c"))
    for metrics, seconds in ((first, 0.0001), (first, 0.3), (second, 5.0)):
        metrics.request("/x", 200, seconds)
    second.request("/x", 404, 0.0001)
    second.request("/y", 200, 0.0001)
    first.auth("accepted")
    second.auth("accepted")
    for metrics in (first, second):
        metrics.save()
    for answers in (first, second, third):
        told = figures(answers)
        assert told['mostwatched_http_requests_total{route="/x",status="200"}'] == "3.0"
        assert told['mostwatched_http_requests_total{route="/x",status="404"}'] == "1.0"
        assert told['mostwatched_http_requests_total{route="/y",status="200"}'] == "1.0"
        assert told['mostwatched_http_request_duration_seconds_count{route="/x"}'] == "4.0"
        assert float(told['mostwatched_http_request_duration_seconds_sum{route="/x"}']) == pytest.approx(5.3002)
        assert told['mostwatched_auth_requests_total{outcome="accepted"}'] == "2.0"
    first.request("/x", 200, 0.0001)
    assert figures(first)['mostwatched_http_requests_total{route="/x",status="200"}'] == "4.0", "its own are of now"
    assert sum("worker_info" in name for name in figures(third)) == 1, "all have the same pid here"
    now[0] += 60_000
    told = figures(third)
    assert told['mostwatched_http_requests_total{route="/x",status="200"}'] == "4.0", "what the dead counted stays"
    (tmp_path / "a.json").write_text("{")
    assert figures(third)['mostwatched_http_requests_total{route="/x",status="200"}'] == "4.0", "it was read before"


def test_what_a_worker_showed_stays_when_it_dies_the_next_moment(tmp_path: Path) -> None:
    """It saves what it shows; a successor with its process's number has another name, and cannot write over it."""
    first, second = (Metrics(lambda: 0, WorkerMetrics(tmp_path)) for _ in range(2))
    name = 'mostwatched_http_requests_total{route="/x",status="200"}'
    for _ in range(3):
        first.request("/x", 200, 0.0001)
    assert figures(first)[name] == "3.0"
    del first
    second.request("/x", 200, 0.0001)
    assert figures(second)[name] == "4.0"
    assert figures(Metrics(lambda: 0, WorkerMetrics(tmp_path)))[name] == "4.0"


def test_no_counter_goes_back_when_the_folder_is_emptied(tmp_path: Path) -> None:
    """As what clears /tmp may do: who has read the others' figures still adds them, and the folder is made again."""
    folder = tmp_path / "shared"
    first, second = (Metrics(lambda: 0, WorkerMetrics(folder, name)) for name in ("a", "b"))
    first.request("/x", 200, 0.0001)
    assert len(figures(first)) > 0
    name = 'mostwatched_http_requests_total{route="/x",status="200"}'
    assert figures(second)[name] == "1.0"
    shutil.rmtree(folder)
    assert figures(second)[name] == "1.0"
    assert [path.name for path in folder.iterdir()] == ["b.json"]


def test_what_an_alert_counts_begins_at_nothing() -> None:
    """Prometheus sees no increase of a series that begins at 1."""
    shown = figures(Metrics(lambda: 0))
    for series in (
        'mostwatched_snapshot_loads_total{outcome="failed"}',
        'mostwatched_auth_requests_total{outcome="no_keys_yet"}',
        'mostwatched_rate_limit_fallbacks_total{reason="redis_away"}',
    ):
        assert shown[series] == "0.0"
