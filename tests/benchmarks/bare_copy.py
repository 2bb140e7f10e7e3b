"""DuckDB's bare copy of NDJSON to Parquet: `python -m tests.benchmarks.bare_copy FILE TARGET [--ignore-errors]`."""

from __future__ import annotations

import json
import sys
import time

import duckdb

_COLUMNS = {
    "sessionId": "VARCHAR",
    "creatorId": "VARCHAR",
    "viewerId": "VARCHAR",
    "deviceId": "VARCHAR",
    "streamId": "VARCHAR",
    "source": "VARCHAR",
    "startedAt": "TIMESTAMPTZ",
    "endedAt": "TIMESTAMPTZ",
    "revision": "BIGINT",
    "deleted": "BOOLEAN",
}


def main(source: str, target: str, ignore_errors: bool) -> None:
    """Copy, and print the rows and the seconds without the start of the process."""
    started = time.perf_counter()
    columns = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items()) + "}"
    rows = duckdb.execute(
        f"""
        copy (
            select *
            from read_json('{source}', format = 'newline_delimited', columns = {columns},
                           ignore_errors = {str(ignore_errors).lower()})
        ) to '{target}' (format parquet, compression zstd)
        """
    ).fetchall()
    print(json.dumps({"rows": rows[0][0], "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--ignore-errors" in sys.argv[3:])
