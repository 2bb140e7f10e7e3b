"""Retention: how long sessions stay in raw (MOSTWATCHED_KEEP_DAYS), and which as_of can be run after that.

A day of sessions that is too old goes from every raw folder that holds it. The folders stay, with their counts: what
landed is not read again, and what was removed is still counted, as `expired`. No day goes that the current or any
other snapshot rests on, nor one so near before it that it may hold a newer version of a session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.core.errors import UsageError
from pipelines.core.settings import Policy, Settings
from pipelines.jobs.redaction import SESSIONS
from pipelines.lake import plan
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder
from pipelines.snapshots import manifest


@dataclass(frozen=True)
class Expiring:
    """The days of one raw folder that are removed, and how many records they hold."""

    folder: RawFolder
    records: dict[date, int]


def first_day_kept(settings: Settings, without: Collection[str] = ()) -> date | None:
    """The first UTC day of sessions that is kept; None: all are. `without` names snapshots that are going to go.

    That of MOSTWATCHED_KEEP_DAYS before the newest snapshot, or the first one that any snapshot needs if that is
    earlier. An as_of that lies after the newest session, by mistake or for want of deliveries, makes no session older.
    Raises Damaged where the current snapshot does not say what it rests on.
    """
    if not settings.keep_days or (pointer := manifest.current(settings.snapshots)) is None:
        return None
    current = manifest.open_snapshot(settings.snapshots, pointer.snapshot_id, pointer.manifest_sha256)
    published = [each for each in manifest.listed(settings.snapshots) if each.id not in without]
    newest = max([*published, current], key=manifest.age)
    said = newest.manifest["freshness"]["newest_session_at"]
    first_without = date.fromisoformat(said[:10]) + timedelta(days=1) if said else newest.as_of
    kept = timedelta(days=settings.keep_days + settings.policy.revision_days)
    first = min(newest.as_of, first_without) - kept
    policies = ((each.as_of, Policy.from_json(each.manifest["policy"])) for each in (*published, current))
    return min([first, *(first_day_needed(as_of, policy) for as_of, policy in policies)])


def first_day_needed(as_of: date, policy: Policy) -> date:
    """The first UTC day of sessions that a snapshot needs: what it rests on, and newer versions of that."""
    return plan.input_days(as_of, policy).first_day  # safeguard: days-of-newer-versions-kept


def expiring(raw: Iterable[RawFile], first_kept: date) -> list[Expiring]:
    """Return the days to remove, when that is the first day that is kept."""
    found = []
    for each in folders_of(raw):
        days = {date.fromisoformat(name): facts.rows for name, facts in each.files.items() if name < str(first_kept)}
        if each.entity == SESSIONS and days:
            found.append(Expiring(each, days))
    return found


def require_days(raw: Sequence[RawFile], policy: Policy, as_of: date) -> None:
    """Raise UsageError for an as_of that rests on days whose sessions were removed: never another number instead.

    Earlier versions removed days up to the first one rested on, but left there what had a version on a later day.
    """
    removed = {name for each in by_folder(raw) for name in each.removed}
    expired = {name for each in by_folder(raw) for name in each.expired}
    if not removed | expired:
        return
    first = first_day_needed(as_of, policy)
    first_counted = plan.first_input_day(as_of, policy)
    ranges = [(first, max(removed, default="0001-01-01")), (first_counted, max(expired, default="0001-01-01"))]
    last, first = max(((date.fromisoformat(last), first) for first, last in ranges), key=lambda days: days[0] - days[1])
    if first <= last:  # safeguard: removed-days-refused
        possible = as_of + (last - first) + timedelta(days=1)
        raise UsageError(
            f"A snapshot as of {as_of} rests on the sessions from {first} on, and those up to {last} were removed "
            f"(MOSTWATCHED_KEEP_DAYS). The first as_of that can be worked out is {possible}; to have an earlier one, "
            "read everything that landed into another home."
        )
