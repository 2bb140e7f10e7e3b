"""The page at `/` as people use it: what they see, click and type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from calling import running
from published import publish
from visiting import Visit
from visitors import PLATFORM

from pipelines.core.settings import Settings

pytestmark = pytest.mark.xdist_group("browser")  # one Chromium, whichever worker has it
API = "/api/v1/creators/ranking"
ROWS = "table.ranking tbody tr"


def asked(server: str, **query: Any) -> Any:
    return httpx.get(server + API, params=query).raise_for_status().json()["data"]


def viewers(one: Visit) -> list[int]:
    return [int(text.split()[0].replace(",", "")) for text in one.texts(f"{ROWS} .viewers")]


def test_the_first_look(visit: Callable[..., Visit], server: str) -> None:
    """The ranking of 30 days: a hundred creators with movement and trend, what it is of, and how fresh it is."""
    one = visit(server)
    assert one.go().status == 200
    said = asked(server, days=30)
    assert one.page.title() == one.text("h1") == "Most-watched creators"
    assert "22 Oct – 20 Nov 2026" in one.text(".lede")
    assert one.texts(".windows a") == ["1 day", "7 days", "28 days", "30 days", "90 days", "Oct 2026"]
    assert one.text(".windows a[aria-current]") == "30 days"
    assert f"Up to date Snapshot {said['snapshotId']} Published" in one.text(".status")
    assert "less than an hour ago" in one.text(".status")
    assert "Newest session 20 Nov 2026, 23:59 UTC" in one.text(".status")
    assert viewers(one) == [row["viewers"] for row in said["creators"]]
    assert one.texts(f"{ROWS} td.rank") == [str(row["rank"]) for row in said["creators"]]
    tiles = one.text(".tiles")
    for told in (f"Creators ranked {said['total']:,}", f"Sessions {said['sessions']:,} +12% on the 30 days before"):
        assert told in tiles
    assert f"Hours watched {round(said['watchedSeconds'] / 3600):,} +17% on the 30 days before Days 30" in tiles
    assert one.text(".platform h2") == "Daily hours watched, all creators"
    assert one.page.locator(f"{ROWS} svg.spark path.line").count() == 100
    assert one.text(".shown") == "1–100 of 129"


def test_movement_is_shown_and_told(visit: Callable[..., Visit], server: str) -> None:
    """Arrows for those who see, words for those who listen, the same as the endpoint's ranks."""
    one = visit(server)
    one.go()
    seen = set()
    for row, cell in zip(asked(server)["creators"], one.page.locator(f"{ROWS} td.move").all(), strict=True):
        shown = " ".join(cell.inner_text().split())
        for before, since in ((row["rankYesterday"], "yesterday"), (row["rankLastWeek"], "last week")):
            steps = before - row["rank"]
            kind = "unchanged" if not steps else f"{abs(steps)} {'up' if steps > 0 else 'down'}"
            assert f"since {since}: {kind}." in shown
            assert steps == 0 or f"{'▲' if steps > 0 else '▼'} {abs(steps)}" in shown
            seen.add((steps > 0) - (steps < 0))
    assert seen == {-1, 0, 1}


def test_another_window_is_a_click_away_without_a_new_page(visit: Callable[..., Visit], server: str) -> None:
    """The table changes, the address follows, the focus stays, the change is announced; Back goes back."""
    one = visit(server)
    one.go()
    one.page.evaluate("window.stillHere = true")
    one.page.click("text=7 days")
    one.page.wait_for_url("**/?days=7")
    assert one.text(".windows a[aria-current]") == "7 days"
    assert "14 Nov – 20 Nov 2026" in one.text(".lede")
    assert viewers(one) == [row["viewers"] for row in asked(server, days=7)["creators"]]
    assert one.page.evaluate("document.activeElement.id") == "days-7"
    assert one.page.inner_text("#announce") == "129 creators, 14 Nov – 20 Nov 2026"
    one.page.go_back()
    one.until(lambda: one.text(".windows a[aria-current]") == "30 days")
    assert viewers(one) == [row["viewers"] for row in asked(server, days=30)["creators"]]
    assert one.page.evaluate("window.stillHere") is True


def test_rows_are_sorted_by_what_is_clicked(visit: Callable[..., Visit], server: str) -> None:
    """By hours or sessions, the most first; ranks stay those by viewers, and the choice stays in every link."""
    one = visit(server)
    one.go()
    for column, at in (("hours", -1), ("sessions", -2)):
        one.page.click(f"#sort-{column}")
        one.page.wait_for_url(f"**/?sort={column}")
        one.until(lambda column=column: one.page.locator(f"th[aria-sort] #sort-{column}").count() == 1)
        shown = [int(text.split()[0].replace(",", "")) for text in one.texts(f"{ROWS} .num:nth-last-child({-at})")]
        assert shown == sorted(shown, reverse=True)
        assert viewers(one) != sorted(viewers(one), reverse=True)
        assert one.page.evaluate("document.activeElement.id") == f"sort-{column}"
    one.page.click("text=7 days")
    one.page.wait_for_url("**/?sort=sessions&days=7")
    one.page.click("#sort-viewers")
    one.page.wait_for_url("**/?days=7")
    assert viewers(one) == [row["viewers"] for row in asked(server, days=7)["creators"]]


def test_the_last_month_is_a_click_away(visit: Callable[..., Visit], server: str) -> None:
    one = visit(server)
    one.go()
    one.page.click("#month")
    one.page.wait_for_url("**/?first=2026-10-01&last=2026-10-31")
    assert one.text(".windows a[aria-current]") == "Oct 2026"


def test_dates_are_in_the_language_of_the_page(visit: Callable[..., Visit], server: str) -> None:
    """Whatever the browser's is."""
    one = visit(server, locale="en-US")
    one.go("/?lang=tr&first=2026-10-05&last=2026-10-17")
    chosen = [one.page.locator(f"#{name} option:checked").inner_text() for name in ("first", "last")]
    assert chosen == ["5 Eki 2026", "17 Eki 2026"]
    assert one.text("#month") == "Eki 2026"


def test_any_range_of_days(visit: Callable[..., Visit], server: str) -> None:
    """Both days of the form are in the range; the endpoint's `to` is the day after."""
    one = visit(server)
    one.go()
    one.page.select_option("#first", "2026-10-05")
    one.page.select_option("#last", "2026-10-17")
    one.page.click("text=Show")
    one.page.wait_for_url("**/?first=2026-10-05&last=2026-10-17")
    assert "5 Oct – 17 Oct 2026" in one.text(".lede")
    assert viewers(one) == [
        row["viewers"] for row in asked(server, **{"from": "2026-10-05", "to": "2026-10-18"})["creators"]
    ]
    assert one.page.locator(".windows a[aria-current]").count() == 0
    assert one.page.input_value("#last") == "2026-10-17"


def test_search_as_you_type(visit: Callable[..., Visit], server: str) -> None:
    """Without accents too; ranks stay those of the whole; the focus stays in the field, the count is announced."""
    one = visit(server)
    one.go("/?days=7")
    one.page.click("#q")
    one.page.keyboard.type("zeynep isik", delay=20)
    one.until(lambda: one.page.locator(ROWS).count() == 1)
    assert one.text(f"{ROWS} .name a") == "Zeynep Işık"
    assert one.page.evaluate("document.activeElement.id") == "q"
    assert one.page.input_value("#q") == "zeynep isik"
    assert one.page.inner_text("#announce") == "1 creator, 14 Nov – 20 Nov 2026"
    assert "days=7" in one.page.url
    one.page.fill("#q", "nobody at all")
    one.page.wait_for_selector("text=No creator in this ranking matches “nobody at all”.")
    one.page.click("text=Clear the search")
    one.until(lambda: one.page.locator(ROWS).count() == 100)
    assert one.page.input_value("#q") == ""
    assert one.page.evaluate("document.activeElement.id") == "q"
    one.page.go_back()
    one.until(lambda: one.page.locator(ROWS).count() == 0)
    assert one.page.input_value("#q") == "nobody at all"


def test_the_next_hundred(visit: Callable[..., Visit], server: str) -> None:
    """A long ranking has pages."""
    one = visit(server)
    one.go()
    one.page.click("text=Next")
    one.page.wait_for_selector("text=101–129 of 129")
    assert one.page.evaluate("document.activeElement.id") == "results"
    assert 0 <= one.page.locator(f"{ROWS} >> nth=0").bounding_box()["y"] < 900
    assert viewers(one) == [row["viewers"] for row in asked(server, offset=100)["creators"]]
    one.page.click("text=Previous")
    one.page.wait_for_selector("text=1–100 of 129")


@pytest.mark.parametrize(("form", "first"), [("CSV", "position,rank,"), ("JSON", '{"isSuccess":true,')])
def test_what_is_shown_can_be_taken_along(visit: Callable[..., Visit], server: str, form: str, first: str) -> None:
    """As CSV and as JSON: the whole ranking of the range, or what was found in it."""
    one = visit(server)
    one.go("/?first=2026-10-05&last=2026-10-17")
    with one.page.expect_download() as started:
        one.page.click(f".downloads >> text={form}")
    content = Path(started.value.path()).read_text("utf-8-sig")
    expected = asked(server, **{"from": "2026-10-05", "to": "2026-10-18"}, limit=1000)
    assert content.startswith(first)
    assert content.count("c00") >= 8
    if form == "CSV":
        assert started.value.suggested_filename == "ranking-2026-10-05-to-2026-10-17.csv"
        assert len(content.splitlines()) == expected["total"] + 1


def test_names_are_texts(visit: Callable[..., Visit], server: str) -> None:
    """Whatever somebody calls themselves is shown as it is, does nothing, and turns nothing round."""
    one = visit(server)
    one.go("/?q=c002")
    assert one.page.inner_text(f"{ROWS} .name bdi >> nth=0").startswith("<b>Bold</b>")
    assert one.page.locator(f"{ROWS} .name b").count() == 0
    one.page.click(f"{ROWS} .name a")
    one.page.wait_for_selector(".chart")
    assert "<b>Bold</b>" in one.text("h1")


def test_a_banned_creator_is_nowhere(visit: Callable[..., Visit], server: str) -> None:
    one = visit(server)
    one.go("/?q=banned")
    assert "No match" in one.text("#results")


def test_turkish_and_english(visit: Callable[..., Visit], server: str) -> None:
    """By the browser's language; a choice is remembered. Numbers and dates are written as each language does."""
    one = visit(server, locale="tr-TR")
    one.go()
    assert one.page.get_attribute("html", "lang") == "tr"
    assert one.text("h1") == "En çok izlenen içerik üreticileri"
    assert "22 Eki – 20 Kas 2026" in one.text(".lede")
    said = asked(server)
    assert f"{said['sessions']:,}".replace(",", ".") in one.text(".tiles")
    assert one.text(".shown") == "1–100 / 129"
    one.page.click("text=7 gün")
    one.page.wait_for_url("**/?days=7")
    one.page.click(".switch >> text=EN")
    one.page.wait_for_selector("text=Most-watched creators")
    assert one.text(".windows a[aria-current]") == "7 days"
    one.go("/creator?id=c001")
    assert one.page.get_attribute("html", "lang") == "en"
    assert "Scheduled streams" in one.text("main")


def test_light_and_dark(visit: Callable[..., Visit], server: str) -> None:
    """By the system's colours; a choice is shown at once and remembered."""
    ground = "getComputedStyle(document.body).backgroundColor"
    one = visit(server, color_scheme="dark")
    one.go()
    dark = one.page.evaluate(ground)
    one.page.click("#themes a[data-theme-choice=light]")
    light = one.page.evaluate(ground)
    assert light != dark
    one.go("/creator?id=c001")
    assert one.page.evaluate(ground) == light
    assert one.page.get_attribute("#themes a[aria-current]", "data-theme-choice") == "light"
    one.page.click("#themes a[data-theme-choice=auto]")
    assert one.page.evaluate(ground) == dark


def test_without_a_script(visit: Callable[..., Visit], server: str) -> None:
    """Everything but the comfort: windows, ranges, search, languages and colours are links and forms."""
    one = visit(server, java_script_enabled=False)
    one.go()
    assert one.page.locator(ROWS).count() == 100
    one.page.click("text=7 days")
    assert "14 Nov – 20 Nov 2026" in one.text(".lede")
    one.page.fill("#q", "zeynep")
    one.page.keyboard.press("Enter")
    one.page.wait_for_url("**q=zeynep**")
    assert "days=7" in one.page.url
    assert "Zeynep Işık" in one.texts(f"{ROWS} .name a")
    one.page.select_option("#first", "2026-10-05")
    one.page.select_option("#last", "2026-10-05")
    one.page.click("text=Show")
    assert "5 Oct 2026" in one.text(".lede")
    assert "q=zeynep" in one.page.url
    one.page.click("#themes a[data-theme-choice=dark]")
    assert one.page.get_attribute("html", "data-theme") == "dark"


def test_a_keyboard_is_enough(visit: Callable[..., Visit], server: str) -> None:
    """The first stop leads past the frame; then every control in the order of the page, each with a visible focus."""
    one = visit(server)
    one.go()
    press = one.page.keyboard.press
    press("Tab")
    assert one.text(":focus") == "Skip to the content"
    assert one.page.locator(":focus").bounding_box()["y"] >= 0
    press("Enter")
    assert one.page.evaluate("document.activeElement.id") == "content"
    stops = []
    for _ in range(14):
        press("Tab")
        stops.append(one.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        outline = one.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", stops
    order = [stop for at, stop in enumerate(stops) if stop not in stops[:at]]
    assert order[:9] == ["days-1", "days-7", "days-28", "days-30", "days-90", "month", "first", "last", "show"]
    assert order[9] == "q"
    one.page.focus("#days-1")
    press("Enter")
    one.page.wait_for_url("**/?days=1")


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2560])
@pytest.mark.parametrize("path", ["/", "/creator?id=c001"])
def test_it_fits(visit: Callable[..., Visit], server: str, width: int, path: str) -> None:
    """Nothing has to be pushed sideways; snapshot and freshness stay in view however far down somebody reads."""
    one = visit(server, viewport={"width": width, "height": 700}, locale="tr-TR")
    one.go(path)
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    one.page.evaluate("scrollTo(0, 1500)")
    box = one.page.locator(".status").bounding_box()
    assert 0 <= box["y"] < 5
    assert one.page.locator(".status code").is_visible()
    assert one.page.locator(".status time[data-age]").last.is_visible()  # how old the data is


# --- what there is to say when there is no ranking to show ---


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The address of a server of a home of its own."""
    (tmp_path / "snapshots").mkdir()
    with running(Settings(home=tmp_path)) as address:
        yield (
            lambda *arguments, **options: publish(tmp_path, *arguments, **options) and address if arguments else address
        )


@pytest.mark.slow
def test_no_snapshot_yet_and_then_one(visit: Callable[..., Visit], served: Callable[..., str]) -> None:
    """The page says so, and shows the ranking by itself once there is one."""
    one = visit(served())
    answer = one.go()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert one.text("h1") == "No snapshot yet"
    assert one.text("main code") == "mostwatched run"
    served(PLATFORM)
    one.page.wait_for_selector(ROWS, timeout=20_000)
    one.complaints[:] = [said for said in one.complaints if "503" not in said]  # the browser's own note of the answer


def test_an_old_snapshot(visit: Callable[..., Visit], served: Callable[..., str]) -> None:
    """By the rule of /readyz: a note above the ranking, and a sign that stays in view."""
    one = visit(served(PLATFORM, published_at=datetime.now(UTC) - timedelta(hours=73)))
    one.go()
    assert "Out of date" in one.text(".status")
    assert "3 days ago" in one.text(".status")
    assert "published more than 48 hours ago" in one.text(".banner")
    assert one.page.locator(ROWS).count() == 100


def test_an_empty_ranking(visit: Callable[..., Visit], served: Callable[..., str]) -> None:
    """A snapshot of a platform on which nobody watched, and one that holds no days at all."""
    address = served({"creator_reach": []})
    one = visit(address)
    one.go()
    assert "There are no sessions in this range of days." in one.text("#results")
    snapshot_id = one.text(".status code")
    served({})
    one.page.wait_for_timeout(1000)
    one.go()
    assert one.text(".status code") != snapshot_id
    assert "There are no sessions in this range of days." in one.text("#results")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/?first=2020-01-01&last=2020-01-02", 400, "This snapshot holds the days from 22 Aug 2026 to 20 Nov 2026"),
        ("/?first=2026-10-02&last=2026-10-01", 400, "The last day must not be before the first."),
        ("/?days=x", 400, "The address holds something that cannot be read."),
        ("/creator?id=nobody", 404, "No creator with this ID."),
    ],
)
def test_what_cannot_be_shown(visit: Callable[..., Visit], server: str, path: str, status: int, said: str) -> None:
    """A page says why not, and leads back."""
    one = visit(server)
    assert one.go(path).status == status
    assert said in one.text("main")
    assert re.search(r"Snapshot \S+ Published", one.text(".status"))
    one.page.click("text=Go to the ranking")
    one.page.wait_for_selector(ROWS)
    one.complaints[:] = [said for said in one.complaints if str(status) not in said]  # the browser's own note
