"""Questions wait in turn: by client, and apart for the page. Judged by the order of turns, not by time."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from calling import Client, running
from hypothesis import given
from hypothesis import strategies as st
from published import EXAMPLE, publish

from pipelines.api import fair_queue
from pipelines.api.fair_queue import MAX_OF_CLIENT, PAGES, RANGES, Busy, FairQueue
from pipelines.api.insight import Insight
from pipelines.core.settings import Settings

RANKING = "/api/v1/creators/ranking"


def order(asked: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Everybody asks while the first works: who has a turn, in order, and who is told that it is busy."""

    async def play() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        queue, served, refused = FairQueue(), [], []
        work = asyncio.Event()

        async def ask(lane: str, client: str) -> None:
            try:
                async with queue.turn(lane, client):
                    await work.wait()
                    served.append((lane, client))
            except Busy:
                refused.append((lane, client))

        tasks = []
        for lane, client in asked:
            tasks.append(asyncio.create_task(ask(lane, client)))
            await asyncio.sleep(0)
        work.set()
        await asyncio.gather(*tasks)
        async with queue.turn(PAGES, "anybody"):
            assert not queue._of_client.keys() - {"anybody"}, "of whom nothing waits nothing is kept"
        return served, refused

    return asyncio.run(play())


def test_the_page_waits_for_one_question_however_many_wait() -> None:
    """140 connections of 14 clients ask for ranges."""
    asked = [(RANGES, f"client {at % 14}") for at in range(140)]
    served, refused = order([*asked, (PAGES, "somebody"), (PAGES, "another")])
    assert served.index((PAGES, "somebody")) == 1
    assert served.index((PAGES, "another")) == 3
    assert len(served) == 102
    assert len(refused) == 40


def test_who_asks_much_waits_behind_itself() -> None:
    served, refused = order([*[(RANGES, "greedy")] * 140, (RANGES, "modest"), (RANGES, "late")])
    assert served[:4] == [(RANGES, "greedy"), (RANGES, "greedy"), (RANGES, "modest"), (RANGES, "late")]
    assert Counter(served)[RANGES, "greedy"] == MAX_OF_CLIENT
    assert refused == [(RANGES, "greedy")] * (140 - MAX_OF_CLIENT)


@given(st.lists(st.tuples(st.sampled_from([PAGES, RANGES]), st.sampled_from("abc")), max_size=40), st.data())
def test_every_turn_is_taken_or_passed_on(asked: list[tuple[str, str]], data: st.DataObject) -> None:
    """One at a time, whoever gives up in between; and afterwards the queue is free."""
    leaving = data.draw(st.sets(st.integers(0, max(0, len(asked) - 1))))

    async def play() -> None:
        queue, inside = FairQueue(), 0

        async def ask(lane: str, client: str) -> str:
            nonlocal inside
            try:
                async with queue.turn(lane, client):
                    inside += 1
                    try:
                        assert inside == 1
                        await asyncio.sleep(0)
                    finally:
                        inside -= 1
            except Busy:
                return "busy"
            return "served"

        tasks = [asyncio.create_task(ask(*one)) for one in asked]
        await asyncio.sleep(0)
        for at in leaving & set(range(len(tasks))):
            tasks[at].cancel()
            if at % 2:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        for at, task in enumerate(tasks):
            assert at in leaving or task.result() in ("served", "busy")
        async with asyncio.timeout(1), queue.turn(PAGES, "next"):
            pass

    asyncio.run(play())


def test_a_busy_page_says_so(home: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that there is no snapshot; what is prepared is served all the same."""
    publish(home, EXAMPLE)
    client = client_for()
    assert client.get("/").status_code == 200
    monkeypatch.setattr(fair_queue, "MAX_OF_CLIENT", 0)
    page = client.get("/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "Busy" in page.text
    assert "No snapshot" not in page.text
    answer = client.get(RANKING)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["errors"] == ["Too many questions are being asked: try again in some seconds"]
    assert client.get("/api/v1/live-stream/most-watched-creators").status_code == 200


def test_a_client_behind_a_trusted_proxy_has_a_share_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one has all its questions waiting, another is answered; counted by their addresses."""
    publish(home, EXAMPLE)
    working, go_on = threading.Event(), threading.Event()
    page = Insight.page

    def slow(self: Insight, *arguments: object, **more: object) -> object:
        working.set()
        go_on.wait(20)
        return page(self, *arguments, **more)  # type: ignore[arg-type]

    async def play(address: str) -> list[int]:
        async with httpx.AsyncClient(base_url=address, timeout=30) as http:
            assert (await http.get(f"{RANKING}?limit=1")).status_code == 200
            monkeypatch.setattr(Insight, "page", slow)
            greedy = [
                asyncio.create_task(http.get(f"{RANKING}?offset={at}", headers={"X-Forwarded-For": "192.0.2.1"}))
                for at in range(MAX_OF_CLIENT + 5)
            ]
            await asyncio.to_thread(working.wait, 20)
            refused, _ = await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
            modest = asyncio.create_task(http.get(f"{RANKING}?q=x", headers={"X-Forwarded-For": "192.0.2.2"}))
            await asyncio.sleep(0.1)
            go_on.set()
            assert {one.result().status_code for one in refused} == {503}
            assert (await modest).status_code == 200
            return [answer.status_code for answer in await asyncio.gather(*greedy)]

    with running(Settings(home=home, trusted_proxies=("127.0.0.1",))) as address:
        statuses = asyncio.run(play(address))
    assert Counter(statuses) == {200: MAX_OF_CLIENT, 503: 5}
