"""Fields of landed records that the contract does not know, each with the one that it resembles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote

from pipelines.landing.resemblance import resembled_field
from pipelines.landing.schema import landed_fields, spellings
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
        for name in _in_folders(file):
            counts[file.entity, name] += file.records
    named: Counter[str] = Counter()
    found = []
    for (entity, name), records in counts.most_common():
        named[entity] += 1
        if named[entity] <= MOST_NAMED:
            found.append(UnknownField(entity, name, records, _resembled(entity, name)))
    return sorted(found, key=lambda one: (one.resembles is None, one.entity, -one.records, one.field))


def _in_folders(file: RawFile) -> set[str]:
    """The keys of the `key=value` folders of its name that are no field, and resemble one: not `day` or `region`."""
    if "=" not in file.landed_name or (file.mapping and file.folders):  # a mapping may have renamed them
        return set()
    known = spellings(file.entity)
    pairs = (part.partition("=") for part in file.landed_name.split("/")[1:-1])
    keys = {unquote(key) for key, is_pair, _ in pairs if is_pair}
    return {key for key in keys if known.get(key, ".").endswith(".") and _resembled(file.entity, key)}


@cache
def _resembled(entity: str, name: str) -> str | None:
    return resembled_field(name, [field.name for field in landed_fields(entity)])
