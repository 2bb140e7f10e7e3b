"""Rejected records of raw, and what they say of files that cannot be read and of fields that have another name."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.landing import suggestions
from pipelines.landing.unreadable import OF_EVERY_RECORD, describe
from pipelines.raw.catalog import raw_files
from pipelines.raw.raw_file import RUN_AGAIN, RawFile

# By `suggest_mapping`, of an entity and of a file.
_FILES_LOOKED_AT = 5
_REJECTS_LOOKED_AT = 100


@dataclass(frozen=True)
class RejectedRecord:
    """One rejected record, as `mostwatched rejects` shows it."""

    entity: str
    file: str  # the landed file's name under the landing root
    line: int
    field: str | None
    reason: str
    text: str


def rejected_records(settings: Settings) -> Iterator[RejectedRecord]:
    """Every rejected record of the lake by (entity, file, line), read as it is asked for."""
    with_rejects = [raw for raw in raw_files(settings) if raw.rejects]
    for raw in sorted(with_rejects, key=lambda raw: (raw.entity, raw.landed_name, raw.key)):
        try:
            for batch in raw.rejected_records():
                for row in batch.to_pylist():
                    yield RejectedRecord(raw.entity, raw.landed_name, **row)
        except Damaged as error:
            raise Damaged(f"{error} {RUN_AGAIN}") from error


def describe_unreadable(raw: RawFile) -> str:
    """Say in sentences why a landed file could not be read, and what to do."""
    assert raw.unreadable is not None
    text = next((found for found in _texts_of(raw, raw.unreadable)), "")
    said = describe(raw.entity, raw.landed_name, raw.unreadable, text)
    if raw.unreadable in OF_EVERY_RECORD:
        return said
    others = [(reason, text) for reason, text in _looked_at(raw) if reason != raw.unreadable]
    return " ".join([said, *filter(None, [suggestions.of_rejections(raw.entity, others)])])


def _texts_of(raw: RawFile, reason: str) -> Iterator[str]:
    """The text of the record that was rejected for a reason; of one that is about all of them, the first."""
    for batch in raw.rejected_records():
        place = 0 if reason in OF_EVERY_RECORD else pc.index(batch["reason"], reason).as_py()
        if place >= 0:
            yield str(batch["text"][place])


def suggest_mapping(raw: Iterable[RawFile]) -> Iterator[str]:
    """Yield for each entity with rejected records what `mostwatched.toml` should say for them to be read.

    Looked at are some records of some files: a platform that writes otherwise does so throughout.
    """
    by_entity: dict[str, list[RawFile]] = defaultdict(list)
    for each in raw:
        if each.rejects and not each.unreadable and len(by_entity[each.entity]) < _FILES_LOOKED_AT:
            by_entity[each.entity].append(each)
    for entity, files in by_entity.items():
        rejections = itertools.chain.from_iterable(map(_looked_at, files))
        if suggestion := suggestions.of_rejections(entity, rejections):
            yield suggestion


def _looked_at(raw: RawFile) -> Iterator[tuple[str, str]]:
    """(reason, text) of the first records of a file that were rejected."""
    for batch in itertools.islice(raw.rejected_records(), 1):
        for row in batch.slice(0, _REJECTS_LOOKED_AT).to_pylist():
            yield row["reason"], row["text"]
