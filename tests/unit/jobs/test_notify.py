"""Notification hooks: a real command, a real webhook; what is told when, and that neither can harm a run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from world import AS_OF, World

from pipelines.core import durable_files
from pipelines.core.errors import Busy, Damaged, RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs import nightly, notify

CHECKOUT = Path(__file__).resolve().parents[3]
EVENT = notify.Event("failed", "The run failed.", "2026-01-31", "failed", why="the disk is full")
KEYS = ["event", "text", "as_of", "home", "host", "at", "outcome", "snapshot_id", "why", "missing_days", "report"]


@pytest.fixture
def collector(tmp_path: Path) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """A command that keeps what it is told, and what it was told so far."""
    kept = tmp_path / "told"
    script = tmp_path / "collect it.py"
    script.write_text(f"import sys\nopen({str(kept)!r}, 'a').write(sys.stdin.read())\n")

    def told() -> list[dict[str, Any]]:
        return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []

    return f"{sys.executable} '{script}'", told


class Hook:
    """A server on a port of the loopback that answers with the given codes in turn, the last one for ever."""

    def __init__(self, *codes: int, headers: dict[str, str] | None = None) -> None:
        self.codes, self.headers = list(codes), headers or {}
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.path, dict(self.headers), body))
                code = outer.codes.pop(0) if len(outer.codes) > 1 else outer.codes[0]
                self.send_response(code)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/SECRET"

    def __enter__(self) -> Hook:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    lines: list[str] = []
    monkeypatch.setattr(notify.logs.run_log, "warning", lambda text, *args, **_: lines.append(text % args))
    return lines


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "FIRST_WAIT_SECONDS", 0.01)


def land_days(world: World, *numbers: int, sessions: int = 4) -> None:
    for number in numbers:
        lines = "".join(
            f'{{"sessionId":"{number}-{each}","creatorId":"ada","viewerId":"v","startedAt":"2026-01-{number:02}T10:00:00Z"}}\n'
            for each in range(sessions)
        )
        world.land_text("viewing_sessions", lines, f"2026-01-{number:02}.ndjson")


# --- what is told when ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_tells_what_somebody_should_know(tmp_path, collector):
    """Refused, then well again; a late day once, and when it has landed; an ordinary night tells nothing."""
    command, told = collector
    world = World(tmp_path, notify_command=command)
    land_days(world, *range(20, 30))
    world.run("2026-01-30", compare=False)
    assert told() == []
    land_days(world, 30, sessions=1)
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    (first,) = told()
    assert list(first) == KEYS
    assert (first["event"], first["as_of"], first["outcome"]) == ("refused", "2026-01-31", "refused")
    assert first["why"] == str(refusal.value)
    assert first["text"] == f"The run as of 2026-01-31 could mislead. {refusal.value}"
    assert Path(first["report"]).exists()
    land_days(world, 30)
    world.run(compare=False)
    assert [one["event"] for one in told()] == ["refused", "recovered"]
    world.run("2026-02-01", compare=False, night={"allow_incomplete": True})
    world.run("2026-02-01", compare=False, night={"allow_incomplete": True})
    late = told()[2:]
    assert [(one["event"], one["missing_days"]) for one in late] == [("late", ["2026-01-31"])]
    land_days(world, 31)
    world.run("2026-02-01", compare=False)
    assert [one["event"] for one in told()[3:]] == ["recovered"]
    world.settings = replace(world.settings, max_rejected_share=Decimal(0))
    world.land_text("pledges", '{"broken\n')
    with pytest.raises(RefusedToPublish):
        world.run("2026-02-02", compare=False)
    world.run("2026-02-02", compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    assert told()[-1]["text"] == (
        "The run as of 2026-02-02 is published: sessions are still missing, those of 2026-02-01."
    ), "all is not well"


def test_a_failed_run_is_told_of(tmp_path, collector):
    """With why, also of a landing folder that is not there; a busy home is no failed run."""
    command, told = collector
    world = World(tmp_path, notify_command=command)
    land_days(world, 30)
    world.run(compare=False)
    with durable_files.lock_home(world.settings.home), pytest.raises(Busy):
        world.run(compare=False)
    assert told() == []
    with pytest.raises(UsageError) as nowhere:
        nightly.run(world.settings, AS_OF, [tmp_path / "nowhere"])
    (event,) = told()
    assert (event["event"], event["why"]) == ("failed", str(nowhere.value))
    world.run(compare=False)
    assert [event["event"] for event in told()] == ["failed", "recovered"]
    (index,) = world.settings.lake.glob("raw/viewing_sessions/*/index.json")
    index.write_bytes(b"{")
    (path,) = world.settings.landing.rglob("*.ndjson")
    path.unlink()
    with pytest.raises(Damaged) as damage:
        world.run(compare=False)
    *_, event = told()
    assert (event["event"], event["why"]) == ("failed", str(damage.value))


def test_a_run_that_died_is_told_of_by_status(tmp_path):
    """And a night that never began, and missing days: what cron asks at the hour when all should be there."""
    answer: dict[str, Any] = {
        "as_of": "2026-01-31",
        "snapshot": {"as_of": "2026-01-31", "snapshot_id": "x"},
        "days": [{"day": "2026-01-29", "state": "present"}, {"day": "2026-01-30", "state": "present"}],
        "last_run": {"outcome": "published", "as_of": "2026-01-31", "why": None, "report": None},
    }
    assert notify.late_events(answer, 14) == []
    (late,) = notify.late_events(answer | {"snapshot": {"as_of": "2026-01-30", "snapshot_id": "y"}}, 14)
    assert (late.event, late.text) == (
        "late",
        "No snapshot as of 2026-01-31 has been published yet (the newest: 2026-01-30).",
    )
    (late,) = notify.late_events(answer | {"snapshot": None, "last_run": None}, 14)
    assert "(the newest: none)" in late.text
    days = [{"day": "2026-01-16", "state": "missing"}, *answer["days"], {"day": "2026-01-31", "state": "missing"}]
    (late,) = notify.late_events(answer | {"days": days}, 3)
    assert (late.text, late.missing_days) == ("The viewing sessions of 2026-01-31 are missing.", ["2026-01-31"])
    died = {"outcome": "died", "as_of": "2026-01-31", "why": "It was killed.", "report": None}
    (late,) = notify.late_events(answer | {"last_run": died}, 14)
    assert late.text == "The run as of 2026-01-31 died."


# --- the command ---------------------------------------------------------------------------------------------------


def test_no_shell_sees_the_command(tmp_path, collector):
    """What is special to a shell is a letter like any other."""
    _, told = collector
    notify.send(Settings(home=tmp_path, notify_command=f"touch '{tmp_path}/a;b' {tmp_path}/$HOME"), [EVENT])
    assert (tmp_path / "a;b").exists()
    assert (tmp_path / "$HOME").exists()
    assert told() == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/no/such/command SECRET", "it cannot be started: No such file or directory"),
        (f"{sys.executable} -c 'raise SystemExit(7)' SECRET", "it ended with exit code 7"),
        (f"{sys.executable} -c 'import os; os.close(0)' SECRET", None),
    ],
)
def test_a_command_that_fails_is_one_line_in_the_log(tmp_path, said, command, expected):
    notify.send(Settings(home=tmp_path, notify_command=command), [EVENT])
    assert said == ([f"the command about failed did not get through: {expected}"] if expected else [])


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path, said, monkeypatch):
    monkeypatch.setattr(notify, "COMMAND_SECONDS", 0.5)
    pid = tmp_path / "pid"
    work = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '60']); "
        f"open({str(pid)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    started = time.monotonic()
    notify.send(Settings(home=tmp_path, notify_command=f'{sys.executable} -c "{work}"'), [EVENT])
    assert time.monotonic() - started < 10
    assert said == ["the command about failed did not get through: it had not ended after 0.5 seconds"]
    if pid.exists():
        assert _is_gone(int(pid.read_text()))


def _is_gone(process: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


# --- the webhook ---------------------------------------------------------------------------------------------------


def test_a_webhook_is_posted_json(tmp_path, said):
    with Hook(204) as hook:
        notify.send(Settings(home=tmp_path, notify_webhook=hook.url), [EVENT])
    ((path, headers, body),) = hook.received
    content = json.loads(body)
    assert (path, headers["Content-Type"]) == ("/hooks/SECRET", "application/json")
    assert list(content) == KEYS
    assert content["text"] == "The run failed. the disk is full"
    assert said == []


@pytest.mark.parametrize(
    ("codes", "attempts", "problem"),
    [
        ([503, 429, 200], 3, None),
        ([500], 3, "it answered 500"),
        ([404], 1, "it answered 404"),
        ([410, 200], 1, "it answered 410"),
    ],
)
def test_it_is_tried_again_where_that_may_help(tmp_path, said, codes, attempts, problem):
    with Hook(*codes) as hook:
        notify.send(Settings(home=tmp_path, notify_webhook=hook.url), [EVENT])
    assert len(hook.received) == attempts
    assert said == ([f"the webhook about failed did not get through: {problem} (127.0.0.1)"] if problem else [])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(tmp_path, said, code):
    """What is told goes where it was meant to go, or nowhere."""
    with Hook(200) as elsewhere, Hook(code, headers={"Location": elsewhere.url}) as hook:
        notify.send(Settings(home=tmp_path, notify_webhook=hook.url), [EVENT])
    assert elsewhere.received == []
    assert len(hook.received) == 1
    assert "redirects are not followed" in said[0]


def test_no_proxy_is_asked():
    """The environment's would learn what is told, and the secret in the path; settings alone come from there."""
    with Hook(200) as hook, Hook(200) as proxy:
        environment = {**os.environ, "http_proxy": proxy.url, "HTTP_PROXY": proxy.url, "no_proxy": "", "NO_PROXY": ""}
        post = f"from pipelines.jobs import notify; print(notify.deliver({hook.url!r}, b'{{}}'))"
        command = [sys.executable, "-c", post]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    assert (done.stdout, len(hook.received), proxy.received) == ("None\n", 1, [])


def test_nobody_there_is_one_line(tmp_path, said):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hooks/SECRET"
        notify.send(Settings(home=tmp_path, notify_webhook=url), [EVENT])
    assert said == [
        "the webhook about failed did not get through: it cannot be reached: Connection refused (127.0.0.1)"
    ]
    assert "SECRET" not in said[0]


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that answers a byte at a time, for ever."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            while not ended.wait(0.05):
                try:
                    connection.send(b"H")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    ended.set()
    thread.join()
    listening.close()


def test_a_server_that_never_finishes_is_given_up(tmp_path, said, monkeypatch, dripping):
    monkeypatch.setattr(notify, "WEBHOOK_SECONDS", 0.5)
    started = time.monotonic()
    notify.send(Settings(home=tmp_path, notify_webhook=dripping), [EVENT])
    assert time.monotonic() - started < 5
    assert said == ["the webhook about failed did not get through: no answer after 0.5 seconds (127.0.0.1)"]


def test_what_goes_wrong_with_a_hook_changes_no_run(tmp_path, said):
    """A refusal stays that refusal, with its record and its report."""
    world = World(tmp_path, notify_command="/no/such/command", notify_webhook="http://127.0.0.1:9/")
    land_days(world, *range(20, 30))
    land_days(world, 30, sessions=1)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    assert len(said) == 2
    assert world.run(compare=False, night={"allow_incomplete": True}).report.published.is_current


def test_a_password_in_a_reason_is_not_told(tmp_path):
    """Whatever a library puts into its message."""
    facts = {
        "outcome": "failed",
        "as_of": "2026-01-31",
        "missing_days": [],
        "snapshot_id": None,
        "why": "cannot reach redis://user:hunter2@db.example/0 with Bearer abc.def",
    }
    (event,) = notify.events(facts, None, None)
    assert event.why == "cannot reach redis://***@db.example/0 with Bearer ***"
