"""Records of persons in landed files: found, and taken out where that is asked for (landing/rewrite.py).

Landed files are the platform's: none is changed where that is not asked for, but the erasures that we landed ourselves.
Objects in buckets are looked at as copies, and never changed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipelines import remote
from pipelines.core import shared_folders
from pipelines.core.errors import Damaged
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Settings
from pipelines.jobs import redaction
from pipelines.jobs.id_matcher import IdMatchers
from pipelines.jobs.id_search import UNREADABLE, NotLookedInto, find_unread, hidden_in_table, hidden_in_text, in_unread
from pipelines.jobs.owned_records import may_hold, owned_ranges, owners_of_rows, rows_of
from pipelines.landing import (
    Ignored,
    LandedFile,
    Stamp,
    content_of,
    find_landed,
    open_landed,
    printable_name,
    rewrite,
)
from pipelines.raw import erasure_register
from pipelines.raw.catalog import every_raw_file, raw_files
from pipelines.raw.erasure_register import PERSON


@dataclass(frozen=True)
class LandedRecords:
    """A landed file that holds records of the person, or held them."""

    file: str  # its path
    records: int  # of theirs
    is_emptied: bool
    problem: str | None = None  # why they could not be taken out


def empty_own(settings: Settings, ids: IdMatchers) -> None:
    """Take the ids out of the erasures that we landed. Raises Damaged where one cannot be emptied."""
    own = erasure_register.landing(settings)
    for root in own:
        shared_folders.sweep(root)
    for files in landed_records(settings, ids, own, is_to_be_emptied=True).values():
        for landed in files:
            if landed.problem:
                raise Damaged(f"{landed.file} holds an erasure and cannot be emptied: {landed.problem}.")


def landed_records(
    settings: Settings, ids: IdMatchers, roots: Sequence[Path], *, is_to_be_emptied: bool
) -> dict[str, list[LandedRecords]]:
    """By user, the landed files that hold records of theirs, emptied of them if that is asked for.

    Whoever lands files does so meanwhile: what came, changed or was moved while others were looked at is looked at
    again, so that nothing is said to be emptied that was not.
    """
    seen: dict[str, Stamp | None] = {}  # of each file, as it was when nothing of the persons was left in it
    found: dict[str, dict[str, LandedRecords]] = {user: {} for user in ids.users}
    for _ in range(2 if is_to_be_emptied else 1):  # safeguard: landed-files-looked-at-again
        files, ignored = find_landed([root for root in roots if root.is_dir()])
        for file in files:
            if file.entity not in PERSON:  # what creators publish is public
                continue
            if file.location not in seen or seen[file.location] != _stamp(file):
                seen[file.location], held = _look_at(settings, ids, file, is_to_be_emptied=is_to_be_emptied)
                for user, its_files in found.items():
                    now, before = held.get(user), its_files.pop(file.location, None)
                    if before and before.is_emptied:
                        now = replace(now, records=before.records + now.records) if now else before
                    if now:
                        its_files[file.location] = now
        if is_to_be_emptied:
            hidden = {each.file: each for each in _hidden(settings, roots, ignored)}
            for its_files in found.values():
                its_files.update(hidden)
    return {user: list(its_files.values()) for user, its_files in found.items()}


def landed_records_in_buckets(
    settings: Settings, ids: IdMatchers, urls: Sequence[str]
) -> dict[str, list[LandedRecords]]:
    """By user, the objects of landing folders in buckets that hold records of theirs, by URL; none is changed.

    They are looked at one after the other, as copies that are gone again at once.
    """
    found: dict[str, list[LandedRecords]] = {user: [] for user in ids.users}
    for url in urls:
        with scratch_folder(settings.home, "forget") as folder:
            for name in remote.landed_copies(settings, url, folder, PERSON):  # safeguard: buckets-looked-through
                for user, held in landed_records(settings, ids, [folder], is_to_be_emptied=False).items():
                    found[user] += [replace(each, file=f"{url.rstrip('/')}/{name}") for each in held]
                if folder / name not in {file.path for file in find_landed([folder])[0]}:
                    for trace in find_unread([folder / name], folder, ids):
                        problem = trace.problem or "it holds the id, and is not read"
                        found[trace.user].append(LandedRecords(f"{url.rstrip('/')}/{name}", 0, False, problem))
    return found


def _stamp(file: LandedFile) -> Stamp | None:
    try:
        return Stamp.of(os.lstat(file.location))
    except OSError:
        return None


def _look_at(
    settings: Settings, ids: IdMatchers, file: LandedFile, *, is_to_be_emptied: bool
) -> tuple[Stamp | None, dict[str, LandedRecords]]:
    """What a landed file holds of each person, emptied of it if that is asked for, and the stamp of what was left."""

    def record(done: rewrite.Rewritten) -> None:
        erasure_register.record_rewrite(settings, done.sha256_before, done.sha256)
        for raw in every_raw_file(settings):
            entity, landed_sha256, how = raw.identity
            if (entity, how) == (file.entity, file.read_as) and (
                done.sha256_before in (landed_sha256, *raw.also_landed)
            ):
                redaction.record_replacement(raw, done.sha256, done.bytes)

    def held_by(users: Iterable[str], problem: str | None) -> dict[str, LandedRecords]:
        return {user: LandedRecords(str(file.path), records[user], is_emptied=False, problem=problem) for user in users}

    ids = every = ids.of_file(file)
    records: Counter[str] = Counter()
    try:
        with open_landed(file.path, file.root) as source:
            stamp: Stamp | None = source.stamp
            content = content_of(file.entity, file.read_as, source, file.mapping)
            if content.problem is not None:  # safeguard: unreadable-files-looked-into
                held = in_unread(source, ids)
                source.check_unchanged()
                return stamp, held_by(held, f"it holds the id and cannot be rewritten: {content.problem}")
            ids = ids.among(may_hold(content, source, ids))
            source.check_unchanged()
        if ids.users:
            owned = Counter[str]()
            selection = _selection(file, ids, owned)
            found = rewrite.find(file, selection)
            records = Counter(owned)
            stamp = found.stamp
            if records and is_to_be_emptied:
                stamp = rewrite.rewrite(file, selection, found, record).stamp
    except NotLookedInto as error:
        known = held_by(error.found, f"it holds the id and cannot be rewritten: {error}")
        return None, known | held_by(ids.users - error.found, f"it may hold the id: {error}")
    except UNREADABLE as error:
        return None, held_by(ids.users, str(error))
    emptied = {
        user: LandedRecords(str(file.path), count, is_emptied=is_to_be_emptied) for user, count in records.items()
    }
    hidden, problem = _hidden_in(file, every, but=() if is_to_be_emptied else set(records))
    left = dict.fromkeys(hidden, "it holds the id encoded, within a longer text, or in what describes it")
    if problem:
        left |= dict.fromkeys(every.users - hidden, f"it may hold the id: {problem}")
    found_too = {user: LandedRecords(str(file.path), records[user], False, why) for user, why in left.items()}
    return stamp, emptied | found_too | held_by(every.owners_of_all, "its folder is named by the id: remove the folder")


def _hidden_in(file: LandedFile, ids: IdMatchers, but: Collection[str]) -> tuple[set[str], str | None]:
    """The users whose ids are still in a landed file, as nothing that is rewritten, and why others' may be."""
    ids = ids.among(ids.users - set(but))
    if not ids.users:
        return set(), None
    try:
        with open_landed(file.path, file.root) as source:
            content = content_of(file.entity, file.read_as, source, file.mapping)
            if content.format == "parquet":
                with os.fdopen(os.dup(source.file.fileno()), "rb") as handle:
                    hidden = hidden_in_table(handle, ids)
            else:
                hidden = hidden_in_text(source, content, ids)
    except UNREADABLE as error:
        return set(), str(error)
    return hidden.found, hidden.problem


def _selection(file: LandedFile, ids: IdMatchers, owned: Counter[str]) -> rewrite.Selection:
    """The records of some users in a landed file; how many are whose is counted in `owned` as they are found."""

    def rows(batch: pa.RecordBatch) -> pa.Array:
        owners = owners_of_rows(batch, ids)
        owned.update(user for users in owners.values() for user in users)
        return rows_of(owners, batch.num_rows)

    return rewrite.Selection(partial(owned_ranges, entity=file.entity, ids=ids, owned=owned), rows)


def _hidden(settings: Settings, roots: Sequence[Path], ignored: Sequence[Ignored]) -> Iterator[LandedRecords]:
    """What is no file, or no folder, where files of people have landed: what they became cannot be told."""
    names = {name for raw in raw_files(settings) if raw.entity in PERSON for name in _with_folders(raw.landed_name)}
    for each in ignored:
        for root in roots:
            if each.path.is_relative_to(root) and printable_name(each.path.relative_to(root)) in names:
                problem = f"files have landed by this name, and now it is {each.reason}"
                yield LandedRecords(str(each.path), 0, is_emptied=False, problem=problem)


def _with_folders(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition("/")[0]
