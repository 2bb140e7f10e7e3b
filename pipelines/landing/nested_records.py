"""Rejected records of JSON that are more than one record: an answer of an API around a list, a table by columns.

Such a record would count as one that was lost, however many are in it. Looked at is the text alone, so that it is found
also in what is no JSON, or only the beginning of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache
from typing import Any

from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.schema import Instant, landed_fields, spellings

SEVERAL_RECORDS = "one of its records holds several records"
COLUMNS = "one of its records holds columns, or the names of columns"

_MOST_IN_TORN = 2  # records in a text that is no JSON: one line that another was written into
_COMMON_NAMES = {"id", "_id", "status"}  # of required fields: other objects have them too
# What stands behind the name of a field: several values of it, one, or nothing, where the name is itself a value.
_BEHIND = r"\s*(?:(?P<list>:\s*\[[^\[\]{}]*,)|(?P<object>:\s*\{[^\[\]{}]*,)|(?P<key>:)|(?P<value>(?=[,\]}])))"


@lru_cache(maxsize=256)
def nesting(entity: str, mapping: EntityMapping = UNMAPPED) -> Callable[[bytes | str], str | None]:
    """A function that says of the text of a rejected record why it is more than one; None where it is not."""
    required = {each.name for each in landed_fields(entity) if each.required}
    instants = {each.name for each in landed_fields(entity) if each.kind is Instant}
    known = {spelling: name for spelling, name in mapped_spellings(entity, mapping).items() if name in required}
    own = {spelling for spelling, name in known.items() if name not in _COMMON_NAMES}
    behind = re.compile(rf"""(?<!\w)["']?({"|".join(map(re.escape, known))})\\*["']?{_BEHIND}""")

    def why(landed: bytes | str) -> str | None:
        text = landed if isinstance(landed, str) else landed.decode("latin-1")
        matches = list(behind.finditer(text))
        times = Counter(known[match[1]] for match in matches if match.lastgroup != "value")
        kinds = {_kind_of(match, text, known[match[1]] in instants) for match in matches if match[1] in own}
        # safeguard: several-records-are-unreadable
        if max((count for name, count in times.items() if name not in _COMMON_NAMES), default=0) > 1:
            try:
                is_several = _records_in(json.loads(text), known, times.keys()) > 1
            except (ValueError, RecursionError):
                is_several = all(times[name] > _MOST_IN_TORN for name in required)
            if is_several:
                return SEVERAL_RECORDS
        is_header = kinds == {"value"} and text.lstrip().startswith(("{", "["))
        if "list" in kinds or kinds == {"object"} or is_header:  # safeguard: columns-are-unreadable
            return COLUMNS
        return None

    return why


def _kind_of(match: re.Match[str], text: str, is_instant: bool) -> str | None:
    """What stands behind the name of a field; the parts of one instant are one value."""
    if match.lastgroup == "list" and is_instant and _PARTS.match(text, match.start("list")):
        return "key"
    if match.lastgroup == "value" and text[: match.start()].rstrip().endswith(":"):
        return None  # what a field is called, beside its value
    return match.lastgroup


_PARTS = re.compile(r":\s*\[\s*[0-9]{4}(?:\s*,\s*[0-9]{1,9}){2,6}\s*,?\s*\]?")  # as Jackson writes: [2026,3,9,8,0]


def _records_in(value: Any, known: Mapping[str, str], names: AbstractSet[str]) -> int:
    """How many objects within a value, and in texts of it that are JSON, have all of some fields in any spelling."""
    found, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            found += names <= {known.get(key) for key in each}
            left += each.values()
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str) and each.lstrip().startswith(("{", "[")):
            with suppress(ValueError):
                left.append(json.loads(each))
    return found


def jq_filter(entity: str, text: str) -> str | None:
    """The filter of jq that writes every record of a file that holds such a text; None for one within a string."""
    required = {each.name for each in landed_fields(entity) if each.required} - _COMMON_NAMES
    names = (spelling for spelling, name in spellings(entity).items() if name in required)
    found = next((name for name in names if re.search(rf'(?<!\\)"{re.escape(name)}"\s*:', text)), None)
    return f'.. | objects | select(has("{found}"))' if found else None
