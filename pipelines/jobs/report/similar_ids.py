"""Ids that differ only in what people do not see: they are taken as they land, and counted here.

White space around an id, another Unicode form of the same characters, characters of no width, letters of another
alphabet that look the same, the case of a hexadecimal id or brackets around a UUID make two ids of one, and of one
person two. What lands is not changed: they may be two.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from typing import Any

from pipelines.core.calendar_days import InclusiveRange
from pipelines.core.settings import Settings
from pipelines.core.text import counted
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder

MOST_UNUSUAL = 10_000  # new ids that are looked at, of each kind
_KINDS = {"viewer_id": "user", "user_id": "user", "creator_id": "creator", "device_id": "device", "stream_id": "stream"}
_NO_WIDTH = frozenset(
    "\u034f\u115f\u1160\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
)  # beside format characters
_BARE_UUID = re.compile(r"(?:\{|urn:uuid:)([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}?", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"(?:0x)?[0-9A-Fa-f]{8,}(?:-[0-9A-Fa-f]{4,})*")


def canonical(identifier: str) -> str:
    """The id as people see it: ids that look alike have the same. Of ASCII letters each looks like itself alone."""
    seen = "".join(filter(_is_seen, identifier))
    seen = unicodedata.normalize("NFKC", seen).strip()
    if not seen.isascii():
        seen = "".join(char if char.isascii() else _look_alike(char) for char in seen)
    digits = _BARE_UUID.sub(r"\1", seen)
    return digits.lower() if _HEXADECIMAL.fullmatch(digits) else seen


def _is_seen(char: str) -> bool:
    """Whether a character has a width: white space has, a NUL that fills a field up has none."""
    return char not in _NO_WIDTH and (unicodedata.category(char) not in ("Cc", "Cf") or char.isspace())


@cache
def _look_alike(char: str) -> str:
    """One character for all that look like this one: of ASCII the one of its kind, such as a capital letter, if any."""
    alike, todo = {char}, [char]
    while todo:
        new = _confusable(todo.pop()) - alike
        alike |= new
        todo += new
    alike = {each for each in alike if unicodedata.is_normalized("NFKC", each)}  # as the ids are
    ascii_ones = sorted(filter(str.isascii, alike))
    kind = unicodedata.category(char)
    return next((each for each in ascii_ones if unicodedata.category(each) == kind), min(ascii_ones or alike))


def _confusable(char: str) -> set[str]:
    from confusable_homoglyphs import confusables  # a tenth of a second, which most nights need not

    found = confusables.is_confusable(char, greedy=True) or []
    return {other["c"] for each in found for other in each["homoglyphs"] if len(other["c"]) == 1}


def find(
    settings: Settings, new: Sequence[RawFile], raw: Sequence[RawFile], days: InclusiveRange
) -> list[dict[str, Any]]:
    """How many ids of `new` raw folders look like another one in `raw`, by kind, with a sentence.

    Of sessions those of some UTC days are compared. Where no new id is unusual, nothing else is read.
    """
    found = []
    all_folders = folders_of(raw)
    new_folders = _folders_of_new(new, all_folders)
    with engine.run_session(settings, "report") as connection:
        for kind in dict.fromkeys(_KINDS.values()):
            if not _register(connection, "new_ids", kind, new_folders, days):
                continue
            unusual = engine.query(connection, _UNUSUAL, {"most": MOST_UNUSUAL}).column("id").to_pylist()
            if not unusual:
                continue
            _register(connection, "all_ids", kind, all_folders, days)
            plain = engine.query(connection, _PLAIN, {"ids": [canonical(each) for each in unusual]})
            alike: dict[str, set[str]] = defaultdict(set)
            for each in [*unusual, *plain.column("id").to_pylist()]:
                alike[canonical(each)].add(each)
            if ids := sum(len(each) for each in alike.values() if len(each) > 1):
                found.append({"kind": kind, "ids": ids, "sentence": _sentence(kind, ids)})
    return found


def erasures_in_vain(
    settings: Settings, new: Sequence[RawFile], raw: Sequence[RawFile], days: InclusiveRange
) -> list[str]:
    """A sentence where newly landed erasures name nobody, and somebody but for case, white space or quotation marks.

    Of sessions those of some UTC days are compared. Without new erasures nothing is read.
    """
    new_erasures = [each for each in new if each.entity == "erasures"]
    if not new_erasures:
        return []
    everybody = folders_of(raw)
    erasures = _folders_of_new(new_erasures, everybody)
    others = [folder for folder in everybody if folder.entity != "erasures"]
    with engine.run_session(settings, "report") as connection:
        if not _register(connection, "erasures", "user", erasures, days):
            return []
        if not _register(connection, "others", "user", others, days):
            return []
        count = engine.query(connection, _IN_VAIN, {"around": " \t\r\n'\""}).column("ids").to_pylist()[0]
    if not count:
        return []
    verb = "names" if count == 1 else "name"
    return [
        f"{counted(count, 'newly landed erasure')} {verb} nobody, and somebody but for upper and lower case, white "
        "space or quotation marks, who is not erased: land them with the ids as they stand in sessions"
    ]


def _folders_of_new(new: Sequence[RawFile], all_folders: Sequence[RawFolder]) -> list[RawFolder]:
    """The folders of new files. Those that hold nothing else are among all folders, and are not added up again."""
    keys = frozenset(each.key for each in new)
    whole = [folder for folder in all_folders if keys.issuperset(folder.keys)]
    known = {folder.location for folder in whole}
    return [*whole, *folders_of([each for each in new if each.location not in known])]


def _sentence(kind: str, ids: int) -> str:
    return (
        f"{counted(ids, f'{kind} id')} differ only in white space around them, in their Unicode form, in characters of "
        "no width, in letters of other alphabets that look the same, in the case of hexadecimal digits or in brackets "
        "around a UUID: each counts as an id of its own"
    )


def _register(
    connection: engine.Connection, name: str, kind: str, folders: Sequence[RawFolder], days: InclusiveRange
) -> bool:
    """Make a view of the ids of a kind; returns whether any file has some."""
    selects = []
    for entity, column in _columns(kind):
        paths = [
            folder.path(file)
            for folder in folders
            if folder.entity == entity
            for file in folder.files
            if file == "all" or date.fromisoformat(file) in days
        ]
        if paths:
            engine.register(connection, f"{name}_{entity}_{column}", paths)
            selects.append(f'select {column} as id from "{name}_{entity}_{column}" where {column} is not null')
    if selects:
        connection.execute(f'create or replace temp view "{name}" as {" union all ".join(selects)}')
    return bool(selects)


def _columns(kind: str) -> Iterator[tuple[str, str]]:
    for entity, schema in RAW_SCHEMAS.items():
        for column in schema.names:
            if _KINDS.get(column) == kind:
                yield entity, column


_UNUSUAL = r"""
    select distinct id
    from new_ids
    where regexp_matches(id, '^\s|\s$|[^\x21-\x7e]|^\{|(?i)^urn:uuid:')
        or (id <> lower(id) and regexp_full_match(id, '(0x)?[0-9A-Fa-f]{8,}(-[0-9A-Fa-f]{4,})*'))
    order by id
    limit $most
"""
_IN_VAIN = """
    with erased as (select distinct id from erasures)
    select count(distinct erased.id) as ids
    from others
    join erased on lower(trim(others.id, $around)) = lower(trim(erased.id, $around))
    where erased.id not in (select id from others where id in (select id from erased))
"""
_PLAIN = """
    select distinct id from all_ids where id in (select unnest($ids))
"""
