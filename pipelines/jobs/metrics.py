"""Metrics of the last run for Prometheus: in a file for the node_exporter's textfile collector, or to a Pushgateway.

Instants are seconds since 1970, so that an age is `time() - …` whenever it is asked for. Rewritten whole by every run.
Each is labelled with its home, so that several homes can write to one folder, or push to one gateway.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.core import durable_files, logs, shared_folders
from pipelines.core.settings import Settings
from pipelines.jobs import last_audit, notify
from pipelines.jobs.last_audit import LastAudit
from pipelines.snapshots.manifest import Pointer

MOST_UNKNOWN_FIELDS = 20  # each is a label
OUTCOMES = ("published", "unchanged", "refused", "failed")
RUN, AUDIT = "mostwatched-run", "mostwatched-audit"  # the jobs of a Pushgateway: a push replaces one whole


class RunMetrics(Collector):
    """The facts of a report and the current snapshot as metrics."""

    def __init__(self, facts: Mapping[str, Any], pointer: Pointer | None) -> None:
        self._facts = facts
        self._pointer = pointer

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as prometheus_client asks for."""
        yield from self._run()
        yield from self._records()
        yield from self._snapshot()
        yield from self._days()

    def _run(self) -> Iterator[Metric]:
        facts = self._facts
        yield _gauge("mostwatched_run_end_timestamp_seconds", "When the last run ended.", _seconds(facts["ended_at"]))
        yield _gauge("mostwatched_run_as_of_timestamp_seconds", "The as_of of the last run.", _seconds(facts["as_of"]))
        outcome = GaugeMetricFamily(
            "mostwatched_run_outcome", "Outcome of the last run: 1 for the one that applies.", labels=["outcome"]
        )
        for name in OUTCOMES:
            outcome.add_metric([name], float(name == facts["outcome"]))
        yield outcome
        yield _gauge("mostwatched_run_duration_seconds", "Duration of the last run.", facts["seconds"])
        steps = GaugeMetricFamily(
            "mostwatched_run_step_duration_seconds", "Duration of each step of the last run.", labels=["stage", "step"]
        )
        for row in facts["durations"]:
            steps.add_metric([row["stage"], row["step"]], row["seconds"])
        yield steps
        yield _gauge("mostwatched_run_anomalies", "Anomalies found by the last run.", len(facts["anomalies"]))

    def _records(self) -> Iterator[Metric]:
        landed, lake, funnel = self._facts["landed"], self._facts["records"], self._facts["funnel"]
        if landed:
            new = GaugeMetricFamily("mostwatched_run_records", "New records of the last run.", labels=["outcome"])
            for name in ("accepted", "rejected"):
                new.add_metric([name], landed[f"new_{name}"])
            yield new
            yield _gauge("mostwatched_run_files", "New landed files of the last run.", landed["new_files"])
        if lake:
            held = GaugeMetricFamily("mostwatched_lake_records", "Records of the whole lake.", labels=["outcome"])
            for name in ("accepted", "rejected"):
                held.add_metric([name], lake[name])
            yield held
        unknown = GaugeMetricFamily(
            "mostwatched_run_unknown_field_records",
            "New records of the last run with a field that the contract does not know and that resembles one of it.",
            labels=["entity", "field", "resembles"],
        )
        for row in self._facts["unknown_fields"][:MOST_UNKNOWN_FIELDS]:
            if row["resembles"]:
                unknown.add_metric([row["entity"], row["field"], row["resembles"]], row["records"])
        yield unknown
        lost = GaugeMetricFamily(
            "mostwatched_lake_lost_records",
            "Accepted records of the whole lake that are lost: rejected later, or put aside as conflicting versions.",
            labels=["entity", "how"],
        )
        for counts in self._facts["lost"]:
            for how in ("rejected_later", "conflicting"):
                lost.add_metric([counts["entity"], how], counts[how])
        yield lost
        if funnel:
            sessions = GaugeMetricFamily(
                "mostwatched_sessions", "Accepted sessions of the lake, by what became of them.", labels=["outcome"]
            )
            for name, count in funnel.items():
                if name not in ("accepted", "conflicts"):
                    sessions.add_metric([name], count)
            yield sessions

    def _snapshot(self) -> Iterator[Metric]:
        if self._pointer is None:
            return
        published = _seconds(self._pointer.published_at)
        as_of = _seconds(self._pointer.as_of.isoformat())
        yield _gauge(
            "mostwatched_current_published_timestamp_seconds", "When the current snapshot was published.", published
        )
        yield _gauge("mostwatched_current_as_of_timestamp_seconds", "The as_of of the current snapshot.", as_of)
        pinned = float(self._pointer.pinned)
        yield _gauge("mostwatched_current_is_pinned", "1 while the current snapshot is pinned.", pinned)

    def _days(self) -> Iterator[Metric]:
        facts = self._facts
        if facts["newest_session_at"]:
            newest = _seconds(facts["newest_session_at"])
            yield _gauge("mostwatched_newest_session_timestamp_seconds", "The newest session that counts.", newest)
        missing = len(facts["missing_days"])
        yield _gauge("mostwatched_missing_dates", "Days of the last 14 for which nothing has landed.", missing)
        yield _gauge("mostwatched_revised_dates", "Published days that the last run revised.", len(facts["late"]))


class AuditMetrics(Collector):
    """The last audit as metrics."""

    def __init__(self, record: LastAudit) -> None:
        self._record = record

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as prometheus_client asks for."""
        record = self._record
        ended = _seconds(record.ended_at)
        yield _gauge("mostwatched_audit_end_timestamp_seconds", "When the last audit ended.", ended)
        outcome = GaugeMetricFamily(
            "mostwatched_audit_outcome", "Outcome of the last audit: 1 for the one that applies.", labels=["outcome"]
        )
        for name in last_audit.OUTCOMES:
            outcome.add_metric([name], float(name == record.outcome))
        yield outcome
        if record.passed_at:
            passed = _seconds(record.passed_at)
            yield _gauge("mostwatched_audit_passed_timestamp_seconds", "When an audit last passed.", passed)


def audit_path(path: Path) -> Path:
    """Return the path of the audits' file beside that of the runs, since each is rewritten whole."""
    return path.with_name(f"{path.stem}-audit.prom")


def audit_text(settings: Settings, record: LastAudit) -> bytes:
    """Return the metrics in Prometheus's text format."""
    return _text(settings, AuditMetrics(record))


def text(settings: Settings, facts: Mapping[str, Any], pointer: Pointer | None) -> bytes:
    """Return the metrics in Prometheus's text format."""
    return _text(settings, RunMetrics(facts, pointer))


def _text(settings: Settings, collector: Collector) -> bytes:
    registry = CollectorRegistry()
    registry.register(_OfHome(collector, settings.home_name))
    return generate_latest(registry)


class _OfHome(Collector):
    """The metrics of another collector, labelled with a home."""

    def __init__(self, collector: Collector, home: str) -> None:
        self._collector = collector
        self._home = home

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, as prometheus_client asks for."""
        for metric in self._collector.collect():
            metric.samples = [one._replace(labels={"home": self._home} | one.labels) for one in metric.samples]
            yield metric


def write(settings: Settings, path: Path, content: bytes) -> None:
    """Replace a file of metrics, at once.

    Where a setting names it, every user may read it, whatever the umask is: a collector has one of its own. Its folder
    may be one that others write to.
    """
    is_for_all = settings.metrics_file is not None
    if not path.parent.exists():
        durable_files.make_folder(path.parent)
        path.parent.chmod(0o755 if is_for_all else 0o700)
    shared_folders.write_bytes(path, content, 0o644 if is_for_all else 0o600)


def push(settings: Settings, job: str, content: bytes) -> None:
    """Replace what a Pushgateway has of a job of this home, if one is configured.

    It changes nothing about the run: call it when the lock is free. What goes wrong is one warning, after at most
    `notify.WEBHOOK_SECONDS`.
    """
    if settings.metrics_push_url is None:
        return
    home = base64.urlsafe_b64encode(os.fsencode(settings.home_name)).decode()
    url = f"{settings.metrics_push_url.rstrip('/')}/metrics/job/{job}/home@base64/{home}"
    problem = notify.deliver(url, content, "PUT", CONTENT_TYPE_PLAIN_0_0_4)
    if problem:
        logs.run_log.warning("the metrics could not be pushed: %s", problem)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _seconds(instant: str) -> float:
    """Seconds since 1970 of an instant in UTC, or of the midnight of a date in UTC."""
    text = instant if "T" in instant else f"{instant}T00:00:00Z"
    return datetime.fromisoformat(text).timestamp()
