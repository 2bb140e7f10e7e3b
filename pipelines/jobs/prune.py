"""Remove what is no longer needed: old snapshots, days of sessions that are too old, derived files without a use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import remote
from pipelines.core import durable_files
from pipelines.core.progress import Progress, no_progress
from pipelines.core.settings import Policy, Settings
from pipelines.jobs import redaction, report, retention
from pipelines.jobs.nightly import locked_home, open_lake
from pipelines.lake import plan
from pipelines.lake.derive import Lake
from pipelines.raw.catalog import every_raw_file, raw_files
from pipelines.raw.raw_file import RawFile
from pipelines.snapshots import kept_warehouses, manifest


@dataclass(frozen=True)
class PruneReport:
    """What `prune` removed, or would remove."""

    snapshots: list[str]
    lake_files: int
    lake_bytes: int
    days: list[str]  # UTC days of sessions, too old for MOSTWATCHED_KEEP_DAYS
    records: int  # accepted records of those days
    is_dry_run: bool = False
    warehouses: list[str] | None = None  # snapshots that lost theirs; None: MOSTWATCHED_KEEP_WAREHOUSES keeps all

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values; without warehouses where all are kept."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def prune(settings: Settings, *, dry_run: bool = False, progress: Progress = no_progress) -> PruneReport:
    """Remove old snapshots, days of sessions that are too old, and derived files that no kept snapshot, and no rerun
    of one, needs. All other raw files stay.

    A dry run takes no lock and writes nothing; of derived files it counts those that are not needed as things are.
    """
    if dry_run:
        return _foreseen(settings)
    with locked_home(settings), open_lake(settings, progress) as lake:
        removed = manifest.prune(settings.snapshots, settings.keep_snapshots)
        keep = settings.keep_warehouses
        warehouses = kept_warehouses.remove_old(settings.snapshots, keep) if keep else None
        report.prune(settings)
        days, records = _expire(settings)
        if days and (pointer := manifest.current(settings.snapshots)) is not None:
            # What is left gives other keys: build what the next night would else build, before it is judged.
            current = manifest.open_snapshot(settings.snapshots, pointer.snapshot_id, pointer.manifest_sha256)
            plan.build(
                lake, plan.arranged(raw_files(settings)), Policy.from_json(current.manifest["policy"]), current.as_of
            )
        count, size = prune_derived(settings, lake)
        remote.tidy(settings)
        return PruneReport(removed, count, size, days, records, warehouses=warehouses)


def _foreseen(settings: Settings) -> PruneReport:
    doomed = manifest.to_prune(settings.snapshots, settings.keep_snapshots)
    going = _expiring(settings, without=doomed)
    days = {str(day) for each in going for day in each.records}
    with open_lake(settings) as lake:
        files = _not_needed(settings, lake, without=doomed)
        size = sum(path.stat().st_size for path in files)
    records = sum(sum(each.records.values()) for each in going)
    keep = settings.keep_warehouses
    losing = kept_warehouses.to_remove(settings.snapshots, keep, without=doomed) if keep else None
    warehouses = None if losing is None else [snapshot.id for snapshot in losing]
    return PruneReport(doomed, len(files), size, sorted(days), records, is_dry_run=True, warehouses=warehouses)


def _expire(settings: Settings) -> tuple[list[str], int]:
    """Remove the days of sessions that are too old, durably; returns them, and how many records they held."""
    going = _expiring(settings)
    for each in going:
        redaction.expire(each.folder, each.records)
    days = {str(day) for each in going for day in each.records}
    return sorted(days), sum(sum(each.records.values()) for each in going)


def _expiring(settings: Settings, without: Sequence[str] = ()) -> list[retention.Expiring]:
    first_kept = retention.first_day_kept(settings, without)
    return [] if first_kept is None else retention.expiring(every_raw_file(settings), first_kept)


def prune_derived(settings: Settings, lake: Lake, also: Sequence[RawFile] | None = None) -> tuple[int, int]:
    """Remove derived files that no kept snapshot needs; returns (files, bytes).

    Nor does one over the raw folders in `also`, where those are not all there are.
    """
    doomed = _not_needed(settings, lake, also=also)
    size = sum(path.stat().st_size for path in doomed)
    for path in doomed:
        path.unlink()
    for folder in sorted({path.parent for path in doomed}):
        durable_files.fsync(folder)
    lake.remove_empty_folders()
    return len(doomed), size


def _not_needed(
    settings: Settings, lake: Lake, *, without: Sequence[str] = (), also: Sequence[RawFile] | None = None
) -> list[Path]:
    needed: set[str] = set()
    raw = raw_files(settings)
    over = [plan.arranged(each) for each in ((raw,) if also is None or len(also) == len(raw) else (raw, also))]
    for snapshot in manifest.listed(settings.snapshots):
        if snapshot.id in without:
            continue
        policy = Policy.from_json(snapshot.manifest["policy"])
        for landed in over:
            with lake.dry_run(also_parts=True) as touched:
                plan.build(lake, landed, policy, snapshot.as_of)
            needed |= touched
    return [path for path in lake.derived_files() if str(path.with_suffix(".parquet")) not in needed]
