"""Publishing gates: reasons to refuse a snapshot because of what landed, shared by `run` and `status`.

And the warnings that do not refuse one.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.core.settings import Settings
from pipelines.raw.erasure_register import Register
from pipelines.raw.index import RawFile, describe_unreadable, resolve_landed, suggest_mapping

DAYS_COMPARED = 7  # before a day, to tell whether it is complete


def unreadable_files(
    raw: Iterable[RawFile], seen_before: AbstractSet[str], replaced: AbstractSet[str]
) -> Iterator[str]:
    """Yield sentences for each new file that cannot be read, or not as a whole: any number of records may be missing.

    New are those whose keys are not among `seen_before`, which the current snapshot rested on, nor among `replaced`: by
    the names of those something else has landed.
    """
    # safeguard: gate-of-unreadable-files
    found = [each for each in raw if each.unreadable and each.key not in seen_before and each.key not in replaced]
    for each in found[:MAX_UNREADABLE_NAMED]:
        yield describe_unreadable(each)
    if len(found) > MAX_UNREADABLE_NAMED:
        yield f"{len(found) - MAX_UNREADABLE_NAMED:,} more files cannot be read: see `mostwatched rejects`."


MAX_UNREADABLE_NAMED = 5  # with all that is to be said of each; a folder of a wrong kind has thousands


def too_many_rejects(settings: Settings, raw: Iterable[RawFile], seen_before: AbstractSet[str]) -> Iterator[str]:
    """Yield a sentence for each entity with too many rejected records.

    Judged are the files that newly landed: those whose keys are not among `seen_before`, which the current snapshot
    rested on.
    """
    records: dict[str, int] = defaultdict(int)
    rejected: dict[str, int] = defaultdict(int)
    raw = list(raw)
    for file in raw:
        if file.key not in seen_before and not file.unreadable:  # which is a ground of its own
            records[file.entity] += file.records
            rejected[file.entity] += file.rejected
    for entity, count in rejected.items():
        if count > settings.max_rejected_share * records[entity]:  # safeguard: gate-of-rejected-records
            new = [file for file in raw if file.entity == entity and file.key not in seen_before]
            refusal = (
                f"{count} of {records[entity]} newly landed records of {entity} were rejected: "
                f"{100 * count / records[entity]:.3g} %, limit {100 * float(settings.max_rejected_share):.3g} % "
                "(MOSTWATCHED_MAX_REJECTED_SHARE). See `mostwatched rejects`, then land them corrected, or publish "
                "without them with --accept-rejects."
            )
            yield " ".join([refusal, *suggest_mapping(new)])


def missing_inputs(landed: Iterable[Mapping[str, Any]], raw: Iterable[RawFile], register: Register) -> Iterator[str]:
    """Yield a sentence if files that had `landed` for the newest snapshot are no longer in the lake.

    The lake is the union of all that ever landed: fewer records are no news, but a loss. But for the `register`ed, who
    were forgotten: a landed file may have become another without them.
    """
    _, gone = resolve_landed(raw, landed, register)
    if gone:
        yield (
            f"{len(gone)} landed files that the last snapshot rests on are neither in the lake nor in the landing "
            f"folder, such as {gone[0]}: land them again. (To begin anew, move snapshots/ away.)"
        )


def probably_incomplete(sessions: Mapping[date, int], day: date, first_landed: date | None) -> str | None:
    """Say why a day is probably incomplete, in half a sentence: under half the median of the seven days before it.

    None where it is not, and where there are no seven days before it: nothing had landed yet. `first_landed` is the
    first UTC day of which sessions landed.
    """
    week = [sessions.get(day - timedelta(days=back), 0) for back in range(1, DAYS_COMPARED + 1)]
    # A UTC day is a day of the zone, or of the one before or after.
    had_begun = bool(week[-1]) or (first_landed is not None and first_landed < day - timedelta(days=DAYS_COMPARED))
    median = statistics.median(week)
    if had_begun and sessions.get(day, 0) * 2 < median:
        count = sessions.get(day, 0)
        return f"{count} session{'s' * (count != 1)}, under half the median of the seven days before it ({median:g})"
    return None


def incomplete_last_day(sessions: Mapping[date, int], as_of: date, first_landed: date | None) -> Iterator[str]:
    """Yield a sentence if the last day before as_of is probably incomplete."""
    last_day = as_of - timedelta(days=1)
    if why := probably_incomplete(sessions, last_day, first_landed):
        yield (
            f"{last_day} has {why}: it is probably not all there. Land the rest, or publish as it is with "
            "--allow-incomplete."
        )


def first_day_landed(raw: Iterable[RawFile]) -> date | None:
    """The first UTC day of which sessions landed, kept or not; None before the first."""
    days = [day for file in raw if file.entity == "viewing_sessions" for day in (*file.files, *file.removed_days)]
    return date.fromisoformat(min(days)) if days else None


def days_without_sessions(newest_session: datetime | None, as_of: date, zone: ZoneInfo) -> Iterator[str]:
    """Yield a sentence if no session starts on the last days before as_of.

    It refuses nothing. What refuses the first nights of an outage does not refuse later ones: most of the seven days
    that the last one is compared with are then empty as well.
    """
    if newest_session is None:
        return
    try:
        first = newest_session.astimezone(zone).date() + timedelta(days=1)
    except OverflowError:  # the last day of the calendar
        return
    if first < as_of:
        yield (
            f"No session starts from {first} on, up to {as_of}: land what is missing and run again. A snapshot of a "
            "day that was asked for by mistake goes with `mostwatched snapshots remove`."
        )
