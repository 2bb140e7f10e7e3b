"""GET /lls/v1.0/stream"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from calling import Client
from published import LLS_ACTIVE, LLS_BANNED, publish, ts

PATH = "/lls/v1.0/stream"
EXAMPLES = Path(__file__).parent / "examples"


@pytest.mark.parametrize(
    ("example", "query"),
    [("domain", "domain=live.example.com"), ("active", "domain=live.example.com&app=live&status=active")],
)
def test_body_is_the_document_to_the_letter(example_client: Client, example: str, query: str) -> None:
    text = (EXAMPLES / f"list-streams.{example}.json").read_text("utf-8")
    expected = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    response = example_client.get(f"{PATH}?{query}")
    assert (response.status_code, response.text) == (200, expected)


def test_the_third_example_leaves_out_what_is_unknown(home: Path, client_for: Callable[..., Client]) -> None:
    """Its banned stream is the one above without latestStreamingAt: as if that had not landed."""
    publish(home, {"lls_streams": [LLS_ACTIVE, {**LLS_BANNED, "latest_streaming_at": None}]})
    text = (EXAMPLES / "list-streams.banned.json").read_text("utf-8")
    expected = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    assert client_for().get(f"{PATH}?status=banned").text == expected


def _grid() -> list[dict[str, Any]]:
    cells = product(("a.example", "b.example"), ("live", "vod"), ("active", "banned"))
    return [
        {"stream_id": f"s{at}", "domain": domain, "app": app, "stream": "x", "status": status}
        | {"created_at": ts("2025-07-11T14:20:00Z")}
        for at, (domain, app, status) in enumerate(cells)
    ]


@pytest.mark.parametrize("domain", [None, "a.example", "b.example", "A.example", "a", ""])
@pytest.mark.parametrize("app", [None, "live", "vod", "other"])
def test_filters_are_exact_and_combine(
    home: Path, client_for: Callable[..., Client], domain: str | None, app: str | None
) -> None:
    publish(home, {"lls_streams": _grid()})
    client = client_for()
    for status in (None, "active", "banned"):
        filters = {
            name: value for name, value in (("domain", domain), ("app", app), ("status", status)) if value is not None
        }
        expected = [row["stream_id"] for row in _grid() if all(row[name] == value for name, value in filters.items())]
        streams = client.get(PATH, params=filters).json()["streams"]
        assert [one["id"] for one in streams] == expected


def test_in_order_of_created_then_id(home: Path, client_for: Callable[..., Client]) -> None:
    times = {"b": "2025-01-02T00:00:00Z", "a": "2025-01-02T00:00:00Z", "z": "2025-01-01T00:00:00Z"}
    rows = [{**LLS_ACTIVE, "stream_id": name, "created_at": ts(time)} for name, time in sorted(times.items())]
    publish(home, {"lls_streams": rows})
    assert [one["id"] for one in client_for().get(PATH).json()["streams"]] == ["z", "a", "b"]


def test_instants_are_cut_to_whole_seconds(home: Path, client_for: Callable[..., Client]) -> None:
    row = {**LLS_ACTIVE, "created_at": ts("2025-07-11T14:20:59.999Z"), "updated_at": ts("1969-12-31T23:59:58.500Z")}
    publish(home, {"lls_streams": [row]})
    [one] = client_for().get(PATH).json()["streams"]
    assert (one["created"], one["updated"]) == ("2025-07-11T14:20:59Z", "1969-12-31T23:59:58Z")


def test_nothing_matches(example_client: Client) -> None:
    assert example_client.get(f"{PATH}?domain=x").text == '{"streams":[]}'


@pytest.mark.parametrize(
    "query",
    [
        "status=",
        "status=Active",
        "status=deleted",
        "status=active&status=active",
        "status=active%20",
        "status",
        "domain=a&domain=b",
        "app=a&app=a",
        "domain=%ff",
        "app=%c3%28",
    ],
)
def test_bad_filter_is_400_in_the_envelope(example_client: Client, query: str) -> None:
    response = example_client.get(f"{PATH}?{query}")
    assert response.headers["X-Invalid-Parameter"] in ("domain", "app", "status")
    assert response.status_code == 400
    assert response.json()["errors"] == ["Validation failed"]
    assert list(response.json()) == ["isSuccess", "statusCode", "data", "errors", "timestamp"]


def test_decoded_like_a_form(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, {"lls_streams": [{**LLS_ACTIVE, "domain": "ü b+c&d"}]})
    streams = client_for().get(f"{PATH}?domain=%C3%BC+b%2Bc%26d&other=%ff").json()["streams"]
    assert [one["domain"] for one in streams] == ["ü b+c&d"]


def test_etag_names_the_filters(client: Client) -> None:
    queries = ["", "?status=active", "?status=banned", "?domain=a", "?app=a", "?app=a&domain=b", "?app=b&domain=a"]
    tags = {query: client.get(PATH + query).headers["ETag"] for query in queries}
    assert len(set(tags.values())) == len(queries)
    for query, tag in tags.items():
        response = client.get(PATH + query, headers={"If-None-Match": tag})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == tag
    assert client.get(f"{PATH}?domain=b&app=a").headers["ETag"] == tags["?app=a&domain=b"]
