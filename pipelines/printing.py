"""How the command line writes: JSON on one line, tables that line up, summaries, text of any origin made safe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_json(content: Any) -> None:
    """One line of JSON on stdout."""
    click.echo(json.dumps(content, ensure_ascii=False, default=str))


def print_summary(summary: dict[str, Any]) -> None:
    """What a run did, for people."""
    state = "published" if summary["is_new"] else "published before, unchanged"
    current = "" if summary["is_current"] else " (not current: a later or pinned snapshot is)"
    click.echo(f"Snapshot {summary['snapshot_id']}, {state}{current}.")
    files, records, rejected = (summary[name] for name in ("new_files", "new_records", "new_rejected"))
    click.echo(f"New: {files:,} files with {records:,} records, {rejected:,} rejected.")
    click.echo(
        f"Lake: {summary['records']:,} records = {summary['accepted']:,} accepted + {summary['rejected']:,} rejected."
    )
    funnel = {name: count for name, count in summary["funnel"].items() if count}
    click.echo("Sessions: " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in funnel.items()))
    for file in summary["postponed"]:
        click.echo(f"Postponed to the next run: {file['file']}: {file['reason']}")
    for warning in summary["warnings"]:
        click.echo(f"Warning: {warning}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned columns: numbers to the right, text to the left."""
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(row[i].replace(",", "").isdigit() for row in cells) for i in range(len(columns))]
    widths = [max(len(columns[i]), *(len(row[i]) for row in cells), 0) for i in range(len(columns))]
    for row in [list(columns), *cells]:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip())


def one_line(text: str) -> str:
    """Text of any origin as one line that is safe on a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:200])
