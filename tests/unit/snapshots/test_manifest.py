"""Published snapshots as files: opened, verified, listed, rolled back, pruned."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise import land_noise
from refusing import no_descriptors
from world import World

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, NoSnapshot, UsageError
from pipelines.jobs import nightly, prune
from pipelines.raw.catalog import raw_files
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots import ranking

LAST = date(2026, 1, 31)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four nights in a row over random records of a few days. Copy it before changing anything."""
    world = World(tmp_path_factory.mktemp("published"))
    land_noise(world, seed=11, sessions=30, days=6)
    for as_of in (28, 29, 30, 31):
        nightly.run(world.settings, date(2026, 1, as_of), accept_rejects=True, allow_incomplete=True)
    return world


@pytest.fixture
def home(published: World, tmp_path: Path) -> World:
    """A copy of it that may be changed."""
    world = World(tmp_path)
    world.names = itertools.count(100)  # what is landed here stands beside what is there
    shutil.copytree(published.settings.home, world.settings.home)
    return world


def night(world: World, as_of: date = LAST, **changes: object) -> nightly.NightReport:
    settings = dataclasses.replace(world.settings, **changes)
    return nightly.run(settings, as_of, accept_rejects=True, allow_incomplete=True)


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


# --- opening and verifying -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_snapshot_has_no_damage(published):
    """Every snapshot that was published is whole."""
    found = snapshots.listed(published.settings.snapshots)
    assert [snapshot.as_of.day for snapshot in found] == [28, 29, 30, 31]
    assert [snapshot.damage() for snapshot in found] == [[], [], [], []]


def test_a_changed_bit_is_found_in_every_file(home):
    """In every file of a snapshot, the manifest and the warehouse included; also where it is not the current one."""
    folder = home.settings.snapshots
    for snapshot in (snapshots.listed(folder)[0], snapshots.open_current(folder)):
        for path in sorted(path for path in snapshot.path.rglob("*") if path.is_file()):
            content = path.read_bytes()
            for place in {0, len(content) // 3, len(content) - 1}:
                replace(path, content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
                assert is_damaged(folder, snapshot.id, path.name), (path, place)
            path.unlink()
            assert is_damaged(folder, snapshot.id, path.name), path
            path.write_bytes(content)
        assert snapshot.damage() == []


def is_damaged(folder: Path, snapshot_id: str, name: str) -> bool:
    try:
        return any(name in sentence for sentence in snapshots.open_snapshot(folder, snapshot_id).damage())
    except Damaged as error:
        return name in str(error)


@given(st.data())
def test_a_changed_bit_is_found_anywhere_in_the_manifest(published, tmp_path_factory, data):
    """Whichever bit it is, the manifest does not pass for whole, and listing goes on with the others."""
    folder = tmp_path_factory.mktemp("flip") / "snapshots"
    first = snapshots.snapshot_ids(published.settings.snapshots)[0]
    (folder / first).mkdir(parents=True)
    content = bytearray((published.settings.snapshots / first / "manifest.json").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / first / "manifest.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"manifest\.json"):
        snapshots.open_snapshot(folder, first)
    assert snapshots.listed(folder) == []


@pytest.mark.slow
def test_a_strange_file_does_not_belong_to_a_snapshot(home):
    """What the manifest does not name was not published."""
    snapshot = snapshots.open_current(home.settings.snapshots)
    (snapshot.path / "private" / "notes.txt").write_text("mine")
    assert snapshot.damage() == [f"{snapshot.path / 'private' / 'notes.txt'} does not belong to the snapshot."]


def test_a_table_is_checked_as_it_is_read(home):
    """The very bytes that are parsed are checked first."""
    snapshot = snapshots.open_current(home.settings.snapshots)
    assert snapshot.table("creators.parquet").num_rows > 0
    path = snapshot.path / "creators.parquet"
    replace(path, path.read_bytes()[:-1])
    with pytest.raises(Damaged, match=r"creators\.parquet is damaged.*run --as-of 2026-01-31"):
        snapshot.table("creators.parquet")
    path.unlink()
    with pytest.raises(Damaged, match=r"creators\.parquet cannot be read"):
        snapshot.table("creators.parquet")
    with pytest.raises(UsageError, match=r"has no file users\.parquet\. It has: creator_rankings.parquet"):
        snapshot.table("users.parquet")


def test_the_manifest_must_be_the_one_that_the_pointer_names(home):
    """A manifest that is whole in itself, but not the one that was pointed to, is not opened."""
    folder = home.settings.snapshots
    pointer = snapshots.current(folder)
    assert pointer
    with pytest.raises(Damaged, match=r"not the one in current\.json"):
        snapshots.open_snapshot(folder, pointer.snapshot_id, "0" * 64)


def test_a_snapshot_under_another_name_is_damaged(home):
    """The id is of the content: a copy under another id is not that snapshot."""
    folder = home.settings.snapshots
    other = "2026-01-31-000000000000"
    shutil.copytree(snapshots.open_current(folder).path, folder / other)
    with pytest.raises(Damaged, match=f"does not describe snapshot {other}"):
        snapshots.open_snapshot(folder, other)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-01-31", "2026-01-31-xyz", "../2026-01-31-0123456789ab", "2026-02-30-0123456789ab"]
)
def test_what_is_no_id_is_refused(published, text):
    """A path, a day, half an id: none of them reaches the file system."""
    with pytest.raises(UsageError, match="is not a snapshot id such as"):
        snapshots.open_snapshot(published.settings.snapshots, text)


def test_an_unknown_id_names_the_newest(published):
    """Whoever mistypes an id is told which there are."""
    with pytest.raises(UsageError, match=f"The newest are: .*{published.current()}"):
        snapshots.open_snapshot(published.settings.snapshots, "2026-01-31-0123456789ab")


def test_a_newer_schema_is_not_read(home, monkeypatch):
    """What a later version published is not misread."""
    monkeypatch.setattr(snapshots, "SCHEMA_VERSION", 0)
    with pytest.raises(UsageError, match="newer version"):
        snapshots.open_current(home.settings.snapshots)


def test_without_a_snapshot_there_is_a_way_on(tmp_path):
    """The error of an empty home says what to do."""
    assert snapshots.current(tmp_path) is None
    assert snapshots.listed(tmp_path / "nowhere") == []
    with pytest.raises(NoSnapshot, match="mostwatched run"):
        snapshots.open_current(tmp_path)


def test_private_tables_are_nobody_elses(published):
    """In every snapshot the folder of what is about users is closed to others."""
    for snapshot in snapshots.listed(published.settings.snapshots):
        assert (snapshot.path / "private").stat().st_mode & 0o777 == 0o700


# --- rolling back ----------------------------------------------------------------------------------------------------


def test_a_rollback_to_a_damaged_snapshot_moves_nothing(home):
    """Readers are never pointed to what is not whole."""
    folder = home.settings.snapshots
    first = snapshots.listed(folder)[0]
    replace(first.path / "creators.parquet", b"")
    with pytest.raises(Damaged, match=f"{first.id} is not whole.*The pointer stays where it is"):
        snapshots.roll_back(folder, first.id)
    assert home.current() == snapshots.listed(folder)[-1].id


def test_before_the_first_snapshot_there_is_none(home):
    """Going back step by step ends with an error that says so."""
    folder = home.settings.snapshots
    ids = [snapshot.id for snapshot in snapshots.listed(folder)]
    assert [snapshots.roll_back(folder, None).id for _ in range(3)] == ids[2::-1]
    with pytest.raises(UsageError, match=f"no snapshot before {ids[0]}"):
        snapshots.roll_back(folder, None)


def test_a_clock_that_was_set_back_leaves_the_order(home):
    """The snapshot that was made last is the newest of its as_of: for the list, for a rollback and for its release."""
    folder = home.settings.snapshots
    before = snapshots.listed(folder)[-1]
    manifest = before.manifest | {"created_at": "2099-01-01T00:00:00.000Z"}
    replace(before.path / snapshots.MANIFEST, durable_files.json_bytes(durable_files.with_checksum(manifest)))
    (folder / snapshots.POINTER).unlink()
    home.sessions("creator | viewer | started_at\nada | late | 2026-01-30 10:00")
    made = night(home).snapshot_id
    assert [one.id for one in snapshots.listed(folder, of=LAST)] == [before.id, made]
    assert snapshots.roll_back(folder, None).id == before.id
    assert snapshots.release(folder).id == made


def test_a_release_points_to_the_newest_whole_snapshot(home):
    """A damaged newest is passed over; a run makes it whole again."""
    folder = home.settings.snapshots
    ids = [snapshot.id for snapshot in snapshots.listed(folder)]
    snapshots.roll_back(folder, ids[0])
    replace(folder / ids[3] / "creators.parquet", b"")
    assert snapshots.release(folder).id == ids[2]
    pointer = snapshots.current(folder)
    assert pointer
    assert not pointer.pinned
    assert night(home).snapshot_id == home.current() == ids[3]


def test_nothing_to_release_is_an_error(tmp_path):
    """Where nothing was published there is nothing to point to."""
    with pytest.raises(NoSnapshot):
        snapshots.release(tmp_path)


# --- pruning -------------------------------------------------------------------------------------------------------


def files(world: World) -> set[str]:
    """Every file by its path, but for the cache of landed files: whether that is worth writing depends on the clock."""
    home = world.settings.home
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()} - {"lake/landed.json"}


def test_pruning_keeps_the_newest_and_the_current(home):
    """However old it is, what readers see stays."""
    folder = home.settings.snapshots
    ids = [snapshot.id for snapshot in snapshots.listed(folder)]
    snapshots.roll_back(folder, ids[0])
    report = prune.prune(dataclasses.replace(home.settings, keep_snapshots=1))
    assert report.snapshots == ids[1:3]
    assert snapshots.snapshot_ids(folder) == [ids[0], ids[3]]
    assert snapshots.open_current(folder).id == ids[0]
    assert [snapshot.damage() for snapshot in snapshots.listed(folder)] == [[], []]


@pytest.mark.slow
def test_pruning_takes_no_more_than_it_says(home):
    """Files and bytes are what is gone of the lake; raw stays; a second time there is nothing to do."""
    land_noise(home, seed=12, sessions=10, days=6)
    night(home)
    before = {path: (home.settings.home / path).stat().st_size for path in files(home)}
    report = prune.prune(dataclasses.replace(home.settings, keep_snapshots=1))
    gone = {path: size for path, size in before.items() if path not in files(home) and path.startswith("lake/")}
    assert (report.lake_files, report.lake_bytes) == (len(gone), sum(gone.values()))
    assert gone
    assert not [path for path in gone if path.startswith("lake/raw/")]
    again = prune.prune(dataclasses.replace(home.settings, keep_snapshots=1))
    assert (again.snapshots, again.lake_files, again.lake_bytes) == ([], 0, 0)
    assert not [path for path in home.settings.lake.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_after_pruning_a_kept_snapshot_costs_nothing(home):
    """A rerun of any kept snapshot builds nothing: what it needs was left."""
    prune.prune(dataclasses.replace(home.settings, keep_snapshots=2))
    for as_of in (date(2026, 1, 30), LAST):
        report = night(home, as_of)
        assert (report.built, report.published.is_new) == ({}, False)


def test_after_pruning_the_next_night_costs_what_it_costs(tmp_path, home):
    """The next night builds no more than it would have without."""
    other = World(tmp_path / "other")
    shutil.copytree(home.settings.home, other.settings.home)
    prune.prune(dataclasses.replace(home.settings, keep_snapshots=1))
    reports = [night(world, date(2026, 2, 1)) for world in (home, other)]
    assert reports[0].snapshot_id == reports[1].snapshot_id
    assert reports[0].built == reports[1].built


@pytest.mark.slow
def test_nothing_is_left_that_nothing_needs(tmp_path, home):
    """After late data and a prune the home holds what a new one would hold after one night, and no file more.

    Which small landed files share a raw folder is up to the runs that read them; what is derived does not tell.
    """
    land_noise(home, seed=12, sessions=10, days=6)
    last = night(home)
    prune.prune(dataclasses.replace(home.settings, keep_snapshots=1))
    other = World(tmp_path / "other")
    shutil.copytree(home.settings.landing, other.settings.landing)
    assert night(other).snapshot_id == last.snapshot_id
    prune.prune(dataclasses.replace(other.settings, keep_snapshots=1))
    assert outside_raw(home) == outside_raw(other)
    assert landed(home) == landed(other)
    assert len(list(home.settings.lake.glob("raw/*/*"))) == len({file.location for file in raw_files(home.settings)})


def outside_raw(world):
    return {name for name in files(world) if not name.startswith("lake/raw/")}


def landed(world):
    return sorted((file.entity, file.key, file.accepted, file.rejected) for file in raw_files(world.settings))


def test_damaged_snapshots_are_pruned(home):
    """A damaged snapshot is not counted among the newest, and goes."""
    folder = home.settings.snapshots
    ids = [snapshot.id for snapshot in snapshots.listed(folder)]
    replace(folder / ids[2] / "manifest.json", b"{}")
    report = prune.prune(dataclasses.replace(home.settings, keep_snapshots=2))
    assert report.snapshots == [ids[0], ids[2]]
    assert snapshots.snapshot_ids(folder) == [ids[1], ids[3]]


def test_what_is_pruned_while_it_is_read_is_gone_and_not_damaged(home, monkeypatch):
    """Whoever has read a snapshot's name just before a prune lists, verifies and opens what there is."""
    folder, gone = home.settings.snapshots, snapshots.snapshot_ids(home.settings.snapshots)[0]
    ids, before = snapshots.snapshot_ids(folder), snapshots.current(folder)
    snapshots.roll_back(folder, gone)
    stale = snapshots.current(folder)
    snapshots.release(folder)
    shutil.rmtree(folder / gone)
    monkeypatch.setattr(snapshots, "snapshot_ids", lambda _: ids)
    assert [one.id for one in snapshots.listed(folder)] == ids[1:]
    assert snapshots.damage(folder) == {snapshot_id: [] for snapshot_id in ids[1:]}
    with pytest.raises(UsageError, match="There is no snapshot"):
        snapshots.damage(folder, gone)
    pointers = iter([stale])
    real = snapshots.current
    monkeypatch.setattr(snapshots, "current", lambda of: next(pointers, None) or real(of))
    assert before
    assert snapshots.open_current(folder).id == before.snapshot_id


def test_a_ranking_of_a_pruned_snapshot_says_so(home):
    """`top` on a snapshot that is removed under it fails with a sentence."""
    snapshot = snapshots.open_current(home.settings.snapshots)
    window = ranking.window_from_options(snapshot, 30, None, None)
    shutil.rmtree(snapshot.path)
    with pytest.raises(NoSnapshot, match="was removed while it was read"):
        ranking.ranking(home.settings, snapshot, window)


def test_what_cannot_be_opened_is_not_damaged(home):
    """A pointer or a manifest that nobody could look at may be whole: nothing is decided without it."""
    folder = home.settings.snapshots
    snapshot = snapshots.open_current(folder)
    for look in (
        lambda: snapshots.current(folder),
        lambda: snapshots.open_snapshot(folder, snapshot.id),
        lambda: snapshot.table("creators.parquet"),
        snapshot.damage,
    ):
        with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
            look()
