"""Whether newly landed sessions lack what sessions had before: a viewer, an end, or any difference between them.

Counted are rows of raw: those of the files that the current snapshot does not rest on, beside those of the days before
as they landed. How many rows lack a field stands in the index of raw; what one value nearly all of them have is asked
of the new rows alone, and of those before only where it looks wrong.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, timedelta

from pipelines.core.text import counted, first_named
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFiles, RawFolder, divide_new
from pipelines.raw.unknown_fields import UnknownField, unknown_fields

LEAST_SESSIONS = 20  # of fewer, new or before, nothing is said
LEAST_FOR_HALF = 100  # for what is only weaker than before
DAYS_BEFORE = 28
DAYS_COMPARED = 14  # of those, the latest with sessions
LEAST_DAYS = 3  # with LEAST_SESSIONS each, to tell what is usual of one value
MOST_DAYS = 7  # that landed at once and are judged one by one, the latest
NEARLY_NONE = 0.05
NEARLY_ALL = 0.95
HALF_GONE = 0.6  # of the share before
HALF_ALIKE = 0.4  # of all new sessions, and four times what is usual; of people one is rarely a tenth
ONE_PERSON = 0.1

# What a session may lack, with the landed fields that say it, and the least share before for its loss to be told.
FIELDS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "person": (("viewerId", "deviceId"), 0.5),
    "viewer_id": (("viewerId",), 0.5),
    "ended_at": (("endedAt",), 0.5),
    "device_id": (("deviceId",), 0.9),
    "stream_id": (("streamId",), 0.9),
}
# What nearly all sessions may have, as (the column of) CountCommonest counts it.
SINGLE_VALUES = {
    "creator_id": "the same creatorId",
    "viewer_id": "the same viewerId",
    "started_at": "the same startedAt",
    "ended_at": "the same endedAt",
    "device_id": "the same deviceId",
    "stream_id": "the same streamId",
    "no_length": "an endedAt that is their startedAt",
}

# (sessions, for each of SINGLE_VALUES how many of them have the commonest) of some files of raw on some days
CountCommonest = Callable[[Sequence[RawFile], AbstractSet[str]], tuple[int, Mapping[str, int]]]


@dataclass
class Signals:
    """What is wrong with new sessions, in sentences."""

    unread: list[str] = field(default_factory=list)  # a field of another name holds it: records are lost
    gone: list[str] = field(default_factory=list)  # nearly all lack it
    weaker: list[str] = field(default_factory=list)  # many more than before lack it
    unknown: list[UnknownField] = field(default_factory=list)  # of all new records
    new: list[RawFile] = field(default_factory=list)  # the files of every entity that were judged

    @property
    def refusals(self) -> list[str]:
        """Why what is gone refuses, and what to do."""
        return [f"{sentence}. {_LAND}" for sentence in self.gone]


def find_signals(
    raw: Sequence[RawFile], seen_before: AbstractSet[str], count_commonest: CountCommonest | None = None
) -> Signals:
    """Judge the files of sessions whose keys are not among `seen_before`, beside the others."""
    all_new, others = divide_new(raw, seen_before)
    unknown = unknown_fields(all_new)
    found = Signals(unknown=unknown, new=all_new)
    new = [file for file in all_new if file.entity == "viewing_sessions"]
    old = RawFiles([folder for folder in others.folders if folder.entity == "viewing_sessions"])
    rows_on = _rows_by_day(new)
    if sum(rows_on.values()) < LEAST_SESSIONS:
        return found
    # The last day of some sessions: of many devices one has a clock that is years ahead.
    last = max(rows_on, key=lambda day: (min(rows_on[day], LEAST_SESSIONS), day))
    days_before = _days_before(old.folders, last)
    rows_before, before = _shares(old.folders, days_before)
    if rows_before < LEAST_SESSIONS:
        before = {}
    where = f"in {first_named(sorted(file.landed_name for file in new))}"
    if before:  # days that lie longer before are compared with none that lie after them
        first = _first_before(last)
        rows_on = {day: rows for day, rows in rows_on.items() if day >= first}
    parts: list[tuple[AbstractSet[str], str]] = [(rows_on.keys(), where)]
    if before:
        # safeguard: signals-judged-day-by-day
        parts += [({day}, f"of {day}, {where}") for day in _whole_days(rows_on, old.folders)]
    said: set[str] = set()  # what is true of all is not said of each day again
    for days, whose in parts:
        _find_lacking(new, days, before, unknown, whose, found, said)
    if count_commonest is not None:
        _find_one_for_all(new, old, parts, days_before, count_commonest, found)
    return found


def _find_lacking(
    new: Sequence[RawFile],
    days: AbstractSet[str],
    before: Mapping[str, float],
    unknown: Sequence[UnknownField],
    whose: str,
    found: Signals,
    said: set[str],
) -> None:
    """Add to `found` what the new sessions of some days lack, beside the shares of those before that had it."""
    rows, shares = _shares(new, days)
    if rows < LEAST_SESSIONS:
        return
    for name, (fields, least_before) in FIELDS.items():
        if name in said or (name in ("viewer_id", "device_id") and "person" in said):
            continue
        lacking = f"{_lacking(rows - round(rows * shares[name]), rows)} {_neither(fields)}, {whose}"
        was = before.get(name)
        other = _read_elsewhere(unknown, fields, rows) if shares[name] <= NEARLY_NONE else None
        if other is not None and name in ("person", "viewer_id", "ended_at"):
            said.add(name)
            found.unread.append(
                f"{lacking}, but {other.records:,} records have {other.field}, which the contract does not know and "
                f"which resembles {other.resembles}. Have it exported as {other.resembles}, or say in mostwatched.toml "
                f'under [viewing_sessions]: rename = {{ {_key(other.field)} = "{other.resembles}" }}; or publish '
                "without it with --accept-rejects."
            )
        elif was is None and name == "person" and shares[name] <= NEARLY_NONE:
            said.add(name)
            found.gone.append(f"{lacking}: nobody would be counted")
        elif was is not None and was >= least_before and shares[name] <= was / 10:
            said.add(name)
            found.gone.append(f"{lacking}; on the days before {was:.0%} had it")
        elif was is not None and was >= least_before and rows >= LEAST_FOR_HALF and shares[name] <= HALF_GONE * was:
            said.add(name)
            found.weaker.append(f"{lacking}; on the days before {was:.0%} had it")


def of_single_writers(new: Sequence[RawFile]) -> Iterator[str]:
    """Yield a sentence for each field of another name that holds what all sessions of some new files lack.

    Beside the files of other writers it is too little to refuse; of its own writer everything is lost.
    """
    found: dict[tuple[str, str], list[RawFile]] = defaultdict(list)
    for file in new:
        if file.entity != "viewing_sessions" or not file.unknown_fields or not file.accepted:
            continue
        rows, shares = _shares([file], file.files.keys())
        unknown = unknown_fields([file])
        for column in ("viewer_id", "ended_at", "device_id"):
            other = _read_elsewhere(unknown, FIELDS[column][0], rows) if shares.get(column) == 0 else None
            if other is not None and other.resembles is not None:
                found[other.field, other.resembles].append(file)
    for (name, resembles), files in found.items():
        sessions = counted(sum(file.accepted for file in files), "session")
        yield (
            f"{sessions} in {first_named(sorted(file.landed_name for file in files))} have no {resembles}, but {name}, "
            f"which the contract does not know: have it exported as {resembles}, or say in mostwatched.toml under "
            f'[viewing_sessions]: rename = {{ {_key(name)} = "{resembles}" }}.'
        )


def _rows_by_day(files: Sequence[RawFile | RawFolder]) -> dict[str, int]:
    rows: dict[str, int] = defaultdict(int)
    for file in files:
        for name, written in file.files.items():
            if written.missing is not None:
                rows[name] += written.rows
    return rows


def _whole_days(rows_on: Mapping[str, int], old: Sequence[RawFolder]) -> list[str]:
    """The latest days that are new, where several landed at once: each has enough sessions, and most of them are new.

    Beside days that are all right one without viewers would only be a third of the new sessions.
    """
    rows_before = _rows_by_day([folder for folder in old if not rows_on.keys().isdisjoint(folder.files)])
    days = [day for day, rows in rows_on.items() if rows >= LEAST_SESSIONS and rows > rows_before.get(day, 0)]
    return sorted(days)[-MOST_DAYS:] if len(rows_on) > 1 else []


_LAND = "Land them whole, or publish as it is with --allow-incomplete."


def _lacking(count: int, of: int) -> str:
    return f"{count:,} of {of:,} newly landed sessions have"


def _neither(fields: Sequence[str]) -> str:
    return f"no {fields[0]}" if len(fields) == 1 else f"neither {' nor '.join(fields)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _shares(files: Sequence[RawFile | RawFolder], days: AbstractSet[str]) -> tuple[int, dict[str, float]]:
    """(the rows of some files on some days, which share of them has each of FIELDS), of files where that was noted."""
    rows = 0
    missing: dict[str, int] = defaultdict(int)
    for file in files:
        for name, written in file.files.items():
            if name in days and written.missing is not None:
                rows += written.rows
                for column, count in written.missing.items():
                    missing[column] += count
    return rows, {name: 1 - missing[name] / rows for name in FIELDS} if rows else {}


def _days_before(files: Sequence[RawFolder], last: str) -> set[str]:
    """The latest days with sessions among those before a day, or that day."""
    first = _first_before(last)
    days = {name for file in files for name in file.files if first <= name <= last}
    return set(sorted(days)[-DAYS_COMPARED:])


def _first_before(last: str) -> str:
    return (date.fromisoformat(last) - timedelta(days=DAYS_BEFORE)).isoformat() if last > "0002" else last


def _read_elsewhere(unknown: Sequence[UnknownField], fields: Sequence[str], rows: int) -> UnknownField | None:
    """The unknown field that most of the rows have in place of one of `fields`.

    Where it is to be an id its name must say so: `client` or `member` may well be something else.
    """
    likely = [
        one
        for one in unknown
        if one.entity == "viewing_sessions"
        and one.resembles in fields
        and one.records * 2 >= rows
        and (one.resembles == "endedAt" or _IS_ID.search(one.field))
    ]
    return max(likely, key=lambda one: one.records, default=None)


_IS_ID = re.compile(r"id|key|viewer|user", re.IGNORECASE)


def _find_one_for_all(
    new: Sequence[RawFile],
    old: RawFiles,
    parts: Sequence[tuple[AbstractSet[str], str]],
    days_before: AbstractSet[str],
    count_commonest: CountCommonest,
    found: Signals,
) -> None:
    """Add to `found` what nearly all new sessions have in common, or many more than those before had.

    `parts` are days, and whose sessions those are in a sentence.
    """
    rows_before: dict[str, int] = defaultdict(int)
    for folder in old.folders:
        for name in folder.files.keys() & days_before:
            rows_before[name] += folder.files[name].rows
    judged = sorted(name for name, rows in rows_before.items() if rows >= LEAST_SESSIONS)[-7:]
    if len(judged) < LEAST_DAYS:
        return
    daily: list[tuple[int, Mapping[str, int]]] = []
    gone: dict[str, str] = {}
    weaker: dict[str, str] = {}
    for days, whose in parts:
        rows, counts = count_commonest(new, days)
        suspects = [
            column
            for column, count in counts.items()
            if count >= (ONE_PERSON if column in ("viewer_id", "device_id") else HALF_ALIKE) * rows
            and (count >= NEARLY_ALL * rows or rows >= LEAST_FOR_HALF)
            and column not in gone
        ]
        if not suspects or rows < LEAST_SESSIONS:
            continue
        daily = daily or [count_commonest(old, {name}) for name in judged]
        for column in suspects:
            usual = statistics.median(each[column] / max(1, of) for of, each in daily)
            is_gone = counts[column] >= NEARLY_ALL * rows and usual <= 0.5
            if is_gone or counts[column] >= 4 * usual * rows:
                (gone if is_gone else weaker).setdefault(
                    column,
                    f"{counts[column]:,} of {rows:,} newly landed sessions have {SINGLE_VALUES[column]}, {whose}; "
                    f"on the days before that was so of {usual:.0%}",
                )
    found.gone += gone.values()
    found.weaker += (sentence for column, sentence in weaker.items() if column not in gone)
