"""The report of a run: facts, gathered as the run goes on, and their rendering as HTML and Markdown.

    anomalies   figures worth a look                     samples       rejected lines by reason
    change      against the previous snapshot            similar_ids   ids that look alike
    document    the sections of a report                 formats       how they are written, by templates/

The run that publishes a snapshot writes its report into it (report.html). The last run of every as_of, however it
ended, writes one under reports/: the same, complete, with what came after the snapshot was written.

A report never stops a run: a part of it that fails is named in it instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pipelines import __version__
from pipelines.core import calendar_days, durable_files
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.core.termination import reason
from pipelines.jobs import last_audit
from pipelines.jobs.report import anomalies, change, samples, similar_ids
from pipelines.jobs.report.document import document
from pipelines.jobs.timings import Durations
from pipelines.lake.plan import Built, input_days
from pipelines.landing import printable_name
from pipelines.raw import deliveries
from pipelines.raw.deliveries import LandedSessions
from pipelines.raw.ingest import IngestReport
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import by_folder
from pipelines.raw.unknown_fields import UnknownField, unknown_fields
from pipelines.snapshots import changed_days, gates, manifest
from pipelines.snapshots.gates import Lost
from pipelines.snapshots.inputs import new_keys
from pipelines.snapshots.manifest import Snapshot
from pipelines.snapshots.publish import CheckResult, Published
from pipelines.snapshots.signals import Signals

SCHEMA_VERSION = 1  # of the JSON
_LAST = "policy"  # the last entry: after it comes a checksum, but in reports that were written before there was one
_SIGNAL = "signal"  # the kind of anomaly that is about the new files of a run, not about what is published
_ERASURE = "erasure"  # another
EXPECTED_DAYS = 14  # before as_of: a day among them of which nothing landed is missing; an older one is history

Result = TypeVar("Result")


class RunRecorder:
    """Collects what is known of a run so far, and writes its report. `publish` calls it as a RunObserver."""

    def __init__(self, settings: Settings, as_of: date, durations: Durations) -> None:
        self.settings = settings
        self.as_of = as_of
        self.durations = durations
        self.started_at = datetime.now(UTC)
        self.ingested: IngestReport | None = None
        self.raw: Sequence[RawFile] = ()
        self.built: Built | None = None
        self.published: Published | None = None
        self.empty_files: Collection[str] = ()  # names of landed files of sessions without a record
        self._judged: dict[str, Any] = {}
        self._of_snapshot: dict[str, Any] = {}
        self._rejected: list[dict[str, Any]] | None = None
        self._alike: list[dict[str, Any]] | None = None
        self._in_vain: list[str] | None = None
        self._section_keys: dict[str, str] = {}
        self._lost: Mapping[str, Lost] = {}
        self._newly_lost: Mapping[str, Lost] = {}
        self._signals: Signals | None = None
        self._problems: list[str] = []

    def judged(
        self,
        funnel: Mapping[str, int],
        newest_session: datetime | None,
        results: Sequence[CheckResult],
        refusals: Sequence[str],
        lost: Mapping[str, Lost],
        newly_lost: Mapping[str, Lost],
        signals: Signals,
    ) -> None:
        """See `publish.RunObserver`."""
        self._lost, self._newly_lost, self._signals = lost, newly_lost, signals
        self._judged = {
            "funnel": dict(funnel),
            "newest_session_at": newest_session and calendar_days.rfc3339(newest_session),
            "checks": [
                {
                    "table": result.check.model,
                    "check": result.check.title,
                    "severity": "fail" if result.check.fails else "warn",
                    "offenders": result.offenders,
                }
                for result in results
            ],
            "grounds": list(refusals),
        }

    def page(self, snapshot: Snapshot) -> bytes:
        """See `publish.RunObserver`: the report as far as the run has come."""
        self._compare(snapshot)
        return _html(self._facts("published", snapshot_id=snapshot.id))

    def facts(self, error: BaseException | None = None) -> dict[str, Any]:
        """The documented object of `mostwatched report --json`, of a run that has ended; `error` is what ended it."""
        ended = {"ended_at": calendar_days.rfc3339(datetime.now(UTC))}
        if error is not None or self.published is None:
            if self.built is not None:
                self._judge_cube(self.built)
            outcome = "refused" if isinstance(error, RefusedToPublish) else "failed"
            return self._facts(outcome, why=error and reason(error), **ended)
        done = self.published
        self._compare(done.snapshot)
        return self._facts(
            "published" if done.is_new else "unchanged",
            snapshot_id=done.snapshot.id,
            is_current=done.is_current,
            warnings=list(done.warnings),
            **ended,
        )

    def missing_days(self) -> list[date]:
        """The days before as_of that should have landed and have not."""
        zone = ZoneInfo(self.settings.day_timezone)
        awaited = [self.as_of - timedelta(days=back) for back in range(EXPECTED_DAYS, 0, -1)]
        landed = deliveries.landed_by_folder(self.raw, self.unread_files(), self.empty_files, zone)
        return [day for day, state in deliveries.judge(awaited, landed).items() if state == deliveries.MISSING]

    def unread_files(self) -> Iterator[str]:
        """Names of files of sessions that have landed and could not be read."""
        for file in self.ingested.postponed if self.ingested else ():
            if file.entity == "viewing_sessions":
                yield file.name

    def _compare(self, snapshot: Snapshot) -> None:
        """Work out what the snapshot says beside others and beside itself, once."""
        if self._of_snapshot:
            return
        cube = {
            date.fromisoformat(PurePosixPath(name).stem): (snapshot.path / name, facts["rows_sha256"])
            for name, facts in snapshot.files.items()
            if name.startswith(snapshot.cube)
        }
        before = self._attempt(
            "the snapshot before", lambda: changed_days.previous_snapshot(self.settings.snapshots, snapshot), None
        )
        self._of_snapshot = {
            "anomalies": self._anomalies(cube),
            "previous_snapshot_id": before and before.id,
            "change": None,
            "late": [],
        }
        if before is None:
            return
        inputs = change.inputs(before, snapshot)
        compared = self._section(
            "change", inputs, "the change", lambda: change.compare(self.settings, before, snapshot), None
        )
        revised_days: list[dict[str, Any]] = self._section(
            "late",
            inputs,
            "late days",
            lambda: change.revised_days(before, snapshot, self._reached(before, snapshot)),
            [],
        )
        self._of_snapshot |= {"change": compared, "late": revised_days}

    def _judge_cube(self, built: Built) -> None:
        """Of what was not published."""
        cube = {day: (stored.path, stored.digest) for day, stored in built.creator_reach.items() if stored.is_there}
        self._of_snapshot = {"anomalies": self._anomalies(cube)}

    def _anomalies(self, cube: Mapping[date, tuple[Path, str]]) -> list[dict[str, Any]]:
        """Those of a cube, given as its checked files and their digests, after what this run's new files lack."""
        paths = {day: path for day, (path, _) in cube.items()}
        least = self.settings.min_cell
        of_sessions = self.built.outcomes["session_outcomes"] if self.built else ()
        outcomes = {each.day: (each.path, each.digest) for each in of_sessions if each.day and each.is_there}

        def find() -> list[dict[str, Any]]:
            ends = {day: path for day, (path, _) in outcomes.items()}
            found = anomalies.find(self.settings, paths, self.as_of)
            shown = [one.as_json() for one in found if one.creator_id is None or min(one.value, one.median) >= least]
            early = anomalies.find_early_end(self.settings, ends, self.as_of)
            return [*([early.as_json()] if early else []), *shown]

        digests = {day: digest for day, (_, digest) in cube.items()}
        of_outcomes = {day: digest for day, (_, digest) in outcomes.items()}
        inputs = [least, *anomalies.inputs(digests, of_outcomes, self.as_of)]
        found: list[dict[str, Any]] = self._section("anomalies", inputs, "anomalies", find, [])
        said = [(_SIGNAL, sentence) for sentence in (self._signals.weaker if self._signals else ())]
        said += [(_ERASURE, sentence) for sentence in self._erasures_in_vain()]
        weaker = [
            {"kind": kind, "day": str(self.as_of - timedelta(days=1)), "creator_id": None, "sentence": sentence}
            | {"value": None, "median": None, "spreads": None}
            for kind, sentence in said
        ]
        return weaker + [one for one in found if one["kind"] not in (_SIGNAL, _ERASURE)]

    def _section(
        self, name: str, inputs: Sequence[object], what: str, work_out: Callable[[], Result], otherwise: Result
    ) -> Result:
        """A section of the report, from the last report of this as_of where that rested on the same `inputs`."""
        key = hashlib.sha256(json.dumps([__version__, *inputs]).encode()).hexdigest()
        is_same = self._last.get("section_keys", {}).get(name) == key  # safeguard: section-kept-for-the-same-inputs
        if is_same and name in self._last:
            self._section_keys[name] = key
            kept: Result = self._last[name]
            return kept

        def work_out_and_name() -> Result:
            found = work_out()
            self._section_keys[name] = key
            return found

        return self._attempt(what, work_out_and_name, otherwise)

    @cached_property
    def _last(self) -> dict[str, Any]:
        """The last report of this as_of; empty where there is none that can be read."""
        with suppress(UsageError, Damaged, OSError):
            return read(self.settings, self.as_of)
        return {}

    def _reached(self, before: Snapshot, after: Snapshot) -> set[date]:
        """The days of which files that landed in between hold sessions."""
        zone = ZoneInfo(self.settings.day_timezone)
        arrived = new_keys(before, after)
        folders = (folder for folder in by_folder(self.raw) if arrived and not arrived.isdisjoint(folder.keys))
        landed = [
            LandedSessions(file.landed_name, file, zone)
            for folder in folders
            if folder.entity == "viewing_sessions"
            for file in folder.landed
            if file.key in arrived
        ]
        return {day for file in landed for day in file.may_hold()}

    def _facts(self, outcome: str, **more: Any) -> dict[str, Any]:
        new = {file.key for file in self.ingested.new} if self.ingested else set()
        if self._rejected is None:
            rejected: list[dict[str, Any]] = self._section(
                "rejected",
                samples.inputs(self.raw, new),
                "rejected lines",
                lambda: samples.rejected_by_reason(self.settings, self.raw, new),
                [],
            )
            self._rejected = [
                row for row in rejected if row["reason"] != gates.OTHER_CURRENCY
            ]  # counted anew each time
        missing: list[date] = self._attempt("missing days", self.missing_days, [])
        facts: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "outcome": outcome,
            "as_of": self.as_of.isoformat(),
            "snapshot_id": None,
            "is_current": None,
            "previous_snapshot_id": None,
            "why": None,
            "grounds": [],
            "started_at": calendar_days.rfc3339(self.started_at),
            "ended_at": None,
            "seconds": 0.0,
            "landed": self._landed(),
            "unknown_fields": [one._asdict() for one in self._unknown_fields()],
            "records": gates.count_records(self.raw, self._lost) if self.raw else None,
            "funnel": None,
            "newest_session_at": None,
            "rejected": self._rejected + self._rejected_later(),
            "lost": [{"entity": entity} | asdict(lost) for entity, lost in self._lost.items()],
            "missing_days": [day.isoformat() for day in missing],
            "late": [],
            "checks": [],
            "durations": [],
            "change": None,
            "anomalies": [],
            "similar_ids": self._similar_ids(),
            "warnings": [],
            "last_audit": self._last_audit(),
            "problems": [],
            "section_keys": {},
            "code_version": __version__,
            "policy": self.settings.policy.as_json(),
        }
        found = facts | self._judged | self._of_snapshot | more
        found |= {
            "problems": list(dict.fromkeys(self._problems)),
            "section_keys": dict(self._section_keys),
            "durations": [took.as_json() for took in self.durations.so_far()],
            "seconds": round(self.durations.seconds(), 3),
        }
        return {name: found[name] for name in facts}

    def _similar_ids(self) -> list[dict[str, Any]]:
        """Ids of new files that look like others, worked out once."""
        new = self.ingested.new if self.ingested else ()
        if self._alike is None and new:
            days = input_days(self.as_of, self.settings.policy)
            found: list[dict[str, Any]] = self._attempt(
                "ids that look alike", lambda: similar_ids.find(self.settings, new, self.raw, days), []
            )
            self._alike = found
        return self._alike or []

    def _erasures_in_vain(self) -> list[str]:
        """Of new files, worked out once."""
        new = self.ingested.new if self.ingested else ()
        if self._in_vain is None:
            days = input_days(self.as_of, self.settings.policy)
            found: list[str] = self._attempt(
                "whom erasures name", lambda: similar_ids.erasures_in_vain(self.settings, new, self.raw, days), []
            )
            self._in_vain = found
        return self._in_vain

    def _rejected_later(self) -> list[dict[str, Any]]:
        """Rows of the rejected records for what was rejected after it was read."""
        return [
            {
                "entity": entity,
                "reason": reason,
                "records": records,
                "new_records": self._newly_lost[entity].rejected_later,
                "samples": [],
            }
            for entity, reasons in gates.rejected_later(self._lost).items()
            for reason, records in reasons.items()
        ]

    def _unknown_fields(self) -> Sequence[UnknownField]:
        """Those of the files that the snapshot before did not rest on; where it was not judged, of this run's."""
        if self._signals is not None:
            return self._signals.unknown
        return unknown_fields(self.ingested.new if self.ingested else ())

    def _last_audit(self) -> dict[str, Any] | None:
        def read() -> dict[str, Any] | None:
            record = last_audit.read(self.settings.lake)
            return asdict(record) if record else None

        return self._attempt("the last audit", read, None)

    def _landed(self) -> dict[str, Any] | None:
        found = self.ingested
        if found is None:
            return None
        return {
            "files": found.landed_files,
            "new_files": found.new_files,
            "new_records": found.new_records,
            "new_accepted": found.new_accepted,
            "new_rejected": found.new_rejected,
            "postponed": [vars(file) | {"file": file.name} for file in found.postponed],
            "unreadable": [
                {"entity": file.entity, "file": file.landed_name, "reason": file.unreadable}
                for file in found.unreadable.there
            ],
            "ignored": [{"file": printable_name(each.path), "reason": each.reason} for each in found.ignored],
        }

    def _attempt(self, what: str, work_out: Callable[[], Result], otherwise: Result) -> Result:
        """What a report says is worth no night: what fails is said in it."""
        try:
            return work_out()
        except Exception as error:  # safeguard: failed-report-stops-no-run
            said = " ".join(str(error).split()) or type(error).__name__
            self._problems.append(f"Of this report {what} could not be worked out: {said}")
            return otherwise


def save(settings: Settings, facts: Mapping[str, Any]) -> Path:
    """Write the report of a run that has ended under reports/, as a page and as JSON. Returns the path of the page.

    The last run of an as_of leaves the report of it. Needs the lock of the home.
    """
    durable_files.make_folder(settings.reports)
    path = settings.reports / f"{facts['as_of']}.html"
    durable_files.write_json(path.with_suffix(".json"), durable_files.with_checksum(facts))
    durable_files.write_bytes(path, _html(dict(facts)))
    return path


def _html(facts: dict[str, Any]) -> bytes:
    from pipelines.jobs.report import formats  # commands that write no report need not wait for Jinja2

    return formats.html(document(facts))


def read(settings: Settings, as_of: date | None) -> dict[str, Any]:
    """The facts of the last run of `as_of`, or of the last of all.

    Raises UsageError where there are none, and Damaged for one that is not what was written; asked for the last of all,
    also for any other: it may be the last.
    """
    kept = _kept(settings)
    if not kept or (as_of is not None and as_of not in kept):
        about = "" if as_of is None else f" as of {as_of}"
        known = ", ".join(map(str, sorted(kept)[-5:]))
        what = f"The newest are: {known}." if kept else "`mostwatched run` leaves one."
        raise UsageError(f"No run{about} has left a report in {settings.reports}. {what}")
    if as_of is not None:
        return _facts_of(kept[as_of])
    # Not the file that was changed last: in a copy of a bucket that is the one that was fetched last.
    newest_first = [kept[day] for day in sorted(kept, reverse=True)]
    return max(map(_facts_of, newest_first), key=lambda facts: str(facts["ended_at"]))


def _facts_of(path: Path) -> dict[str, Any]:
    """What a report's JSON says. Raises Damaged."""
    content = path.read_bytes()
    try:
        facts: dict[str, Any] = json.loads(content)
        last = list(facts)[-1]
        if last != _LAST:  # it has a checksum, or had one
            facts = durable_files.verify_checksum(content)  # safeguard: changed-report-not-shown
        if facts["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"it was written by another version (schema {facts['schema_version']})")
        if last == _LAST and facts["ended_at"]:
            document(facts)  # all that it needs is there
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = f"{error}" if isinstance(error, ValueError) else "it is not a report"
        raise Damaged(
            f"{path} cannot be read: {said}. The next run as of {path.stem} writes it again; remove it if there will "
            "be none. `mostwatched report --as-of DATE` shows others."
        ) from error
    return facts


def prune(settings: Settings) -> None:
    """Remove the reports of what is older than the oldest snapshot that is kept."""
    kept = manifest.snapshot_ids(settings.snapshots)
    if not kept:
        return
    # Each half by its own name: after a kill or a power failure either may be left alone.
    first_kept = manifest.as_of_from_id(kept[0])
    old = [path for half in (".html", ".json") for as_of, path in _kept(settings, half).items() if as_of < first_kept]
    for path in old:
        path.unlink()
    if old:
        durable_files.fsync(settings.reports)


def _kept(settings: Settings, half: str = ".json") -> dict[date, Path]:
    """The facts of every report by its as_of, or its page (`.html`)."""
    found = {}
    for path in settings.reports.glob(f"*{half}"):
        with suppress(ValueError):
            found[date.fromisoformat(path.stem)] = path
    return found
