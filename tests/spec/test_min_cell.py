"""With a `min_cell` nothing that is published or served rests on fewer people, nor on a difference of ranges."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from calling import Client, StoppedClock
from world import AS_OF, Night, World

from pipelines.api.app import create_app
from pipelines.core.calendar_days import Window
from pipelines.core.errors import UsageError
from pipelines.core.settings import Policy
from pipelines.jobs import audit_run
from pipelines.jobs.explain import explain
from pipelines.snapshots import diff, ranking

K = 3
LAST = AS_OF - timedelta(days=1)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Big has four viewers and two devices in a month and two in the last day; tiny has two, lonely devices alone."""
    world = World(tmp_path_factory.mktemp("cells"), min_cell=K)
    lines = ["creator | viewer | device | started_at | minutes"]
    lines += [f"big | v{number} | | 2026-01-10 10:00 | 5" for number in range(4)]
    lines += [f"big | | d{number} | 2026-01-10 10:00 | 5" for number in range(2)]
    lines += [f"big | v{number} | | {LAST} 10:00 | 5" for number in range(2)]
    lines += [f"tiny | v{number} | | 2026-01-10 10:00 | 7" for number in range(2)]
    lines += [f"lonely | | d{number} | 2026-01-10 10:00 | 7" for number in range(5)]
    world.sessions("\n".join(lines))
    world.land("live_streams", "id | creator | fundingGoal\nfew | big | 100\nmany | big | 100\nnone | big | 100")
    pledges = ["pledge | user | stream | amount | status | capturedAt"]
    pledges += [f"p{number} | u{number} | many | 10 | captured | 2026-01-05 10:00" for number in range(3)]
    pledges += [f"q{number} | u{number} | few | 10 | captured | 2026-01-05 10:00" for number in range(2)]
    world.land("pledges", "\n".join(pledges))
    return world.run(compare=False)


@pytest.fixture(scope="module")
def client(night: Night) -> Client:
    return Client(create_app(night.settings, StoppedClock().clock))


def test_without_one_everything_stays_what_it_was() -> None:
    """It is part of the policy, and so of the id, only where it is set."""
    assert "min_cell" not in Policy().as_json()
    assert Policy(min_cell=K).as_json()["min_cell"] == K
    assert Policy.from_json(Policy(min_cell=K).as_json()) == Policy(min_cell=K)


def test_rankings_hold_nothing_of_small_audiences(night: Night) -> None:
    """A row rests on K signed-in viewers; of fewer devices stands 0; positions have no gap."""
    rows = night.rows("creator_rankings.parquet")
    assert [(row["window_days"], row["creator_id"], row["position"], row["viewers"]) for row in rows] == [
        (30, "big", 1, 4)
    ]
    assert rows[0]["anonymous_viewers"] == 0
    assert rows[0]["sessions"] == 8


def test_money_is_of_enough_backers_or_not_said(night: Night) -> None:
    rows = {row["stream_id"]: row for row in night.rows("live_stream_funding.parquet")}
    shown = {name: (row["collected_funding"], row["funding_percentage"], row["backers"]) for name, row in rows.items()}
    assert shown == {"many": (30, 30, 3), "few": (None, None, 0), "none": (0, 0, 0)}


def test_the_cube_is_not_public(night: Night) -> None:
    """Its small cells are what makes ranges exact: it is for the API and the commands, in the private folder."""
    cube = [name for name in night.snapshot.files if "creator_reach" in name]
    assert cube
    assert all(name.startswith("private/") for name in cube)
    assert not (night.snapshot.path / "creator_reach").exists()
    with closing(duckdb.connect(str(night.snapshot.path / "warehouse.duckdb"), read_only=True)) as warehouse:
        tables = {name for (name,) in warehouse.execute("select table_name from duckdb_tables()").fetchall()}
        macros = warehouse.execute("select function_name from duckdb_functions() where not internal").fetchall()
    assert "creator_reach" not in tables
    assert "creator_rankings" in tables
    assert macros == []


def test_top_answers_the_published_windows_alone(night: Night) -> None:
    """Two ranges that are a day apart could differ by one person."""
    whole = Window(AS_OF - timedelta(days=30), AS_OF)
    assert [row["creator_id"] for row in ranking.ranking(night.settings, night.snapshot, whole)] == ["big"]
    for first, end in ((2, 0), (29, 0), (30, 1), (31, 1)):
        days = Window(AS_OF - timedelta(days=first), AS_OF - timedelta(days=end))
        with pytest.raises(UsageError, match=r"MOSTWATCHED_MIN_CELL=3.*windows alone"):
            ranking.ranking(night.settings, night.snapshot, days)


def test_the_api_shows_no_more(client: Client) -> None:
    """Ranking, one creator, CSV and pages; no days, no trend, and no range but the windows."""
    first = client.get("/api/v1/live-stream/most-watched-creators").json()["data"]
    assert [row["id"] if "id" in row else row["_id"] for row in first] == ["big"]
    answer = client.get("/api/v1/creators/ranking?days=30&trend=true").json()["data"]
    assert [(row["creatorId"], row["viewers"], row["anonymousViewers"]) for row in answer["creators"]] == [
        ("big", 4, 0)
    ]
    assert (answer["total"], answer["sessions"], answer["trendTo"]) == (1, 8, [])
    assert answer["creators"][0]["trend"] == []
    assert client.get("/api/v1/creators/ranking?days=1").json()["data"]["creators"] == []
    assert client.get("/api/v1/creators/ranking?days=29").status_code == 400
    assert client.get(f"/api/v1/creators/ranking?from={AS_OF - timedelta(days=30)}&to={LAST}").status_code == 400
    big = client.get("/api/v1/creators/reach?creatorId=big&days=30").json()["data"]
    assert (big["byDay"], big["rolling"], big["ranking"]["viewers"]) == ([], [], 4)
    streams = {one["id"]: (one["collectedFunding"], one["backers"]) for one in big["scheduledStreams"]}
    assert streams == {"many": (30, 3), "few": (None, 0), "none": (0, 0)}
    assert client.get("/api/v1/creators/reach?creatorId=tiny&days=30").json()["data"]["ranking"] is None
    csv = client.get("/api/v1/creators/ranking?days=30&format=csv").text
    assert csv.count("\r\n") == 2
    for path in ("/", "/creator?id=big", "/creator?id=tiny"):
        page = client.get(path)
        assert page.status_code == 200, path
    first = client.get("/").text
    assert "tiny" not in first
    assert 'type="date"' not in first  # no form for ranges that would be refused
    assert "rolling 30-day reach, from" not in first
    assert "Too few backers" in client.get("/creator?id=big").text
    refused = client.get("/?first=2026-01-10&last=2026-01-12")
    assert (refused.status_code, "its own windows alone" in refused.text) == (400, True)


def test_an_explanation_and_an_audit_agree_with_what_is_not_shown(night: Night) -> None:
    """Both are for whoever operates it: they count all, and know what is left out."""
    whole = Window(AS_OF - timedelta(days=30), AS_OF)
    for creator, viewers in (("big", 4), ("tiny", 2), ("lonely", 0)):
        said = explain(night.settings, night.snapshot, creator, whole)
        assert (said.viewers, said.agrees, said.published is None) == (viewers, True, creator != "big")
    found = audit_run.audit_current(night.settings, 3)
    assert (found.differing, found.differences) == (0, [])


def test_a_difference_of_snapshots_gives_nothing_away(night: Night, tmp_path: Path) -> None:
    """The later one shows who entered, with what is published of both, and no reasons in numbers."""
    world = night.world
    world.sessions(f"creator | viewer | started_at | minutes\ntiny | v8 | {AS_OF} 10:00 | 5")
    later = world.run(AS_OF + timedelta(days=1), compare=False)
    compared = diff.compare(later.settings, night.snapshot, later.snapshot)
    assert [(one.creator_id, one.viewers_before, one.viewers_after) for one in compared.changes] == [("tiny", None, 3)]
    assert set(compared.changes[0].because.values()) == {0}
    report = (
        json.dumps(later.report.published.snapshot.manifest["checks"])
        + (later.snapshot.path / "report.html").read_text()
    )
    assert "lonely" not in report
