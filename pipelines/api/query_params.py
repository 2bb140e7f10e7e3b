"""Query parameters of the pages and of the JSON endpoints: a range of days, a part of a ranking, a creator.

Every parameter may be given once, in one spelling. An invalid one is refused with a sentence that names the parameter
and the values it may have; so is one that a JSON endpoint of ours does not know, with the one that was likely meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from pipelines.api import messages
from pipelines.api.answers import Range, RangeNotHeld
from pipelines.api.insight import Insight
from pipelines.core.text import printable

MAX_TEXT = 200  # characters of what is looked for, and of an id; longer ones are nobody's name
DEFAULT_DAYS = 30

_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SNAPSHOT_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{12}")

T = TypeVar("T")


class InvalidParameter(ValueError):
    """A parameter cannot be read or is out of range; the message is for the caller."""


@dataclass(frozen=True)
class Query:
    """The parameters of a request that are known to its endpoint."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """A text, empty when it is not given. Raises InvalidParameter."""
        text = self.values.get(name, "")
        if len(text) > MAX_TEXT:
            raise InvalidParameter(f"{name} may hold at most {MAX_TEXT} characters")
        return text

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number. Raises InvalidParameter."""
        text = self.values.get(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise InvalidParameter(f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def one_of(self, name: str, *known: str) -> str:
        """One of some values, the first of them when it is not given. Raises InvalidParameter."""
        text = self.values.get(name, known[0])
        if text not in known:
            raise InvalidParameter(f"{name} must be {' or '.join(known)}")
        return text

    def is_true(self, name: str) -> bool:
        """Whether it is given as true. Raises InvalidParameter."""
        return self.one_of(name, "false", "true") == "true"

    def day(self, name: str) -> date | None:
        """A day such as 2026-11-21. Raises InvalidParameter."""
        text = self.values.get(name)
        if text is None:
            return None
        try:
            if not _DATE.fullmatch(text):
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            raise InvalidParameter(f"{name} must be a day such as 2026-11-21") from None


def strict_query(sent: bytes, *known: str) -> Query:
    """The parameters `known` of a query string, which holds no others. Raises InvalidParameter."""
    for name in messages.query_names(sent):
        if name not in known:
            likely = difflib.get_close_matches(_SYNONYMS.get(name, name), known, n=1, cutoff=0.5)
            meant = f": did you mean {likely[0]}?" if likely else f": there are {', '.join(known)}"
            raise InvalidParameter(f"{printable(name[:MAX_TEXT])} is not a parameter{meant}")
    return query(sent, *known)


# What others call them: the pages of earlier versions, the command line, and other APIs.
_SYNONYMS = {"window": "days", "first": "from", "last": "to", "since": "from", "until": "to", "start": "from",
             "end": "to", "id": "creatorId", "creator": "creatorId", "search": "q", "query": "q", "size": "limit",
             "top": "limit", "skip": "offset", "snapshotId": "snapshot"}  # fmt: skip


def query(sent: bytes, *known: str) -> Query:
    """The parameters `known` of a query string; others are ignored. Raises InvalidParameter."""
    values = {}
    for name in known if sent else ():
        try:
            found = messages.query_values(sent, name.encode())
        except ValueError:
            raise InvalidParameter(f"{name} is not UTF-8") from None
        if len(found) > 1:
            raise InvalidParameter(f"{name} is given {len(found)} times")
        if found:
            values[name] = found[0]
    return Query(values)


def range_param(asked: Query) -> Callable[[Insight], Range]:
    """Return the range of `days`, or of `from` and `to` (exclusive), as a function of a snapshot, which may raise too.

    Raises InvalidParameter.
    """
    first, end = asked.day("from"), asked.day("to")
    days = asked.integer("days", DEFAULT_DAYS, 1, 1000)
    if (first is None) != (end is None):
        raise InvalidParameter("from and to go together: the days from one up to, not including, the other")
    if first is not None and "days" in asked.values:
        raise InvalidParameter("give days, or from and to")

    def checked(insight: Insight) -> Range:
        try:
            if first is None or end is None:
                return insight.window(days)
            return insight.checked_range(first.toordinal(), end.toordinal())
        except RangeNotHeld as error:
            raise InvalidParameter(str(error)) from None

    return checked


def snapshot_param(asked: Query) -> str | None:
    """Return the id of the snapshot that is to answer; None: the served one. Raises InvalidParameter."""
    snapshot_id = asked.values.get("snapshot")
    if snapshot_id is not None and not _SNAPSHOT_ID.fullmatch(snapshot_id):
        raise InvalidParameter("snapshot must be an id such as 2026-11-21-0123456789ab, as answers name it")
    return snapshot_id
