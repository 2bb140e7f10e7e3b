"""GET /metrics"""

from __future__ import annotations

from calling import Client
from tokens import bearer

from pipelines.api.telemetry import Metrics

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
