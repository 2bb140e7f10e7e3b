"""Everybody who reads a home: the command line's questions and the read API's loader. See corruption.py."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from noise import USERS

from pipelines.api.snapshot_watcher import Serving, Watcher
from pipelines.cli import cli
from pipelines.core.errors import Damaged, MostwatchedError, NoSnapshot

NOW_MS = 1_767_000_000_000  # the instant at which the API is asked; any one will do
ENVIRONMENT = {"MOSTWATCHED_THREADS": "1", "MOSTWATCHED_MEMORY_LIMIT": "500MB", "MOSTWATCHED_MAX_WINDOW_DAYS": "30"}

RANKINGS: dict[str, Sequence[str]] = {
    "top": ("top",),
    "top --window 1": ("top", "--window", "1"),
    "top --window 7": ("top", "--window", "7"),
    "top --window 13": ("top", "--window", "13"),
    "top --from 25 --to 28": ("top", "--from", "2026-01-25", "--to", "2026-01-28"),
    "top --from 29 --to 31": ("top", "--from", "2026-01-29", "--to", "2026-01-31"),
}
LISTS: dict[str, Sequence[str]] = {
    "sql": ("sql", "from creator_reach order by all"),
    "rejects": ("rejects",),
    "snapshots list": ("snapshots", "list"),
    "snapshots verify": ("snapshots", "verify"),
}
API = "the API"
ALL = (*RANKINGS, *LISTS, API)


@dataclass(frozen=True)
class Outcome:
    """What a reader was told."""

    is_answer: bool
    text: str  # the answer, or the error
    is_clear: bool = True  # an error that says what is wrong, not whatever a library came across


class Readers:
    """Asks the questions of one home, in this process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._runner = CliRunner(env=ENVIRONMENT)
        logging.getLogger("mostwatched.api").addHandler(self.heard)
        logging.getLogger("mostwatched.api").propagate = False

    class _Heard(logging.Handler):
        """Keeps why the API last failed to load."""

        last: logging.LogRecord | None = None

        def emit(self, record: logging.LogRecord) -> None:
            self.last = record

    heard = _Heard()

    def ask(self, questions: Iterable[str] = ALL) -> dict[str, Outcome]:
        """What each is told."""
        return {question: self._ask(question) for question in questions}

    def _ask(self, question: str) -> Outcome:
        if question == API:
            return self.served(Watcher(self.home / "snapshots"))
        words = {**RANKINGS, **LISTS}[question]
        result = self._runner.invoke(cli, ["--home", str(self.home), *words, "--json"])
        error = result.exception
        if error is None:
            return Outcome(True, result.stdout)
        if isinstance(error, MostwatchedError):
            # not as if the question were wrong
            return Outcome(False, f"{type(error).__name__}: {error}", isinstance(error, (Damaged, NoSnapshot)))
        if isinstance(error, SystemExit):
            return Outcome(False, result.stdout + result.stderr, error.code == 1)
        return Outcome(False, repr(error), is_clear=False)

    def served(self, watcher: Watcher) -> Outcome:
        """What an API serves after a look at the pointer."""
        self.heard.last = None
        watcher.refresh()
        if watcher.serving is not None:
            return Outcome(True, bodies(watcher.serving))
        said = self.heard.last
        if said is None:
            return Outcome(False, "no snapshot yet")
        return Outcome(False, str(said.__dict__.get("reason")), is_clear=said.exc_info is None)


def bodies(serving: Serving) -> str:
    """Every body, and every value behind a header, that the API would send."""
    ranking = serving.ranking
    users = (*USERS, "nobody")
    parts = [
        ranking.anonymous_data(1000),
        *(ranking.data_for(ranking.followed(user, 1000), ranking.size) for user in users),
        *(serving.funded.data_for(user, NOW_MS) for user in users),
        serving.streams.data({}),
        serving.streams.data({"status": "active"}),
    ]
    about = [serving.snapshot_id, serving.published_ms, serving.window, serving.data_until]
    return json.dumps([*about, *(part.decode() for part in parts)])


def without_times(outcome: Outcome) -> str:
    """An answer but for when a snapshot was written and pointed to, and its size: a healed one is newer."""
    text = re.sub(r'"(created_at|published_at)": "[^"]*"|"bytes": \d+', "", outcome.text)
    return re.sub(r'^(\["[^"]*"), \d+', r"\1", text)
