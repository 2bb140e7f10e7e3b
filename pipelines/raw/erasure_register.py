"""The register of forgotten users, by keyed digests of their ids: it keeps an id out of the lake once it was erased.

    <home>/forgotten/                 0700
        register.json                 a keyed digest of every forgotten id, its key, and what `forget` did; 0600
        landing/erasures/             a landing folder of our own, which every run reads beside the platform's
            forget-<random>.ndjson    an erasure that `forget` lands; emptied once nothing holds the id any more

A landed file that still holds a forgotten id, or brings it back, is read without those records: ids are known again by
their digest. The register does not hold the ids, but whoever has it and its key can try ids as fast as a run does with
those that land, about a million a second on a core: all ids of seven digits in seconds. A slow derivation would not
help, for a run asks about every id that lands. What helps is a second key, in a file outside of the home
(MOSTWATCHED_FORGOTTEN_KEY): a home, a bucket or a backup without it says how many were forgotten, when, and how long
their ids are, and nothing of who. A register that was there before the file is locked by it: its digests are digested
again.
"""

from __future__ import annotations

import hashlib
import json
import os
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
    locked_by: str | None = None  # names the key outside of the home that its digests need; None: they need none
    key_file: Path | None = None  # where that is

    def digest(self, user: str) -> str:
        """The keyed digest of an id. Raises Damaged where the key outside of the home is needed and not there."""
        # The key stands before the id and not beside it: one block to hash instead of two. BLAKE2 allows it.
        digest = hashlib.blake2b(self._key + user.encode("utf-8", "surrogatepass"), digest_size=16)
        if self._outside_key is None:
            return digest.hexdigest()
        return locked(digest.digest(), self._outside_key)

    @cached_property
    def _outside_key(self) -> bytes | None:
        if self.locked_by is None:
            return None
        key = _read_key(self.key_file) if self.key_file is not None else None
        if key is None or _name_of(key) != self.locked_by:  # safeguard: register-needs-its-key
            where = f"{self.key_file} does not hold it" if self.key_file else "no MOSTWATCHED_FORGOTTEN_KEY is set"
            raise Damaged(
                "The register of the forgotten is locked by a key outside of the home, and "
                f"{where}: name the right file with MOSTWATCHED_FORGOTTEN_KEY. Without it ids would come back."
            )
        return key

    def require_key(self) -> None:
        """Raise Damaged if ids cannot be told from the forgotten."""
        if self.entries:
            self.digest("")

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
        if self._outside_key is not None:
            return [user for user in different.to_pylist() if self.digest(user) in entries]
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
    return rows.filter(is_of_others(entity, rows, users))


def is_of_others(entity: str, rows: pa.Table, users: Collection[str]) -> pa.ChunkedArray:
    """Whether each row of raw belongs to none of some `users`."""
    return pc.invert(pc.is_in(rows[PERSON[entity]], pa.array(users, pa.string())))  # that of null is true


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
        return Register(
            str(content["key"]),
            entries,
            dict(content["emptied"]),
            has_pseudonyms="outdone" in content,
            locked_by=content.get("locked_by"),
            key_file=settings.forgotten_key,
        )
    except FileNotFoundError:
        if not landing(settings):  # safeguard: register-of-forgotten-needed
            return Register(secrets.token_hex(32), {}, {}, key_file=settings.forgotten_key)
        raise Damaged(f"{path} is missing. {_REMEDY}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is damaged: {error}. {_REMEDY}") from error


_REMEDY = (
    "It says who must not come back: put it back from a backup, or, if that is gone, move the folder it is in away and "
    "give `mostwatched forget` again for everybody who was forgotten."
)


def lock(settings: Settings) -> Register:
    """Lock the register by the key outside of the home, where a setting names one; the key is made if it is not there.

    What was digested before is digested again, so that the key in the home no longer suffices for any of it. Needs the
    lock of the home. Raises Damaged for a file that holds no key.
    """
    register = read(settings)
    path = settings.forgotten_key
    if path is None or register.locked_by is not None:
        return register
    key = _read_key(path) or _make_key(path)
    entries = [{**entry, "digest": locked(bytes.fromhex(digest), key)} for digest, entry in register.entries.items()]
    register = replace(register, entries={each["digest"]: each for each in entries}, locked_by=_name_of(key))
    if (folder(settings) / REGISTER).exists():
        write(settings, register)
    return register


def locked(digest: bytes, key: bytes) -> str:
    """A digest of an id, digested again by the key outside of the home."""
    return hashlib.blake2b(digest, key=key, digest_size=16).hexdigest()


def _name_of(key: bytes) -> str:
    """What tells a key from another, and says nothing of it: 256 random bits are not tried out."""
    return hashlib.blake2b(key, digest_size=16, person=b"mostwatched").hexdigest()


def _read_key(path: Path) -> bytes | None:
    """The key in a file; None without the file. Raises Damaged where it holds none."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except ValueError:
        key = b""
    if not 32 <= len(key) <= 64:
        raise Damaged(
            f"{path} (MOSTWATCHED_FORGOTTEN_KEY) holds no key: it must be 64 to 128 hexadecimal digits. Name a file "
            "that is not there yet to have one made."
        )
    return key


def _make_key(path: Path) -> bytes:
    """A new key in a new file of this user alone, durable when this returns."""
    durable_files.make_folder(path.parent)
    key = secrets.token_bytes(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{key.hex()}\n")
    durable_files.fsync(path)
    durable_files.fsync(path.parent)
    return key


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
    content: dict[str, Any] = {"key": register.key, "forgotten": entries, "emptied": dict(register.emptied)}
    if register.locked_by is not None:
        content["locked_by"] = register.locked_by
    with durable_files.new_file(folder(settings) / REGISTER) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(durable_files.json_bytes(durable_files.with_checksum(content)))
