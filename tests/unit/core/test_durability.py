"""What is written is durable before it counts: content first, then the name, then the folder that holds the name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import durability
import pytest
from noise import land_noise
from world import World

from pipelines.core import durable_files
from pipelines.jobs import prune
from pipelines.snapshots import manifest

ACCEPT = {"accept_rejects": True, "allow_incomplete": True}


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
def test_a_file(tmp_path: Path, is_there: bool) -> None:
    final = tmp_path / "file"
    if is_there:
        final.write_text("old")
    with durability.recorded() as seen:
        durable_files.write_bytes(final, b"new")
    assert seen.problem(final) is None


def test_who_reads_a_file_keeps_what_was_there(tmp_path: Path) -> None:
    """A small file is never changed in place: whoever has it open reads the old content to its end."""
    final = tmp_path / "pointer.json"
    durable_files.write_json(final, {"is": "old"})
    with final.open("rb") as reading:
        durable_files.write_json(final, {"is": "new"})
        assert json.load(reading) == {"is": "old"}
    assert json.loads(final.read_bytes()) == {"is": "new"}


def test_a_folder(tmp_path: Path) -> None:
    with durability.recorded() as seen, durable_files.new_folder(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("content")
        (temporary / "another").write_text("content")
    assert seen.problem(tmp_path / "folder") is None


def test_the_folders_that_are_made_for_it(tmp_path: Path) -> None:
    """A new folder's name is durable in the folder above it."""
    with durability.recorded() as seen:
        durable_files.make_folder(tmp_path / "one" / "two")
    fsynced = {call[1] for call in seen.record if call[0] == "fsync"}
    assert {tmp_path.stat().st_ino, (tmp_path / "one").stat().st_ino} <= fsynced


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, durability.Durability]:
    """A first run, and what it made durable in which order. Do not run in it."""
    world = World(tmp_path_factory.mktemp("night"), from_nothing=True)
    land_noise(world, seed=11, sessions=40, days=4)
    with durability.recorded() as seen:
        world.run(compare=False, night=ACCEPT)
    return world, seen


def test_every_file_of_the_lake(night: tuple[World, durability.Durability]) -> None:
    """A derived file before its sidecar says that it exists; raw folders whole."""
    world, seen = night
    lake = world.settings.lake
    sidecars = [path for path in lake.glob("*/**/*.json") if "raw" not in path.parts]
    assert len(sidecars) > 20
    for sidecar in sidecars:
        assert seen.problem(sidecar) is None
        derived = sidecar.with_suffix(".parquet")
        inode = derived.stat().st_ino
        named = max(n for n, call in enumerate(seen.record) if call[0] == "rename" and call[2] == sidecar)
        assert ("fsync", inode) in seen.record[:named], f"{derived.name} was not fsynced before its sidecar"
    raw = [index.parent for index in lake.glob("raw/*/*/index.json")]
    assert raw
    assert [seen.problem(folder) for folder in raw] == [None] * len(raw)


def test_the_snapshot_before_the_pointer(night: tuple[World, durability.Durability]) -> None:
    """current.json moves last of all, when the snapshot that it names is durable."""
    world, seen = night
    folder = world.settings.snapshots
    pointer = manifest.current(folder)
    assert pointer is not None
    assert seen.problem(folder / pointer.snapshot_id) is None
    assert seen.problem(folder / "current.json") is None
    renamed = [call[2] for call in seen.record if call[0] == "rename" and call[2].parent == folder]
    assert renamed == [folder / pointer.snapshot_id, folder / "current.json"]


def test_prune_takes_a_snapshot_away_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name a reader finds all of it or nothing: it loses its name, durably, before its first file goes."""
    world = World(tmp_path)
    land_noise(world, seed=12, sessions=20, days=4)
    for as_of in ("2026-01-30", "2026-01-31"):
        world.run(as_of, compare=False, night=ACCEPT)
    folder = world.settings.snapshots
    ids = manifest.snapshot_ids(folder)
    emptied: list[Path] = []
    remove = shutil.rmtree

    def watched(path: Path, *args: object, **options: object) -> None:
        path = Path(path)
        if path.parent == folder:
            assert path.name not in ids, f"{path.name} is removed file by file under its own name"
            assert ("fsync", folder.stat().st_ino) in seen.record, "its name may come back when the power fails"
            emptied.append(path)
        remove(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shutil, "rmtree", watched)
    with durability.recorded() as seen:
        prune.prune(dataclasses.replace(world.settings, keep_snapshots=1))
    assert len(emptied) == 1
    assert manifest.snapshot_ids(folder) == ids[1:]
