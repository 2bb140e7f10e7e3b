"""Of a pack, a part is read without the rest of it."""

from __future__ import annotations

from collections import Counter

import pytest
from small_files import Land, land_files, session, session_ids

from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.pack_parts import PackDamaged, folders_of


def test_a_part_of_a_pack_is_read_without_the_rest(home: Settings, land: Land) -> None:
    """What other landed files put into the same folder does not count with it; the copy is made once."""
    land_files(land, 6)
    land("viewing_sessions/bad.ndjson", "oops\n" + session(900))
    ingest(home)
    meant = [raw for raw in raw_files(home) if raw.landed_name[-8] in "135d"]
    expected = Counter(row["session_id"] for raw in meant for name in raw.files for row in raw.table(name).to_pylist())
    assert session_ids(meant) == expected
    (folder,) = folders_of(meant)
    assert folder.path_of_folder.parents[1].name == "raw_parts"
    inode = folder.path("2026-01-05").stat().st_ino
    (again,) = folders_of(list(reversed(meant)))
    assert again.path("2026-01-05").stat().st_ino == inode
    assert [raw.rejects is not None for raw in again.landed].count(True) == 1
    assert {name: set(folder.digests(name)) for name in folder.files} == {
        name: {raw.files[name].digest for raw in meant if name in raw.files} for name in folder.files
    }
    (alone,) = folders_of(meant[:1])
    assert alone.key == meant[0].key


def test_a_damaged_part_names_the_pack(home: Settings, land: Land) -> None:
    """So that the pack is made again from what landed."""
    land_files(land, 4)
    ingest(home)
    raw = raw_files(home)
    path = raw[0].path("2026-01-05")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    meant = [each for each in raw if "2026-01-05" in each.files][:1]
    with pytest.raises(PackDamaged) as error:
        folders_of(meant)
    assert error.value.folder == raw[0].folder
