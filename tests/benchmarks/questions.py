"""An analyst's questions to a published snapshot, in one process, as an analyst asks them.

    python -m tests.benchmarks.questions WAREHOUSE AS_OF DAYS

asks the table macro `reach` of warehouse.duckdb for every range of whole days inside the DAYS days before AS_OF: first
the 100 creators with the most distinct viewers, then the reach of one creator, another one each time. It prints
{"tops": [[first, end, seconds, rows], ...], "reaches": [[first, end, creator, seconds, viewers], ...]}.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date, timedelta
from itertools import cycle
from typing import Any

import duckdb

from tests.benchmarks.peers import TOP


def ranges(as_of: date, days: int) -> list[tuple[date, date]]:
    """Every range of whole days inside the `days` days before `as_of`, the longest first."""
    day = [as_of - timedelta(days=days - n) for n in range(days + 1)]
    return [(day[n], day[n + long]) for long in range(days, 0, -1) for n in range(days - long + 1)]


def main(warehouse: str, as_of: date, days: int) -> None:
    """Ask, and print."""
    tops: list[list[Any]] = []
    reaches: list[list[Any]] = []
    with duckdb.connect(warehouse, read_only=True) as connection:
        connection.execute(f"from reach('{as_of - timedelta(days=1)}', '{as_of}')").fetchall()  # warm, as the peers are
        for first, end in ranges(as_of, days):
            started = time.perf_counter()
            rows = connection.execute(
                f"""
                select creator_id, viewers from reach('{first}', '{end}')
                order by viewers desc, creator_id limit {TOP}
                """
            ).fetchall()
            tops.append([str(first), str(end), time.perf_counter() - started, rows])
        creators = cycle([creator for creator, _ in tops[0][3]])
        for (first, end), creator in zip(ranges(as_of, days), creators, strict=False):
            started = time.perf_counter()
            found = connection.execute(
                f"select viewers from reach('{first}', '{end}') where creator_id = $creator", {"creator": creator}
            ).fetchone()
            seconds = time.perf_counter() - started
            reaches.append([str(first), str(end), creator, seconds, found[0] if found else 0])
    print(json.dumps({"tops": tops, "reaches": reaches}))


if __name__ == "__main__":
    main(sys.argv[1], date.fromisoformat(sys.argv[2]), int(sys.argv[3]))
