"""The definition of acceptance: one landed object becomes a typed record, or is rejected with a field and a reason.

Everything else that parses (the columnar paths, CSV, Parquet) either hands its records to `Acceptor` or accepts a
strict subset of what it would accept, with the same result.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipelines.landing.schema import (
    RECORDS,
    Instant,
    JsonArray,
    JsonObject,
    Landed,
    LandedField,
    Money,
    landed_fields,
)
from pipelines.landing.values import (
    LOCAL_TIME,
    NO_OFFSET,
    DuplicateKey,
    Foreign,
    Number,
    Rejected,
    compact_json,
    is_extended,
    parse_instant,
    parse_json,
    parse_money,
    parse_money_text,
    unwrap,
)

MAX_UNKNOWN_NAMES = 1000  # distinct unknown fields counted by name; a file of random keys must not fill the memory
MAX_UNKNOWN_NAME_CHARS = 100
OTHER_UNKNOWN = "…"  # counts the rest

MISSING = "missing"
TWO_SPELLINGS = "the field is given in two spellings"
NOT_AN_OBJECT = "not a JSON object"


class Acceptor:
    """Turns landed objects of one entity into records, counting the fields of accepted ones that it does not know."""

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self.unknown_fields: Counter[str] = Counter()
        self._record = RECORDS[entity]
        self._fields = {each.name: each for each in landed_fields(entity)}
        self._spellings = spellings(entity)
        self._money_as_text = RECORDS[entity].has_money_as_text

    def accept_json(self, text: str) -> Landed:
        """The record of a line of JSON. Raises Rejected."""
        return self.accept(self.parse(text))

    def parse(self, text: str) -> Any:
        """The JSON value of a line. Raises Rejected."""
        try:
            return parse_json(text)
        except DuplicateKey as error:
            known = self._spellings.get(error.field or "", "").rstrip(".")
            raise Rejected(known or None, error.reason) from None

    def accept(self, landed: Any) -> Landed:
        """The record of a landed object. Raises Rejected."""
        if type(landed) is not dict:
            raise Rejected(None, NOT_AN_OBJECT)
        values: dict[str, Any] = {}
        unknown: list[str] = []
        self._collect(landed, "", values, unknown)
        present = {name: value for name, value in values.items() if value is not None}
        try:
            record: Landed = msgspec.convert(present, self._record, dec_hook=_from_landed)
        except msgspec.ValidationError as error:
            raise self._rejection(str(error)) from None
        if violation := record.violation():
            raise Rejected(*violation)
        for name in unknown:
            count_unknown(self.unknown_fields, name)
        return record

    def value(self, field: LandedField, landed: Any) -> Any:
        """The value that a field takes from what landed in it, None meaning null. Raises Rejected."""
        if landed is not None:
            landed = self._collapse(field, landed)
        if landed is None:
            if field.required:
                raise Rejected(field.name, MISSING)
            return field.default
        try:
            return msgspec.convert(landed, field.annotation, dec_hook=_from_landed)
        except msgspec.ValidationError as error:
            raise Rejected(field.name, str(error)) from None

    def _collect(self, landed: Mapping[str, Any], prefix: str, values: dict[str, Any], unknown: list[str]) -> None:
        """Put the known fields into `values` under the platform's names, Extended JSON collapsed."""
        for key, value in landed.items():
            name = self._spellings.get(prefix + key)
            if name is None or (prefix == "" and "." in key):
                unknown.append(prefix + key)
                continue
            if name in values:
                raise Rejected(name.rstrip("."), TWO_SPELLINGS)
            if name.endswith("."):  # an object whose fields are columns of their own
                values[name] = None
                if value is not None:
                    if type(value) is not dict:
                        raise Rejected(name[:-1], f"expected an object, got {_kind_of(value)}")
                    self._collect(value, name, values, unknown)
                continue
            is_plain = type(value) is not dict and not self._money_as_text
            values[name] = value if is_plain else self._collapse(self._fields[name], value)

    def _collapse(self, field: LandedField, value: Any) -> Any:
        """The value inside an Extended JSON wrapper that fits the field; a pledge's amount out of its text."""
        try:
            if self._money_as_text and field.kind is Money and type(value) is str:
                return parse_money_text(value)
            if type(value) is not dict or field.kind in (JsonObject, JsonArray) or not is_extended(value):
                return value
            if next(iter(value)) not in _WRAPPERS.get(field.kind, ()):
                return value
            return unwrap(value)
        except Rejected as error:
            raise Rejected(field.name, error.reason) from None

    def _rejection(self, message: str) -> Rejected:
        """msgspec's message as a field and a reason in our words."""
        missing = _MISSING.fullmatch(message)
        if missing:
            return Rejected(missing[1], MISSING)
        at = _AT.fullmatch(message)
        if not at:
            return Rejected(None, message)
        field = self._fields[at[2]]
        reason = at[1]
        if reason.startswith(_OURS):
            return Rejected(field.name, reason[len(_OURS) :])
        if field.choices and reason.startswith("Invalid enum value"):
            return Rejected(field.name, f"not one of {', '.join(field.choices)}")
        if "of length >= 1" in reason:
            return Rejected(field.name, "the text is empty: use null for what is not there")
        if "of length <= " in reason:
            return Rejected(field.name, f"the text is longer than {field.max_chars:,} characters")
        if "<=" in reason or ">=" in reason or "out of range" in reason:
            return Rejected(field.name, "not an integer from 0 to 2^63-1")
        got = _GOT.search(reason)
        kind = _MSGSPEC_KINDS.get(got[1] if got else "", "something else")
        return Rejected(field.name, f"expected {_EXPECTED[field.kind]}, got {kind}")


def count_unknown(counts: Counter[str], name: str, times: int = 1) -> None:
    """Count a field that the contract does not know, in memory that does not grow with the number of names."""
    name = name[:MAX_UNKNOWN_NAME_CHARS]
    if name not in counts and len(counts) >= MAX_UNKNOWN_NAMES:
        name = OTHER_UNKNOWN
    counts[name] += times


@functools.cache
def spellings(entity: str) -> dict[str, str]:
    """Every accepted spelling of an entity's fields -> the platform's.

    Nested fields stand with their path, "profilePhoto.createdAt", and their object ends in a dot, "profilePhoto.".
    """
    known = dict(RECORDS[entity].spellings)
    for field in landed_fields(entity):
        *path, name = field.name.split(".")
        prefix = "".join(f"{part}." for part in path)
        if prefix:
            known[prefix[:-1]] = known[snake_case(prefix[:-1])] = prefix
        known[prefix + name] = known[prefix + snake_case(name)] = field.name
    return known


def snake_case(name: str) -> str:
    """`startedAt` -> `started_at`; what is in snake_case already, or begins with `_`, stays."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda upper: "_" + upper[1].lower(), name)


# --- values -----------------------------------------------------------------------------------------------------

_WRAPPERS: dict[type, tuple[str, ...]] = {
    str: ("$oid",),
    int: ("$numberLong", "$numberInt"),
    Instant: ("$date",),
    Money: ("$numberDecimal", "$numberDouble", "$numberLong", "$numberInt"),
}
_OURS = "\0"  # marks a reason as ours in msgspec's message


def _from_landed(kind: type, value: Any) -> Any:
    """A value of one of our own types out of what landed; msgspec adds the field to the error."""
    if type(value) is kind:
        return value
    try:
        return _CONVERSIONS[kind](value)
    except Rejected as error:
        raise ValueError(_OURS + error.reason) from None


def _instant(value: Any) -> Instant:
    if isinstance(value, Foreign) and value.kind == LOCAL_TIME:
        raise Rejected(None, NO_OFFSET)
    if type(value) is not str:
        raise Rejected(None, f"expected {_EXPECTED[Instant]}, got {_kind_of(value)}")
    return parse_instant(value)


def _money(value: Any) -> Money:
    if type(value) is int:
        return parse_money(str(value))
    if type(value) is not Number:
        raise Rejected(None, f"expected {_EXPECTED[Money]}, got {_kind_of(value)}")
    return parse_money(value.text)


def _json_object(value: Any) -> JsonObject:
    if type(value) is not dict or is_extended(value):
        raise Rejected(None, f"expected {_EXPECTED[JsonObject]}, got {_kind_of(value)}")
    return JsonObject(compact_json(value))


def _json_array(value: Any) -> JsonArray:
    if type(value) is not list:
        raise Rejected(None, f"expected {_EXPECTED[JsonArray]}, got {_kind_of(value)}")
    return JsonArray(compact_json(value))


_CONVERSIONS: dict[type, Callable[[Any], Any]] = {
    Instant: _instant,
    Money: _money,
    JsonObject: _json_object,
    JsonArray: _json_array,
}
_EXPECTED: dict[type, str] = {
    str: "text",
    int: "an integer",
    bool: "true or false",
    Instant: "an RFC 3339 instant",
    Money: "a number",
    JsonObject: "an object",
    JsonArray: "a list",
}
_LANDED_KINDS: dict[type, str] = {
    str: "text",
    int: "an integer",
    bool: "true or false",
    Number: "a number with a fraction or an exponent",
    list: "a list",
    dict: "an object",
    Instant: "an instant",
}
_MSGSPEC_KINDS = {
    "str": "text",
    "int": _LANDED_KINDS[int],
    "bool": _LANDED_KINDS[bool],
    "Number": _LANDED_KINDS[Number],
    "array": "a list",
    "object": "an object",
}
_MISSING = re.compile(r"Object missing required field `(.+)`")
_AT = re.compile(r"(.*) - at `\$\.(.+)`", re.DOTALL)
_GOT = re.compile(r"got `(\w+)`")


def _kind_of(value: Any) -> str:
    return value.kind if isinstance(value, Foreign) else _LANDED_KINDS[type(value)]
