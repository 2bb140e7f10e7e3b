"""Damaged raw is made again from what landed, and is kept for as long as it was not."""

from __future__ import annotations

from collections import Counter

import pytest
from small_files import Land, land_files, session_ids

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.quarantine import quarantine

FOLLOW = b'{"userId":"u","creatorId":"c"}\n'


def test_raw_that_was_removed_or_damaged_is_made_again(home: Settings, land: Land) -> None:
    """From what landed, with the same rows."""
    land("follows/a.ndjson", FOLLOW)
    ingest(home)
    (raw,) = raw_files(home)
    quarantine(raw.folder)
    assert raw_files(home) == []
    assert ingest(home).new == (raw,)
    for content in (None, b"{"):
        (raw.folder / "index.json").unlink()
        if content is not None:
            (raw.folder / "index.json").write_bytes(content)
        with pytest.raises(Damaged, match=r"index\.json"):
            raw_files(home)
        assert ingest(home).new == (raw,)
        assert raw_files(home) == [raw]


def test_damaged_raw_whose_landed_file_is_gone_is_kept_and_complained_of(home: Settings, land: Land) -> None:
    """Nothing is lost: the folder stays, the run fails, and landing the file again mends it."""
    path = land("follows/a.ndjson", FOLLOW)
    land("follows/b.ndjson", FOLLOW.replace(b"u", b"v"))
    ingest(home)
    (raw,) = [raw for raw in raw_files(home) if raw.landed_name == "follows/a.ndjson"]
    index = raw.folder / "index.json"
    index.write_bytes(index.read_bytes().replace(b'"accepted":1', b'"accepted":2', 1))
    path.unlink()
    for _ in range(2):
        with pytest.raises(Damaged, match="land that file again"):
            ingest(home)
        assert (raw.folder / "all.parquet").exists()
    land("follows/again.ndjson", FOLLOW)
    ingest(home)
    assert raw.accepted == 1
    assert [found.accepted for found in raw_files(home) if found.key == raw.key] == [1]
    assert not list(raw.folder.parent.glob(".damaged-*"))


def test_a_pack_is_made_again_with_what_is_new(home: Settings, land: Land) -> None:
    """Then its landed files share a folder with others: the damaged one goes, once all that was in it is elsewhere."""
    land_files(land, 4)
    ingest(home)
    (folder,) = {raw.folder for raw in raw_files(home)}
    quarantine(folder)
    land_files(land, 2, first=10)
    assert ingest(home).new_files == 6
    assert not list(folder.parent.glob(".damaged-*"))
    assert not folder.exists()
    assert len(raw_files(home)) == 6


@pytest.mark.parametrize("index", ["whole", "damaged"])
def test_a_pack_stays_until_all_of_it_is_read_again(home: Settings, land: Land, index: str) -> None:
    """Where a landed file of it is gone, nothing of it is thrown away, and landing that file mends it."""
    land_files(land, 4)
    ingest(home)
    (folder,) = {raw.folder for raw in raw_files(home)}
    gone = home.landing / "viewing_sessions/00002.ndjson"
    content = gone.read_bytes()
    gone.unlink()
    if index == "damaged":
        (folder / "index.json").write_bytes(b"{")
    else:
        quarantine(folder)
    with pytest.raises(Damaged, match="land that file again"):
        ingest(home)
    assert (folder / "2026-01-05.parquet").exists()
    land("viewing_sessions/again.ndjson", content)
    ingest(home)
    if index == "damaged":
        assert not folder.exists()
    assert sorted(raw.landed_sha256 for raw in raw_files(home)) == sorted(
        {raw.landed_sha256 for raw in raw_files(home)}
    )
    assert session_ids(raw_files(home)) == Counter({f"s{number}": 1 for number in range(16)})
