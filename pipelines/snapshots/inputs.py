"""The raw folders that a published snapshot depends on."""

from __future__ import annotations

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.raw import erasure_register
from pipelines.raw.index import RawFile, raw_files, resolve_landed
from pipelines.snapshots.manifest import Snapshot


def snapshot_inputs(settings: Settings, snapshot: Snapshot, remedy: str) -> list[RawFile]:
    """Return the raw folders of the files that had landed when the snapshot was made.

    Raises Damaged, with what to do (`remedy`), when one is gone.
    """
    found, gone = resolve_landed(raw_files(settings), snapshot.manifest["landed"], erasure_register.read(settings))
    if gone:
        raise Damaged(
            f"{len(gone)} landed files that snapshot {snapshot.id} rests on are no longer in {settings.lake}, such as "
            f"{gone[0]}. {remedy}"
        )
    return found
