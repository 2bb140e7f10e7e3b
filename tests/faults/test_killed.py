"""Whenever a run, a prune or a rollback is killed: readers see the old state or the new, and one rerun puts all right.

A process is killed before every change that it makes to its home (see dying.py), a sample of them in the quick tier
and each one with HYPOTHESIS_PROFILE=full; and at random moments. FAULT_SEED repeats a sample.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from noise import land_noise, land_sessions
from world import World

from pipelines import snapshots

FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"
SEED = os.environ.get("FAULT_SEED") or secrets.token_hex(4)
AS_OF = {"old": "2026-01-30", "new": "2026-01-31"}


class Mortals:
    """The process whose children die."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("dying.py"))
        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, what: str, home: Path, **how: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": what, "home": str(home), **how}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "failed" not in answer, f"{what} failed in {home}"
        return answer


@dataclass(frozen=True)
class Scene:
    """Homes to copy, and what an undisturbed run and prune make of them."""

    mortals: Mortals
    old_landing: Path
    new_landing: Path
    empty: Path  # nothing there
    before: Path  # the old snapshot is current; more has landed since
    after: Path  # the new one is, and the old one and what it rested on can be pruned
    old_id: str
    new_id: str
    changes: dict[str, int]  # of the home, by what is done
    files: set[str]  # of a home that was pruned after the run
    files_of_one_night: set[str]  # of a home in which only the new night was run, and pruned


LONG_AGO = 1_700_000_000  # seconds since 1970
CHANGES_OF_A_RECORD = 6  # what is written last says how the run ended: mkdir, open, fsync, rename, fsync, remove


def files_of(home: Path) -> set[str]:
    """Every file by its path."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    world = World(folder / "platform")
    land_noise(world, seed=3, sessions=20, days=4)
    shutil.copytree(world.settings.landing, folder / "old-landing")
    land_sessions(world, Random(4), 10, days=4)  # late, corrected and repeated sessions
    world.land("pledges", "user | stream | amount | status | captured_at\nann | s1 | 5 | captured | 2026-01-05 10:00")
    old_landing, new_landing = folder / "old-landing", world.settings.landing
    for path in (*old_landing.rglob("*.ndjson"), *new_landing.rglob("*.ndjson")):
        os.utime(path, (LONG_AGO, LONG_AGO))  # so that every run remembers what it read, however soon it comes
    mortals = Mortals()

    def run(home: Path, landing: Path, as_of: str) -> dict[str, Any]:
        return mortals.do("run", home, landing=str(landing), as_of=AS_OF[as_of])

    before, after, empty = folder / "before", folder / "after", folder / "empty"
    empty.mkdir()
    old = run(before, old_landing, "old")
    shutil.copytree(before, after)
    new = run(after, new_landing, "new")
    pruned, alone = folder / "pruned", folder / "alone"
    shutil.copytree(after, pruned)
    prune = mortals.do("prune", pruned)
    first = run(alone, new_landing, "new")
    mortals.do("prune", alone)
    assert first["result"]["snapshot_id"] == new["result"]["snapshot_id"] != old["result"]["snapshot_id"]
    yield Scene(
        mortals,
        old_landing,
        new_landing,
        empty,
        before,
        after,
        old["result"]["snapshot_id"],
        new["result"]["snapshot_id"],
        {"first run": first["changes"], "run": new["changes"], "prune": prune["changes"]},
        files_of(pruned),
        files_of(alone),
    )
    mortals.process.kill()
    mortals.process.wait()
    for stream in (mortals.process.stdin, mortals.process.stdout):
        assert stream
        stream.close()


def current(home: Path) -> str | None:
    """The snapshot that readers see, having read every file of it."""
    if snapshots.current(home / "snapshots") is None:
        return None
    snapshot = snapshots.open_current(home / "snapshots")
    assert snapshot.damage() == []
    return snapshot.id


def moments(changes: int, part: str, sample: int, first: int = 1, step: int = 1) -> list[int]:
    """At which changes to die: one from each of `sample` stretches of equal length, or all from `first` by `step`."""
    if FULL:
        return list(range(first, changes + 1, step))
    draw = Random(f"{SEED} {part}")
    return [draw.randint(changes * n // sample + 1, changes * (n + 1) // sample) for n in range(sample)]


def assert_one_rerun_is_enough(scene: Scene, home: Path, files: set[str], why: str) -> None:
    rerun = scene.mortals.do("run", home, landing=str(scene.new_landing), as_of=AS_OF["new"])
    assert rerun["result"]["snapshot_id"] == scene.new_id == current(home), why
    scene.mortals.do("prune", home)
    assert current(home) == scene.new_id, why
    assert files_of(home) == files, why


@pytest.mark.parametrize("part", [1, 2])
def test_a_run_can_be_killed_before_any_change(tmp_path, scene, part):
    """Readers see the old snapshot or the new; one rerun ends where an undisturbed run ends, file by file."""
    for number in moments(scene.changes["run"], f"run {part}", 3, first=part, step=2):
        why = f"killed before change {number} of {scene.changes['run']}; FAULT_SEED={SEED}"
        home = tmp_path / f"{number}"
        shutil.copytree(scene.before, home)
        run = {"landing": str(scene.new_landing), "as_of": AS_OF["new"]}
        assert scene.mortals.do("run", home, die_at=number, **run) == {"died": True}, why
        assert current(home) in (scene.old_id, scene.new_id), why
        assert_one_rerun_is_enough(scene, home, scene.files, why)
        shutil.rmtree(home)


def test_the_last_changes_of_a_run_move_the_pointer(tmp_path, scene):
    """Until the pointer is renamed readers see the old snapshot; from then on the new one. Then the run is recorded."""
    last = scene.changes["run"] - CHANGES_OF_A_RECORD
    seen = []
    for number in range(last - 3, last + 2):
        home = tmp_path / f"{number}"
        shutil.copytree(scene.before, home)
        scene.mortals.do("run", home, die_at=number, landing=str(scene.new_landing), as_of=AS_OF["new"])
        seen.append(current(home))
    assert seen == sorted(seen), "once the new snapshot was seen, the old one is not seen again"
    assert set(seen) == {scene.old_id, scene.new_id}


def test_the_first_run_can_be_killed_before_any_change(tmp_path, scene):
    """Readers see no snapshot or the first one, whole."""
    for number in moments(scene.changes["first run"], "first run", 3):
        why = f"killed before change {number} of {scene.changes['first run']}; FAULT_SEED={SEED}"
        home = tmp_path / f"{number}"
        run = {"landing": str(scene.new_landing), "as_of": AS_OF["new"]}
        assert scene.mortals.do("run", home, die_at=number, **run) == {"died": True}, why
        assert current(home) in (None, scene.new_id), why
        assert_one_rerun_is_enough(scene, home, scene.files_of_one_night, why)
        shutil.rmtree(home)


def test_a_run_can_be_killed_again_and_again(tmp_path, scene):
    """At random moments, run after run: the files of the last one are those of an undisturbed one."""
    draw = Random(f"{SEED} moments")
    home = tmp_path / "home"
    shutil.copytree(scene.before, home)
    run = {"landing": str(scene.new_landing), "as_of": AS_OF["new"]}
    for _ in range(100 if FULL else 6):
        seconds = draw.uniform(0.01, 0.6)
        why = f"killed after {seconds} s; FAULT_SEED={SEED}"
        scene.mortals.do("run", home, die_after=seconds, **run)
        assert current(home) in (scene.old_id, scene.new_id), why
    assert_one_rerun_is_enough(scene, home, scene.files, f"FAULT_SEED={SEED}")


def test_a_prune_can_be_killed_before_any_change(tmp_path, scene):
    """What readers see stays whole; the rerun of the night builds nothing; the next prune finishes the work."""
    for number in moments(scene.changes["prune"], "prune", 4):
        why = f"killed before change {number} of {scene.changes['prune']}; FAULT_SEED={SEED}"
        home = tmp_path / f"{number}"
        shutil.copytree(scene.after, home)
        assert scene.mortals.do("prune", home, die_at=number) == {"died": True}, why
        assert current(home) == scene.new_id, why
        assert all(snapshot.damage() == [] for snapshot in snapshots.listed(home / "snapshots")), why
        rerun = scene.mortals.do("run", home, landing=str(scene.new_landing), as_of=AS_OF["new"])
        assert rerun["result"]["built"] == {}, why
        assert_one_rerun_is_enough(scene, home, scene.files, why)
        shutil.rmtree(home)


def test_a_rollback_can_be_killed_before_any_change(tmp_path, scene):
    """Readers see the snapshot before or the one that was chosen, whole, and the rollback can be repeated."""
    number, died, seen = 1, True, set()
    while died:
        home = tmp_path / f"{number}"
        shutil.copytree(scene.after, home)
        died = scene.mortals.do("rollback", home, to=scene.old_id, die_at=number)["died"]
        seen.add(current(home))
        scene.mortals.do("rollback", home, to=scene.old_id)
        assert current(home) == scene.old_id
        number += 1
    assert number > 3
    assert seen == {scene.old_id, scene.new_id}


def test_writing_a_damaged_snapshot_again_can_be_killed(tmp_path, scene):
    """However far the repair of the current snapshot came, the next run completes it and readers have it again."""
    damaged = tmp_path / "damaged"
    shutil.copytree(scene.after, damaged)
    (damaged / "snapshots" / scene.new_id / "creators.parquet").write_bytes(b"")
    run = {"landing": str(scene.new_landing), "as_of": AS_OF["new"]}
    shutil.copytree(damaged, tmp_path / "counted")
    changes = scene.mortals.do("run", tmp_path / "counted", **run)["changes"]
    for number in [*moments(changes, "repair", 2), changes - 1]:
        home = tmp_path / f"{number}"
        shutil.copytree(damaged, home, dirs_exist_ok=True)
        assert scene.mortals.do("run", home, die_at=number, **run) == {"died": True}
        why = f"killed before change {number} of {changes}; FAULT_SEED={SEED}"
        assert_one_rerun_is_enough(scene, home, scene.files, why)


def test_the_command_can_be_killed(tmp_path, scene):
    """The same for the real command in a process of its own: kill it, run it again, and all is as it should be."""
    home = tmp_path / "home"
    shutil.copytree(scene.before, home)
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "run", "--direct", "--json"]
    command += ["--as-of", AS_OF["new"], "--landing", str(scene.new_landing), "--accept-rejects", "--allow-incomplete"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    environ |= {"MOSTWATCHED_MAX_WINDOW_DAYS": "30", "MOSTWATCHED_THREADS": "1"}
    draw = Random(f"{SEED} command")
    for _ in range(20 if FULL else 1):
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.3, 2.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert current(home) in (scene.old_id, scene.new_id), f"FAULT_SEED={SEED}"
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["snapshot_id"] == scene.new_id == current(home)
    assert_one_rerun_is_enough(scene, home, scene.files, f"FAULT_SEED={SEED}")
