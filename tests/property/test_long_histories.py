"""A number is right whatever landed when: long histories, night after night, in homes that grow old.

A history is longer than all that a snapshot rests on: twice the longest window, the reach of a correction, and months
before and after those, of which nothing but sums is read. Its nights are mostly its last ones, and what lands in them
comes from far back: so that most of what the nights before have built is used again, beside days that are built anew.
A generator whose nights are far apart finds little, since such nights build everything.

After every night three ways agree: the published cube and tables, a plain count(distinct) in SQL over what landed, and
the oracle. So does the snapshot's id with that of one run over everything in a fresh home, in which an erasure landed
for everybody who was forgotten; and no file of the lake has other rows than the file of that name in the other home. In
the last night, `mostwatched audit` finds nothing that differs.

    HYPOTHESIS_PROFILE=full HISTORIES=10000 SEED=1 python -m pytest -x -s tests/property/test_long_histories.py

says after every ten how many histories there were, until they have been as many, or one has found something. Each
night is then compared with a fresh home, and not only the last of every other history.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import plain_sql
import pytest
from derived import NamedByRows
from effort import FAST, FULL, effort
from hypothesis import assume, given, note, seed, settings
from hypothesis import strategies as st
from world import Night, World

from pipelines.core.errors import UsageError
from pipelines.jobs import prune
from pipelines.jobs.erase_user import forget
from pipelines.snapshots import manifest
from pipelines.snapshots.audit import audit

HISTORIES = int(os.environ.get("HISTORIES", effort(3, 10, 1000)))
SEED = int(os.environ.get("SEED") or (0 if FAST else random.SystemRandom().randrange(10**6)))  # printed with what fails
DAY = timedelta(days=1)
EVERYTHING_ALLOWED = {"accept_rejects": True, "allow_incomplete": True}
NOW = datetime(2026, 6, 1, tzinfo=UTC)  # when somebody is forgotten
PEOPLE, CREATORS = ["ann", "ben"], ["ada", "bob"]  # few: they come again, on many days

# What can happen in a history; without some of it, another rule can be asked for the same answers.
EVERYTHING = frozenset(
    {"moves", "retractions", "unbelieved", "future", "money", "erasures", "forget", "redelivery", "lost"}
    | {"retention", "rollback", "backfill", "bans"}
)


class Session(NamedTuple):
    """A landed session; `ago` days before the history's last as_of, or after it."""

    id: str
    revision: int
    creator: str
    viewer: str | None  # None: the device
    ago: int
    hour: int
    hours: float | None  # None: open
    deleted: bool = False

    def landed(self, last: date) -> dict[str, Any]:
        start = datetime.combine(last - self.ago * DAY, datetime.min.time(), UTC) + timedelta(hours=self.hour)
        end = None if self.hours is None else start + timedelta(hours=self.hours)
        who = {"deviceId": "ann"} if self.viewer is None else {"viewerId": self.viewer}
        record = {"sessionId": self.id, "revision": self.revision, "creatorId": self.creator, **who}
        record |= {"startedAt": start.isoformat(), "endedAt": end and end.isoformat()}
        return record | ({"deleted": True} if self.deleted else {})

    def __repr__(self) -> str:
        """In one line."""
        until = "open" if self.hours is None else f"+{self.hours}h"
        mark = " deleted" if self.deleted else ""
        return f"<{self.id} r{self.revision} {self.viewer}>{self.creator} {self.ago}d ago {self.hour}h {until}{mark}>"


class Land(NamedTuple):
    """A file of sessions."""

    sessions: tuple[Session, ...]


class LandOther(NamedTuple):
    """A file of one record of another entity."""

    entity: str
    record: dict[str, Any]


class Redeliver(NamedTuple):
    """All sessions that have landed so far land again, in another order."""


class Lose(NamedTuple):
    """Derived files are lost: every `every`th of a model, of that of this number or of all."""

    model: int | None
    every: int


class Run(NamedTuple):
    """A night, `ago` days before the last one."""

    ago: int


class Forget(NamedTuple):
    """Take somebody out, of landed files too or not."""

    user: str
    landing_too: bool


class Prune(NamedTuple):
    """Remove the days that no snapshot rests on, and all but some snapshots."""

    keep_snapshots: int


class RollBack(NamedTuple):
    """Point to the snapshot before, and stay there."""


class Release(NamedTuple):
    """Point to the newest again."""


Step = Land | LandOther | Redeliver | Lose | Run | Forget | Prune | RollBack | Release


@dataclass(frozen=True)
class History:
    """What happens to a home, one after the other."""

    last: date  # the last as_of
    settings: Mapping[str, Any]
    is_compared_with_fresh: bool  # at the end, or after every night of a long run
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        """A step a line."""
        first = f"as of {self.last}, {dict(self.settings)}{', beside a fresh home' * self.is_compared_with_fresh}"
        return "\n".join([first, *(f"    {step}" for step in self.steps)])


# --- drawing one -----------------------------------------------------------------------------------------------------


def now_and_then(one_in: int) -> st.SearchStrategy[bool]:
    return st.integers(0, one_in - 1).map(lambda number: number == one_in - 1)


@st.composite
def histories(draw: st.DrawFn, features: frozenset[str] = EVERYTHING) -> History:  # noqa: C901 (one draw, top down)
    """Two to four nights, of which the last two are near each other; most of what happens is between those."""
    window = draw(st.sampled_from([7, 8, 10]))  # with fewer days there is no week and a day for day_totals
    revision_days = draw(st.sampled_from([3, 0, 1, 9, 40]))
    policy = {
        "max_window_days": window,
        "windows": (1, 3, window),
        "max_session_hours": draw(st.sampled_from([24, 48])),
        "min_watched_seconds": draw(st.sampled_from([0, 0, 0, 1])),
        "day_timezone": draw(st.sampled_from(["UTC", "UTC", "Europe/Istanbul", "America/New_York"])),
        "revision_days": revision_days,
    }
    last = date(2026, 3, draw(st.integers(1, 31)))
    horizon = 2 * window + 1 + revision_days
    month = last.replace(day=1)
    month_edges = [(last - edge).days + off for edge in (month, month - DAY * 28, month - DAY * 59) for off in (0, 1)]
    reaches = {  # how many days before the night
        "near": range(1, 4),
        "window": range(1, window + 2),
        "far": [*range(window + 2, 2 * window + 2), *range(window + window // 2, 2 * window + 2)],
        "edge": range(horizon - 1, horizon + 4),
        "month": month_edges,
        "beyond": range(horizon + 4, horizon + 75),
        "future": range(0, -70, -1) if "future" in features else [1],
    }
    numbers = itertools.count(1)
    landed: list[Session] = []

    def ages(*names: str) -> st.SearchStrategy[int]:
        return st.sampled_from(names).flatmap(lambda name: st.sampled_from(reaches[name]))

    lengths = st.sampled_from([1, 1, 1, 0.5, 23, 0, None, *([24, 25, 49, 1000] if "unbelieved" in features else [])])

    def sessions(night: int, how_old: st.SearchStrategy[int], least: int, most: int) -> Land:
        drawn = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(CREATORS),
                    st.sampled_from([*PEOPLE, *PEOPLE, None]),
                    how_old,
                    st.sampled_from([10, 0, 22, 23]),
                    lengths,
                ),
                min_size=least,
                max_size=most,
            )
        )
        new = [
            Session(f"s{next(numbers)}", 0, creator, viewer, night + age, hour, hours)
            for creator, viewer, age, hour, hours in drawn
        ]
        landed.extend(new)
        return Land(tuple(new))

    def habits(night: int, days: int) -> Land:
        """Who watched whom on which of the days before a night: on about half of them."""
        new = []
        for creator, viewer in itertools.product(CREATORS, [*PEOPLE, None]):
            watched = draw(st.integers(0, 2**days - 1))  # a bit a day, so that it shrinks to fewer
            new += [
                Session(f"s{next(numbers)}", 0, creator, viewer, night + age, 10, 1)
                for age in range(1, days + 1)
                if watched >> age - 1 & 1
            ]
        landed.extend(new)
        return Land(tuple(new))

    def corrections() -> Iterator[Land]:
        near = [0, 0, 1, -1, revision_days, -revision_days]
        far = [revision_days + 1, -revision_days - 1, 2 * revision_days + 1, 31, -31] if "moves" in features else []
        for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
            one = draw(st.sampled_from(landed))
            changed = one._replace(
                revision=draw(st.sampled_from([1, 0, 2, 3])),
                ago=one.ago + draw(st.sampled_from(near + far)),
                creator=draw(st.sampled_from(CREATORS)),
                hours=draw(lengths),
                deleted=draw(now_and_then(4)) and "retractions" in features,
            )
            if "erasures" in features:
                changed = changed._replace(viewer=draw(st.sampled_from([changed.viewer, *PEOPLE])))
            landed.append(changed)
            yield Land((changed,))

    def others(night: int) -> Iterator[LandOther]:
        at = (last - draw(st.sampled_from([night, night + 1, night + 9])) * DAY).isoformat() + "T10:00:00Z"
        if "money" in features and draw(now_and_then(3)):
            pledge = {"pledgeId": draw(st.sampled_from(["p1", "p2"])), "userId": draw(st.sampled_from(PEOPLE))}
            status = draw(st.sampled_from(["captured", "pending", "refunded"]))
            pledge |= {"streamId": "x", "amount": draw(st.sampled_from([10, 20])), "status": status, "updatedAt": at}
            pledge |= {"capturedAt": "2025-12-01T10:00:00Z", "currency": draw(st.sampled_from(["TRY", "EUR"]))}
            yield LandOther("live_streams", {"id": "x", "creatorId": "ada", "status": "ended", "currency": "TRY"})
            yield LandOther("pledges", pledge)
        if "money" in features and draw(now_and_then(3)):
            follow = {"userId": draw(st.sampled_from(PEOPLE)), "creatorId": "ada", "deleted": draw(st.booleans())}
            yield LandOther("follows", follow | {"updatedAt": at})
        if "bans" in features and draw(now_and_then(5)):
            status = draw(st.sampled_from(["banned", "active"]))
            yield LandOther("creators", {"_id": "bob", "username": "bob", "status": status, "updatedAt": at})
        if "erasures" in features and draw(now_and_then(6)):
            yield LandOther("erasures", {"userId": draw(st.sampled_from(PEOPLE))})

    def lost() -> Iterator[Lose]:
        if "lost" in features and draw(now_and_then(3)):
            yield Lose(draw(st.none() | st.integers(0, 23)), draw(st.sampled_from([1, 2, 3])))

    def afterwards() -> Iterator[Step]:
        if "rollback" in features and draw(now_and_then(6)):
            yield RollBack()
        if "forget" in features and draw(now_and_then(4)):
            yield Forget(draw(st.sampled_from(PEOPLE)), draw(st.booleans()))
        if "retention" in features and draw(now_and_then(4)):
            yield Prune(draw(st.sampled_from([30, 1])))
        if "rollback" in features and draw(now_and_then(6)):
            yield Release()

    old = 2 * window + 31 + draw(st.integers(0, 31))
    nights = draw(st.sampled_from([(1, 0), (1, 0), (1, 0), (2, 0), (2, 1, 0), (old, 1, 0), (window, 0)]))
    steps: list[Step] = []
    for number, night in enumerate(nights):
        if number == 0:
            elsewhere = ages("edge", "month", "beyond", "future", "window")
            steps += [habits(night, 2 * window + 2), sessions(night, elsewhere, 0, 6), *others(night)]
        else:
            if (since := nights[number - 1] - night) > 1:
                steps.append(habits(night + 1, min(since - 1, 2 * window + 1)))
            steps.append(habits(night, 1))
            where = draw(st.sampled_from([*["far"] * 8, "edge", "month", "beyond", "window", "future"]))
            steps.append(sessions(night, ages(where), 1, 2))
            steps += [*corrections(), *others(night), *lost()]
            if "redelivery" in features and draw(now_and_then(5)):
                steps.append(Redeliver())
        steps.append(Run(night))
        if night < old and "backfill" in features and draw(now_and_then(5)):
            steps.append(Run(night + draw(st.sampled_from([1, 3, window, horizon, horizon + 31]))))
        steps += afterwards() if number < len(nights) - 1 else []
    return History(last, policy, draw(st.booleans()), tuple(step for step in steps if step != Land(())))


# --- living one ------------------------------------------------------------------------------------------------------


class Home:
    """A home that lives through a history, and fresh ones to compare it with."""

    def __init__(self, folder: Path, history: History) -> None:
        self.folder, self.history = folder, history
        self.world = World(folder / "old", **history.settings)
        self.named = NamedByRows()
        self.rested_on: dict[str, dict[str, int]] = {}  # by snapshot: how many records of each entity had landed
        self.is_pinned = self.is_pruned = False
        self.fresh_homes = 0

    def live(self, ranges: list[tuple[int, int]], *, is_thorough: bool = FULL) -> None:
        """Take every step, and compare after every night."""
        with_fresh = self.history.is_compared_with_fresh
        last_run = max(number for number, step in enumerate(self.history.steps) if isinstance(step, Run))
        for number, step in enumerate(self.history.steps):
            match step:
                case Land(sessions):
                    self._land("viewing_sessions", [each.landed(self.history.last) for each in sessions])
                case LandOther(entity, record):
                    self._land(entity, [record])
                case Redeliver():
                    self._land("viewing_sessions", list(reversed(self.world.landed["viewing_sessions"])))
                case Lose():
                    self._lose(step)
                case Run(ago):
                    self._run(
                        self.history.last - ago * DAY,
                        ranges,
                        with_fresh=is_thorough or (with_fresh and number == last_run),
                        with_audit=is_thorough or number == last_run,
                    )
                case Forget():
                    self._forget(step)
                case Prune():
                    self._prune(step)
                case RollBack():
                    self._roll_back()
                case Release():
                    manifest.release(self.world.settings.snapshots)
                    self.is_pinned = False

    def _land(self, entity: str, records: list[dict[str, Any]]) -> None:
        path = self.world.land(entity, records)
        with path.open("a") as file:  # the same bytes would be read once
            file.write("\n" * len(list(path.parent.iterdir())))

    def _lose(self, step: Lose) -> None:
        folders = sorted(path for path in self.world.settings.lake.iterdir() if path.is_dir() and path.name != "raw")
        for folder in folders if step.model is None else [folders[step.model % len(folders)]]:
            for path in sorted(folder.rglob("*.parquet"))[:: step.every]:
                path.unlink()
                path.with_suffix(".json").unlink()

    def _run(self, as_of: date, ranges: list[tuple[int, int]], *, with_fresh: bool, with_audit: bool) -> None:
        before = self.world.current()
        try:
            night = self.world.run(as_of, compare=False, night=EVERYTHING_ALLOWED)
        except UsageError as error:
            if not self.is_pruned or "were removed" not in str(error):  # no other run is refused
                raise
            return
        self._compare(night, ranges)
        if with_audit:
            assert audit(night.settings, night.snapshot, 1).differences == []
        self.named.look_at(self.world.settings.lake)
        if self.is_pinned:
            assert self.world.current() == before, "what is pinned stays"
        elif as_of >= date.fromisoformat((before or "0001-01-01")[:10]):
            assert self.world.current() == night.snapshot_id
        self.rested_on[night.snapshot_id] = {entity: len(landed) for entity, landed in self.world.landed.items()}
        if with_fresh:
            assert night.snapshot_id == self._fresh_id(as_of, self.rested_on[night.snapshot_id])

    def _compare(self, night: Night, ranges: list[tuple[int, int]]) -> None:
        """The cube, plain SQL and the oracle."""
        self.world.compare(night)
        as_of, days = night.snapshot.as_of, night.settings.max_window_days
        right = self.world.oracle(as_of)
        first_day = as_of - (days + 1) * DAY
        published = [
            tuple(row.values())
            for number in range(days + 1)
            for row in night.rows(f"creator_reach/{first_day + number * DAY}.parquet")
        ]
        assert published == right.cube(first_day, as_of, days)
        spans = [(as_of - first * DAY, as_of - end * DAY) for first, end in ranges if end < first <= min(end, 1) + days]
        spans.append((as_of - days * DAY, as_of))
        counted = plain_sql.counted(self.world.settings.landing, as_of, spans, vars(right.policy), right.erased)
        for span, from_sql in zip(spans, counted, strict=True):
            from_oracle = right.ranking(*span)
            assert [tuple(vars(row).values())[2:7] for row in from_oracle] == from_sql, span
        assert night.top(*spans[0]) == right.ranking(*spans[0]), spans[0]

    def _fresh_id(self, as_of: date, landed: Mapping[str, int]) -> str:
        """The id of one run over the first so many records, and every erasure."""
        self.fresh_homes += 1
        fresh = World(self.folder / f"fresh-{self.fresh_homes}", **self.history.settings)
        for entity, records in self.world.landed.items():
            count = len(records) if entity == "erasures" else landed[entity]
            if count:
                fresh.land(entity, records[:count])
        found = fresh.run(as_of, compare=False, night=EVERYTHING_ALLOWED).snapshot_id
        self.named.look_at(fresh.settings.lake)
        shutil.rmtree(self.folder / f"fresh-{self.fresh_homes}")
        return found

    def _forget(self, step: Forget) -> None:
        """As if an erasure had landed before the current snapshot was published."""
        before = self.world.current()
        forget(self.world.settings, step.user, NOW, landing_too=step.landing_too)
        self.world.landed["erasures"].append({"userId": step.user})
        after = self.world.current()
        assert before is not None
        assert after is not None
        landed = self.rested_on[before]
        assert after == self._fresh_id(date.fromisoformat(after[:10]), landed)
        self.rested_on[after] = landed
        self.named.look_at(self.world.settings.lake)

    def _prune(self, step: Prune) -> None:
        keep_days = self.world.settings.policy.lookback_days
        pruned = dataclasses.replace(self.world.settings, keep_days=keep_days, keep_snapshots=step.keep_snapshots)
        self.is_pruned = bool(prune.prune(pruned).days) or self.is_pruned

    def _roll_back(self) -> None:
        folder = self.world.settings.snapshots
        current = manifest.open_current(folder)
        if any(manifest.age(one) < manifest.age(current) for one in manifest.listed(folder)):
            manifest.roll_back(folder, None)
            self.is_pinned = True


RANGES = st.lists(st.tuples(st.integers(1, 11), st.integers(0, 10)), min_size=1, max_size=1)
# From the eleventh example on hypothesis mutates what it has drawn, and most are near copies: tests of ten have none.
PART = min(10, HISTORIES)


@pytest.mark.slow
@pytest.mark.timeout(3600 if FULL else 600)  # on a busy machine a part takes long
@pytest.mark.parametrize("part", range(-(-HISTORIES // PART)))
def test_every_night_is_right(part: int) -> None:
    """Whatever lands when, and whatever becomes of the home between the nights."""

    @seed(SEED + part)
    @settings(max_examples=PART, print_blob=True)
    @given(history=histories(), ranges=RANGES)
    def check(history: History, ranges: list[tuple[int, int]]) -> None:
        assume(sum(len(step.sessions) for step in history.steps if isinstance(step, Land)) > 1)
        note(f"SEED={SEED}, part {part}, ranges {ranges}")
        live(history, ranges)

    check()
    if FULL:
        print(f"{PART * (part + 1)} histories, SEED={SEED}", flush=True)


def live(history: History, ranges: list[tuple[int, int]]) -> None:
    """Let a home of its own live through a history."""
    with tempfile.TemporaryDirectory(prefix="long-history-") as folder:
        Home(Path(folder), history).live(ranges)
