"""The outcome of the last audit of a current snapshot: `lake/last_audit.json`. No decision depends on it.

A record that is missing or damaged leaves `status` and the report without an answer; the next audit writes a new one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.core import durable_files
from pipelines.core.errors import Damaged

NAME = "last_audit.json"
PASSED, DIFFERS, FAILED = OUTCOMES = ("passed", "differs", "failed")


@dataclass(frozen=True)
class LastAudit:
    """How the last audit ended, and when one last passed."""

    snapshot_id: str | None  # null: it could not be told which one is current
    ended_at: str  # UTC, RFC 3339
    outcome: str  # one of OUTCOMES
    differing: int  # values
    why: str | None  # nothing could be counted, or what differs first
    passed_at: str | None = None  # when an audit last passed
    passed_snapshot_id: str | None = None  # of which snapshot


def read(lake: Path) -> LastAudit | None:
    """The record, or None where no audit has left one. Raises Damaged when it is not what was written."""
    path = lake / NAME
    try:
        return LastAudit(**durable_files.verify_checksum(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}): how the last audit went is not known. The next one writes it anew."
        ) from error


def write(lake: Path, record: LastAudit) -> None:
    """Replace the record, atomically and durably."""
    durable_files.write_json(lake / NAME, durable_files.with_checksum(asdict(record)))
