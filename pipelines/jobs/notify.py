"""Notifications about a run that failed, was refused or is late, and about its recovery: a command, a webhook.

Both get the same JSON object: {"event", "text", "as_of", "home", "host", "at", "outcome", "snapshot_id", "why",
"missing_days", "report"}. `text` is the whole message, which is what chat webhooks show.

A hook changes nothing about the run: it is called when all is done and the lock is free, has a limited time, and what
goes wrong with it is one line in the log, which names neither the command's arguments nor the URL's path.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pipelines.core import http_client, logs
from pipelines.core.settings import Settings
from pipelines.core.text import printable
from pipelines.jobs.last_audit import PASSED, LastAudit
from pipelines.jobs.last_run import LastRun

FAILED, REFUSED, LATE, RECOVERED = "failed", "refused", "late", "recovered"
COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 20.0  # for all attempts together
ATTEMPT_SECONDS = 6.0
ATTEMPTS = 3
FIRST_WAIT_SECONDS = 1.0  # before the second attempt; twice as long before the third
WHY_CHARS = 1500  # of a reason: chat services refuse long messages

_WELL = ("published", "unchanged")


@dataclass(frozen=True)
class Event:
    """A notification: something that needs attention, or its recovery."""

    event: str
    text: str
    as_of: str
    outcome: str
    snapshot_id: str | None = None
    why: str | None = None
    missing_days: Sequence[str] = ()
    report: str | None = None


def events(facts: Mapping[str, Any], before: LastRun | None, report: str | None) -> list[Event]:
    """Return the notifications after a run, given its report's facts and the record of the run before it.

    A missing day is notified once, by the first run that misses it.
    """
    outcome, as_of = facts["outcome"], facts["as_of"]
    was_missing = set(before.missing_days) if before else set()
    newly_missing = [day for day in facts["missing_days"] if day not in was_missing]
    was_bad = before is not None and before.outcome not in _WELL

    def event(kind: str, text: str, missing: Sequence[str] = facts["missing_days"]) -> Event:
        why = facts["why"] and logs.without_secrets(printable(facts["why"]))[:WHY_CHARS]
        return Event(kind, text, as_of, outcome, facts["snapshot_id"], why, list(missing), report)

    if outcome == FAILED:
        return [event(FAILED, f"The run as of {as_of} failed; the last snapshot stays current.")]
    if outcome == REFUSED:
        return [event(REFUSED, f"The run as of {as_of} could mislead.")]
    found = []
    if newly_missing:
        days = ", ".join(newly_missing)
        found.append(event(LATE, f"Viewing sessions are late: those of {days} are missing.", newly_missing))
    if was_bad:
        still = ", ".join(facts["missing_days"])
        how = f"sessions are still missing, those of {still}" if still else "all is well again"
        found.append(event(RECOVERED, f"The run as of {as_of} is {outcome}: {how}."))
    elif was_missing and not facts["missing_days"]:
        found.append(event(RECOVERED, "The viewing sessions that were late have landed."))
    return found


def audit_events(record: LastAudit, before: LastAudit | None) -> list[Event]:
    """Return the notifications after an audit, given the record of the one before it."""
    as_of = (record.snapshot_id or "")[:10]

    def event(kind: str, text: str) -> Event:
        why = record.why and logs.without_secrets(printable(record.why))[:WHY_CHARS]
        return Event(kind, text, as_of, record.outcome, record.snapshot_id, why)

    if record.outcome == PASSED:
        was_bad = before is not None and before.outcome != PASSED
        return [event(RECOVERED, f"The audit of {record.snapshot_id} passed: all is well again.")] if was_bad else []
    values = "1 value that differs" if record.differing == 1 else f"{record.differing:,} values that differ"
    said = f"found {values}" if record.differing else "could not count it again"
    return [event(FAILED, f"The audit of the current snapshot, {record.snapshot_id}, {said}.")]


def late_events(answer: Mapping[str, Any], expected_days: int) -> list[Event]:
    """Return the notifications by the answer of `status`: a run is late, or days are missing.

    `expected_days` are the last days of the answer that should have landed.
    """
    as_of, snapshot, run = answer["as_of"], answer["snapshot"], answer["last_run"]
    days = [row["day"] for row in answer["days"][-expected_days:] if row["state"] == "missing"]
    said = []
    if snapshot is None or snapshot["as_of"] < as_of:
        newest = snapshot["as_of"] if snapshot else "none"
        said.append(f"no snapshot as of {as_of} has been published yet (the newest: {newest})")
    if days:
        said.append(f"the viewing sessions of {', '.join(days)} are missing")
    if run and run["outcome"] == "died":
        said.append(f"the run as of {run['as_of']} died")
    if not said:
        return []
    text = "; ".join(said)
    outcome = run["outcome"] if run else "none"
    return [
        Event(
            LATE,
            f"{text[0].upper()}{text[1:]}.",
            as_of,
            outcome,
            snapshot and snapshot["snapshot_id"],
            run and run["why"] and logs.without_secrets(printable(run["why"]))[:WHY_CHARS],
            days,
            run and run["report"],
        )
    ]


def is_wanted(settings: Settings) -> bool:
    """Whether a hook is configured."""
    return bool(settings.notify_command or settings.notify_webhook)


def send(settings: Settings, found: Sequence[Event]) -> None:
    """Send every event to every hook. Failures are logged and never raised."""
    for event in found:
        content = {
            "event": event.event,
            "text": f"{event.text} {event.why}" if event.why else event.text,
            "as_of": event.as_of,
            "home": str(settings.home),
            "host": socket.gethostname(),
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "outcome": event.outcome,
            "snapshot_id": event.snapshot_id,
            "why": event.why,
            "missing_days": list(event.missing_days),
            "report": event.report,
        }
        body = json.dumps(content).encode() + b"\n"
        if settings.notify_command:
            _log_outcome(event, "command", _run(settings.notify_command, body))
        if settings.notify_webhook:
            _log_outcome(event, "webhook", deliver(settings.notify_webhook, body))


def _log_outcome(event: Event, hook: str, problem: str | None) -> None:
    facts = {"notification": event.event, "hook": hook}
    if problem is None:
        logs.run_log.info("notified", extra=facts)
    else:
        logs.run_log.warning("the %s about %s did not get through: %s", hook, event.event, problem, extra=facts)


# --- the command ---------------------------------------------------------------------------------------------------


def _run(command: str, body: bytes) -> str | None:
    """Run a command with `body` on its stdin; what went wrong, if anything did. No shell sees any of it."""
    words = shlex.split(command)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # stdout is ours: the result of the run
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    try:
        process.communicate(body, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it had not ended after {COMMAND_SECONDS:g} seconds"
    except OSError as error:
        return f"it cannot be notified: {error.strerror}"
    finally:
        _end(process)
    return f"it ended with exit code {process.returncode}" if process.returncode else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started and left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # safeguard: hung-command-ended-whole
    process.wait()


# --- the webhook ---------------------------------------------------------------------------------------------------


def deliver(url: str, body: bytes, method: str = "POST", content_type: str = "application/json") -> str | None:
    """Send `body`, again where that may help; what went wrong in the end, if anything did. Never raises."""
    problems: list[str | None] = []

    def attempts() -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
            problem, may_help = _attempt(url, body, method, content_type)
            problems.append(problem)
            if not may_help:
                return

    # In a thread of its own: to look up the name of a host takes as long as it takes.
    thread = threading.Thread(target=attempts, name="webhook", daemon=True)
    thread.start()
    thread.join(WEBHOOK_SECONDS)
    where = f" ({urlsplit(url).hostname})"
    if thread.is_alive():
        return f"no answer after {WEBHOOK_SECONDS:g} seconds{where}"
    return problems[-1] + where if problems[-1] else None


def _attempt(url: str, body: bytes, method: str, content_type: str) -> tuple[str | None, bool]:
    """(what went wrong, whether another attempt may help)."""
    try:
        # A redirect could send the notification, and the secret in the path, to anybody: none is followed.
        # safeguard: redirect-of-a-webhook
        status, _ = http_client.request(method, url, body=body, content_type=content_type, seconds=ATTEMPT_SECONDS)
    except Exception as error:
        return f"it cannot be reached: {error if isinstance(error, OSError) else type(error).__name__}", True
    if status in range(300, 400):
        return f"it answered {status}: redirects are not followed", False
    return f"it answered {status}" if status >= 400 else None, status >= 500 or status in (408, 429)
