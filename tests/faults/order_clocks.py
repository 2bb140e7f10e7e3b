"""Clocks that jump: ids stay, no file is lost, and what is newest stays newest.

The product asks the clock in few places: to say when a snapshot was made, the pointer was moved and a run began and
ended, and to tell whether a landed file changed so lately that it might change again unnoticed. Those are set here in
a forked child; the stamps of landed files are set by os.utime.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from noise import land_noise, land_sessions
from world import AS_OF, World

from faults.campaign import Effort, Figure
from faults.forked import ChildFailed, in_child
from pipelines.core import durable_files
from pipelines.jobs import last_run, prune, status
from pipelines.raw import seen_cache
from pipelines.snapshots import manifest, publish

ACCEPT = {"accept_rejects": True, "allow_incomplete": True}
JUMPS = [timedelta(days=-3650), timedelta(days=-1), timedelta(hours=-1), timedelta(seconds=-3), timedelta(0),
         timedelta(hours=1), timedelta(days=1), timedelta(days=3650)]  # fmt: skip


class Clock:
    """The clock that the product sees in this process."""

    def __init__(self) -> None:
        clock = self
        self.ahead = timedelta(0)

        class Jumping(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime.now(tz) + clock.ahead

        for module in (publish, manifest, last_run):
            module.datetime = Jumping
        seen_cache.time = SimpleNamespace(
            time_ns=lambda: time.time_ns() + clock.ahead // timedelta(microseconds=1) * 1000
        )


def attack(effort: Effort, folder: Path) -> Iterator[Figure]:
    """One figure for nights under a jumping clock, one for landed files whose stamps lie."""
    yield _tried("nights under a clock that jumps", _nights, effort, folder, effort.times(1, 40))
    yield _tried("landed files replaced behind equal or odd stamps", _stamps, effort, folder, effort.times(1, 40))


def _tried(what: str, part: Callable[..., Any], effort: Effort, folder: Path, times: int) -> Figure:
    figure = Figure(what)
    for number in range(times):
        try:
            tried, wrong = in_child(part, effort.random(f"{what} {number}"), folder / f"{part.__name__} {number}")
        except ChildFailed as error:
            tried, wrong = 1, [str(error)]
        figure.tried += tried
        figure.wrong += [f"{number}: {problem}" for problem in wrong]
    return figure


def _nights(draw: Random, folder: Path) -> tuple[int, list[str]]:
    """The same nights in two homes, one under a calm clock: the same ids in the same order, and nothing lost."""
    calm, hectic = World(folder / "calm"), World(folder / "hectic")
    seed = draw.randrange(1 << 30)
    for world in (calm, hectic):
        land_noise(world, seed=seed, sessions=15, days=4)
    nights = [AS_OF, AS_OF, AS_OF - timedelta(days=draw.choice([0, 1])), AS_OF]
    jumps = draw.sample(JUMPS, len(nights))
    jumps[:2] = sorted(jumps[:2], reverse=True)  # between the first two, of one as_of, the clock goes back in any case
    made: dict[World, list[str]] = {calm: [], hectic: []}
    clock = Clock()
    wrong: list[str] = []

    def check(holds: bool, problem: str) -> None:
        if not holds:
            wrong.append(problem)

    for number, as_of in enumerate(nights):
        for world in (calm, hectic):
            land_sessions(world, Random(seed + number), 5, days=4)
            clock.ahead = jumps[number] if world is hectic else timedelta(0)
            if world is hectic:
                _set_stamps(world, draw)
                _leave_debris(world, draw)
            made[world].append(world.run(as_of, night=ACCEPT).snapshot_id)
        check(made[calm] == made[hectic], f"night {number}: {made[hectic]} instead of {made[calm]}")
        check(calm.current() == hectic.current(), f"night {number}: {hectic.current()} is current")
    order = {world: [one.id for one in manifest.listed(world.settings.snapshots)] for world in made}
    check(order[calm] == order[hectic], f"listed as {order[hectic]}, made as {order[calm]}")
    check(not list(hectic.settings.home.rglob(".tmp-*")), "something half-written was not swept")
    now = datetime.now(UTC)
    said = status.status(hectic.settings, AS_OF, None, now)
    check(said["problems"] == [] and said["next_run"]["outcome"] != "reads", f"status: {said}")
    back = {world: manifest.roll_back(world.settings.snapshots, None).id for world in made if len(order[world]) > 1}
    check(len(set(back.values())) <= 1, f"rolled back to {back.get(hectic)} instead of {back.get(calm)}")
    newest = {world: manifest.release(world.settings.snapshots).id for world in made}
    check(newest[calm] == newest[hectic], f"released to {newest[hectic]} instead of {newest[calm]}")
    kept = {}
    for world in made:
        prune.prune(world.settings.__class__(**vars(world.settings) | {"keep_snapshots": 1}))
        kept[world] = manifest.snapshot_ids(world.settings.snapshots)
    check(kept[calm] == kept[hectic], f"pruned to {kept[hectic]} instead of {kept[calm]}")
    return 2 * len(nights) + 6, wrong


def _set_stamps(world: World, draw: Random) -> None:
    """Landed files of any age, in the future too."""
    for path in world.settings.landing.rglob("*.ndjson"):
        if draw.random() < 0.5:
            when = draw.choice([0, 1, -86_400, time.time() + 86_400, 4_000_000_000, time.time()])
            os.utime(path, (when, when))


def _leave_debris(world: World, draw: Random) -> None:
    """What a dead run may have left, of any age, beside a lock that nobody holds."""
    for folder in (world.settings.lake, world.settings.snapshots):
        path = folder / f".tmp-{draw.randrange(1 << 30):x}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
        os.utime(path, (4_000_000_000, 4_000_000_000))
    lock = durable_files.home_lock(world.settings.home)
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("1\n")
    os.utime(lock, (4_000_000_000, 4_000_000_000))


LONG_AGO = 1_700_000_000


def _stamps(draw: Random, folder: Path) -> tuple[int, list[str]]:
    """Replace a landed file by another of the same size and modification time; the next run must read it."""
    wrong = []
    ways: dict[str, Callable[[Path, bytes], None]] = {
        "in place": lambda path, content: path.write_bytes(content),
        "removed and written anew": _anew,
        "by renaming": _renamed,
    }
    clock = Clock()
    # Each way once so that the first run remembers the file, and once more with anything.
    calm = [(way, LONG_AGO, timedelta(0)) for way in sorted(ways)]
    wild = (draw.choice(sorted(ways)), draw.choice([0, LONG_AGO, 4_000_000_000]), draw.choice(JUMPS))
    for number, (way, when, ahead) in enumerate([*calm, wild]):
        world = World(folder / str(number))
        table = "creator | viewer | started_at\n{} | v1 | 2026-01-05 10:00"
        path = world.sessions(table.format("ada"), "one.ndjson")
        os.utime(path, (when, when))
        clock.ahead = ahead
        world.run()
        was = path.stat()
        ways[way](path, path.read_bytes().replace(b"ada", b"eve").replace(b'"1"', b'"2"'))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        if path.stat().st_size != was.st_size:
            wrong.append(f"{way}: not of the same size")
        clock.ahead = draw.choice(JUMPS)
        said = status.status(world.settings, AS_OF, None, datetime.now(UTC))
        found = world.run(compare=False, night=ACCEPT).viewers()  # what was replaced conflicts with what was
        if found not in ([("ada", 1), ("eve", 1)], [("eve", 1)]):
            wrong.append(f"{way}, dated {when}: the ranking is {found}, without what replaced it")
        if not said["landing"]["unread"]:
            wrong.append(f"{way}, dated {when}: status did not see that it changed")
    return 2 * (len(calm) + 1), wrong


def _anew(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _renamed(path: Path, content: bytes) -> None:
    beside = path.with_name(".beside")
    beside.write_bytes(content)
    beside.rename(path)
