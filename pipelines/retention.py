"""How long sessions are kept in raw (MOSTWATCHED_KEEP_DAYS), and what can no longer be answered once they are gone.

A day of sessions that is too old goes from every raw folder that holds it. The folders stay, with their books: what
landed is not read again, and what was removed is still accounted for, as `expired`. A version of a session that also
has one on a day that stays is left where it is: without it an outdated version could count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from pipelines import build, snapshots
from pipelines.engines import duckdb as engine
from pipelines.errors import UsageError
from pipelines.raw import RawFile
from pipelines.redaction import SESSIONS, whole
from pipelines.settings import Policy, Settings


@dataclass(frozen=True)
class Expiring:
    """Of one raw folder, the days of which something goes, and how many records that is."""

    raw: RawFile
    records: dict[date, int]


def first_day_kept(settings: Settings) -> date | None:
    """The first UTC day of sessions that is kept, by the newest snapshot; None: all are.

    An as_of that lies after the newest session, by mistake or for want of deliveries, makes no session older.
    """
    published = snapshots.listed(settings.snapshots)
    if not settings.keep_days or not published:
        return None
    newest = published[-1]
    said = newest.manifest["freshness"]["newest_session_at"]
    first_without = date.fromisoformat(said[:10]) + timedelta(days=1) if said else newest.as_of
    return min(newest.as_of, first_without) - timedelta(days=settings.keep_days)


def expiring(settings: Settings, raw: Iterable[RawFile], first_kept: date) -> tuple[list[Expiring], pa.Table]:
    """(what goes, the sessions of those days that stay because a later day holds another version of them).

    Raises Damaged for a file of sessions that is not what was written.
    """
    folders = [each for each in raw if each.entity == SESSIONS]
    files = {str(each.path(name)): (each, date.fromisoformat(name)) for each in folders for name in each.files}
    old = [path for path, (_, day) in files.items() if day < first_kept]
    if not old:
        return [], _NO_SESSIONS
    with closing(engine.connect(settings.memory_limit, settings.threads, settings.lake / ".tmp-retention")) as at:
        engine.register(at, "old", [_whole(files, path) for path in old], with_filename=True)
        if later := [path for path in files if path not in set(old)]:
            engine.register(at, "later", [_whole(files, path) for path in later])
        else:
            engine.register(at, "later", _NO_SESSIONS)
        kept = engine.query(at, _KEPT).cast(_NO_SESSIONS.schema)
        engine.register(at, "kept", kept)
        rows = engine.query(at, _GOING).to_pylist()
    found: dict[str, Expiring] = {}
    for row in rows:
        each, day = files[row["filename"]]
        found.setdefault(str(each.folder), Expiring(each, {})).records[day] = row["records"]
    return list(found.values()), kept


def _whole(files: dict[str, tuple[RawFile, date]], path: str) -> Path:
    each, day = files[path]
    return whole(each, day.isoformat())


_NO_SESSIONS = pa.schema([("source", pa.string()), ("session_id", pa.string())]).empty_table()
_KEPT = """
    select distinct source, session_id
    from old
    semi join later on old.source = later.source and old.session_id = later.session_id
"""
_GOING = """
    select filename, count(*) as records
    from old
    anti join kept on old.source = kept.source and old.session_id = kept.session_id
    group by filename
"""


def expired_days(raw: Iterable[RawFile]) -> Iterator[date]:
    """The UTC days of which sessions were removed."""
    for each in raw:
        yield from (date.fromisoformat(name) for name in each.expired)


def require_days(raw: Sequence[RawFile], policy: Policy, as_of: date) -> None:
    """Raise UsageError for an as_of that rests on days whose sessions were removed: never a smaller number instead."""
    last = max(expired_days(raw), default=None)
    if last is None:
        return
    first = build.first_day_rested_on(as_of, policy)
    if first <= last:
        possible = as_of + (last - first) + timedelta(days=1)
        raise UsageError(
            f"A snapshot as of {as_of} rests on the sessions from {first} on, and those up to {last} were removed "
            f"(MOSTWATCHED_KEEP_DAYS). The first as_of that can be worked out is {possible}; to have an earlier one, "
            "read everything that landed into another home."
        )
