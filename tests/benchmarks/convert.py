"""Make what the peers read: `python -m tests.benchmarks.convert RAW TARGET DAY...`.

One Parquet file a UTC day of startedAt, with the columns that the question needs and no others; own views, which the
product leaves out by its policy, are left out here, so that a peer's query is the plain one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

ROW_GROUP_ROWS = 122_880  # DuckDB's own


def main(raw: Path, target: Path, days: list[str]) -> None:
    """Convert those days that are not there yet."""
    target.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        for day in days:
            final = target / f"{day}.parquet"
            if final.exists():
                continue
            unfinished = final.with_suffix(".part")
            connection.execute(
                f"""
                copy (
                    select creator_id, viewer_id, started_at, ended_at
                    from read_parquet('{raw}/viewing_sessions/*/{day}.parquet')
                    where viewer_id is null or viewer_id <> creator_id
                ) to '{unfinished}' (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})
                """
            )
            unfinished.rename(final)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
