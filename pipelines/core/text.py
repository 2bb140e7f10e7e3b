"""Output of the command line: JSON on one line, CSV, aligned tables, summaries, and untrusted text made safe."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from pipelines.core.csv_escape import csv_lines
from pipelines.core.errors import UsageError

SHOWN_CHARS = 200  # of a text in a list or a table
_ANOMALIES_SHOWN = 3
_IGNORED_SHOWN = 20


def print_json(content: Any) -> None:
    """One line of JSON on stdout; what a terminal could take for a command is escaped, which changes no value."""
    click.echo(_json_line(content))


def _json_line(content: Any) -> str:
    line = json.dumps(content, ensure_ascii=False, default=str)
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """The same for rows, as they come: a list of objects. Raises UsageError where two columns have one name."""
    twice = sorted({name for name in columns if list(columns).count(name) > 1})
    if twice:
        raise UsageError(f"More than one column is called {', '.join(twice)}: name them apart, with `as`.")
    before = "["
    for row in rows:
        shown = {name: _in_json(value) for name, value in zip(columns, row, strict=True)}
        click.echo(f"{before}{_json_line(shown)}", nl=False)
        before = ", "
    click.echo("[]" if before == "[" else "]")


def _in_json(value: Any) -> Any:
    """A decimal as a number where that is the same one; NaN and infinity, which JSON has none of, as texts."""
    if isinstance(value, Decimal) and Decimal(str(float(value))) == value:
        return float(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """CSV in UTF-8 on stdout, row by row, safe to open in a spreadsheet: see csv_escape.py."""
    for line in csv_lines(columns, rows):
        click.echo(line.encode(), nl=False)


def print_summary(summary: dict[str, Any], ignored: Sequence[tuple[Path, str]]) -> None:
    """Print what a run did, for people.

    `ignored` are the paths under the landing folders that were not read, each with the reason.
    """
    state = "published" if summary["is_new"] else "published before, unchanged"
    current = "" if summary["is_current"] else " (not current: a later or pinned snapshot is)"
    click.echo(f"Snapshot {summary['snapshot_id']}, {state}{current}.")
    files, records, rejected = (summary[name] for name in ("new_files", "new_records", "new_rejected"))
    click.echo(f"New: {counted(files, 'file')} with {counted(records, 'record')}, {rejected:,} rejected.")
    of_lake = f"{summary['accepted']:,} accepted + {summary['rejected']:,} rejected"
    click.echo(f"Lake: {counted(summary['records'], 'record')} = {of_lake}.")
    _print_lost(summary["lost"], summary["unknown_fields"])
    funnel = {name: count for name, count in summary["funnel"].items() if count}
    outcomes = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in funnel.items())
    click.echo(f"Sessions: {outcomes or 'none'}")
    for file in summary["postponed"]:
        click.echo(f"Postponed to the next run: {printable(file['file'])}: {printable(file['reason'])}")
    _print_ignored(ignored)
    for warning in summary["warnings"]:
        click.echo(f"Warning: {printable(warning)}")
    anomalies = summary["anomalies"]
    for sentence in anomalies[:_ANOMALIES_SHOWN]:
        click.echo(f"Worth a look: {printable(sentence)}.")
    if len(anomalies) > _ANOMALIES_SHOWN:
        click.echo(f"Worth a look: {len(anomalies) - _ANOMALIES_SHOWN:,} more figures, see the report.")
    if summary["report"]:
        click.echo(f"Report: {printable(summary['report'])}")


def _print_lost(lost_by_entity: Sequence[Mapping[str, Any]], unknown: Sequence[Mapping[str, Any]]) -> None:
    for lost in lost_by_entity:
        ways = {"rejected_later": "rejected, as not of the currency of their stream", "conflicting": "put aside"}
        said = [f"{lost[way]:,} {how}" for way, how in ways.items() if lost[way]]
        if lost["conflicting"]:
            said.append("as other records have the same id and version")
        click.echo(f"Lost: of {lost['entity']} {', '.join(said)}.")
    for one in (one for one in unknown if one["resembles"]):
        whose = f"{printable(one['field'])} in {counted(one['records'], 'record')} of {one['entity']}"
        click.echo(
            f"Unknown field: {whose} is not read; it resembles {one['resembles']}. If that is what it is, have it "
            "exported by that name, or say so under rename in mostwatched.toml."
        )
    if others := [one for one in unknown if not one["resembles"]]:
        click.echo(f"Unknown fields: {counted(len(others), 'field')} that the contract does not know; see the report.")


def _print_ignored(ignored: Sequence[tuple[Path, str]]) -> None:
    if ignored:
        click.echo(f"Ignored: {counted(len(ignored), 'path')}:")
    for path, reason in ignored[:_IGNORED_SHOWN]:
        click.echo(f"  {printable(f'{path} ({reason})')}")
    if len(ignored) > _IGNORED_SHOWN:
        click.echo(f"  and {len(ignored) - _IGNORED_SHOWN:,} more; the report lists them.")


def first_named(names: Sequence[str]) -> str:
    """Some names of files in a sentence: the first one, and how many more there are."""
    return f"{names[0]}{f' and {len(names) - 1:,} more files' if names[1:] else ''}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns: numbers to the right, text to the left, nothing for None."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        any(row[i] for row in cells) and all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(columns))
    ]
    widths = [max(len(columns[i]), *(len(row[i]) for row in cells), 0) for i in range(len(columns))]
    for row in [list(columns), *cells]:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip())


_NUMBER = re.compile(r"([+-]?\d[\d,]*(\.\d+)?|-)?", re.ASCII)  # nothing, or a dash, where there is none


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else excerpt(str(value))


def counted(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`: for a noun that takes an s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def printable(text: str) -> str:
    """Text of any origin as one line that is safe on a terminal.

    Line ends, terminal sequences, letters that turn the direction of writing, and bytes of a file name that are no text
    are shown as \\n, \\x1b, \\u202e, \\udcff.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def excerpt(text: str, length: int = SHOWN_CHARS) -> str:
    """The beginning of a text of any origin and length, as one such line."""
    return printable(text[:length])
