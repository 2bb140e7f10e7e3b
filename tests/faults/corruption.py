"""Files go bad: a flipped bit, a cut, a zeroed block, a lost or exchanged file, anywhere under a home.

Whoever reads must get the right answer or a clear error, `snapshots verify` must name the file, and the next runs must
come to what an undamaged home comes to. Beside it, what the same flips do to bare Parquet files.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

from noise import land_noise, land_sessions
from world import World

from faults import corruption_bare, corruption_cost
from faults.campaign import Effort, Figure, not_tried
from faults.corruption_readers import API, LISTS, RANKINGS, Outcome, Readers, without_times
from faults.corruption_ways import Damage, Damager, kinds
from pipelines.api.snapshot_watcher import Watcher
from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.jobs import nightly

DAYS = 6  # with sessions, the last of them before both as_ofs
FIRST, LAST, NEXT = date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1)
RAW = ("raw rows", "rejected records", "index of raw")


def attack(effort: Effort) -> Iterator[Figure]:
    """Damage a small home in every way, and ask everybody."""
    made = _make(effort)
    yield from _readers_of_damage(effort, made)
    yield _damaged_while_read(effort, made)
    yield from _runs_over_damage(effort, made)
    yield from _bare_parquet(effort, made)
    yield _cost_of_checking(effort)


@dataclass(frozen=True)
class Made:
    """A home with two snapshots, what it was made from, and what comes of it."""

    settings: Settings
    landing: Path
    late: Path  # a landing folder with sessions of every day, for the night after
    ids: dict[date, str]
    right: dict[str, Outcome]

    @property
    def home(self) -> Path:
        return self.settings.home


def _make(effort: Effort) -> Made:
    draw = effort.random("home")
    world = World(effort.scratch / "made")
    land_noise(world, draw.randrange(1 << 30), sessions=60, days=DAYS)
    land_sessions(world, draw, 10, DAYS)
    world.land_text("viewing_sessions", '{"sessionId":"s","creatorId":"ada","startedAt":"yesterday"}\nnothing\n')
    world.land_text("pledges", '{"pledgeId":1}\n')
    landing = effort.scratch / "landing"
    world.settings.landing.rename(landing)  # beside the homes, which are copied
    late = World(effort.scratch / "late")
    land_sessions(late, draw, 30, DAYS)
    for folder in (landing, late.settings.landing):
        _age(folder)
    ids = {as_of: night(world.settings, [landing], as_of) for as_of in (FIRST, LAST)}
    copy = linked(world.settings, effort.scratch / "reference")
    ids[NEXT] = night(copy, [landing, late.settings.landing], NEXT)
    shutil.rmtree(copy.home)
    right = Readers(world.settings.home).ask()
    assert all(outcome.is_answer for outcome in right.values()), right
    return Made(world.settings, landing, late.settings.landing, ids, right)


def _age(folder: Path) -> None:
    """As if it had landed an hour ago: what has just been written is not remembered."""
    for path in folder.rglob("*"):
        then = path.stat().st_mtime - 3600
        os.utime(path, (then, then))


def night(settings: Settings, landing: Sequence[Path], as_of: date) -> str:
    """The id that a run comes to."""
    return nightly.run(settings, as_of, landing, accept_rejects=True, allow_incomplete=True).snapshot_id


def linked(settings: Settings, home: Path) -> Settings:
    """Another home with the very same files, which nobody but a damage writes to; all but the lock."""
    for path in [settings.home, *sorted(settings.home.rglob("*"))]:
        target = home / path.relative_to(settings.home)
        if path.is_dir():
            target.mkdir(mode=path.stat().st_mode)
        else:
            (shutil.copy2 if path.parent.name == ".lock" else os.link)(path, target)
    return dataclasses.replace(settings, home=home)


# --- readers -------------------------------------------------------------------------------------------------------


def _readers_of_damage(effort: Effort, made: Made) -> Iterator[Figure]:
    answers = Figure("damaged files: every answer right, or a clear error")
    named = Figure("damage in a snapshot or the pointer: verify names the file")
    silent = Figure("damage elsewhere: verify finds the snapshots whole")
    damager = Damager(made.home)
    readers = Readers(made.home)
    told: Counter[str] = Counter()
    for number in range(effort.times(400, 10_000)):
        draw = effort.random(f"flip {number}")
        running = Watcher(made.home / "snapshots")
        damage = damager.damage(draw)
        if damage.kind == "pointer":
            damage.undo()
            readers.served(running)  # a worker that has been serving when the pointer goes bad
            damage = damager.damage(effort.random(f"flip {number}"))
        try:
            found = readers.ask(_questions(draw, damage))
            if running.serving is not None:
                with suppress(FileNotFoundError):
                    os.utime(made.home / "snapshots" / "current.json")  # so that it is looked at
                found["the API, running"] = readers.served(running)
        finally:
            damage.undo()
        wrong = [problem for reader, outcome in found.items() if (problem := _judged(made, reader, outcome))]
        answers.check(not wrong, f"flip {number}: {damage.what}: {'; '.join(wrong)}")
        told.update("answers" if outcome.is_answer else "errors" for outcome in found.values())
        to_name = [path.name for path in damage.paths if "snapshots" in path.relative_to(made.home).parts]
        said = found["snapshots verify"]
        if to_name:
            is_named = not said.is_answer and all(name in said.text for name in to_name)
            named.check(is_named, f"flip {number}: {damage.what}: it says {said.text}")
        else:
            silent.check(said.is_answer, f"flip {number}: {damage.what}: it says {said.text}")
    after = readers.ask()
    assert after == made.right, "a damage was not undone"
    answers.note = f"{told['answers']:,} right answers and {told['errors']:,} errors, of {kinds(damager.by_kind)}"
    yield answers
    yield named
    yield silent


def _questions(draw: Random, damage: Damage) -> list[str]:
    """All but those that read nothing of what is damaged; of the rankings, one of a drawn range."""
    asked = ["snapshots list", "snapshots verify", API]
    if any("snapshots" in path.parts for path in damage.paths) or draw.random() < 0.1:
        asked.append(draw.choice(list(RANKINGS)))
    if damage.kind in (*RAW, "pointer", "manifest") or draw.random() < 0.1:
        asked.append("rejects")
    return asked


def _judged(made: Made, reader: str, outcome: Outcome) -> str:
    """What is wrong with an outcome; nothing when it is the right answer or a clear error."""
    if not outcome.is_answer:
        return "" if outcome.is_clear else f"{reader} fails with {outcome.text[:300]}"
    right = made.right[reader.partition(",")[0]]
    return "" if outcome == right else f"{reader} answers {_difference(outcome.text, right.text)}"


def _difference(text: str, right: str) -> str:
    at = next((at for at, (one, other) in enumerate(zip(text, right, strict=False)) if one != other), -1)
    start = max(0, at - 40)
    return f"…{text[start : start + 100]!r} instead of …{right[start : start + 100]!r}"


def _damaged_while_read(effort: Effort, made: Made) -> Figure:
    """Bits flip to and fro in the very files that are being read: what was checked must be what is used."""
    figure = Figure("bits that flip to and fro while rankings are read")
    home = effort.scratch / "flickering"
    shutil.copytree(made.home, home)
    files = sorted(home.glob(f"snapshots/{made.ids[LAST]}/creator_reach/2026-01-*.parquet"))[-DAYS:]
    files.append(home / "snapshots" / made.ids[LAST] / "creators.parquet")
    stop = threading.Event()
    flicker = threading.Thread(target=_flicker, args=(files, stop, effort.random("flicker")))
    flicker.start()
    readers = Readers(home)
    errors = 0
    try:
        for number in range(effort.times(40, 2000)):
            draw = effort.random(f"while read {number}")
            for reader, outcome in readers.ask([draw.choice(list(RANKINGS))]).items():
                figure.check(not (problem := _judged(made, reader, outcome)), f"reading {number}: {problem}")
                errors += not outcome.is_answer
    finally:
        stop.set()
        flicker.join()
    figure.note = f"{errors} errors, the others right"
    shutil.rmtree(home)
    return figure


def _flicker(files: Sequence[Path], stop: threading.Event, draw: Random) -> None:
    descriptors = [os.open(path, os.O_RDWR) for path in files]
    while not stop.is_set():
        descriptor = draw.choice(descriptors)
        at = draw.randrange(os.fstat(descriptor).st_size)
        (before,) = os.pread(descriptor, 1, at)
        os.pwrite(descriptor, bytes([before ^ (1 << draw.randrange(8))]), at)
        time.sleep(draw.random() * 0.02)
        os.pwrite(descriptor, bytes([before]), at)
        time.sleep(draw.random() * 0.02)
    for descriptor in descriptors:
        os.close(descriptor)


# --- runs ----------------------------------------------------------------------------------------------------------


def _runs_over_damage(effort: Effort, made: Made) -> Iterator[Figure]:
    same = Figure("runs over damaged files: the same id, and everything right again")
    late = Figure("nights of late data over damaged files: the id of an undamaged home")
    lost = Figure("runs over damaged raw whose landed files are gone: right, or refused")
    refused: Counter[str] = Counter()
    for number in range(effort.times(32, 1000)):
        draw = effort.random(f"run {number}")
        settings = linked(made.settings, effort.scratch / f"home-{number}")
        damage = Damager(settings.home, is_linked=True).damage(draw)
        what = f"run {number}: {damage.what}"
        if damage.kind in RAW and draw.random() < 0.5:
            came = _comes_to(settings, [_empty(effort)], LAST, refused)
            lost.check(came in (made.ids[LAST], "refused"), f"{what}: {came}")
        came = _comes_to(settings, [made.landing], LAST, refused)
        if came == "refused":  # whoever is told to run again runs again
            came = _comes_to(settings, [made.landing], LAST, refused)
        problems = [] if came == made.ids[LAST] else [f"the run comes to {came}"]
        if any(made.ids[FIRST] in path.parts for path in damage.paths):
            came = _comes_to(settings, [made.landing], FIRST, refused)
            problems += [] if came == made.ids[FIRST] else [f"the run as of {FIRST} comes to {came}"]
        asked = [*LISTS, API, draw.choice(list(RANKINGS))]
        for reader, outcome in Readers(settings.home).ask(asked).items():
            if not outcome.is_answer or without_times(outcome) != without_times(made.right[reader]):
                problems.append(f"then {reader} says {_difference(outcome.text, made.right[reader].text)}")
        same.check(not problems, f"{what}: {'; '.join(problems)}")
        if number % 5 == 0:  # what a rerun does not read, a night of late data does
            came = _comes_to(settings, [made.landing, made.late], NEXT, refused)
            late.check(came == made.ids[NEXT], f"{what}: {came}")
        shutil.rmtree(settings.home)
    same.note = f"{refused.total()} runs refused first, with what to do"
    yield same
    yield late
    yield lost


def _comes_to(settings: Settings, landing: Sequence[Path], as_of: date, refused: Counter[str]) -> str:
    """The id that a run comes to, `refused` when it says what is damaged, or whatever went wrong."""
    try:
        return night(settings, landing, as_of)
    except Damaged as error:
        refused[str(error)] += 1
        return "refused" if "again" in str(error) else f"an error that does not say what to do: {error}"
    except Exception as error:
        return repr(error)


def _empty(effort: Effort) -> Path:
    folder = effort.scratch / "nothing-landed"
    folder.mkdir(exist_ok=True)
    return folder


# --- beside it ------------------------------------------------------------------------------------------------------


def _bare_parquet(effort: Effort, made: Made) -> Iterator[Figure]:
    """The same without checks: bits flipped in bare Parquet files, which are then read through DuckDB."""
    small, large = effort.scratch / "bare-small", effort.scratch / "bare-large"
    for number, path in enumerate(made.home.rglob("*.parquet")):
        small.mkdir(exist_ok=True)
        shutil.copyfile(path, small / f"{number}.parquet")
    large.mkdir()
    corruption_bare.write_sessions(large / "sessions.parquet")
    what = "beside it: single flips in bare Parquet, read by DuckDB: "
    yield _of_bare_flips(effort, small, what + "the home's small files")
    yield _of_bare_flips(effort, large, what + "20,000 sessions as DuckDB writes them")


def _cost_of_checking(effort: Effort) -> Figure:
    what = "beside it: what checking costs a night of 300,000 sessions"
    if not effort.full:
        return not_tried(what, "measured in the full tier")
    found = corruption_cost.measured(effort.scratch / "cost", 300_000)
    share = found["checked checks"] / found["checked cpu"]
    note = (
        f"{share:.1%} of its CPU ({found['checked checks']:.2f} of {found['checked cpu']:.1f} s; "
        f"without checks {found['unchecked cpu']:.1f} s)"
    )
    return Figure(what, corruption_cost.TIMES, note=note)


def _of_bare_flips(effort: Effort, folder: Path, what: str) -> Figure:
    flips = effort.times(150, 10_000)
    came: Counter[str] = Counter()
    while came.total() < flips:
        command = [sys.executable, "-m", "faults.corruption_bare", str(folder), effort.seed, str(flips)]
        done = subprocess.run([*command, str(came.total())], stdout=subprocess.PIPE, text=True, check=False)
        came.update(done.stdout.split())
        if done.returncode < 0:
            came["crash"] += 1
        elif done.returncode:
            raise RuntimeError("the bare files cannot be read at all")
    shares = ", ".join(f"{count / flips:.0%} {what}" for what, count in came.most_common())
    return Figure(what, flips, note=shares)
