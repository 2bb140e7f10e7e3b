"""Write the landed files of some days of a synthetic platform: `python -m tests.benchmarks.landing --help`.

The platform is the product's own (`mostwatched generate --mess 0`: Zipf-like creators, faithful viewers, anonymous
devices, sessions over midnight), so that one session is one line. Two things are left out, so that the plain question
"the most distinct signed-in viewers" is the whole question, for the product and its peers alike: no user is erased and
no creator is banned or deleted.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from pipelines.generate import records, sessions

SESSION_PREFIX = b'"sessionId":"5e551045'  # how every session id begins


def platform(sessions_per_day: int, days: int, seed: int, as_of: date) -> sessions.Platform:
    """The platform that `generate` makes of these, without mess."""
    creators = max(10, sessions_per_day // 100)
    return sessions.Platform(
        seed=seed,
        first_day=as_of - timedelta(days=days),
        days=days,
        sessions_per_day=sessions_per_day,
        creators=creators,
        viewers=max(10, sessions_per_day * 2),
        streams=max(5, creators // 5),
        mess=0.0,
    )


def write_sessions(made: sessions.Platform, day: int, directory: Path) -> None:
    """The viewing sessions that land on the `day`-th day."""
    _, chunks = sessions.landed_on(made, day)
    _write(directory / "viewing_sessions" / f"{made.first_day + timedelta(days=day)}.ndjson", chunks)


def write_records(made: sessions.Platform, directory: Path) -> None:
    """Everything that is not a session, of all days."""
    cast = records.Cast(
        seed=made.seed,
        first_day=made.first_day,
        days=made.days,
        creators=made.creators,
        viewers=made.viewers,
        streams=made.streams,
        scheduled=max(5, made.streams // 2),
        creator_id=partial(sessions.object_id, made, "creator"),
        viewer_id=partial(sessions.object_id, made, "viewer"),
        stream_id=partial(sessions.object_id, made, "stream"),
    )
    by_file: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for entity, day, record in records.landings(cast):
        if entity == "erasures":
            continue
        landed = record | {"status": "active"} if entity == "creators" else record
        line = json.dumps(landed, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        by_file[entity, day].append(line)
    for (entity, day), lines in by_file.items():
        _write(directory / entity / f"{made.first_day + timedelta(days=day)}.ndjson", lines)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.writelines(chunks)
    unfinished.rename(path)


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.landing")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sessions", type=int, required=True, help="a day")
    parser.add_argument("--days", type=int, required=True, help="of the whole platform")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--as-of", type=date.fromisoformat, required=True, help="the day after the last")
    parser.add_argument("--first", type=int, required=True, help="number of the first day whose sessions to write")
    parser.add_argument("--end", type=int, required=True, help="number of the day after the last")
    parser.add_argument("--records", action="store_true", help="write everything else, too")
    asked = parser.parse_args()
    made = platform(asked.sessions, asked.days, asked.seed, asked.as_of)
    if asked.records:
        write_records(made, asked.directory)
    for day in range(asked.first, asked.end):
        write_sessions(made, day, asked.directory)


if __name__ == "__main__":
    main()
