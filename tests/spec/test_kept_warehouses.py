"""MOSTWATCHED_KEEP_WAREHOUSES: older snapshots lose their warehouse.duckdb and no answer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from everything import EVERYTHING
from world import Night, World, days

from pipelines.cli import cli
from pipelines.jobs import prune as pruning
from pipelines.snapshots import kept_warehouses, manifest

AS_OF = days("2026-01-28", 4)
QUERIES = (
    "select table_name, column_name, data_type, comment from duckdb_columns() where not internal order by all",
    "select function_name, comment from duckdb_functions() where not internal order by all",
    "from snapshot_facts",
    "from ranking(cast('{as_of}' as date), 7)",
    "from reach(cast('{as_of}' as date) - 9, cast('{as_of}' as date))",
    *(f"from {table} order by all" for table in ("creator_reach", "creator_rankings", "creators")),
    *(f"from {table} order by all" for table in ("live_streams", "live_stream_funding", "lls_streams")),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[World, list[Night]]:
    """A world of every entity after nights that all changed, and what they published."""
    world, nights = World(tmp_path_factory.mktemp("warehouses")), []
    for entity, table in EVERYTHING.items():
        world.land(entity, table)
    world.busy_days("2026-01-20", 8)
    for as_of in AS_OF:
        world.sessions(f"creator | viewer | started_at | minutes\nada | {as_of} | 2026-01-27 10:00 | 5")
        nights.append(world.run(as_of))
    return world, nights


@pytest.fixture
def nights(world, made) -> list[Night]:
    """The same in a world of this test's."""
    past, before = made
    world.begin_as(past)
    return [Night(world, world.settings, night.report) for night in before]


def prune(world: World, keep: int = 1, **how: Any) -> pruning.PruneReport:
    return pruning.prune(dataclasses.replace(world.settings, keep_warehouses=keep), **how)


def mostwatched(world: World, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["--home", str(world.settings.home), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def answers(night: Night) -> list[list[tuple[Any, ...]]]:
    """What the file of a snapshot answers, as an analyst opens it."""
    return [night.warehouse(query.format(as_of=night.snapshot.as_of)) for query in QUERIES]


def asked(world: World, snapshot_id: str) -> list[Any]:
    """What `mostwatched sql` answers to the same."""
    as_of = manifest.as_of_from_id(snapshot_id)
    return [
        json.loads(mostwatched(world, "sql", "--snapshot", snapshot_id, "--json", query.format(as_of=as_of)))
        for query in QUERIES
    ]


def reopened(night: Night) -> Night:
    return Night(night.world, night.settings, night.report)


def has_warehouse(nights: list[Night]) -> list[bool]:
    return [(night.snapshot.path / "warehouse.duckdb").exists() for night in nights]


def damage(world: World) -> list[str]:
    found = manifest.damage(world.settings.snapshots)
    return [*(each for snapshot in found.values() for each in snapshot), *pointer_damage(world)]


def pointer_damage(world: World) -> list[str]:
    return manifest.pointer_damage(world.settings.snapshots)


@pytest.mark.slow
def test_by_default_every_snapshot_keeps_its_own(world, nights):
    """And the answer of `prune --json` is what it was."""
    said = json.loads(mostwatched(world, "snapshots", "prune", "--json"))
    assert said.keys() == {"snapshots", "lake_files", "lake_bytes", "days", "records", "is_dry_run"}
    assert all(has_warehouse(nights))


@pytest.mark.slow
def test_older_snapshots_answer_the_same_without_a_file(world, nights):
    """Every table, comment and macro, from Parquet; their other files and their ids stay, and all are whole."""
    before = [asked(world, night.snapshot_id) for night in nights]
    files = [night.files() for night in nights]
    report = prune(world)
    assert report.warehouses == [night.snapshot_id for night in nights[:-1]]
    assert has_warehouse(nights) == [False, False, False, True]
    assert damage(world) == []
    assert [asked(world, night.snapshot_id) for night in nights] == before
    assert not (world.settings.home / "tmp").exists()
    for night, had in zip(nights, files, strict=True):
        has = night.files()
        for name in had.keys() - {"warehouse.duckdb", "manifest.json"}:
            assert has[name] == had[name]
    assert prune(world).warehouses == []


def test_a_dry_run_says_it_and_removes_none(world, nights):
    """Also among the snapshots that go it counts none twice."""
    said = pruning.prune(dataclasses.replace(world.settings, keep_warehouses=1, keep_snapshots=2), dry_run=True)
    assert (len(said.snapshots), said.warehouses) == (2, [nights[2].snapshot_id])
    assert all(has_warehouse(nights))


@pytest.mark.slow
def test_what_readers_are_pointed_to_has_one(world, nights):
    """A roll-back, its release and the removal of the current snapshot make it again, with the same answers."""
    before = [answers(night) for night in nights]
    prune(world)
    for command, number in (
        (("rollback", nights[0].snapshot_id), 0),
        (("rollback", "--release"), 3),
        (("remove", nights[3].snapshot_id), 2),
    ):
        mostwatched(world, "snapshots", *command)
        assert world.current() == nights[number].snapshot_id
        assert answers(reopened(nights[number])) == before[number]
        assert damage(world) == []
    prune(world)
    assert has_warehouse(nights[:3]) == [False, False, True]


def test_the_pinned_snapshot_keeps_its_own(world, nights):
    """However old it is."""
    mostwatched(world, "snapshots", "rollback", nights[0].snapshot_id)
    assert prune(world).warehouses == [night.snapshot_id for night in nights[1:3]]
    assert has_warehouse(nights) == [True, False, False, True]


def test_what_is_shared_with_one_that_stays_stays(world):
    """It takes no room: snapshots whose public rows are the same have one file."""
    world.busy_days("2026-01-21", 10)
    world.run(compare=False)
    for user in ("u1", "u2"):
        world.land("follows", [{"userId": user, "creatorId": "busy", "followedAt": "2026-01-02T00:00:00Z"}])
        world.run(compare=False)
    assert prune(world).warehouses == []
    assert len(list(world.settings.snapshots.glob("*/warehouse.duckdb"))) == 3


def test_rows_that_come_back_have_one(world, nights):
    """A run whose rows an older snapshot of the same as_of has makes that one current, with a warehouse."""
    before = answers(nights[3])
    late = (
        "session | revision | creator | viewer | started_at | deleted\nlate | {} | ada | late | 2026-01-25 10:00 | {}"
    )
    world.sessions(late.format(1, "no"))
    assert world.run(AS_OF[-1]).snapshot_id != nights[3].snapshot_id
    assert prune(world).warehouses == [night.snapshot_id for night in nights]
    world.sessions(late.format(2, "yes"))
    assert world.run(AS_OF[-1]).snapshot_id == world.current() == nights[3].snapshot_id
    assert answers(reopened(nights[3])) == before
    assert damage(world) == []


def test_it_stays_beside_damaged_files(world, nights):
    """Of damaged Parquet none can be made again."""
    path = nights[0].snapshot.path / "creators.parquet"
    path.unlink()
    path.write_bytes(b"torn")
    assert nights[0].snapshot_id not in (prune(world).warehouses or ())
    assert has_warehouse(nights)[0]


def test_none_is_made_of_damaged_files(world, nights):
    """The message says what to do; no answer is made up."""
    prune(world)
    day = next((nights[0].snapshot.path / "creator_reach").glob("*.parquet"))
    content = bytearray(day.read_bytes())
    content[-20] ^= 1
    day.unlink()
    day.write_bytes(content)
    done = CliRunner().invoke(
        cli, ["--home", str(world.settings.home), "sql", "--snapshot", nights[0].snapshot_id, "from creators"]
    )
    assert "is damaged" in str(done.exception)
    assert "publishes it again" in str(done.exception)


@contextmanager
def killed_before(patch: pytest.MonkeyPatch, where: Any, name: str) -> Iterator[None]:
    """Inside, a function is where the process ends."""

    class Killed(BaseException): ...

    def dies(*args: Any, **kwargs: Any) -> None:
        raise Killed

    with patch.context() as inside:
        inside.setattr(where, name, dies)
        with pytest.raises(Killed):
            yield


def test_a_prune_that_is_killed_leaves_whole_snapshots(world, nights, monkeypatch):
    """The manifest says so first; the next prune removes the file."""
    before = asked(world, nights[0].snapshot_id)
    with killed_before(monkeypatch, Path, "unlink"):
        kept_warehouses.remove_old(world.settings.snapshots, 1)
    assert has_warehouse(nights)[0]
    assert damage(world) == []
    assert asked(world, nights[0].snapshot_id) == before
    prune(world)
    assert has_warehouse(nights) == [False, False, False, True]
    assert damage(world) == []


def test_a_roll_back_that_is_killed_leaves_whole_snapshots(world, nights, monkeypatch):
    """The file is back before the manifest says so; the same command again succeeds."""
    before = answers(nights[0])
    prune(world)
    with killed_before(monkeypatch, kept_warehouses, "_write_manifest"):
        mostwatched(world, "snapshots", "rollback", nights[0].snapshot_id)
    assert damage(world) == []
    assert world.current() == nights[3].snapshot_id
    mostwatched(world, "snapshots", "rollback", nights[0].snapshot_id)
    assert answers(reopened(nights[0])) == before
    assert damage(world) == []


def test_a_night_adds_what_changed_and_its_warehouse(made):
    """Its rankings, newest and late days, and what is said about it; all else is the file of the night before.

    Without warehouses thirty snapshots so take at most twice the disk of one where that is a twenty-ninth of it.
    """
    before, after = (night.snapshot.path for night in made[1][1:3])
    names = [str(path.relative_to(after)) for path in after.rglob("*") if path.is_file()]
    own = {name for name in names if not (before / name).exists() or not (before / name).samefile(after / name)}
    of_days = {name for name in own if name.startswith("creator_reach/")}
    assert own - of_days == {"creator_rankings.parquet", "manifest.json", "report.html", "warehouse.duckdb"}
    assert len(of_days) <= 3 < len(list(after.glob("creator_reach/*")))


def test_a_group_may_read_what_is_made_again(world, nights):
    """As the rest of the snapshot."""
    prune(world)
    folder = world.settings.snapshots
    folder.chmod(0o750)
    mostwatched(world, "snapshots", "rollback", nights[0].snapshot_id)
    made = nights[0].snapshot.path
    assert [(made / name).stat().st_mode & 0o777 for name in ("warehouse.duckdb", "manifest.json")] == [0o640, 0o640]
