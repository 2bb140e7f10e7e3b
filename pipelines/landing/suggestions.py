"""The line of `mostwatched.toml` by which files that were not read as the contract says probably can be.

It is only ever suggested, to whoever reads a message: nothing is read by what this says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipelines.landing.mapping import MAPPING_NAME
from pipelines.landing.records import MISSING, NULL_AS_TEXT, NULL_SPELLINGS
from pipelines.landing.resemblance import resembled_field
from pipelines.landing.schema import landed_fields, spellings
from pipelines.landing.values import NO_OFFSET, NO_TIME_ZONE, NUMBER_AS_INSTANT

DELIMITERS = {";": '";"', "\t": '"\\t"', "|": '"|"'}  # how TOML writes each
_OWN_ID = {"viewing_sessions": "sessionId", "pledges": "pledgeId"}  # what a column that is just called id probably is
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CELLS = re.compile(r'[,;|\t"]')
_UNITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}  # by the digits of an instant of our time
_COUNT = re.compile(r"(?<!\d)(?:\d{10}|\d{13}|\d{16}|\d{19})(?!\d)")

Rejection = tuple[str, str]  # (reason, text)


def of_header(entity: str, header: str) -> str:
    """A sentence for a file whose header lacks required fields; the empty text where nothing in it resembles one."""
    delimiter = suspected_delimiter(header)
    names = [name.strip().strip('"') for name in header.split(delimiter or ",")]
    return _sentence(entity, [*_delimiter(delimiter), *_rename(entity, names)])


def suspected_delimiter(header: str) -> str | None:
    """The delimiter that a header seems to have in place of commas."""
    if "," in header:
        return None
    return next((each for each in DELIMITERS if each in header), None)


def of_rejections(entity: str, rejected: Iterable[Rejection]) -> str:
    """A sentence for files some records of which were rejected; the empty text where no mapping would help."""
    names: dict[str, None] = {}
    units: dict[str, None] = {}
    nulls: set[str] = set()
    is_local = False
    for reason, text in rejected:
        is_local |= reason in (NO_OFFSET, NO_TIME_ZONE)
        if reason == MISSING:
            names |= dict.fromkeys(_object(text))
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
    return _sentence(entity, keys) + (" (Or the time zone of the clock that they were read off.)" if is_local else "")


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
