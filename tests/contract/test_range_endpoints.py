"""GET /api/v1/creators/ranking and /reach over HTTP; for the numbers see tests/spec/test_ranges_of_the_api.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from calling import Client, running
from published import CREATOR_ID, EXAMPLE, point, publish, reached

from pipelines.api import query_service
from pipelines.api.insight import search_key
from pipelines.core import durable_files
from pipelines.core.settings import Settings

RANKING = "/api/v1/creators/ranking"
REACH = "/api/v1/creators/reach"

PEOPLE = {
    "creator_reach": [reached("2026-11-20", f"c{number}", 10 - number) for number in range(1, 6)],
    "creators": [
        {"creator_id": "c1", "username": "isil", "name": "Işıl", "surname": "ÇELİK"},
        {"creator_id": "c2", "username": "=cmd|'/c calc'!A1", "name": "+1", "surname": "-2"},
        {"creator_id": "c3", "username": None, "name": None, "surname": None},
        {"creator_id": "c4", "username": "bad", "status": "banned"},
    ],
}


@pytest.fixture
def people(home: Path, client_for: Callable[..., Client]) -> Client:
    publish(home, PEOPLE)
    return client_for()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("days=0", "days must be a whole number from 1 to 1000"),
        ("days=07", "days must be a whole number from 1 to 1000"),
        ("days=７", "days must be a whole number from 1 to 1000"),
        ("days=91", "a range may hold at most 90 days"),
        ("days=1&days=1", "days is given 2 times"),
        ("days=", "days must be a whole number from 1 to 1000"),
        ("from=2026-11-01", "from and to go together: the days from one up to, not including, the other"),
        ("to=2026-11-01", "from and to go together: the days from one up to, not including, the other"),
        ("from=2026-11-01&to=2026-11-02&days=1", "give days, or from and to"),
        ("from=2026-11-31&to=2026-12-02", "from must be a day such as 2026-11-21"),
        ("from=20261101&to=2026-11-02", "from must be a day such as 2026-11-21"),
        ("from=2026-11-02&to=2026-11-02", "to is exclusive and must be after from"),
        ("from=2026-08-21&to=2026-08-23", "this snapshot holds the days from 2026-08-22 to 2026-11-21 (exclusive)"),
        ("from=2026-11-20&to=2026-11-22", "this snapshot holds the days from 2026-08-22 to 2026-11-21 (exclusive)"),
        ("from=0001-01-01&to=9999-12-31", "a range may hold at most 90 days"),
        ("limit=0", "limit must be a whole number from 1 to 10000"),
        ("limit=10001", "limit must be a whole number from 1 to 10000"),
        ("offset=-1", "offset must be a whole number from 0 to 100000000"),
        ("format=xml", "format must be json or csv"),
        ("trend=yes", "trend must be false or true"),
        ("q=%ff", "q is not UTF-8"),
        ("q=" + "x" * 201, "q may hold at most 200 characters"),
    ],
)
def test_a_bad_question_is_400_with_what_is_wrong(people: Client, query: str, said: str) -> None:
    """In the envelope; which parameter, and what it may be."""
    for answer in (people.get(f"{RANKING}?{query}"), people.get(f"{REACH}?creatorId=c1&{query}")):
        if answer.status_code == 400:
            (error,) = answer.json()["errors"]
            assert error == said or f"{query.partition('=')[0]} is not a parameter" in error
            assert answer.headers["Cache-Control"] == "no-store"
    assert people.get(f"{RANKING}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("window=7", "window is not a parameter: did you mean days?"),
        ("first=2026-11-20&last=2026-11-20", "first is not a parameter: did you mean from?"),
        ("dyas=7", "dyas is not a parameter: did you mean days?"),
        ("To=2026-11-20", "To is not a parameter: did you mean to?"),
        ("days=7&%ff=1", r"\\xff is not a parameter"),
        ("zzzzzz", "zzzzzz is not a parameter: there are days, from, to"),
        ("days=7&days=7", "days is given 2 times"),
    ],
)
def test_a_parameter_that_nobody_knows_is_400_with_the_likely_one(people: Client, query: str, said: str) -> None:
    """A misspelt one would else be answered as if it were not there: with other days."""
    for answer in (people.get(f"{RANKING}?{query}"), people.get(f"{REACH}?creatorId=c1&{query}")):
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert error.startswith(said.replace("\\\\", "\\"))


def test_the_first_and_the_last_day_can_be_asked(people: Client) -> None:
    assert people.get(f"{RANKING}?from=2026-08-22&to=2026-08-23").json()["data"]["total"] == 0
    assert people.get(f"{RANKING}?from=2026-11-20&to=2026-11-21").json()["data"]["total"] == 4


def test_parts_of_a_ranking(people: Client) -> None:
    """limit and offset cut it; positions stay those of the whole."""

    def positions(query: str) -> list[int]:
        return [row["position"] for row in people.get(f"{RANKING}?days=1&{query}").json()["data"]["creators"]]

    assert positions("") == [1, 2, 3, 4]
    assert positions("limit=2") == [1, 2]
    assert positions("limit=2&offset=3") == [4]
    assert positions("offset=100000000") == []


@pytest.mark.parametrize(
    ("looked_for", "found"),
    [
        ("isil", ["c1"]),
        ("IŞIL", ["c1"]),
        ("ışıl çelik", ["c1"]),
        ("celik", ["c1"]),
        ("  ÇELİK ", ["c1"]),
        ("c3", ["c3"]),
        ("c", ["c1", "c2", "c3", "c5"]),
        ("%", []),
        ("bad", []),
        ("", ["c1", "c2", "c3", "c5"]),
    ],
)
def test_search_is_by_id_and_names_without_case_and_accents(people: Client, looked_for: str, found: list[str]) -> None:
    """A banned creator is not found."""
    data = people.get(RANKING, params={"q": looked_for, "days": 1}).json()["data"]
    assert [row["creatorId"] for row in data["creators"]] == found
    assert (data["matched"], data["total"]) == (len(found), 4)


def test_folding_leaves_what_has_no_accent() -> None:
    assert search_key("Ａｄａ ÅØ ß 日本") == "ada aø ss 日本"


def test_csv_is_safe_to_open_in_a_spreadsheet(people: Client) -> None:
    """Nothing in it is taken for a formula; unknown names are empty."""
    answer = people.get(f"{RANKING}?days=1&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="ranking-2026-11-20-to-2026-11-20.csv"'
    assert answer.text.splitlines() == [
        "position,rank,rank_yesterday,rank_last_week,creator_id,username,name,surname,expertise,viewers,"
        "anonymous_viewers,sessions,watched_seconds",
        "1,1,,,c1,isil,Işıl,ÇELİK,,9,0,9,540",
        "2,2,,,c2,'=cmd|'/c calc'!A1,'+1,'-2,,8,0,8,480",
        "3,3,,,c3,,,,,7,0,7,420",
        "4,4,,,c5,,,,,5,0,5,300",
    ]
    days = people.get(f"{REACH}?creatorId=c1&format=csv").text.splitlines()
    assert len(days) == 1 + 91
    assert days[-1] == "2026-11-20,9,9,0,0,9,540"


def test_an_answer_is_sent_again_only_when_it_differs(home: Path, people: Client) -> None:
    """Public, for a minute; the tag names the snapshot and the question."""
    tags = set()
    for path in (RANKING, f"{RANKING}?days=1", f"{RANKING}?days=1&format=csv", f"{REACH}?creatorId=c1"):
        answer = people.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        tag = answer.headers["ETag"]
        tags.add(tag)
        held = people.get(path, headers={"If-None-Match": tag})
        assert (held.status_code, held.content) == (304, b"")
    assert len(tags) == 4
    publish(home, PEOPLE, as_of="2026-11-22")
    assert people.get(RANKING).headers["ETag"] not in tags


def test_nothing_private_is_in_reach(home: Path, client_for: Callable[..., Client]) -> None:
    """No answer of the pages and their endpoints holds a user's id."""
    users = [{"user_id": "secret-user", "creator_id": CREATOR_ID}]
    private = {
        "private/follows": users,
        "private/funded_streams": [{"user_id": "secret-user", "stream_id": CREATOR_ID}],
    }
    publish(home, EXAMPLE | private)
    client = client_for()
    for path in (RANKING, f"{REACH}?creatorId={CREATOR_ID}", "/", f"/creator?id={CREATOR_ID}", "/?q=secret-user"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "secret-user" not in answer.text.replace("q=secret-user", "").replace("“<bdi>secret-user", "").replace(
            'value="secret-user"', ""
        )


def test_scheduled_streams_carry_their_funding(example_client: Client) -> None:
    """Numbers as short as they are."""
    streams = json.loads(example_client.get(f"{REACH}?creatorId={CREATOR_ID}").content)["data"]["scheduledStreams"]
    assert streams == [
        {
            "id": CREATOR_ID,
            "title": "Yeni ürün tanıtımı",
            "plannedStartDate": "2026-01-15T10:30:00.000Z",
            "accessType": "free",
            "interest": "music",
            "fundingGoal": 1000,
            "collectedFunding": 500,
            "currency": "USD",
            "fundingPercentage": 50,
            "backers": 2,
        }
    ]


def _spoil_the_cube(home: Path, snapshot_id: str, of: str = "2026-11-20") -> Path:
    """Another day's worth of viewers in a whole file: nothing but the published sha256 can tell."""
    day = home / "snapshots" / snapshot_id / "creator_reach" / f"{of}.parquet"
    rows = pq.read_table(day, partitioning=None)
    at = rows.schema.get_field_index("viewers")
    pq.write_table(rows.set_column(at, "viewers", pc.multiply(rows["viewers"], 2)), day)
    return day


def test_a_damaged_cube_is_never_asked(home: Path, client_for: Callable[..., Client], monkeypatch: Any) -> None:
    """503 for what needs it, in the envelope and as a page; what is prepared is served; once mended all is well."""
    snapshot_id = publish(home, EXAMPLE)
    whole = (home / "snapshots" / snapshot_id / "creator_reach" / "2026-11-20.parquet").read_bytes()
    day = _spoil_the_cube(home, snapshot_id)
    client = client_for()
    for path in (RANKING, f"{REACH}?creatorId={CREATOR_ID}"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["errors"]) == (503, ["The snapshot's cube cannot be read"])
        assert answer.headers["Retry-After"] == "5"
    assert "The snapshot cannot be read" in client.get("/").text
    assert client.get("/api/v1/live-stream/most-watched-creators").status_code == 200
    day.write_bytes(whole)
    assert client.get(RANKING).status_code == 503  # not tried again at once
    monkeypatch.setattr(query_service, "RETRY_AFTER_SECONDS", 0.0)
    assert client.get(RANKING).status_code == 200
    assert client.get("/").status_code == 200


def test_the_snapshot_before_answers_while_the_next_cannot(home: Path) -> None:
    """Everything in an answer is of one snapshot: also its id and its age."""
    first = publish(home, PEOPLE)
    with running(Settings(home=home)) as address, httpx.Client(base_url=address) as http:
        assert http.get(RANKING).headers["X-Snapshot-Id"] == first
        later = {"creator_reach": [*PEOPLE["creator_reach"], reached("2026-11-21", "c1", 3)]}
        second = publish(home, PEOPLE | later, as_of="2026-11-22", move_pointer=False)
        _spoil_the_cube(home, second, "2026-11-21")
        point(home, second, datetime.now(UTC))
        ranking = "/api/v1/live-stream/most-watched-creators"
        give_up_at = time.monotonic() + 10
        while http.get(ranking).headers["X-Snapshot-Id"] != second:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        answer = http.get(RANKING)
        assert answer.status_code == 200
        assert answer.headers["X-Snapshot-Id"] == answer.json()["data"]["snapshotId"] == first
        assert first in http.get("/").text


def test_a_mended_snapshot_is_asked_though_its_files_are_others(
    home: Path, client_for: Callable[..., Client], monkeypatch: Any
) -> None:
    """The same rows in other bytes, and so another manifest, under the same id."""
    snapshot_id = publish(home, EXAMPLE)
    name, folder = "creator_reach/2026-11-20.parquet", home / "snapshots" / snapshot_id
    rows = pq.read_table(folder / name, partitioning=None)
    _spoil_the_cube(home, snapshot_id)
    client = client_for()
    assert client.get(RANKING).status_code == 503
    pq.write_table(rows, folder / name, compression="none")
    manifest = durable_files.verify_checksum((folder / "manifest.json").read_bytes())
    manifest["files"][name]["sha256"] = durable_files.sha256_of(folder / name)
    durable_files.write_json(folder / "manifest.json", durable_files.with_checksum(manifest))
    point(home, snapshot_id, datetime.now(UTC))
    monkeypatch.setattr(query_service, "RETRY_AFTER_SECONDS", 0.0)
    assert client.get(RANKING).status_code == 200
