"""Prefect flows: a table of contents over plain functions, with schedules, retries and something to look at.

State lives in the lake, the lock and `current.json`, never in Prefect: a flow may be killed, run twice or be lost by
its server, and the next one repairs everything. This is the only module that imports Prefect. Being at the edge, it
asks the clock when a schedule gives no `as_of`.
"""

from __future__ import annotations

import errno
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo


def _prepare_environment() -> None:
    """Set what Prefect reads when it is imported, unless somebody has set it; all else is core/settings.py's.

    A deployed flow is imported by a worker that has imported Prefect before: prefect.yaml sets these there.
    """
    wanted = {
        # Prefect's two channels of telemetry: no data leaves this machine.
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Without a server to talk to, Prefect would start its own on a port of the loopback, which every user of the
        # machine reaches, or listens on first: its port stands in its arguments seconds before it listens.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        # The command line shows its own progress; warnings and errors still come through.
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    for variable, value in wanted.items():
        os.environ.setdefault(variable, value)


_prepare_environment()

from prefect import flow, get_run_logger, runtime, task  # noqa: E402
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State, TaskRun  # noqa: E402
from prefect.settings import PREFECT_API_URL  # noqa: E402
from prefect.tasks import Task, exponential_backoff  # noqa: E402

from pipelines import remote  # noqa: E402
from pipelines.core import logs  # noqa: E402
from pipelines.core.errors import MostwatchedError, RefusedToPublish  # noqa: E402
from pipelines.core.progress import Progress, no_progress  # noqa: E402
from pipelines.core.settings import Settings, is_url, load  # noqa: E402
from pipelines.core.text import counted  # noqa: E402
from pipelines.jobs import audit_run, nightly  # noqa: E402
from pipelines.jobs import prune as pruning  # noqa: E402
from pipelines.jobs.nightly import NightReport  # noqa: E402
from pipelines.jobs.prune import PruneReport  # noqa: E402
from pipelines.jobs.report import formats  # noqa: E402
from pipelines.jobs.report.document import document  # noqa: E402
from pipelines.remote import Landing  # noqa: E402
from pipelines.snapshots.audit import RANGES, Audit  # noqa: E402

Result = TypeVar("Result")

RETRIES = 3  # of a stage; with the waits below that is about a minute in all
FIRST_WAIT_SECONDS = 8
TOP = 20  # creators in the artifact

# What a network file system or a busy machine gets over; a full disk or a wrong permission is not among it.
_TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENFILE,
    }
)


@dataclass(frozen=True)
class _Caller:
    """What the caller of a flow in the same process passes without Prefect recording it."""

    settings: Settings
    progress: Progress


_caller: ContextVar[_Caller | None] = ContextVar("caller", default=None)


def run_flow(
    settings: Settings,
    as_of: date,
    landing: Sequence[Landing] | None = None,
    *,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    progress: Progress = no_progress,
) -> NightReport:
    """Run `nightly.run` as a Prefect flow in this process, with the same result and errors.

    The flow is of the server that PREFECT_API_URL names, in the environment or in Prefect's profile. Without one the
    run is not a flow: no server is started for it.
    """
    if not PREFECT_API_URL.value():  # safeguard: no-server-of-our-own
        logs.run_log.warning("No PREFECT_API_URL names a Prefect server: running as with --direct.")
        return nightly.run(
            settings,
            as_of,
            landing,
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=progress,
        )
    token = _caller.set(_Caller(settings, progress))
    try:
        with _silence_prefect_errors():
            return publish_most_watched_creators(
                as_of=as_of,
                landing=None if landing is None else [str(folder) for folder in landing],
                home=settings.home_url or str(settings.home),
                accept_rejects=accept_rejects,
                allow_incomplete=allow_incomplete,
                allow_future=True,  # whoever starts the run has asked the clock
            )
    finally:
        _caller.reset(token)


@contextmanager
def _silence_prefect_errors() -> Iterator[None]:
    """Keep errors off Prefect's console: they come out of the flow, and whoever called it says them."""
    logs.redirect_handlers()
    handlers = list(logging.getLogger().handlers)

    def is_worth_saying(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or not record.name.startswith("prefect.")

    for handler in handlers:
        handler.addFilter(is_worth_saying)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_worth_saying)


def _run_name() -> str:
    """The date that the run is about; of a schedule, which names none, today's."""
    parameters = runtime.flow_run.parameters
    if first := parameters.get("first"):
        return f"{runtime.flow_run.flow_name} {first} to {parameters.get('last')}"
    as_of = parameters.get("as_of") or _today(_settings(parameters.get("home")))
    return f"{runtime.flow_run.flow_name} {as_of}"


@flow(name="nightly", flow_run_name=_run_name)
def publish_most_watched_creators(
    as_of: date | None = None,
    landing: list[str] | None = None,
    home: str | None = None,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    allow_future: bool = False,
) -> NightReport:
    """Publish the ranking of the days before `as_of`; without one, before today in the policy's time zone."""
    settings = _settings(home)
    as_of = as_of or _today(settings)
    if not allow_future:
        nightly.require_started(settings, as_of, _today(settings))
    with _drop_tracebacks():
        report = nightly.run(
            settings,
            as_of,
            _folders(landing),
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=_progress(),
            stage=as_task,
            on_report=_show_report,
        )
    _show(report)
    return report


@flow(name="backfill", flow_run_name=_run_name)
def backfill(
    first: date,
    last: date,
    landing: list[str] | None = None,
    home: str | None = None,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    allow_future: bool = False,
) -> list[str]:
    """Publish one snapshot for every as_of from `first` to `last`, both included, and return their ids.

    A day that is refused stops none of the others; in the end RefusedToPublish is raised if there was one.
    """
    settings = _settings(home)
    if not allow_future:
        nightly.require_started(settings, last, _today(settings))
    nights = nightly.backfill(
        settings,
        first,
        last,
        _folders(landing),
        accept_rejects=accept_rejects,
        allow_incomplete=allow_incomplete,
        progress=_progress(),
        stage=as_task,
        on_report=_show_report,
    )
    published, refused = [], []
    with _drop_tracebacks():
        for night in nights:
            if isinstance(night, RefusedToPublish):
                get_run_logger().error("Refused: %s", night)
                refused.append(str(night))
                traceback.clear_frames(night.__traceback__)
            else:
                _show(night)
                published.append(night.snapshot_id)
    if refused:
        raise RefusedToPublish(f"{len(published)} published, {len(refused)} refused. " + " ".join(refused))
    return published


@flow(name="prune", flow_run_name=lambda: f"prune {_today(_settings(None))}")
def prune(home: str | None = None) -> PruneReport:
    """Remove old snapshots and the files of the lake that nothing needs any more."""
    settings = _settings(home)
    report: PruneReport = as_task("prune", lambda: pruning.prune(settings))
    get_run_logger().info(
        "Removed %d snapshots and %d files of the lake (%d bytes).",
        len(report.snapshots),
        report.lake_files,
        report.lake_bytes,
    )
    return report


@flow(name="audit", flow_run_name=lambda: f"audit {_today(_settings(None))}")
def audit(home: str | None = None, ranges: int = RANGES) -> dict[str, Any]:
    """Count the current snapshot again, from raw. Raises MostwatchedError when anything differs."""
    settings = _settings(home)
    progress = _progress()
    with remote.mounted(settings):
        done: Audit = as_task("audit", lambda: audit_run.audit_current(settings, ranges, progress=progress))
    if done.differing:
        raise MostwatchedError(
            f"{done.snapshot_id} is not what landed. {audit_run.first_of(done.differences)} "
            f"({counted(done.differing, 'value')} in all; `mostwatched audit` lists them.) Move every folder but raw "
            "out of the lake and run again."
        )
    return done.as_json()


def as_task(name: str, function: Callable[[], Result]) -> Result:
    """Run one stage as a Prefect task, with retries of transient errors.

    Every stage is safe to repeat: what it finished before is there and is not done again.
    """
    stage = task(
        name=name,
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=FIRST_WAIT_SECONDS),
        retry_jitter_factor=0.5,
        retry_condition_fn=_may_retry,
        cache_policy=NO_CACHE,  # the lake is the cache
        persist_result=False,
    )(function)
    result: Result = stage()
    return result


@contextmanager
def _drop_tracebacks() -> Iterator[None]:
    """Empty the frames that an error came through.

    Prefect keeps the error until the process ends, and with it what those frames held: database connections, which
    then complain at length of having been leaked.
    """
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


def is_transient(error: BaseException | None) -> bool:
    """Whether a retry may succeed. Refusals, damage and wrong usage are never transient."""
    return isinstance(error, TimeoutError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in _TRANSIENT
    )


def _may_retry(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except Exception as error:
        return is_transient(error)
    return False


def _settings(home: str | None) -> Settings:
    """The caller's settings in its own process, the environment's in a deployment."""
    caller = _caller.get()
    return caller.settings if caller is not None else load(home)


def _progress() -> Progress:
    """The caller's own, else lines in the run's log."""
    caller = _caller.get()
    if caller is not None:
        return caller.progress
    logger = get_run_logger()

    def tell(step: str, done: int, total: int, unit: str = "") -> None:
        logger.info("%s: %d of %d %s", step, done, total, unit or "parts")

    return tell


def _today(settings: Settings) -> date:
    return datetime.now(ZoneInfo(settings.day_timezone)).date()


def _folders(landing: Iterable[str] | None) -> list[Landing] | None:
    return None if landing is None else [folder if is_url(folder) else Path(folder) for folder in landing]


def _show_report(facts: dict[str, Any]) -> None:
    """The report of a run, however it ended, as an artifact. Failing at that changes nothing about the run."""
    try:
        create_markdown_artifact(
            key="report",
            markdown=formats.markdown(document(facts)),
            description=f"The run as of {facts['as_of']}: {facts['outcome']}.",
        )
    except Exception as error:
        get_run_logger().warning("The report as of %s is not shown in Prefect: %s", facts["as_of"], error)


def _show(report: NightReport) -> None:
    """Put what was published where Prefect shows it. Failing at that undoes no publish, so it fails nothing."""
    try:
        _create_artifacts(report)
    except Exception as error:
        get_run_logger().warning("Published %s, but not shown in Prefect: %s", report.snapshot_id, error)


def _create_artifacts(report: NightReport) -> None:
    snapshot = report.published.snapshot
    window = max(snapshot.manifest["windows"])
    rankings = snapshot.table("creator_rankings.parquet").to_pylist()
    top = [row for row in rankings if row["window_days"] == window and row["position"] <= TOP]
    create_table_artifact(
        key="most-watched-creators",
        table=sorted(top, key=lambda row: int(row["position"])),
        description=f"The first {TOP} creators of the {window} days before {report.as_of}.",
    )
    create_table_artifact(
        key="funnel",
        table=[{"what": what, "sessions": count} for what, count in report.funnel.items()],
        description="What became of every accepted session.",
    )
    counts = report.as_json()
    create_markdown_artifact(
        key="snapshot",
        markdown=(
            f"# {report.snapshot_id}\n\n"
            f"[{snapshot.path}]({snapshot.path.absolute().as_uri()})\n\n"
            f"- {counts['records']:,} records, {counts['accepted']:,} accepted, {counts['rejected']:,} rejected\n"
            f"- {counts['new_records']:,} of them new, in {counts['new_files']:,} files\n"
            f"- {'current' if counts['is_current'] else 'not current'}\n"
        ),
        description=f"The snapshot as of {report.as_of}.",
    )
