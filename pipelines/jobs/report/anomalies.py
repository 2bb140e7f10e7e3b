"""Anomalies: published figures far outside their history. They refuse nothing.

Both kinds are judged by the same two robust statistics of a history of numbers, which a few odd values in it do not
move: its median, and its spread, which is the largest of

    1.4826 * the median of the distances from the median (of normal noise that is one standard deviation),
    the square root of the median (by which counts of independent people vary at the least),
    a twentieth of the median (no platform is steadier than that).

A creator's reach jumps far outside its history when, on the last day before as_of, its distinct signed-in viewers
    differ from the median of its history by at least 8 spreads, by at least half of the median, and by at least
    25 people; and are more than on any day of its history, or fewer than on any.
  The history are those of the 28 days before on which the creator had a viewer; with fewer than 7 nothing is said, and
  a day without a viewer is a day off, not a fall.

A day has far fewer sessions than its weekday when its sessions (started on it) are under the median of the same weekday
    of the 8 weeks before by at least 5 spreads: by a quarter or more.
  Judged are the 7 days before as_of. Weeks before the first session that is known of are left out; with fewer than 3
  nothing is said.

The last day ends early when the time without a session at its end is over an hour, and over twice the longest of the 14
    days before: it was probably cut off there, however many sessions it has.
  Days without sessions are left out; with fewer than 7 nothing is said. Of 351 days of flights one is named wrongly (a
  blizzard), and of days that are cut off after 60 to 90 % of their sessions 96 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core import calendar_days
from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine

HISTORY_DAYS = 28  # four of each weekday
LEAST_ACTIVE_DAYS = 7
REACH_SPREADS = 8.0
LEAST_PEOPLE = 25  # below that a platform of many small creators always has one that doubles
DAYS_JUDGED = 7
WEEKS_COMPARED = 8
LEAST_WEEKS = 3
DAY_SPREADS = 5.0
END_DAYS = 14
LEAST_LEFT = timedelta(hours=1)
_OF_NORMAL_NOISE = 1.4826  # standard deviations in one median distance from the median


@dataclass(frozen=True)
class Anomaly:
    """One figure that is worth a look."""

    kind: str  # reach or day
    day: date
    creator_id: str | None  # None: of a day
    value: int  # viewers of the creator, or sessions of the day
    median: float  # of its history
    spreads: float  # that lie between the two, negative where the value is lower

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the sentence."""
        values = vars(self) | {"day": self.day.isoformat(), "spreads": round(self.spreads, 1)}
        return values | {"sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """The anomaly as a sentence."""
        if self.creator_id is None:
            return (
                f"{self.day}, a {self.day:%A}, has {self.value:,} sessions; "
                f"the same weekday had a median of {self.median:,.0f} before"
            )
        return (
            f"{self.creator_id} reached {self.value:,} people on {self.day}, {_compared(self.value, self.median)} "
            f"{self.median:,.0f} on the days before"
        )


def _compared(value: int, median: float) -> str:
    return f"{value / median:,.1f} times the median of" if value >= median else "down from a median of"


def robust_scale(history: Sequence[int]) -> float:
    """How far numbers of this history usually lie from its median; at least 1. See above."""
    middle = statistics.median(history)
    distance = statistics.median(abs(value - middle) for value in history)
    return max(_OF_NORMAL_NOISE * distance, math.sqrt(middle), middle / 20, 1.0)


def judge_reach(creator_id: str, day: date, viewers: int, history: Sequence[int]) -> Anomaly | None:
    """Return the anomaly of a creator's `viewers` on a day, if they are one beside those of its active days before."""
    if len(history) < LEAST_ACTIVE_DAYS or viewers == 0:
        return None
    middle = statistics.median(history)
    spreads = (viewers - middle) / robust_scale(history)
    is_far = abs(spreads) >= REACH_SPREADS and abs(viewers - middle) >= max(middle / 2, LEAST_PEOPLE)
    is_outside = viewers > max(history) or viewers < min(history)
    return Anomaly("reach", day, creator_id, viewers, middle, spreads) if is_far and is_outside else None


def judge_day(day: date, sessions: int, history: Sequence[int]) -> Anomaly | None:
    """Return the anomaly of a day's `sessions`, if they are far fewer than those of the same weekday before."""
    if len(history) < LEAST_WEEKS:
        return None
    middle = statistics.median(history)
    spreads = (sessions - middle) / robust_scale(history)
    return Anomaly("day", day, None, sessions, middle, spreads) if spreads <= -DAY_SPREADS else None


@dataclass(frozen=True)
class EarlyEnd:
    """A last day on which sessions end long before it does."""

    day: date
    newest: datetime  # when the last session starts, in the zone of the policy
    usual: timedelta  # the longest time without a session at the end of the days before

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the sentence."""
        empty = dict.fromkeys(("creator_id", "value", "median", "spreads"))
        return {"kind": "end", "day": self.day.isoformat(), **empty, "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """The anomaly as a sentence."""
        minutes = max(1, round(self.usual / timedelta(minutes=1)))
        return (
            f"No session of {self.day} starts after {self.newest:%H:%M}, and on the days before the last one started "
            f"at most {minutes:,} minutes before the end: it was probably cut off"
        )


def judge_end(newest: Mapping[date, datetime], as_of: date, zone: ZoneInfo) -> EarlyEnd | None:
    """Whether the last day before as_of ends early, of the newest session of each day that has any."""
    last_day = as_of - timedelta(days=1)
    left = {day: calendar_days.day_bounds(day, zone)[1] - instant for day, instant in newest.items()}
    before = [left[day] for day in left if 0 < (last_day - day).days <= END_DAYS]
    if last_day not in left or len(before) < LEAST_ACTIVE_DAYS:
        return None
    usual = max(before)
    is_early = left[last_day] > max(LEAST_LEFT, 2 * usual)
    return EarlyEnd(last_day, newest[last_day].astimezone(zone), usual) if is_early else None


def judge_days(sessions: Mapping[date, int], as_of: date) -> Iterator[Anomaly]:
    """Of the last days before as_of, those with far fewer sessions than their weekday. A day without any may be left
    out of `sessions`, which reach back as far as there is anything to compare with."""
    first = min((day for day, count in sessions.items() if count), default=as_of)
    for back in range(DAYS_JUDGED, 0, -1):
        day = as_of - timedelta(days=back)
        weeks = [day - timedelta(weeks=number) for number in range(1, WEEKS_COMPARED + 1)]
        found = judge_day(day, sessions.get(day, 0), [sessions.get(each, 0) for each in weeks if each >= first])
        if found:
            yield found


def find(settings: Settings, cube: Mapping[date, Path], as_of: date) -> list[Anomaly]:
    """All of a cube, given as its checked files: days first, then creators, the farthest first."""
    wanted = {day: path for day, path in cube.items() if _first(as_of) <= day < as_of}
    last_day = as_of - timedelta(days=1)
    if last_day not in wanted:
        return []
    with engine.run_session(settings, "report") as connection:
        engine.register(connection, "creator_reach", list(wanted.values()))
        rows = engine.query(connection, _DAYS).to_pylist()
        days = list(judge_days({row["day"]: row["sessions"] for row in rows}, as_of))
        bounds = {
            "last_day": last_day,
            "first_day": last_day - timedelta(days=HISTORY_DAYS),
            "least_people": LEAST_PEOPLE,
            "least_days": LEAST_ACTIVE_DAYS,
        }
        suspects = engine.query(connection, _SUSPECTS, bounds).to_pylist()
    reach = (judge_reach(row["creator_id"], last_day, row["viewers"], row["history"]) for row in suspects)
    return days + sorted((found for found in reach if found), key=lambda one: (-abs(one.spreads), one.creator_id or ""))


def find_early_end(settings: Settings, outcomes: Mapping[date, Path], as_of: date) -> EarlyEnd | None:
    """Whether the last day ends early, by the `session_outcomes` of UTC days."""
    near = [path for day, path in outcomes.items() if _is_near_the_end(day, as_of)]
    if not near:
        return None
    tables = [pq.read_table(path, columns=["first_day", "newest_started_at"], partitioning=None) for path in near]
    rows = pa.concat_tables(tables).group_by("first_day").aggregate([("newest_started_at", "max")]).to_pylist()
    newest = {row["first_day"]: row["newest_started_at_max"] for row in rows if row["first_day"]}
    return judge_end(newest, as_of, ZoneInfo(settings.day_timezone))


def inputs(digests: Mapping[date, str], of_outcomes: Mapping[date, str], as_of: date) -> list[object]:
    """Return all that decides what is found, given as the digests of the days' rows."""
    bounds = (DAYS_JUDGED, WEEKS_COMPARED, LEAST_WEEKS, DAY_SPREADS, HISTORY_DAYS, LEAST_ACTIVE_DAYS)
    rows = [(day.isoformat(), digest) for day, digest in sorted(digests.items()) if _first(as_of) <= day < as_of]
    ends = [(day.isoformat(), digest) for day, digest in sorted(of_outcomes.items()) if _is_near_the_end(day, as_of)]
    at_end = (END_DAYS, LEAST_LEFT.total_seconds(), ends)
    return [_DAYS, _SUSPECTS, *bounds, REACH_SPREADS, LEAST_PEOPLE, as_of.isoformat(), rows, at_end]


def _is_near_the_end(day: date, as_of: date) -> bool:
    """Whether sessions of a UTC day may start on one of the days whose ends are compared."""
    return -END_DAYS - 2 <= (day - as_of).days <= 1


def _first(as_of: date) -> date:
    return as_of - timedelta(days=DAYS_JUDGED + 7 * WEEKS_COMPARED)


_DAYS = """
    select day, cast(sum(sessions_started) as bigint) as sessions
    from creator_reach
    group by day
"""

# Those who can be an anomaly at all, so that few histories leave the engine: outside of theirs, and by enough people
# that their median may be far enough away.
_SUSPECTS = """
    with viewers_per_day as materialized (
        select creator_id, day, cast(sum(viewers) as bigint) as viewers
        from creator_reach
        where is_signed_in and day >= $first_day and viewers > 0
        group by creator_id, day
    ),
    last_days as (
        from viewers_per_day where day = $last_day
    ),
    earlier as (
        select creator_id, min(viewers) as lowest, max(viewers) as highest
        from viewers_per_day
        where day < $last_day
        group by creator_id
        having count(*) >= $least_days
    ),
    suspects as (
        select creator_id, viewers
        from last_days
        join earlier using (creator_id)
        where viewers > highest and viewers - lowest >= $least_people
            or viewers < lowest and highest - viewers >= $least_people
    )
    select suspects.creator_id, suspects.viewers, list(viewers_per_day.viewers) as history
    from suspects
    join viewers_per_day using (creator_id)
    where viewers_per_day.day < $last_day
    group by all
"""
