"""Commands about published snapshots: list, verify, diff, rollback, remove, fetch, prune."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipelines import remote
from pipelines.cli.group import COUNT, as_json, cli, command, snapshot_or_current
from pipelines.core.settings import Settings
from pipelines.core.text import counted, print_json, printable

if TYPE_CHECKING:
    from pipelines.snapshots.manifest import Snapshot

_NOTHING_YET = "Nothing has been published yet. `mostwatched run` does that."


@cli.group()
def snapshots() -> None:
    """List, verify, compare, roll back and prune snapshots."""


@command(snapshots, "list", only="snapshots")
@as_json
def list_snapshots(settings: Settings, as_json: bool) -> None:
    """List published snapshots, oldest first.

    The current one is marked. Exit code 1 when one cannot be listed.
    """
    from pipelines.core.errors import Damaged
    from pipelines.snapshots import manifest

    problems = []
    pointer, listed = None, []
    try:
        pointer = manifest.current(settings.snapshots)
    except Damaged as error:
        problems.append(str(error))
    for name in manifest.snapshot_ids(settings.snapshots):
        try:
            listed.append(manifest.open_snapshot(settings.snapshots, name))
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
        for one in sorted(listed, key=manifest.age)
    ]
    if as_json:
        print_json(rows)
    elif not rows and not problems:
        click.echo(_NOTHING_YET)
    else:
        marks = [" pinned" if row["is_pinned"] else " current" if row["is_current"] else "" for row in rows]
        for row, mark in zip(rows, marks, strict=True):
            click.echo(f"{row['snapshot_id']}  made {row['created_at']}  {row['bytes'] / 1e6:,.1f} MB{mark}")
    if problems:
        raise Damaged(" ".join(problems))


@command(snapshots, only="snapshots")
@click.argument("snapshot_id", metavar="[ID]", required=False)
@as_json
def verify(settings: Settings, snapshot_id: str | None, as_json: bool) -> None:
    """Check every file of a snapshot against its sha256.

    Without an ID those of all snapshots, and current.json. Exit code 1 when one is damaged.
    """
    from pipelines.snapshots import manifest

    damage = manifest.damage(settings.snapshots, snapshot_id)
    if not snapshot_id and (found := manifest.pointer_damage(settings.snapshots)):
        damage[manifest.POINTER] = found
    if as_json:
        print_json([{"snapshot_id": name, "is_whole": not found, "damage": found} for name, found in damage.items()])
    elif not damage:
        click.echo(_NOTHING_YET)
    else:
        for name, found in damage.items():
            click.echo(f"{name}  {'DAMAGED' if found else 'whole'}")
            for sentence in found:
                click.echo(f"    {printable(sentence)}")
            if found and name != manifest.POINTER:
                click.echo(f"    `mostwatched run --as-of {manifest.as_of_from_id(name)}` publishes it again.")
    if any(damage.values()):
        raise SystemExit(1)


@command(snapshots, only="snapshots")
@click.argument("before")
@click.argument("after", required=False)
@click.option(
    "--days",
    "--window",
    "window_days",
    type=click.IntRange(min=1),
    metavar="N",
    default=30,
    show_default=True,
    help="The last N days of each.",
)
@click.option(
    "--limit",
    type=COUNT,
    metavar="N",
    default=50,
    show_default=True,
    help="At most so many creators.",
)
@as_json
def diff(settings: Settings, before: str, after: str | None, window_days: int, limit: int, as_json: bool) -> None:
    """Say who entered, left, rose and fell, and why.

    From snapshot BEFORE to AFTER; without AFTER to the current one. Every difference is split into viewers of new days,
    of days that left the window, and of late data or corrections. With --json all creators are listed.
    """
    from pipelines.cli import render
    from pipelines.snapshots.diff import compare

    compared = compare(
        settings, snapshot_or_current(settings, before), snapshot_or_current(settings, after), window_days
    )
    if as_json:
        print_json(compared.as_json())
    else:
        render.print_comparison(compared, limit)


@command(snapshots, pulls=False)
@click.argument("snapshot_id", metavar="[ID]", required=False)
@click.option("--release", is_flag=True, help="Undo a roll-back: point to the newest snapshot, let runs move on.")
def rollback(settings: Settings, snapshot_id: str | None, release: bool) -> None:
    """Point readers to an earlier snapshot.

    Without an ID to the one before. They stay on it, whatever runs publish, until --release.
    """
    from pipelines.core.durable_files import lock_home
    from pipelines.snapshots import kept_warehouses, manifest

    if release and snapshot_id:
        raise click.UsageError("Give an ID or --release, not both.")
    prepare = kept_warehouses.restored(settings)
    with lock_home(settings.home), remote.mounted(settings):
        if release:
            target = manifest.release(settings.snapshots, prepare)
            remote.push(settings)
            click.echo(f"Released: {target.id} is current, and runs move the pointer again.")
            _warn_of_mistaken(target)
        else:
            target = manifest.roll_back(settings.snapshots, snapshot_id, prepare)
            remote.push(settings)
            click.echo(f"{target.id} is current and pinned until `mostwatched snapshots rollback --release`.")


@command(snapshots, pulls=False)
@click.argument("snapshot_id", metavar="ID")
def remove(settings: Settings, snapshot_id: str) -> None:
    """Remove one snapshot, such as one of a mistaken day.

    If it is the current one, the newest other one takes its place, and runs move on from there. What landed stays, and
    what it was made of.
    """
    from pipelines.core.durable_files import lock_home
    from pipelines.snapshots import kept_warehouses, manifest

    with lock_home(settings.home), remote.mounted(settings):
        instead = manifest.remove_one(settings.snapshots, snapshot_id, kept_warehouses.restored(settings))
        remote.tidy(settings)
    click.echo(f"Removed snapshot {snapshot_id}." + (f" {instead.id} is current now." if instead else ""))
    if instead:
        _warn_of_mistaken(instead)


def _warn_of_mistaken(current: Snapshot) -> None:
    """Say that what became current without a run may be another mistaken day."""
    from pipelines.snapshots.publish_warnings import current_is_mistaken

    if said := current_is_mistaken(current):
        click.echo(f"Warning: {said}", err=True)


@command(snapshots, only="snapshots")
@click.argument("snapshot_id", metavar="[ID]", required=False)
def fetch(settings: Settings, snapshot_id: str | None) -> None:
    """Print the folder of a snapshot, whole and checked.

    Without an ID of the current one. For a home on object storage: afterwards warehouse.duckdb can be opened from
    there, or taken anywhere.
    """
    from pipelines.core.errors import Damaged

    snapshot = snapshot_or_current(settings, snapshot_id)
    damage = snapshot.damage()
    if damage:
        raise Damaged(f"{damage[0]} `mostwatched run --as-of {snapshot.as_of}` publishes it again.")
    click.echo(snapshot.path)


@command(snapshots)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@as_json
def prune(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Remove old snapshots, and what nothing needs any more.

    MOSTWATCHED_KEEP_SNAPSHOTS snapshots stay, and sessions of MOSTWATCHED_KEEP_DAYS days before the newest as_of (0: of
    all days). Of the snapshots MOSTWATCHED_KEEP_WAREHOUSES keep their warehouse.duckdb (0: all). Derived files that
    nothing kept needs go.
    """
    from pipelines.core import progress
    from pipelines.jobs import prune

    with progress.show_progress() as shown:
        report = prune.prune(settings, dry_run=dry_run, progress=shown)
    if as_json:
        print_json(report.as_json())
        return
    removed = "Would remove" if dry_run else "Removed"
    click.echo(
        f"{removed} {counted(len(report.snapshots), 'snapshot')} and "
        f"{counted(report.lake_files, 'file')} of the lake ({report.lake_bytes / 1e6:,.1f} MB)."
    )
    if report.warehouses:
        click.echo(f"{removed} the warehouse.duckdb of {counted(len(report.warehouses), 'kept snapshot')}.")
    if report.days:
        click.echo(
            f"{removed} {counted(report.records, 'session')} of "
            f"{counted(len(report.days), 'day')}, "
            f"{report.days[0]} to {report.days[-1]}, from raw."
        )
