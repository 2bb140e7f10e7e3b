"""Paging over one snapshot: `snapshot=` asks the one that is named, `next` leads to the part behind it."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from calling import Client, running
from published import publish, reached

from pipelines.api.query_service import ReadySnapshot
from pipelines.core.settings import Settings

RANKING = "/api/v1/creators/ranking"
REACH = "/api/v1/creators/reach"
OLD = {"creator_reach": [reached("2026-11-20", f"c{number:02}", 40 - number) for number in range(25)]}
NEW = {"creator_reach": [reached("2026-11-21", f"c{number:02}", 1 + number) for number in range(25)]}


@pytest.fixture
def client(home: Path, client_for: Callable[..., Client]) -> Client:
    publish(home, OLD)
    return client_for()


def walk(client: Client | httpx.Client, address: str, in_between: Callable[[int], None] = lambda part: None) -> Any:
    """Every part from an address on, by the links of the bodies; what happens in between is told the part's number."""
    parts = []
    while True:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        parts.append(answer.json()["data"])
        if parts[-1]["next"] is None:
            assert "Link" not in answer.headers
            return parts
        assert answer.links["next"]["url"] == parts[-1]["next"]
        address = str(httpx.URL(address).join(parts[-1]["next"]))
        in_between(len(parts))


def ids(parts: list[Any]) -> list[str]:
    return [row["creatorId"] for part in parts for row in part["creators"]]


@pytest.mark.parametrize("query", ["", "&q=c1&days=7", "&trend=true&from=2026-11-19&to=2026-11-21", "&offset=5"])
def test_links_lead_through_everything_once(client: Client, query: str) -> None:
    """The parts are those that one long answer has, with the same search, range and trend."""
    (whole,) = walk(client, f"{RANKING}?limit=1000{query}")
    parts = walk(client, f"{RANKING}?limit=4{query}")
    assert len(parts) == -(-len(whole["creators"]) // 4) > 1
    assert [row for part in parts for row in part["creators"]] == whole["creators"]
    assert {part["snapshotId"] for part in parts} == {whole["snapshotId"]}


def test_links_lead_through_csv(client: Client) -> None:
    """The header alone has them there."""
    address, rows = f"{RANKING}?limit=10&format=csv&bom=true", []
    for _ in range(3):
        answer = client.get(address)
        assert answer.content.startswith(b"\xef\xbb\xbfposition,")
        rows += list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        address = str(httpx.URL(address).join(answer.links["next"]["url"])) if "next" in answer.links else ""
    assert (address, len(rows), len({row["creator_id"] for row in rows})) == ("", 25, 25)


def test_a_walk_stays_with_its_snapshot(home: Path, client: Client) -> None:
    """A snapshot that is published in between changes nothing; one who begins afterwards gets the new one."""
    parts = walk(client, f"{RANKING}?limit=10", lambda part: publish(home, NEW, as_of="2026-11-22") and None)
    assert ids(parts) == [f"c{number:02}" for number in range(25)]
    assert {part["snapshotId"] for part in parts} == {parts[0]["snapshotId"]}
    assert client.get(RANKING).json()["data"]["snapshotId"] != parts[0]["snapshotId"]
    days = client.get(f"{REACH}?creatorId=c00&snapshot={parts[0]['snapshotId']}").json()["data"]
    assert (days["snapshotId"], days["window"]["to"]) == (parts[0]["snapshotId"], "2026-11-21")


def test_a_pinned_answer_is_the_same_bytes(home: Path, client: Client) -> None:
    """With the same ETag, before and after a new one was published."""
    free = client.get(f"{RANKING}?days=30&limit=10")
    pinned = f"{RANKING}?days=30&limit=10&snapshot={free.headers['X-Snapshot-Id']}"
    before = client.get(pinned)
    publish(home, NEW, as_of="2026-11-22")
    assert client.get(RANKING).headers["X-Snapshot-Id"] != free.headers["X-Snapshot-Id"]
    for answer in (before, client.get(pinned)):
        assert (answer.json()["data"], answer.headers["ETag"]) == (free.json()["data"], free.headers["ETag"])
    assert client.get(pinned, headers={"If-None-Match": free.headers["ETag"]}).status_code == 304


def test_what_is_kept_is_the_served_one_and_the_one_before(home: Path, client: Client) -> None:
    """All others are 410, whose error names those that answer."""
    first = client.get(RANKING).headers["X-Snapshot-Id"]
    second = publish(home, NEW, as_of="2026-11-22")
    assert client.get(RANKING).status_code == 200
    assert client.get(f"{RANKING}?snapshot={first}").status_code == 200
    third = publish(home, OLD, as_of="2026-11-23")
    assert client.get(RANKING).status_code == 200
    assert client.get(f"{RANKING}?snapshot={second}").json()["data"]["snapshotId"] == second
    for path in (RANKING, f"{REACH}?creatorId=c00"):
        answer = client.get(path, params=dict(httpx.URL(path).params) | {"snapshot": first})
        assert (answer.status_code, answer.headers["Cache-Control"]) == (410, "no-store")
        assert answer.json()["errors"] == [
            f"Snapshot {first} is not kept here: there is {third} and {second}. "
            "Ask for the first part again, without snapshot"
        ]


def test_a_snapshot_that_was_removed_answers_no_more(home: Path, client: Client) -> None:
    """Whatever a server has of it in memory: it may have been removed for somebody who was to be forgotten."""
    first = client.get(RANKING).headers["X-Snapshot-Id"]
    publish(home, NEW, as_of="2026-11-22")
    assert client.get(RANKING).status_code == 200
    assert client.get(f"{RANKING}?snapshot={first}").status_code == 200
    shutil.rmtree(home / "snapshots" / first)
    assert client.get(f"{RANKING}?snapshot={first}").status_code == 410


@pytest.mark.parametrize(
    "snapshot_id", ["", "x", "2026-11-21", "2026-11-21-0123456789AB", "../2026-11-21-0123456789ab"]
)
def test_what_is_no_id_is_400(client: Client, snapshot_id: str) -> None:
    answer = client.get(RANKING, params={"snapshot": snapshot_id})
    said = "snapshot must be an id such as 2026-11-21-0123456789ab, as answers name it"
    assert (answer.status_code, answer.json()["errors"]) == (400, [said])


def test_a_server_that_has_not_seen_it_yet_looks_again(home: Path) -> None:
    """Of several workers one is the first to see a new snapshot: the others are asked for it by whom that one told."""
    publish(home, OLD)
    with running(Settings(home=home)) as address, httpx.Client(base_url=address) as http:
        assert http.get(RANKING).status_code == 200
        second = publish(home, NEW, as_of="2026-11-22")  # half a second before anybody looks
        assert http.get(f"{RANKING}?snapshot={second}").json()["data"]["snapshotId"] == second


def test_the_one_before_holds_no_more_than_it_needs(
    home: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was worked out of it is freed, on the thread that answers, and it answers all the same."""
    freed: list[tuple[str, str]] = []
    drop = ReadySnapshot.drop_caches

    def dropping(ready: ReadySnapshot) -> None:
        assert ready.bodies
        drop(ready)
        freed.append((ready.snapshot_id, threading.current_thread().name.partition("_")[0]))
        assert not [*ready.bodies, *ready.packed_bodies, *ready.insight._kept]

    monkeypatch.setattr(ReadySnapshot, "drop_caches", dropping)
    first = client.get(f"{RANKING}?days=5").headers["X-Snapshot-Id"]
    publish(home, NEW, as_of="2026-11-22")
    client.get(RANKING)
    assert client.get(f"{RANKING}?days=5&snapshot={first}").json()["data"]["snapshotId"] == first
    assert freed == [(first, "questions")]


def test_bom_goes_with_csv_alone(client: Client) -> None:
    for path in (RANKING, f"{REACH}?creatorId=c00"):
        more = "&" if "?" in path else "?"
        plain = client.get(f"{path}{more}format=csv")
        marked = client.get(f"{path}{more}format=csv&bom=true")
        assert marked.content == b"\xef\xbb\xbf" + plain.content
        assert marked.headers["ETag"] != plain.headers["ETag"]
        refused = client.get(f"{path}{more}bom=true")
        assert refused.json()["errors"] == ["bom goes with format=csv: JSON begins with no byte order mark"]
