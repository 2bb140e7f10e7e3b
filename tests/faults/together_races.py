"""Commands that race for one home: one at a time, whoever loses is told by whom, and a dead holder is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from world import World

from faults.campaign import Effort, Figure
from faults.together_platform import as_of, land_night
from pipelines.core.durable_files import home_lock

ANYWAY = ("--accept-rejects", "--allow-incomplete")
OLD, NEW = 2, 3  # nights
ENVIRONMENT = {"MOSTWATCHED_MAX_WINDOW_DAYS": "30", "MOSTWATCHED_THREADS": "1", "MOSTWATCHED_KEEP_SNAPSHOTS": "1"}
DONE, FAILED, USAGE, BUSY = 0, 1, 2, 4  # exit codes

Told = dict[str, Any]


def environment() -> dict[str, str]:
    """Ours without any setting that is not of this attack."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    return kept | ENVIRONMENT


class Racers:
    """The process whose children race."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "faults.together_racers"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )

    def race(
        self, home: Path, commands: Sequence[Sequence[str]], delays: Sequence[float] = (), **how: Any
    ) -> list[Told]:
        """Start the commands together on a home; what became of each. `folder`: where they are called."""
        folder = str(how.pop("folder", "/"))
        delays = delays or [0.0] * len(commands)
        task = {
            "home": str(home),
            "commands": [
                {"arguments": list(arguments), "delay": delay, "folder": folder}
                for arguments, delay in zip(commands, delays, strict=True)
            ],
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(task | how) + "\n")
        self.process.stdin.flush()
        told: list[Told] = json.loads(self.process.stdout.readline())
        return told

    def one(self, home: Path, *arguments: str, **how: Any) -> Told:
        """One command alone, on `--home home` unless told another name for it."""
        return self.race(home, [("--home", str(how.pop("name", home)), *arguments)], **how)[0]


@contextmanager
def racers() -> Iterator[Racers]:
    """They end with the block."""
    found = Racers()
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


@dataclass(frozen=True)
class Scene:
    """A home to copy, in which the old night is published and the new one has landed."""

    racers: Racers
    home: Path
    landing: Path  # all that has landed
    landings: Sequence[Path]  # and in parts: what the old night rests on, and what came after it
    old_id: str
    new_id: str

    def run(self, name: Path | str, night: int = NEW, landing: Path | None = None) -> list[str]:
        """The arguments of a night in the home of that name."""
        day = as_of(night).isoformat()
        from_there = ["--landing", str(landing or self.landing)]
        return ["--home", str(name), "run", "--direct", "--json", *ANYWAY, "--as-of", day, *from_there]

    def backfill(self, name: Path | str, first: int, last: int) -> list[str]:
        """The arguments of a backfill of some nights."""
        days = ["--from", as_of(first).isoformat(), "--to", as_of(last).isoformat()]
        return ["--home", str(name), "backfill", *days, *ANYWAY, "--landing", str(self.landing)]

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.home, to)
        return to


@contextmanager
def scene(folder: Path, seed: str) -> Iterator[Scene]:
    """Land four nights, publish the third, and learn the ids of both it and the fourth from a quiet home."""
    world = World(folder / "platform")
    for night in range(OLD + 1):
        land_night(world, night, seed)
    with racers() as found:
        home = folder / "before"
        landing, parts = world.settings.landing, (folder / "landed first", folder / "landed then")
        made = Scene(found, home, landing, parts, "", "")
        home.mkdir()
        _done(found.race(home, [made.backfill(home, OLD - 1, OLD)])[0])
        old_id = id_in(_done(found.race(home, [made.run(home, OLD)])[0]))
        shutil.copytree(landing, parts[0])
        land_night(world, NEW, seed)
        shutil.copytree(
            landing, parts[1], ignore=lambda at, names: [n for n in names if (parts[0] / Path(at).name / n).is_file()]
        )
        quiet = made.copy(folder / "quiet")
        new_id = id_in(_done(found.race(quiet, [made.run(quiet)])[0]))
        assert old_id != new_id
        yield replace(made, old_id=old_id, new_id=new_id)


def _done(told: Told) -> Told:
    assert told["code"] == DONE, told["err"]
    return told


def id_in(told: Told) -> str:
    """The snapshot id that `run --json` printed."""
    return str(json.loads(told["out"].splitlines()[-1])["snapshot_id"])


def races(on: Scene, effort: Effort) -> Iterator[Figure]:
    """Random commands at the same moment on one home, some of them killed or stopped in the middle."""
    alone = Figure("commands racing for one home")
    after = Figure("one run after a race ends in the right snapshot")
    draw = effort.random("races")
    counts = {"busy": 0, "done": 0, "killed": 0, "paused": 0}
    slowest = 0.0
    for number in range(effort.times(12, 200)):
        home = on.copy(effort.scratch / f"race {number}")
        commands, delays, then = _drawn(draw, on, home)
        told = on.racers.race(home, commands, delays, then=then, after=draw.uniform(0.02, 0.6))
        why = f"race {number}, seed {effort.seed}"
        for one, arguments in zip(told, commands, strict=True):
            problem = problem_of(one, arguments, told)
            alone.check(problem is None, f"{why}: {' '.join(arguments[2:4])}: {problem}")
            counts["busy"] += one["code"] == BUSY
            counts["done"] += one["code"] == DONE
            counts["killed"] += one["code"] == -9
            counts["paused"] += one["was"] == "paused"
        started = time.monotonic()
        problem = not_right_after(on, home)
        slowest = max(slowest, time.monotonic() - started)
        after.check(problem is None, f"{why}: {problem}")
        shutil.rmtree(home)
    alone.note = ", ".join(f"{count} {name}" for name, count in counts.items())
    after.note = f"at most {slowest:.1f} s"
    yield alone
    yield after


def _drawn(draw: Random, on: Scene, home: Path) -> tuple[list[list[str]], list[float], str | None]:
    """Two to five commands, when each of them starts, and what happens to whoever holds the lock."""
    others = [
        on.run(home),
        on.run(home, landing=on.landings[0]),
        on.run(home, landing=on.landings[1]),
        on.run(home, OLD),
        on.backfill(home, OLD - 1, NEW),
        ["--home", str(home), "snapshots", "prune"],
        ["--home", str(home), "snapshots", "rollback"],
        ["--home", str(home), "snapshots", "rollback", on.old_id],
        ["--home", str(home), "snapshots", "rollback", "--release"],
    ]
    commands = [on.run(home)] + [draw.choice(others) for _ in range(draw.randrange(1, 5))]
    spread = draw.choice([0.0, 0.0, 0.05, 1.0])
    return commands, [draw.uniform(0, spread) for _ in commands], draw.choice([None, None, "kill", "kill", "pause"])


def problem_of(one: Told, arguments: Sequence[str], told: Sequence[Told], folder: Path | None = None) -> str | None:
    """What was wrong with how one command of a race ended."""
    if one["code"] == BUSY:
        name = Path(arguments[1])
        return _problem_of_a_loser(one, told, folder / name if folder else name)
    if one["was"] == "killed":
        return None if one["code"] in (-9, DONE) else f"killed, and ended with {one['code']}"
    if one["code"] == USAGE and "rollback" in arguments:  # what it was to roll back to had just been pruned
        return None if one["err"].startswith("mostwatched: There is no snapshot") else one["err"]
    if one["code"] != DONE:
        return f"exit code {one['code']}: {one['err'][-500:]}"
    for other in told:
        if other is not one and _overlap(one, other):
            return f"it changed the home while process {other['pid']} did"
    return None


def _problem_of_a_loser(one: Told, told: Sequence[Told], home: Path) -> str | None:
    if one["first"] is not None:
        return "it was refused the home, and has changed it"
    sentences = [
        f"mostwatched: Another run (process {other['pid']}) is at work in {home}. "
        "Wait until it has ended and try again.\n"
        for other in told
        if other is not one
    ]
    return None if one["err"] in sentences else f"it said {one['err']!r}, which names nobody of the race"


def _overlap(one: Told, other: Told) -> bool:
    if one["first"] is None or other["first"] is None:
        return False
    return bool(one["first"] <= other["last"] and other["first"] <= one["last"])


def not_right_after(on: Scene, home: Path) -> str | None:
    """Undo a rollback and run: the new night must be current, and every snapshot whole."""
    released = on.racers.one(home, "snapshots", "rollback", "--release")
    run = on.racers.race(home, [on.run(home)])[0]
    if run["code"] != DONE:
        return f"exit code {run['code']}: {run['err'][-500:]} (after {released['err'] or released['out']})"
    if id_in(run) != on.new_id or not json.loads(run["out"].splitlines()[-1])["is_current"]:
        return f"{run['out']} where {on.new_id} should be current"
    verified = on.racers.one(home, "snapshots", "verify")
    return None if verified["code"] == DONE else verified["out"]


def killed_holder(on: Scene, effort: Effort) -> Iterator[Figure]:
    """A run is killed at a random moment, and the next one begins as soon as it is dead."""
    figure = Figure("a run at once after the holder was killed")
    draw = effort.random("killed holder")
    deaths = 0
    for number in range(effort.times(1, 50)):
        home = on.copy(effort.scratch / f"killed {number}")
        for _ in range(3):
            told = on.racers.race(home, [on.run(home)], then="kill", after=draw.uniform(0.02, 0.5))[0]
            deaths += told["code"] == -9
            run = on.racers.race(home, [on.run(home, OLD)])[0]
            right = run["code"] == DONE and id_in(run) == on.old_id
            figure.check(right, f"killed {number}, seed {effort.seed}: exit code {run['code']}: {run['err'][-500:]}")
        problem = not_right_after(on, home)
        figure.check(problem is None, f"killed {number}, seed {effort.seed}: {problem}")
        shutil.rmtree(home)
    figure.note = f"{deaths} killed in the middle"
    yield figure


ODD_NAMES = ("çağla'nın  evi 日本", "100% (sure) {so}", 'a "quoted" $HOME', "-")
LEFT_OVER = {  # what may stand in the lock's file before a run
    "nothing": b"",
    "garbage": b"\x00\xff\n process rm -rf \x1b[31m" * 5000,
    "a process that lives": b"1\n",
    "a number that is none": b"99999999999999999999\n",
}


def odd_locks(on: Scene, effort: Effort) -> Iterator[Figure]:
    """Homes of odd names and of two names; lock files that were removed, overwritten, or are no files."""
    yield _odd_names(on, effort)
    yield _spoilt_while_held(on, effort)
    yield _left_over(on, effort)


def _odd_names(on: Scene, effort: Effort) -> Figure:
    figure = Figure("one home under several names is one home")
    for name in ODD_NAMES[: effort.times(2, len(ODD_NAMES))]:
        home = on.copy(effort.scratch / name)
        link, around = effort.scratch / f"{name} linked", f"{name}/../{name}"
        link.symlink_to(home, target_is_directory=True)
        commands = [on.run(called) for called in (home, link, name, around)]
        told = on.racers.race(home, commands, [0, 0.1, 0.1, 0.1], folder=effort.scratch, then="pause", after=0.1)
        for one, arguments in zip(told, commands, strict=True):
            problem = problem_of(one, arguments, told, effort.scratch)
            figure.check(problem is None, f"{arguments[1]}: {problem}")
        problem = not_right_after(on, home)
        figure.check(problem is None, f"{name}: {problem}")
        link.unlink()
        shutil.rmtree(home)
    return figure


def _spoilt_while_held(on: Scene, effort: Effort) -> Figure:
    figure = Figure("the lock's file removed or overwritten under its holder")
    draw = effort.random("spoilt")
    for number, spoilt in enumerate(["removed", "garbage"] * effort.times(1, 10)):
        home = on.copy(effort.scratch / f"spoilt {number}")
        commands = [on.run(home), on.run(home), ["--home", str(home), "snapshots", "prune"]]
        how = {"then": "pause", "after": draw.uniform(0.1, 0.3), "spoil": spoilt}
        told = on.racers.race(home, commands, [0, 0.5, 0.5], **how)
        for one in told[1:]:
            stopped = told[0]["was"] == "paused" and (told[0]["last"] or 0) > one["ended"]
            right = (one["code"] == BUSY and "is at work in" in one["err"] and one["first"] is None) or not stopped
            figure.check(right, f"{spoilt!r}: exit code {one['code']}: {one['err'][-300:]}")
        figure.check(told[0]["code"] == DONE, f"{spoilt!r}: the holder: {told[0]['err'][-500:]}")
        shutil.rmtree(home)
    return figure


def _left_over(on: Scene, effort: Effort) -> Figure:
    figure = Figure("what stood in the lock's place before")
    home = on.copy(effort.scratch / "left over")
    place = home_lock(home)
    place.parent.mkdir(exist_ok=True)
    for what, content in LEFT_OVER.items():
        place.write_bytes(content)
        run = on.racers.race(home, [on.run(home)])[0]
        figure.check(run["code"] == DONE and id_in(run) == on.new_id, f"{what}: {run['err'][-500:]}")
    elsewhere = effort.scratch / "elsewhere"
    elsewhere.write_text("somebody else's")
    makers = {
        "a folder": place.mkdir,
        "a link": lambda: place.symlink_to(elsewhere),
        "a dangling link": lambda: place.symlink_to(home / "nowhere"),
        "a FIFO": lambda: os.mkfifo(place),
    }
    for what, make in makers.items():
        place.unlink(missing_ok=True)
        make()
        run = on.racers.race(home, [on.run(home)])[0]
        said = f"mostwatched: {place} cannot be locked ("
        figure.check(
            run["code"] == FAILED and run["err"].startswith(said), f"{what}: {run['code']} {run['err'][-500:]}"
        )
        place.rmdir() if what == "a folder" else place.unlink()
    figure.check(elsewhere.read_text() == "somebody else's", "what a link led to was changed")
    return figure
