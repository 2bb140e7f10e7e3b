"""Every time zone there is: as the zone of the process, which must change nothing, and as that of the policy's days."""

from __future__ import annotations

import calendar
import os
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.parquet as pq
from noise import land_noise
from world import World

from faults.campaign import Effort, Figure
from faults.forked import ChildFailed, in_child
from pipelines.raw.rejected_records import rejected_records

# Days that were left out, half-hour clock changes, offsets of 14 hours and of 45 minutes, changes at midnight.
ODD = ("Europe/Istanbul", "Pacific/Apia", "Australia/Lord_Howe", "Pacific/Kiritimati", "America/New_York",
       "Asia/Kathmandu", "America/Sao_Paulo", "Africa/Casablanca", "Antarctica/Troll", "Pacific/Niue")  # fmt: skip
ACCEPT = {"accept_rejects": True, "allow_incomplete": True}
LINES = [
    '{"sessionId":"n1","creatorId":"ada","startedAt":"2026-01-05T10:00:00"}',  # no offset
    '{"sessionId":"n2","creatorId":"ada","startedAt":"2026-03-29T02:30:00+01:00"}',  # a gap in Berlin
    '{"sessionId":"n3","creatorId":"ada","startedAt":"2026-01-05"}',
    '{"sessionId":"n4","creatorId":"ada","startedAt":"2026-01-05T23:59:59.9999-11:30"}',
    '{"sessionId":"n5","creatorId":"ada","startedAt":{"$date":"2026-01-06T01:00:00"}}',
    '{"sessionId":"n6","creatorId":"ada","startedAt":{"$date":{"$numberLong":"1767571200000"}}}',
]
Known = tuple[str, list[tuple[object, ...]]]


def attack(effort: Effort, folder: Path) -> Iterator[Figure]:
    """Two figures: zones of the process, and zones of the policy."""
    names = sorted(available_timezones())
    draw = effort.random("zones")

    def some(count: int) -> list[str]:
        odd = [name for name in ODD if name in names][:count]
        return names if effort.full else [*odd, *draw.sample(sorted(set(names) - set(odd)), count - len(odd))]

    yield _of_the_process(effort.random("process"), folder, some(12))
    yield _of_the_policy(effort.random("policy"), folder, some(25))


def _of_the_process(draw: Random, folder: Path, names: list[str]) -> Figure:
    figure = Figure("zones of the process that leave the id and every reject alone")
    seed = draw.randrange(1 << 30)
    right = in_child(_night_in, "UTC", seed, folder / "UTC")
    for name in names:
        here = folder / name.replace("/", "-")
        try:
            found = in_child(_night_in, name, seed, here)
            figure.check(found == right, f"TZ={name}: {str(found)[:300]} instead of {str(right)[:300]}")
        except ChildFailed as error:
            figure.check(False, f"TZ={name}: {error}")
        shutil.rmtree(here, ignore_errors=True)
    return figure


def _night_in(zone: str, seed: int, folder: Path) -> Known:
    """(the id, every rejected record) of a night over every format, run where the wall clock is that of `zone`."""
    os.environ["TZ"] = zone
    time.tzset()
    world = World(folder)
    land_noise(world, seed=seed, sessions=12, days=4)
    world.land_text("viewing_sessions", "\n".join(LINES), "odd.ndjson")
    text = (
        "sessionId,creatorId,startedAt,endedAt\nc1,bob,2026-01-07T23:30:00Z,2026-01-08T00:30:00Z\nc2,bob,2026-01-07,\n"
    )
    world.land_text("viewing_sessions", text, "flat.csv")
    instants = pa.array([1767825000000, 1767826800000], pa.timestamp("ms", "Europe/Istanbul"))
    rows = {"sessionId": ["q1", "q2"], "creatorId": ["eve", "eve"], "startedAt": instants}
    pq.write_table(pa.table(rows), world.settings.landing / "viewing_sessions/columns.parquet")
    naive = rows | {"sessionId": ["q3", "q4"], "startedAt": instants.cast("int64").cast(pa.timestamp("ms"))}
    pq.write_table(pa.table(naive), world.settings.landing / "viewing_sessions/naive.parquet")
    night = world.run(compare=False, night=ACCEPT)
    return night.snapshot_id, [tuple(vars(record).values()) for record in rejected_records(world.settings)]


def _of_the_policy(draw: Random, folder: Path, names: list[str]) -> Figure:
    figure = Figure("zones of the policy's days that are as the oracle says")
    seeds = {as_of: draw.randrange(1 << 30) for as_of in _AS_OF}
    for first in range(0, len(names), 20):  # the records are parsed once for so many
        try:
            wrong = in_child(_nights_of, names[first : first + 20], seeds, folder / f"policy {first}")
        except ChildFailed as error:
            wrong = {names[first]: str(error)}
        for name in names[first : first + 20]:
            figure.check(name not in wrong, f"{name} (seeds {seeds}): {wrong.get(name)}")
        shutil.rmtree(folder / f"policy {first}", ignore_errors=True)
    return figure


# Around the clock changes of both hemispheres, and the day that Samoa left out.
_AS_OF = (date(2026, 3, 30), date(2026, 11, 2), date(2012, 1, 2))


def _nights_of(names: list[str], seeds: dict[date, int], folder: Path) -> dict[str, str]:
    """What was wrong, by zone; each has a night around one of the dates."""
    wrong: dict[str, str] = {}
    worlds = {}
    for as_of in _AS_OF:
        worlds[as_of] = World(folder / str(as_of))
        land_noise(worlds[as_of], seed=seeds[as_of], sessions=0)
        _land_around(worlds[as_of], as_of, Random(seeds[as_of]))
    for name in names:
        as_of = _AS_OF[2] if name in ("Pacific/Apia", "Pacific/Fakaofo") else _AS_OF[len(name) % 2]
        try:
            worlds[as_of].run(as_of, night=ACCEPT, day_timezone=name)
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {str(error)[:400]}"
    return wrong


def _land_around(world: World, as_of: date, draw: Random) -> None:
    """Sessions of the days around an as_of, many of which begin or end near a full or half hour of some zone."""
    sessions = []
    midnight = calendar.timegm(as_of.timetuple())
    for number in range(60):
        quarter = midnight - draw.randrange(5 * 24 * 4) * 900 + 2 * 86400
        starts = quarter * 1000 + draw.choice([0, 0, 1, -1, 450_000])
        ends = starts + draw.choice([0, 1, 900_000, 3_600_000, 86_400_000])
        sessions.append(
            {
                "sessionId": f"s{number}",
                "creatorId": draw.choice(["ada", "bob"]),
                "viewerId": f"v{draw.randrange(6)}",
                "startedAt": _text(starts),
                "endedAt": _text(ends),
            }
        )
    world.land("viewing_sessions", sessions)


def _text(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:03}Z"
