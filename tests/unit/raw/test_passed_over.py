"""What landed and did not change costs a run next to nothing: it is passed over, in landing folders and in raw."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from small_files import AT_AN_HOUR, Land, land_days

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.landing import finding
from pipelines.landing.named_day import named_day
from pipelines.raw import (
    catalog,
    deliveries,
    index,
    ingest,
    layout,
    quarantine,
    raw_folder,
    seen_cache,
)
from pipelines.raw.catalog import read_raw
from pipelines.raw.packs import PackWriter
from pipelines.raw.raw_folder import keys_of
from pipelines.raw.readings import latest_parsed
from pipelines.snapshots import inputs

AS_OF = date(2026, 1, 9)

SetVersion = Callable[[int], None]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often landed files, and landed files of raw, are looked at one by one."""
    counts: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            counts[name] += 1
            return function(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    watch(finding, "landed_file")
    for module in (catalog, index, quarantine, raw_folder):
        watch(module, "from_index")
    watch(seen_cache.LandedCache, "get")
    return counts


def unchanged(home: Settings) -> str:
    """Run once more; returns the snapshot's id."""
    report = nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
    assert not report.published.is_new
    return report.snapshot_id


@pytest.mark.parametrize("is_large", [False, True])
def test_a_run_without_news_looks_at_no_file_by_itself(
    home: Settings, land: Land, calls: Counter[str], monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    """Neither where it landed nor in raw, but those of the newest day: by their names it is told what names mean.

    Of a large pack not even those: what is needed of them is remembered.
    """
    monkeypatch.setattr(raw_folder, "_LARGE_PACK", 3 if is_large else 300)
    land_days(land)
    nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
    calls.clear()
    unchanged(home)
    assert calls == ({} if is_large else {"from_index": 1})


def test_a_new_file_has_its_block_looked_at(
    home: Settings, land: Land, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the files of no other folder, nor those of the same folder in other blocks."""
    monkeypatch.setattr(finding, "_BLOCK_FILES", 4)
    land_days(land, days=3, files=40)
    ingest.ingest(home)
    calls.clear()
    land("viewing_sessions/2026-01-06/09a.ndjson", AT_AN_HOUR % (999, 1, 1, 6, 1))
    report = ingest.ingest(home)
    assert (report.landed_files, report.new_files) == (121, 1)
    assert 1 <= calls["landed_file"] <= 30


@pytest.mark.slow
def test_a_new_file_has_no_pack_of_before_read(
    home: Settings, land: Land, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs to be known of all of them together is remembered, also of those with rejected records."""
    monkeypatch.setattr(inputs, "LISTED_INSIDE", 0)
    found = []
    for day in range(1, 9):
        land_days(land, days=1, files=20, first=day)
        text = AT_AN_HOUR % (day, 1, 1, day, 1) + f'{{"day":{day}}}\n'
        old(land(f"viewing_sessions/2026-01-{day:02}/bad.ndjson", text))
        calls.clear()
        nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
        found.append(calls["from_index"])
    assert len(list(home.lake.glob("raw/viewing_sessions/*/keys.json"))) == len(found)
    assert found == [1, 2, 3, 3, 3, 3, 3, 3]  # the new one, and as many as show a reason three times


def old(path: Path) -> Path:
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def test_beside_an_unreadable_file_its_block_alone_is_looked_at(
    home: Settings, land: Land, calls: Counter[str]
) -> None:
    """It matters whether it is still there, and what has landed by its name; it is named by every run."""
    land_days(land)
    ingest.ingest(home)
    bad = old(land("viewing_sessions/2026-01-05/bad.csv", "PK\x03\x04 no session"))
    nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)
    calls.clear()
    unchanged(home)
    assert calls["landed_file"] == 6
    assert calls["from_index"] <= 3  # of its own folder, of the pack beside it, and of the newest day
    bad.unlink()
    assert ingest.ingest(home).unreadable == ingest.NONE_UNREADABLE
    assert ingest.ingest(home).landed_files == 20


def test_what_takes_the_place_of_an_unreadable_file_may_be_passed_over(
    home: Settings, land: Land, calls: Counter[str]
) -> None:
    """By its name something else has landed, before it or after: nothing is missing."""
    land_days(land)
    for number in range(2):
        ingest.ingest(home)
        bad = old(land("viewing_sessions/2026-01-06/03.csv.gz", f"no archive {number}"))
        assert len(ingest.ingest(home).unreadable.there) == 1
        bad.unlink()
        ingest.ingest(home)
        calls.clear()
        found = ingest.ingest(home).unreadable
        assert (len(found.there), len(found.replaced)) == (0, 1 + number)
        assert calls["landed_file"] == 0


def test_beside_a_mapping_other_entities_are_passed_over(home: Settings, land: Land, calls: Counter[str]) -> None:
    """What it names is looked at file by file, for as long as bytes in raw were read by it; nothing else is."""
    land_days(land)
    old(land("mostwatched.toml", '[follows]\nrename = { viewer = "userId" }\n'))
    for number in range(3):
        old(land(f"follows/{number}.ndjson", f'{{"viewer":"v{number}","creatorId":"c"}}\n'))
    ingest.ingest(home)
    (home.landing / "mostwatched.toml").unlink()
    for _ in range(3):
        calls.clear()
        ingest.ingest(home)
        assert calls["landed_file"] == 3
    assert len(latest_parsed(read_raw(home, index.raise_damaged))) == 23


def test_what_an_earlier_parser_read_and_is_gone_has_nothing_looked_at(
    home: Settings, land: Land, calls: Counter[str], set_parser_version: SetVersion
) -> None:
    """It counts, as what can no longer be read again; the rest is passed over."""
    land_days(land, days=2)
    gone = old(land("viewing_sessions/2026-01-05/gone.ndjson", AT_AN_HOUR % (999, 1, 1, 5, 9)))
    ingest.ingest(home)
    gone.unlink()
    later = layout.PARSER_VERSION + 1
    set_parser_version(later)
    assert ingest.ingest(home).new_files == 10
    ingest.ingest(home)
    calls.clear()
    raw = latest_parsed(ingest.ingest(home).raw)
    assert calls["landed_file"] == 0
    assert len(raw) == len(set(keys_of(raw))) == 11
    assert Counter(each.parser_version for each in raw) == {later: 10, later - 1: 1}


def changed(path: Path) -> None:
    path.write_text(path.read_text().replace('"v', '"w'))
    os.utime(path, (1_700_000_000, 1_700_000_000))  # the same size and modification time


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(path.read_text().replace('"v', '"w'))
    os.utime(other, (1_700_000_000, 1_700_000_000))
    other.rename(path)


def renamed(path: Path) -> None:
    path.rename(path.with_name("renamed.csv"))  # what was JSON is read as CSV


@pytest.mark.parametrize("change", [changed, replaced, renamed], ids=lambda change: str(change.__name__))
def test_a_file_that_changed_is_read_again(home: Settings, land: Land, change: Callable[[Path], None]) -> None:
    """Though its size and its modification time are what they were."""
    land_days(land, days=1)
    ingest.ingest(home)
    assert ingest.ingest(home).new_files == 0
    change(home.landing / "viewing_sessions/2026-01-05/02.ndjson")
    assert ingest.ingest(home).new_files == 1
    assert ingest.ingest(home).new_files == 0


def test_a_file_that_has_just_landed_is_looked_at_again(home: Settings, land: Land, calls: Counter[str]) -> None:
    """A change in the same tick of the clock could leave the same stamp."""
    land("viewing_sessions/new.ndjson", AT_AN_HOUR % (1, 1, 1, 5, 1))
    ingest.ingest(home)
    calls.clear()
    ingest.ingest(home)
    assert calls["landed_file"] == 1


def test_raw_that_is_gone_is_read_again(home: Settings, land: Land) -> None:
    """Though what landed is as it was when it was passed over."""
    land_days(land)
    for damage in (
        shutil.rmtree,
        lambda folder: folder.joinpath("index.json").write_bytes(b"{}"),
    ):
        report = ingest.ingest(home)
        (folder,) = {raw.folder for raw in report.raw}
        damage(folder)
        assert ingest.ingest(home).new_files == 20


def test_a_file_in_two_packs_counts_once(home: Settings, land: Land) -> None:
    """As when a damaged pack is made again of some of its files and put back for the sake of the others."""
    land_days(land)
    first = ingest.ingest(home)
    (folder,) = {raw.folder for raw in first.raw}
    quarantine.quarantine(folder)
    (home.landing / "viewing_sessions/2026-01-05/00.ndjson").unlink()
    with pytest.raises(Damaged, match="land that file again"):
        ingest.ingest(home)
    raw = ingest.ingest(home).raw
    assert (len(raw), len(latest_parsed(raw)), len(set(keys_of(latest_parsed(raw))))) == (39, 20, 20)
    assert sum(each.records for each in latest_parsed(raw).folders) == 20


def test_a_later_parser_passes_nothing_over(home: Settings, land: Land, set_parser_version: SetVersion) -> None:
    """What an earlier one read is read again."""
    land_days(land, days=1)
    ingest.ingest(home)
    later = layout.PARSER_VERSION + 1
    set_parser_version(later)
    assert ingest.ingest(home).new_files == 5
    assert len(latest_parsed(read_raw(home, index.raise_damaged))) == 5


def test_a_mapping_that_joins_has_everything_looked_at(home: Settings, land: Land) -> None:
    """A mostwatched.toml says how files are read, so each is read again by it."""
    land_days(land, days=1)
    ingest.ingest(home)
    land("mostwatched.toml", '[viewing_sessions]\nrename = { viewer = "viewerId" }\n')
    assert ingest.ingest(home).new_files == 5
    (home.landing / "mostwatched.toml").unlink()
    ingest.ingest(home)
    assert {raw.mapping for raw in latest_parsed(read_raw(home, index.raise_damaged))} == {""}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Istanbul", "America/St_Johns"])
@pytest.mark.parametrize("days_later", [0, 1])
@pytest.mark.parametrize("is_large", [False, True])
def test_files_told_of_together_say_what_they_say_one_by_one(
    home: Settings, land: Land, monkeypatch: pytest.MonkeyPatch, zone: str, days_later: int, is_large: bool
) -> None:
    """Of every day in every zone, in one pack or in several, large or small, with names that mean the day or the day
    before."""
    monkeypatch.setattr(PackWriter, "finish", _finish_in_two(PackWriter.finish))
    if is_large:
        monkeypatch.setattr(raw_folder, "_LARGE_PACK", 1)
        for module in (raw_folder, deliveries):
            monkeypatch.setattr(module, "LEARNED_FROM", 3)
    for day in (5, 6, 8):
        for file, hour in enumerate((1, 12, 20, 22, 23)):
            text = AT_AN_HOUR % (day * 10 + file, file % 3, file, day, hour) * (file != 3)
            land(f"viewing_sessions/2026-01-{day + days_later:02}/{file}.ndjson", text)
    land("viewing_sessions/2026-01-04/0.ndjson", '{"sessionId":1}\n')
    land("viewing_sessions/all.ndjson", AT_AN_HOUR % (999, 1, 1, 7, 1))
    raw = latest_parsed(ingest.ingest(home).raw)
    days = [date(2026, 1, 3) + timedelta(days=ahead) for ahead in range(8)]
    apart = deliveries.landed_sessions(raw, [], ["viewing_sessions/2026-01-03/9.ndjson"], ZoneInfo(zone))
    together = deliveries.landed_by_folder(raw, [], ["viewing_sessions/2026-01-03/9.ndjson"], ZoneInfo(zone))
    assert len(together) < len(apart)
    shifts = [
        deliveries.usual_shift((day, each) for each in files if (day := named_day(each.name)))
        for files in (together, apart)
    ]
    assert shifts == [days_later, days_later]
    assert deliveries.judge(days, together) == deliveries.judge(days, apart)
    assert deliveries.states(days, together) == deliveries.states(days, apart)
    for day in days:
        assert sum(file.count(day) for file in together) == sum(file.count(day) for file in apart)


def _finish_in_two(finish: Callable[[PackWriter], Any]) -> Callable[[PackWriter], Any]:
    """Write what is buffered into two packs."""

    def finish_in_two(self: PackWriter) -> Any:
        buffered = self._buffered
        self._buffered = buffered[::2]
        self._write_buffered()
        self._close()
        self._buffered = buffered[1::2]
        return finish(self)

    return finish_in_two
