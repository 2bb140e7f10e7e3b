"""What is made of viewing sessions, by the UTC day on which they start: the newest versions, outcomes, viewer_days.

What landed for a day comes in parts, so that a few sessions that land late leave what was worked out of the day's large
file as it is. As in build.py, nothing here computes a number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines import window
from pipelines.lake import RELATIONS, Lake, Step, Stored
from pipelines.settings import Policy

Days = Mapping[date, Stored]
Parts = Mapping[date, Sequence[Stored]]  # of each day one file or several, whose rows add up

# A landed file with at least so many sessions of a day is a part of that day by itself; smaller ones share a part.
PART_ROWS = 100_000


def parts_of(files: Sequence[Stored]) -> list[list[Stored]]:
    """The raw files of a day, as the parts that are worked out by themselves.

    Files of the same rows, landed twice, are in one part: what is derived is named by its rows, and two parts of one
    name would be counted once.
    """
    small: list[Stored] = []
    large: dict[str, list[Stored]] = {}
    for file in files:
        (small if file.rows < PART_ROWS else large.setdefault(file.digest, [])).append(file)
    return [*large.values(), small] if small else list(large.values())


@dataclass(frozen=True)
class Repeated:
    """The sessions of which there is more than one record, wherever they are."""

    versions: Parts  # of each part of a day, in the order of the parts; of days that have any
    judged: Days  # of those days: which of their versions are the newest


def erased_viewers(lake: Lake, landed: Mapping[str, Mapping[date, Sequence[Stored]]]) -> Days:
    """Who of a day is to be erased, for every day of sessions; nothing where no erasure has landed."""
    erasures = [file for files in landed["erasures"].values() for file in files]
    if not erasures:
        return {}
    steps = [
        Step(day, {"raw_viewing_sessions": files, "raw_erasures": erasures}, weight=rows_of(files))
        for day, files in landed["viewing_sessions"].items()
    ]
    return by_day(lake.derive("erased_viewers", steps))


def repeated_sessions(
    lake: Lake, parts: Mapping[date, Sequence[Sequence[Stored]]], erased: Days, revision_days: int
) -> Repeated:
    """Find them and decide between their records: what one day holds of another is read only where it says so.

    A day rests on the `revision_days` before and after it, and on no others.
    """
    days = sorted(parts)
    keys = _in_rounds(
        lake,
        {
            "session_keys": [
                Step(day, {"raw_viewing_sessions": part}, weight=rows_of(part)) for day in days for part in parts[day]
            ]
        },
    )["session_keys"]
    steps = []
    for day in days:
        earlier = [file for other in _days_before(day, revision_days) for file in keys.get(other, ())]
        inputs = {"session_keys": keys[day], "earlier_session_keys": earlier}
        steps.append(Step(day, inputs, weight=rows_of(keys[day])))

    # By day, the files that mention it, and the days that share a session with it.
    mentioning: dict[date, list[Stored]] = defaultdict(list)
    linked: dict[date, set[date]] = defaultdict(set)
    for day, stored in by_day(lake.derive("session_repeats", steps)).items():
        if stored.rows:
            earlier_days = lake.table(stored)["earlier_day"].unique().to_pylist()
            for other in {day, *earlier_days}:
                mentioning[other].append(stored)
                linked[other].add(day)
            linked[day].update(earlier_days)

    steps = [
        Step(day, {"session_keys": [part], "session_repeats": mentioning[day]}, weight=part.rows)
        for day in sorted(mentioning)
        for part in keys[day]
    ]
    repeated = _in_rounds(lake, {"repeated_session_keys": steps})["repeated_session_keys"]
    steps = [
        Step(
            day,
            {
                "raw_viewing_sessions": part if its_keys.rows else [],
                "repeated_session_keys": [its_keys],
                "erased_viewers": [erased[day]] if day in erased and its_keys.rows else [],
            },
            weight=rows_of(part),
        )
        for day in sorted(mentioning)
        for part, its_keys in zip(parts[day], repeated[day], strict=True)
    ]
    versions = _in_rounds(lake, {"repeated_session_versions": steps})["repeated_session_versions"]
    steps = [
        Step(
            day,
            # Where the day has none, those of other days say nothing of it.
            {
                "repeated_session_versions": [each for other in sorted(linked[day] | {day}) for each in versions[other]]
                if rows_of(versions[day])
                else []
            },
            {"days": days_relation([day])},
            weight=rows_of(versions[day]),
        )
        for day in sorted(mentioning)
    ]
    return Repeated(versions, by_day(lake.derive("session_versions", steps)))


def judged_sessions(
    lake: Lake,
    landed: Mapping[str, Mapping[date, Sequence[Stored]]],
    parts: Mapping[date, Sequence[Sequence[Stored]]],
    erased: Days,
    repeated: Repeated,
    policy: Policy,
    counted: Collection[date],
) -> tuple[Parts, Parts]:
    """(session_outcomes of every day, viewer_days of those that the cube rests on): all that is made of sessions."""
    zone = ZoneInfo(policy.day_timezone)
    params = {
        "min_watched_milliseconds": policy.min_watched_seconds * 1000,
        "max_session_milliseconds": policy.max_session_hours * 3_600_000,
        "leave_out_own_views": policy.leave_out_own_views,
    }
    steps = []
    for day in landed["viewing_sessions"]:
        relations = {"calendar": _calendar_relation(day, policy, zone)}
        its_versions: Sequence[Stored | None] = repeated.versions.get(day) or [None] * len(parts[day])
        for part, versions in zip(parts[day], its_versions, strict=True):
            inputs = {
                "raw_viewing_sessions": part,
                "repeated_session_versions": [] if versions is None else [versions],
                "erased_viewers": [erased[day]] if day in erased else [],
            }
            steps.append(Step(day, inputs, relations, params, weight=rows_of(part)))
        if day in repeated.judged and repeated.judged[day].rows:
            judged = repeated.judged[day]
            steps.append(Step(day, {"session_versions": [judged]}, relations, params, weight=judged.rows))
    made = _in_rounds(lake, {"session_outcomes": steps, "viewer_days": [step for step in steps if step.day in counted]})
    return made["session_outcomes"], made["viewer_days"]


def days_relation(days: Sequence[date]) -> pa.Table:
    """The relation `days`."""
    return pa.Table.from_pylist([{"day": day} for day in days], schema=RELATIONS["days"])


def _days_before(day: date, count: int) -> list[date]:
    """The `count` days before a day, oldest first: those that the calendar has."""
    first = max(day.toordinal() - count, date.min.toordinal())
    return [date.fromordinal(ordinal) for ordinal in range(first, day.toordinal())]


def _in_rounds(lake: Lake, wanted: Mapping[str, Sequence[Step]]) -> dict[str, dict[date, list[Stored]]]:
    """The files of several models by day, where a day may have several steps: the lake builds one a day at a time."""
    rounds: list[dict[str, list[Step]]] = []
    for model, steps in wanted.items():
        seen: Counter[date | None] = Counter()
        for step in steps:
            while len(rounds) <= seen[step.day]:
                rounds.append({model: [] for model in wanted})
            rounds[seen[step.day]][model].append(step)
            seen[step.day] += 1
    found: dict[str, dict[date, list[Stored]]] = {model: defaultdict(list) for model in wanted}
    for each in rounds:
        for model, files in lake.derive_together(each).items():
            for day, stored in by_day(files).items():
                found[model][day].append(stored)
    return found


def by_day(files: Mapping[date | None, Stored]) -> Days:
    return {day: stored for day, stored in files.items() if day is not None}


def rows_of(files: Iterable[Stored]) -> int:
    return sum(stored.rows for stored in files)


def _calendar_relation(utc_day: date, policy: Policy, zone: ZoneInfo) -> pa.Table:
    reached = window.days_reached(utc_day, timedelta(hours=policy.max_session_hours), zone)
    return pa.Table.from_pylist([vars(day) for day in reached], schema=RELATIONS["calendar"])
