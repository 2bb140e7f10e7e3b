"""The process whose children die (dying.py), from outside, and the homes they work in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from noise import land_noise, land_sessions
from world import World

import pipelines
from pipelines.core import durable_files
from pipelines.core.errors import MostwatchedError
from pipelines.snapshots import manifest

AS_OF = {"old": "2026-01-30", "new": "2026-01-31"}
LONG_AGO = 1_700_000_000  # seconds since 1970
SETTINGS = {"MAX_WINDOW_DAYS": "30", "THREADS": "1", "MEMORY_LIMIT": "500MB", "KEEP_SNAPSHOTS": "1"}
DAMAGED = "damaged"  # what readers find when they find no whole snapshot


def environment() -> dict[str, str]:
    """The environment in which the commands are given: this checkout, these settings and no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    root, tests = Path(pipelines.__file__).parents[1], Path(__file__).parents[1]
    environ["PYTHONPATH"] = os.pathsep.join([str(root), str(tests)])
    return environ | {f"MOSTWATCHED_{name}": value for name, value in SETTINGS.items()}


@dataclass(frozen=True)
class Answer:
    """How a command ended in a child."""

    died: bool
    exit: int = 0
    out: str = ""
    err: str = ""
    operations: list[tuple[float, str, str]] = field(default_factory=list)  # when, in seconds, what, and to what

    @property
    def json(self) -> dict[str, Any]:
        """What it printed in the end."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


class Children:
    """The process that forks them. Used as a context, it ends with it."""

    def __init__(self, *before: str) -> None:
        """`before` is a command that runs the process, such as one that gives it a file system of its own."""
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "faults.dying"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def do(self, home: Path, arguments: Sequence[str], **how: Any) -> Answer:
        """Give a command on a home in a child."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"home": str(home), "arguments": list(arguments), **how}) + "\n")
        self.process.stdin.flush()
        return Answer(**json.loads(self.process.stdout.readline()))

    def done(self, home: Path, arguments: Sequence[str], **how: Any) -> Answer:
        """The same where nothing may go wrong."""
        answer = self.do(home, arguments, **how)
        if answer.died or answer.exit:
            raise RuntimeError(f"{' '.join(arguments)} ended with {answer.exit}: {answer.err}")
        return answer

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()


def seen(home: Path) -> str | None:
    """The id of the snapshot that readers see, having read every file of it; None before the first."""
    if not (home / "snapshots" / manifest.POINTER).exists():
        return None
    try:
        snapshot = manifest.open_current(home / "snapshots")
    except MostwatchedError as error:
        return f"{DAMAGED}: {error}"
    damage = snapshot.damage()
    return f"{DAMAGED}: {damage[0]}" if damage else snapshot.id


def torn(home: Path) -> list[str]:
    """The ids that are there as snapshots and are not whole."""
    folder = home / "snapshots"
    found = []
    for name in manifest.snapshot_ids(folder):
        try:
            if manifest.open_snapshot(folder, name).damage():
                found.append(name)
        except MostwatchedError:
            found.append(name)
    return found


def files_of(home: Path) -> set[str]:
    """Every file of a home by its path."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Case:
    """A command, the home it is given on, and what may be seen before, in between and in the end."""

    name: str
    home: Path  # to be copied
    arguments: list[str]
    allowed: frozenset[str | None]  # what readers may see when it was cut short
    ends_in: str  # what they see when it was done
    files: frozenset[str]  # and the files that are there then
    operations: list[tuple[float, str, str]]  # undisturbed; `read` only where those were asked for
    redo: tuple[list[str], ...]  # what puts all right after it was cut short
    builds_again: bool = True  # False: the first of them has nothing to build
    sweeps: bool = True  # False: what was left half-written stays until the next run

    def copy(self, to: Path) -> Path:
        """A fresh home."""
        return Path(shutil.copytree(self.home, to))

    def problem_between(self, home: Path) -> str | None:
        """What readers should not see in a home in which the command was cut short."""
        now = seen(home)
        if now in self.allowed or (DAMAGED in self.allowed and now is not None and now.startswith(DAMAGED)):
            return None
        return f"readers see {now}, not one of {sorted(map(str, self.allowed))}"

    def problem_after(
        self, home: Path, children: Children, names_too: bool = True, named: Path | None = None
    ) -> str | None:
        """What is not as it should be once the command was given again; `named` is what the children call the home."""
        for number, arguments in enumerate(self.redo):
            answer = children.do(named or home, arguments)
            if answer.died or answer.exit:
                return f"given again, `{' '.join(arguments)}` ends with {answer.exit}: {answer.err.strip()[-600:]}"
            if number == 0 and not self.builds_again and answer.json["built"]:
                return f"given again, it builds {answer.json['built']}"
        problem = self.problem_now(home, names_too)
        return f"given again: {problem}" if problem else None

    def problem_now(self, home: Path, names_too: bool = True) -> str | None:
        """What is not as it should be when the command was done."""
        if (now := seen(home)) != self.ends_in:
            return f"readers see {now}, not {self.ends_in}"
        if bad := torn(home):
            return f"{bad[0]} is there and is not whole"
        found = files_of(home)
        if not self.sweeps:
            found = {name for name in found if durable_files.TEMPORARY_PREFIX not in name}
        differ = found ^ self.files if names_too else found - self.files
        if differ:
            return f"it leaves other files than undisturbed: {sorted(differ)[:4]}"
        return None


@dataclass(frozen=True)
class Scene:
    """Cases, and what they rest on."""

    children: Children
    cases: dict[str, Case]
    old_id: str
    new_id: str
    after: Path  # a home after the new night


@contextmanager
def scene(folder: Path, *, reads: bool = False) -> Iterator[Scene]:
    """A platform whose old night was published and whose new one is to come, with the cases `run`, `first run`, …"""
    world = World(folder / "platform")
    land_noise(world, seed=3, sessions=20, days=3)
    old_landing, new_landing = folder / "old-landing", world.settings.landing
    shutil.copytree(new_landing, old_landing)
    land_sessions(world, Random(4), 10, days=3)  # late, corrected and repeated sessions
    world.land("pledges", "user | stream | amount | status | captured_at\nann | s1 | 5 | captured | 2026-01-05 10:00")
    for path in (*old_landing.rglob("*.ndjson"), *new_landing.rglob("*.ndjson")):
        os.utime(path, (LONG_AGO, LONG_AGO))  # so that every run remembers what it read, however soon it comes
    with Children() as children:
        yield _played(folder, children, _run("old", old_landing), _run("new", new_landing), reads)


def _run(which: str, landing: Path) -> list[str]:
    asked = ["run", "--direct", "--json", "--as-of", AS_OF[which], "--landing", str(landing)]
    return [*asked, "--accept-rejects", "--allow-incomplete"]


def _played(folder: Path, children: Children, old_run: list[str], new_run: list[str], reads: bool) -> Scene:
    empty, before, after, alone = (folder / name for name in ("empty", "before", "after", "alone"))
    pruned, rolled_back, damaged = (folder / name for name in ("pruned", "rolled-back", "damaged"))
    prune = ["snapshots", "prune", "--json"]
    empty.mkdir()
    old_id = children.done(before, old_run).json["snapshot_id"]
    shutil.copytree(before, after)
    night = children.done(after, new_run, reads=reads)
    new_id = night.json["snapshot_id"]
    rollback = ["snapshots", "rollback", old_id]
    first = children.done(alone, new_run, reads=reads)
    if first.json["snapshot_id"] != new_id or new_id == old_id:
        raise RuntimeError("the same records gave another snapshot id, or other records the same one")
    for copy in (pruned, rolled_back, damaged, folder / "mended"):
        shutil.copytree(after, copy)
    pruning = children.done(pruned, prune, reads=reads)
    rolling = children.done(rolled_back, rollback, reads=reads)
    for home in (damaged, folder / "mended"):
        (home / "snapshots" / new_id / "creators.parquet").write_bytes(b"")
    mending = children.done(folder / "mended", new_run, reads=reads)

    def case(name: str, home: Path, done: Answer, arguments: list[str], allowed: set[str | None], **more: Any) -> Case:
        redo = more.pop("redo", (arguments,))
        end, files = more.pop("ends_in", new_id), frozenset(files_of(more.pop("files")))
        return Case(name, home, arguments, frozenset(allowed), end, files, done.operations, redo, **more)

    cases = [
        case("run", before, night, new_run, {old_id, new_id}, files=after),
        case("first run", empty, first, new_run, {None, new_id}, files=alone),
        case("repair", damaged, mending, new_run, {DAMAGED, new_id}, files=after),
        case("prune", after, pruning, prune, {new_id}, files=pruned, redo=(new_run, prune), builds_again=False),
        case("rollback", after, rolling, rollback, {old_id, new_id}, files=after, ends_in=old_id, sweeps=False),
    ]
    return Scene(children, {each.name: each for each in cases}, old_id, new_id, after)
