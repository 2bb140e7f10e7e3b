"""What bare Parquet files come to when a bit of them flips: `python -m faults.corruption_bare FOLDER SEED FLIPS`.

A bit is flipped in a Parquet file of FOLDER, every row of it is read through DuckDB, and the bit is flipped back. A
line a flip on stdout: "different", "error" or "unchanged". In a process of its own, which a file may crash.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa


def main(folder: Path, seed: str, flips: int, first: int = 0) -> None:
    """Flip, read, flip back."""
    files = [path for path in sorted(folder.glob("*.parquet")) if _rows(path).num_rows]
    right = {path: _rows(path) for path in files}
    for number in range(first, flips):
        draw = Random(f"{seed} {number}")
        path = draw.choice(files)
        content = bytearray(path.read_bytes())
        byte, bit = draw.randrange(len(content)), draw.randrange(8)
        other = bytes(content[:byte]) + bytes([content[byte] ^ (1 << bit)]) + bytes(content[byte + 1 :])
        damaged = folder / "damaged.bin"
        damaged.write_bytes(other)
        try:
            came = "unchanged" if _rows(damaged).equals(right[path]) else "different"
        except Exception:
            came = "error"
        print(came, flush=True)


def write_sessions(path: Path) -> None:
    """A day of 20,000 sessions as a plain COPY writes it."""
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        connection.execute(
            f"""
            copy (
                select
                    md5('s' || range) as session_id, md5('c' || range % 500) as creator_id,
                    md5('v' || range % 7000) as viewer_id, range % 3 as revision,
                    timestamp '2026-01-30 00:00:00' + interval (range * 7919 % 86400) second as started_at,
                    range * 104729 % 20000 as watched_seconds
                from range(20000)
            ) to '{path}' (format parquet)
            """
        )


def _rows(path: Path) -> pa.Table:
    with duckdb.connect(":memory:", config={"threads": "1", "memory_limit": "500MB"}) as connection:
        return connection.from_parquet(str(path)).to_arrow_table()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
