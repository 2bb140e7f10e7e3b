"""Fields of landed records that the contract does not know, each with the one that it resembles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from pipelines.landing.resemblance import resembled_field
from pipelines.landing.schema import landed_fields
from pipelines.raw.raw_file import RawFile

MOST_NAMED = 50  # of an entity, those in most records: a file of random keys has a thousand


class UnknownField(NamedTuple):
    """A field that is not of the contract."""

    entity: str
    field: str
    records: int  # that have it
    resembles: str | None  # a field of the contract


def unknown_fields(files: Iterable[RawFile]) -> list[UnknownField]:
    """The unknown fields of some landed files: those that resemble a known one first, then those in most records."""
    counts: Counter[tuple[str, str]] = Counter()
    for file in files:
        for name, records in file.unknown_fields.items():
            counts[file.entity, name] += records
    named: Counter[str] = Counter()
    found = []
    for (entity, name), records in counts.most_common():
        named[entity] += 1
        if named[entity] <= MOST_NAMED:
            found.append(UnknownField(entity, name, records, _resembled(entity, name)))
    return sorted(found, key=lambda one: (one.resembles is None, one.entity, -one.records, one.field))


@cache
def _resembled(entity: str, name: str) -> str | None:
    return resembled_field(name, [field.name for field in landed_fields(entity)])
