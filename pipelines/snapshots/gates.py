"""Publishing gates: reasons to refuse a snapshot because of what landed, shared by `run` and `status`."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from pipelines.core.settings import Settings
from pipelines.core.text import counted, first_named
from pipelines.landing.schema import RECORDS, landed_fields
from pipelines.raw.erasure_register import Register
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import by_folder, divide_new, keys_of
from pipelines.raw.readings import resolve_landed
from pipelines.raw.rejected_records import describe_unreadable, suggest_mapping
from pipelines.snapshots.changed_days import ShrunkDay

# Of 573 real nights (bicycle trips, flights, the sample) they refuse 4 wrongly, all storms, and catch 98 % of the last
# days that are cut to 40 %: tests/spec/test_last_day.py prints the figures.
WEEKS_COMPARED = 8
LEAST_WEEKS = 3
MOST_GROWTH = 2.0
SMALL_DAY = 25  # sessions: of fewer, half is nothing unusual
SMALL_SPREADS = 3.0
_OF_NORMAL_NOISE = 1.2533  # standard deviations in one mean distance from the median


def unreadable_files(
    raw: Iterable[RawFile], seen_before: AbstractSet[str], replaced: AbstractSet[str]
) -> Iterator[str]:
    """Yield sentences for each new file that cannot be read, or not as a whole: any number of records may be missing.

    New are those whose keys are not among `seen_before`, which the current snapshot rested on, nor among `replaced`: by
    the names of those something else has landed.
    """
    apart = (each for folder in by_folder(raw) if folder.has_unreadable for each in folder.landed)
    # safeguard: gate-of-unreadable-files
    found = [each for each in apart if each.unreadable and each.key not in seen_before and each.key not in replaced]
    found.sort(key=lambda each: (each.entity, each.key))
    for each in found[:MAX_UNREADABLE_NAMED]:
        yield describe_unreadable(each)
    if len(found) > MAX_UNREADABLE_NAMED:
        yield f"{len(found) - MAX_UNREADABLE_NAMED:,} more files cannot be read: see `mostwatched rejects`."


MAX_UNREADABLE_NAMED = 5  # with all that is to be said of each; a folder of a wrong kind has thousands


@dataclass(frozen=True)
class Lost:
    """The accepted records of an entity that are lost all the same, in the whole lake."""

    rejected_later: int = 0  # when it was known what they belong to: pledges in another currency than their stream's
    conflicting: int = 0  # put aside, as versions that nothing but their content tells from the one that counts

    @property
    def records(self) -> int:
        """All of them."""
        return self.rejected_later + self.conflicting

    def since(self, before: Lost) -> Lost:
        """Return those that are not among the ones of an earlier run."""
        return Lost(max(0, self.rejected_later - before.rejected_later), max(0, self.conflicting - before.conflicting))


OTHER_CURRENCY = "not the currency of the stream"  # why sql/tables/rejected_pledges.sql rejects


def rejected_later(lost: Mapping[str, Lost]) -> dict[str, dict[str, int]]:
    """The records that were rejected after they had been accepted, by entity and reason."""
    return {entity: {OTHER_CURRENCY: each.rejected_later} for entity, each in lost.items() if each.rejected_later}


def count_records(raw: Iterable[RawFile], lost: Mapping[str, Lost]) -> dict[str, int]:
    """The records of the lake, accepted and rejected: what was rejected later is no longer accepted."""
    folders = list(by_folder(raw))
    later = sum(each.rejected_later for each in lost.values())
    return {
        "records": sum(folder.records for folder in folders),
        "accepted": sum(folder.accepted for folder in folders) - later,
        "rejected": sum(folder.rejected for folder in folders) + later,
    }


def too_many_lost(
    settings: Settings,
    raw: Iterable[RawFile],
    seen_before: AbstractSet[str],
    newly_lost: Mapping[str, Lost],
) -> Iterator[str]:
    """Yield a sentence for each entity of which too many records are lost: rejected, at once or later, or put aside.

    Judged are the files that newly landed, those whose keys are not among `seen_before`, which the current snapshot
    rested on; and what is lost beside what was lost then. Of records that had landed before each counts as a new one.
    """
    new: dict[str, list[RawFile]] = defaultdict(list)
    for file in divide_new(raw, seen_before)[0]:
        if not file.unreadable:  # which is a ground of its own
            new[file.entity].append(file)
    for entity in sorted(new.keys() | newly_lost.keys()):
        later = newly_lost.get(entity, Lost())
        records = sum(file.records for file in new[entity])
        rejected = sum(file.rejected for file in new[entity])
        count, of = rejected + later.records, max(records, later.records)
        limit = settings.max_rejected_share
        said_limit = f"limit {100 * float(limit):.3g} % (MOSTWATCHED_MAX_REJECTED_SHARE)"
        if entity == "erasures" and limit < 1:  # safeguard: no-erasure-is-lost
            limit, said_limit = Decimal(0), "and no erasure may be"
        if count > limit * of:  # safeguard: gate-of-rejected-records
            ways = {
                "rejected": rejected,
                "rejected later, as not of the currency of their stream": later.rejected_later,
                f"put aside, since {_another_version(entity)}": later.conflicting,
            }
            said = [(way, number) for way, number in ways.items() if number]
            how = said[0][0] if len(said) == 1 else "lost (" + ", ".join(f"{n} {way}" for way, n in said) + ")"
            whose = f"of {of} newly landed records of {entity}" if records else f"records of {entity}"
            refusal = (
                f"{count} {whose} were {how}: "
                f"{100 * count / of:.3g} %, {said_limit}{_landed_in(new[entity] or new['live_streams'])}. "
                f"{rejected_for(new[entity])}"
                + (
                    "See `mostwatched rejects`, then land them corrected"
                    if count > later.conflicting
                    else _own_ids(entity)
                )
                + ", or publish without them with --accept-rejects."
            )
            yield " ".join([refusal, *suggest_mapping(new[entity])])


def rejected_for(files: Iterable[RawFile]) -> str:
    """A sentence that says for what most records of some files were rejected; the empty text where none was."""
    reasons: Counter[str] = Counter()
    for each in files:
        reasons.update(each.rejected_by_reason)
    said = [f"{reason} ({count:,})" for reason, count in reasons.most_common(MAX_REASONS_NAMED)]
    more = len(reasons) - len(said)
    return f"Why: {'; '.join(said)}{f'; {more} more reasons' if more else ''}. " if said else ""


MAX_REASONS_NAMED = 2


def _landed_in(files: Iterable[RawFile]) -> str:
    files = list(files)
    with_rejects = [file for file in files if file.rejected] or files
    names = [file.landed_name for file in sorted(with_rejects, key=lambda file: (-file.rejected, file.landed_name))]
    return f", in {first_named(names)}" if names else ""


def _another_version(entity: str) -> str:
    """How two records come to contradict each other, by the names of the fields as they land."""
    key = ", ".join(field.name for field in landed_fields(entity) if field.column in RECORDS[entity].key)
    age = _age(entity)
    none = "" if age == "revision" else ", or none"
    return f"another record with other content has the same {key} and the same {age}{none}"


def _own_ids(entity: str) -> str:
    age = _age(entity)
    if age == "revision":
        return "Land them with ids of their own, or with a higher revision where they are corrections"
    return f"Have {age} exported, which says which of them is the newest, or land them with ids of their own"


def _age(entity: str) -> str:
    """The landed field that says which version is the newest."""
    columns = {field.column: field.name for field in landed_fields(entity)}
    return columns.get("revision") or columns.get("updated_at") or "version"


def missing_inputs(landed: Iterable[Mapping[str, Any]], raw: Iterable[RawFile], register: Register) -> Iterator[str]:
    """Yield a sentence if files that had `landed` for the newest snapshot are no longer in the lake.

    The lake is the union of all that ever landed: fewer records are no news, but a loss. But for the `register`ed, who
    were forgotten: a landed file may have become another without them.
    """
    landed = list(landed)
    there = frozenset(keys_of(raw)) if landed else frozenset()
    others = [file for file in landed if file["key"] not in there]  # which may be there by another key
    _, gone = resolve_landed(raw, others, register) if others else ([], [])
    if gone:
        yield (
            f"{len(gone)} landed files that the last snapshot rests on are neither in the lake nor in the landing "
            f"folder, such as {gone[0]}: land them again. (To begin anew, move snapshots/ away.)"
        )


def probably_incomplete(sessions: Mapping[date, int], day: date, first_landed: date | None) -> str | None:
    """Say why a day is probably incomplete, in half a sentence: under half of what a day of its weekday usually has.

    Usual is the median of that weekday of the eight weeks before, as far as `sessions` reaches: it holds 0 for a day
    without any. Where both days before had more than is usual for theirs, as on a platform that grows, so much more is
    usual for this one; a fall lowers nothing, or a feed that is cut off every night would soon be taken for complete.
    With fewer than three such days, and where most of the seven days before had sessions, it is the lowest of those.
    Of small numbers chance alone makes half, so these must lie outside of their own history as well.

    None where it is not, and where nothing can be said. `first_landed` is the first UTC day of which sessions landed.
    """
    count = sessions.get(day, 0)
    weekday = _weekday_before(sessions, day, first_landed)
    if len(weekday) >= LEAST_WEEKS:
        median = statistics.median(weekday)
        expected = median * _growth(sessions, day, first_landed)
        if count * 2 < expected and (
            expected >= SMALL_DAY or count < expected - SMALL_SPREADS * _usual_distance(sessions, day, first_landed)
        ):
            usual = f"the {expected:,.0f} that a {day:%A} usually has (the median of {len(weekday)}"
            return f"{counted(count, 'session')}, under half of {usual}{', and growing' * (expected > median)})"
        return None
    week = [sessions.get(day - timedelta(days=back), 0) for back in range(1, 8)]
    # A UTC day is a day of the zone, or of the one before or after.
    had_begun = bool(week[-1]) or (first_landed is not None and first_landed < day - timedelta(days=7))
    if had_begun and statistics.median(week):
        lowest_of_week = min(each for each in week if each)
        lowest = min(weekday or [lowest_of_week])  # 0 where the weekday is a day off
        if count * 2 < lowest and (lowest >= SMALL_DAY or count < lowest_of_week):
            return f"{counted(count, 'session')}, under half of the {lowest:,} of an earlier day like it"
    return None


def _weekday_before(sessions: Mapping[date, int], day: date, first_landed: date | None) -> list[int]:
    """The sessions of the same weekday of the weeks before, as far as they are known and something had landed."""
    days = [day - timedelta(weeks=weeks) for weeks in range(1, WEEKS_COMPARED + 1)]
    return [
        sessions[each]
        for each in days
        if each in sessions and (sessions[each] or (first_landed is not None and first_landed < each))
    ]


def _usual_distance(sessions: Mapping[date, int], day: date, first_landed: date | None) -> float:
    """How far days before usually lie from the median of their weekday, in standard deviations of normal noise."""
    by_weekday = [_weekday_before(sessions, day - timedelta(days=back), first_landed) for back in range(7)]
    distances = [abs(each - statistics.median(days)) for days in by_weekday if days for each in days]
    return _OF_NORMAL_NOISE * statistics.fmean(distances)


def _growth(sessions: Mapping[date, int], day: date, first_landed: date | None) -> float:
    """How many times what was usual both of the two days before a day had at least; 1 for any less."""
    times = []
    for back in (1, 2):
        before = day - timedelta(days=back)
        usual = statistics.median(_weekday_before(sessions, before, first_landed) or [0])
        times.append(sessions.get(before, 0) / usual if usual else 1.0)
    return min(max(min(times), 1.0), MOST_GROWTH)


def incomplete_last_day(sessions: Mapping[date, int], as_of: date, first_landed: date | None) -> Iterator[str]:
    """Yield a sentence if the last day before as_of is probably incomplete."""
    last_day = as_of - timedelta(days=1)
    if why := probably_incomplete(sessions, last_day, first_landed):
        yield (
            f"{last_day} has {why}: it is probably not all there. Land the rest, or publish as it is with "
            "--allow-incomplete."
        )


def shrunk(days: Iterable[ShrunkDay]) -> Iterator[str]:
    """Yield a sentence if days lost most of what they had in the last snapshot, and not on purpose."""
    found = [day for day in days if not day.is_deliberate]
    if sessions := [day for day in found if day.measure == "session"]:
        yield (
            f"{as_shrunk(sessions)}: {sessions[0].lost:,} of its records were "
            "put aside as conflicting versions (the same source, id and revision with other content, as when ids are "
            "given out again), or are no longer in the lake. Land them with ids of their own, or publish as it is "
            "with --allow-incomplete."
        )
    if others := [day for day in found if day.measure != "session"]:
        yield (
            f"{as_shrunk(others)}, though its sessions are there and no newer versions say so: what landed may be read "
            "by another mapping than before. Look at viewerId and endedAt in mostwatched.toml, or publish as it is "
            "with --allow-incomplete."
        )


def as_shrunk(days: Sequence[ShrunkDay]) -> str:
    """Return the beginning of a sentence about days that shrank."""
    first = days[0]
    return (
        f"{first.day} has {counted(first.now, first.measure)}, of {first.before:,} in the last snapshot"
        f"{f'; {len(days) - 1:,} more days shrank so' if days[1:] else ''}"
    )


def first_day_landed(raw: Iterable[RawFile]) -> date | None:
    """The first UTC day of which sessions landed, kept or not, and of another within a week; None before the first.

    A lone day long before, of a test or of 1970, is not when the platform began: the days in between are not missing,
    and not days on which usually nothing lands.
    """
    sessions = [folder for folder in by_folder(raw) if folder.entity == "viewing_sessions"]
    days = sorted(map(date.fromisoformat, {day for each in sessions for day in (*each.files, *each.removed_days)}))
    begun = (day for day, later in itertools.pairwise(days) if later - day <= timedelta(weeks=1))
    return next(begun, days[0] if days else None)  # safeguard: lone-day-is-no-beginning


def too_far_ahead(as_of: date, today: date) -> Iterator[str]:
    """Yield a sentence if an as_of is more than a day ahead of the day that it is for whoever starts the run."""
    if as_of - today > timedelta(days=1):  # safeguard: gate-of-the-future
        yield (
            f"{as_of} is {(as_of - today).days:,} days ahead: today is {today}, and once it is published no earlier "
            "as_of becomes current. Give the day of the night, or --allow-future. A snapshot that was published by "
            "mistake is taken back with `mostwatched snapshots remove ID`."
        )
