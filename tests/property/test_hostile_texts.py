"""Whatever others wrote is a text on the pages and in the reports: what is around it is as with any other text.

The elements of a page and the names of their attributes are compared with those of the same page about harmless texts;
the text itself must be found in it, letter by letter.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from calling import Client
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from published import publish, reached
from world import World

from pipelines.api.app import create_app
from pipelines.core.errors import RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.core.text import printable
from pipelines.jobs import report
from pipelines.jobs.report import formats
from pipelines.jobs.report.document import document

ATTACKS = (
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title>", "</textarea>", "</style>", "-->", "]]>"),
    *('"', "'", '" onload="alert(1)', "' autofocus onfocus='alert(1)", ">", "<", "&", "&lt;", "&#60;", "=", "/", "\\"),
    *("{{ 7 * 7 }}", "{% raw %}", "{#", "%s", "{0}", "{name}", "`", "``", "|", "*", "_", "](x)", "![", "# ", "- ", "~"),
    *("\0", "\x1b[31m", "\x7f", "\x9b", "\n", "\r", "\t", "\u202e", "\u2066", "\u200f", "\u2028", "javascript:"),
)
HOSTILE = st.lists(
    st.sampled_from(ATTACKS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3), min_size=1, max_size=6
).map("".join)
RIGHT_TO_LEFT = "\u202e\u2066\u200f"
CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"}


class Page(HTMLParser):
    """The elements of a page with the names of their attributes, and its texts, each with the elements around it."""

    VOID = frozenset({"meta", "link", "input", "rect", "line", "path", "circle", "br", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.texts: list[tuple[str, list[str]]] = []
        self.values: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "code":  # a pair of ` in a sentence is no harm
            self.elements.append((tag, *(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.texts and self.texts[-1][1] == self.open:
            data = self.texts.pop()[0] + data
        self.texts.append((data, list(self.open)))


# --- the pages


def pages(text: str) -> Iterator[str]:
    """Every page about a creator and a stream of whom nothing but figures is our own; each text differs at its end."""
    creator_id = f"{text}i"
    names = {name: f"{text}{name[0]}" for name in ("username", "name", "surname", "expertise")}
    stream = {"stream_id": "s", "creator_id": creator_id, "status": "scheduled", "title": f"{text}t"}
    funds = {"stream_id": "s", "creator_id": creator_id, "currency": f"{text}c", "backers": 1}
    funds |= {"funding_goal": Decimal(2), "funding_percentage": 50, "collected_funding": Decimal(1)}
    with tempfile.TemporaryDirectory() as home:
        publish(
            Path(home),
            {
                "creator_reach": [reached("2026-11-19", creator_id, 5), reached("2026-11-20", creator_id, 5)],
                "creators": [{"creator_id": creator_id, **names}],
                "live_streams": [stream],
                "live_stream_funding": [funds],
            },
        )
        client = Client(create_app(Settings(home=Path(home))))
        for path, params in (
            ("/", {}),
            ("/creator", {"id": creator_id}),
            ("/", {"q": f"{text}x"}),  # which no name ends with
            ("/creator", {"id": f"{text}x"}),
            ("/", {"first": f"{text}x"}),
        ):
            yield client.get(path, params=params).text


@cache
def harmless_pages() -> list[Page]:
    return [Page(page) for page in pages("x")]


@given(HOSTILE)
def test_a_text_of_others_is_a_text_on_a_page(text: str) -> None:
    """Ids, names, titles, currencies and questions; where letters turn the direction of writing, only of themselves."""
    shown = text.translate(CONTROLS)
    found = list(pages(text))
    for page, harmless in zip(found, harmless_pages(), strict=True):
        assert not set(page) & {chr(code) for code in CONTROLS}
        assert Page(page).elements == harmless.elements
    ranking, creator, search, *_ = map(Page, found)
    for page, expected in ((ranking, "nse"), (creator, "nsetci")):
        texts = " ".join(words for words, around in page.texts if "bdi" in around)
        assert all(f"{shown}{end}" in texts for end in expected)
    assert f"{shown}x" in search.values
    for page in (ranking, creator, search):
        for words, around in page.texts:
            assert not set(words) & set(RIGHT_TO_LEFT) or "bdi" in around or "title" in around


# --- the reports


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Iterator[tuple[str, str]]]:
    """What is written of a night that published and of one that was refused, for any text that others wrote in them.

    Each as HTML, and what a reader of its Markdown makes of that.
    """
    world = World(tmp_path_factory.mktemp("reported"))
    world.busy_days("2026-01-20", 10)
    world.run("2026-01-30", compare=False)
    world.sessions("creator | viewer | started_at\nMARK | v1 | 2026-01-29 11:00\nMARK | v2 | 2026-01-28 11:00")
    world.land_text("follows", '{"userId":1}\n{}\nMARK\n', "MARK.ndjson")
    world.land_text("follows", "MARK\n", "MARK.txt")
    night = world.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    world.land_text("follows", "not Parquet", "MARK.parquet")
    with pytest.raises(RefusedToPublish):
        world.run("2026-02-01", compare=False)
    written = [json.dumps(night.report.facts), json.dumps(report.read(world.settings, None))]
    assert all(each.count("MARK") > 2 for each in written)

    def render(text: str) -> Iterator[tuple[str, str]]:
        for each in written:
            about = document(json.loads(each.replace("MARK", json.dumps(text)[1:-1])))
            markdown = formats.markdown(about)
            assert all(char.isprintable() or char == "\n" for char in markdown)
            yield formats.html(about).decode(), MarkdownIt("commonmark").enable("table").render(markdown)

    return render


@given(text=HOSTILE)
def test_a_text_of_others_is_a_text_in_a_report(reports: Callable[[str], Iterator[tuple[str, str]]], text: str) -> None:
    """Ids and names of files, as HTML and as Markdown; what could not be seen is shown as an escape."""
    for written, harmless in zip(reports(f"{text}x"), reports("x"), strict=True):
        for page, other in zip(written, harmless, strict=True):
            assert all(char.isprintable() or char == "\n" for char in page)
            assert Page(page).elements == Page(other).elements
            cells = [words for words, around in Page(page).texts if "td" in around]
            assert any(f"{printable(text)}x" in words for words in cells)
