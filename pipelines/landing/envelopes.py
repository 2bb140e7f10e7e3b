"""Records that stand within others: exports, queues and events put an envelope around what they carry.

An envelope is found where the fields of the contract, by whatever names, stand within an object of the record more than
in the record itself. It is only ever named to people, with a command that takes it off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pipelines.landing.resemblance import resembled_field
from pipelines.landing.schema import landed_fields, spellings

MAX_LEVELS = 4  # payload.after of Kafka Connect has two, a record within a message's text one more
MIN_FIELDS = 2  # of the contract that must stand in it: one may do so by chance
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES = frozenset({"S", "N", "BOOL", "NULL", "M", "L", "SS", "NS", "B", "BS"})  # of values, as DynamoDB names them
_UNTYPED = (
    'walk(if type == "object" and length == 1 and (keys[0] | IN("S", "N", "BOOL", "NULL", "M", "L")) '
    'then (if has("NULL") then null else .[] end) else . end)'
)


class Envelope(NamedTuple):
    """Where the fields of a record stand."""

    path: str  # as jq names it: `.payload.after`; `.` for those of the record itself
    record: Mapping[str, Any]  # the fields
    is_typed: bool  # each value is an object that names its type, as DynamoDB's are
    is_change: bool  # it is the row after a change

    def remedy(self) -> str:
        """A sentence for people."""
        command = " | ".join([*([self.path] if self.path != "." else []), *([_UNTYPED] if self.is_typed else [])])
        place = f"within {self.path}" if self.path != "." else "each within an object of its type"
        said = f"Its records are envelopes: the fields stand {place}. Land them flat, as jq -c '{command}' writes them."
        if self.is_change:
            said += (
                " That leaves out deleted rows: let Debezium flatten its events (ExtractNewRecordState with "
                "delete.tombstone.handling.mode = rewrite), and rename __deleted."
            )
        return said


def envelope_of(entity: str, record: Mapping[str, Any]) -> Envelope | None:
    """The envelope that the fields of a rejected record stand in; None where they stand in none."""
    best, most = None, max(MIN_FIELDS - 1, _fields(entity, record)) if not _is_typed(record) else MIN_FIELDS - 1
    for path, inner in _within(record, "", MAX_LEVELS):
        if (fields := _fields(entity, inner)) > most:
            best, most = Envelope(path, inner, _is_typed(inner), path.endswith(".after")), fields
    return best


def _within(value: Any, path: str, levels: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object within a value, the nearest first, with the way to it; but for rows as they were before a change."""
    if levels == 0:
        return
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            yield from _within(json.loads(value), f"{path} | fromjson | ", levels)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _within(value[0], f"{path}[]", levels)
    elif isinstance(value, dict):
        yield path.removesuffix(" | ") or ".", value
        for name, inner in value.items():
            if name == "before" and "after" in value:
                continue
            yield from _within(inner, f"{path}.{name if _NAME.fullmatch(name) else json.dumps(name)}", levels - 1)


def _is_typed(record: Mapping[str, Any]) -> bool:
    return bool(record) and all(
        isinstance(each, dict) and len(each) == 1 and set(each) <= _TYPES for each in record.values()
    )


def _fields(entity: str, record: Mapping[str, Any]) -> int:
    """How many fields of the contract a record has, by their names or by some that resemble them."""
    known = spellings(entity)
    given = {known[name] for name in record if name in known}
    fields = [each.name for each in landed_fields(entity) if each.name not in given]
    for name in record:
        if name not in known and (field := resembled_field(name, fields)) is not None:
            fields.remove(field)
            given.add(field)
    return len(given)
