"""GET /api/v1/creators/explanation: why a number is what it is, for operators alone; over a home with real nights."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
from calling import Client, StoppedClock, running
from listening import arguments
from published import CREATOR_ID, EXAMPLE, publish
from starlette.applications import Starlette
from tokens import bearer, claims, jwks, sign
from world import Night, World

import pipelines
from pipelines.api import contract
from pipelines.api.answers import Range
from pipelines.api.app import create_app
from pipelines.api.explanations import Explainer, ExplanationError
from pipelines.core.calendar_days import Window
from pipelines.core.settings import Settings
from pipelines.jobs.explain import explain

PATH = "/api/v1/creators/explanation"
OPERATOR = bearer(sign(claims("operator")))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Two creators, one of them banned, and every way to be left out that a line can take."""
    world = World(tmp_path_factory.mktemp("explained"))
    world.sessions("""
        session | revision | creator | viewer | device | started_at       | minutes
        s1      | 0        | ada     | v1     |        | 2026-01-05 10:00 | 5
        s2      | 0        | ada     | v2     |        | 2026-01-05 11:00 | 5
        s2      | 1        | ada     | v2     |        | 2026-01-05 11:00 | 9
        s3      | 0        | ada     | v1     |        | 2026-01-06 10:00 | 5
        s4      | 0        | ada     |        | d1     | 2026-01-06 10:00 | 5
        s5      | 0        | ada     | ada    |        | 2026-01-06 10:00 | 5
        s6      | 0        | --json  | v1     |        | 2026-01-06 10:00 | 5
        s7      | 0        | bob     | v1     |        | 2026-01-06 10:00 | 5
    """)
    world.land("creators", "creator | status\nada | active\nbob | banned")
    return world.run()


@pytest.fixture
def ask(night: Night, tmp_path: Path) -> Callable[..., Any]:
    """Asks an application over that home."""
    (tmp_path / "jwks.json").write_bytes(jwks("rsa-1"))
    known = {"operators": ("operator", "another"), "jwks": str(tmp_path / "jwks.json")}

    def settings(**more: Any) -> Settings:
        return dataclasses.replace(night.settings, **(known | more))

    def app(**more: Any) -> Starlette:
        return create_app(settings(**more), StoppedClock().clock)

    def ask(query: str, headers: dict[str, str] = OPERATOR, **more: Any) -> Any:
        return Client(app(**more)).get(f"{PATH}?{query}", headers=headers)

    ask.app, ask.settings = app, settings  # type: ignore[attr-defined]
    return ask


@pytest.mark.slow
def test_it_is_what_the_command_says(night: Night, ask: Callable[..., Any]) -> None:
    """Every figure of `mostwatched explain`, for a window and for a range; the contract holds its shape."""
    schema = contract.load()["components"]["schemas"]["Explanation"]
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": contract.load()["components"]}
    for query, days in (("days=30", 30), ("from=2026-01-05&to=2026-01-06", 1)):
        answer = ask(f"creatorId=ada&{query}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert (answer.headers["X-Snapshot-Id"], answer.headers["Vary"]) == (night.snapshot.id, "Authorization")
        jsonschema.Draft202012Validator(whole | {"allOf": [schema]}).validate(answer.json())
        said = answer.json()["data"]
        window = Window(*(date.fromisoformat(said["window"][name]) for name in ("from", "to")))
        one = explain(night.settings, night.snapshot, "ada", window)
        assert said["window"]["days"] == days
        assert (said["agrees"], one.agrees) == (True, True)
        assert (said["records"], said["sessions"], said["viewers"]) == (one.records, one.sessions, one.viewers)
        assert (said["anonymousViewers"], said["deviceDays"]) == (one.anonymous_viewers, one.device_days)
        assert list(said["leftOut"].values()) == list(one.left_out.values())
        assert said["published"]["watchedSeconds"] == one.watched_seconds
        assert [day["newViewers"] for day in said["byDay"]] == [day.new_viewers for day in one.by_day]
    assert said["leftOut"]["superseded"] == 1


def test_whoever_is_no_operator_learns_nothing(ask: Callable[..., Any]) -> None:
    """401 without a valid token, 403 with anybody else's, also when nobody is an operator, and for a bad question."""
    for query in ("creatorId=ada", "creatorId=nobody", "", "creatorId=ada&days=x"):
        assert ask(query, {}).status_code == 401
        assert ask(query, bearer("x.y.z")).status_code == 401
        assert ask(query, bearer(sign(claims("viewer")))).status_code == 403
        assert ask(query, bearer(sign(claims("OPERATOR")))).status_code == 403
        assert ask(query, operators=()).status_code == 403


@pytest.mark.slow
def test_what_cannot_be_answered_says_why(ask: Callable[..., Any]) -> None:
    """A bad question is 400, a creator of whom nothing landed 404; an id is never taken for an option."""
    assert ask("").json()["errors"] == ["creatorId must be given"]
    assert ask("creatorId=ada&days=x").status_code == 400
    missing = ask("creatorId=nobody")
    assert missing.status_code == 404
    assert "no session and no profile of a creator 'nobody'" in missing.json()["errors"][0]
    odd = ask("creatorId=--json")
    assert (odd.status_code, odd.json()["data"]["viewers"]) == (200, 1)
    for other in ("ada%00x", "ada%00", "%00", "ada%0A", "-", "%0A"):
        assert ask(f"creatorId={other}").status_code == 404
    banned = ask("creatorId=bob").json()["data"]
    assert (banned["status"], banned["published"], banned["agrees"], banned["viewers"]) == ("banned", None, True, 1)


def test_where_nothing_landed_is_said(night: Night, ask: Callable[..., Any], tmp_path: Path) -> None:
    """Without the lake (503, with the reason), and in front of a bucket, of which only snapshots are brought here."""
    shutil.copytree(night.settings.snapshots, tmp_path / "home" / "snapshots")
    answer = ask("creatorId=ada", home=tmp_path / "home")
    assert answer.status_code == 503
    assert "no longer in" in answer.json()["errors"][0]
    bucket = ask("creatorId=ada", home_url="s3://bucket/home")
    assert (bucket.status_code, "not what landed" in bucket.json()["errors"][0]) == (503, True)


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are read as Linux shows them")
def test_what_is_asked_is_in_no_argument(night: Night) -> None:
    """Every user of the machine can read the arguments of the process that works it out."""
    days = Range(date.fromisoformat("2026-01-05"), date.fromisoformat("2026-01-06"))

    async def ask() -> list[list[str]]:
        seen: list[list[str]] = []
        asked = asyncio.create_task(Explainer(night.settings).explain(night.snapshot.id, "ada", days))
        while not asked.done():
            seen += [words for process, words in arguments(os.getpid()).items() if process != os.getpid()]
            await asyncio.sleep(0.05)
        assert (await asked)["creator_id"] == "ada"
        return seen

    seen = [words for words in asyncio.run(ask()) if "explain" in words]
    assert seen  # the process was looked at while it worked
    for words in seen:
        assert "ada" not in words
        assert not any(str(night.settings.home) in word for word in words)


def test_it_is_ended_when_it_takes_too_long(night: Night) -> None:
    """The process that works is gone afterwards; the next question is answered."""
    days = Range(date.fromisoformat("2026-01-05"), date.fromisoformat("2026-01-06"))

    async def ask() -> None:
        impatient = Explainer(night.settings, seconds=0.05)
        started = time.monotonic()
        with pytest.raises(ExplanationError, match="longer than 0 seconds: use mostwatched explain"):
            await impatient.explain(night.snapshot.id, "ada", days)
        assert time.monotonic() - started < 10
        impatient._seconds = 120
        assert (await impatient.explain(night.snapshot.id, "ada", days))["agrees"]

    asyncio.run(ask())


def test_one_works_one_waits_and_more_are_told_to_come_back(night: Night, ask: Callable[..., Any]) -> None:
    """Else those who wait would wait for all before them; who is told so is told when to come back."""

    async def several() -> list[httpx.Response]:
        transport = httpx.ASGITransport(ask.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=60) as client:
            return await asyncio.gather(*(client.get(f"{PATH}?creatorId=ada", headers=OPERATOR) for _ in range(4)))

    answers = asyncio.run(several())
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "15"
            assert answer.json()["errors"] == ["Others are asking too, one at a time: try again in 15 seconds"]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked for under /proc")
def test_what_nobody_waits_for_is_ended(
    night: Night, ask: Callable[..., Any], tmp_path: Path, monkeypatch: Any
) -> None:
    """A client that leaves takes its question along, at work or waiting: the next one does not wait for them."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text("import time\ntime.sleep(100)\n")  # a machine that is busy
    request = f"GET {PATH}?creatorId=ada HTTP/1.1\r\nHost: x\r\nAuthorization: {OPERATOR['Authorization']}\r\n\r\n"

    def at_work() -> int:
        return sum("explain" in words for words in arguments(os.getpid()).values())

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 20
        while at_work() != count:
            assert time.monotonic() < deadline, f"{at_work()} at work, not {count}"
            time.sleep(0.05)

    with running(ask.settings(), StoppedClock().clock) as url:
        address = ("127.0.0.1", urlsplit(url).port or 0)
        with monkeypatch.context() as slow:
            slow.setenv("PYTHONPATH", str(tmp_path / "slow"))
            for _ in range(3):
                with (
                    socket.create_connection(address, timeout=10) as first,
                    socket.create_connection(address) as second,
                ):
                    first.sendall(request.encode())
                    wait_for(1)
                    second.sendall(request.encode())
                wait_for(0)
        answer = httpx.get(f"{url}{PATH}?creatorId=ada", headers=OPERATOR, timeout=60)
    assert (answer.status_code, answer.json()["data"]["agrees"]) == (200, True)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["time", "client"])
def test_nothing_stays_of_an_explanation_that_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Neither when it takes too long nor when its client has left: what it worked with names viewers."""
    home = tmp_path / "home"
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(f"""
import time
from pathlib import Path
from pipelines.core.scratch import scratch_folder
with scratch_folder(Path({str(home)!r}), "explain") as folder:
    (folder / "viewers").write_text("v1")
    time.sleep(60)
""")
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'slow'}{os.pathsep}{Path(pipelines.__file__).parents[1]}")
    explainer = Explainer(Settings(home=home), seconds=3 if ending == "time" else 60)

    async def ask() -> None:
        asked = asyncio.create_task(explainer.explain("s", "ada", Range(date(2026, 1, 1), date(2026, 1, 2))))
        while not list(home.glob("tmp/*/viewers")):
            await asyncio.sleep(0.01)
        if ending == "client":
            asked.cancel()
        with pytest.raises(asyncio.CancelledError if ending == "client" else ExplanationError):
            await asked

    asyncio.run(asyncio.wait_for(ask(), 30))
    assert list(home.iterdir()) == []


def test_a_figure_that_does_not_agree_is_shown(ask: Callable[..., Any], tmp_path: Path) -> None:
    """A snapshot that rests on nothing that landed: the command's exit code is 1, and that is an answer."""
    publish(tmp_path, EXAMPLE)
    answer = ask(f"creatorId={CREATOR_ID}", home=tmp_path)
    assert answer.status_code == 200
    said = answer.json()["data"]
    assert (said["agrees"], said["records"], said["viewers"]) == (False, 0, 0)
    assert said["published"]["viewers"] > 0
