"""Prefect flows: a table of contents over plain functions, with schedules, retries and something to look at.

State lives in the lake, the lock and `current.json`, never in Prefect: a flow may be killed, run twice or be lost by
its server, and the next one repairs everything. This is the only module that imports Prefect. Being at the edge, it
asks the clock when a schedule gives no `as_of`.

A deployed flow does the work in the process that a worker started for it. Of `mostwatched run` Prefect is only shown
what happens, by this module as a program of its own: see prefect_reporter.py.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
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
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_API_URL, temporary_settings  # noqa: E402
from prefect.states import Completed, Crashed, Failed  # noqa: E402

from pipelines import remote  # noqa: E402
from pipelines.core.errors import MostwatchedError, RefusedToPublish  # noqa: E402
from pipelines.core.progress import Progress  # noqa: E402
from pipelines.core.retries import retried  # noqa: E402
from pipelines.core.settings import Settings, is_url, load  # noqa: E402
from pipelines.core.text import counted  # noqa: E402
from pipelines.jobs import audit_run, nightly  # noqa: E402
from pipelines.jobs import prune as pruning  # noqa: E402
from pipelines.jobs.nightly import NightReport  # noqa: E402
from pipelines.jobs.prefect_reporter import TOP, published_facts  # noqa: E402
from pipelines.jobs.prune import PruneReport  # noqa: E402
from pipelines.jobs.report import formats  # noqa: E402
from pipelines.jobs.report.document import document  # noqa: E402
from pipelines.remote import Landing  # noqa: E402
from pipelines.snapshots.audit import RANGES, Audit  # noqa: E402

Result = TypeVar("Result")

SHOW_SECONDS = 30.0  # that Prefect may take to show what a deployed run left
REQUEST_SECONDS = 10.0  # that one request of a reported run may take

Events = Iterator[dict[str, Any]]

Answer = Callable[[str, str], None]

# What happens in the run of another process, and where to say what of it is not shown.
_reported: ContextVar[tuple[Events, Answer] | None] = ContextVar("reported", default=None)


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
) -> NightReport | State[Any]:
    """Publish the ranking of the days before `as_of`; without one, before today in the policy's time zone."""
    if (reported := _reported.get()) is not None:
        return _show_events(*reported)
    settings = _settings(home)
    as_of = as_of or _today(settings)
    if not allow_future:
        nightly.require_started(settings, as_of, _today(settings))
    _outlive_the_worker()
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

    def attempt() -> tuple[list[str], list[str]]:
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
        for night in nights:
            if isinstance(night, RefusedToPublish):
                get_run_logger().error("Refused: %s", night)
                refused.append(str(night))
                traceback.clear_frames(night.__traceback__)
            else:
                _show(night)
                published.append(night.snapshot_id)
        return published, refused

    _outlive_the_worker()
    with _drop_tracebacks():
        published, refused = retried(attempt)
    if refused:
        raise RefusedToPublish(f"{len(published)} published, {len(refused)} refused. " + " ".join(refused))
    return published


@flow(name="prune", flow_run_name=lambda: f"prune {_today(_settings(None))}")
def prune(home: str | None = None) -> PruneReport:
    """Remove old snapshots and the files of the lake that nothing needs any more."""
    settings = _settings(home)
    _outlive_the_worker()
    report: PruneReport = retried(lambda: as_task("prune", lambda: pruning.prune(settings)))
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

    def attempt() -> Audit:
        with remote.mounted(settings):
            counted_again: Audit = as_task(
                "audit", lambda: audit_run.audit_current(settings, ranges, progress=progress)
            )
        return counted_again

    _outlive_the_worker()
    done = retried(attempt)
    if done.differing:
        raise MostwatchedError(
            f"{done.snapshot_id} is not what landed. {audit_run.first_of(done.differences)} "
            f"({counted(done.differing, 'value')} in all; `mostwatched audit` lists them.) Move every folder but raw "
            "out of the lake and run again."
        )
    return done.as_json()


def as_task(name: str, function: Callable[[], Result]) -> Result:
    """Run one stage as a Prefect task. What may pass is tried again with the run, not by Prefect."""
    stage = task(name=name, cache_policy=NO_CACHE, persist_result=False)(function)  # the lake is the cache
    result: Result = stage()
    return result


def _outlive_the_worker() -> None:
    """From now on, log lines that nobody reads any more are dropped.

    A flow writes to pipes that its worker reads. When the worker dies, the library that writes Prefect's lines would
    end the process at the next one, in the middle of the run.
    """
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for console in [getattr(handler, "console", None) for logger in loggers for handler in logger.handlers]:
        if console is not None:
            console.on_broken_pipe = _close_outputs  # safeguard: worker-may-die


def _close_outputs() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
    os.close(nowhere)


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


def _settings(home: str | None) -> Settings:
    """The environment's, in the home that was named."""
    return load(home)


def _progress() -> Progress:
    """Lines in the run's log."""
    logger = get_run_logger()

    def tell(step: str, done: int, total: int, unit: str = "") -> None:
        logger.info("%s: %d of %d %s", step, done, total, unit or "parts")

    return tell


def _today(settings: Settings) -> date:
    return datetime.now(ZoneInfo(settings.day_timezone)).date()


def _folders(landing: Iterable[str] | None) -> list[Landing] | None:
    return None if landing is None else [folder if is_url(folder) else Path(folder) for folder in landing]


# --- what Prefect shows --------------------------------------------------------------------------------------------


def _show_report(facts: dict[str, Any]) -> None:
    """The report of a run, however it ended, as an artifact."""
    _in_limited_time(f"The report as of {facts['as_of']}", lambda: _create_report(facts))


def _show(report: NightReport) -> None:
    """Put what was published where Prefect shows it."""
    _in_limited_time(report.snapshot_id, lambda: _create_artifacts(published_facts(report)))


def _in_limited_time(what: str, function: Callable[[], None]) -> None:
    """Call what asks Prefect's server, for a limited time. Failing at that undoes no publish, so it fails nothing."""
    errors: list[str] = [f"Prefect had not answered after {SHOW_SECONDS:g} seconds"]

    def call() -> None:
        try:
            function()
            errors.clear()
        except Exception as error:
            errors[:] = [str(error)]

    # In a thread that may be left behind: the client waits for as long as the server lets it.
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(call), name="show in Prefect", daemon=True)
    thread.start()
    thread.join(SHOW_SECONDS)
    if errors:
        get_run_logger().warning("%s is not shown in Prefect: %s", what, errors[0])


def _create_report(facts: dict[str, Any]) -> None:
    create_markdown_artifact(
        key="report",
        markdown=formats.markdown(document(facts)),
        description=f"The run as of {facts['as_of']}: {facts['outcome']}.",
    )


def _create_artifacts(facts: Mapping[str, Any]) -> None:
    """The artifacts of a snapshot, by `published_facts`."""
    create_table_artifact(
        key="most-watched-creators",
        table=facts["top"],
        description=f"The first {TOP} creators of the {facts['window']} days before {facts['as_of']}.",
    )
    create_table_artifact(
        key="funnel",
        table=[{"what": what, "sessions": count} for what, count in facts["funnel"].items()],
        description="What became of every accepted session.",
    )
    create_markdown_artifact(
        key="snapshot",
        markdown=(
            f"# {facts['snapshot_id']}\n\n"
            f"[{facts['folder']}]({facts['uri']})\n\n"
            f"- {facts['records']:,} records, {facts['accepted']:,} accepted, {facts['rejected']:,} rejected\n"
            f"- {facts['new_records']:,} of them new, in {facts['new_files']:,} files\n"
            f"- {'current' if facts['is_current'] else 'not current'}\n"
        ),
        description=f"The snapshot as of {facts['as_of']}.",
    )


# --- the run of another process ------------------------------------------------------------------------------------


def report_run(events: Events, answer: Answer) -> None:
    """Make a flow run of what a run tells about itself: see prefect_reporter.py.

    `answer` is called with ("no_server", ""), ("began", "") once Prefect knows the run, ("problem", what is not shown).
    """
    if not PREFECT_API_URL.value():  # safeguard: no-server-of-our-own
        answer("no_server", "")
        return
    parameters = next(events)["parameters"]

    def received() -> Events:
        answer("began", "")
        yield from events

    _reported.set((received(), answer))
    try:
        with temporary_settings({PREFECT_API_REQUEST_TIMEOUT: REQUEST_SECONDS}):
            publish_most_watched_creators(**parameters, return_state=True)
    except BaseException as error:
        said = str(error).split("\n")[0]
        answer("problem", f"{type(error).__name__}: {said}" if said else type(error).__name__)


def _show_events(events: Events, answer: Answer) -> State[Any]:
    """Show stages as tasks, and artifacts, as a run tells of them; returns the state that it ended in.

    An artifact that cannot be made changes nothing about that state.
    """
    for event in events:
        if event["event"] == "stage":
            with suppress(_StageFailed):
                as_task(event["name"], lambda: _until_it_ends(events))
        elif event["event"] in ("report", "published"):
            try:
                if event["event"] == "report":
                    _create_report(event["facts"])
                else:
                    _create_artifacts(event)
            except Exception as error:
                answer("problem", f"{type(error).__name__} of an artifact")
        elif event["event"] == "end":
            return Completed() if event["error"] is None else Failed(message=event["error"])
    # safeguard: killed-run-crashed-in-prefect
    return Crashed(message="The run was killed: its process told of no end.")


class _StageFailed(Exception):
    """A stage of the run failed; the run says what becomes of that."""


def _until_it_ends(events: Events) -> None:
    error = next(events, {"error": "killed"})["error"]
    if error is not None:
        raise _StageFailed(error)


def _main() -> None:
    """Report the run whose events come by stdin; answers go to stdout, and nothing else does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # also sent to all of a service: the run tells how it ended
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(key: str, text: str) -> None:
        print(json.dumps({key: text}), file=answers, flush=True)

    # In a thread, where Prefect puts no handler in the place of ours.
    events = (json.loads(line) for line in sys.stdin.buffer)
    thread = threading.Thread(target=report_run, args=(events, answer))
    thread.start()
    thread.join()


if __name__ == "__main__":
    _main()
