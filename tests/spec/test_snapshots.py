"""Snapshots, their manifest, and the pointer that readers follow."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest
from world import Night, World, days

from pipelines.core.errors import UsageError
from pipelines.jobs import nightly
from pipelines.snapshots import manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A world after three nights in a row, each with one viewer more, and what they published."""
    world, nights = World(tmp_path_factory.mktemp("three")), []
    for number in (1, 2, 3):
        world.sessions(f"""
            creator | viewer    | started_at           | minutes
            ada     | v{number} | 2026-01-0{number} 10:00 | 5
        """)
        nights.append(world.run(f"2026-01-0{number + 1}"))
    return world, nights


@pytest.fixture
def three_nights(world, made):
    """Three nights in a row, each with one viewer more, in a world of this test's."""
    past, nights = made
    world.begin_as(past)
    return [Night(world, world.settings, night.report) for night in nights]


def test_a_run_moves_the_pointer_to_what_it_published(world, three_nights):
    """Readers see the newest night; the nights before are still there."""
    assert world.current() == three_nights[2].snapshot_id
    assert manifest.snapshot_ids(world.settings.snapshots) == [night.snapshot_id for night in three_nights]


def test_a_run_never_moves_the_pointer_to_an_earlier_as_of(world, three_nights):
    """Backfilling an earlier day publishes it and leaves readers where they are."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v9     | 2026-01-01 09:00 | 5
    """)
    backfilled = world.run("2026-01-03")
    assert backfilled.viewers() == [("ada", 3)]
    assert backfilled.snapshot_id not in [night.snapshot_id for night in three_nights]
    assert world.current() == three_nights[2].snapshot_id
    assert world.run("2026-01-04").snapshot_id == world.current()


def test_a_backfill_publishes_every_day_as_a_run_would(world, three_nights):
    """A backfill is one snapshot for each as_of, both ends included, the same as single runs; readers get the last."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        bob     | v1     | 2026-01-01 09:00 | 5
        bob     | v2     | 2026-01-05 09:00 | 5
    """)
    reports = nightly.backfill(world.settings, date(2026, 1, 2), date(2026, 1, 6))
    ids = {str(report.as_of): report.snapshot_id for report in reports}
    assert list(ids) == days("2026-01-02", 5)
    assert world.current() == ids["2026-01-06"]
    assert all(world.run(as_of).snapshot_id == ids[as_of] for as_of in ids)


def test_a_rolled_back_pointer_is_pinned(world, three_nights):
    """After a rollback runs publish, and readers stay on the chosen snapshot until it is released."""
    manifest.roll_back(world.settings.snapshots, three_nights[0].snapshot_id)
    assert world.current() == three_nights[0].snapshot_id
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v4     | 2026-01-04 10:00 | 5
    """)
    fourth = world.run("2026-01-05")
    assert world.current() == three_nights[0].snapshot_id
    manifest.release(world.settings.snapshots)
    assert world.current() == fourth.snapshot_id
    fifth = world.run("2026-01-06")
    assert world.current() == fifth.snapshot_id


def test_a_rollback_without_an_id_goes_one_back(world, three_nights):
    """Without an id the snapshot before the current one is chosen."""
    manifest.roll_back(world.settings.snapshots, None)
    assert world.current() == three_nights[1].snapshot_id


def test_a_rollback_to_nowhere_is_an_error(world, three_nights):
    """An unknown snapshot cannot be chosen, and nothing moves."""
    with pytest.raises(UsageError):
        manifest.roll_back(world.settings.snapshots, "2026-01-02-000000000000")
    assert world.current() == three_nights[2].snapshot_id


def test_the_id_names_the_day_and_the_content(world, three_nights):
    """A snapshot is named `<as_of>-<12 hex>`, its folder too."""
    night = three_nights[0]
    as_of, _, digits = night.snapshot_id.rpartition("-")
    assert (as_of, len(digits), night.snapshot.path.name) == ("2026-01-02", 12, night.snapshot_id)
    assert int(digits, 16) >= 0


def test_the_manifest_says_what_the_snapshot_is(world, three_nights):
    """The manifest holds what a reader needs to trust the files, and what there is to know of the night."""
    manifest = three_nights[2].manifest
    assert (manifest["schema_version"], manifest["as_of"], manifest["windows"]) == (
        1,
        "2026-01-04",
        [1, 7, 30],
    )
    assert manifest["snapshot_id"] == three_nights[2].snapshot_id
    assert manifest["policy"]["max_window_days"] == 30
    assert manifest["code_version"]
    assert manifest["freshness"]["newest_session_at"] == "2026-01-03T10:00:00.000Z"
    assert len(manifest["landed"]) == 3
    landed = {hashlib.sha256(path.read_bytes()).hexdigest() for path in world.settings.landing.rglob("*.ndjson")}
    assert {file["sha256"] for file in manifest["landed"]} == landed
    assert manifest["checks"]


def test_the_manifest_lists_every_file_with_its_sha256(three_nights):
    """Every file of the snapshot but the manifest is in it, with the sha256 of its bytes and its rows."""
    night = three_nights[2]
    files = {name: content for name, content in night.files().items() if name != "manifest.json"}
    assert set(files) == set(night.manifest["files"])
    for name, content in files.items():
        assert night.manifest["files"][name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert night.manifest["files"][name]["bytes"] == len(content)
        if name.endswith(".parquet"):
            assert night.manifest["files"][name]["rows"] == len(night.rows(name))


def test_freshness_is_the_newest_session_that_counts(world):
    """The newest session is the last start before as_of; with none it is null."""
    assert world.run().manifest["freshness"]["newest_session_at"] is None
    world.sessions("""
        creator | viewer | started_at              | minutes
        ada     | v1     | 2026-01-29 10:00:00.123 | 5
        ada     | v1     | 2026-01-28 10:00        | 500
        ada     | v1     | 2026-02-03 10:00        | 5
    """)
    assert world.run().manifest["freshness"]["newest_session_at"] == "2026-01-29T10:00:00.123Z"


def test_the_pointer_names_the_manifest(world, three_nights):
    """`current.json` holds the id and the sha256 of its manifest."""
    pointer = json.loads((world.settings.snapshots / "current.json").read_bytes())
    manifest = (three_nights[2].snapshot.path / "manifest.json").read_bytes()
    assert pointer["snapshot_id"] == three_nights[2].snapshot_id
    assert pointer["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert pointer["pinned"] is False


def test_private_tables_are_private(three_nights):
    """What is about users lies in a folder that nobody else may open."""
    assert (three_nights[2].snapshot.path / "private").stat().st_mode & 0o777 == 0o700


def test_the_cube_holds_every_day_of_the_longest_window_and_one_more(three_nights):
    """`creator_reach/` has a file for each of the last W + 1 days, whether or not anything landed on them."""
    days = sorted(name for name in three_nights[2].manifest["files"] if name.startswith("creator_reach/"))
    assert (len(days), days[0], days[-1]) == (
        31,
        "creator_reach/2025-12-04.parquet",
        "creator_reach/2026-01-03.parquet",
    )


def test_the_cube_holds_no_viewers(three_nights):
    """Nobody's id is in a public table."""
    names = [name for name in three_nights[2].manifest["files"] if name.endswith(".parquet")]
    public = {
        value for name in names if "private" not in name for row in three_nights[2].rows(name) for value in row.values()
    }
    assert "ada" in public
    assert not public & {"v1", "v2", "v3"}
