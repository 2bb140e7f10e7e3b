"""The command that erases persons: forget."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import click

from pipelines.cli.group import ID, LandingFolder, as_json, cli, command
from pipelines.core.settings import Settings
from pipelines.core.text import print_json

if TYPE_CHECKING:
    from pipelines.remote import Landing


@command(cli)
@click.argument("user", type=ID, required=False)
@click.option(
    "--users",
    "listed",
    type=click.File(encoding="utf-8-sig"),
    help="Forget everybody whose id stands in this file, one a line, in one pass; - is stdin.",
)
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
    settings: Settings,
    user: str | None,
    listed: TextIO | None,
    landing: tuple[Landing, ...],
    landing_too: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Forget persons: take ids out of all that is stored.

    USER is the id of a viewer or user; - reads it from stdin, for other users of the machine can read arguments. With
    --users FILE all that is stored is looked through once for everybody in it, and each has a result by the line of
    their id.

    An erasure is landed, the current snapshot is published without them, and no file under home holds the id any more:
    not raw, rejected records or the lake; snapshots that do are removed; what lands later does not bring it back. The
    published counts that changed are listed.

    Landed files are the platform's: those that hold the id are named, or with --landing-too emptied of the person's
    records. Give the command again if it was cut short. Exit code 1 while anything under home holds the id.
    """
    from pipelines.cli import render
    from pipelines.core import progress
    from pipelines.jobs.erase_user import forget_all

    if user is not None and listed is None:
        users = {1: user}
    elif user is None and listed is not None:
        users = _by_line(listed)
    else:
        raise click.UsageError("Give the id of one user, or --users FILE.")
    with progress.show_progress() as shown:
        reports = forget_all(
            settings,
            list(users.values()),
            datetime.now(UTC),
            landing,
            landing_too=landing_too,
            dry_run=dry_run,
            progress=shown,
        )
    if as_json and listed is None:
        print_json(reports[0].as_json())
    elif as_json:
        print_json([{"line": line} | done.as_json() for line, done in zip(users, reports, strict=True)])
    else:
        for line, done in zip(users, reports, strict=True):
            if listed is not None:
                click.echo(f"Line {line}:")
            render.print_forget_report(done)
    if any(done.remaining for done in reports):
        raise SystemExit(1)


def _by_line(listed: TextIO) -> dict[int, str]:
    """The different ids of a file, by the line on which each stands first; blank lines are none."""
    users: dict[str, int] = {}
    try:
        for number, line in enumerate(listed, 1):
            if user := line.removesuffix("\n").removesuffix("\r"):
                users.setdefault(user, number)
    except UnicodeDecodeError as error:
        raise click.UsageError("The file of --users is not UTF-8.") from error
    if not users:
        raise click.UsageError("The file of --users holds no id.")
    return {number: user for user, number in users.items()}
