"""The line of `mostwatched.toml` by which files that were not read as the contract says probably can be.

It is only ever suggested, to whoever reads a message: nothing is read by what this says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipelines.landing.csv_dialect import BACKSLASH_OPEN
from pipelines.landing.envelopes import Envelope, envelope_of
from pipelines.landing.mapping import MAPPING_NAME
from pipelines.landing.records import MISSING, NULL_AS_TEXT, NULL_SPELLINGS
from pipelines.landing.resemblance import entity_of_names, resembled_field
from pipelines.landing.schema import landed_fields, spellings
from pipelines.landing.values import NO_OFFSET, NO_TIME_ZONE, NOT_AN_INSTANT, NOT_JSON, NUMBER_AS_INSTANT, OUTSIDE

DELIMITERS = {";": '";"', "\t": '"\\t"', "|": '"|"'}  # how TOML writes each
_OWN_ID = {"viewing_sessions": "sessionId", "pledges": "pledgeId"}  # what a column that is just called id probably is
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CELLS = re.compile(r'[,;|\t"]')
_UNITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}  # by the digits of an instant of our time
_COUNT = re.compile(r"(?<!\d)(?:\d{10}|\d{13}|\d{16}|\d{19})(?!\d)")

_DRAWN = re.compile(r"\s*[+|┌┏╭]|.*\S  *\|  *\S|\s+\S+ = ")  # psql, mysql, sqlite3 and others, on a terminal
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*$")
_LOCAL_DATE = re.compile(r"(?<!\d)\d{1,2}([./])\d{1,2}\1\d{4}(?!\d)|(?<!\w)(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ")
_PYTHON = re.compile(r"\s*\[?\s*\{\s*'")
_INFINITY = re.compile(r"(?<!\w)-?infinity(?!\w)", re.IGNORECASE)
_DOUBLED = re.compile(r'(?<!\\)\\\\"|^\s*\\n')  # a quotation mark that two backslashes stand before

_LOOKED_INTO = 10  # records, for an envelope: each may be as large as a line may be

Rejection = tuple[str, str]  # (reason, text)


def of_header(entity: str, header: str) -> str:
    """A sentence for a file whose header lacks required fields; the empty text where nothing in it resembles one."""
    if _DRAWN.match(header):
        return (
            "It seems to be a table drawn for people: write CSV (psql --csv, mysql --batch, sqlite3 -csv, "
            "clickhouse-client --format CSVWithNames)"
        )
    if found := _SEPARATOR_LINE.match(header):
        return f'Its first line is one for Excel: leave it out, and say delimiter = "{found[1]}" in {MAPPING_NAME}'
    delimiter = suspected_delimiter(header)
    names = [name.strip('"') for name in header.split(delimiter or ",")]
    if any(name != name.strip() for name in names):
        return "White space stands around its names, and perhaps around what is below them: write it without"
    if other := _other_entity(entity, names):
        return other
    return _sentence(entity, [*_delimiter(delimiter), *_rename(entity, names)])


def _other_entity(entity: str, names: Iterable[str]) -> str:
    """A sentence for names that another entity's records have; the empty text where none has."""
    other = entity_of_names(frozenset(names))
    return "" if other in (entity, "erasures", None) else f"It seems to hold {other}: move it to the folder {other}"


def suspected_delimiter(header: str) -> str | None:
    """The delimiter that a header seems to have in place of commas."""
    if "," in header:
        return None
    return next((each for each in DELIMITERS if each in header), None)


def of_rejections(entity: str, rejected: Iterable[Rejection]) -> str:
    """Sentences for files some records of which were rejected; the empty text where it is not plain what would help."""
    names: dict[str, None] = {}
    said: dict[str, None] = {}
    units: dict[str, None] = {}
    nulls: set[str] = set()
    is_local = False
    looked_into = 0
    for reason, text in rejected:
        is_local |= reason in (NO_OFFSET, NO_TIME_ZONE)
        said |= dict.fromkeys(_otherwise_written(reason, text))
        if reason == MISSING or reason.endswith("got an object"):
            record = _object(text)
            looked_into += 1
            if other := _other_entity(entity, record):
                said[f"{other}."] = None
            elif looked_into <= _LOOKED_INTO and (envelope := envelope_of(entity, record)):
                said[envelope.remedy()] = None
                names |= dict.fromkeys(envelope.record)
            elif reason == MISSING:
                names |= dict.fromkeys(record)
        elif reason == NULL_AS_TEXT:
            nulls |= NULL_SPELLINGS & _values(text)
        elif reason == NUMBER_AS_INSTANT:
            units |= {_UNITS[len(count)]: None for count in _COUNT.findall(text)}
    keys = _rename(entity, list(names))
    if is_local:
        keys.append('timezone = "UTC"')
    if units:
        keys.append(f'epoch = "{next(iter(units))}"')
    if nulls:
        keys.append("null = [" + ", ".join(f"'{each}'" for each in sorted(nulls)) + "]")
    if keys:
        others = " (Or the time zone of the clock that they were read off.)" if is_local else ""
        said[_sentence(entity, keys) + others] = None
    return " ".join(said)


def envelope_of_text(entity: str, text: str) -> Envelope | None:
    """The envelope that the fields of a rejected record stand in, by its text."""
    return envelope_of(entity, _object(text))


def _otherwise_written(reason: str, text: str) -> Iterator[str]:
    """Sentences for what a program writes otherwise once it is asked to, or means otherwise."""
    if reason == NOT_AN_INSTANT and _LOCAL_DATE.search(text):
        yield _ISO_DATES
    if _INFINITY.search(text) and (reason == NOT_AN_INSTANT or reason.endswith(OUTSIDE)):
        yield _NO_INFINITY
    if reason.startswith(NOT_JSON) and _PYTHON.match(text):
        yield _NO_PYTHON
    if reason.startswith(NOT_JSON) and _DOUBLED.search(text):
        yield _NOT_DOUBLED
    if reason == BACKSLASH_OPEN:
        yield _ESCAPES


_ISO_DATES = (
    "Write instants as 2026-03-09T10:00:00Z (PostgreSQL: set datestyle = 'ISO'): days and months are not guessed."
)
_NO_INFINITY = f"Infinity is no instant: write null for it, or say null = ['infinity'] of it in {MAPPING_NAME}."
_ESCAPES = (
    "Say escape = '\\' and quote = '' of it in mostwatched.toml if a database wrote it (COPY, mysql --batch, "
    "TabSeparated), and escape = '' if a backslash is just that."
)
_NO_PYTHON = "It is what Python shows of a dict, which is no JSON: write it with json.dumps."
_NOT_DOUBLED = (
    "Its backslashes seem to be doubled, as COPY and mysql --batch do with JSON: use psql -At -c, or mysql --raw."
)


def _sentence(entity: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    line = f"{entity} = {{ {', '.join(keys)} }}"
    return f"If that is what they mean, put this line into {MAPPING_NAME} in the landing folder: {line}"


def _delimiter(delimiter: str | None) -> list[str]:
    return [f"delimiter = {DELIMITERS[delimiter]}"] if delimiter else []


def _rename(entity: str, names: Sequence[str]) -> list[str]:
    """Which of the names are probably those of fields that are not there, each field once."""
    known = spellings(entity)
    given = {known[name] for name in names if name in known}
    fields = [each.name for each in landed_fields(entity) if each.name not in given]
    renamed: dict[str, str] = {}
    for name in names:
        own = _OWN_ID.get(entity) if name.lower() in ("id", "_id", "uuid") else None
        field = None if name in known else own if own in fields else resembled_field(name, fields)
        if field is not None:
            renamed[name] = field
            fields.remove(field)
    if not renamed:
        return []
    pairs = (f'{_key(name)} = "{field}"' for name, field in renamed.items())
    return [f"rename = {{ {', '.join(pairs)} }}"]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _object(text: str) -> Mapping[str, Any]:
    with suppress(ValueError, RecursionError):
        landed = json.loads(text)
        if isinstance(landed, dict):
            return landed
    return {}


def _values(text: str) -> set[str]:
    landed = _object(text)
    return {each for each in landed.values() if isinstance(each, str)} if landed else set(_CELLS.split(text))
