"""The read API on one worker, against a bare Starlette application that answers constant bytes of the same size.

The client runs on the same cores, so the rate says as much of it as of the server; the main figure is how many
requests a server answers for a second of its own CPU time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.answers import DifferentAnswers
from tests.benchmarks.contenders import tell
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must, python
from tests.benchmarks.report import Goal, Row, Section
from tests.benchmarks.server import Server, serving
from tests.benchmarks.workload import AS_OF, Workload, night, product

RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"

_ANONYMOUS, _WITH_TOKEN = Goal(at_least=0.8), Goal(at_least=0.4)
_P99 = Goal(at_most=10)  # milliseconds
_START = Goal(at_most=2)  # seconds
_WARM_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """Something to ask a server for."""

    name: str
    contender: str
    server: Server
    path: str
    tokens: Path | None = None
    bare: str | None = None  # the task of the bare application to compare with
    goal: Goal | None = None


def measure(options: Options, workload: Workload) -> Section:
    """Start-up, rates in turn, and latency at half the highest rate."""
    folder = workload.folder / "api"
    shutil.rmtree(folder, ignore_errors=True)
    dimensions = (
        "--sessions",
        workload.sessions,
        "--days",
        workload.days + 1,
        "--seed",
        options.seed,
        "--as-of",
        AS_OF,
    )
    must(python("tests.benchmarks.callers", folder, "--pledges", options.api_pledges, *dimensions))
    env = {"MOSTWATCHED_JWKS": str(folder / "jwks.json")}
    with workload.copy(workload.after) as home:
        must(night(home, AS_OF, folder / "landing"), env=workload.env)

        def command(port: int) -> Sequence[str]:
            return product(home, "serve", "--port", port)

        starts = []
        for _ in range(options.runs):
            with serving(command, "/readyz", env) as server:
                starts.append(server.ready_seconds)
        tell(f"  ready after {median(starts):.2f} s")
        with serving(command, "/readyz", env) as server:
            rows, says = _rates(options, workload, server, folder / "tokens.txt")
    shutil.rmtree(folder)
    what = f"start to ready, {options.api_pledges:,} pledges"
    return Section("api", "The read API", says, [*rows, Row(what, "mostwatched", starts, goal=_START)])


def _rates(options: Options, workload: Workload, server: Server, tokens: Path) -> tuple[list[Row], str]:
    token = tokens.read_text().split()[0]
    ranking, funded = _body(server, RANKING, None), _body(server, FUNDED, token)
    _check(workload, ranking, funded, options)
    sizes = (len(ranking), len(funded))
    with serving(lambda port: python("tests.benchmarks.bare", port, *sizes), "/0") as bare:
        of_ranking, of_funded = (f"bare Starlette, {size:,} bytes" for size in sizes)
        tasks = [
            Task(of_ranking, "starlette", bare, "/0"),
            Task(of_funded, "starlette", bare, "/1"),
            Task("ranking, anonymous", "mostwatched", server, RANKING, None, of_ranking, _ANONYMOUS),
            Task("ranking, with a token", "mostwatched", server, RANKING, tokens, of_ranking, _WITH_TOKEN),
            Task("funded, with a token", "mostwatched", server, FUNDED, tokens, of_funded, _WITH_TOKEN),
        ]
        for task in tasks:
            _load(task, _WARM_SECONDS)
        rates: dict[str, list[float]] = {task.name: [] for task in tasks}
        by_cpu: dict[str, list[float]] = {task.name: [] for task in tasks}
        for turn in range(options.runs):
            for task in tasks:
                before = task.server.cpu()
                found = _load(task, options.api_seconds)
                rates[task.name].append(found["requests"] / found["seconds"])
                by_cpu[task.name].append(found["requests"] / (task.server.cpu() - before))
                tell(f"  {turn + 1}/{options.runs} {task.name}: {rates[task.name][-1]:,.0f} requests/s")
        half = {name: median(values) / 2 for name, values in rates.items()}
        at_half: dict[str, list[dict[str, Any]]] = {task.name: [] for task in tasks}
        for _ in range(options.runs):
            for task in tasks[1:]:  # one of the bare application is enough to compare with
                at_half[task.name].append(_load(task, options.api_seconds, half[task.name]))
    rows = [_rate_row(task, by_cpu, "requests per CPU second", task.goal) for task in tasks]
    rows += [_rate_row(task, rates, "requests/s", None) for task in tasks]
    rows += [_latency_row(task, half[task.name], at_half[task.name]) for task in tasks[1:]]
    says = (
        f"One worker, 32 connections, {options.api_seconds:g} s each, the client on the same cores: what counts is "
        "requests per second of the server's own CPU time. The ratio is to a bare Starlette application on the same "
        f"uvicorn that answers as many constant bytes. Tokens are RS256, {len(tokens.read_text().split())} in turn. "
        "Latency is at half the highest rate, counted from when each request was due."
    )
    return rows, says


def _rate_row(task: Task, figures: dict[str, list[float]], unit: str, goal: Goal | None) -> Row:
    values = figures[task.name]
    if task.bare is None:
        return Row(task.name, task.contender, values, unit=unit)
    ratio = median(values) / median(figures[task.bare])
    return Row(task.name, task.contender, values, unit=unit, ratio=ratio, ratio_is="of the bare one", goal=goal)


def _latency_row(task: Task, rate: float, found: Sequence[dict[str, Any]]) -> Row:
    middle, longest = median(one["p50_ms"] for one in found), max(one["max_ms"] for one in found)
    return Row(
        f"{task.name}: 99 % within, at {rate:,.0f} requests/s",
        task.contender,
        [one["p99_ms"] for one in found],
        unit="ms",
        goal=_P99 if task.bare else None,
        note=f"50 %: {middle:.2f} ms, longest {longest:.1f} ms",
    )


def _load(task: Task, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """Put load on a task. Raises Failed when an answer is not 200."""
    arguments: list[object] = ["--port", task.server.port, "--path", task.path, "--seconds", seconds]
    arguments += ["--rate", rate] if rate is not None else []
    arguments += ["--tokens", task.tokens] if task.tokens is not None else []
    found: dict[str, Any] = json.loads(must(python("tests.benchmarks.load", *arguments)).stdout)
    if found["errors"] or not found["requests"]:
        raise Failed(f"{task.name}: {found['errors']} of {found['requests']} requests failed.")
    return found


def _body(server: Server, path: str, token: str | None) -> bytes:
    status, body = server.get(path, token)
    if status != 200:
        raise Failed(f"{path} answered {status}: {body[:200]!r}")
    return body


def _check(workload: Workload, ranking: bytes, funded: bytes, options: Options) -> None:
    """The API must list the creators that the command line does, and the caller's funded streams."""
    served = [creator["_id"] for creator in json.loads(ranking)["data"]]
    ranked = [creator for creator, _ in workload.top(workload.after)]
    if served != ranked:
        raise DifferentAnswers("The API's creators are not those of `mostwatched top`, in their order.")
    if options.api_pledges and not json.loads(funded)["data"]:
        raise Failed("The caller has pledged, but the API serves no funded stream.")
