"""Write the landed files of some days of a synthetic platform: `python -m tests.benchmarks.landing --help`.

The platform is the product's own (`mostwatched generate --mess 0`: Zipf-like creators, faithful viewers, anonymous
devices, sessions over midnight), so that one session is one line. Two things are left out, so that the plain question
"the most distinct signed-in viewers" is the whole question, for the product and its peers alike: no user is erased and
no creator is banned or deleted.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

from pipelines.landing.synthetic import LandingWriter, cast_of, line_of, platform_of, records, sessions

SESSION_PREFIX = b'"sessionId":"5e551045'  # how every session id begins


def write_sessions(made: sessions.Platform, day: int, landing: LandingWriter) -> None:
    """The viewing sessions that land on the `day`-th day."""
    count, chunks = sessions.landed_on(made, day)
    landing.write(f"viewing_sessions/{made.first_day + timedelta(days=day)}.ndjson", chunks, records=count)


def write_records(made: sessions.Platform, landing: LandingWriter) -> None:
    """Everything that is not a session, of all days."""
    by_file: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for entity, day, record in records.landings(cast_of(made)):
        if entity == "erasures":
            continue
        landed = record | {"status": "active"} if entity == "creators" else record
        by_file[entity, day].append(line_of(landed))
    for (entity, day), lines in by_file.items():
        landing.write(f"{entity}/{made.first_day + timedelta(days=day)}.ndjson", lines, records=len(lines))


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
    made = platform_of(days=asked.days, sessions_per_day=asked.sessions, seed=asked.seed, as_of=asked.as_of, mess=0.0)
    landing = LandingWriter(asked.directory, compress=False)
    if asked.records:
        write_records(made, landing)
    for day in range(asked.first, asked.end):
        write_sessions(made, day, landing)


if __name__ == "__main__":
    main()
