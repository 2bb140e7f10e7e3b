"""A run that is shown in Prefect, by a process of its own that the run does not depend on.

The run sends what happens to it, its stages, its report and its end, as lines of JSON to the stdin of a child, which
makes a flow run of them (`prefect_flows.report_run`). Prefect's server may be gone, slow or broken, its client may
hang: that is the child's matter. It is given END_SECONDS after the run, and what it could not show is one warning.
A child that is told of no end knows that the run was killed, and says so in Prefect.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from pipelines.core import logs
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Settings
from pipelines.core.termination import Terminated, reason
from pipelines.core.text import printable
from pipelines.jobs import nightly
from pipelines.jobs.nightly import NightReport
from pipelines.remote import Landing

Result = TypeVar("Result")

END_SECONDS = 60.0  # that Prefect may take once a run has ended; a client that starts needs some ten on a busy machine
TERMINATED_SECONDS = 3.0  # after SIGTERM: whoever sent it waits for us before they send SIGKILL
TOP = 20  # creators in the artifact
NO_SERVER = "No PREFECT_API_URL names a Prefect server: running as with --direct."


def run(
    settings: Settings,
    as_of: date,
    landing: Sequence[Landing] | None = None,
    *,
    accept_rejects: bool = False,
    allow_incomplete: bool = False,
    progress: Progress = no_progress,
) -> NightReport:
    """Run `nightly.run`, with the same result and errors, and show it as a flow run of the server of PREFECT_API_URL.

    That is named in the environment or in Prefect's profile. Without one the run is not shown: no server is started.
    """
    options = {"accept_rejects": accept_rejects, "allow_incomplete": allow_incomplete}
    reporter = PrefectReporter(
        {
            "as_of": str(as_of),
            "landing": None if landing is None else [str(folder) for folder in landing],
            "home": settings.home_name,
            "allow_future": True,  # whoever starts the run has asked the clock
        }
        | options
    )
    wait_seconds = END_SECONDS
    try:
        report = nightly.run(
            settings,
            as_of,
            landing,
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=progress,
            stage=reporter.stage,
            on_report=lambda facts: reporter.send("report", facts=facts),
        )
    except BaseException as error:
        reporter.send("end", error=logs.without_secrets(reason(error)))
        wait_seconds = TERMINATED_SECONDS if isinstance(error, Terminated | KeyboardInterrupt) else END_SECONDS
        raise
    else:
        with suppress(Exception):  # what is shown of it decides nothing
            reporter.send("published", **published_facts(report))
        reporter.send("end", error=None)
        return report
    finally:
        if problem := reporter.close(wait_seconds):  # safeguard: prefect-fails-no-run
            logs.run_log.warning("%s", printable(problem))


class PrefectReporter:
    """The child that shows one run in Prefect. Nothing here waits for it but `close`, and that for a limited time."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """`parameters` are those of the flow."""
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._problem: str | None = None
        self._child: subprocess.Popen[bytes] | None = None
        if not may_name_server():
            self._problem = NO_SERVER
            return
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipelines.jobs.prefect_flows"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
                start_new_session=True,  # ^C is the run's, which tells the child how it ended
            )
        except OSError as error:
            self._problem = f"The run is not shown in Prefect: {error.strerror}."
        else:
            # A thread writes, so that a child that does not read keeps nobody waiting.
            threading.Thread(target=self._write, name="to Prefect", daemon=True).start()
        self.send("begin", parameters=parameters)

    def stage(self, name: str, function: Callable[[], Result]) -> Result:
        """Run a stage of the run, which is a task of the flow run."""
        self.send("stage", name=name)
        try:
            result = function()
        except BaseException as error:
            self.send("stage ended", error=logs.without_secrets(reason(error)))
            raise
        self.send("stage ended", error=None)
        return result

    def send(self, event: str, **facts: Any) -> None:
        """Tell the child what happened. Never waits."""
        self._lines.put(json.dumps({"event": event} | facts, default=str).encode() + b"\n")

    def close(self, seconds: float) -> str | None:
        """Wait up to `seconds` for the child to have shown everything, then end it. Returns what it could not show."""
        if self._child is None:
            return self._problem
        self._lines.put(None)
        is_late = False
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            is_late = True
            self._child.kill()  # safeguard: prefect-has-limited-time
            self._child.wait()
        assert self._child.stdout is not None
        with self._child.stdout as stdout:
            said = {key: text for line in stdout.read().decode().splitlines() for key, text in json.loads(line).items()}
        if is_late:
            problem: str = f"it had not answered {seconds:g} seconds after the run"
        elif self._child.returncode and "problem" not in said:
            problem = f"its client ended with exit code {self._child.returncode}"
        else:
            problem = said.get("problem", "")
        if "no_server" in said:
            return NO_SERVER
        if not problem:
            return None
        if "began" in said:
            return f"Not all of the run is shown in Prefect: {problem}. What Prefect shows decides nothing."
        return f"Prefect cannot be reached: {problem}. Running as with --direct."

    def _write(self) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with suppress(OSError), self._child.stdin as stdin:  # it has ended: `close` says why
            while (line := self._lines.get()) is not None:
                stdin.write(line)
                stdin.flush()


def may_name_server() -> bool:
    """Return whether there is anything that Prefect's settings may come from: without it they name no server.

    What they name is for Prefect to say. To import it takes two seconds of CPU, more than a run without news.
    """
    if {name.upper() for name in os.environ} & {"PREFECT_API_URL", "PREFECT_PROFILES_PATH"}:
        return True
    # Unlike Path's, this expanduser is content with a user who has no home.
    prefect_home = Path(os.environ.get("PREFECT_HOME") or os.path.expanduser("~/.prefect"))  # noqa: PTH111
    if any(path.exists() for path in (prefect_home / "profiles.toml", Path("prefect.toml"), Path(".env"))):
        return True
    try:
        return "prefect" in tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # Prefect says what is wrong with it


def published_facts(report: NightReport) -> dict[str, Any]:
    """What the artifacts of a run that published show, as plain values."""
    snapshot = report.published.snapshot
    window = max(snapshot.manifest["windows"])
    rankings = snapshot.table("creator_rankings.parquet").to_pylist()
    top = [row for row in rankings if row["window_days"] == window and row["position"] <= TOP]
    counts = report.as_json()
    names = ("records", "accepted", "rejected", "new_records", "new_files", "is_current")
    return {
        "as_of": str(report.as_of),
        "snapshot_id": snapshot.id,
        "folder": str(snapshot.path),
        "uri": snapshot.path.absolute().as_uri(),
        "window": window,
        "top": sorted(top, key=lambda row: int(row["position"])),
        "funnel": report.funnel,
    } | {name: counts[name] for name in names}
