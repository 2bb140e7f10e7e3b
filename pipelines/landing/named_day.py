"""The day that the name of a landed file holds."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache


@lru_cache(maxsize=100_000)  # a backfill asks the same of every file for each of its days
def named_day(name: str) -> date | None:
    """The one date that a path holds; None if it holds none, or several, which say nothing about one day."""
    found = set()
    for year, _, month, day in _DATE.findall(_HIVE.sub("", name) if "=" in name else name):
        try:
            found.add(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return found.pop() if len(found) == 1 else None


_HIVE = re.compile(r"[a-z]+=")  # year=2026/month=01/day=05
_DATE = re.compile(r"(?<!\d)(\d{4})([-_./]?)(\d{2})\2(\d{2})(?:\d{6})?(?!\d)")  # also with a time behind it
