"""Prefect decides nothing and breaks nothing: whatever its server does, a run that publishes is a success."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from prefect_harness import PrefectServer, started_server

from pipelines.cli import cli
from pipelines.core import logs
from pipelines.jobs import prefect_reporter
from pipelines.landing.synthetic import generate

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.timeout(300)]

AS_OF = "2026-03-02"
UNREACHED = "Prefect cannot be reached: "
UNSHOWN = "Not all of the run is shown in Prefect: "


class Nights:
    """A home whose last run failed, so that the hook has something to say of the next one that publishes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = folder / "home"
        self.notified = folder / "notified"
        self.landing = folder / "landing"
        hook = folder / "hook"
        hook.write_text(f"#!/bin/sh\ncat >> {self.notified}\n")
        hook.chmod(0o755)
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MOSTWATCHED_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("MOSTWATCHED_NOTIFY_COMMAND", str(hook))
        monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
        self.monkeypatch = monkeypatch
        generate(self.landing, days=3, sessions_per_day=50, seed=1, as_of=date.fromisoformat(AS_OF))

    def run(self, url: str, seconds: float, *arguments: str) -> tuple[str, float]:
        """One run with that server, which must publish; gives its one line about Prefect and how long it took."""
        self.monkeypatch.setenv("PREFECT_API_URL", url)
        self.monkeypatch.setattr(prefect_reporter, "END_SECONDS", seconds)
        logs.configure(None)
        began = time.monotonic()
        done = CliRunner().invoke(
            cli,
            ["--home", str(self.home), "run", "--json", "--as-of", AS_OF, "--landing", str(self.landing), *arguments],
        )
        took = time.monotonic() - began
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["snapshot_id"].startswith(AS_OF)
        (warning,) = [line for line in done.stderr.splitlines() if "mostwatched: " in line] or [""]
        return warning.removeprefix("mostwatched: "), took

    def fail(self) -> None:
        done = CliRunner().invoke(
            cli, ["--home", str(self.home), "run", "--direct", "--as-of", AS_OF, "--landing", str(self.home / "none")]
        )
        assert done.exit_code != 0
        assert self.events() == ["failed"]

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.notified.read_text().splitlines()]


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    return Nights(tmp_path, monkeypatch)


def ways_to_kill() -> dict[str, Callable[[pytest.MonkeyPatch, Callable[[], None]], None]]:
    """How a test has the server killed at a moment of the run."""

    def when(event: str) -> Callable[[pytest.MonkeyPatch, Callable[[], None]], None]:
        def arrange(monkeypatch: pytest.MonkeyPatch, kill: Callable[[], None]) -> None:
            send = prefect_reporter.PrefectReporter.send

            def sending(self: Any, told: str, **facts: Any) -> None:
                if event in (told, facts.get("name")):
                    kill()
                send(self, told, **facts)

            monkeypatch.setattr(prefect_reporter.PrefectReporter, "send", sending)

        return arrange

    return {"during the build": when("build"), "after the publish": when("report")}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ways_to_kill())
def test_a_server_that_is_killed(moment: str, nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one: the night publishes, says one warning, calls its hooks. The next one, without any, runs directly."""
    auth = f"mostwatched:{secrets.token_hex(8)}"
    nights.fail()
    with started_server(tmp_path, auth) as (server, process):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", auth)
        with monkeypatch.context() as patch:

            def kill() -> None:
                _wait_until_shown(server)
                process.send_signal(signal.SIGKILL)
                process.wait()

            ways_to_kill()[moment](patch, kill)
            warning, took = nights.run(server.url, 12)
        assert warning.startswith(UNSHOWN)
        assert took < 120
        assert nights.events() == ["failed", "recovered"]
        warning, _ = nights.run(server.url, 60)
        assert warning.startswith(UNREACHED)
        assert warning.endswith("Running as with --direct.")


def _wait_until_shown(server: PrefectServer) -> None:
    """Until a task of the run is shown, whose client then knows that it began: before that is another case."""
    give_up_at = time.monotonic() + 60
    while not server.ask("POST", "/task_runs/filter", {}):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


@contextmanager
def silent() -> Iterator[str]:
    """It accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api"


@contextmanager
def failing() -> Iterator[str]:
    """It answers 500 to everything."""
    with _standing_in(lambda _handler: (500, b"{}")) as url:
        yield url


@contextmanager
def slow(real: PrefectServer) -> Iterator[str]:
    """It answers as a real one does, after two seconds."""

    def forward(handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        time.sleep(2)
        length = int(handler.headers.get("Content-Length") or 0)
        headers = {name: handler.headers[name] for name in ("Authorization", "Content-Type") if name in handler.headers}
        url = real.url.removesuffix("/api") + handler.path
        answer = httpx.request(
            handler.command, url, content=handler.rfile.read(length), headers=headers, timeout=20, follow_redirects=True
        )
        return answer.status_code, answer.content

    with _standing_in(forward) as url:
        yield url


@contextmanager
def _standing_in(answer: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do(self) -> None:
            status, body = answer(self)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("stand_in", [silent, failing])
def test_a_server_that_is_of_no_use(stand_in: Callable[[], Any], nights: Nights) -> None:
    nights.fail()
    with stand_in() as url:
        warning, took = nights.run(url, 10)
    assert warning.startswith(UNREACHED)
    assert warning.endswith("Running as with --direct.")
    assert took < 60
    assert nights.events() == ["failed", "recovered"]


@pytest.mark.slow
def test_a_slow_server(nights: Nights, prefect_server: PrefectServer) -> None:
    """What it is shown in time is right; the run takes its own time and the limit, and no more."""
    nights.monkeypatch.setenv("PREFECT_API_AUTH_STRING", prefect_server.environ["PREFECT_API_AUTH_STRING"])
    nights.fail()
    with slow(prefect_server) as url:
        warning, took = nights.run(url, 15)
    assert warning.startswith((UNSHOWN, UNREACHED))
    assert "15 seconds after the run" in warning
    assert took < 90
    assert nights.events() == ["failed", "recovered"]


@pytest.mark.slow
def test_a_run_that_is_killed_is_crashed_in_prefect(
    nights: Nights, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process cannot tell its end; the one that reports it sees that."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, prefect_server.environ[name])
    reporter = prefect_reporter.PrefectReporter({"as_of": "2020-02-02", "landing": None, "home": str(nights.home)})
    reporter.send("stage", name="build")
    assert reporter.close(60) is None  # the pipe is closed, without a word about the end
    (run,) = prefect_server.ask("POST", "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
    assert (run["name"], run["state"]["type"]) == ("nightly 2020-02-02", "CRASHED")
