"""Synthetic viewing sessions: what lands on each day, as bytes.

A session is a pure function of (seed, day, row); its revisions are functions of the session. So the file of
any day is written without the others, in memory for that day alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import polars as pl

from pipelines.landing.synthetic.draws import Draws, Popularity, hexadecimal, hexadecimal_of_one

DAY = 86_400_000  # milliseconds
_HOUR = 3_600_000
_MOST_ROWS = 1 << 32  # of one day; the counter of a session is day * _MOST_ROWS + row

# Of every day's sessions, the share that does not simply land once, whole, on its day. Multiplied by `mess`.
_SHARES = {
    "late": 0.02,  # lands one to three days later
    "open": 0.05,  # lands open, and again when it has ended
    "corrected": 0.005,  # lands again one to three days later with other times, half of them on another day
    "retracted": 0.003,  # lands again a day later as deleted
    "repeated": 0.005,  # lands again as it was, in the same file and in the next day's
    "overlong": 0.0005,  # longer than a day: nobody believes it
    "instant": 0.002,  # of zero length
}
_OWN_VIEWS = 0.002  # of all sessions; part of the platform, not of the mess
_LONGEST_DELAY = 3  # days
_CHUNK = 200_000  # lines formatted at once, by each of two threads

_SOURCES = ("web", "ios", "android", "")


@dataclass(frozen=True)
class Platform:
    """What a synthetic platform is made from. The same values make the same bytes."""

    seed: int
    first_day: date
    days: int
    sessions_per_day: int
    creators: int
    viewers: int
    streams: int  # the first of them belong to the most popular creators, one each
    mess: float

    @property
    def as_of(self) -> date:
        """The day after the last one."""
        return self.first_day + timedelta(days=self.days)

    def draws(self, name: str) -> Draws:
        """The stream of that name."""
        return Draws(self.seed, name)

    @cached_property
    def popularity(self) -> Popularity:
        """Of the creators."""
        return Popularity(self.creators)

    def spans(self) -> dict[str, range]:
        """The rows of a day that each kind of mess befalls; the same for every day."""
        spans, start = {}, 0
        for kind, share in _SHARES.items():
            count = min(int(self.sessions_per_day * share * self.mess), self.sessions_per_day - start)
            spans[kind] = range(start, start + count)
            start += count
        own = min(int(self.sessions_per_day * _OWN_VIEWS), self.sessions_per_day - start)
        return spans | {"own": range(start, start + own)}


# Ids of 24 hexadecimal digits: eight that tell what it is, and a draw.
_ID_PREFIXES = {
    "session": "5e551045",
    "creator": "5c4ea704",
    "viewer": "51e3e400",
    "device": "5de51ce0",
    "stream": "5745ea30",
}


def object_id(platform: Platform, kind: str, number: int) -> str:
    """The id of the `number`-th creator, viewer, stream, ..."""
    return _ID_PREFIXES[kind] + hexadecimal_of_one(platform.draws(f"id of {kind}").one(number))


def _object_ids(platform: Platform, kind: str, numbers: pl.Series) -> pl.Series:
    digits = hexadecimal(platform.draws(f"id of {kind}").column(numbers.cast(pl.UInt64)))
    return (_ID_PREFIXES[kind] + digits).alias(kind)


def landed_on(platform: Platform, day: int) -> tuple[int, Iterator[bytes]]:
    """(records, chunks of NDJSON) of the viewing sessions that land on the `day`-th day, by time of day."""
    arrived = _arrived_on(platform, day)
    return len(arrived), _formatted(platform, arrived)


def _formatted(platform: Platform, arrived: pl.DataFrame) -> Iterator[bytes]:
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda rows: _lines(platform, rows), arrived.iter_slices(_CHUNK))


def _arrived_on(platform: Platform, day: int) -> pl.DataFrame:
    """The versions of sessions that land on that day, as numbers."""
    spans = platform.spans()
    on_time = _sessions(platform, day, range(len(spans["late"]), platform.sessions_per_day))
    still_open = pl.col("row").is_between(spans["open"].start, spans["open"].stop, closed="left")
    parts = [
        on_time.with_columns(pl.when(~still_open).then("ended").alias("ended")),
        *_closed(platform, day, spans["open"]),
        _sessions(platform, day, spans["repeated"]),
    ]
    if day > 0:
        parts.append(_sessions(platform, day - 1, spans["repeated"]))
        retracted = _sessions(platform, day - 1, spans["retracted"])
        parts.append(retracted.with_columns(revision=pl.lit(1, pl.Int64), deleted=pl.lit(value=True)))
    for delay in range(1, min(_LONGEST_DELAY, day) + 1):
        is_due = pl.col("delay") == delay
        parts.append(_sessions(platform, day - delay, spans["late"]).filter(is_due))
        parts.append(_corrected(_sessions(platform, day - delay, spans["corrected"]).filter(is_due)))
    order = [pl.col("started") % DAY, "counter", "revision"]
    return pl.concat(parts).sort(order, maintain_order=True)


def _closed(platform: Platform, day: int, span: range) -> list[pl.DataFrame]:
    """Later versions of sessions that landed open: on the day they ended."""
    start = _midnight(platform, day)
    ended_today = pl.col("ended").is_between(start, start + DAY, closed="left")
    days = [day - 1, day] if day else [day]
    return [
        _sessions(platform, started, span).filter(ended_today).with_columns(revision=pl.lit(1, pl.Int64))
        for started in days
    ]


def _corrected(rows: pl.DataFrame) -> pl.DataFrame:
    """The same sessions as known better: half of them a day earlier, the others up to an hour longer."""
    is_moved = pl.col("counter") % 2 == 0
    moved_by = pl.when(is_moved).then(-DAY).otherwise(0)
    longer_by = pl.when(is_moved).then(0).otherwise(pl.col("started") % _HOUR)
    return rows.with_columns(
        started=pl.col("started") + moved_by,
        ended=pl.col("ended") + moved_by + longer_by,
        revision=pl.lit(1, pl.Int64),
    )


def _sessions(platform: Platform, day: int, rows: range) -> pl.DataFrame:
    """The sessions that those rows of that day really are; instants in milliseconds since 1970."""
    spans = platform.spans()
    row = pl.int_range(rows.start, rows.stop, dtype=pl.Int64, eager=True)
    counter = (row + day * _MOST_ROWS).cast(pl.UInt64)

    def below(name: str, bound: int) -> pl.Series:
        return platform.draws(name).column_below(counter, bound)

    # The sum of two even draws peaks in the middle: 20:00 UTC.
    started = (below("start", DAY // 2) + below("start, too", DAY // 2) + 8 * _HOUR) % DAY
    # Doubling steps from half a minute to an hour: most are short, most of the time is in the long ones.
    shortest = 30_000 * pl.Series([1 << step for step in range(8)], dtype=pl.Int64).gather(below("length", 8))
    stretch = below("stretch", 1024)
    # The lesser of two even draws: the first viewers watch the most.
    viewer = _lesser(below("viewer", platform.viewers), below("viewer, too", platform.viewers))
    slot = _lesser(below("slot", 4), below("slot, too", 4))
    favourite = platform.draws("favourite").column((viewer * 4 + slot).cast(pl.UInt64))
    any_creator = platform.draws("creator").column(counter)
    frame = pl.DataFrame(
        {
            "row": row,
            "counter": counter,
            "started": started + _midnight(platform, day),
            "length": shortest + shortest * stretch // 1024,
            "viewer": viewer,
            "kind": below("kind", 1000),
            "favourite": platform.popularity.column(favourite),
            "any_creator": platform.popularity.column(any_creator),
            "source": below("source", len(_SOURCES)),
            "delay": below("delay", _LONGEST_DELAY) + 1,
        }
    )
    kind = pl.col("kind")  # 0-4 neither id, 5-149 anonymous, the rest signed in
    lengthened = (
        pl.when(_within(spans["overlong"])).then(pl.col("length") + 25 * _HOUR)
        .when(_within(spans["instant"])).then(0)
        .otherwise(pl.col("length"))
    )  # fmt: skip
    return frame.select(
        "row",
        "counter",
        "started",
        (pl.col("started") + lengthened).alias("ended"),
        pl.when(kind % 3 == 0).then("any_creator").otherwise("favourite").alias("creator"),
        pl.when(kind >= 150).then("viewer").alias("viewer"),
        pl.when((kind >= 5) & ((kind < 150) | (kind % 2 == 0))).then("viewer").alias("device"),
        _within(spans["own"]).alias("is_own"),
        "source",
        "delay",
        pl.lit(0, pl.Int64).alias("revision"),
        pl.lit(value=False).alias("deleted"),
    )


def _within(span: range) -> pl.Expr:
    return pl.col("row").is_between(span.start, span.stop, closed="left")


def _lesser(one: pl.Series, other: pl.Series) -> pl.Series:
    return pl.select(pl.min_horizontal(one, other.alias("other"))).to_series()


def _midnight(platform: Platform, day: int) -> int:
    start = datetime.combine(platform.first_day, datetime.min.time(), UTC) + timedelta(days=day)
    return int(start.timestamp()) * 1000


_SECONDS = pl.Series([f"T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}." for s in range(86_400)])
_MILLISECONDS = pl.Series([f"{ms:03}Z" for ms in range(1000)])


def _instants(platform: Platform, milliseconds: pl.Series) -> pl.Series:
    """RFC 3339 in UTC, to the millisecond. Looked up rather than formatted: ten times as fast."""
    first = platform.first_day - timedelta(days=2)  # a correction may move a session a day back
    dates = pl.Series([(first + timedelta(days=n)).isoformat() for n in range(platform.days + 6)])
    day = milliseconds // DAY - (first - date(1970, 1, 1)).days
    return dates.gather(day) + _SECONDS.gather(milliseconds % DAY // 1000) + _MILLISECONDS.gather(milliseconds % 1000)


def _lines(platform: Platform, rows: pl.DataFrame) -> bytes:
    """NDJSON of those versions. A field that is null is left out, but for endedAt."""
    creator = _object_ids(platform, "creator", rows["creator"])
    viewer = _object_ids(platform, "viewer", rows["viewer"])
    texts = pl.DataFrame(
        {
            "session": _object_ids(platform, "session", rows["counter"]),
            "creator": creator,
            "viewer": pl.select(pl.when(rows["is_own"]).then(creator).otherwise(viewer)).to_series(),
            "device": _object_ids(platform, "device", rows["device"]),
            "stream": _object_ids(platform, "stream", rows["creator"]),
            "started": _instants(platform, rows["started"]),
            "ended": _instants(platform, rows["ended"]),
            "source": pl.Series(_SOURCES).gather(rows["source"]),
        }
    )
    has_stream = rows["creator"] < platform.streams
    lines = texts.select(
        pl.concat_str(
            pl.lit('{"sessionId":"'), "session", pl.lit('","creatorId":"'), "creator",
            pl.concat_str(pl.lit('","viewerId":"'), "viewer"),
            pl.concat_str(pl.lit('","deviceId":"'), "device"),
            pl.when(has_stream).then(pl.concat_str(pl.lit('","streamId":"'), "stream")),
            pl.when(pl.col("source") != "").then(pl.concat_str(pl.lit('","source":"'), "source")),
            pl.lit('","startedAt":"'), "started",
            pl.concat_str(pl.lit('","endedAt":"'), "ended", pl.lit('"')).fill_null('","endedAt":null'),
            pl.when(rows["revision"] > 0).then(pl.lit(',"revision":') + rows["revision"].cast(pl.String)),
            pl.when(rows["deleted"]).then(pl.lit(',"deleted":true')),
            pl.lit("}\n"),
            ignore_nulls=True,
        )
    ).to_series()  # fmt: skip
    # The values of one Arrow array of strings lie one behind the other: they are the file's bytes.
    arrow = lines.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return arrow.buffers()[2].to_pybytes() if len(arrow) else b""
