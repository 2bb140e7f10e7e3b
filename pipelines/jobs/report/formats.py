"""A report as one HTML file and as Markdown, from templates/: two forms of one document.

The HTML needs no script and fetches nothing; it is light and dark, and readable on paper and on a telephone. Markdown
is for a Prefect artifact and a terminal. In both, text of any origin is shown, never obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from pipelines.core import templates
from pipelines.core.templates import Template
from pipelines.core.text import printable
from pipelines.jobs.report.document import Bar, Bars, Document, seconds

_FOLDER = Path(__file__).with_name("templates")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")  # in Markdown


def html(report: Document) -> bytes:
    """The whole page."""
    return _of_html().render(report=report).encode()


def markdown(report: Document) -> str:
    """The whole report."""
    return _of_markdown().render(report=report)


def _load(name: str, shown: Callable[[str], Markup], code: Callable[[str], Markup]) -> Template:
    """Return a template, given how a format shows any text, and one that is code."""

    def sentence(text: str) -> Markup:
        """A sentence with its `code` set as such, unless a text of others in it leaves one of a pair."""
        parts = text.split("`")
        if len(parts) % 2 == 0:
            return shown(text)
        return Markup("").join([code(part) if at % 2 and part else shown(part) for at, part in enumerate(parts)])

    loaded = templates.load(
        _FOLDER,
        shown,
        [name],
        bar_lines=_bar_lines,
        cell=_cell,
        placed=_placed,
        seconds=seconds,
        sentence=sentence,
        verbatim=_verbatim,
    )
    return loaded[name]


def _placed(bar: Bar, picture: Bars) -> tuple[str, str]:
    """Where a bar begins in the drawing, which is 1000 wide, and how wide it is: enough to be seen.

    A step in many pieces is drawn as one: from where it began, as long as all of them.
    """
    left, right, least = 330, 910, 2.0
    total = max(picture.total_seconds, *(each.after_seconds + each.seconds for each in picture.bars), 1e-9)
    x = min(left + bar.after_seconds / total * (right - left), right - least)
    return f"{x:.1f}", f"{max(min(bar.seconds / total * (right - left), right - x), least):.1f}"


def _bar_lines(picture: Bars) -> Iterator[str]:
    """The drawing in letters: where Markdown is shown, an image inside it often is not."""
    width = max(len(f"{bar.group}: {bar.label}") for bar in picture.bars)
    longest = max(bar.seconds for bar in picture.bars) or 1
    for bar in picture.bars:
        eighths = round(bar.seconds / longest * 40 * 8)
        drawn = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        yield f"{f'{bar.group}: {bar.label}':<{width}}  {seconds(bar.seconds):>9}  {drawn or '▏'}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _verbatim(text: str) -> Markup:
    """Text in a block of code of Markdown, where nothing is markup."""
    return Markup(printable(text))  # noqa: S704


@cache  # compiled when it is first asked for: a run writes the page, and Markdown only where somebody reads it
def _of_html() -> Template:
    # safeguard: text-escaped-in-a-report
    return _load(
        "report.html",
        lambda text: escape(printable(text)),
        lambda text: Markup("<code>{}</code>").format(printable(text)),
    )


@cache
def _of_markdown() -> Template:
    # safeguard: text-is-no-markdown-in-a-report
    return _load(
        "report.md",
        lambda text: Markup(_SPECIAL.sub(r"\\\1", printable(text))),  # noqa: S704
        lambda text: Markup(f"`{printable(text)}`"),  # noqa: S704
    )
