"""However landed lines are divided into files, and files into runs, what is published is the same."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import stand_ins
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.jobs.erase_user import forget
from pipelines.raw.catalog import raw_files
from pipelines.raw.rejected_records import rejected_records

AS_OF = date(2026, 1, 10)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Sessions of few viewers on a few days, some of them twice, and some lines that are none."""
    found = []
    for number in range(draw(st.integers(4, 24))):
        if draw(st.integers(0, 7)) == 0:
            found.append(f"no session {number} of v{draw(st.integers(0, 2))}")
            continue
        session = {
            "sessionId": f"s{draw(st.integers(0, 12))}",
            "creatorId": f"c{draw(st.integers(0, 2))}",
            "viewerId": f"v{draw(st.integers(0, 3))}",
            "startedAt": f"2026-01-{draw(st.integers(7, 9)):02}T{draw(st.integers(10, 12))}:00:00Z",
            "revision": draw(st.integers(0, 2)),
        }
        found.append(json.dumps(session, separators=(",", ":")))
    return found


def home_of(folder: Path) -> Settings:
    home = Settings(home=folder, windows=(1,), max_window_days=7, threads=1, memory_limit="500MB")
    stand_ins.lay(home.lake)
    return home


def land(home: Settings, number: int, landed: list[str]) -> None:
    path = home.landing / f"viewing_sessions/{number:03}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in landed))


def night(home: Settings) -> nightly.NightReport:
    return nightly.run(home, AS_OF, accept_rejects=True, allow_incomplete=True)


@settings(max_examples=effort(4, 12, 300), deadline=None)
@given(lines(), st.lists(st.integers(0, 24), max_size=6), st.lists(st.integers(0, 6), max_size=2), st.booleans())
def test_any_grouping_of_landed_lines_gives_the_same_snapshot(
    landed: list[str], cuts: list[int], runs: list[int], is_forgotten: bool
) -> None:
    """The books balance for every file, a rejected line is that of its file, and `forget` finds all there is."""
    places = sorted({0, len(landed), *(cut % (len(landed) + 1) for cut in cuts)})
    files = [landed[start:end] for start, end in itertools.pairwise(places)]
    folder = Path(tempfile.mkdtemp())
    try:
        whole, divided = home_of(folder / "whole"), home_of(folder / "divided")
        land(whole, 0, landed)
        last_of_run = {len(files) - 1, *(run % len(files) for run in runs)}
        for number, text in enumerate(files):
            land(divided, number, text)
            if number in last_of_run:
                report = night(divided)
        expected = night(whole)
        if is_forgotten:
            expected_id = forget(whole, "v1", datetime(2026, 1, 11, tzinfo=UTC)).snapshot_after
            done = forget(divided, "v1", datetime(2026, 1, 11, tzinfo=UTC), landing_too=True)
            assert done.is_forgotten
            assert done.snapshot_after == expected_id
            assert night(divided).snapshot_id == expected_id
        else:
            assert report.snapshot_id == expected.snapshot_id
        _require_books(divided, files, is_forgotten)
    finally:
        shutil.rmtree(folder)


def _require_books(home: Settings, files: list[list[str]], is_forgotten: bool) -> None:
    raw = {each.landed_name: each for each in raw_files(home) if each.entity == "viewing_sessions"}
    rejected = [(each.file, each.line) for each in rejected_records(home)]
    different = {tuple(text): number for number, text in reversed(list(enumerate(files)))}
    for text, number in different.items():
        name = f"viewing_sessions/{number:03}.ndjson"
        each = raw[name]
        assert each.records == each.accepted + each.rejected == len(text)
        assert each.accepted == sum(file.rows for file in each.files.values()) + each.erased
        assert [line for file, line in rejected if file == name] == [
            line for line, landed in enumerate(text, 1) if not landed.startswith("{")
        ]
        rows = Counter(row["line"] for day in each.files for row in each.table(day).to_pylist())
        assert rows == {
            line: 1
            for line, landed in enumerate(text, 1)
            if landed.startswith("{") and not (is_forgotten and json.loads(landed)["viewerId"] == "v1")
        }
