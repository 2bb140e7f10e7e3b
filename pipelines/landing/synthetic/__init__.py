"""A synthetic platform in the landing format: every entity, any size, as untidy as real data is.

The same arguments give the same bytes on every machine: nothing here asks the clock, the hash seed or a
library's random number generator (see draws.py). Sessions are made a column at a time, so a benchmark can
have millions of them a day.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from itertools import chain
from pathlib import Path

from pipelines.core.errors import UsageError
from pipelines.landing.synthetic import records, sessions

_YEARS = (1900, 9000)  # profiles are older than the first day, and streams are planned after the last one
_MOST_A_DAY = 1 << 31  # sessions; draws have 32 bits
# Lines that must be rejected, each for another reason; at most one in a thousand of a day's sessions.
_BROKEN_LINES = (
    b'{"sessionId":"cut off in the mid\n',
    b'{"sessionId":"5e551045ffffffffffffff01","creatorId":"5c4ea70400000000ffffffff","startedAt":"2026-13-05T10:00:00Z"}\n',
    b'{"sessionId":"5e551045ffffffffffffff02","startedAt":"2026-01-05T10:00:00Z","endedAt":null}\n',
)


@dataclass(frozen=True)
class GeneratedSummary:
    """What `generate` wrote."""

    first_day: date
    as_of: date  # the day after the last
    files: int
    bytes: int
    records: dict[str, int]  # by entity; every line counts, also repeated and broken ones

    def as_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self) | {"first_day": self.first_day.isoformat(), "as_of": self.as_of.isoformat()}


def generate(
    directory: Path,
    *,
    days: int,
    sessions_per_day: int,
    seed: int,
    as_of: date,
    creators: int | None = None,
    viewers: int | None = None,
    mess: float = 1.0,
    compress: bool = False,
    progress: Callable[[str], None] | None = None,
) -> GeneratedSummary:
    """Write a platform of `days` days before `as_of` under `directory`, one file per entity and day.

    `sessions_per_day` viewing sessions start on every day; without `creators` and `viewers` there is one
    creator for a hundred of them and twice as many viewers. `mess` scales the share of sessions that arrive
    late, open, corrected, retracted, twice or broken: 0 is none, 1 about a tenth. `compress` writes
    .ndjson.gz: the same lines everywhere, though compressed bytes depend on the machine's zlib. Files are
    replaced whole; `progress` is told about each day. Raises UsageError for a platform that cannot be.
    """
    platform = platform_of(
        days=days,
        sessions_per_day=sessions_per_day,
        seed=seed,
        as_of=as_of,
        creators=creators,
        viewers=viewers,
        mess=mess,
    )
    landing = LandingWriter(directory, compress=compress)
    _write_records(platform, landing)
    broken = _BROKEN_LINES[: sessions_per_day // 1000] if mess else ()
    for day in range(days):
        count, chunks = sessions.landed_on(platform, day)
        name = f"viewing_sessions/{platform.first_day + timedelta(days=day)}.ndjson"
        landing.write(name, chain(chunks, broken), records=count + len(broken))
        if progress is not None:
            progress(f"{platform.first_day + timedelta(days=day)}: {count:,} sessions landed")
    return GeneratedSummary(
        first_day=platform.first_day,
        as_of=as_of,
        files=landing.files,
        bytes=landing.bytes,
        records=dict(landing.records),
    )


def platform_of(
    *,
    days: int,
    sessions_per_day: int,
    seed: int,
    as_of: date,
    creators: int | None = None,
    viewers: int | None = None,
    mess: float = 1.0,
) -> sessions.Platform:
    """The platform that `generate` writes for these arguments. Raises UsageError for one that cannot be."""
    creators = creators if creators is not None else max(10, sessions_per_day // 100)
    viewers = viewers if viewers is not None else max(10, sessions_per_day * 2)
    _check(days=days, sessions_per_day=sessions_per_day, creators=creators, viewers=viewers, mess=mess)
    if not _YEARS[0] <= as_of.year <= _YEARS[1] or days > (as_of - date(_YEARS[0], 1, 1)).days:
        raise UsageError(
            f"A platform of {days} days before {as_of} cannot be: its days lie in the years {_YEARS[0]} to {_YEARS[1]}."
        )
    return sessions.Platform(
        seed=seed,
        first_day=as_of - timedelta(days=days),
        days=days,
        sessions_per_day=sessions_per_day,
        creators=creators,
        viewers=viewers,
        streams=max(5, creators // 5),
        mess=mess,
    )


def _check(*, days: int, sessions_per_day: int, creators: int, viewers: int, mess: float) -> None:
    for name, value, least in (
        ("days", days, 1),
        ("sessions per day", sessions_per_day, 0),
        ("creators", creators, 10),
        ("viewers", viewers, 10),
    ):
        if not least <= value < _MOST_A_DAY:
            raise UsageError(f"{name} is {value}: it must be from {least} to {_MOST_A_DAY - 1}.")
    if not 0 <= mess <= 5:
        raise UsageError(f"mess is {mess}: it must be from 0 (everything arrives once, whole and in time) to 5.")


def cast_of(platform: sessions.Platform) -> records.Cast:
    """Whom and what a platform's records are about."""
    return records.Cast(
        seed=platform.seed,
        first_day=platform.first_day,
        days=platform.days,
        creators=platform.creators,
        viewers=platform.viewers,
        streams=platform.streams,
        scheduled=max(5, platform.streams // 2),
        creator_id=partial(sessions.object_id, platform, "creator"),
        viewer_id=partial(sessions.object_id, platform, "viewer"),
        stream_id=partial(sessions.object_id, platform, "stream"),
    )


def _write_records(platform: sessions.Platform, landing: LandingWriter) -> None:
    by_file: dict[tuple[str, int], list[records.Record]] = defaultdict(list)
    for entity, day, record in records.landings(cast_of(platform)):
        by_file[entity, day].append(record)
    for (entity, day), landed in sorted(by_file.items()):
        name = f"{entity}/{platform.first_day + timedelta(days=day)}"
        if entity == "lls_streams" and day == 0:  # as the service answers, which may be landed as it is
            answer = json.dumps({"streams": landed}, indent=1, ensure_ascii=False) + "\n"
            landing.write(f"{name}.json", [answer.encode()], records=len(landed))
        else:
            lines = (line_of(record) for record in landed)
            landing.write(f"{name}.ndjson", lines, records=len(landed))


def line_of(record: records.Record) -> bytes:
    """A record as it lands."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class LandingWriter:
    """Writes landed files as a platform should, under another name first, and counts them."""

    def __init__(self, directory: Path, *, compress: bool) -> None:
        self._directory = directory
        self._compress = compress
        self.files = 0
        self.bytes = 0
        self.records: dict[str, int] = defaultdict(int)

    def write(self, name: str, chunks: Iterable[bytes], *, records: int) -> None:
        """Write `<directory>/<name>`, with .gz if this landing is compressed."""
        path = self._directory / (name + (".gz" if self._compress else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as raw:  # no link that somebody put there is followed
            if self._compress:
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=4, mtime=0) as packed:
                    packed.writelines(chunks)
            else:
                raw.writelines(chunks)
        unfinished.replace(path)
        self.files += 1
        self.bytes += path.stat().st_size
        self.records[name.partition("/")[0]] += records
