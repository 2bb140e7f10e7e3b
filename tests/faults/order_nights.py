"""A year of nights with lost, late, empty, repeated and half-delivered files, and `status` asked every morning.

The simulation keeps its own books of what the platform delivered; `status` must find every missing day and raise no
false alarm: each day's state and number of sessions, what is late, and whether the next run would be refused.
"""

from __future__ import annotations

import gzip
import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from world import World

from faults.campaign import Effort, Figure
from faults.forked import ChildFailed, in_child
from pipelines.core.errors import RefusedToPublish
from pipelines.jobs import nightly, status

FIRST = date(2025, 10, 15)  # zones with DST change their clocks soon after
HELD = 31  # days that a snapshot of these homes holds
WEEKDAYS = (1.0, 0.9, 1.0, 1.1, 1.2, 0.8, 0.7)  # of the usual number of sessions: never so few as to look incomplete
NAMES = ("{day}.ndjson", "{day:%Y/%m/%d}/part-0.ndjson", "export-{next:%Y%m%d}.ndjson", "sessions_{day:%Y%m%d}.jsonl")
ZONES = ("UTC", "Europe/Istanbul", "America/New_York", "Pacific/Auckland")


def attack(effort: Effort, folder: Path) -> Iterator[Figure]:
    """Figures of the days that were judged and of the runs that were foretold."""
    days = Figure("days that status calls missing, empty, incomplete or present")
    runs = Figure("nights of which status foretells the run, and names what is late")
    missing = 0
    for number in range(effort.times(2, 8)):
        here = folder / str(number)
        nights = effort.times(30, 365)
        try:
            books = in_child(_year, effort.random(f"year {number}"), here, number, nights, seconds=7200)
        except ChildFailed as error:
            days.check(False, f"year {number}: {error}")
            continue
        days.tried, runs.tried, missing = days.tried + books.days, runs.tried + books.runs, missing + books.missing
        days.wrong += [f"year {number}: {problem}" for problem in books.wrong_days]
        runs.wrong += [f"year {number}: {problem}" for problem in books.wrong_runs]
        shutil.rmtree(here, ignore_errors=True)
    days.note = f"a day was missing {missing:,} times"
    yield days
    yield runs


@dataclass
class Platform:
    """What happened on each day, and what of it was delivered: the truth that status is held against."""

    draw: Random
    world: World
    names: str
    happened: dict[date, int] = field(default_factory=dict)  # sessions
    arrived: set[date] = field(default_factory=set)  # days whose own file, or one with all of it, was delivered
    delivered: dict[date, set[str]] = field(default_factory=dict)  # session ids by day
    coming: dict[date, list[tuple[date, str, list[Session]]]] = field(default_factory=dict)  # by night
    landed_bytes: set[bytes] = field(default_factory=set)
    numbers: int = 0

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.world.settings.day_timezone)

    def live(self, day: date, number: int) -> None:
        """Let a day happen, and decide which of its sessions come on which night, in which file."""
        draw, tonight = self.draw, day + timedelta(days=1)
        is_calm = number <= 8
        is_empty = draw.random() < 0.04 or number % 7 == 3  # some for certain, also in a short year
        count = 0 if is_empty and not is_calm else round((14 + number / 30) * WEEKDAYS[day.weekday()])
        sessions = [self._session(day) for _ in range(count)]
        self.happened[day] = count
        is_lost = draw.random() < 0.07 or number % 9 == 6
        if is_lost and not is_calm:  # it comes some day, or never, or a few sessions of it with another's
            if draw.random() < 0.7:
                how = draw.choice(["own", "undated"]) if count else "own"
                self._send(tonight + timedelta(days=draw.randrange(1, 12)), day, how, sessions)
            elif count:
                self._send(tonight + timedelta(days=1), day, "with another", sessions[:2])
            return
        late = sessions[: draw.randrange(3)] if draw.random() < 0.3 else []
        if draw.random() < 0.06 and count and not is_calm:  # half delivered
            late = sessions[: round(count * 0.75)]
            self._send(tonight + timedelta(days=draw.randrange(1, 4)), day, "rest", late)
        elif late:
            self._send(tonight + timedelta(days=draw.randrange(1, 6)), day, "with another", late)
        self._send(tonight, day, "own", sessions[len(late) :])
        if draw.random() < 0.1:
            self._send(tonight + timedelta(days=draw.randrange(1, 5)), day, "rest", sessions[len(late) :])

    def _session(self, day: date) -> Session:
        self.numbers += 1
        minute = self.draw.randrange(3 * 60, 23 * 60)  # hours that no clock change leaves out
        start = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone).astimezone(UTC)
        return {
            "sessionId": f"s{self.numbers}",
            "creatorId": self.draw.choice(["ada", "bob", "eve"]),
            "viewerId": f"v{self.draw.randrange(20)}",
            "startedAt": start.isoformat(),
            "endedAt": (start + timedelta(minutes=30)).isoformat(),
        }

    def _send(self, night: date, day: date, how: str, sessions: list[Session]) -> None:
        self.coming.setdefault(night, []).append((day, how, sessions))

    def land(self, night: date) -> list[str]:
        """Deliver what comes on a night; returns the names of the files whose bytes are new."""
        files: dict[str, list[Session]] = {}
        coming = self.coming.pop(night, [])
        for day, how, sessions in coming:
            if how in ("own", "undated"):
                self.arrived.add(day)
            if how == "own":
                files[self.names.format(day=day, next=day + timedelta(days=1))] = list(sessions)
            elif how in ("undated", "rest"):
                files[f"x{self.draw.randrange(1 << 20)}.ndjson"] = list(sessions)
        of_days = [name for name in files if not name.startswith("x")]
        for day, how, sessions in coming:
            if how == "with another" and of_days:
                files[of_days[0]] += sessions
            elif how == "with another":
                self._send(night + timedelta(days=1), day, how, sessions)
        for sessions in files.values():
            for session in sessions:
                day = datetime.fromisoformat(session["startedAt"]).astimezone(self.zone).date()
                self.delivered.setdefault(day, set()).add(session["sessionId"])
        return [name for name in (self._write(name, sessions) for name, sessions in files.items()) if name]

    def _write(self, name: str, sessions: list[Session]) -> str | None:
        content = "".join(json.dumps(session) + "\n" for session in sessions).encode()
        if self.draw.random() < 0.1:
            name, content = name + ".gz", gzip.compress(content, mtime=0)
        path = self.world.settings.landing / "viewing_sessions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        is_new = content not in self.landed_bytes
        self.landed_bytes.add(content)
        return f"viewing_sessions/{name}" if is_new else None

    def count(self, day: date) -> int:
        """Its sessions that were delivered so far."""
        return len(self.delivered.get(day, ()))

    def is_incomplete(self, day: date, as_of: date) -> bool:
        """Whether it has under half of what its weekday usually has, of the days that a snapshot as of a day holds."""
        held_from = as_of - timedelta(days=HELD)
        first = min((each for each in self.delivered if self.delivered[each]), default=day)
        if first > day - timedelta(days=7) or day - timedelta(days=7) < held_from:
            return False

        def alike(day: date) -> list[int]:
            weeks = [day - timedelta(weeks=number) for number in range(1, 9)]
            return [self.count(each) for each in weeks if each >= max(held_from, first)]

        count, usual = self.count(day), alike(day)
        week = [self.count(day - timedelta(days=back)) for back in range(1, 8)]
        if len(usual) < 3:
            least = min(filter(None, week), default=0)
            lowest = min(usual, default=least)  # 0: perhaps a day off
            return statistics.median(week) > 0 and 2 * count < lowest and (lowest >= 25 or count < least)
        growth = []
        for back in (1, 2):
            middle = statistics.median(alike(day - timedelta(days=back)) or [0])
            growth.append(week[back - 1] / middle if middle else 1)
        expected = statistics.median(usual) * min(2, max(1, min(growth)))
        weekdays = [alike(day - timedelta(days=back)) for back in range(7)]
        distances = [abs(each - statistics.median(those)) for those in weekdays if those for each in those]
        is_odd = expected >= 25 or count < expected - 3 * 1.2533 * statistics.fmean(distances)
        return 2 * count < expected and is_odd

    def state(self, day: date, as_of: date) -> str:
        """What status must call it."""
        if day not in self.arrived:
            return "missing"
        if not self.happened[day]:
            return "empty"
        return "incomplete" if self.is_incomplete(day, as_of) else "present"


Session = dict[str, Any]
Held = dict[date, set[str]]  # what a snapshot rests on: session ids by day


@dataclass
class Books:
    """What was tried in a year, and what was wrong."""

    days: int = 0
    missing: int = 0
    runs: int = 0
    wrong_days: list[str] = field(default_factory=list)
    wrong_runs: list[str] = field(default_factory=list)

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.wrong_runs.append(problem)


def _year(draw: Random, folder: Path, number: int, nights: int) -> Books:
    world = World(folder, day_timezone=ZONES[number % len(ZONES)], windows=(30,))
    platform = Platform(draw, world, NAMES[number % len(NAMES)])
    books = Books()
    before: Held | None = None  # of the snapshot before the current one
    now: Held | None = None  # of the current one
    for night in range(1, nights + 1):
        as_of = FIRST + timedelta(days=night)
        platform.live(as_of - timedelta(days=1), night)
        new = platform.land(as_of)
        unread = [file["file"] for file in _ask(world, as_of)["landing"]["unread"]]
        books.check(sorted(unread) == sorted(new), f"{as_of}: called new {unread}, landed {new}")
        refused = platform.is_incomplete(as_of - timedelta(days=1), as_of)
        allowed = draw.random() < 0.6
        ended = _run(world, as_of, allow_incomplete=False)
        books.check(ended == ("refused" if refused else "published"), f"{as_of}: the run was {ended}")
        if refused:
            _judge_refusal(books, _ask(world, as_of), as_of)
        if refused and allowed:
            ended = _run(world, as_of, allow_incomplete=True)
        elif not refused and draw.random() < 0.1:
            books.check(_run(world, as_of, allow_incomplete=False) == "unchanged", f"{as_of}: a rerun published")
        held = {as_of - timedelta(days=back): set[str]() for back in range(1, HELD + 1)}
        held = {day: set(platform.delivered.get(day, ())) for day in held}
        if ended == "published":
            before, now = now, held
        said = _ask(world, as_of)
        books.check(said["problems"] == [], f"{as_of}: {said['problems']}")
        books.check(
            said["next_run"]["outcome"] == ("refuses" if refused else "nothing new"),
            f"{as_of}: after a run that was {ended}, the next one is said to be {said['next_run']['outcome']}",
        )
        _judge_days(books, platform, said, as_of)
        _judge_late(books, said, as_of, [(before, now, True), (now, held, False)])
        books.runs += 1
        if draw.random() < 0.25:
            shutil.rmtree(world.settings.landing, ignore_errors=True)  # the platform clears what was read
    return books


def _ask(world: World, as_of: date) -> dict[str, Any]:
    return status.status(world.settings, as_of, None, datetime.now(UTC))


def _run(world: World, as_of: date, *, allow_incomplete: bool) -> str:
    try:
        report = nightly.run(world.settings, as_of, allow_incomplete=allow_incomplete)
    except RefusedToPublish:
        return "refused"
    return "published" if report.published.is_new else "unchanged"


def _judge_refusal(books: Books, said: dict[str, Any], as_of: date) -> None:
    books.check(
        said["last_run"]["outcome"] == "refused"
        and str(as_of - timedelta(days=1)) in said["last_run"]["why"]
        and said["next_run"]["command_to_override"].endswith("--allow-incomplete"),
        f"{as_of}: after a refused run status says {said['last_run']}, {said['next_run']}",
    )


def _judge_days(books: Books, platform: Platform, said: dict[str, Any], as_of: date) -> None:
    first = max(FIRST, as_of - timedelta(days=HELD))
    right = [first + timedelta(days=number) for number in range((as_of - first).days)]
    found = {date.fromisoformat(row["day"]): (row["state"], row["sessions"]) for row in said["days"]}
    for day in right:
        truth = (platform.state(day, as_of), platform.count(day))
        books.days += 1
        books.missing += truth[0] == "missing"
        if found.get(day) != truth:
            books.wrong_days.append(f"as of {as_of}, {day} is {truth} and is called {found.get(day)}")
    if extra := set(found) - set(right):
        books.wrong_days.append(f"as of {as_of}: {extra}")


def _judge_late(
    books: Books, said: dict[str, Any], as_of: date, pairs: list[tuple[Held | None, Held | None, bool]]
) -> None:
    for was, then, is_published in pairs:
        right = {day for day in was if day in then and was[day] != then[day]} if was and then else set()
        found = {date.fromisoformat(row["day"]) for row in said["late"] if row["is_published"] == is_published}
        books.check(found == right, f"{as_of}: late (published: {is_published}) are {right}, called so {found}")
