"""Which snapshots keep their warehouse.duckdb: of what a snapshot does not share with others, it is nearly all.

Snapshots share the Parquet files of the days and tables that did not change. A warehouse holds the rows themselves, so
that it can be moved anywhere: two of them share nothing unless all their rows are the same. But it can be made again of
the Parquet files beside it. So `prune` removes those of older snapshots, if MOSTWATCHED_KEEP_WAREHOUSES says so; who
asks such a snapshot has its warehouse made for the question, and whoever points readers to it, for good.

The manifest says which files were removed. It is written before the file goes, and after it is back: in between, a
snapshot has a file that its manifest counts as removed, which is no damage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.core import calendar_days, durable_files
from pipelines.core.calendar_days import Window
from pipelines.core.errors import Damaged
from pipelines.core.home_modes import share_like
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Policy, Settings
from pipelines.snapshots import manifest, warehouse
from pipelines.snapshots.manifest import Snapshot
from pipelines.snapshots.warehouse import WAREHOUSE


def to_remove(folder: Path, keep: int, without: Collection[str] = ()) -> list[Snapshot]:
    """The snapshots, oldest first, whose warehouse `remove_old` would remove, if those `without` were not there."""
    pointer = manifest.current(folder)
    listed = [one for one in manifest.listed(folder) if one.id not in without]
    # safeguard: current-keeps-its-warehouse
    kept = [*listed[-keep:], *(one for one in listed if pointer is not None and one.id == pointer.snapshot_id)]
    older = [one for one in listed if one not in kept and WAREHOUSE in one.files and not _is_shared(one, kept)]
    # safeguard: warehouse-stays-beside-damaged-files
    return [one for one in older if _can_be_made_again(one)]


def _is_shared(snapshot: Snapshot, kept: Collection[Snapshot]) -> bool:
    """Whether a warehouse is the file of one that stays: to remove it would free nothing."""
    paths = [each.path / WAREHOUSE for each in (snapshot, *kept)]
    return paths[0].exists() and any(paths[0].samefile(path) for path in paths[1:] if path.exists())


def remove_old(folder: Path, keep: int) -> list[str]:
    """Remove the warehouse of all but the newest `keep` snapshots and the current one.

    Returns the ids of the snapshots that had one.
    """
    doomed = to_remove(folder, keep)
    for snapshot in doomed:
        files = {name: facts for name, facts in snapshot.files.items() if name != WAREHOUSE}
        _write_manifest(snapshot, files, removed={WAREHOUSE: snapshot.files[WAREHOUSE]})
    for snapshot in manifest.listed(folder):  # also what a prune or a roll-back that died has left
        if WAREHOUSE in snapshot.removed and (path := snapshot.path / WAREHOUSE).exists():
            path.unlink()
            durable_files.fsync(path.parent)
    return [snapshot.id for snapshot in doomed]


def restore(settings: Settings, snapshot: Snapshot) -> Snapshot:
    """Make the warehouse of a snapshot again, if it was removed; the caller holds the lock. Raises Damaged."""
    if WAREHOUSE not in snapshot.removed:
        return snapshot
    with durable_files.new_file(snapshot.path / WAREHOUSE, beside=snapshot.path) as temporary:
        facts = _make(settings, snapshot, temporary)
        share_like(temporary, snapshot.path.parent)
    _write_manifest(snapshot, snapshot.files | {WAREHOUSE: facts}, removed={})
    return manifest.open_snapshot(settings.snapshots, snapshot.id)


def restored(settings: Settings) -> manifest.Prepare:
    """`restore`, for those who move the pointer."""
    return partial(restore, settings)


@contextmanager
def made_for_now(settings: Settings, snapshot: Snapshot) -> Iterator[Path]:
    """The warehouse of a snapshot that has none any more, in a folder that goes at the end. Raises Damaged."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(settings.home, "warehouse"))
        except OSError:  # who may read the home need not be allowed to write there
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mostwatched-")))
        _make(settings, snapshot, folder / WAREHOUSE)
        yield folder / WAREHOUSE


def _can_be_made_again(snapshot: Snapshot) -> bool:
    try:
        _digests(snapshot)
    except Damaged:
        return False
    return True


def _make(settings: Settings, snapshot: Snapshot, path: Path) -> dict[str, Any]:
    """Write the warehouse of a snapshot to `path`, of its Parquet files; return what a manifest says of it."""
    policy = Policy.from_json(snapshot.manifest["policy"])
    days = sorted(date.fromisoformat(Path(name).stem) for name in snapshot.files if name.startswith(snapshot.cube))
    cube = Window(days[0], days[-1] + calendar_days.ONE_DAY)
    facts = warehouse.Facts(snapshot.as_of, cube, policy, _digests(snapshot))
    warehouse.write(settings, path, snapshot.path, facts)
    return manifest.facts_without_rows(path) | {"key": facts.key()}


def _digests(snapshot: Snapshot) -> dict[str, str]:
    """The digests of the rows that a warehouse is made of, by file, each file checked just now. Raises Damaged."""
    of_rows = {name: facts["rows_sha256"] for name, facts in snapshot.files.items() if facts["rows_sha256"]}
    public = warehouse.public_digests(of_rows)
    for name in public:
        snapshot.verified(name)  # safeguard: warehouse-made-of-checked-files
    return public


def _write_manifest(snapshot: Snapshot, files: Mapping[str, Any], removed: Mapping[str, Any]) -> None:
    """Replace a snapshot's manifest by one of other files. The rows of its tables, and so its id, stay."""
    said = {name: value for name, value in snapshot.manifest.items() if name not in ("files", "removed")}
    said |= {"files": dict(sorted(files.items()))} | ({"removed": dict(removed)} if removed else {})
    with durable_files.new_file(snapshot.path / manifest.MANIFEST, beside=snapshot.path) as temporary:
        temporary.write_bytes(durable_files.json_bytes(durable_files.with_checksum(said)))
        share_like(temporary, snapshot.path.parent)
