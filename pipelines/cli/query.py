"""Commands that query what was published and what landed: top, sql, explain, rejects."""

from __future__ import annotations

from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines import remote
from pipelines.cli.group import COUNT, DAY, ID, TEXT, as_csv, as_json, cli, command, snapshot_or_current
from pipelines.core import logs
from pipelines.core.settings import Settings
from pipelines.core.text import counted, excerpt, print_csv, print_json, print_rows, print_table, printable

if TYPE_CHECKING:
    from pipelines.core.calendar_days import Window
    from pipelines.snapshots.manifest import Snapshot

_SHOWN_ROWS = 100  # of a query's answer in a table, unless told


@command(cli, only="snapshots")
@click.option("--days", "--window", "window_days", type=int, metavar="N", help="The last N days; by default 30.")
@click.option("--from", "first", type=DAY, help="The first day of a range.")
@click.option("--to", "end", type=DAY, help="The day after its last one.")
@click.option("--snapshot", "snapshot_id", metavar="ID", help="Ask this snapshot instead of the current one.")
@click.option("--limit", type=COUNT, metavar="N", default=100, show_default=True, help="At most so many creators.")
@as_json
@as_csv
def top(
    settings: Settings,
    window_days: int | None,
    first: date | None,
    end: date | None,
    snapshot_id: str | None,
    limit: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Rank creators over the last N days, or any range of days.

    Exactly, from the cube of a snapshot, for every range that it holds.

    With --csv, a text that a spreadsheet could take for a formula has a single quote before it, also after a semicolon
    inside it; control characters are written as \\x0a; a very long text is cut. --json gives the texts as they are.
    """
    from pipelines.snapshots import ranking

    _either(as_json, as_csv)
    snapshot = snapshot_or_current(settings, snapshot_id)
    days = ranking.window_from_options(snapshot, window_days, first, end)
    rows = ranking.ranking(settings, snapshot, days, limit)
    _warn_of_missing_days(snapshot, days)
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(ranking.COLUMNS, ([row[column] for column in ranking.COLUMNS] for row in rows))
    else:
        click.echo(f"Snapshot {snapshot.id}, the days {days} (end not included)\n")
        print_table(ranking.COLUMNS, ([row[column] for column in ranking.COLUMNS] for row in rows))


# A query may begin with a comment, `-- ...`, which is no option.
@command(cli, only="snapshots", context_settings={"ignore_unknown_options": True})
@click.argument("query", type=TEXT)
@click.option("--snapshot", "snapshot_id", metavar="ID", help="Ask this snapshot instead of the current one.")
@click.option("--limit", type=COUNT, metavar="N", help="At most so many rows; 100 in a table.")
@click.option(
    "--allow-files",
    "allowed",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The query may read and write files in DIR. Can be given several times.",
)
@as_json
@as_csv
def sql(
    settings: Settings,
    query: str,
    snapshot_id: str | None,
    limit: int | None,
    allowed: tuple[Path, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Ask a snapshot anything, in DuckDB's SQL.

    QUERY is asked of its warehouse.duckdb, which it cannot change; - reads it from stdin. Such as "from
    ranking('2026-01-31', 14) limit 10", or "from duckdb_columns()" for what every column means. It can read and write
    no files and reach no network, unless --allow-files names a folder.

    --csv does to texts what it does in `top`.
    """
    import sys
    from itertools import islice

    from pipelines.snapshots import range_query

    _either(as_json, as_csv)
    if query == "-":
        query = sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")
    snapshot = snapshot_or_current(settings, snapshot_id)
    with range_query.open_warehouse(settings, snapshot, partial(remote.attach, settings), allowed) as connection:
        answer = range_query.run_query(connection, settings, query)
        if as_csv:
            print_csv(answer.columns, islice(answer.rows, limit))
        elif as_json:
            print_rows(answer.columns, islice(answer.rows, limit))
        else:
            print_table(answer.columns, islice(answer.rows, limit or _SHOWN_ROWS))
            if limit is None and next(answer.rows, None) is not None:
                logs.run_log.warning("The first %d rows; --limit shows more, --csv and --json all.", _SHOWN_ROWS)


@command(cli)
@click.argument("creator_id", metavar="CREATOR", type=ID)
@click.option("--days", "--window", "window_days", type=int, metavar="N", help="The last N days; by default 30.")
@click.option("--from", "first", type=DAY, help="The first day of a range.")
@click.option("--to", "end", type=DAY, help="The day after its last one.")
@click.option("--snapshot", "snapshot_id", metavar="ID", help="Ask this snapshot instead of the current one.")
@as_json
def explain(
    settings: Settings,
    creator_id: str,
    window_days: int | None,
    first: date | None,
    end: date | None,
    snapshot_id: str | None,
    as_json: bool,
) -> None:
    """Say why a creator's number is what it is.

    From the landed records to the published figure, step by step. It runs the nightly job again over the creator's own
    records. Exit code 1 if that does not give the published figure. A CREATOR of - is read from stdin.
    """
    from pipelines.cli import render
    from pipelines.jobs import explain
    from pipelines.snapshots import ranking

    snapshot = snapshot_or_current(settings, snapshot_id)
    days = ranking.window_from_options(snapshot, window_days, first, end)
    explanation = explain.explain(settings, snapshot, creator_id, days)
    _warn_of_missing_days(snapshot, days)
    if as_json:
        print_json(explanation.as_json())
    else:
        render.print_explanation(explanation)
    if not explanation.agrees:
        raise SystemExit(1)


@command(cli)
@click.option("--limit", type=COUNT, metavar="N", help="At most so many.")
@as_json
@as_csv
def rejects(settings: Settings, limit: int | None, as_json: bool, as_csv: bool) -> None:
    """List rejected records: where, why, and their text.

    --csv does to texts what it does in `top`.
    """
    from itertools import islice

    from pipelines.jobs.rejects import all_rejected
    from pipelines.raw.catalog import raw_files
    from pipelines.raw.rejected_records import suggest_mapping

    _either(as_json, as_csv)
    columns = ("entity", "file", "line", "field", "reason", "text")
    found = islice(all_rejected(settings), limit)
    if as_csv or as_json:
        write = print_csv if as_csv else print_rows
        write(columns, ([getattr(record, column) for column in columns] for record in found))
        return
    count = 0
    for record in found:
        count += 1
        field = f"{record.field}: " if record.field else ""
        click.echo(printable(f"{record.file} line {record.line}: {field}{record.reason}"))
        if record.text:  # of a damaged archive there is none
            click.echo(f"    {excerpt(record.text)}")
    click.echo(counted(count, "rejected record") if count else "No rejected records.")
    for suggestion in suggest_mapping(raw_files(settings) if count else ()):
        click.echo(printable(suggestion))


def _warn_of_missing_days(snapshot: Snapshot, days: Window) -> None:
    """Say on stderr what a number about these days leaves out."""
    if snapshot.completeness is not None and (said := snapshot.completeness.sentence(days)):
        logs.run_log.warning("%s", said)


def _either(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
