"""The API's cube in memory: the ranking of any range of days, movement, and one creator over time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from calling import Client
from noise import CREATORS, session
from world import Night, World

from pipelines.api import insight
from pipelines.api.app import create_app
from pipelines.core.calendar_days import Window
from pipelines.snapshots import ranking
from pipelines.snapshots.manifest import Snapshot

AS_OF = date(2026, 1, 31)
WATCHED = [*CREATORS, *(f"c{number}" for number in range(12))]
LONGEST = 36
FIRST = AS_OF - timedelta(days=LONGEST + 1)  # that the snapshot holds
API = "/api/v1/creators"
MEASURES = ("position", "rank", "creator_id", "viewers", "anonymous_viewers", "sessions", "watched_seconds")
KEYS = ("position", "rank", "creatorId", "viewers", "anonymousViewers", "sessions", "watchedSeconds")


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    """A platform of random sessions of every kind, banned creators and streams among them."""
    world = World(tmp_path_factory.mktemp("any-range"))
    draw = random.Random(7)
    sessions = [session(draw, 1500, days=LONGEST + 6) | {"creatorId": draw.choice(WATCHED)} for _ in range(1500)]
    world.land("viewing_sessions", sessions)
    world.land("creators", "creator | username | status\nc1 | one | active\nc3 | three | banned\nc4 | four | deleted")
    return world.run(compare=False, max_window_days=LONGEST, night={"accept_rejects": True})


@pytest.fixture(scope="module")
def client(night) -> Client:
    return Client(create_app(night.settings))


def ranges(seed: int, count: int) -> Iterator[tuple[date, date]]:
    """Ranges that the snapshot holds: short and long ones, and its own bounds."""
    draw = random.Random(seed)
    yield AS_OF - timedelta(days=LONGEST), AS_OF
    yield FIRST, FIRST + timedelta(days=LONGEST)
    yield FIRST, FIRST + timedelta(days=1)
    for _ in range(count):
        days = draw.choice((1, 2, 7, 30, draw.randint(1, LONGEST)))
        first = FIRST + timedelta(days=draw.randint(0, LONGEST + 1 - days))
        yield first, first + timedelta(days=days)


def ask(client: Client, path: str, **query: Any) -> Any:
    answer = client.get(f"{API}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def rows(data: Any) -> list[tuple[Any, ...]]:
    return [tuple(row[key] for key in KEYS) for row in data["creators"]]


@pytest.mark.slow
def test_any_range_is_what_top_and_the_warehouse_say(night, client):
    """The same creators, figures, ranks and positions, to the last one, by three pieces of code."""
    held = 0
    for first, end in ranges(seed=1, count=25):
        data = ask(client, "ranking", **{"from": first, "to": end}, limit=10_000)
        top = ranking.ranking(night.settings, night.snapshot, Window(first, end))
        assert rows(data) == [tuple(row[name] for name in MEASURES) for row in top]
        macro = night.warehouse(f"select {', '.join(MEASURES)} from ranking('{end}', {(end - first).days})")
        assert rows(data) == macro
        assert (data["total"], data["matched"]) == (len(top), len(top))
        assert data["sessions"] == sum(row["sessions"] for row in top)
        held += len(top)
    assert held > 150, "the platform is too quiet to prove anything"


@pytest.mark.slow
def test_a_window_is_the_published_ranking(night, client):
    """The last 1, 7 and 30 days, with the rank of the day before."""
    for days in (1, 7, 30):
        published = [row for row in night.rows("creator_rankings.parquet") if row["window_days"] == days]
        published.sort(key=lambda row: row["position"])
        data = ask(client, "ranking", days=days, limit=10_000)
        assert rows(data) == [tuple(row[name] for name in MEASURES) for row in published]
        assert [row["rankYesterday"] for row in data["creators"]] == [row["previous_rank"] for row in published]
        assert data["window"] == {
            "from": str(AS_OF - timedelta(days=days)),
            "to": str(AS_OF),
            "days": days,
            "timezone": "UTC",
        }


def test_movement_is_the_rank_in_the_same_range_earlier(client):
    """A day and a week earlier; null for who was not in it, and where the snapshot does not reach back so far."""
    seen = set()
    for first, end in ranges(seed=2, count=20):
        data = ask(client, "ranking", **{"from": first, "to": end}, limit=10_000)
        for key, name, days in (("rankYesterday", "yesterday", 1), ("rankLastWeek", "lastWeek", 7)):
            earlier = {"from": str(first - timedelta(days=days)), "to": str(end - timedelta(days=days))}
            compared = data["comparedWith"][name]
            if first - timedelta(days=days) < FIRST:
                assert compared is None
                assert {row[key] for row in data["creators"]} <= {None}
                continue
            assert compared == earlier | {"days": (end - first).days, "timezone": "UTC"}
            before = {
                row["creatorId"]: row["rank"] for row in ask(client, "ranking", **earlier, limit=10_000)["creators"]
            }
            for row in data["creators"]:
                assert row[key] == before.get(row["creatorId"])
                seen.add(None if row[key] is None else (row[key] > row["rank"]) - (row[key] < row["rank"]))
    assert seen == {None, -1, 0, 1}


def test_a_creator_over_time_adds_up(night, client):
    """Every day and every rolling window of a creator is what the ranking of that range says."""
    creators = [row["creatorId"] for row in ask(client, "ranking", days=LONGEST, limit=10_000)["creators"]]
    draw = random.Random(3)
    checked = {"new": 0, "returning": 0, "unranked": 0}
    for creator_id in draw.sample(creators, min(6, len(creators))):
        data = ask(client, "reach", creatorId=creator_id)
        assert [day["day"] for day in data["byDay"]] == [str(FIRST + timedelta(days=at)) for at in range(LONGEST + 1)]
        for day in draw.sample(data["byDay"], 12):
            first = date.fromisoformat(day["day"])
            figures = _in_range(client, creator_id, first, first + timedelta(days=1))
            assert day["viewers"] == day["newViewers"] + day["returningViewers"]
            for key in ("viewers", "anonymousViewers", "sessions", "watchedSeconds"):
                assert day[key] == figures.get(key, 0)
            checked["new"] += day["newViewers"]
            checked["returning"] += day["returningViewers"]
        assert [point["to"] for point in data["rolling"]] == [
            str(AS_OF - timedelta(days=at)) for at in range(LONGEST + 1 - 30, -1, -1)
        ]
        for point in draw.sample(data["rolling"], 8):
            end = date.fromisoformat(point["to"])
            figures = _in_range(client, creator_id, end - timedelta(days=30), end)
            assert (point["viewers"], point["rank"]) == (figures.get("viewers", 0), figures.get("rank"))
            checked["unranked"] += point["rank"] is None
    assert checked["new"]
    assert checked["returning"]


def _in_range(client: Client, creator_id: str, first: date, end: date) -> dict[str, Any]:
    found = ask(client, "ranking", **{"from": first, "to": end}, limit=10_000)["creators"]
    return next((row for row in found if row["creatorId"] == creator_id), {})


def test_new_viewers_are_those_whom_the_cube_has_not_seen_before(night, client):
    """The rows without a gap; everybody else returns."""
    for creator_id in ("c1", "c2", "ada"):
        found = night.warehouse(
            f"""select day, coalesce(sum(viewers) filter (where gap_days is null), 0),
            coalesce(sum(viewers) filter (where gap_days is not null), 0)
            from creator_reach where creator_id = '{creator_id}' and is_signed_in group by day"""
        )
        known = {str(day): (int(new), int(returning)) for day, new, returning in found}
        days = ask(client, "reach", creatorId=creator_id)["byDay"]
        assert [(day["newViewers"], day["returningViewers"]) for day in days] == [
            known.get(day["day"], (0, 0)) for day in days
        ]


def test_a_range_may_begin_with_a_day_that_the_zone_left_out(tmp_path):
    """Apia had no 30 December 2011: sessions are carried over it, into the day after."""
    world = World(tmp_path)
    world.sessions("""
        creator | viewer | started_at           | ended_at
        ada     | v1     | 2011-12-29T22:00:00-10:00 | 2011-12-31T02:00:00+14:00
        ada     | v2     | 2011-12-31T10:00:00+14:00 | 2011-12-31T11:00:00+14:00
        bob     | v1     | 2011-12-31T10:00:00+14:00 | 2011-12-31T11:00:00+14:00
    """)
    night = world.run("2012-01-29", compare=False, day_timezone="Pacific/Apia")
    client = Client(create_app(night.settings))
    for first in (date(2011, 12, 29), date(2011, 12, 30), date(2011, 12, 31)):
        for end in (date(2011, 12, 31), date(2012, 1, 1), date(2012, 1, 28)):
            if first < end:
                data = ask(client, "ranking", **{"from": first, "to": end})
                top = ranking.ranking(night.settings, night.snapshot, Window(first, end))
                assert rows(data) == [tuple(row[name] for name in MEASURES) for row in top]
    days = ask(client, "reach", creatorId="ada")["rolling"]
    assert next(point for point in days if point["to"] == "2012-01-29")["viewers"] == 2


def test_trends_are_the_rolling_reach(client):
    """With trend=true every creator carries the reach of each window of 30 days, as the creator's own answer has it."""
    data = ask(client, "ranking", trend="true", limit=3)
    for row in data["creators"]:
        alone = ask(client, "reach", creatorId=row["creatorId"])
        assert row["trend"] == [point["viewers"] for point in alone["rolling"]]
        assert data["trendTo"] == [point["to"] for point in alone["rolling"]]
        assert row["trend"][-1] == row["viewers"]
    assert all("trend" not in row for row in ask(client, "ranking")["creators"])


def test_banned_creators_are_shown_nowhere(night, client):
    """They are in the cube, and in no answer."""
    unlisted = {row["creator_id"] for row in night.rows("creators.parquet") if row["status"] in ("banned", "deleted")}
    watched = unlisted & {
        creator_id for (creator_id,) in night.warehouse("select distinct creator_id from creator_reach")
    }
    assert watched, "nobody was banned: this would prove nothing"
    shown = {row["creatorId"] for row in ask(client, "ranking", days=LONGEST, limit=10_000)["creators"]}
    assert not shown & unlisted
    for creator_id in watched:
        assert client.get(f"{API}/reach", params={"creatorId": creator_id}).status_code == 404


def test_a_snapshot_takes_over_the_days_that_the_one_before_held(night, tmp_path, monkeypatch):
    """Only what is new is read; every answer is as if all had been."""
    world = night.world
    world.sessions("creator | viewer | started_at | minutes\nzoe | v1 | 2026-01-31 10:00 | 5")
    later = world.run(as_of="2026-02-01", compare=False, max_window_days=LONGEST)
    folders = [tmp_path / name for name in ("before", "whole", "taken")]
    read = []
    table = Snapshot.table
    monkeypatch.setattr(Snapshot, "table", lambda self, name: read.append(name) or table(self, name))
    for folder, snapshot, before in zip(
        folders, (night.snapshot, later.snapshot, later.snapshot), (None, None, folders[0]), strict=True
    ):
        folder.mkdir()
        read.clear()
        insight.prepare(snapshot, folder, before)
    assert [name for name in read if name.startswith("creator_reach/")] == ["creator_reach/2026-01-31.parquet"]
    whole, taken = (insight.load(later.snapshot, folder) for folder in folders[1:])
    assert set(taken.cube.days) == set(whole.cube.days)
    for days in (1, 7, 30, LONGEST):
        assert taken.page(taken.window(days), 0, 10_000, with_trend=True) == whole.page(
            whole.window(days), 0, 10_000, with_trend=True
        )
