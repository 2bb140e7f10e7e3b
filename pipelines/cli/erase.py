"""The command that erases a person: forget."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pipelines.cli.group import ID, LandingFolder, as_json, cli, command
from pipelines.core.settings import Settings
from pipelines.core.text import print_json


@command(cli)
@click.argument("user", type=ID)
@click.option(
    "--landing",
    multiple=True,
    type=LandingFolder(),
    help="Look through this folder of landed files as well, besides HOME/landing; repeatable.",
)
@click.option(
    "--landing-too", is_flag=True, help="Also empty their records in landed files, which else are only named."
)
@click.option("--dry-run", is_flag=True, help="Say what holds the id, and change nothing.")
@as_json
def forget(
    settings: Settings, user: str, landing: tuple[Path, ...], landing_too: bool, dry_run: bool, as_json: bool
) -> None:
    """Forget a person: take an id out of all that is stored.

    USER is the id of a viewer or user; - reads it from stdin, for other users of the machine can read arguments.

    An erasure is landed, the current snapshot is published without them, and no file under home holds the id any more:
    not raw, rejected records or the lake; snapshots that do are removed; what lands later does not bring it back. The
    published counts that changed are listed.

    Landed files are the platform's: those that hold the id are named, or with --landing-too emptied of the person's
    records. Give the command again if it was cut short. Exit code 1 while anything under home holds the id.
    """
    from pipelines.cli import render
    from pipelines.core import progress
    from pipelines.jobs.erase_user import forget as forget_person

    if any(isinstance(folder, str) for folder in landing):
        raise click.UsageError("What has landed in a bucket is removed there, by the platform: give folders.")
    with progress.show_progress() as shown:
        done = forget_person(
            settings,
            user,
            datetime.now(UTC),
            landing,
            landing_too=landing_too,
            dry_run=dry_run,
            progress=shown,
        )
    if as_json:
        print_json(done.as_json())
    else:
        render.print_forget_report(done)
    if done.remaining:
        raise SystemExit(1)
