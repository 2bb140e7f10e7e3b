"""The register of forgotten users, by keyed digests of their ids: it keeps an id out of the lake once it was erased.

    <home>/forgotten/                 0700
        register.json                 a keyed digest of every forgotten id, the key, and what `forget` did; 0600
        landing/erasures/             a landing folder of our own, which every run reads beside the platform's
            forget-<random>.ndjson    an erasure that `forget` lands; emptied once nothing holds the id any more

A landed file that still holds a forgotten id, or brings it back, is read without those records: ids are known again by
their digest. Whoever can read the register can test whether an id they already know is among the forgotten; nobody can
read the ids out of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core import durable_files
from pipelines.core.errors import Damaged
from pipelines.core.settings import Settings
from pipelines.landing import Batch, RejectedLine
from pipelines.landing.schema import RECORDS

FORGOTTEN_TEXT = "(the text of this record named somebody who was forgotten)"

PERSON = {entity: record.person for entity, record in RECORDS.items() if record.person}
REGISTER = "register.json"


def folder(settings: Settings) -> Path:
    """Where all of this is."""
    return settings.home / "forgotten"


def landing(settings: Settings) -> list[Path]:
    """The landing folder of our own, or none where nobody was ever forgotten."""
    root = folder(settings) / "landing"
    return [root] if root.is_dir() else []


def prepare(settings: Settings, register: Register) -> Path:
    """Make the folder and the register; returns where erasures are landed."""
    durable_files.make_folder(folder(settings))
    folder(settings).chmod(0o700)
    if not (folder(settings) / REGISTER).exists():
        write(settings, register)
    erasures = folder(settings) / "landing" / "erasures"
    durable_files.make_folder(erasures)
    return erasures


@dataclass(frozen=True)
class Register:
    """The forgotten, by digest; each with what is kept of how they were forgotten."""

    key: str  # hexadecimal, of this home
    entries: Mapping[str, Mapping[str, Any]]
    emptied: Mapping[str, str]  # sha256 of landed files -> that of the same without the forgotten
    has_pseudonyms: bool = False  # it was written by a version that kept records of the forgotten under other names

    def digest(self, user: str) -> str:
        """The keyed digest of an id."""
        # The key stands before the id and not beside it: one block to hash instead of two. BLAKE2 allows it.
        return hashlib.blake2b(self._key + user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @cached_property
    def _key(self) -> bytes:
        return bytes.fromhex(self.key)

    def holds(self, user: str) -> bool:
        """Whether somebody of this id was forgotten."""
        return self.digest(user) in self.entries

    def now(self, landed_sha256: str, there: Collection[str]) -> str:
        """The sha256 of what a landed file became, unless it is among those `there` as it was."""
        while landed_sha256 not in there and landed_sha256 in self.emptied:
            landed_sha256 = self.emptied[landed_sha256]
        return landed_sha256

    def without_forgotten(self, entity: str, batch: Batch) -> Batch:
        """Return a batch without the records and the names of forgotten users."""
        if not self.entries:
            return batch
        accepted, rejected = batch.accepted, batch.rejected
        column = PERSON.get(entity)
        if column is not None and accepted.num_rows and (found := self._among(accepted[column])):
            accepted = exclude_users(entity, accepted, found)
        if any(self._is_named_in(line.text) for line in rejected):
            rejected = [
                RejectedLine(line.line, line.field, line.reason, FORGOTTEN_TEXT)
                if self._is_named_in(line.text)
                else line
                for line in rejected
            ]
        if accepted is batch.accepted and rejected is batch.rejected:
            return batch
        return replace(batch, accepted=accepted, rejected=rejected)

    def _among(self, ids: pa.ChunkedArray) -> list[str]:
        """Which of a column's ids were forgotten. Asked of every record that lands: a tight loop."""
        different = pc.unique(ids)
        lengths = pa.array(self._lengths, pa.int32())
        different = different.filter(pc.fill_null(pc.is_in(pc.utf8_length(different), lengths), False))
        blake2b, key, entries = hashlib.blake2b, self._key, self.entries
        return [
            user
            for user in different.to_pylist()
            if blake2b(key + user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest() in entries
        ]

    def _is_named_in(self, text: str) -> bool:
        return any(self.holds(word) for word in candidate_ids(text, self._lengths))

    @cached_property
    def _lengths(self) -> frozenset[int]:
        return frozenset(entry["length"] for entry in self.entries.values())


def exclude_users(entity: str, rows: pa.Table, users: Collection[str]) -> pa.Table:
    """Return the rows of raw that belong to none of some `users`."""
    is_owned = pc.is_in(rows[PERSON[entity]], pa.array(users, pa.string()))  # false of null
    return rows.filter(pc.invert(is_owned))


_EDGE = re.compile(r"(?<![A-Za-z0-9_-])|(?![A-Za-z0-9_-])")
# One that does not end goes on to the end of the text: no string begins in it, and it is not looked for anew in each.
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_CSV_CELL = re.compile(r'"((?:[^"]|"")*)"')


def candidate_ids(text: str, lengths: Collection[int]) -> set[str]:
    """What could be an id in the text of a landed record: what is as long as one and no part of a longer word, its
    quoted parts, and every string of its JSON."""
    edges = {edge.start() for edge in _EDGE.finditer(text)}
    found = {text[at : at + length] for at in edges for length in lengths if at + length in edges}
    for quoted in _JSON_STRING.findall(text):
        with suppress(ValueError):
            found.add(json.loads(quoted, strict=False))
    found.update(cell.replace('""', '"') for cell in _CSV_CELL.findall(text))
    with suppress(ValueError, RecursionError):
        found.update(strings_in(json.loads(text)))
    return found


def strings_in(value: Any, *, and_numbers: bool = True) -> Iterable[str]:
    """Every string in a JSON value, names of fields too; whole numbers as they are written."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, int) and and_numbers:
            yield str(one)


def read(settings: Settings) -> Register:
    """The register; an empty one, with a key of its own, where nobody was ever forgotten.

    Raises Damaged when it is not what was written: without it a forgotten id could come back.
    """
    path = folder(settings) / REGISTER
    try:
        content = durable_files.verify_checksum(path.read_bytes())
        entries = {entry["digest"]: entry for entry in content["forgotten"]}
        return Register(str(content["key"]), entries, dict(content["emptied"]), has_pseudonyms="outdone" in content)
    except FileNotFoundError:
        if not landing(settings):  # safeguard: register-of-forgotten-needed
            return Register(secrets.token_hex(32), {}, {})
        raise Damaged(f"{path} is missing. {_REMEDY}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is damaged: {error}. {_REMEDY}") from error


_REMEDY = (
    "It says who must not come back: put it back from a backup, or, if that is gone, move the folder it is in away and "
    "give `mostwatched forget` again for everybody who was forgotten."
)


def add_entry(settings: Settings, entry: Mapping[str, Any]) -> None:
    """Add an entry, or put it in place of the one of its digest; durable when this returns."""
    register = read(settings)
    write(settings, replace(register, entries={**register.entries, entry["digest"]: entry}))


def record_rewrite(settings: Settings, sha256_before: str, sha256: str) -> None:
    """Note that a landed file is going to be another, so that it is not missed; durable when this returns."""
    register = read(settings)
    write(settings, replace(register, emptied={**register.emptied, sha256_before: sha256}))


def write(settings: Settings, register: Register) -> None:
    """Write the register, durably."""
    entries = list(register.entries.values())
    content = {"key": register.key, "forgotten": entries, "emptied": dict(register.emptied)}
    with durable_files.new_file(folder(settings) / REGISTER) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(durable_files.json_bytes(durable_files.with_checksum(content)))
