"""Small landed files of sessions, as a platform lands many: side by side, or in a folder a day."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile

Land = Callable[[str, bytes | str], Path]  # of a name under the landing folder and a content

AT_AN_HOUR = '{"sessionId":"s%d","creatorId":"c%d","viewerId":"v%d","startedAt":"2026-01-%02dT%02d:00:00Z"}\n'
ON_A_DAY = '{"sessionId":"s%d","creatorId":"c%d","viewerId":"v%d","startedAt":"2026-01-%02dT10:00:00Z","app":"tv"}\n'


def session(number: int, day: int = 5) -> str:
    return ON_A_DAY % (number, number % 3, number % 7, day)


def land_files(land: Land, count: int, lines: int = 4, first: int = 0) -> None:
    for file in range(first, first + count):
        text = "".join(session(file * lines + line, 5 + file % 3) for line in range(lines))
        land(f"viewing_sessions/{file:05}.ndjson", text)


def land_days(land: Land, days: int = 4, files: int = 5, first: int = 5) -> None:
    """Small files of sessions in a folder a day, as if they had landed long ago."""
    for day in range(first, first + days):
        for file in range(files):
            number = day * files + file
            text = AT_AN_HOUR % (number, number % 3, number % 7, day, file)
            path = land(f"viewing_sessions/2026-01-{day:02}/{file:02}.ndjson", text)
            os.utime(path, (1_700_000_000, 1_700_000_000))


def session_ids(raw: list[RawFile]) -> Counter[str]:
    """Of the rows in the folders that hold them."""
    tables = [
        folder.landed[0].folder.joinpath(f"{name}.parquet") for folder in folders_of(raw) for name in folder.files
    ]
    return Counter(row for path in tables for row in pq.read_table(path)["session_id"].to_pylist())
