"""Run `mostwatched explain` for the server, in a process of its own, one at a time.

An explanation runs the nightly job again over the records of one creator, which takes an engine, seconds and memory.
The server has none to spare, so it starts the command, and ends it when it takes too long or when its client has left.
Few may wait for their turn; further ones are refused at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

from pipelines.api.answers import Range
from pipelines.core.scratch import sweep_scratch
from pipelines.core.settings import Settings, variable

SECONDS = 120  # for one answer; longer ones are for the command line
UNKNOWN = 2  # the command's exit code for what it was asked
MAX_WAITING = 2  # questions: one at work and one that waits for it
RETRY_AFTER_SECONDS = 15  # for those that are one too many: most answers take a few seconds


class ExplanationError(Exception):
    """There is no explanation; the message says why, and what to do."""


class NoSuchCreator(ExplanationError):
    """Nothing has landed of such a creator."""


class TooManyRequests(ExplanationError):
    """Too many explanations are waiting already."""


class Explainer:
    """Runs the command line on the home of one server."""

    def __init__(self, settings: Settings, seconds: float = SECONDS) -> None:
        self._home = settings.home
        # Of a home in a bucket only what is published is brought here; and this user may be one who reads no more.
        is_readable = not settings.lake.exists() or os.access(settings.lake, os.R_OK | os.X_OK)
        self.can_explain = settings.home_url is None and is_readable
        self._seconds = seconds
        self._one_at_a_time = asyncio.Lock()
        self._asked = 0  # questions at work and waiting

    async def explain(self, snapshot_id: str, creator_id: str, days: Range) -> dict[str, Any]:
        """Return the object of `mostwatched explain --json`. Raises ExplanationError. Cancelling ends its process."""
        if not self.can_explain:
            raise ExplanationError(
                "This server holds what is published, not what landed: use mostwatched explain instead"
            )
        if self._asked >= MAX_WAITING:  # safeguard: explanations-do-not-queue
            raise TooManyRequests(f"Others are asking too, one at a time: try again in {RETRY_AFTER_SECONDS} seconds")
        days_asked = ["--from", days.first.isoformat(), "--to", days.end.isoformat()]
        asked = ["explain", "--snapshot", snapshot_id, *days_asked, "--json", "-"]
        self._asked += 1
        try:
            async with self._one_at_a_time:
                code, answer, said = await self._run(asked, f"{creator_id}\n".encode())
        finally:
            self._asked -= 1
        with suppress(ValueError, IndexError):
            # also of exit code 1, when what landed does not give what was published: that is an answer
            explanation: dict[str, Any] = json.loads(answer.splitlines()[-1])
            return explanation
        lines = said.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1].removeprefix("mostwatched: ") if lines else f"mostwatched explain ended with {code}"
        raise (NoSuchCreator if code == UNKNOWN else ExplanationError)(reason)

    async def _run(self, arguments: list[str], creator_id: bytes) -> tuple[int | None, bytes, bytes]:
        # Not as arguments: what stands there every user of the machine can read.
        environment = os.environ | {
            variable("home"): str(self._home),
            variable("log_format"): "text",
            variable("log_level"): "ERROR",
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pipelines.cli"),
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        try:
            # safeguard: explanation-ends-in-time
            answer, said = await asyncio.wait_for(child.communicate(creator_id), self._seconds)
        except TimeoutError:
            raise ExplanationError(
                f"It takes longer than {self._seconds:,.0f} seconds: use mostwatched explain instead"
            ) from None
        finally:
            if child.returncode is None:  # too long, or the client has left, or the server stops
                child.kill()
                await child.wait()
                await asyncio.to_thread(sweep_scratch, self._home)  # safeguard: nothing-stays-of-an-explanation
        return child.returncode, answer, said
