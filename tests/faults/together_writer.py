"""Somebody who publishes, rolls back, prunes and repairs without a pause, and writes down when what became current."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from world import World

from faults.together_platform import as_of, land_night
from pipelines.core import durable_files
from pipelines.core.errors import UsageError
from pipelines.jobs import nightly
from pipelines.jobs import prune as pruning
from pipelines.snapshots import manifest

STORM_SECONDS = 1.5


@dataclass
class Move:
    """The pointer came to a snapshot: not before, when it was written, not after; by the clock all processes share."""

    snapshot_id: str
    began: float
    written: float
    ended: float


@dataclass
class Writer:
    """The owner of the home."""

    world: World
    archive: Path  # where a copy of every snapshot is kept, to judge by
    draw: Random
    seed: str
    night: int = -1
    moves: list[Move] = field(default_factory=list)
    damages: list[tuple[str, float, float]] = field(default_factory=list)  # what, from, until
    spoilt: list[tuple[float, float]] = field(default_factory=list)  # when the pointer may have said nothing
    done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    removed: list[tuple[str, float]] = field(default_factory=list)  # by prune, and when that had begun
    newest: str = ""  # what runs have published last
    of_nights: dict[int, str] = field(default_factory=dict)  # the same, night by night

    @property
    def folder(self) -> Path:
        return self.world.settings.snapshots

    def a_night(self) -> None:
        """A new night, and what may happen until the next one."""
        self.night += 1
        self.land_and_run("new sessions", late=False)
        if self.draw.random() < 0.5:
            self.land_and_run("late sessions", late=True)
        for what in self.draw.sample([self.rollback, self.flips, self.repair, self.backfill, self.again], k=2):
            what()
            time.sleep(self.draw.choice([0, 0, 0.2, 0.7]))
        if self.night % 5 == 2:
            self.backfill()
            self.storm()
        self.prune()
        time.sleep(self.draw.choice([0, 0.2, 0.7]))

    def land_and_run(self, what: str, *, late: bool) -> None:
        land_night(self.world, self.night, self.seed, late=late)
        self.run(what)

    def run(self, what: str) -> None:
        """The night must publish what the judge says, under an id of its own."""
        before = self.newest
        try:
            with self.moving():
                self.newest = self.world.run(as_of(self.night), night={"allow_incomplete": True}).snapshot_id
        except AssertionError as error:
            self.problems.append(f"night {self.night}: {error}"[:1000])
        self.of_nights[self.night] = self.newest
        if (self.newest == before) != (what in ("the same again", "repairs")):
            self.problems.append(f"{what} of night {self.night} gave {self.newest} after {before}")
        self.done[what] += 1

    def again(self) -> None:
        self.run("the same again")

    def backfill(self) -> None:
        """Earlier snapshots come back; the current one stays."""
        first, settings = max(0, self.night - 2), self.world.settings
        with self.moving():
            nights = nightly.backfill(settings, as_of(first), as_of(self.night), allow_incomplete=True)
            found = [getattr(night, "snapshot_id", str(night)) for night in nights]
        self.done["backfilled snapshots"] += len(found)
        if found != [self.of_nights[night] for night in range(first, self.night + 1)]:
            self.problems.append(f"a backfill of nights {first} to {self.night} gave {found}, not {self.of_nights}")

    def rollback(self) -> None:
        """To the one before, where there is one; a run in between does not move the pointer; then undone."""
        if self.roll_back_to(None) and self.draw.random() < 0.5:
            time.sleep(self.draw.uniform(0, 0.8))
            self.run("the same again")
            if self.moves[-1].snapshot_id == self.newest:
                self.problems.append(f"a run moved the pinned pointer to {self.newest}")
            self.prune()
        self.release()

    def flips(self) -> None:
        """Many rollbacks, faster than anybody looks."""
        for _ in range(10):
            self.roll_back_to(self.draw.choice(manifest.snapshot_ids(self.folder)))
            time.sleep(self.draw.choice([0, 0, 0.05, 0.4]))
        self.release()

    def roll_back_to(self, snapshot_id: str | None) -> bool:
        try:
            with self.moving(), durable_files.lock_home(self.world.settings.home):
                manifest.roll_back(self.folder, snapshot_id)
        except UsageError:
            return False  # there is none before
        self.done["rollbacks"] += 1
        return True

    def release(self) -> None:
        with self.moving(), durable_files.lock_home(self.world.settings.home):
            manifest.release(self.folder)
        self.done["releases"] += 1
        if self.moves[-1].snapshot_id != self.newest:
            self.problems.append(f"released to {self.moves[-1].snapshot_id}, the newest is {self.newest}")

    def repair(self) -> None:
        """A file of the current snapshot is emptied; the next run writes the snapshot again."""
        name = self.draw.choice(["creators.parquet", "private/follows.parquet", "warehouse.duckdb"])
        path, began = self.folder / self.newest / name, time.monotonic()
        emptied = path.with_name(f"{path.name}.emptied")
        emptied.write_bytes(b"")
        emptied.rename(path)  # not the lake's file, which has the same inode
        self.run("repairs")
        self.damages.append((self.newest, began, time.monotonic()))

    def prune(self) -> None:
        """All but the newest snapshot goes."""
        began = time.monotonic()
        report = pruning.prune(self.world.settings)
        self.removed += [(snapshot_id, began) for snapshot_id in report.snapshots]
        self.done["prunes"] += 1
        self.done["pruned snapshots"] += len(report.snapshots)

    def storm(self) -> None:
        """The pointer is replaced as fast as it can be, now and then by what is none, and then comes to rest."""
        folder, pointers = self.folder, {}
        for snapshot_id in self.draw.sample(manifest.snapshot_ids(folder), k=2):
            self.roll_back_to(snapshot_id)
            pointers[snapshot_id] = (folder / manifest.POINTER).read_bytes()
        good = next(iter(pointers.values()))
        bad = [b"", good[:-20], b"\xff" * len(good), b"[]", good.replace(b'_sha256": "', b'_sha256": "0'), b"{" * 99999]
        started = time.monotonic()
        while time.monotonic() < started + STORM_SECONDS:
            snapshot_id, content = self.draw.choice(list(pointers.items()))
            if self.draw.random() < 0.1:
                (folder / manifest.POINTER).write_bytes(self.draw.choice(bad))
                self.done["bad pointers"] += 1
            began = time.monotonic()
            (folder / ".tmp-storm").write_bytes(content)
            (folder / ".tmp-storm").rename(folder / manifest.POINTER)
            ended = time.monotonic()
            self.done["pointers replaced at full speed"] += 1
            if self.moves[-1].snapshot_id != snapshot_id:
                self.moves.append(Move(snapshot_id, began, ended, ended))
        self.spoilt.append((started, time.monotonic()))
        self.release()

    def vanish(self) -> None:
        """Somebody takes the current snapshot away, and the pointer with it, and brings both back."""
        hidden, began = self.archive.parent / "hidden", time.monotonic()
        self.folder.rename(hidden)
        time.sleep(1.5)
        hidden.rename(self.folder)
        self.spoilt.append((began, time.monotonic()))
        self.done["current snapshots taken away and brought back"] += 1

    def moving(self) -> Moving:
        return Moving(self)


class Moving:
    """A block in which the pointer may move once; afterwards what it moved to is written down, and kept."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        writer, ended = self.writer, time.monotonic()
        for snapshot_id in manifest.snapshot_ids(writer.folder):
            if not (writer.archive / snapshot_id).exists():
                shutil.copytree(writer.folder / snapshot_id, writer.archive / snapshot_id, copy_function=os.link)
        pointer = manifest.current(writer.folder)
        if pointer is not None and (not writer.moves or writer.moves[-1].snapshot_id != pointer.snapshot_id):
            written = (writer.folder / manifest.POINTER).stat().st_mtime - (time.time() - time.monotonic())
            writer.moves.append(Move(pointer.snapshot_id, self.began, min(max(written, self.began), ended), ended))
