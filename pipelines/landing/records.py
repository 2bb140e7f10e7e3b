"""The definition of acceptance: one landed object becomes a typed record, or is rejected with a field and a reason.

Everything else that parses (the columnar paths, CSV, Parquet) either hands its records to `Acceptor` or accepts a
strict subset of what it would accept, with the same result.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.resemblance import entity_of_names
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
    NO_TIME_ZONE,
    NOT_A_BOOLEAN,
    NUMBER_AS_INSTANT,
    DuplicateKey,
    Foreign,
    Number,
    Rejected,
    compact_json,
    is_extended,
    looks_like_epoch,
    parse_boolean,
    parse_epoch,
    parse_instant,
    parse_json,
    parse_money,
    parse_money_text,
    parse_whole_number,
    unwrap,
)

MAX_UNKNOWN_NAMES = 1000  # distinct unknown fields counted by name; a file of random keys must not fill the memory
MAX_UNKNOWN_NAME_CHARS = 100
OTHER_UNKNOWN = "…"  # counts the rest

MISSING = "missing"
WRONG_FOLDER = "it has no erasedAt and all that another entity needs: move its file to the folder of that, "
TWO_SPELLINGS = "the field is given in two spellings"
NOT_AN_OBJECT = "not a JSON object"
FOLDER_DISAGREES = "the record says another value than the folder that it landed in"
FOLDER_NOT_UTF8 = "the folder that it landed in names a value that is not valid UTF-8"
FRACTION_AS_TEXT = "expected text, got a number with a fraction or an exponent: export ids as text or as whole numbers"


# Texts by which programs write that there is nothing. In the id of a person each would be one viewer that many are, so
# that they are refused there unless a mapping says which of them are null. Words that people choose, such as `unknown`,
# are not among them: ids are not guessed about.
NULL_SPELLINGS = frozenset(
    {
        *("\\N", "NULL", "null", "Null", "[NULL]", "(NULL)", "(null)", "<null>"),  # of databases and what shows them
        *("-", "?", "."),  # DB2, Teradata, SAS
        *("None", "NONE", "none", "nan", "NaN", "NAN", "NaT", "<NA>", "NA", "N/A", "n/a"),  # Python, pandas, R
        *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!", "#DIV/0!"),  # spreadsheets
        *("undefined", "[object Object]", "nil", "Nil", "NIL", "<nil>"),  # JavaScript, Ruby, Go
        "00000000-0000-0000-0000-000000000000",  # the nil UUID: phones that allow no tracking give it, too
        "000000000000000000000000",  # the nil ObjectId
    }
)
IDS_OF_PERSONS = frozenset({"viewer_id", "device_id", "user_id"})  # columns
# What a spreadsheet, or a float, makes of a long id of digits alone: several ids become one.
ROUNDED_ID = re.compile(r"-?[0-9][.,][0-9]+[eE]\+[0-9]{2,3}")
ROUNDED = "the id is a number that was rounded, as a spreadsheet shows it: export ids as text"
NULL_AS_TEXT = "the text is how some programs write null: say null = ['…'] in mostwatched.toml, or land it as null"


class Acceptor:
    """Turns landed objects of one entity into records, counting the fields of accepted ones that it does not know."""

    def __init__(self, entity: str, mapping: EntityMapping = UNMAPPED) -> None:
        self.entity = entity
        self.mapping = mapping
        self.unknown_fields: Counter[str] = Counter()
        self._record = RECORDS[entity]
        self._fields = {each.name: each for each in landed_fields(entity)}
        self._spellings = mapped_spellings(entity, mapping)
        self._renamed = {landed for landed, _ in mapping.rename}
        self._null = frozenset(mapping.null or ())

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
        for name, text in self.mapping.in_folders:
            self._add_from_folder(self._fields[name], text, values)
        present = {name: value for name, value in values.items() if value is not None}
        if problem := not_an_erasure(self.entity, present.keys(), unknown):
            raise problem
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
        landed = self._landed(field, landed)
        if landed is None:
            if field.required:
                raise Rejected(field.name, MISSING)
            return field.default
        try:
            return msgspec.convert(landed, field.annotation, dec_hook=_from_landed)
        except msgspec.ValidationError as error:
            raise Rejected(field.name, str(error)) from None

    def folder_values(self) -> dict[str, Any]:
        """By column, the values that stand in folders. Raises Rejected for one that the field cannot have."""
        values: dict[str, Any] = {}
        for name, text in self.mapping.in_folders:
            self._add_from_folder(self._fields[name], text, values)
        return {self._fields[name].column: value for name, value in values.items()}

    def instant(self, text: str) -> Instant:
        """The instant of a landed text. Raises Rejected."""
        if self.mapping.epoch is not None and looks_like_epoch(text):
            return parse_epoch(text, self.mapping.epoch)
        return parse_instant(text, self.mapping.zone)

    def _collect(self, landed: Mapping[str, Any], prefix: str, values: dict[str, Any], unknown: list[str]) -> None:
        """Put the known fields into `values` under the platform's names, Extended JSON collapsed."""
        for key, value in landed.items():
            name = self._spellings.get(prefix + key)
            if name is None or (prefix == "" and "." in key and key not in self._renamed):
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
            values[name] = None if value is None else self._landed(self._fields[name], value)

    def _add_from_folder(self, field: LandedField, text: str | None, values: dict[str, Any]) -> None:
        """Put what a folder says of a field into `values`. Raises Rejected where that, or the record, says another."""
        if text is not None and any("\ud800" <= char <= "\udfff" for char in text):
            raise Rejected(field.name, FOLDER_NOT_UTF8)
        said = self.value_or_none(field, text or None)
        if said is None:
            return
        there = self.value_or_none(field, values.get(field.name))
        if there is not None and there != said:  # safeguard: folder-and-record-agree
            raise Rejected(field.name, FOLDER_DISAGREES)
        values[field.name] = said

    def value_or_none(self, field: LandedField, landed: Any) -> Any:
        """As `value`, but None where nothing landed. Raises Rejected."""
        landed = self._landed(field, landed)
        return None if landed is None else self.value(field, landed)

    def _landed(self, field: LandedField, value: Any) -> Any:
        """What landed in a field as msgspec takes it, by one rule for every format: None for null. Raises Rejected."""
        kind = type(value)
        try:
            if kind is str:
                return value if field.kind is str and self._is_text(field, value) else self._of_text(field, value)
            if kind is int:
                return self._of_integer(field, value)
            if kind is dict and field.kind not in (JsonObject, JsonArray) and is_extended(value):
                if next(iter(value)) not in _WRAPPERS.get(field.kind, ()):
                    return value
                return self._landed(field, unwrap(value))
            if kind is Number:
                return self._of_number(field, value)
            if kind is Foreign:
                return self._of_foreign(field, value)
            if kind is Instant and field.kind is not Instant:
                raise Rejected(None, f"expected {_EXPECTED[field.kind]}, got {_kind_of(value)}")
        except Rejected as error:
            raise Rejected(field.name, error.reason) from None
        return value

    def _is_text(self, field: LandedField, text: str) -> bool:
        """Whether a text is taken as it is."""
        if text in self._null:
            return False
        is_refused = field.column in IDS_OF_PERSONS and text in NULL_SPELLINGS and self.mapping.null is None
        if is_refused:  # safeguard: null-as-text-is-nobody
            raise Rejected(None, NULL_AS_TEXT)
        if field.column in IDS_OF_PERSONS and "+" in text and ROUNDED_ID.fullmatch(text):
            raise Rejected(None, ROUNDED)  # safeguard: rounded-ids-are-nobody
        return True

    def _of_text(self, field: LandedField, text: str) -> Any:
        if text in self._null:
            return None
        try:
            if field.kind is Instant:
                return self.instant(text)
            return _OF_TEXT[field.kind](text) if field.kind in _OF_TEXT else text
        except Rejected:
            if text in NULL_SPELLINGS:
                raise Rejected(None, NULL_AS_TEXT) from None
            if field.kind is Instant and looks_like_epoch(text):
                raise Rejected(None, NUMBER_AS_INSTANT) from None
            raise

    def _of_integer(self, field: LandedField, number: int) -> Any:
        if field.kind is str and not field.choices:
            return str(number)
        if field.kind is Instant:
            return self._of_number(field, Number(str(number)))
        if field.kind is bool:
            if number not in (0, 1):
                raise Rejected(None, NOT_A_BOOLEAN)
            return bool(number)
        return number

    def _of_number(self, field: LandedField, number: Number) -> Any:
        if field.kind is Instant:
            if self.mapping.epoch is None:
                raise Rejected(None, NUMBER_AS_INSTANT)
            return parse_epoch(number.text, self.mapping.epoch)
        if field.kind is int:
            return parse_whole_number(number.text)
        if field.kind is str:
            raise Rejected(None, FRACTION_AS_TEXT)
        return number

    def _of_foreign(self, field: LandedField, value: Foreign) -> Any:
        if value.text in self._null:
            return None
        if field.kind is Instant and value.kind == LOCAL_TIME:
            if self.mapping.zone is None:
                raise Rejected(None, NO_TIME_ZONE)
            return parse_instant(value.text, self.mapping.zone)
        raise Rejected(None, f"expected {_EXPECTED[field.kind]}, got {value.kind}")

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


def not_an_erasure(entity: str, given: AbstractSet[str], unknown: Collection[str]) -> Rejected | None:
    """Why a record of erasures is none, by the names of its fields.

    Whatever else has a userId, and landed in the wrong folder, would be people who asked to be forgotten.
    """
    if entity != "erasures" or not unknown or "erasedAt" in given:
        return None
    other = entity_of_names({*unknown, *given})
    if other not in ("erasures", None):  # safeguard: only-erasures-erase
        return Rejected(None, f"{WRONG_FOLDER}{other}")
    return None


def count_unknown(counts: Counter[str], name: str, times: int = 1) -> None:
    """Count a field that the contract does not know, in memory that does not grow with the number of names."""
    name = name[:MAX_UNKNOWN_NAME_CHARS]
    if name not in counts and len(counts) >= MAX_UNKNOWN_NAMES:
        name = OTHER_UNKNOWN
    counts[name] += times


# --- values -----------------------------------------------------------------------------------------------------

_WRAPPERS: dict[type, tuple[str, ...]] = {
    str: ("$oid", "$numberLong", "$numberInt"),
    int: ("$numberLong", "$numberInt"),
    Instant: ("$date", "$numberDouble", "$numberLong", "$numberInt"),
    Money: ("$numberDecimal", "$numberDouble", "$numberLong", "$numberInt"),
}
_OF_TEXT: dict[type, Callable[[str], Any]] = {int: parse_whole_number, bool: parse_boolean, Money: parse_money_text}
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
