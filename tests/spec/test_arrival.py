"""How the records arrive never matters: order, files, names, nights."""

from __future__ import annotations

import gzip
import json
import random
import re

import pytest
from everything import EVERYTHING
from world import AS_OF, World

from pipelines.jobs import nightly


@pytest.fixture(scope="module")
def at_once(tmp_path_factory) -> World:
    """Everything landed at once, as it is written above, and one night run."""
    world = World(tmp_path_factory.mktemp("at_once"))
    for entity, table in EVERYTHING.items():
        world.land(entity, table)
    world.id = world.run().snapshot_id
    return world


def test_a_rerun_changes_nothing(at_once):
    """Running the same night again publishes nothing new and writes no file of the lake again."""
    files = {path: path.stat().st_mtime_ns for path in at_once.settings.lake.rglob("*.parquet")}
    report = at_once.run().report.as_json()
    assert (report["snapshot_id"], report["new_records"]) == (at_once.id, 0)
    assert {path: path.stat().st_mtime_ns for path in at_once.settings.lake.rglob("*.parquet")} == files


def test_any_order_gives_the_same_snapshot(tmp_path, at_once):
    """The records of a file in any other order are the same records."""
    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        world.land(entity, random.Random(5).sample(records, len(records)))
    assert world.run().snapshot_id == at_once.id


def test_any_split_and_any_names_give_the_same_snapshot(tmp_path, at_once):
    """One record a file, in folders, with names in another order: the same snapshot."""
    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        for number, record in enumerate(records):
            world.land(entity, [record], name=f"part={number % 3}/{99 - number}-{entity}.jsonl")
    assert world.run().snapshot_id == at_once.id


def test_any_duplication_gives_the_same_snapshot(tmp_path, at_once):
    """Everything landed three times over is still the same snapshot."""
    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        world.land(entity, [*records, *reversed(records)])
        world.land(entity, records)
    assert world.run().snapshot_id == at_once.id


def test_the_same_file_under_two_names_is_landed_once(tmp_path, at_once):
    """The same bytes under another name are no new records."""
    world = World(tmp_path)
    for name in ("one.ndjson", "two.ndjson"):
        for entity, records in at_once.landed.items():
            world.land(entity, records, name=name)
    night = world.run(compare=False, night={"accept_rejects": True})
    assert night.snapshot_id == at_once.id
    assert night.report.as_json()["records"] == sum(map(len, at_once.landed.values()))


def test_compressed_files_give_the_same_snapshot(tmp_path, at_once):
    """A gzipped file is what is in it."""
    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        path = world.land(entity, records)
        path.with_name("x.ndjson.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert world.run().snapshot_id == at_once.id


def test_snake_case_and_offsets_give_the_same_snapshot(tmp_path, at_once):
    """snake_case names, and the same instants with another offset, are the same records."""

    def respelt(record):
        snake = {re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), name): record[name] for name in record}
        return json.loads(json.dumps(snake).replace(":00Z", ":00.000000+00:00"))

    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        world.land_text(entity, "\r\n".join(json.dumps(respelt(record)) for record in records))
    assert world.run(compare=False, night={"accept_rejects": True}).snapshot_id == at_once.id


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_night_by_night_gives_the_same_snapshot(tmp_path, at_once, seed):
    """Records that arrive in any order over several nights, overlapping, end in the same snapshot."""
    world, dice = World(tmp_path), random.Random(seed)
    for as_of in ("2026-01-08", "2026-01-15", "2026-01-31", "2026-01-31"):
        for entity, records in at_once.landed.items():
            world.land(entity, dice.sample(records, len(records) // 2))
        world.run(as_of, night={"allow_incomplete": True})
    for entity, records in at_once.landed.items():
        world.land(entity, dice.sample(records, len(records)))
    assert world.run().snapshot_id == at_once.id


def test_another_landing_folder_gives_the_same_snapshot(tmp_path, at_once):
    """It does not matter in which folder the files landed."""
    world = World(tmp_path / "other")
    assert nightly.run(world.settings, AS_OF, [at_once.settings.landing], accept_rejects=True).snapshot_id == at_once.id


def test_the_machine_does_not_matter(tmp_path, at_once):
    """More threads, another memory limit: the same snapshot."""
    world = World(tmp_path)
    for entity, records in at_once.landed.items():
        world.land(entity, records)
    assert world.run(threads=3, memory_limit="1GB").snapshot_id == at_once.id


def test_a_late_file_changes_only_what_is_published_next(world):
    """Sessions of an old day that arrive late are in the next snapshot; the published one stays as it was."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
    """)
    first = world.run()
    files = first.files()
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v2     | 2026-01-05 09:00 | 5
        bob     | v1     | 2026-01-02 09:00 | 5
    """)
    second = world.run()
    assert second.viewers() == [("ada", 2), ("bob", 1)]
    assert second.snapshot_id != first.snapshot_id
    assert first.files() == files


def test_a_late_viewer_changes_the_gaps_of_the_days_after(world):
    """A late visit between two known ones moves the gap of the later one, and every range stays exact."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-25 10:00 | 5
    """)
    world.run()
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-15 10:00 | 5
    """)
    night = world.run()
    ranges = [("2026-01-05", "2026-01-31"), ("2026-01-10", "2026-01-31"), ("2026-01-10", "2026-01-20")]
    assert [night.top(*range_of_days)[0].viewers for range_of_days in ranges] == [1, 1, 1]


def test_files_that_are_not_complete_yet_wait(world):
    """Names beginning with . or _ or ending in .part or .tmp are not read."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
    """)
    for number, name in enumerate([".x.ndjson", "_x.ndjson", "x.ndjson.part", "x.ndjson.tmp", "_tmp/x.ndjson"]):
        record = {"sessionId": f"x{number}", "creatorId": "bob", "startedAt": "2026-01-05T10:00:00Z"}
        world.land_text("viewing_sessions", json.dumps(record) + "\n", name=name)
    assert world.run().viewers() == [("ada", 1)]


def test_files_that_are_gone_still_count(world):
    """What was landed once counts, also when the platform has cleared its landing folder since."""
    path = world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
    """)
    first = world.run()
    path.unlink()
    assert world.run().snapshot_id == first.snapshot_id
