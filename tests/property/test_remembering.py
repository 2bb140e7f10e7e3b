"""What is passed over, of what landed and of raw, is what would have been found as it was.

Any history of landed files that come, change and go, and of raw and caches that are damaged or lost, is ingested in two
homes: one remembers what it may, the other forgets all that it may before every run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.raw.ingest import IngestReport, ingest
from pipelines.raw.layout import INDEXES
from pipelines.raw.raw_folder import RawFolder, by_folder, keys_of
from pipelines.raw.readings import latest_parsed

SESSION = '{"sessionId":"s%d","creatorId":"c","viewerId":"v","startedAt":"2026-01-0%dT10:00:00Z"}\n'
NAMES = ("a/2026-01-05.ndjson", "a/2026-01-06.ndjson", "b/1.ndjson", "b/2.ndjson", "3.csv", "b/4.txt")
CONTENTS = (
    *(SESSION % (number, 5 + number % 3) for number in range(5)),
    "",
    SESSION % (9, 5) + '{"sessionId":1}\n',
    "PK\x03\x04 no session",
)
MAPPING = '[viewing_sessions]\nrename = { viewer = "viewerId" }\n'
STEP = st.one_of(
    st.tuples(st.just("land"), st.sampled_from(NAMES), st.sampled_from(CONTENTS)),
    st.tuples(st.just("land"), st.sampled_from(NAMES), st.sampled_from(CONTENTS[:5])),
    st.tuples(st.just("land now"), st.sampled_from(NAMES), st.sampled_from(CONTENTS[:5])),
    st.tuples(st.sampled_from(("take away", "move")), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.sampled_from(("lose raw", "damage raw")), st.integers(0, 9).map(str), st.just("")),
    st.tuples(st.sampled_from(("map", "unmap", "lose caches", "damage caches", "night")), st.just(""), st.just("")),
)


def apply(home: Settings, step: tuple[str, str, str], number: int) -> None:
    """Change what landed, or what is stored."""
    what, name, content = step
    if what.endswith(("raw", "caches")):
        spoil(home, what, name)
        return
    path = home.landing / "viewing_sessions" / name
    if what.startswith("land"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if what == "land":  # long ago: what has just changed is looked at again in any case
            os.utime(path, (1_700_000_000, 1_700_000_000))
    elif what == "take away":
        path.unlink(missing_ok=True)
    elif what == "move" and path.exists():
        path.rename(path.with_name(f"moved-{number}.ndjson"))
    elif what == "map":
        home.landing.mkdir(parents=True, exist_ok=True)
        (home.landing / "mostwatched.toml").write_text(MAPPING)
    elif what == "unmap":
        (home.landing / "mostwatched.toml").unlink(missing_ok=True)


def spoil(home: Settings, what: str, number: str) -> None:
    """Lose or damage an index of raw, or the caches."""
    paths = [home.lake / INDEXES, home.lake / "landed.json"]
    if what.endswith("raw"):
        indexes = sorted((home.lake / "raw" / "viewing_sessions").glob("[!.]*/index.json"))
        paths = [indexes[int(number) % len(indexes)]] if indexes else []
    for path in paths:
        if what == "lose raw":
            shutil.rmtree(path.parent)
        elif what.startswith("lose"):
            path.unlink(missing_ok=True)
        elif path.exists():
            path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))


def outcome(home: Settings) -> Any:
    """What a run finds, makes and says."""
    try:
        report = ingest(home)
    except Damaged:
        return "damaged"
    return {
        "landed": report.landed_files,
        "new": sorted(raw.key for raw in report.new),
        "again": sorted(report.again),
        "ignored": [(each.path.name, each.reason) for each in report.ignored],
        "unreadable": (sorted(raw.key for raw in report.unreadable.there), report.unreadable.replaced),
        "raw": _counting(report),
    }


def _counting(report: IngestReport) -> list[tuple[Any, ...]]:
    """What counts of raw: file by file, which must add up to what is said of them together."""
    found = latest_parsed(report.raw)
    assert [RawFolder.of(folder.landed) for folder in by_folder(found)] == by_folder(found)
    assert sorted(keys_of(found)) == sorted(raw.key for raw in found)
    assert len(found) == len(list(found))
    return sorted((raw.key, raw.landed_sha256, raw.records, raw.rejected, raw.reading) for raw in found)


@given(st.lists(STEP, min_size=2, max_size=14), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_a_home_that_remembers_finds_what_one_that_forgets_finds(
    steps: list[tuple[str, str, str]], block_files: int
) -> None:
    """After every step, but for those of several that come before one night."""
    folder = Path(tempfile.mkdtemp())
    remembers, forgets = (Settings(home=folder / name) for name in ("remembers", "forgets"))
    try:
        with mock.patch("pipelines.landing.finding._BLOCK_FILES", block_files):
            for number, step in enumerate([*steps, ("night", "", ""), ("night", "", "")]):
                for home in (remembers, forgets):
                    apply(home, step, number)
                if number % 3 == 1 and step[0] != "night":
                    continue
                for cache in (INDEXES, "landed.json"):
                    (forgets.lake / cache).unlink(missing_ok=True)
                assert outcome(remembers) == outcome(forgets)
    finally:
        shutil.rmtree(folder)
