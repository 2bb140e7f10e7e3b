"""Cut the power: lose what was not fsynced. No snapshot that was acknowledged is lost or torn, readers see the old one
or the new, and one more run ends where an undisturbed one ends.

A command is recorded operation by operation (recording.py), alone, after one that was killed, and after one in which
an fsync failed. Cut after any of them, a disk may be left in many states (lost.py); some are drawn, made, and opened
as readers do; on a part of them the command is given again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from faults.campaign import Effort, Figure
from faults.children import Case, Scene, files_of, scene, seen, torn
from faults.lost import NEVER_LINKED, Disk, read
from pipelines.core import durable_files

READERS_LOOK_AT = "snapshots/"


@dataclass(frozen=True)
class History:
    """Commands that were given on a home one after the other, the last of which was acknowledged."""

    name: str
    case: Case
    record: Path
    home: Path  # as it was left
    operations: list[dict[str, str]]

    def disk(self) -> Disk:
        """The disk before all of it."""
        return Disk(self.case.home, self.record / "contents")


def attack(effort: Effort) -> Iterator[Figure]:
    """Record, then cut."""
    with scene(effort.scratch / "scene") as played:
        told = list(histories(effort, played))
        yield records_are_whole(told)
        yield opened(effort, told)
        yield given_again(effort, played, told)
        yield never_written_in_place(told)


def histories(effort: Effort, played: Scene) -> Iterator[History]:
    """Every case alone; and after a run that was killed, or whose fsync failed, at a few places."""
    for case in played.cases.values():
        yield told(effort, played, case, case.name)
    for name, how in (("killed", {"then": "die"}), ("fsync failed", {"then": "EIO"})):
        draw = effort.random(name)
        for case in (played.cases["run"], played.cases["first run"], played.cases["rollback"]):
            count = len(case.operations)
            places = range(1, count + 1) if name != "fsync failed" else _fsyncs(case)
            # The last ones are about the snapshot and the pointer.
            late = [at for at in places if at > count - 8]
            chosen = draw.sample(late, min(len(late), 2)) + draw.sample(
                list(places), min(len(places), effort.times(1, 40))
            )
            for at in sorted(set(chosen)):
                yield told(effort, played, case, f"{case.name}, {name} at {at}, again", {"at": at, **how})
    yield killed_when_named(effort, played)


def killed_when_named(effort: Effort, played: Scene) -> History:
    """A run that was killed as soon as the snapshot had its name, and somebody who then points to it by hand."""
    run = played.cases["run"]
    named = next(n for n, (_, _, path) in enumerate(run.operations, 1) if path == f"snapshots/{played.new_id}")
    rollback = replace(run, arguments=["snapshots", "rollback", played.new_id])
    return told(effort, played, rollback, "run killed, then rollback", {"at": named + 1}, run.arguments)


def _fsyncs(case: Case) -> list[int]:
    return [number for number, (_, what, _) in enumerate(case.operations, 1) if what == "fsync"]


def told(
    effort: Effort,
    played: Scene,
    case: Case,
    name: str,
    disturbed: dict[str, object] | None = None,
    arguments: list[str] | None = None,
) -> History:
    """Give a command on a fresh home, before it one (the same, unless said) that is disturbed; write down all of it."""
    folder = effort.scratch / name.replace(" ", "-").replace(",", "")
    home = case.copy(folder / "home")
    record = folder / "record"
    if disturbed is not None:
        played.children.do(home, arguments or case.arguments, record=str(record), **disturbed)
    played.children.done(home, case.arguments, record=str(record))
    return History(name, case, record, home, read(record))


def records_are_whole(told: list[History]) -> Figure:
    """All operations together give the home that is there: nothing happened to it unseen."""
    figure = Figure("operations recorded")
    for history in told:
        disk = history.disk()
        for entry in history.operations:
            disk.do(entry)
        there = {name: _sha256(history.home / name) for name in files_of(history.home)}
        differ = {
            name
            for name in there.keys() | disk.files().keys()
            if Path(name).name != NEVER_LINKED and not _is_left_over(name) and there.get(name) != disk.files().get(name)
        }
        figure.tried += len(history.operations)
        if differ:
            figure.wrong.append(f"{history.name}: not what the record says: {sorted(differ)[:3]}")
    figure.note = f"of {len(told)} histories; replayed, each gives the home that is there"
    return figure


def _is_left_over(name: str) -> bool:
    """Whether it is what a dead command left half-written: of no account, and the next run's to sweep away."""
    return any(part.startswith(durable_files.TEMPORARY_PREFIX) for part in name.split("/"))


def opened(effort: Effort, told: list[History], each: int = 25) -> Figure:
    """Cut anywhere, and open what readers open: about `each` states of a quick history."""
    figure = Figure("power lost, then read")
    started = time.monotonic()
    for history in told:
        draw = effort.random(f"read {history.name}")
        disk = history.disk()
        for number, entry in enumerate([*history.operations, None], 1):
            if entry is not None:
                disk.do(entry)
            is_done = entry is None
            # Between changes of what readers look at, they see the same again and again.
            matters = is_done or entry["path"].startswith(READERS_LOOK_AT) or entry["path"] in (".", "snapshots")
            everywhere = effort.full and (matters or history.name == history.case.name)
            chance = 1.0 if everywhere else each / 120 if matters else 0.01
            times = (8 if is_done else 1) * (4 if effort.full else 1) if draw.random() < chance or is_done else 0
            for _ in range(times):
                home = effort.scratch / "left"
                disk.leave(home, draw, under="" if is_done else READERS_LOOK_AT)
                problem = problem_read(history, home, is_done)
                where = "when it was done" if is_done else f"after operation {number} of {len(history.operations)}"
                figure.check(problem is None, f"{history.name}, cut {where}: {problem}")
                shutil.rmtree(home)
    figure.note = f"{(time.monotonic() - started) / figure.tried * 1000:.0f} ms each"
    return figure


def problem_read(history: History, home: Path, is_done: bool) -> str | None:
    """What readers should not find."""
    if not is_done:
        if problem := history.case.problem_between(home):
            return problem
        bad = torn(home) if history.case.name != "repair" else []
        return f"{bad[0]} is there and is not whole" if bad else None
    now = seen(home)
    if now != history.case.ends_in:
        return f"readers see {now}, though {history.case.ends_in} was acknowledged"
    if bad := torn(home):
        return f"{bad[0]} is there and is not whole"
    # What was acknowledged rests on raw, also when the landed files are gone.
    for name in files_of(history.home):
        is_relied_on = name.startswith(("lake/raw/", READERS_LOOK_AT)) and not _is_left_over(name)
        if is_relied_on and _sha256(home / name) != _sha256(history.home / name):
            return f"{name} is lost or torn, though the run was acknowledged"
    return None


def given_again(effort: Effort, played: Scene, told: list[History]) -> Figure:
    """Cut anywhere, and give the command again."""
    figure = Figure("power lost, then given again")
    started = time.monotonic()
    alone = [history for history in told if history.name == history.case.name]
    for history in told:
        draw = effort.random(f"again {history.name}")
        count = len(history.operations)
        size = effort.times(7 if history in alone else 1, count if history in alone else 4)
        if history.case.name == "rollback":
            size = min(size, 3)
        cuts = sorted(draw.sample(range(1, count + 1), min(size, count)))
        disk = history.disk()
        for number, entry in enumerate(history.operations, 1):
            disk.do(entry)
            if number in cuts:
                home = effort.scratch / "left"
                disk.leave(home, draw)
                problem = history.case.problem_after(home, played.children, names_too=False)
                figure.check(problem is None, f"{history.name}, cut after operation {number} of {count}: {problem}")
                shutil.rmtree(home)
    figure.note = f"{(time.monotonic() - started) / figure.tried:.2f} s each"
    return figure


def never_written_in_place(told: list[History]) -> Figure:
    """The files of all those homes were links to one copy: had a command written into one, it would have changed."""
    figure = Figure("contents still what they were")
    for contents in {history.record / "contents" for history in told}:
        for path in contents.iterdir():
            figure.check(_sha256(path) == path.name, f"{path} was written in place")
    return figure


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
