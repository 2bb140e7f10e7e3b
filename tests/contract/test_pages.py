"""The pages over HTTP: languages, colours, caching, and what is loaded; how they look is for tests/browser."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from published import CREATOR_ID, EXAMPLE, publish, reached

from pipelines.api.page import assets
from pipelines.api.page.translations import LANGUAGES, preferred
from pipelines.core.completeness import Completeness

PAGES = ["/", f"/creator?id={CREATOR_ID}"]


class Addresses(HTMLParser):
    """Everything that a page loads, and everything that it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        named = {name: value or "" for name, value in attrs}
        self.inline += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in named) else []
        self.loads += [named[name] for name in ("src", "srcset", "data", "poster") if name in named]
        if "href" in named and named.get("rel") != "expect":  # which waits for a part of this page, and loads nothing
            (self.loads if tag in ("link", "image", "use") else self.leads).append(named["href"])
        self.leads += [named["action"]] if "action" in named else []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_other_host(example_client: Client, path: str) -> None:
    """It loads its own files alone, leads nowhere else, holds no script and no style, and its policy says the same."""
    answer = example_client.get(path)
    page = Addresses(answer.text)
    assert page.inline == []
    assert sorted(page.loads) == sorted(assets.address(name) for name in ("icon.svg", "page.css", "page.js"))
    assert page.leads
    assert not [address for address in page.leads if re.match(r"[a-z]+:|//", address)]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert not re.search(r"unsafe|http|\*", policy)


def test_names_and_questions_are_texts(home: Path, client_for: Callable[..., Client]) -> None:
    """Nothing that others wrote becomes a part of the page."""
    evil = """<script>x</script>"'><img src=x onerror=y>\0\x1b"""
    names = dict.fromkeys(("username", "name", "surname", "expertise"), evil)
    stream = {"stream_id": "s", "creator_id": evil, "status": "scheduled", "title": evil, "currency": evil}
    funding = {"stream_id": "s", "creator_id": evil, "funding_goal": Decimal(1), "funding_percentage": 1}
    publish(
        home,
        {
            "creator_reach": [reached("2026-11-20", evil, 5)],
            "creators": [{"creator_id": evil, **names}],
            "live_streams": [stream],
            "live_stream_funding": [funding | {"collected_funding": Decimal(1), "currency": evil, "backers": 1}],
        },
    )
    client = client_for()
    for path in ("/", "/creator"):
        for asked in ({"id": evil}, {"id": evil, "q": evil, "days": 1}, {"id": evil, "first": evil, "last": evil}):
            answer = client.get(path, params=asked)
            assert Addresses(answer.text).inline == []
            assert "<img" not in answer.text
            assert "\0" not in answer.text
            assert "\x1b" not in answer.text
            if "first" not in asked:
                assert (answer.status_code, "&lt;script&gt;" in answer.text) == (200, True)


def test_files_are_kept_for_good_under_the_address_that_the_pages_give(example_client: Client) -> None:
    """And are asked about every time under any other."""
    for name in assets.names():
        path = f"/page/{name}"
        versioned = example_client.get(f"{path}?v={assets.version()}")
        assert versioned.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        for other in (path, f"{path}?v=0", f"{path}?v={assets.version()}&w"):
            assert example_client.get(other).headers["Cache-Control"] == "no-cache"
        held = example_client.get(path, headers={"If-None-Match": versioned.headers["ETag"]})
        assert (held.status_code, held.content) == (304, b"")


def test_scripts_import_each_other_by_version(example_client: Client) -> None:
    script = example_client.get("/page/page.js").text
    assert f'"./charts.js?v={assets.version()}"' in script
    assert b"@VERSION@" not in b"".join(assets.content(name) for name in assets.names())


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("tr", "tr"),
        ("tr-TR,tr;q=0.9,en;q=0.8", "tr"),
        ("de,en;q=0.5,tr;q=0.7", "tr"),
        ("de-DE", "en"),
        ("tr;q=0", "en"),
        ("TR-tr", "tr"),
        ("en;q=x,tr;q=0.1", "tr"),
        ("*", "en"),
        (",;q=,\x00", "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_wants_most(header: str, language: str) -> None:
    assert preferred(header) == language


def test_a_choice_is_shown_and_remembered(example_client: Client) -> None:
    """In a cookie; a choice in the address comes before it, and that before what the browser prefers."""

    def get(query: str, **headers: str) -> Any:
        return example_client.get(
            f"/{query}", headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    assert '<html lang="tr">' in get("", accept_language="tr").text
    chosen = get("?lang=en&theme=dark", accept_language="tr", cookie="lang=tr; theme=light")
    assert '<html lang="en" data-theme="dark">' in chosen.text
    assert chosen.headers.get_list("Set-Cookie") == [
        "lang=en; Max-Age=31536000; SameSite=Lax",
        "theme=dark; Max-Age=31536000; SameSite=Lax",
    ]
    remembered = get("", accept_language="tr", cookie="other=1; lang=en; theme=dark")
    assert '<html lang="en" data-theme="dark">' in remembered.text
    assert "Set-Cookie" not in remembered.headers
    odd = get("", cookie='lang=<script>; theme="\\"; ;;=')
    assert '<html lang="en">' in odd.text
    for unknown in ("?lang=xx", "?theme=%ff", "?lang=tr&lang=en", "?theme="):
        refused = get(unknown)
        assert refused.status_code == 400
        assert "Set-Cookie" not in refused.headers


def test_a_page_is_asked_about_every_time_and_sent_only_when_it_differs(home: Path, client: Client) -> None:
    """The tag names everything that it depends on: the snapshot, language, colours, the question."""
    seen = set()
    for query, headers in (
        ("", {}),
        ("?days=7", {}),
        ("", {"Accept-Language": "tr"}),
        ("", {"Cookie": "theme=dark"}),
        ("?q=x", {}),
    ):
        answer = client.get(f"/{query}", headers=headers)
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["Vary"] == "Accept-Language, Cookie, Accept-Encoding"
        tag = answer.headers["ETag"]
        seen.add(tag)
        held = client.get(f"/{query}", headers=headers | {"If-None-Match": tag})
        assert (held.status_code, held.content, held.headers["ETag"]) == (304, b"", tag)
    assert len(seen) == 5
    publish(home, EXAMPLE, as_of="2026-11-22")
    assert client.get("/").headers["ETag"] not in seen


def test_its_age_is_that_of_the_moment(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """By the clock of the request, and stale by the rule of /readyz."""
    publish(home, EXAMPLE, published_at=datetime.fromtimestamp(clock.clock.now_ms() / 1000, UTC) - timedelta(hours=3))
    client = client_for(stale_hours=48)
    assert "3 h ago" in client.get("/").text
    clock.us += 45 * 3_600_000_000
    assert "2 days ago" in client.get("/").text
    assert "Out of date" not in client.get("/").text
    assert client.get("/readyz").status_code == 200
    clock.us += 1_000
    assert "Out of date" in client.get("/").text
    assert client.get("/readyz").status_code == 503


def test_how_old_the_data_is(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """By the clock, however lately it was published; a page that is kept is another once that changes."""
    newest = datetime(2026, 11, 20, 23, 59, 58, tzinfo=UTC)
    clock.us = round((newest + timedelta(hours=46, minutes=59)).timestamp() * 1_000_000)
    publish(home, EXAMPLE, published_at=newest + timedelta(hours=46))
    client = client_for()

    def ages(path: str) -> list[str]:
        return re.findall(r"<time[^>]* data-age [^>]*>([^<]+)</time>", client.get(path).text)

    for path in PAGES:
        assert ages(path) == ["less than an hour ago", "46 h ago"]
    tag = client.get("/").headers["ETag"]
    clock.us += 60_000_000
    for path in PAGES:
        assert ages(path) == ["1 h ago", "47 h ago"]
    assert client.get("/").headers["ETag"] != tag
    clock.us += 3_600_000_000
    assert ages("/") == ["2 h ago", "2 days ago"]


def test_both_languages_say_everything() -> None:
    """The same texts with the same values to put in; none is left in the other language."""
    english, turkish = LANGUAGES["en"].texts, LANGUAGES["tr"].texts
    assert english.keys() == turkish.keys()
    same = set()
    for key, text in english.items():
        fields = sorted(re.findall(r"{(\w+)}", text))
        assert fields == sorted(re.findall(r"{(\w+)}", turkish[key])), key
        if text == turkish[key]:
            same.add(key)
    assert same == {"range_one", "range_many"}


def test_every_text_is_used() -> None:
    """And every one that is used is there."""
    folder = Path(assets.__file__).parent
    sources = [*folder.glob("*.py"), *folder.rglob("*.html"), folder.parent / "pages.py"]
    code = "".join(path.read_text("utf-8") for path in sources if path.name != "texts.py")
    for key in LANGUAGES["en"].texts:
        stem = re.sub(r"_(one|many)$", "", key)
        prefixed = re.fullmatch(r"(theme|chart)_(\w+?)(_note)?", key)
        assert f'"{key}"' in code or f"'{key}'" in code or f'"{stem}"' in code or f"'{stem}'" in code or prefixed, key


@pytest.mark.parametrize("query", ["", "?days=7&lang=tr&theme=dark", "?days=1&q=a"])
def test_what_a_page_links_to_of_the_api_is_answered(example_client: Client, query: str) -> None:
    """An endpoint refuses parameters that it does not know: the pages give it none."""
    pages = [f"/{query}", f"/creator{query}{'&' if query else '?'}id={CREATOR_ID}"]
    for page in pages:
        links = re.findall(r'href="(api/v1/creators/[^"]+)"', example_client.get(page).text)
        assert len(links) == 2
        for link in links:
            assert example_client.get(f"/{html.unescape(link)}").status_code == 200, link


# --- what the ranking page says beside the figures of the range ---

OCTOBER = ("2026-10-25", "2026-11-01", "2026-11-08", "2026-11-20")


def _two_creators(**second: Any) -> dict[str, Any]:
    """Two creators on a few days; the second has fewer viewers, and more sessions and hours."""
    rows = []
    for at, day in enumerate(OCTOBER):
        rows.append(reached(day, "first", 10 + at, watched_milliseconds=3_600_000))
        rows.append(reached(day, "second", 5, watched_milliseconds=7_200_000, sessions_started=50))
    return {"creator_reach": rows, "creators": [{"creator_id": "second", "username": "second", **second}]}


def _ids(page: str) -> list[str]:
    return re.findall(r'href="creator\?id=(\w+)', page)


def test_no_green_light_over_old_data(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """However lately it was published: what counts is how long ago its last day ended."""
    publish(home, EXAMPLE, published_at=datetime(2027, 1, 1, tzinfo=UTC))
    client = client_for(stale_hours=48)
    end_us = round(datetime(2026, 11, 21, tzinfo=UTC).timestamp() * 1_000_000)
    clock.us = end_us + 48 * 3_600_000_000
    assert "Up to date" in client.get("/").text
    tag = client.get("/").headers["ETag"]
    clock.us += 1_000
    for path in PAGES:
        page = client.get(path).text
        assert "Up to date" not in page
        assert 'class="status old"' in page
        assert "Data until 20 Nov 2026" in page
        assert "The last day that is counted is 20 Nov 2026." in page
    assert client.get("/").headers["ETag"] != tag


def test_rows_are_sorted_and_ranks_stay(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, _two_creators())
    client = client_for()
    assert _ids(client.get("/").text) == _ids(client.get("/?sort=viewers").text) == ["first", "second"]
    for column in ("sessions", "hours"):
        page = client.get(f"/?sort={column}").text
        assert _ids(page) == ["second", "first"]
        assert re.findall(r'<td class="rank">(\d)</td>', page) == ["2", "1"]
        assert re.findall(r'aria-sort="descending">\s*<a [^>]*id="sort-(\w+)"', page) == [column]
    for wrong in ("?sort=rank", "?sort=", "?sort=hours&sort=hours"):
        assert client.get(f"/{wrong}").status_code == 400


def test_a_column_without_a_figure_is_left_out(home: Path, client_for: Callable[..., Client]) -> None:
    """Nobody is anonymous on many platforms."""
    publish(home, _two_creators())
    client = client_for()
    assert "Anonymous</th>" not in client.get("/").text
    anonymous = [reached("2026-11-20", "first", 3, is_signed_in=False)]
    publish(home, {"creator_reach": [*_two_creators()["creator_reach"], *anonymous]})
    assert "Anonymous</th>" in client.get("/").text
    assert "Anonymous</th>" not in client.get("/?first=2026-10-25&last=2026-11-01").text


def test_figures_are_compared_with_the_period_before(home: Path, client_for: Callable[..., Client]) -> None:
    """Where it is held, began with data, and all of its days landed: a day that is missing is no change."""
    # one of its 12 viewers comes back two days later, for 12 sessions: 24 on 11, and 1.5 hours on 1
    again = reached("2026-11-10", "first", 1, gap=2, sessions_started=12, watched_milliseconds=1_800_000)
    publish(home, {**_two_creators(), "creator_reach": [*_two_creators()["creator_reach"], again]})
    client = client_for()
    page = client.get("/?first=2026-11-08&last=2026-11-14").text
    assert page.count("on the 7 days before") == 3
    first, second = re.findall(r'<td class="num viewers">(.*?)</td>', page)
    assert (first, second) == ("12<small>+9%</small>", "5<small>0%</small>")
    sessions_and_hours = re.findall(r'<td class="num more">[^<]*<small>(.*?)</small></td>', page)
    assert sessions_and_hours == ["+118%", "+50%", "0%", "0%"]
    tiles = client.get("/creator?id=first&first=2026-11-08&last=2026-11-14").text
    assert re.findall(r'<dd class="change"><span class="nowrap">(.*?)</span>', tiles) == ["+9%", "+118%", "+50%"]
    assert 'class="change"' not in client.get("/creator?id=first&first=2026-10-25&last=2026-10-31").text
    assert "days before</dd>" not in client.get("/?first=2026-10-25&last=2026-10-31").text  # nothing is known before
    publish(
        home, _two_creators(), completeness=Completeness(date(2026, 10, 1), (date(2026, 11, 3),)), as_of="2026-11-22"
    )
    assert "days before</dd>" not in client.get("/?first=2026-11-08&last=2026-11-14").text


def test_the_platform_has_a_line_of_its_own(home: Path, client_for: Callable[..., Client]) -> None:
    """The hours of every day, of all creators that are listed; there is none where ranges are not shown."""
    publish(home, _two_creators())
    client = client_for()
    page = client.get("/").text
    chart = page[page.index('id="chart-platform"') : page.index('<table class="ranking">')]
    rows = dict(re.findall(r'<time datetime="([0-9-]+)">[^<]*</time></th><td>([^<]*)</td>', chart))
    assert (rows["2026-11-08"], rows["2026-11-09"], min(rows), max(rows)) == ("3.0", "0.0", OCTOBER[0], "2026-11-20")
    publish(home, _two_creators(status="banned"), as_of="2026-11-22")
    page = client.get("/").text
    assert "<td>1.0</td>" in page[page.index('id="chart-platform"') :]
    assert "<td>3.0</td>" not in page


def test_presets_are_what_is_held(home: Path, client_for: Callable[..., Client]) -> None:
    """The published windows, 7, 28, 30 and 90 days, and the last whole month, in the language of the page."""
    publish(home, EXAMPLE)
    page = client_for().get("/?lang=tr").text
    assert re.findall(r'id="days-(\d+)"', page) == ["1", "7", "28", "30", "90"]
    assert re.search(
        r'href="\./\?[^"]*first=2026-10-01&amp;last=2026-10-31[^"]*" data-go id="month">Eki 2026</a>', page
    )
    assert page.count('<option value="2026-11-20" selected>20 Kas 2026</option>') == 1
    for name in ("days=28", "days=90", "first=2026-10-01&last=2026-10-31"):
        answer = client_for().get(f"/?{name}")
        assert (answer.status_code, answer.text.count('data-go id="month" aria-current="true"')) == (
            200,
            name[0] == "f",
        )


def test_an_empty_home_says_which_command_to_run(client_for: Callable[..., Client]) -> None:
    assert "<code>mostwatched run</code>" in client_for().get("/").text


@pytest.mark.parametrize(("path", "root"), [("/a", "./"), ("/a/b", "../"), ("/a%2Fb", "./"), ("/a//b%2f", "../../")])
def test_a_page_that_is_not_there_leads_back(client_for: Callable[..., Client], path: str, root: str) -> None:
    """Also behind a prefix: so many steps up as a browser counts folders, for which %2F parts none."""
    page = client_for().get(path, headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert re.findall(r'href="([./]*)page/page\.css', page.text) == [root]
