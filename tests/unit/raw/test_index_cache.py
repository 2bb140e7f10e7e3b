"""What this machine remembers of raw is what its indexes say, and may be lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pytest
from small_files import AT_AN_HOUR, Land, land_days

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.raw import index_cache
from pipelines.raw.catalog import every_raw_file, read_raw
from pipelines.raw.index import raise_damaged
from pipelines.raw.index_cache import remembered
from pipelines.raw.ingest import ingest
from pipelines.raw.layout import INDEXES
from pipelines.raw.raw_file import stamp_of
from pipelines.raw.raw_folder import RawFiles, RawFolder

AS_OF = date(2026, 1, 9)


def lost(cache: Path) -> None:
    cache.unlink()


def damaged(cache: Path) -> None:
    """As its content is, but for what it says of one number."""
    content = cache.read_bytes()
    assert b'"accepted":' in content
    cache.write_bytes(content.replace(b'"accepted":', b'"accepted":1', 1))


def of_an_earlier_form(cache: Path) -> None:
    checksum, _, content = cache.read_bytes().partition(b"\n")
    form, root, parser_version, folders, _ = json.loads(content)
    content = json.dumps([form - 1, root, parser_version, folders, []]).encode()
    cache.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert checksum


@pytest.mark.parametrize("spoil", [lost, damaged, of_an_earlier_form], ids=lambda spoil: str(spoil.__name__))
def test_what_is_remembered_of_raw_may_be_lost(home: Settings, land: Land, spoil: Callable[[Path], None]) -> None:
    """It is made again, the same, and nothing is read twice."""
    land_days(land)
    first = nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
    cache = home.lake / INDEXES
    content = cache.read_bytes()
    spoil(cache)
    again = nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
    assert (again.snapshot_id, again.published.is_new) == (first.snapshot_id, False)
    assert cache.read_bytes() == content


def test_the_cache_of_a_home_that_was_moved_is_not_believed(home: Settings, land: Land, tmp_path: Path) -> None:
    """It names folders by where they were."""
    land_days(land)
    ingest(home)
    home.home.rename(tmp_path / "moved")
    moved = Settings(home=tmp_path / "moved")
    report = ingest(moved)
    assert report.new_files == 0
    assert {raw.folder.parents[3] for raw in report.raw} == {moved.lake.parent}


def test_an_index_that_was_damaged_unnoticed_is_noticed_and_mended(home: Settings, land: Land) -> None:
    """Its stamp is what it was, so that nothing but reading it tells: the run after that reads them all."""
    land_days(land)
    ingest(home)
    (folder,) = {raw.folder for raw in every_raw_file(home)}
    path = folder / "index.json"
    path.write_bytes(path.read_bytes().replace(b'"accepted":1', b'"accepted":2', 1))
    known_now = remembered(home)
    stamps = {name: (stamp_of(str(path)), known) for name, (_, known) in known_now.folders.items()}
    index_cache.save_indexes(
        home,
        RawFiles([known for _, known in stamps.values()], {n: s for n, (s, _) in stamps.items()}),
        known_now.settled,
    )
    for known in remembered(home).folders.values():
        known[1].__dict__.clear()
    with pytest.raises(Damaged, match="The next run"):
        every_raw_file(home)
    assert ingest(home).new_files == 20
    assert len(every_raw_file(home)) == 20


def test_what_is_said_of_a_folder_is_said_of_its_files(home: Settings, land: Land) -> None:
    """Read back from the cache it is what it was."""
    land_days(land)
    land("viewing_sessions/bad.ndjson", AT_AN_HOUR % (1, 1, 1, 5, 1) + "{}\n")
    land("follows/a.ndjson", '{"userId":"u","creatorId":"c","followedAt":"2026-01-02T00:00:00Z"}\n')
    report = ingest(home)
    index_cache._read_remembered.cache_clear()
    read = read_raw(home, raise_damaged)
    assert [RawFolder.of(folder.landed) for folder in read.folders] == read.folders
    assert (len(read), sum(folder.records for folder in read.folders)) == (22, 23)
    assert [msgspec.structs.asdict(raw) for raw in read] == [
        msgspec.structs.asdict(raw) for raw in sorted(report.raw, key=lambda raw: (raw.entity, raw.key))
    ]
