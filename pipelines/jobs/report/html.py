"""A report as one HTML file: no scripts, nothing fetched, light and dark, readable on paper and on a telephone."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from pipelines.core.text import printable
from pipelines.jobs.report.bar_chart import svg
from pipelines.jobs.report.document import Bars, Bullets, Document, Section, Table, Text, is_numeric

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing that a landed file says can load or run anything


def render(report: Document) -> bytes:
    """The whole page. Text of any origin is shown, never obeyed."""
    return "\n".join(_lines(report)).encode()


def _lines(report: Document) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{_safe(report.title)}: {_safe(report.outcome)}</title>"
    yield f"<style>{_STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield "<header>"
    yield f'<p class="outcome {_safe(report.outcome)}">{_safe(report.outcome)}</p>'
    yield f"<h1>{_safe(report.title)}</h1>"
    yield f"<p>{_with_code(report.lead)}</p>"
    yield '<dl class="figures">'
    for what, number in report.figures:
        yield f"<div><dt>{_safe(what)}</dt><dd>{_safe(number)}</dd></div>"
    yield "</dl>"
    yield "</header>"
    yield "<main>"
    for section in report.sections:
        yield from _section(section)
    yield "</main>"
    yield "</body>"
    yield "</html>"
    yield ""


def _section(section: Section) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{_safe(section.title)}</h2>"
    for block in section.blocks:
        match block:
            case Text(text):
                yield f"<p>{_with_code(text)}</p>"
            case Bullets(items):
                yield "<ul>"
                yield from (f"<li>{_with_code(item)}</li>" for item in items)
                yield "</ul>"
            case Table():
                yield from _table(block)
            case Bars():
                yield svg(block)
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    numeric = [is_numeric([row[column] for row in table.rows]) for column in range(len(table.columns))]
    classes = [
        ' class="number"' if right else ' class="shape"' if name.startswith("shape") else ""
        for name, right in zip(table.columns, numeric, strict=True)
    ]
    yield '<div class="wide"><table>'
    heads = "".join(
        f'<th scope="col"{each}>{_safe(name)}</th>' for name, each in zip(table.columns, classes, strict=True)
    )
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = "".join(f"<td{each}>{_cell(value)}</td>" for value, each in zip(row, classes, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else _safe(value)


def _safe(text: str) -> str:
    return html.escape(printable(text))  # safeguard: text-escaped-in-a-report


def _with_code(text: str) -> str:
    """Text with its `code` set as such."""
    parts = _safe(text).split("`")
    if len(parts) % 2 == 0:
        return _safe(text)
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


_STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfaf8; --card: #fff; --ink: #1d1f24; --soft: #63676f; --line: #e2dfd9;
  --good: #1f7a4d; --calm: #35618e; --warn: #a15c00; --bad: #b3261e; --bar: #4d7fb3; --late: #dcd7cd; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15171a; --card: #1d2024; --ink: #e9e7e2; --soft: #a0a4ab; --line: #33373d;
  --good: #6cc597; --calm: #8fb8e3; --warn: #e3ae5c; --bad: #f28b82; --bar: #6f9fd0; --late: #3b4047; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { margin: .35rem 0 .25rem; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; }
h2 { margin: 0 0 .75rem; font-size: 1.15rem; }
p { margin: .4rem 0 .8rem; max-width: 48rem; overflow-wrap: anywhere; }
.outcome { display: inline-block; margin: 0; padding: .1rem .65rem; border-radius: 1rem; border: 1px solid currentColor;
  font-size: .85rem; font-weight: 600; }
.published { color: var(--good); } .unchanged { color: var(--calm); }
.refused { color: var(--warn); } .failed { color: var(--bad); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0 1.75rem; }
.figures div { flex: 1 1 8rem; padding: .7rem .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
.figures dt { color: var(--soft); font-size: .82rem; }
.figures dd { margin: .1rem 0 0; font-size: 1.4rem; font-weight: 600; font-variant-numeric: tabular-nums; }
section { margin: 0 0 1.1rem; padding: 1.1rem 1.25rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
section > :last-child { margin-bottom: 0; }
ul { margin: .4rem 0 .8rem; padding-left: 1.2rem; } li { margin: .2rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .4rem 0 .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .38rem .7rem .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  max-width: 26rem; overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number:last-child, td.number:last-child { padding-right: 0; }
code, td.shape { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .86em; }
td.shape { color: var(--soft); min-width: 16rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; margin: .4rem 0 .6rem; font: 13px system-ui, sans-serif; }
svg .label { fill: var(--ink); } svg .group { fill: var(--soft); font-weight: 600; } svg .time { fill: var(--soft); }
svg .bar { fill: var(--bar); } svg .grid { stroke: var(--line); }
@media print { body { padding: 0; background: none; } section { break-inside: avoid; } }
"""
