"""The contract of what lands for producers: JSON Schema 2020-12, tables in Markdown, an Open Data Contract.

All are made of the classes in schema.py. What JSON Schema cannot say (a day that the calendar has, an amount with two
decimals, one instant after another) stands in `$comment` and in the descriptions: a record that the schema refuses is
always rejected, and one that it allows may still be rejected for one of those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipelines import __version__
from pipelines.landing import schema
from pipelines.landing.records import IDS_OF_PERSONS, NULL_SPELLINGS, ROUNDED_ID
from pipelines.landing.schema import Instant, JsonArray, JsonObject, LandedField, Money, spellings
from pipelines.landing.values import MAX_MONEY

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DAY = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_OFFSET = "(?: ?(?:[Zz]|UTC)| ?[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
_INSTANT = rf"^[0-9]{{4}}-{_DAY}[Tt ]{_CLOCK}:(?:[0-5][0-9]|60)(?:\.[0-9]+)?{_OFFSET}$"
_DECIMAL = r"^(?:-0+(?:\.0+)?|0*[0-9]{1,12}(?:\.[0-9]+)?)$"
_WHOLE = r"^(?:-0|0|[1-9][0-9]{0,18})(?:\.0+)?$"
_BOOLEAN = "^(?:[Tt]|[Ff]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|0|1)$"


def json_schema(entity: str | None = None) -> dict[str, Any]:
    """The schema of a landed record of an entity, as a line of NDJSON; of every entity, by name under `$defs`."""
    if entity is not None:
        return {"$schema": DIALECT, "$id": _urn(entity), **_record(entity), "$defs": _forms((entity,))}
    return {
        "$schema": DIALECT,
        "$id": _urn("records"),
        "title": "What may land, by entity",
        "$defs": {each: _record(each) for each in schema.ENTITIES} | _forms(schema.ENTITIES),
    }


def _urn(name: str) -> str:
    return f"urn:mostwatched:{__version__}:{name}"


def _record(entity: str) -> dict[str, Any]:
    record = schema.RECORDS[entity]
    fields = schema.landed_fields(entity)
    objects: dict[str, dict[str, Any]] = {
        name: {"type": ["object", "null"], **_members(entity, f"{name}.", inner, {})}
        for name, inner in _nested(fields).items()
    }
    flat = [field for field in fields if "." not in field.name]
    made: dict[str, Any] = {"title": entity, "description": _sentence(record.__doc__), "type": "object"}
    made |= _members(entity, "", flat, objects)
    rules = [*made.pop("allOf", []), *_RULES.get(entity, ())]
    if rules:
        made["allOf"] = rules
    return made | {"$comment": "; ".join(["Also rejected: a day that is not in the calendar", *_ALSO, *record.rules])}


_ALSO = (
    "a key given twice",
    "an amount with more than two decimals",
    "an integer written with an exponent",
    "an id with one",
)
# The rules over several fields that JSON Schema can say.
_RULES: dict[str, tuple[dict[str, Any], ...]] = {
    "pledges": (
        {
            "if": {"properties": {"status": {"const": "captured"}}, "required": ["status"]},
            "then": {
                "anyOf": [
                    {"properties": {name: {"not": {"type": "null"}}}, "required": [name]}
                    for name in ("capturedAt", "captured_at")
                ]
            },
        },
    ),
}


def _nested(fields: tuple[LandedField, ...]) -> dict[str, list[LandedField]]:
    found: dict[str, list[LandedField]] = {}
    for field in fields:
        outer, dot, _ = field.name.rpartition(".")
        if dot:
            found.setdefault(outer, []).append(field)
    return found


def _members(
    entity: str, prefix: str, fields: list[LandedField], objects: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """`properties` in every accepted spelling, and what says that a required field stands in one of them, and once."""
    values: dict[str, Any] = {field.name: _value(field) for field in fields}
    values.update(objects)
    properties: dict[str, Any] = {}
    required: list[str] = []
    once: list[dict[str, Any]] = []
    for name, value in values.items():
        names = [each.removeprefix(prefix) for each in _spellings(entity)[name]]
        own = name.removeprefix(prefix)
        properties[own] = value
        for other in names:
            if other != own:
                properties[other] = {**value, "description": f"Another spelling of {own}."}
        once += [{"not": {"required": [own, other]}} for other in names if other != own]
        if any(field.name == name and field.required for field in fields):
            if len(names) == 1:
                required.append(own)
            else:
                once.append({"anyOf": [{"required": [each]} for each in names]})
    made: dict[str, Any] = {"properties": properties}
    if required:
        made["required"] = required
    if once:
        made["allOf"] = once
    return made


@functools.cache
def _spellings(entity: str) -> Mapping[str, tuple[str, ...]]:
    """Every accepted spelling of each field, the platform's first; of nested ones with their path in that spelling."""
    found: dict[str, list[str]] = {}
    for spelling, meant in spellings(entity).items():
        name = meant.rstrip(".")
        found.setdefault(name, [name])
        if spelling not in found[name]:
            found[name].append(spelling)
    return {name: tuple(each) for name, each in found.items()}


def _value(field: LandedField) -> dict[str, Any]:
    """The schema of one field's value; that of one which may be absent allows null."""
    if field.choices:
        return {"enum": [*field.choices, *([] if field.required else [None])]}
    form = {"$ref": f"#/$defs/{_form(field)}"}
    if field.required:
        return form
    default = {} if field.default is None else {"default": field.default}
    return {"anyOf": [form, {"type": "null"}], **default}


def _form(field: LandedField) -> str:
    """The name of what a value of a field looks like."""
    if field.column in IDS_OF_PERSONS:
        return "id_of_a_person_or_device"
    return f"text_of_{field.min_chars}_to_{field.max_chars}" if field.kind is str else _LOGICAL[field.kind]


def _forms(entities: Iterable[str]) -> dict[str, Any]:
    """What values look like, by name: as they are written first, then as MongoDB Extended JSON."""
    found: dict[str, Any] = {}
    for entity in entities:
        for field in schema.landed_fields(entity):
            if not field.choices:
                alternatives = list(_alternatives(field))
                found[_form(field)] = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    return found


def _alternatives(field: LandedField) -> Iterator[dict[str, Any]]:
    if field.kind is str:
        bounds = {"minLength": field.min_chars, "maxLength": field.max_chars}
        nobody = {"not": {"anyOf": [{"enum": sorted(NULL_SPELLINGS)}, {"pattern": f"^{ROUNDED_ID.pattern}$"}]}}
        nobody = nobody if field.column in IDS_OF_PERSONS else {}
        yield {"type": "string", **{name: value for name, value in bounds.items() if value}, **nobody}
        yield {"type": "integer"}
        yield _wrapped("$oid", {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"})
        yield _wrapped("$numberLong", _INTEGER_TEXT)
        yield _wrapped("$numberInt", _INTEGER_TEXT)
    elif field.kind is int:
        yield {"type": "integer", "minimum": 0, "maximum": schema.MAX_REVISION}
        yield {"type": "string", "pattern": _WHOLE}
        yield _wrapped("$numberLong", _INTEGER_TEXT)
        yield _wrapped("$numberInt", _INTEGER_TEXT)
    elif field.kind is bool:
        yield {"type": "boolean"}
        yield {"enum": [0, 1]}
        yield {"type": "string", "pattern": _BOOLEAN}
    elif field.kind is Instant:
        yield {"type": "string", "pattern": _INSTANT, "examples": ["2026-01-31T20:00:00+03:00"]}
        yield _wrapped(
            "$date",
            {
                "anyOf": [
                    {"type": "string", "pattern": _INSTANT},
                    {"type": "integer"},
                    _wrapped("$numberLong", _INTEGER_TEXT),
                ]
            },
        )
    elif field.kind is Money:
        yield {"type": "number", "minimum": 0, "exclusiveMaximum": int(MAX_MONEY)}
        yield {"type": "string", "pattern": _DECIMAL}
        for name in ("$numberDecimal", "$numberDouble", "$numberLong", "$numberInt"):
            yield _wrapped(name, {"type": "string", "pattern": "^-?[0-9]"})
    else:
        yield {"type": _LOGICAL[field.kind]}


_INTEGER_TEXT = {"type": "string", "pattern": "^-?(?:0|[1-9][0-9]*)$"}


def _wrapped(name: str, inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False}


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


# --- Markdown --------------------------------------------------------------------------------------------------------

_KINDS: dict[type, str] = {
    str: "text",
    int: "whole number, 0 or more",
    bool: "true or false",
    Instant: "instant",
    Money: "amount",
    JsonObject: "object",
    JsonArray: "list",
}


def markdown(entity: str) -> Iterator[str]:
    """The lines of a table of an entity's fields, under a heading."""
    yield f"### {entity}"
    yield ""
    yield _sentence(schema.RECORDS[entity].__doc__)
    yield "CSV may land too." if entity in schema.FLAT_ENTITIES else "Not as CSV: it has nested fields."
    yield ""
    yield "| field | type | required | when absent |"
    yield "|---|---|---|---|"
    for field in schema.landed_fields(entity):
        required, absent = ("yes", "rejected") if field.required else ("", _absent(field.default))
        yield f"| `{field.name}` | {_kind(field)} | {required} | {absent} |"
    yield ""


def _kind(field: LandedField) -> str:
    if field.choices:
        return f"one of {', '.join(field.choices)}"
    if field.kind is str and field.max_chars:
        least = f"{field.min_chars} to" if field.min_chars else "at most"
        return f"text of {least} {field.max_chars:,} characters"
    return _KINDS[field.kind]


def _absent(value: object) -> str:
    match value:
        case None:
            return "null"
        case "":
            return "the empty text"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


# --- Open Data Contract Standard -------------------------------------------------------------------------------------

_LOGICAL: dict[type, str] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    Instant: "timestamp",
    Money: "number",
    JsonObject: "object",
    JsonArray: "array",
}


def data_contract(entity: str | None = None) -> dict[str, Any]:
    """The contract of an entity, or of all, by the Open Data Contract Standard 3.1."""
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": _urn(entity or "records"),
        "name": "What lands for most-watched creators",
        "version": __version__,
        "status": "active",
        "schema": [_dataset(each) for each in schema.ENTITIES if entity in (None, each)],
    }


def _dataset(entity: str) -> dict[str, Any]:
    fields = schema.landed_fields(entity)
    nested = _nested(fields)
    properties = [_property(entity, field) for field in fields if "." not in field.name]
    for outer, inner in nested.items():
        members = [_property(entity, field) | {"name": field.name.removeprefix(f"{outer}.")} for field in inner]
        properties.append({"name": outer, "logicalType": "object", "required": False, "properties": members})
    return {
        "name": entity,
        "logicalType": "object",
        "physicalName": entity,
        "physicalType": "folder of files",
        "description": _sentence(schema.RECORDS[entity].__doc__),
        "properties": properties,
    }


def _property(entity: str, field: LandedField) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": field.name,
        "logicalType": _LOGICAL[field.kind],
        "physicalType": _kind(field),
        "required": field.required,
    }
    if field.kind is str and not field.choices:
        bounds = {"minLength": field.min_chars, "maxLength": field.max_chars}
        made["logicalTypeOptions"] = {name: value for name, value in bounds.items() if value}
    key = schema.RECORDS[entity].key
    if field.column in key:
        made |= {"primaryKey": True, "primaryKeyPosition": key.index(field.column) + 1}
    return made
