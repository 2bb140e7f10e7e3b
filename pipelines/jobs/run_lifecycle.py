"""What a run leaves behind and whom it tells, however it ends: its report, its metrics, its notifications, its log.

None of it can change how the run ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core import logs
from pipelines.core.errors import Busy, Damaged, RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.jobs import metrics, notify, report
from pipelines.jobs.last_run import LastRun, Recorder
from pipelines.jobs.report import Account
from pipelines.jobs.timings import Durations
from pipelines.snapshots import manifest

OnReport = Callable[[dict[str, Any]], None]  # called with the facts of every report


def nobody(facts: dict[str, Any]) -> None:
    """Tell nobody."""


@dataclass
class Told:
    """A run's stopwatch and account, and what it came to."""

    durations: Durations
    account: Account
    facts: dict[str, Any] | None = None
    page: Path | None = None
    before: LastRun | None = None  # the run before it
    error: BaseException | None = None  # that its facts tell of


def beginning(settings: Settings, as_of: date) -> Told:
    """The account of a run that begins now."""
    durations = Durations()
    return Told(durations, Account(settings, as_of, durations))


@contextmanager
def of_the_end(settings: Settings, as_of: date, on_report: OnReport) -> Iterator[Told]:
    """Around a whole run, its lock too: whom to tell once it has ended. A busy home is another run's.

    Wrong usage is told of like any failure: at night it is a landing folder that is not mounted.
    """
    told = beginning(settings, as_of)
    logs.night.info("run began", extra={"as_of": str(as_of), "home": str(settings.home)})
    try:
        yield told
    except Busy:
        raise
    except Exception as error:
        _tell(settings, told, error, on_report)
        raise
    else:
        _tell(settings, told, None, on_report)


@contextmanager
def of_what_it_leaves(settings: Settings, told: Told, record: Recorder | None) -> Iterator[Account]:
    """Around the work of a run, inside the lock: when it ends, its report is written, and its metrics.

    Without a `record` it is a night of a backfill, of which the metrics and whoever is on duty learn nothing.
    """
    error: BaseException | None = None
    try:
        yield told.account
    except BaseException as raised:
        error = raised
        raise
    finally:
        _leave(settings, told, record, error)


def _leave(settings: Settings, told: Told, record: Recorder | None, error: BaseException | None) -> None:
    told.error = error
    with _never_in_the_way("the report", error):
        told.account.empty_files = record.record.empty_files if record else ()
        told.facts = told.account.facts(error)
        told.page = report.leave(settings, told.facts)
    if record is None:
        return
    told.before = record.before
    if told.facts is not None:
        record.note(missing_days=tuple(told.facts["missing_days"]), report=told.page and str(told.page))
        with _never_in_the_way("the metrics file", error):
            metrics.write(settings.metrics, metrics.text(told.facts, _pointer(settings)))


def _tell(settings: Settings, told: Told, error: Exception | None, on_report: OnReport) -> None:
    facts = told.facts
    if facts is None or told.error is not error:  # it failed before it could begin, or when it was to be made durable
        facts = _facts(told, error)
    if facts is None:
        return
    with _never_in_the_way("the report"):
        on_report(facts)
    names = ("as_of", "outcome", "snapshot_id", "seconds", "grounds", "warnings", "missing_days", "problems")
    ended = {name: facts[name] for name in names} | {"report": told.page and str(told.page)}
    logs.night.info("run ended", extra=ended | _counts(facts))
    if notify.is_wanted(settings):
        with _never_in_the_way("a notification"):
            page = str(told.page) if told.page else None
            notify.tell(settings, notify.events(facts, told.before, page))


def _facts(told: Told, error: Exception | None) -> dict[str, Any] | None:
    try:
        return told.account.facts(error)
    except Exception as another:
        logs.night.warning("the report could not be worked out: %s", another)
        return None


def _counts(facts: Mapping[str, Any]) -> dict[str, Any]:
    landed = facts["landed"] or {}
    names = ("new_files", "new_records", "new_accepted", "new_rejected")
    return {name: landed.get(name) for name in names} | {"anomalies": len(facts["anomalies"])}


def _pointer(settings: Settings) -> manifest.Pointer | None:
    try:
        return manifest.current(settings.snapshots)
    except Damaged:
        return None


@contextmanager
def _never_in_the_way(what: str, ended_by: BaseException | None = None) -> Iterator[None]:
    """Say that something could not be written, unless that is one more sign of what `ended_by` says: a full disk."""
    try:
        yield
    except Exception as error:
        if ended_by is None or isinstance(ended_by, RefusedToPublish) or not isinstance(error, OSError):
            said: object = error
            if isinstance(error, OSError) and error.strerror:
                said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            logs.night.warning("%s could not be written: %s", what, said)
