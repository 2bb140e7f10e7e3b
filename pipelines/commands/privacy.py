"""Take a person out: forget."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from pipelines.commands import as_json, cli, command, landing
from pipelines.printing import print_json
from pipelines.settings import Settings


@command(cli)
@click.argument("user")
@landing
@click.option(
    "--landing-too", is_flag=True, help="Also empty their records in landed files, which else are only named."
)
@click.option("--dry-run", is_flag=True, help="Say what holds the id, and change nothing.")
@as_json
def forget(
    settings: Settings, user: str, landing: tuple[Path, ...], landing_too: bool, dry_run: bool, as_json: bool
) -> None:
    """Forget USER, a viewer's or user's id: land an erasure, publish without them, remove the id from every file.

    Raw folders, rejected records and the lake no longer hold it, snapshots that do are removed, and what lands later
    does not bring it back. Which published counts changed is said. Landed files are the platform's: those that hold
    the id are named, or with --landing-too the person's records in them are emptied. --landing adds folders to look
    through to HOME/landing. Give the command again if it was cut short. Exit code 1 while anything under home holds
    the id.
    """
    from pipelines import progress, prose
    from pipelines.forget import forget as forget_person

    if any(isinstance(folder, str) for folder in landing):
        raise click.UsageError("What has landed in a bucket is removed there, by the platform: give folders.")
    with progress.shown() as shown:
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
        prose.print_forgetting(done)
    if done.remaining:
        raise SystemExit(1)
