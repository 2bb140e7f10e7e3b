"""Commands of the nightly run: run, backfill, report, status."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.group import (
    DAY,
    accept_rejects,
    allow_future,
    allow_incomplete,
    as_json,
    cli,
    command,
    direct,
    engine,
    landing,
    today,
)
from pipelines.core.errors import RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.core.termination import raise_on_sigterm
from pipelines.core.text import print_json, print_summary

if TYPE_CHECKING:
    from pipelines.jobs.nightly import NightReport
    from pipelines.remote import Landing


@command(cli, pulls=False)
@click.option("--as-of", type=DAY, help="The exclusive end of the windows. Default: today, in the policy's time zone.")
@landing
@engine
@direct
@as_json
@accept_rejects
@allow_incomplete
@allow_future
def run(
    settings: Settings,
    as_of: date | None,
    landing: tuple[Landing, ...],
    engine: str | None,
    direct: bool,
    as_json: bool,
    accept_rejects: bool,
    allow_incomplete: bool,
    allow_future: bool,
) -> None:
    """Run the nightly job: ingest, rank, publish a snapshot.

    Safe to run again at any time: new, late and corrected records are included, the work of a killed run is finished,
    and the same records give the same snapshot.
    """
    from pipelines.core import progress
    from pipelines.jobs import nightly

    as_of = as_of or today(settings)
    if not allow_future:
        nightly.require_started(settings, as_of, today(settings))
    run_night: Callable[..., NightReport]
    if direct:
        run_night = nightly.run
    else:
        from pipelines.jobs.prefect_reporter import run as run_night
    with raise_on_sigterm(), progress.show_progress() as shown:
        report = run_night(
            _on(engine, settings),
            as_of,
            landing or None,
            accept_rejects=accept_rejects,
            allow_incomplete=allow_incomplete,
            progress=shown,
        )
    if as_json:
        print_json(report.as_json())
    else:
        print_summary(report.as_json(), [(each.path, each.reason) for each in report.ingested.ignored])


@command(cli, pulls=False)
@click.option("--from", "first", type=DAY, required=True, help="The first as_of.")
@click.option("--to", "last", type=DAY, required=True, help="The last as_of, included.")
@landing
@engine
@as_json
@accept_rejects
@allow_incomplete
@allow_future
def backfill(
    settings: Settings,
    first: date,
    last: date,
    landing: tuple[Landing, ...],
    engine: str | None,
    as_json: bool,
    accept_rejects: bool,
    allow_incomplete: bool,
    allow_future: bool,
) -> None:
    """Publish one snapshot per as_of, oldest first.

    Each is made without the records that came after it, and the newest of all stays current. A day that is refused does
    not stop the others; the exit code is then 3. Backfills send no notifications.
    """
    from pipelines.core import progress
    from pipelines.jobs import nightly

    if not allow_future:
        nightly.require_started(settings, last, today(settings))
    summaries: list[dict[str, Any]] = []
    refusals: list[RefusedToPublish] = []
    with raise_on_sigterm(), progress.show_progress() as shown:
        nights = nightly.backfill(
            _on(engine, settings),
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


def _on(engine: str | None, settings: Settings) -> Settings:
    """The settings with the engine that was asked for on the command line."""
    return settings if engine is None else dataclasses.replace(settings, engine=engine)


@command(cli, only="reports")
@click.option("--as-of", type=DAY, help="Of the last run with this as_of. Default: of the last run of all.")
@click.option("--html", "as_html", is_flag=True, help="Print the page instead of Markdown.")
@as_json
def report(settings: Settings, as_of: date | None, as_html: bool, as_json: bool) -> None:
    """Show what the last run did.

    Funnel, rejected lines, late days, checks, durations, change, and figures worth a look. Every run writes it, also
    one that failed or was refused: HOME/reports/AS_OF.html. The run that published a snapshot keeps its own in it as
    report.html.
    """
    from pipelines.jobs import report
    from pipelines.jobs.report import formats
    from pipelines.jobs.report.document import document

    if as_html and as_json:
        raise click.UsageError("Give --html or --json, not both.")
    facts = report.read(settings, as_of)
    if as_json:
        print_json(facts)
    elif as_html:
        click.echo(formats.html(document(facts)), nl=False)
    else:
        click.echo(formats.markdown(document(facts)), nl=False)


@command(cli)
@click.option("--as-of", type=DAY, help="Of a run with this as_of. Default: today, in the policy's time zone.")
@landing
@click.option("--notify", "notifies", is_flag=True, help="Call the notification hooks if a run or a day is late.")
@as_json
def status(settings: Settings, as_of: date | None, landing: tuple[Landing, ...], notifies: bool, as_json: bool) -> None:
    """Show the state of the home, and what the next run would do.

    The snapshot, days present and missing, late sessions, and why a run did not publish. Reads only, also while a run
    is at work.

    The platform lands its sessions every day: a day without any is empty only
    if its own file, the one whose name holds its date (2026-01-05), landed and holds none; otherwise it is missing.
    The exit code is 0 whenever there is an answer, a bad one too. With --notify, run by cron at the hour by which
    there should be a snapshot as of today, it reports a nightly run that never began, or died.
    """
    from pipelines.cli import render
    from pipelines.jobs.status import status as how_things_stand

    answer = how_things_stand(settings, as_of or today(settings), landing or None, datetime.now(UTC))
    if as_json:
        print_json(answer)
    else:
        render.print_status(answer)
    if notifies:
        from pipelines.jobs import notify
        from pipelines.jobs.report import EXPECTED_DAYS

        if not notify.is_wanted(settings):
            raise UsageError("--notify needs MOSTWATCHED_NOTIFY_COMMAND or MOSTWATCHED_NOTIFY_WEBHOOK.")
        notify.send(settings, notify.late_events(answer, EXPECTED_DAYS))
