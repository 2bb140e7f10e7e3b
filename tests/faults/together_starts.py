"""A server that starts, or somebody who opens the current snapshot, while snapshots come and go."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from random import Random
from threading import Event, Thread

from faults.campaign import Figure
from pipelines.api.snapshot_watcher import Watcher
from pipelines.core import durable_files
from pipelines.core.errors import MostwatchedError
from pipelines.snapshots import manifest


def starts(archive: Path, folder: Path, times: int, draw: Random) -> Figure:
    """Whoever looks for the current snapshot finds one, though each is removed as soon as there is another."""
    figure = Figure("a server's start while snapshots are published and pruned")
    ids = sorted(path.name for path in archive.iterdir())[:3]
    folder.mkdir()
    over, moved = Event(), [0]

    def move() -> None:
        while not over.is_set():
            _publish_alone(archive, folder, ids[moved[0] % len(ids)])
            moved[0] += 1
            time.sleep(draw.uniform(0, 0.05))

    _publish_alone(archive, folder, ids[-1])
    mover = Thread(target=move)
    mover.start()
    try:
        for _ in range(times):
            watcher = Watcher(folder)
            watcher.refresh()
            figure.check(watcher.serving is not None, "a server started without a snapshot")
            problem = ""
            try:
                manifest.open_current(folder)
            except MostwatchedError as error:
                problem = f"opening the current snapshot: {error}"
            figure.check(not problem, problem)
    finally:
        over.set()
        mover.join()
    figure.note = f"{moved[0]} publishes, each with a prune of the one before"
    return figure


def _publish_alone(archive: Path, folder: Path, snapshot_id: str) -> None:
    """Publish one and remove the one before, in the same steps as a run and a prune with nothing kept."""
    before = manifest.current(folder)
    shutil.copytree(archive / snapshot_id, folder / f".tmp-{snapshot_id}", copy_function=os.link)
    (folder / f".tmp-{snapshot_id}").rename(folder / snapshot_id)
    manifest.point_to(folder, manifest.open_snapshot(folder, snapshot_id), pinned=False)
    if before is not None:
        doomed = durable_files.temporary_beside(folder / before.snapshot_id)
        (folder / before.snapshot_id).rename(doomed)
        shutil.rmtree(doomed)
