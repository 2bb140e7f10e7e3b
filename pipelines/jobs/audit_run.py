"""Audit the current snapshot, and publish the outcome: for `status`, reports, metrics and notifications."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from pipelines.core import calendar_days, logs
from pipelines.core.errors import Damaged, NoSnapshot
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Settings
from pipelines.core.termination import Terminated, interrupts_restored, reason
from pipelines.core.text import printable
from pipelines.jobs import last_audit, metrics, notify
from pipelines.jobs.last_audit import DIFFERS, FAILED, PASSED, LastAudit
from pipelines.snapshots import manifest
from pipelines.snapshots.audit import RANGES, Audit, Difference, audit


def audit_current(
    settings: Settings, ranges: int = RANGES, seed: str | None = None, *, progress: Progress = no_progress
) -> Audit:
    """See `audit.audit`. The outcome is recorded; hooks are called if it did not pass, and when one passes again."""
    snapshot_id = None
    try:
        snapshot = manifest.open_current(settings.snapshots)
        snapshot_id = snapshot.id
        with snapshot.being_read(), interrupts_restored():
            done = audit(settings, snapshot, ranges, seed, progress=progress)
    except NoSnapshot:
        raise
    except (Exception, Terminated) as error:
        _write_outcome(settings, snapshot_id, FAILED, 0, reason(error))
        raise
    _write_outcome(
        settings, snapshot_id, DIFFERS if done.differing else PASSED, done.differing, first_of(done.differences)
    )
    return done


def first_of(differences: Sequence[Difference]) -> str | None:
    """The first difference in words; None where there is none."""
    if not differences:
        return None
    one = differences[0]
    where = f" in {one.days}" if one.days else ""
    return (
        f"{one.table}: {printable(one.key)} has {one.column} {one.published}{where}, but {one.counted_again} when "
        "counted again from raw."
    )


def _write_outcome(settings: Settings, snapshot_id: str | None, outcome: str, differing: int, why: str | None) -> None:
    before = None
    with suppress(Damaged):
        before = last_audit.read(settings.lake)
    now = calendar_days.rfc3339(datetime.now(UTC))
    record = LastAudit(snapshot_id, now, outcome, differing, why)
    if outcome == PASSED:
        record = replace(record, passed_at=now, passed_snapshot_id=snapshot_id)
    elif before:
        record = replace(record, passed_at=before.passed_at, passed_snapshot_id=before.passed_snapshot_id)
    measured = metrics.audit_text(settings, record)
    try:
        last_audit.write(settings.lake, record)
        metrics.write(settings, metrics.audit_path(settings.metrics), measured)
    except OSError as error:
        logs.run_log.warning("how the audit went could not be written: %s: %s", error.filename, error.strerror)
    metrics.push(settings, metrics.AUDIT, measured)
    if notify.is_wanted(settings):
        notify.send(settings, notify.audit_events(record, before))
