"""The outcome of the last `run` in a home, for `status`: `lake/last_run.json`. No decision depends on it.

Written when a run begins and again when it ends, so that a run that was killed can be told from one that ended. A
record that is missing or damaged leaves `status` without an answer and changes nothing else; the next run writes a new
one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.core.termination import reason
from pipelines.raw.ingest import IngestReport

NAME = "last_run.json"
RUNNING = "at work"


@dataclass(frozen=True)
class LastRun:
    """The outcome of the last run, as far as it came."""

    as_of: str
    pid: int
    started_at: str  # UTC, RFC 3339
    ended_at: str | None = None
    outcome: str = RUNNING  # then published, unchanged, refused or failed
    snapshot_id: str | None = None
    why: str | None = None  # it was refused, or failed
    new_files: int = 0
    new_records: int = 0
    new_rejected: int = 0
    postponed: tuple[dict[str, Any], ...] = ()  # {"entity", "name", "reason"}
    # Names of landed files of sessions without a record. They are all the same bytes, of which raw keeps one name.
    empty_files: tuple[str, ...] = ()
    missing_days: tuple[str, ...] = ()  # of those before as_of, as far as was known
    report: str | None = None  # the page that it left


class Recorder:
    """Collects the record of a run that goes on."""

    def __init__(self, record: LastRun, before: LastRun | None) -> None:
        self.record = record
        self.before = before  # the run before it, as far as that is known

    def ingested(self, report: IngestReport) -> None:
        """Note what was read. The names of empty files add up from run to run."""
        self.update(
            new_files=report.new_files,
            new_records=report.new_records,
            new_rejected=report.new_rejected,
            postponed=tuple(vars(file) for file in report.postponed),
            empty_files=tuple(sorted({*self.record.empty_files, *report.again})),
        )

    def update(self, **facts: Any) -> None:
        """Change fields of the record, which is written when the run ends."""
        self.record = replace(self.record, **facts)


@contextmanager
def recorded(settings: Settings, as_of: date) -> Iterator[Recorder]:
    """Record the run inside, however it ends. Needs the lock of the home.

    A record that cannot be written, to a full disk say, neither stops the run nor hides why it failed.
    """
    before = None
    with suppress(Damaged):
        before = read(settings.lake)
    record = LastRun(str(as_of), os.getpid(), _now())
    if before:
        record = replace(record, empty_files=before.empty_files, missing_days=before.missing_days)
    recorder = Recorder(record, before)
    _write(settings.lake, recorder.record)
    try:
        yield recorder
    except BaseException as error:
        outcome = "refused" if isinstance(error, RefusedToPublish) else "failed"
        recorder.update(outcome=outcome, why=reason(error))
        raise
    finally:
        recorder.update(ended_at=_now())
        _write(settings.lake, recorder.record)


def read(lake: Path) -> LastRun | None:
    """The record, or None where no run has left one. Raises Damaged when it is not what was written."""
    path = lake / NAME
    try:
        content = json.loads(path.read_bytes())
        if content.pop("seal") != durable_files.checksum_of(content):
            raise ValueError("its checksum differs")
        known = {field.name: content[field.name] for field in fields(LastRun) if field.name in content}
        lists = ("postponed", "empty_files", "missing_days")
        return LastRun(**known | {name: tuple(known.get(name, ())) for name in lists})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}): how the last run went is not known. The next run writes another."
        ) from error


def _write(lake: Path, record: LastRun) -> None:
    with suppress(OSError):
        durable_files.write_json(lake / NAME, durable_files.with_checksum(asdict(record)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
