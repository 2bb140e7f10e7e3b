"""What a checker can see of whether everybody can use the pages, and how fast they are there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from calling import running
from published import publish
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from visiting import Visit

from pipelines.core.settings import Settings

pytestmark = pytest.mark.xdist_group("browser")  # one Chromium, whichever worker has it

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def serious(page: Any) -> list[str]:
    """What axe-core finds that shuts people out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here").Axe()
    found = axe.run(page).response
    assert found["passes"], "nothing was looked at"
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html']} {one['nodes'][0]['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("theme", "options"), [("light", {}), ("dark", PHONE)], ids=["light desk", "dark phone"])
def test_nobody_is_shut_out(visit: Callable[..., Visit], server: str, theme: str, options: dict[str, Any]) -> None:
    """Both pages, with their tables open and a search without a match."""
    one = visit(server, color_scheme=theme, **options)
    for path in ("/", "/creator?id=c001", "/?q=nobody+at+all&lang=tr"):
        one.go(path)
        one.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        assert serious(one.page) == [], path


@pytest.mark.slow
def test_nor_where_something_is_wrong(visit: Callable[..., Visit], tmp_path: Path) -> None:
    """No snapshot, an old one, an empty one, a question that cannot be answered."""
    (tmp_path / "snapshots").mkdir()
    with running(Settings(home=tmp_path)) as address:
        one = visit(address)
        one.go()
        assert serious(one.page) == []
        publish(tmp_path, {"creator_reach": []}, published_at=datetime.now(UTC) - timedelta(days=9))
        one.page.wait_for_selector(".banner", timeout=20_000)
        assert serious(one.page) == []
        one.go("/?days=1000")
        assert serious(one.page) == []
        one.complaints.clear()  # the browser's own notes of 503 and 400


SHIFTS = """
    window.shifts = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.shifts += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.mark.slow
def test_a_page_is_there_at_once(visit: Callable[..., Visit], server: str) -> None:
    """Its first paint is the ranking, and nothing moves afterwards. The times are printed, not judged."""
    one = visit(server)
    one.page.add_init_script(SHIFTS)
    for path in ("/", "/creator?id=c001", "/?days=7"):
        one.go(path)
        one.until(lambda: one.page.evaluate("performance.getEntriesByName('first-contentful-paint').length"))
        one.page.wait_for_timeout(300)
        paint = one.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        sent = one.page.evaluate("performance.getEntriesByType('navigation')[0].transferSize")
        shifts = one.page.evaluate("window.shifts")
        print(f"{path}: first contentful paint {paint:.0f} ms, layout shift {shifts}, {sent:,} bytes")
        assert shifts == 0, path
        assert paint < 10_000  # far more than it takes, also on a busy machine
    one.go("/")
    one.page.click("text=7 days")
    one.page.wait_for_url("**/?days=7")
    one.page.wait_for_timeout(300)
    assert one.page.evaluate("window.shifts") == 0
    # what the page is made of is kept for good: the second page asks for nothing but itself
    asked: list[str] = []
    one.page.on("response", lambda answer: asked.append(answer.url) if not answer.from_service_worker else None)
    one.go("/creator?id=c002")
    cached = one.page.evaluate("performance.getEntriesByType('resource').map((each) => each.transferSize)")
    assert cached
    assert set(cached) == {0}


@pytest.mark.slow
def test_nothing_moves_when_a_page_comes_in_pieces(visit: Callable[..., Visit], home: Path) -> None:
    """As over a slow line, where a browser would paint the first pieces before the others are there."""

    def slowly(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_pieces(message: Message) -> None:
                body = message.get("body", b"")
                edges = [0, len(body)]
                if body.startswith(b"<!doctype"):
                    edges[1:1] = [1600, 4000, 6000, 14_000, 16_000]  # in the head, in the tiles, between charts
                for start, end in itertools.pairwise(edges):
                    more = end < len(body) or message.get("more_body", False)
                    await send(message | {"body": body[start:end], "more_body": more})
                    await asyncio.sleep(0.15)

            await app(scope, receive, send_pieces)

        return answer

    with running(Settings(home=home), around=slowly) as address:
        one = visit(address)
        one.page.add_init_script(SHIFTS)
        for path in ("/", "/creator?id=c001"):
            one.go(path)
            one.page.wait_for_timeout(300)
            assert one.page.evaluate("window.shifts") == 0, path
