"""The command that recounts a snapshot: audit."""

from __future__ import annotations

import click

from pipelines.cli.group import as_json, cli, command, snapshot_or_current
from pipelines.core.settings import Settings
from pipelines.core.termination import raise_on_sigterm
from pipelines.core.text import counted, print_json, print_table, printable

_SHOWN = 100


@command(cli)
@click.argument("snapshot_id", metavar="[ID]", required=False)
@click.option(
    "--ranges", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="Random ranges."
)
@click.option("--seed", metavar="TEXT", help="Draw the ranges by this. Default: by the snapshot's id.")
@as_json
def audit(settings: Settings, snapshot_id: str | None, ranges: int, seed: str | None, as_json: bool) -> None:
    """Count a snapshot again the plain way, from raw.

    Every creator in every published window, each day of the cube, N random ranges of days, and funding. Without an ID
    the current snapshot: `status`, reports and metrics then say how that went, and hooks are called if it did not pass.
    Exit code 1 when anything differs, or cannot be counted.
    """
    from pipelines.core import progress
    from pipelines.jobs import audit_run
    from pipelines.snapshots import audit as auditing

    with raise_on_sigterm(), progress.show_progress() as shown:
        if snapshot_id is None:
            done = audit_run.audit_current(settings, ranges, seed, progress=shown)
        else:
            done = auditing.audit(settings, snapshot_or_current(settings, snapshot_id), ranges, seed, progress=shown)
    if as_json:
        print_json(done.as_json())
    else:
        click.echo(
            f"Snapshot {done.snapshot_id}: counted again {counted(done.creators, 'creator')} in the published windows, "
            f"on each of {counted(done.days, 'day')} and in {counted(len(done.ranges), 'random range')} (seed "
            f"{printable(done.seed)}), and the funding of {counted(done.streams, 'stream')}."
        )
        columns = ("table", "key", "days", "column", "published", "counted_again")
        if done.differing:
            print_table(columns, ([getattr(each, name) for name in columns] for each in done.differences[:_SHOWN]))
            if done.erased_records:
                click.echo(
                    f"{counted(done.erased_records, 'record')} that landed were taken out when somebody was "
                    "forgotten: a snapshot from before that differs."
                )
        differ = f"{counted(done.differing, 'value')} {'differs' if done.differing == 1 else 'differ'}."
        click.echo(differ if done.differing else "Nothing differs.")
    if done.differing:
        raise SystemExit(1)
