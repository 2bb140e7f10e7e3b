"""The page of one creator as people use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from visiting import Visit

pytestmark = pytest.mark.xdist_group("browser")  # one Chromium, whichever worker has it


def asked(server: str, **query: Any) -> Any:
    return httpx.get(f"{server}/api/v1/creators/reach", params=query).raise_for_status().json()["data"]


@pytest.mark.slow
def test_from_the_ranking_and_back(visit: Callable[..., Visit], server: str) -> None:
    """The chosen range goes along."""
    one = visit(server)
    one.go("/?days=7")
    one.page.click("text=Zeynep Işık")
    one.page.wait_for_selector("h1:has-text('Zeynep Işık')")
    said = asked(server, creatorId="c001", days=7)
    figures = said["ranking"]
    assert one.text("#results h2") == "14 Nov – 20 Nov 2026"
    tiles = one.text(".tiles")
    assert f"Rank {figures['rank']} of {said['total']} " in tiles
    assert f"Viewers {figures['viewers']:,} " in tiles
    assert f" Anonymous {figures['anonymousViewers']:,} " in tiles
    one.page.click("text=30 days")
    one.page.wait_for_selector("#results h2:has-text('22 Oct')")
    assert f"Viewers {asked(server, creatorId='c001')['ranking']['viewers']:,} " in one.text(".tiles")
    one.page.click("text=All creators")
    one.page.wait_for_selector(".ranking")


def test_every_chart_has_its_table(visit: Callable[..., Visit], server: str) -> None:
    """Reach, new and returning viewers, rank and watched hours, day by day, as the endpoint has them."""
    one = visit(server)
    one.go("/creator?id=c001")
    said = asked(server, creatorId="c001")
    assert one.texts(".chart h2") == [
        "Rolling 30-day reach",
        "Daily viewers, new and returning",
        "Rank over time",
        "Daily hours watched",
    ]
    for summary in one.page.locator(".chart summary").all():
        summary.click()
    rolling = said["rolling"][-41:]  # the first windows hold days before there was any data
    assert one.texts("#chart-reach tbody td") == [f"{point['viewers']:,}" for point in rolling]
    assert one.texts("#chart-rank tbody td") == [str(point["rank"]) for point in rolling]
    days = said["byDay"][-70:]
    cells = one.texts("#chart-viewers tbody td")
    assert cells[0::3] == [f"{day['newViewers']:,}" for day in days]
    assert cells[1::3] == [f"{day['returningViewers']:,}" for day in days]
    assert cells[2::3] == [f"{day['anonymousViewers']:,}" for day in days]
    assert one.texts("#chart-hours tbody th")[-1] == "20 Nov 2026"
    assert one.texts("#chart-viewers .legend li") == ["New", "Returning"]


def test_a_chart_is_read_day_by_day(visit: Callable[..., Visit], server: str) -> None:
    """With the pointer, and with the arrow keys, which say it aloud as well."""
    one = visit(server)
    one.go("/creator?id=c001")
    area = one.page.locator("#chart-viewers .area")
    area.focus()
    one.page.keyboard.press("End")
    assert "20 Nov 2026" in area.locator(".tip").inner_text()
    one.page.keyboard.press("ArrowLeft")
    last_but_one = asked(server, creatorId="c001")["byDay"][-2]
    expected = f"19 Nov 2026. New: {last_but_one['newViewers']:,}, Returning: {last_but_one['returningViewers']:,}"
    assert one.page.inner_text("#announce").startswith(expected)
    one.page.keyboard.press("Escape")
    assert area.locator(".tip").count() == 0
    box = one.page.locator("#chart-reach .area").bounding_box()
    one.page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 20)
    viewers = asked(server, creatorId="c001")["rolling"][-1]["viewers"]
    assert f"Viewers: {viewers:,}" in one.page.locator("#chart-reach .tip").inner_text()


def test_scheduled_streams_with_their_funding(visit: Callable[..., Visit], server: str) -> None:
    """The soonest first; a goal with its progress, also beyond it; none without a goal; others are not shown."""
    one = visit(server)
    one.go("/creator?id=c001")
    assert one.texts(".streams li") == [
        "Soru & cevap Starts 23 Nov 2026, 18:00 UTC No funding goal 0 backers",
        "Açık hava konseri Starts 26 Nov 2026, 18:00 UTC 41% funded 6,262.50 TRY of 15,000 TRY 118 backers",
        "Untitled stream No start planned yet 122% funded 612 TRY of 500 TRY 1 backer",
    ]
    bars = one.page.locator(".streams progress").all()
    assert [bar.get_attribute("value") for bar in bars] == ["41", "100"]
    one.go("/creator?id=c005")
    assert "No streams are scheduled." in one.text("main")


def test_a_range_without_the_creator(visit: Callable[..., Visit], server: str) -> None:
    """The rest of the page stays."""
    one = visit(server)
    one.go("/creator?id=c001&first=2026-08-25&last=2026-08-26")
    assert "No sessions in this range of days." in one.text("#results")
    assert one.page.locator(".chart svg").count() == 4
