"""Which days were delivered, by what files hold and how they are called; on what grounds a day looks incomplete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.durable_files import sha256_of
from pipelines.raw.deliveries import LandedSessions, judge, named_day
from pipelines.raw.raw_file import RawFile
from pipelines.raw.writer import WrittenFile
from pipelines.snapshots.gates import probably_incomplete


@dataclass
class File:
    """A landed file of sessions: how many it holds of each day of January 2026."""

    name: str
    held: dict[int, int] = field(default_factory=dict)
    rejected: int = 0
    is_read: bool = True

    def may_hold(self) -> Iterable[date]:
        return [date(2026, 1, number) for number in self.held]

    def count(self, day: date) -> int:
        return self.held.get(day.day, 0)


DAYS = [date(2026, 1, number) for number in range(1, 8)]


def states(*files: File) -> dict[int, str]:
    return {day.day: state for day, state in judge(DAYS, files).items()}


def daily(*numbers: int, name: str = "2026-01-{:02}.ndjson") -> list[File]:
    return [File(name.format(number), {number: 9}) for number in numbers]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("viewing_sessions/2026-01-05.ndjson", 5),
        ("viewing_sessions/20260105.csv.gz", 5),
        ("viewing_sessions/2026/01/05/part-3.parquet", 5),
        ("viewing_sessions/year=2026/month=01/day=05/x.parquet", 5),
        ("viewing_sessions/export_20260105T031500.ndjson", 5),
        ("viewing_sessions/export_20260105031500.ndjson", 5),
        ("viewing_sessions/2026-01-05/2026-01-05-13.ndjson", 5),
        ("viewing_sessions/2026-01.ndjson", None),
        ("viewing_sessions/2026-01-05-to-2026-01-07.ndjson", None),
        ("viewing_sessions/2026-13-05.ndjson", None),
        ("viewing_sessions/1767571200000.ndjson", None),
        ("viewing_sessions/rest.ndjson", None),
    ],
)
def test_a_name_that_holds_one_date_names_that_day(name, day):
    """In the ways in which dates are written; no date, several, or a month name no day."""
    assert named_day(name) == (day and date(2026, 1, day))


def test_a_day_without_its_file_is_missing():
    """Days are judged from the first one with sessions to the last one asked for."""
    assert states(*daily(2, 3, 5)) == {
        2: "present",
        3: "present",
        4: "missing",
        5: "present",
        6: "missing",
        7: "missing",
    }


def test_an_empty_file_says_that_its_day_was_empty():
    """The platform lands a file every day: one without a session is a delivery as well."""
    assert states(*daily(1, 2, 4, 5, 6, 7), File("2026-01-03.ndjson"))[3] == "empty"


def test_a_file_of_late_sessions_alone_says_that_its_own_day_was_empty():
    """What it holds of other days does not matter."""
    assert states(*daily(1, 2, 4, 5, 6, 7), File("2026-01-03.ndjson", {2: 1}))[3] == "empty"


def test_late_sessions_in_the_files_of_other_days_do_not_hide_a_missing_day():
    """A day is not there because a few of its sessions came with the next one's."""
    assert states(*daily(1, 2, 5, 6, 7), File("2026-01-04.ndjson", {3: 2, 4: 9}))[3] == "missing"


def test_a_file_that_names_no_day_delivers_the_days_it_holds():
    """Nothing says whose file it is, so what is in it counts."""
    assert states(*daily(1, 2, 5, 6, 7), File("rest.ndjson", {3: 9, 4: 9}))[3] == "present"
    assert set(states(File("x.ndjson", {1: 1, 2: 1}), File("y.ndjson", {4: 1})).items()) >= {
        (3, "missing"),
        (4, "present"),
    }


def test_files_named_by_the_day_after_are_understood():
    """Where files are named by when they were exported, the file of the 4th is the one named 5 January."""
    exported = [File(f"2026-01-{number + 1:02}.ndjson", {number: 9}) for number in (1, 2, 3, 5, 7)]
    assert states(*exported)[4] == "missing"
    assert states(*exported, File("2026-01-07.ndjson"))[6] == "empty"


def test_a_file_that_could_not_be_accepted_is_no_empty_day():
    """A file whose records were rejected says nothing of its day."""
    assert states(*daily(1, 2, 4), File("2026-01-03.ndjson", rejected=5))[3] == "missing"


def test_a_file_that_has_not_been_read_is_waited_for():
    """It has landed, so nothing is missing yet."""
    assert states(*daily(1, 2, 3, 4, 5, 6), File("2026-01-07.ndjson", is_read=False))[7] == "unread"


def test_sessions_before_the_days_asked_for_are_a_beginning():
    """Then every one of the days should be there."""
    before = File("2025-12-31.ndjson", {})
    before.may_hold = lambda: [date(2025, 12, 31)]  # type: ignore[method-assign]
    before.count = lambda day: int(day == date(2025, 12, 31))  # type: ignore[method-assign]
    assert set(states(before).values()) == {"missing"}


def test_a_stray_old_session_begins_nothing():
    """A session of long ago in another day's file is no sign that the days since then should be there."""
    assert states(*daily(6), File("2026-01-07.ndjson", {1: 1, 7: 9})) == {6: "present", 7: "present"}


def test_without_any_session_there_are_no_days():
    assert states() == states(File("2026-01-03.ndjson")) == {}


def test_under_half_the_median_is_incomplete():
    """Of the seven days before, where something had landed by the first of them."""

    def why(last, gap=None, first=date(2026, 1, 1)):
        week = {date(2026, 1, number): 4 for number in range(1, 8) if number != gap}
        return probably_incomplete(week | {date(2026, 1, 8): last}, date(2026, 1, 8), first) or ""

    assert why(2) == ""
    assert "1 session," in why(1)
    assert "0 sessions" in why(0)
    assert "0 sessions" in why(0, gap=3), "a day without sessions is a day"
    assert why(0, gap=1) == "", "there are six days"
    assert "0 sessions" in why(0, gap=1, first=date(2025, 12, 31)), "there are seven, the first of them empty"


def test_the_records_of_a_day_that_came_back_are_counted_on_it(tmp_path):
    """In St John's the hour from 02:31Z on 7 November 2010 was of the 6th, the minute before it of the 7th."""
    instants = ["02:29", "02:30", "02:31", "03:29", "03:30", "04:00"]
    path = tmp_path / "2010-11-07.parquet"
    starts = [datetime.fromisoformat(f"2010-11-07T{at}Z") for at in instants]
    pq.write_table(pa.table({"started_at": pa.array(starts, pa.timestamp("ms", "UTC"))}), path)
    written = WrittenFile(len(starts), path.stat().st_size, sha256_of(path), "")
    files = {"2010-11-07": written}
    raw = RawFile(str(tmp_path), "", "viewing_sessions", "all.ndjson", "", 0, 1, 6, 6, 0, 0, {}, {}, files, None)
    file = LandedSessions("all.ndjson", raw, ZoneInfo("America/St_Johns"))
    assert {day: file.count(day) for day in file.may_hold()} == {date(2010, 11, 6): 3, date(2010, 11, 7): 3}
