"""The part of the plan about viewing sessions, by the UTC day on which they start: versions, outcomes, viewer_days.

What landed for a day comes in parts, so that a few sessions that land late do not rebuild what was derived from the
day's large file. As in plan.py, nothing here computes a number.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, partial
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.core import calendar_days
from pipelines.core.calendar_days import InclusiveRange
from pipelines.core.settings import Policy
from pipelines.lake import models
from pipelines.lake.derive import RELATIONS, Lake, Step, Stored
from pipelines.raw.raw_file import RawFile

Days = Mapping[date, Stored]
Parts = Mapping[date, Sequence[Stored]]  # of each day one file or several, whose rows add up


@dataclass(frozen=True)
class Landed:
    """All raw files, arranged once for every as_of that is planned over them, in one lake."""

    raw: Sequence[RawFile]
    by_entity: Mapping[str, Parts]  # oldest day first
    newest: Mapping[str, int]  # by entity the newest instant that its records name, in milliseconds since 1970
    newest_of_file: Mapping[str, int]  # the same by the location of a file, of those whose records name any
    # Of months and years that lie outside of what an as_of counts day by day: the same for most as_ofs.
    sums: dict[tuple[Policy, str, InclusiveRange], Stored] = field(default_factory=dict)

    def __getitem__(self, entity: str) -> Parts:
        """The files of an entity by day."""
        return self.by_entity.get(entity, {})

    def sum_of(self, model: str, policy: Policy, span: InclusiveRange, derive: Callable[[], Stored]) -> Stored:
        """The file of a month or a year, derived by the first as_of that asks for it."""
        key = (policy, model, span)
        if key not in self.sums:
            self.sums[key] = derive()
        return self.sums[key]


# A landed file with at least so many sessions of a day is a part of that day by itself; smaller ones share a part.
PART_ROWS = 100_000


def parts_of(files: Sequence[Stored]) -> list[list[Stored]]:
    """Divide the raw files of a day into parts that are derived by themselves.

    Files of the same rows, landed twice, are in one part: what is derived is named by its rows, and two parts of one
    name would be counted once.
    """
    small: list[Stored] = []
    large: dict[str, list[Stored]] = {}
    for file in files:
        is_small = file.rows < PART_ROWS or file.landed_digests  # of landed files that were all small
        (small if is_small else large.setdefault(file.digest, [])).append(file)
    # Also a file that landed alone and, small as its bytes were, once more among others.
    of_small = {digest for file in small for digest in file.landed_digests or (file.digest,)}
    for digest in of_small & large.keys():  # safeguard: same-rows-in-one-part
        small += large.pop(digest)
    return [*large.values(), small] if small else list(large.values())


@dataclass(frozen=True)
class Sessions:
    """All that is made of sessions: by day near what is published, and in sums for all other months."""

    viewer_days: Parts  # of the days that the cube rests on
    session_outcomes: Parts  # of those days, and of all others of their months
    monthly_outcomes: Sequence[Stored]  # of all other months, but those of
    yearly_outcomes: Sequence[Stored]  # whole years

    @property
    def outcomes(self) -> dict[str, list[Stored]]:
        """The outcomes of every record that ever landed, by model."""
        return {
            "session_outcomes": flatten(self.session_outcomes),
            "monthly_outcomes": list(self.monthly_outcomes),
            "yearly_outcomes": list(self.yearly_outcomes),
        }


def sessions(lake: Lake, landed: Landed, policy: Policy, counted: Sequence[date]) -> Sessions:
    """Derive all of it, where the cube rests on the UTC days `counted`, oldest first.

    Only those months are planned, opened and read day by day. So the cost of a night does not grow with all that ever
    landed, but for a file a year that must be found.
    """
    # safeguard: near-days-are-whole-months
    near = InclusiveRange(counted[0].replace(day=1), _last_of_month(counted[-1]))
    outcomes, viewer_days = _judged_sessions(lake, landed, policy, near, frozenset(counted))
    erased_in = cache(partial(_erased_in, lake, landed))

    def of_year(year: InclusiveRange, of_months: Callable[[], Sequence[Stored]]) -> Stored:
        erased = erased_in(year.widened(policy.revision_days))  # safeguard: sum-of-a-year-holds-who-is-erased
        return _sums(lake, landed, policy, "yearly_outcomes", year, erased, of_months)

    by_year: dict[int, list[InclusiveRange]] = defaultdict(list)
    for month in _months(day for day in landed["viewing_sessions"] if day not in near):
        by_year[month.first_day.year].append(month)
    monthly, yearly = [], []
    for year, months in by_year.items():
        of_months = partial(_monthly_outcomes, lake, landed, policy, months, erased_in)
        if near.first_day.year <= year <= near.last_day.year:
            monthly += of_months()
            continue
        whole = InclusiveRange(date(year, 1, 1), date(year, 12, 31))
        yearly.append(landed.sum_of("yearly_outcomes", policy, whole, partial(of_year, whole, of_months)))
        if lake.asks_for_parts:
            of_months()
    return Sessions(viewer_days, outcomes, monthly, yearly)


def _erased_in(lake: Lake, landed: Landed, span: InclusiveRange) -> list[Stored]:
    """Who is to be erased of a month, or of a year and what is within reach of it; nothing where no erasure landed."""
    if not landed["erasures"]:
        return []
    raw = _files_of(landed["viewing_sessions"], span)
    inputs = {"raw_viewing_sessions": raw, "raw_erasures": flatten(landed["erasures"])}
    return [lake.derive_one("erased_viewers", inputs)]


def _monthly_outcomes(
    lake: Lake,
    landed: Landed,
    policy: Policy,
    months: Sequence[InclusiveRange],
    erased_in: Callable[[InclusiveRange], list[Stored]],
) -> list[Stored]:
    """The sums of some months, a file each."""

    def outcomes(month: InclusiveRange) -> list[Stored]:
        return flatten(_judged_sessions(lake, landed, policy, month, frozenset())[0])

    def made(month: InclusiveRange) -> Stored:
        touched = _months(month.widened(policy.revision_days).select(landed["viewing_sessions"]))
        erased = [file for each in touched for file in erased_in(each)]
        return _sums(lake, landed, policy, "monthly_outcomes", month, erased, partial(outcomes, month))

    return [landed.sum_of("monthly_outcomes", policy, month, partial(made, month)) for month in months]


def _sums(
    lake: Lake,
    landed: Landed,
    policy: Policy,
    model: str,
    span: InclusiveRange,
    erased: Sequence[Stored],
    parts: Callable[[], Sequence[Stored]],
) -> Stored:
    """The sums of a month or of a year, found by what landed within reach of it; `parts` are what it is built of."""
    # safeguard: sum-of-a-month-holds-its-reach
    raw = _files_of(landed["viewing_sessions"], span.widened(policy.revision_days))
    source = models.model(model).sources[0]
    # safeguard: sum-of-a-month-holds-who-is-erased
    return lake.derive_one(
        model,
        {"raw_viewing_sessions": raw, "erased_viewers": erased},
        relations={"days": days_relation([span.first_day])},
        params=_params(policy) | {"revision_days": policy.revision_days},
        sources=lambda: {source: parts()},
    )


def _files_of(days: Parts, span: InclusiveRange) -> list[Stored]:
    return [file for day in span.select(days) for file in days[day]]


def _months(days: Iterable[date]) -> list[InclusiveRange]:
    """The months in which the days lie, in their order."""
    named = dict.fromkeys((day.year, day.month) for day in days)
    return [InclusiveRange(first, _last_of_month(first)) for first in (date(year, month, 1) for year, month in named)]


def _last_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def _judged_sessions(
    lake: Lake, landed: Landed, policy: Policy, span: InclusiveRange, counted: Collection[date]
) -> tuple[Parts, Parts]:
    """(session_outcomes of the days of a span, viewer_days of those that are `counted`).

    Versions of their sessions lie within reach of them, and decide only with all that lies within reach of those: so
    that a file of a day is the same one, whichever span asks for it.
    """
    days = landed["viewing_sessions"]
    reach = policy.revision_days
    parts = {day: parts_of(days[day]) for day in span.widened(2 * reach).select(days)}
    erased = _erased_viewers(lake, landed, span.widened(reach))
    repeated = _repeated_sessions(lake, parts, erased, span, reach)
    return _outcomes_and_viewer_days(lake, parts, erased, repeated, policy, span, counted)


@dataclass(frozen=True)
class Repeated:
    """The sessions with more than one record, in any file."""

    versions: Parts  # of each part of a day, in the order of the parts; of days that have any
    judged: Days  # of those days: which of their versions are the newest


def _erased_viewers(lake: Lake, landed: Landed, span: InclusiveRange) -> Days:
    """Who of a day is to be erased, for every day of a span; nothing where no erasure has landed."""
    erasures = flatten(landed["erasures"])
    if not erasures:
        return {}
    days = landed["viewing_sessions"]
    steps = [
        Step(day, {"raw_viewing_sessions": days[day], "raw_erasures": erasures}, weight=rows_of(days[day]))
        for day in span.select(days)
    ]
    return by_day(lake.derive("erased_viewers", steps))


def _repeated_sessions(
    lake: Lake, parts: Mapping[date, Sequence[Sequence[Stored]]], erased: Days, span: InclusiveRange, revision_days: int
) -> Repeated:
    """Find them and decide between their records: what one day holds of another is read only where it says so.

    A day rests on the `revision_days` before and after it, and on no others.
    """
    days, within_reach = list(parts), span.widened(revision_days)
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
        if day < within_reach.first_day:
            continue
        # safeguard: versions-as-far-as-they-reach
        earlier = [file for other in _days_before(day, revision_days) for file in keys.get(other, ())]
        inputs = {"session_keys": keys[day], "earlier_session_keys": earlier}
        steps.append(Step(day, inputs, params={"revision_days": revision_days}, weight=rows_of(keys[day])))

    # By day, the files that mention it, and the days that share a session with it.
    mentioning: dict[date, list[Stored]] = defaultdict(list)
    linked: dict[date, set[date]] = defaultdict(set)
    for day, stored in by_day(lake.derive("session_repeats", steps)).items():
        if stored.rows:
            earlier_days = lake.table(stored)["earlier_day"].unique().to_pylist()
            for other in {day, *earlier_days}:
                mentioning[other].append(stored)  # of days beyond reach not by all that do: they are not looked at
                linked[other].add(day)
            linked[day].update(earlier_days)

    mentioned = [day for day in sorted(mentioning) if day in within_reach]
    steps = [
        Step(day, {"session_keys": [part], "session_repeats": mentioning[day]}, weight=part.rows)
        for day in mentioned
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
        for day in mentioned
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
        for day in mentioned
        if day in span
    ]
    return Repeated(versions, by_day(lake.derive("session_versions", steps)))


def _outcomes_and_viewer_days(
    lake: Lake,
    parts: Mapping[date, Sequence[Sequence[Stored]]],
    erased: Days,
    repeated: Repeated,
    policy: Policy,
    span: InclusiveRange,
    counted: Collection[date],
) -> tuple[Parts, Parts]:
    zone = ZoneInfo(policy.day_timezone)
    params = _params(policy)
    steps = []
    for day in span.select(parts):
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


def _params(policy: Policy) -> dict[str, object]:
    return {
        "min_watched_milliseconds": policy.min_watched_seconds * 1000,
        "max_session_milliseconds": policy.max_session_hours * 3_600_000,
        "leave_out_own_views": policy.leave_out_own_views,
    }


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


def flatten(parts: Parts) -> list[Stored]:
    return [file for files in parts.values() for file in files]


def by_day(files: Mapping[date | None, Stored]) -> Days:
    return {day: stored for day, stored in files.items() if day is not None}


def rows_of(files: Iterable[Stored]) -> int:
    return sum(stored.rows for stored in files)


def _calendar_relation(utc_day: date, policy: Policy, zone: ZoneInfo) -> pa.Table:
    reached = calendar_days.days_reached(utc_day, timedelta(hours=policy.max_session_hours), zone)
    return pa.Table.from_pylist([vars(day) for day in reached], schema=RELATIONS["calendar"])
