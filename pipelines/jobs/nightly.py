"""The nightly job, whole: ingest what landed, build what changed, publish one snapshot.

No Prefect in here, and no clock: `as_of` is an argument. prefect_flows.py runs the same steps as tasks by passing
`stage`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pipelines import remote
from pipelines.core import durable_files, shared_folders
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.core.home_modes import narrow, private_umask
from pipelines.core.progress import Progress, no_progress
from pipelines.core.retries import retried
from pipelines.core.scratch import sweep_scratch
from pipelines.core.settings import Settings
from pipelines.jobs import last_run, redaction
from pipelines.jobs.report import RunRecorder
from pipelines.jobs.retention import require_days
from pipelines.jobs.run_lifecycle import OnReport, new_context, noop, notify_on_exit, write_artifacts
from pipelines.lake import plan
from pipelines.lake.derive import Lake, RawDamaged
from pipelines.lake.engines import Engine, factory
from pipelines.lake.plan_sessions import Landed
from pipelines.raw import erasure_register
from pipelines.raw.catalog import is_in_raw
from pipelines.raw.ingest import IngestReport, MapTasks, ingest
from pipelines.raw.layout import raw_folders
from pipelines.raw.pack_parts import PackDamaged
from pipelines.raw.quarantine import quarantine, restore_quarantined
from pipelines.raw.raw_file import RawFile
from pipelines.raw.readings import latest_parsed
from pipelines.remote import Landing
from pipelines.snapshots import gates
from pipelines.snapshots.publish import Published, publish

MAX_REPARSES = 3  # in a run: a disk that damages what has just been written will not stop doing so

Result = TypeVar("Result")
Stage = Callable[..., Any]  # called as stage(name, function) and returns what function() returns


NOTHING_LANDED = (
    "Nothing has landed, so the snapshot is empty: put files into <home>/landing/<entity>/, or name their folder with "
    "--landing."
)


@dataclass(frozen=True)
class NightReport:
    """What one run did, for people and as JSON."""

    as_of: date
    ingested: IngestReport
    raw: Sequence[RawFile]
    published: Published
    built: dict[str, int]  # files built, by model; empty when nothing had changed
    facts: dict[str, Any] | None = None  # the report; None if it could not be worked out
    page: Path | None = None  # where the report stands

    @property
    def funnel(self) -> dict[str, int]:
        """Counts of every accepted viewing session of the lake by outcome."""
        return self.published.funnel

    @property
    def snapshot_id(self) -> str:
        """The id of the snapshot that holds this as_of."""
        return self.published.snapshot.id

    def as_json(self) -> dict[str, Any]:
        """The documented object of `mostwatched run --json`: counts of the whole lake, `new_…` of this run."""
        return {
            "snapshot_id": self.snapshot_id,
            "as_of": self.as_of.isoformat(),
            "is_new": self.published.is_new,
            "is_current": self.published.is_current,
            **gates.count_records(self.raw, self.published.lost),
            "lost": [{"entity": entity} | asdict(lost) for entity, lost in self.published.lost.items()],
            "new_files": self.ingested.new_files,
            "new_records": self.ingested.new_records,
            "new_accepted": self.ingested.new_accepted,
            "new_rejected": self.ingested.new_rejected,
            "postponed": [
                {"entity": file.entity, "file": file.name, "reason": file.reason} for file in self.ingested.postponed
            ],
            "completeness": self.published.completeness.as_json(),
            "unknown_fields": [one._asdict() for one in self.published.unknown_fields],
            "unreadable": [
                {"entity": file.entity, "file": file.landed_name, "reason": file.unreadable}
                for file in self.ingested.unreadable.there
            ],
            "funnel": self.funnel,
            "built": self.built,
            "warnings": [*self.published.warnings, *([] if self.raw else [NOTHING_LANDED])],
            "anomalies": [one["sentence"] for one in self.facts["anomalies"]] if self.facts else [],
            "report": self.page and str(self.page),
        }


def in_process(name: str, function: Callable[[], Result]) -> Result:
    """Run a stage by calling its function. prefect_flows.py passes one that makes a Prefect task of it."""
    del name
    return function()


def run(
    settings: Settings,
    as_of: date,
    landing: Sequence[Landing] | None = None,
    *,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    progress: Progress = no_progress,
    stage: Stage = in_process,
    on_report: OnReport = noop,
) -> NightReport:
    """Ingest, build and publish the snapshot as of `as_of`; safe to run again at any time.

    `landing` holds the folders to read what landed from, instead of the home's own. Raises Busy when another run is at
    work in this home, RefusedToPublish when the result could mislead; the last snapshot then stays current. What fails
    for a reason that may pass, a bucket that does not answer, is tried again as a whole; hooks are called at the end.
    """
    require_possible(settings, as_of)
    with notify_on_exit(settings, as_of, on_report) as context:
        progress, stage = context.durations.timed(progress), context.durations.timed_stage(stage)

        def attempt() -> NightReport:
            context.restart(settings, as_of)
            with (
                locked_home(settings),
                _engine(settings) as engine,
                last_run.recorded(settings, as_of) as record,
                write_artifacts(settings, context, record) as recorder,
            ):
                recorder.ingested = ingested = stage("ingest", lambda: _ingest(settings, landing, progress, engine))
                record.ingested(ingested)
                report = _night(
                    settings,
                    engine,
                    recorder,
                    ingested,
                    landing,
                    _arrange_once(),
                    accept_rejects=accept_rejects,
                    allow_incomplete=allow_incomplete,
                    progress=progress,
                    stage=stage,
                )
                record.update(
                    outcome="published" if report.published.is_new else "unchanged", snapshot_id=report.snapshot_id
                )
            return report

        report = retried(attempt)  # safeguard: run-tried-again
        return replace(report, facts=context.facts, page=context.page)


def backfill(
    settings: Settings,
    first: date,
    last: date,
    landing: Sequence[Landing] | None = None,
    *,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    progress: Progress = no_progress,
    stage: Stage = in_process,
    on_report: OnReport = noop,
) -> Iterator[NightReport | RefusedToPublish]:
    """One snapshot for every as_of from `first` to `last`, both included, oldest first.

    A day that is refused does not stop the days after it: the refusal is yielded in its place.
    """
    if first > last:
        raise UsageError(f"The first as_of, {first}, is after the last one, {last}.")
    require_possible(settings, first)
    require_possible(settings, last)
    with locked_home(settings), _engine(settings) as engine:
        ingested = stage("ingest", lambda: _ingest(settings, landing, progress, engine))
        arrange = _arrange_once()
        for days in range((last - first).days + 1):
            as_of = date.fromordinal(first.toordinal() + days)
            context = new_context(settings, as_of)
            try:
                try:
                    with write_artifacts(settings, context, None) as recorder:
                        recorder.ingested = ingested
                        report = _night(
                            settings,
                            engine,
                            recorder,
                            ingested,
                            landing,
                            arrange,
                            accept_rejects=accept_rejects,
                            allow_incomplete=allow_incomplete,
                            progress=context.durations.timed(progress),
                            stage=context.durations.timed_stage(stage),
                        )
                    remote.push(settings)
                finally:
                    if context.facts is not None:
                        on_report(context.facts)
                yield replace(report, facts=context.facts, page=context.page)
            except RefusedToPublish as refusal:
                yield refusal


def require_possible(settings: Settings, as_of: date) -> None:
    """Raise UsageError for an as_of so near either end of the calendar that the days it rests on do not exist."""
    days_before = settings.policy.lookback_days
    if not date.min.toordinal() + days_before <= as_of.toordinal() < date.max.toordinal():
        raise UsageError(
            f"{as_of} cannot be an as_of: of a snapshot the {days_before} days before it and the day after it must be "
            "in the calendar, which goes from 0001-01-01 to 9999-12-31."
        )


def require_started(settings: Settings, as_of: date, today: date) -> None:
    """Raise RefusedToPublish for an as_of more than a day ahead of `today`, UsageError for an impossible one."""
    require_possible(settings, as_of)
    for sentence in gates.too_far_ahead(as_of, today):
        raise RefusedToPublish(f"Not published, the last snapshot stays. {sentence}")


def _night(
    settings: Settings,
    engine: Callable[[], Engine],
    recorder: RunRecorder,
    ingested: IngestReport,
    landing: Sequence[Landing] | None,
    arrange: Callable[[Sequence[RawFile]], Landed],
    *,
    accept_rejects: bool,
    allow_incomplete: bool,
    progress: Progress,
    stage: Stage,
) -> NightReport:
    """Build and publish one as_of over what has been ingested."""
    lake = Lake(settings.lake, engine, progress)

    def build_and_publish(every_folder: Sequence[RawFile]) -> NightReport:
        landed = arrange(every_folder)
        raw = landed.raw
        require_days(raw, settings.policy, recorder.as_of)
        lake.checked(plan.read_for_rejects(raw))  # which a run without changes would not read, nor repair
        built = stage("build", functools.partial(plan.build, lake, landed, settings.policy, recorder.as_of))
        recorder.raw, recorder.built = raw, built
        recorder.published = published = stage(
            "publish",
            lambda: publish(
                settings,
                lake,
                built,
                raw,
                observer=recorder,
                progress=progress,
                accept_rejects=accept_rejects,
                allow_incomplete=allow_incomplete,
                unreadable=ingested.unreadable,
                unread=recorder.unread_files(),
                empty=recorder.empty_files,
                ignored=ingested.ignored,
            ),
        )
        return NightReport(recorder.as_of, ingested, raw, published, dict(lake.built))

    return _reparsing_damaged_raw(settings, landing, progress, ingested.raw, build_and_publish)


def _arrange_once() -> Callable[[Sequence[RawFile]], Landed]:
    """A function that arranges raw folders once for all as_ofs of a run, and again when it is given others."""
    seen: list[tuple[Sequence[RawFile], Landed]] = []

    def arrange(every_folder: Sequence[RawFile]) -> Landed:
        if not seen or seen[-1][0] is not every_folder:
            seen[:] = [(every_folder, plan.arranged(latest_parsed(every_folder)))]
        return seen[-1][1]

    return arrange


def _reparsing_damaged_raw(
    settings: Settings,
    landing: Sequence[Landing] | None,
    progress: Progress,
    raw: Sequence[RawFile],
    function: Callable[[Sequence[RawFile]], Result],
) -> Result:
    """Call the function with all of raw. A damaged folder that it finds is parsed again, and it is called again.

    Raises Damaged for a folder that is damaged again as often as it is made again.
    """
    times: Counter[Path] = Counter()
    while True:
        try:
            return function(raw)
        except (RawDamaged, PackDamaged) as damage:
            folder = damage.folder if isinstance(damage, PackDamaged) else damage.stored.path.parent
            times[folder] += 1
            if times[folder] > MAX_REPARSES:
                raise Damaged(
                    f"{folder} was made again {MAX_REPARSES} times and is damaged each time. Check the disk "
                    f"that holds it, then run again. ({damage})"
                ) from damage
            quarantine(folder)
            raw = _ingest(settings, landing, progress, None).raw


def _ingest(
    settings: Settings, landing: Sequence[Landing] | None, progress: Progress, engine: Callable[[], Engine] | None
) -> IngestReport:
    folders, in_buckets = remote.local_landing(settings, landing, is_in_raw(settings))
    return ingest(settings, folders, progress, _map_tasks(settings, engine), in_buckets)


@contextmanager
def locked_home(settings: Settings) -> Iterator[None]:
    """Lock the home and remove what dead runs left half-written. A home in a bucket is pulled first and pushed last."""
    with private_umask(), durable_files.lock_home(settings.home) as lock, remote.mounted(settings):
        for folder in (settings.lake, settings.snapshots):
            durable_files.make_folder(folder)
        narrow(settings)
        if not lock.is_tidy or settings.engine == "spark":  # an executor may be lost while the run goes on
            lock.is_tidy = True
            for folder in (settings.lake, settings.snapshots, settings.reports, settings.home / "metrics"):
                durable_files.sweep(folder)  # safeguard: leftovers-swept
            durable_files.sweep(erasure_register.folder(settings))
            shared_folders.sweep(settings.home / "metrics")  # safeguard: metrics-leftovers-swept
        sweep_scratch(settings.home)
        restore_quarantined(settings)
        _make_durable(settings)
        register = erasure_register.read(settings)
        if register.entries:
            erasure_register.lock(settings)
        if register.has_pseudonyms:
            remote.complete(settings)
            redaction.remove_pseudonyms(settings)
        try:
            yield
        except RefusedToPublish:
            remote.push(settings)  # what was read and worked out, and why nothing was published
            raise
        remote.push(settings)


def _make_durable(settings: Settings) -> None:
    """Make the names durable under which dead runs left what is whole: all that follows takes it for granted."""
    with suppress(PermissionError):  # where we may not look, we have made nothing either
        durable_files.fsync(settings.home.parent)
    for folder in (settings.home, settings.snapshots, settings.lake, *raw_folders(settings)):
        durable_files.fsync(folder)


@contextmanager
def open_lake(settings: Settings, progress: Progress = no_progress) -> Iterator[Lake]:
    """The lake, with an engine that starts when something must be built."""
    with _engine(settings) as engine:
        yield Lake(settings.lake, engine, progress)


@contextmanager
def _engine(settings: Settings) -> Iterator[Callable[[], Engine]]:
    """Yield a function that returns the engine of a run: started at the first call, and closed with the run."""
    started: list[Engine] = []

    def start() -> Engine:
        if not started:
            started.append(factory.start(settings))
        return started[0]

    try:
        yield start
    finally:
        for engine in started:
            engine.close()


def _map_tasks(settings: Settings, engine: Callable[[], Engine] | None) -> MapTasks | None:
    """Return how landed files are read: on the executors of a distributed engine, or (None) one after the other
    here."""
    if engine is None or settings.engine != "spark":
        return None
    return lambda function, items: engine().map_tasks(function, items)
