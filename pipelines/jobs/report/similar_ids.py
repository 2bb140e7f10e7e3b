"""Ids that differ only in what people do not see: they are taken as they land, and counted here.

White space around an id, another Unicode form of the same characters, characters of no width, or the case of a
hexadecimal id make two ids of one, and of one person two. What lands is not changed: they may be two.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
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
_NO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{8,}(?:-[0-9A-Fa-f]{4,})*")


def canonical(identifier: str) -> str:
    """The id as people see it: ids that look alike have the same."""
    seen = unicodedata.normalize("NFKC", identifier).translate(_NO_WIDTH).strip()
    return seen.lower() if _HEXADECIMAL.fullmatch(seen) else seen


def find(
    settings: Settings, new: Sequence[RawFile], raw: Sequence[RawFile], days: InclusiveRange
) -> list[dict[str, Any]]:
    """How many ids of `new` raw folders look like another one in `raw`, by kind, with a sentence.

    Of sessions those of some UTC days are compared. Where no new id is unusual, nothing else is read.
    """
    found = []
    new_folders, all_folders = folders_of(new), folders_of(raw)
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


def _sentence(kind: str, ids: int) -> str:
    return (
        f"{counted(ids, f'{kind} id')} differ only in white space around them, in their Unicode form, in characters of "
        "no width or in the case of hexadecimal digits: each counts as an id of its own"
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
    where regexp_matches(id, '^\s|\s$|[^\x21-\x7e]')
        or (id <> lower(id) and regexp_full_match(id, '[0-9A-Fa-f]{8,}(-[0-9A-Fa-f]{4,})*'))
    order by id
    limit $most
"""
_PLAIN = """
    select distinct id from all_ids where id in (select unnest($ids))
"""
