"""The command line: parse arguments, call one function, print what it returns.

`--json` prints one object or list as the last line of stdout; progress and errors go to stderr. Imports that cost
time are made by the command that needs them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

from pipelines import __version__
from pipelines.errors import MostwatchedError, RefusedToPublish
from pipelines.printing import excerpt, print_csv, print_json, print_summary, print_table, printable
from pipelines.settings import Settings, load, unknown_variables

if TYPE_CHECKING:
    from pipelines.nightly import NightReport
    from pipelines.snapshots import Snapshot

Command = TypeVar("Command", bound=Callable[..., Any])


class Day(click.ParamType[date]):
    """A calendar day as YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day that was written."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2026-11-21", param, ctx)


DAY = Day()
FOLDER = click.Path(file_okay=False, path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header, safe to open in a spreadsheet.")
direct = click.option("--direct", is_flag=True, help="Without Prefect.")
landing = click.option(
    "--landing", multiple=True, type=FOLDER, help="Read what landed from here instead of HOME/landing; repeatable."
)
accept_rejects = click.option("--accept-rejects", is_flag=True, help="Publish however many records were rejected.")
allow_incomplete = click.option("--allow-incomplete", is_flag=True, help="Publish though the last day looks too small.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=FOLDER, help="Where landing/, lake/ and snapshots/ are (MOSTWATCHED_HOME; ./data).")
@click.version_option(__version__, prog_name="mostwatched")
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    """Which creators reached the most different people: every night, exactly.

    Exit codes: 0 done, 1 failed (or: verify found damage), 2 wrong usage, 3 refused to publish, 4 busy.
    """
    context.obj = home
    for name in unknown_variables():
        click.echo(f"mostwatched: {name} is not a setting and is ignored; the README lists those there are.", err=True)


def command(group: click.Group, name: str | None = None) -> Callable[[Command], Command]:
    """A command whose function is handed the settings first."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def with_settings(*args: Any, **kwargs: Any) -> Any:
            return function(load(click.get_current_context().obj), *args, **kwargs)

        group.command(name)(with_settings)
        return function

    return decorate


# --- the night -----------------------------------------------------------------------------------------------------


@command(cli)
@click.option("--as-of", type=DAY, help="The exclusive end of the windows. Default: today, in the policy's time zone.")
@landing
@direct
@as_json
@accept_rejects
@allow_incomplete
def run(
    settings: Settings,
    as_of: date | None,
    landing: tuple[Path, ...],
    direct: bool,
    as_json: bool,
    accept_rejects: bool,
    allow_incomplete: bool,
) -> None:
    """Do the nightly job: ingest what landed, rank, publish a snapshot. Safe to run again at any time."""
    from pipelines import progress

    run_night: Callable[..., NightReport]
    if direct:
        from pipelines.nightly import run as run_night
    else:
        from pipelines.flows import run_flow as run_night
    with progress.shown() as shown:
        report = run_night(
            settings,
            as_of or today(settings),
            landing or None,
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=shown,
        )
    if as_json:
        print_json(report.as_json())
    else:
        print_summary(report.as_json())


@command(cli)
@click.option("--from", "first", type=DAY, required=True, help="The first as_of.")
@click.option("--to", "last", type=DAY, required=True, help="The last as_of, included.")
@landing
@as_json
@accept_rejects
@allow_incomplete
def backfill(
    settings: Settings,
    first: date,
    last: date,
    landing: tuple[Path, ...],
    as_json: bool,
    accept_rejects: bool,
    allow_incomplete: bool,
) -> None:
    """Publish one snapshot per as_of from --from to --to, oldest first; the current one stays the newest.

    A day that is refused does not stop the others; the exit code is then 3.
    """
    from pipelines import nightly, progress

    summaries: list[dict[str, Any]] = []
    refusals: list[RefusedToPublish] = []
    with progress.shown() as shown:
        nights = nightly.backfill(
            settings,
            first,
            last,
            landing or None,
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=shown,
        )
        for night in nights:
            if isinstance(night, RefusedToPublish):
                refusals.append(night)
                continue
            summaries.append(night.as_json())
            if not as_json:
                click.echo(f"{night.as_of}  {night.snapshot_id}")
    if as_json:
        print_json(summaries)
    if refusals:
        raise RefusedToPublish(f"{len(refusals)} of {len(refusals) + len(summaries)} days: {refusals[0]}")


# --- questions -----------------------------------------------------------------------------------------------------


@command(cli)
@click.option("--window", "window_days", type=int, help="The last N days of the snapshot. Default: 30.")
@click.option("--from", "first", type=DAY, help="The first day of a range.")
@click.option("--to", "end", type=DAY, help="The day after its last one.")
@click.option("--snapshot", "snapshot_id", help="Ask this snapshot instead of the current one.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many creators.")
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
    """Rank creators over the last N days, or any range of days that the snapshot holds: exact, from its cube.

    With --csv, a text that a spreadsheet could take for a formula has a single quote before it, also after a semicolon
    inside it; control characters are written as \\x0a; a very long text is cut. --json gives the texts as they are.
    """
    from pipelines import ranking

    _either(as_json, as_csv)
    snapshot = _snapshot(settings, snapshot_id)
    days = ranking.asked_window(snapshot, window_days, first, end)
    rows = ranking.ranking(settings, snapshot, days, limit)
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(ranking.COLUMNS, ([row[column] for column in ranking.COLUMNS] for row in rows))
    else:
        click.echo(f"Snapshot {snapshot.id}, the days {days} (end not included)\n")
        print_table(ranking.COLUMNS, ([row[column] for column in ranking.COLUMNS] for row in rows))


@command(cli)
@click.argument("creator_id", metavar="CREATOR")
@click.option("--window", "window_days", type=int, help="The last N days of the snapshot. Default: 30.")
@click.option("--from", "first", type=DAY, help="The first day of a range.")
@click.option("--to", "end", type=DAY, help="The day after its last one.")
@click.option("--snapshot", "snapshot_id", help="Ask this snapshot instead of the current one.")
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
    """Say why a creator's number is what it is: from the landed records to the published figure, step by step.

    The night is done again over the creator's own records. Exit code 1 if that does not give the published figure.
    """
    from pipelines import explain, prose, ranking

    snapshot = _snapshot(settings, snapshot_id)
    days = ranking.asked_window(snapshot, window_days, first, end)
    explanation = explain.explain(settings, snapshot, creator_id, days)
    if as_json:
        print_json(explanation.as_json())
    else:
        prose.print_explanation(explanation)
    if not explanation.agrees:
        raise SystemExit(1)


@command(cli)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@as_json
@as_csv
def rejects(settings: Settings, limit: int | None, as_json: bool, as_csv: bool) -> None:
    """List the rejected records of everything that landed: where, why, and what stands there.

    --csv does to texts what it does in `top`.
    """
    from itertools import islice

    from pipelines.rejects import all_rejected

    _either(as_json, as_csv)
    columns = ("entity", "file", "line", "field", "reason", "text")
    if as_csv:
        found = islice(all_rejected(settings), limit)
        print_csv(columns, ([getattr(record, column) for column in columns] for record in found))
        return
    rows = [{column: getattr(record, column) for column in columns} for record in islice(all_rejected(settings), limit)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        where = f"{row['file']} line {row['line']}"
        field = f"{row['field']}: " if row["field"] else ""
        click.echo(printable(f"{where}: {field}{row['reason']}"))
        click.echo(f"    {excerpt(row['text'])}")
    click.echo(f"{len(rows):,} rejected records" if rows else "No rejected records.")


@command(cli)
@click.option("--as-of", type=DAY, help="Of a run with this as_of. Default: today, in the policy's time zone.")
@landing
@as_json
def status(settings: Settings, as_of: date | None, landing: tuple[Path, ...], as_json: bool) -> None:
    """Say how things stand: the snapshot, days present and missing, late sessions, what the next run would do and why.

    Reads only, also while a run is at work. The platform lands its sessions every day: a day without any is empty only
    if its own file, the one whose name holds its date (2026-01-05), landed and holds none; otherwise it is missing.
    The exit code is 0 whenever there is an answer, a bad one too.
    """
    from pipelines import prose
    from pipelines.status import status as how_things_stand

    answer = how_things_stand(settings, as_of or today(settings), landing or None, datetime.now(UTC))
    if as_json:
        print_json(answer)
    else:
        prose.print_status(answer)


def _snapshot(settings: Settings, snapshot_id: str | None) -> Snapshot:
    """The snapshot that was asked for, or the current one."""
    from pipelines import snapshots

    if snapshot_id is None:
        return snapshots.open_current(settings.snapshots)
    return snapshots.open_snapshot(settings.snapshots, snapshot_id)


def _either(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")


# --- snapshots -----------------------------------------------------------------------------------------------------


@cli.group()
def snapshots() -> None:
    """List, verify, roll back and prune published snapshots."""


@command(snapshots, "list")
@as_json
def list_snapshots(settings: Settings, as_json: bool) -> None:
    """List published snapshots, oldest first; the current one is marked. Exit code 1 when one cannot be listed."""
    from pipelines import snapshots
    from pipelines.errors import Damaged

    problems = []
    pointer, listed = None, []
    try:
        pointer = snapshots.current(settings.snapshots)
    except Damaged as error:
        problems.append(str(error))
    for name in snapshots.names(settings.snapshots):
        try:
            listed.append(snapshots.open_snapshot(settings.snapshots, name))
        except Damaged as error:
            problems.append(str(error))
    rows = [
        {
            "snapshot_id": one.id,
            "as_of": one.as_of.isoformat(),
            "created_at": one.manifest["created_at"],
            "ranked_creators": one.files["creator_rankings.parquet"]["rows"],
            "bytes": sum(facts["bytes"] for facts in one.files.values()),
            "is_current": pointer is not None and one.id == pointer.snapshot_id,
            "is_pinned": pointer is not None and one.id == pointer.snapshot_id and pointer.pinned,
        }
        for one in sorted(listed, key=snapshots.age)
    ]
    if as_json:
        print_json(rows)
    elif not rows and not problems:
        click.echo("Nothing has been published yet. `mostwatched run` does that.")
    else:
        marks = [" pinned" if row["is_pinned"] else " current" if row["is_current"] else "" for row in rows]
        for row, mark in zip(rows, marks, strict=True):
            click.echo(f"{row['snapshot_id']}  made {row['created_at']}  {row['bytes'] / 1e6:,.1f} MB{mark}")
    if problems:
        raise Damaged(" ".join(problems))


@command(snapshots)
@click.argument("snapshot_id", required=False)
@as_json
def verify(settings: Settings, snapshot_id: str | None, as_json: bool) -> None:
    """Check every file of a snapshot against its sha256; of all, and current.json, without an ID.

    Exit code 1 when one is damaged.
    """
    from pipelines import snapshots

    damage = snapshots.damage(settings.snapshots, snapshot_id)
    if not snapshot_id and (found := snapshots.pointer_damage(settings.snapshots)):
        damage[snapshots.POINTER] = found
    if as_json:
        print_json([{"snapshot_id": name, "is_whole": not found, "damage": found} for name, found in damage.items()])
    else:
        for name, found in damage.items():
            click.echo(f"{name}  {'DAMAGED' if found else 'whole'}")
            for sentence in found:
                click.echo(f"    {printable(sentence)}")
            if found and name != snapshots.POINTER:
                click.echo(f"    `mostwatched run --as-of {snapshots.as_of_of(name)}` publishes it again.")
    if any(damage.values()):
        raise SystemExit(1)


@command(snapshots)
@click.argument("before")
@click.argument("after", required=False)
@click.option(
    "--window",
    "window_days",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="The last N days of each.",
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many creators.")
@as_json
def diff(settings: Settings, before: str, after: str | None, window_days: int, limit: int, as_json: bool) -> None:
    """Say who entered, left, rose and fell from BEFORE to AFTER (the current snapshot, without one), and why.

    Every difference is split into viewers of new days, of days that left the window, and of late data or corrections.
    With --json all creators are listed.
    """
    from pipelines import prose
    from pipelines.comparison import compare

    compared = compare(settings, _snapshot(settings, before), _snapshot(settings, after), window_days)
    if as_json:
        print_json(compared.as_json())
    else:
        prose.print_comparison(compared, limit)


@command(snapshots)
@click.argument("snapshot_id", required=False)
@click.option("--release", is_flag=True, help="Undo a roll-back: point to the newest snapshot, let runs move on.")
def rollback(settings: Settings, snapshot_id: str | None, release: bool) -> None:
    """Point readers to an earlier snapshot (the one before, without an ID) and keep them there until --release."""
    from pipelines import snapshots
    from pipelines.store import lock

    if release and snapshot_id:
        raise click.UsageError("Give an ID or --release, not both.")
    with lock(settings.home / ".lock"):
        if release:
            target = snapshots.release(settings.snapshots)
            click.echo(f"Released: {target.id} is current, and runs move the pointer again.")
        else:
            target = snapshots.roll_back(settings.snapshots, snapshot_id)
            click.echo(f"{target.id} is current and pinned until `mostwatched snapshots rollback --release`.")


@command(snapshots)
@as_json
def prune(settings: Settings, as_json: bool) -> None:
    """Remove old snapshots (MOSTWATCHED_KEEP_SNAPSHOTS stay) and derived files that nothing kept needs."""
    from pipelines import nightly

    report = nightly.prune(settings)
    if as_json:
        print_json(vars(report))
    else:
        click.echo(
            f"Removed {len(report.snapshots)} snapshots and {report.lake_files:,} files of the lake "
            f"({report.lake_bytes / 1e6:,.1f} MB)."
        )


# --- serving, and data to try it on --------------------------------------------------------------------------------


@command(cli)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on one port.")
def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve the read API from the current snapshot; a new one is picked up without a restart."""
    from pipelines.api.app import serve as serve_api

    serve_api(settings, host, port, workers)


@cli.command()
@click.option("--days", type=click.IntRange(min=1), required=True, help="How many days, the last being yesterday.")
@click.option("--sessions-per-day", type=click.IntRange(min=0), required=True, help="Viewing sessions each day.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option("--as-of", type=DAY, help="The day after the last one. Default: today, UTC.")
@click.option("--creators", type=click.IntRange(min=1), help="How many creators. Default: by the number of sessions.")
@click.option("--viewers", type=click.IntRange(min=1), help="How many viewers. Default: by the number of sessions.")
@click.option(
    "--mess",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="0: clean data, 1: as untidy as real data.",
)
@click.option("--gzip", "compress", is_flag=True, help="Land .gz files.")
@as_json
@click.argument("directory", type=FOLDER)
def generate(directory: Path, as_of: date | None, as_json: bool, **sizes: Any) -> None:
    """Write a synthetic platform, every entity of it, into DIRECTORY as a landing folder."""
    from pipelines.generate import generate as generate_platform
    from pipelines.progress import shown

    with shown() as progress:
        summary = generate_platform(
            directory,
            as_of=as_of or datetime.now(UTC).date(),
            progress=lambda what: progress(what, 0, 1),
            **sizes,
        )
    if as_json:
        print_json(summary.as_json())
    else:
        records = ", ".join(f"{count:,} {entity}" for entity, count in summary.records.items())
        click.echo(f"{directory}: {summary.files:,} files, {summary.bytes / 1e6:,.1f} MB, {records}")
        click.echo(f"Rank it with: mostwatched run --as-of {summary.as_of} --landing {directory}")


def today(settings: Settings) -> date:
    """The calendar day it is now in the policy's zone. Only the command line and the flows ask the clock."""
    return datetime.now(ZoneInfo(settings.day_timezone)).date()


def main() -> None:
    """Run the command line and exit with the documented code."""
    try:
        cli.main(standalone_mode=True)
    except MostwatchedError as error:
        print(f"mostwatched: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
