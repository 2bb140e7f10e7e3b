"""What is expected of a command to which the operating system refused something."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from faults.children import Answer, Case

RETRIES = 2

# A step that takes long says how far it has come, how fast, and how long it will take.
PROGRESS = re.compile(r".*: [\d,.]+( [kMG]?B)? of [\d,.]+( [kMG]?B)?(, [\d,.]+( [kMG]?B)?/s, [\d:]+ left)?")
# What a run leaves beside its snapshot is worth no night: that it could not be written is said, and nothing else.
NO_REPORT = re.compile(r"mostwatched: the (report|metrics file) could not be written: .+")
# What a network file system gets over is tried again, twice.
TRIED_AGAIN = re.compile(r"mostwatched: .+\. Trying again in \d+ seconds\.")
PASSING = ("EIO",)
SENTENCE = re.compile(r"mostwatched: \S.*\.")
REMEDY = re.compile(r"\b([Ff]ree|[Rr]aise|[Gg]ive|[Rr]un|[Cc]heck|publishes)\b.*")

WITHOUT_REASON = "error closing file"  # all that PyArrow says of that


def problem_said(answer: Answer, home: Path, error: str) -> str | None:
    """What is wrong with how it said so: in one sentence that says what and where, and then what to do."""
    if answer.died:
        return "it died"
    said = [line for line in answer.err.splitlines() if not (PROGRESS.fullmatch(line) or NO_REPORT.fullmatch(line))]
    if error in PASSING:
        tries = [line for line in said if TRIED_AGAIN.fullmatch(line)]
        if len(tries) > RETRIES:
            return f"it tried more often than it should: {tries}"
        said = [line for line in said if line not in tries]
    if answer.exit == 0:
        return f"it was done, but said {said}" if said else None
    if answer.exit != 1:
        return f"exit code {answer.exit}: {answer.err[-500:]}"
    if len(said) != 1 or not SENTENCE.fullmatch(said[0]):
        return "it said " + " / ".join(said[-3:] if said else ["nothing"])
    reason = os.strerror(getattr(errno, error))
    what = reason if reason in said[0] else WITHOUT_REASON
    if what not in said[0] or str(home) not in said[0] or not REMEDY.search(said[0].rpartition(what)[2]):
        return f"it does not say what ({reason}), where and what to do: {said[0]}"
    return None


def problem_when_done(answer: Answer, home: Path, case: Case) -> str | None:
    """A command that says it is done is done, whatever was refused on the way."""
    if answer.exit or case.name == "prune":  # which leaves what it could not look at
        return None
    return case.problem_now(home, names_too=False)
