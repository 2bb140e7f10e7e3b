"""How the files of a landing folder are read where they are not as the contract says: `mostwatched.toml`.

    [viewing_sessions]
    rename = { user_id = "viewerId", channel_id = "creatorId" }
    timezone = "Europe/Istanbul"   # of instants without an offset
    epoch = "ms"                   # what instants that are numbers count since 1970
    null = ["\\\\N"]                 # texts that stand for null
    delimiter = ";"                # of CSV
    escape = "\\\\"                  # a backslash in CSV escapes what follows
    quote = ""                     # and cells stand in no quotation marks

Without it nothing is guessed. What a file is read by is a part of the name of its raw folder (raw/layout.py).
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec

from pipelines.core.errors import UsageError
from pipelines.landing.schema import ENTITIES, spellings
from pipelines.landing.values import EPOCH_UNITS

MAPPING_NAME = "mostwatched.toml"
COMMA = ","  # between the cells of CSV, unless a mapping says another
BACKSLASH = "\\"
MAX_MAPPING_BYTES = 1 << 20
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"  # what Hive and Spark name a folder after whose key is null


class EntityMapping(msgspec.Struct, frozen=True, order=True, dict=True):
    """How the files of one entity are read; with the fields that stand in its folders, how one file is."""

    rename: tuple[tuple[str, str], ...] = ()  # (the landed name, the contract's), by the former
    timezone: str | None = None  # of instants without an offset
    epoch: str | None = None  # what instants that are numbers count: one of EPOCH_UNITS
    null: tuple[str, ...] | None = None  # texts that stand for null; None: nobody said
    delimiter: str | None = None  # of CSV
    in_folders: tuple[tuple[str, str | None], ...] = ()  # (field, text) out of `key=value` folders
    escape: str | None = None  # of CSV: a backslash, or "" for none; None: nobody said
    quote: str | None = None  # around cells of CSV; "": nothing; None: "

    @functools.cached_property
    def digest(self) -> str:
        """Names the mapping; the empty text where there is none. What stands in folders is none of it."""
        said = msgspec.structs.replace(self, in_folders=())
        if said == UNMAPPED:
            return ""
        keys = msgspec.structs.asdict(said)
        keys = {key: value for key, value in keys.items() if value is not None or key not in _LATER_KEYS}
        return hashlib.sha256(msgspec.json.encode(keys)).hexdigest()

    @functools.cached_property
    def folders_digest(self) -> str:
        """Names the fields that stand in folders; the empty text where there are none."""
        if not self.in_folders:
            return ""
        return hashlib.sha256(json.dumps(self.in_folders, ensure_ascii=True).encode()).hexdigest()[:16]

    @functools.cached_property
    def zone(self) -> ZoneInfo | None:
        """The time zone of instants without an offset."""
        return ZoneInfo(self.timezone) if self.timezone else None


_LATER_KEYS = {"escape", "quote"}  # mappings that do not say them have the digests that they had before these were
UNMAPPED = EntityMapping()


def mapped_spellings(entity: str, mapping: EntityMapping) -> Mapping[str, str]:
    """Every accepted spelling of an entity's fields -> the platform's: see `spellings`. A renamed one counts first."""
    known = spellings(entity)
    return known | {landed: known[field] for landed, field in mapping.rename} if mapping.rename else known


def in_folders(entity: str, name: str, mapping: EntityMapping) -> EntityMapping:
    """The mapping of one file, with the fields that stand in the `key=value` folders of its name.

    Percent-encoding is decoded. Keys that name no field are not looked at.
    """
    if "=" not in name:
        return mapping
    known = mapped_spellings(entity, mapping)
    found = set()
    for part in name.split("/")[1:-1]:
        key, is_pair, text = part.partition("=")
        field = known.get(unquote(key), ".") if is_pair else "."
        if not field.endswith("."):
            found.add((field, None if text == HIVE_NULL else unquote(text, errors="surrogateescape")))
    in_order = sorted(found, key=lambda pair: (pair[0], pair[1] or ""))
    return msgspec.structs.replace(mapping, in_folders=tuple(in_order)) if found else mapping


# --- the file -------------------------------------------------------------------------------------------------------


def parse_mappings(content: bytes, place: str) -> dict[str, EntityMapping]:
    """The mappings by entity of a `mostwatched.toml`; `place` names it in errors. Raises UsageError."""
    try:
        said = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{place} is not TOML: {error}. Nothing was read.") from None
    for entity, table in said.items():
        if entity not in ENTITIES or not isinstance(table, dict):
            what = "is not an entity" if entity not in ENTITIES else "is not a table"
            raise UsageError(
                f"{place}: {entity} {what}. A table names an entity, such as [viewing_sessions]: those are "
                f"{', '.join(ENTITIES)}."
            )
    return {entity: _entity_mapping(entity, table, f"{place}, [{entity}]") for entity, table in said.items()}


def _entity_mapping(entity: str, table: Mapping[str, Any], place: str) -> EntityMapping:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f'{place}: there is no key "{key}". Known are {", ".join(_KEYS)}.')
        values[key] = _KEYS[key](entity, value, place)
    if values.get("quote") == (values.get("delimiter") or COMMA):
        raise UsageError(f"{place}: quote and delimiter are the same character.")
    return EntityMapping(**values)


def _rename(entity: str, value: Any, place: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(field, str) for field in value.values()):
        raise UsageError(f'{place}: rename is a table of landed names and fields: rename = {{ user_id = "viewerId" }}.')
    known = spellings(entity)
    renamed: dict[str, str] = {}
    for landed, field in value.items():
        if field not in known:
            names = ", ".join(sorted({name.rstrip(".") for name in known.values()}))
            raise UsageError(f'{place}: "{landed}" is renamed to "{field}", which is no field. The fields are {names}.')
        if known[field] in renamed.values():
            raise UsageError(f"{place}: two names are renamed to {known[field].rstrip('.')}. Keep one.")
        renamed[landed] = known[field]
    return tuple(sorted((landed, field.rstrip(".")) for landed, field in renamed.items()))


def _timezone(_: str, value: Any, place: str) -> str:
    if isinstance(value, str) and value:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):  # a name that is unknown, or that is no name
            pass
        else:
            return value
    raise UsageError(f'{place}: timezone = {_shown(value)} is no time zone. Give a name such as "Europe/Istanbul".')


def _epoch(_: str, value: Any, place: str) -> str:
    if not isinstance(value, str) or value not in EPOCH_UNITS:
        raise UsageError(f"{place}: epoch = {_shown(value)} is not one of {', '.join(EPOCH_UNITS)}.")
    return value


def _null(_: str, value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{place}: null is a list of texts: null = ['\\N', 'NULL'].")
    return tuple(sorted(set(value)))


def _delimiter(_: str, value: Any, place: str) -> str:
    if not _is_mark(value) or value == '"':
        raise UsageError(f'{place}: delimiter = {_shown(value)} is not one character such as ";", "|" or "\\t".')
    return str(value)


def _is_mark(value: Any) -> bool:
    is_one = isinstance(value, str) and len(value) == 1 and value.isascii()
    return is_one and not value.isalnum() and value not in "\r\n\\\0"


def _escape(_: str, value: Any, place: str) -> str:
    if value not in ("", BACKSLASH):
        raise UsageError(
            f"{place}: escape = {_shown(value)} is neither '\\', for files in which a backslash escapes what follows "
            f"it, nor '', for those in which it is just a backslash."
        )
    return str(value)


def _quote(_: str, value: Any, place: str) -> str:
    if value != "" and not _is_mark(value):
        raise UsageError(f"{place}: quote = {_shown(value)} is neither one character nor '' for cells in none.")
    return str(value)


_KEYS: dict[str, Callable[[str, Any, str], Any]] = {
    "rename": _rename,
    "timezone": _timezone,
    "epoch": _epoch,
    "null": _null,
    "delimiter": _delimiter,
    "escape": _escape,
    "quote": _quote,
}


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
