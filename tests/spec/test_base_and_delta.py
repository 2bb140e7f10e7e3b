"""A night costs what is new, of follows, pledges and rentals too: what is known of other keys is not worked out again.

What is counted are the files that a night derives.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from world import World

from pipelines.jobs import nightly, prune
from pipelines.jobs.erase_user import forget
from pipelines.lake import derive, plan_states
from pipelines.lake.derive import Stored
from pipelines.lake.plan_states import divide

USERS, CREATORS, STREAMS = range(20), range(3), range(4)
FOLLOWS = [
    {"userId": f"u{user}", "creatorId": f"c{creator}", "updatedAt": f"2026-01-05T00:00:{user:02}Z"}
    for user in USERS
    for creator in CREATORS
]
PLEDGES = [
    {
        "pledgeId": f"p{user}-{stream}",
        "userId": f"u{user}",
        "streamId": f"s{stream}",
        "amount": 10,
        "currency": "TRY",
        "status": "captured",
        "capturedAt": "2026-01-06T00:00:00Z",
        "updatedAt": "2026-01-06T00:00:00Z",
    }
    for user in USERS
    for stream in STREAMS
]
RENTALS = [
    {
        "userId": f"u{user}",
        "streamId": f"s{stream}",
        "rentedAt": "2026-01-07T00:00:00Z",
        "expiresAt": "2026-02-07T00:00:00Z",
        "updatedAt": "2026-01-07T00:00:00Z",
    }
    for user in USERS
    for stream in STREAMS
]
SUMS = {"rejected_pledges", "version_conflicts"}
OF_PLEDGES = {"changed_pledges", "pledges", "live_stream_funding", "funded_streams"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform of which all but the sessions is in the base, and a night over it; to be copied."""
    world = World(tmp_path_factory.mktemp("base"))
    world.busy_days("2026-01-21", 10)
    world.land("live_streams", [_stream(number) for number in STREAMS])
    for entity, landed in (("follows", FOLLOWS), ("pledges", PLEDGES), ("replay_rentals", RENTALS)):
        world.land(entity, landed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_states, "BASE_ROWS", 30)
        assert {"follow_versions", "pledge_versions", "replay_rental_versions"} <= world.run().report.built.keys()
    return world


@pytest.fixture
def base(world: World, made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(plan_states, "BASE_ROWS", 30)
    world.begin_as(made)
    return world


def _stream(number: int, **others: str) -> dict[str, str]:
    return {"id": f"s{number}", "creatorId": "ada", "status": "scheduled", "currency": "TRY"} | others


def built(world: World, as_of: str = "2026-01-31") -> set[str]:
    """What a night derives; it is compared with the oracle."""
    return set(world.run(as_of, night={"allow_incomplete": True}).report.built)


def rows(world: World, model: str) -> list[int]:
    """How many rows each file of a model has, of those that have any."""
    counts = [pq.read_metadata(path).num_rows for path in (world.settings.lake / model).glob("*.parquet")]
    return [count for count in counts if count]


def digests(world: World) -> dict[str, str]:
    """The digest of the rows of every file of versions, by its name."""
    return {
        path.name: json.loads(path.read_bytes())["digest"] for path in world.settings.lake.glob("*_versions/*.json")
    }


def test_one_more_follow_costs_what_it_changes(base):
    """What the base holds is not resolved again: somebody follows, no longer does, and does again."""
    again = FOLLOWS[0] | {"deleted": True, "updatedAt": "2026-01-20T00:00:00Z"}
    for record in ({"userId": "new", "creatorId": "c1"}, again, again | {"deleted": False}):
        base.land("follows", [record])
        assert built(base) <= {"changed_follows", "follows", "version_conflicts"}
    assert built(base) == set()
    assert ("u0", "c0") not in base.run().follows()  # of one age, no longer following is the newer


def test_one_more_pledge_costs_what_it_changes(base):
    """The pledges to its stream are counted again, and those to others are not."""
    base.land("pledges", [PLEDGES[0] | {"pledgeId": "one-more"}])
    assert built(base) == OF_PLEDGES | SUMS
    assert rows(base, "pledges") == [len(USERS) + 1]
    base.land("pledges", [PLEDGES[0] | {"streamId": "s1", "updatedAt": "2026-01-08T00:00:00Z"}])  # to another stream
    assert built(base) == OF_PLEDGES | SUMS


def test_a_stream_that_changes_costs_no_pledge(base):
    """Pledges are judged by its currency alone: another title is nothing to them, and another currency is."""
    base.land("live_streams", [_stream(1, title="another", updatedAt="2026-01-08T00:00:00Z")])
    assert not built(base) & {"pledge_versions", "base_pledges", "base_funded_streams", "changed_pledges"}
    base.land("live_streams", [_stream(1, currency="EUR", updatedAt="2026-01-09T00:00:00Z")])
    assert built(base) >= OF_PLEDGES
    assert base.run().stream("s1").collected_funding == 0


def test_an_erasure_costs_no_base(base):
    """Whose records count as never landed changes what follows from the base, and not the base."""
    base.land("erasures", [{"userId": "u1"}])
    new = built(base)
    assert not {name for name in new if name.endswith("_versions") or name.startswith("base_")}
    assert not [user for user, _ in base.run().follows() if user == "u1"]


def test_who_is_forgotten_is_in_no_base(base):
    """The base knows nothing of erasures: `forget` makes it again without them, and that is all that it changes."""
    base.land("erasures", [{"userId": "u11"}])
    erased = base.run().snapshot_id
    done = forget(base.settings, "u11", datetime(2026, 2, 1, tzinfo=UTC), landing_too=True)
    assert (base.current(), bool(done.lake_files)) == (erased, True)
    held = {
        path.parent.name
        for path in base.settings.lake.rglob("*.parquet")
        if "u11" in str(pq.read_table(path).to_pydict().values())
    }
    assert held == set()
    assert base.run(compare=False).snapshot_id == erased


def test_a_full_export_again_adds_nothing(base):
    """What is known of all keys is compared with it, and stays; the next night reads neither export."""
    for entity, landed in (("follows", FOLLOWS), ("replay_rentals", RENTALS)):
        base.land(entity, random.Random(1).sample(landed, len(landed)))
    assert built(base) == {"follow_versions", "replay_rental_versions"}
    base.land("follows", [{"userId": "new", "creatorId": "c1"}])
    assert built(base) == {"changed_follows", "follows", "version_conflicts"}
    prune.prune(base.settings)
    assert rows(base, "follow_versions") == [len(FOLLOWS)]


def test_a_base_is_folded_from_the_last_one(base, monkeypatch):
    """Of what landed only what has joined it is read: the rows of the last base come from its file."""
    read = []
    write = derive.Lake._sources
    monkeypatch.setattr(
        derive.Lake,
        "_sources",
        lambda lake, model, steps: read.append((model.name, write(lake, model, steps))) or read[-1][1],
    )
    more = [record | {"userId": f"more-{record['userId']}", "updatedAt": "2026-01-09T00:00:00Z"} for record in FOLLOWS]
    base.land("follows", more)
    assert len(base.run().follows()) == 2 * len(FOLLOWS)
    (sources,) = [sources for name, sources in read if name == "follow_versions"]
    assert {name: sum(pq.read_metadata(path).num_rows for path in files) for name, files in sources.items()} == {
        "earlier_follow_versions": len(FOLLOWS),
        "raw_follows": len(FOLLOWS),
    }
    folded = digests(base)
    for path in base.settings.lake.glob("*_versions/*"):
        path.unlink()
    base.run()
    assert digests(base)
    assert digests(base).items() <= folded.items()  # the same as of all raw at once


def test_a_lost_base_is_made_again_of_what_landed(base):
    """No file of the base is needed: without any of them the night makes the same ones."""
    known, before = digests(base), base.run().snapshot_id
    for folder in base.settings.lake.iterdir():
        for path in folder.glob("*.*") if folder.name != "raw" else ():
            path.unlink()
    assert base.run().snapshot_id == before
    assert digests(base).items() <= known.items()


def test_what_rests_on_a_base_that_is_not_there_is_not_there(base):
    """`status` says so where all that landed has joined a base that the next run will make."""
    with nightly.open_lake(base.settings) as lake, lake.dry_run():
        raw = Stored("raw_follows", None, "new", "/nowhere/new", 40, "", "digest")
        (versions,) = plan_states.versions(lake, "follow_versions", divide([raw], {}))
        follows = lake.derive_one("base_follows", {"follow_versions": [versions]}, params={"as_of_instant": None})
    assert (versions.is_there, follows.is_there) == (False, False)


# --- the division ---------------------------------------------------------------------------------------------------


def raw(number: int, rows: int) -> Stored:
    return Stored("raw_follows", None, f"{number:064}", f"/raw/{number}/all.parquet", rows, "", f"{number}")


def test_the_base_is_the_same_in_any_order(monkeypatch):
    """The division sees which files there are, and not when they came."""
    monkeypatch.setattr(plan_states, "BASE_ROWS", 10)
    files = [raw(number, rows) for number, rows in enumerate([300, 4, 1, 30, 3, 1, 5, 29, 1, 310, 2])]
    newest = {file.location: number for number, file in enumerate(files) if number != 4}
    divided = divide(files, newest)
    assert [[file.rows for file in chunk] for chunk in divided.chunks] == [[300], [4, 1, 30, 1, 5], [310]]
    assert [file.rows for file in divided.delta] == [29, 1, 2, 3]
    for seed in range(5):
        assert divide(random.Random(seed).sample(files, len(files)), newest) == divided


def test_small_files_leave_a_large_base_as_it_is(monkeypatch):
    """However old or without an age: a record more does not write millions again."""
    monkeypatch.setattr(plan_states, "BASE_ROWS", 10)
    large, small = raw(1, 800), [raw(number, 9) for number in range(2, 12)]
    for newest in ({}, {large.location: 5}, {large.location: 5} | {file.location: file.rows for file in small}):
        divided = divide([large, *small], newest)
        assert (divided.base, len(divided.delta)) == ([large], 10)


def test_a_long_row_of_small_files_joins_the_base_by_ever_larger_parts(monkeypatch):
    """So that what is written again over the years is a few times what landed, and no night reads all of it."""
    monkeypatch.setattr(plan_states, "BASE_ROWS", 10)
    files, newest, written, chunks = [], {}, 0, 0
    for number in range(2000):
        files.append(raw(number, 5))
        newest[files[-1].location] = number
        divided = divide(files, newest)
        assert sum(file.rows for file in divided.delta) <= max(15, 5 * len(files) // 8)
        if len(divided.chunks) != chunks:
            chunks, written = len(divided.chunks), written + sum(file.rows for file in divided.base)
    assert written < 40 * 5 * len(files)
