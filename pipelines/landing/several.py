"""Tell a rejected text that holds several records from one that is a bad record.

What is lost is counted in rejected records. A day's export in one envelope, `{"records": […]}`, would be one of them
beside thousands of good ones; such a file is unreadable instead.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from pipelines.landing.mapping import EntityMapping, mapped_spellings
from pipelines.landing.schema import landed_fields
from pipelines.landing.unreadable import NESTED, SEVERAL

_LEAST_TORN = 3  # records in a text that is no JSON: two are one line that another was written into


class SeveralRecords:
    """Finds several records of one entity in one text."""

    def __init__(self, entity: str, mapping: EntityMapping) -> None:
        self._required = _required(entity, mapping)

    def reason(self, text: bytes | str) -> str | None:
        """Why a rejected text is more than one bad record; None: it is not."""
        shown = text if isinstance(text, str) else text.decode("latin-1")
        if any(_fewer_than_two(shown, names) for names, _ in self._required):
            return self._of_columns(shown)
        if any(len(pattern.findall(shown)) < 2 for _, pattern in self._required):
            return None
        try:
            value = json.loads(shown)
        except (ValueError, RecursionError):
            least = min(len(pattern.findall(shown)) for _, pattern in self._required)
            return SEVERAL if least >= _LEAST_TORN else None
        return NESTED if not self._is_record(value) and self._records_in(value) > 1 else None

    def _of_columns(self, text: str) -> str | None:
        """The same of an object that holds a list of values for each field."""
        if not all(any(name in text for name in names) for names, _ in self._required):
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        columns = [next((value[name] for name in names if name in value), None) for names, _ in self._required]
        return NESTED if all(isinstance(each, list | dict) and len(each) > 1 for each in columns) else None

    def _is_record(self, value: Any) -> bool:
        return isinstance(value, dict) and all(any(name in value for name in names) for names, _ in self._required)

    def _records_in(self, value: Any) -> int:
        found, left = 0, [value]
        while left:
            each = left.pop()
            if self._is_record(each):
                found += 1
            elif isinstance(each, dict):
                left += each.values()
            elif isinstance(each, list):
                left += each
        return found


def _fewer_than_two(text: str, names: tuple[str, ...]) -> bool:
    return sum(text.count(name) for name in names) < 2


@functools.lru_cache(maxsize=256)
def _required(entity: str, mapping: EntityMapping) -> list[tuple[tuple[str, ...], re.Pattern[str]]]:
    """(spellings, a pattern of it as a key) of each required field that does not stand in folders."""
    known: Mapping[str, str] = mapped_spellings(entity, mapping)
    given = {field for field, _ in mapping.in_folders}
    found = []
    for field in landed_fields(entity):
        if field.required and "." not in field.name and field.name not in given:
            names = tuple(spelling for spelling, name in known.items() if name == field.name)
            pattern = rf"""(?<![\w\\])["']?(?:{"|".join(map(re.escape, names))})["']?\s*:"""
            found.append((names, re.compile(pattern)))
    return found
