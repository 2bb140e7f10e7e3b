"""The report, metrics, notifications and log lines of a run, written however it ends.

Failing to write one is logged, and never changes how the run ended.
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
from pipelines.jobs.report import RunRecorder
from pipelines.jobs.timings import Durations
from pipelines.snapshots import manifest

OnReport = Callable[[dict[str, Any]], None]  # called with the facts of every report


def noop(facts: dict[str, Any]) -> None:
    """Do nothing."""


@dataclass
class RunContext:
    """What a run carries along: its timings and its recorder, and in the end its report."""

    durations: Durations
    recorder: RunRecorder
    facts: dict[str, Any] | None = None
    page: Path | None = None
    before: LastRun | None = None  # the run before it
    error: BaseException | None = None  # that its facts are about
    metrics: bytes | None = None  # to be pushed
    attempts: int = 0

    def restart(self, settings: Settings, as_of: date) -> None:
        """Begin another attempt: nothing that the one before recorded counts, but the time that it took."""
        self.attempts += 1
        if self.attempts > 1:
            began = self.recorder.started_at
            self.recorder = RunRecorder(settings, as_of, self.durations)
            self.recorder.started_at = began
            self.facts = self.page = self.error = self.metrics = None


def new_context(settings: Settings, as_of: date) -> RunContext:
    """Return the context of a run that begins now."""
    durations = Durations()
    return RunContext(durations, RunRecorder(settings, as_of, durations))


@contextmanager
def notify_on_exit(settings: Settings, as_of: date, on_report: OnReport) -> Iterator[RunContext]:
    """Log the beginning and the end of a run, and notify whoever is configured once it has ended.

    It goes around the whole run, the lock included. Nobody is notified of a busy home, which is another run's. Wrong
    usage is a failure like any other, a landing folder that is not mounted at night; and so is SIGTERM.
    """
    context = new_context(settings, as_of)
    logs.run_log.info("run began", extra={"as_of": str(as_of), "home": str(settings.home)})
    try:
        yield context
    except (Busy, KeyboardInterrupt, GeneratorExit):  # another run's home; whoever interrupts a run sees it end
        raise
    except BaseException as error:  # safeguard: terminated-run-notifies
        _notify(settings, context, error, on_report)
        raise
    else:
        _notify(settings, context, None, on_report)


@contextmanager
def write_artifacts(settings: Settings, context: RunContext, record: Recorder | None) -> Iterator[RunRecorder]:
    """Write the report and the metrics of a run when its work ends. It goes inside the lock.

    Without a `record` the run is part of a backfill, which writes no metrics and sends no notifications.
    """
    error: BaseException | None = None
    try:
        yield context.recorder
    except BaseException as raised:
        error = raised
        raise
    finally:
        _write(settings, context, record, error)


def _write(settings: Settings, context: RunContext, record: Recorder | None, error: BaseException | None) -> None:
    context.error = error
    with _log_failure("the report", error):
        context.recorder.empty_files = record.record.empty_files if record else ()
        context.facts = context.recorder.facts(error)
        context.page = report.save(settings, context.facts)
    if record is None:
        return
    if context.attempts <= 1:  # the run before a later attempt is the attempt before it, which nobody was notified of
        context.before = record.before
    if context.facts is not None:
        record.update(missing_days=tuple(context.facts["missing_days"]), report=context.page and str(context.page))
        with _log_failure("the metrics file", error):
            context.metrics = metrics.text(settings, context.facts, _pointer(settings))
            metrics.write(settings, settings.metrics, context.metrics)


def _notify(settings: Settings, context: RunContext, error: BaseException | None, on_report: OnReport) -> None:
    facts = context.facts
    if (
        facts is None or context.error is not error
    ):  # it failed before it could begin, or when it was to be made durable
        facts = _facts(context, error)
    if facts is None:
        return
    names = ("as_of", "outcome", "snapshot_id", "seconds", "grounds", "warnings", "missing_days", "problems")
    ended = {name: facts[name] for name in names} | {"report": context.page and str(context.page)}
    logs.run_log.info("run ended", extra=ended | _counts(facts))
    if context.metrics is not None:
        metrics.push(settings, metrics.RUN, context.metrics)
    if notify.is_wanted(settings):
        with _log_failure("a notification"):
            page = str(context.page) if context.page else None
            notify.send(settings, notify.events(facts, context.before, page))
    with _log_failure("the report"):
        on_report(facts)  # last: it may be somebody far away who is slow


def _facts(context: RunContext, error: BaseException | None) -> dict[str, Any] | None:
    try:
        return context.recorder.facts(error)
    except Exception as another:
        logs.run_log.warning("the report could not be worked out: %s", another)
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
def _log_failure(what: str, ended_by: BaseException | None = None) -> Iterator[None]:
    """Log that something could not be written, unless `ended_by` says as much already: a full disk."""
    try:
        yield
    except Exception as error:  # safeguard: unwritten-report-stops-no-run
        if ended_by is None or isinstance(ended_by, RefusedToPublish) or not isinstance(error, OSError):
            said: object = error
            if isinstance(error, OSError) and error.strerror:
                said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            logs.run_log.warning("%s could not be written: %s", what, said)
