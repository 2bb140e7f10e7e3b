"""A report as Markdown, for a Prefect artifact and a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.core.text import printable
from pipelines.jobs.report.document import Bars, Bullets, Document, Table, Text, is_numeric, seconds

_BAR_CHARS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


def render(report: Document) -> str:
    """The whole report. Text of any origin is shown, never obeyed."""
    return "\n".join(_lines(report))


def _lines(report: Document) -> Iterator[str]:
    yield f"# {_plain(report.title)}: {report.outcome}"
    yield ""
    yield _plain(report.lead)
    yield ""
    yield " · ".join(f"**{number}** {what}" for what, number in report.figures)
    for section in report.sections:
        yield ""
        yield f"## {section.title}"
        for block in section.blocks:
            yield ""
            match block:
                case Text(text):
                    yield _plain(text)
                case Bullets(items):
                    yield from (f"- {_plain(item)}" for item in items)
                case Table():
                    yield from _table(block)
                case Bars():
                    yield from _bars(block)
    yield ""


def _table(table: Table) -> Iterator[str]:
    numeric = [is_numeric([row[column] for row in table.rows]) for column in range(len(table.columns))]
    yield "| " + " | ".join(table.columns) + " |"
    yield "|" + "|".join("---:" if right else "---" for right in numeric) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_cell(value) for value in row) + " |"


def _bars(picture: Bars) -> Iterator[str]:
    """A picture in letters: where Markdown is shown, an image inside it often is not."""
    width = max(len(f"{bar.group}: {bar.label}") for bar in picture.bars)
    longest = max(bar.seconds for bar in picture.bars) or 1
    yield "```text"
    for bar in picture.bars:
        eighths = round(bar.seconds / longest * _BAR_CHARS * 8)
        drawn = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        label = printable(f"{bar.group}: {bar.label}").ljust(width)
        yield f"{label}  {seconds(bar.seconds):>9}  {drawn or '▏'}"
    yield "```"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else _plain(value)


_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def _plain(text: str) -> str:
    """Text in which nothing is markup, but for `code` that holds none itself."""
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", printable(text))
    return "".join(
        f"`{part}`" if number % 2 and part else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts)
    )
