"""What a published snapshot depends on: landed files, as they are listed, and the raw folders of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pipelines.core.errors import Damaged, UsageError
from pipelines.core.settings import Settings
from pipelines.landing.named_day import named_day
from pipelines.raw import erasure_register
from pipelines.raw.catalog import raw_files
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder, entries_digest
from pipelines.raw.readings import resolve_landed
from pipelines.raw.writer import AGE_NOT_NOTED, ALL
from pipelines.snapshots import landed_list, manifest
from pipelines.snapshots.landed_list import Entry, ListedFiles, Part
from pipelines.snapshots.manifest import Pointer, Snapshot

Named = TypeVar("Named")
Found = TypeVar("Found")

# Landed files that a manifest lists itself: some 300 KB, and what opens snapshots one after the other reads them all.
LISTED_INSIDE = 1_000


def snapshot_inputs(settings: Settings, snapshot: Snapshot, remedy: str) -> list[RawFile]:
    """Return the raw folders of the files that had landed when the snapshot was made.

    Raises Damaged, with what to do (`remedy`), when one is gone.
    """
    found, gone = resolve_landed(raw_files(settings), snapshot.landed, erasure_register.read(settings))
    if gone:
        raise Damaged(
            f"{len(gone)} landed files that snapshot {snapshot.id} rests on are no longer in {settings.lake}, such as "
            f"{gone[0]}. {remedy}"
        )
    return found


def new_keys(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the keys of the landed files that `after` rests on and `before` does not.

    Of their lists no part is read that is the same in both.
    """
    if before.listed_files.keys_sha256 == after.listed_files.keys_sha256:
        return set()
    listed = [one.listed_files.sha256 for one in (before, after)]
    if None in listed:
        was, now = ({file["key"] for file in one.landed} for one in (before, after))
        return now - was
    folder = after.path.parent
    found = [set(landed_list.parts(folder, str(sha256))) for sha256 in listed]
    was, now = (
        {file["key"] for part in its - others for file in landed_list.entries(folder, part)}
        for its, others in (found, found[::-1])
    )
    return now - was


class LandedFiles:
    """The landed files that a run rests on, beside those that were listed before.

    Most of a long history is as it was listed: then none of it is looked at file by file.
    """

    def __init__(self, snapshots: Path, raw: Iterable[RawFile]) -> None:
        """`raw` is what a snapshot would be made of."""
        self._snapshots = snapshots
        self._folders = by_folder(raw)
        self.problems: list[str] = []  # what is wrong with lists that were to be read, a sentence each

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of all of them."""
        return frozenset(key for folder in self._folders for key in folder.keys)

    @cached_property
    def keys_sha256(self) -> str:
        """See landed_list.keys_digest."""
        return landed_list.keys_digest(self.keys)

    def no_longer_there(self, snapshot: Snapshot) -> Iterable[Entry]:
        """The landed files of a snapshot whose keys are not among these. What a damaged list named is not known."""
        listed = snapshot.listed_files
        if listed.keys_sha256 == self.keys_sha256:
            return []
        if listed.sha256 is None:
            return [file for file in snapshot.landed if file["key"] not in self.keys]
        return [file for part in self._other_parts(listed.sha256) for file in self._entries(part)]

    def accepted_before(self, pointer: Pointer | None, newest: Snapshot | None) -> AbstractSet[str]:
        """The keys of the landed files that the run behind the pointer had accepted; without one, of the `newest`.

        What a damaged list named is taken for new: it is judged again.
        """
        if pointer is not None and isinstance(pointer.landed, tuple):
            return frozenset(pointer.landed)
        if pointer is not None and isinstance(pointer.landed, ListedFiles):
            if pointer.landed.keys_sha256 == self.keys_sha256:
                return self.keys
            if pointer.landed.sha256 is not None:
                return self._keys_of(pointer.landed.sha256)
            with suppress(Damaged, UsageError):
                return {file["key"] for file in manifest.open_snapshot(self._snapshots, pointer.snapshot_id).landed}
        if newest is None:
            return frozenset()
        if newest.listed_files.sha256 is not None:
            return self._keys_of(newest.listed_files.sha256)
        return {file["key"] for file in newest.landed}

    def in_manifest(self, before: Iterable[ListedFiles]) -> list[Entry] | dict[str, Any]:
        """What a manifest says of them: few it lists itself, of many it names the list, which is then written."""
        if len(self.keys) <= LISTED_INSIDE:
            found = [file.entry for folder in self._folders for file in folder.landed]
            return sorted(found, key=lambda file: (file["entity"], file["key"]))
        return self.write(before).as_json()

    def write(self, before: Iterable[ListedFiles]) -> ListedFiles:
        """Write the list of them, durably; what lists of `before` say is taken over where it would say the same."""
        known: dict[str, Part] = {}
        of_month: dict[tuple[str, str], set[Part]] = defaultdict(set)
        for sha256 in {each.sha256 for each in before} - {None}:
            with suppress(Damaged):
                for part in landed_list.parts(self._snapshots, str(sha256)):
                    known[part.entries_sha256] = part
                    of_month[part.entity, part.month].add(part)
        listed = []
        for (entity, month), folders in self._by_month.items():
            entries_sha256 = landed_list.keys_digest(folder.entries_sha256 for folder in folders)
            same = known.get(entries_sha256)
            # safeguard: damaged-part-of-a-list-is-not-taken-over
            if same is not None and not landed_list.part_damage(self._snapshots, same):
                listed.append(same)
                continue
            there: dict[str, Entry] = {}
            for part in of_month[entity, month]:
                with suppress(Damaged):
                    there |= {file["key"]: file for file in landed_list.entries(self._snapshots, part)}
            files = [file for folder in folders for file in _entries_of(folder, there)]
            written = landed_list.write_part(self._snapshots, sorted(files, key=lambda file: str(file["key"])))
            listed.append(Part(entity, month, len(files), self._digests[entity, month], entries_sha256, written))
        return ListedFiles(len(self.keys), self.keys_sha256, landed_list.write(self._snapshots, listed))

    @cached_property
    def _by_month(self) -> Mapping[tuple[str, str], list[RawFolder]]:
        found: dict[tuple[str, str], list[RawFolder]] = defaultdict(list)
        for folder in self._folders:
            found[folder.entity, _month(folder)].append(folder)
        return dict(found)

    @cached_property
    def _digests(self) -> Mapping[tuple[str, str], str]:
        """Of the keys of each month."""
        return {
            month: landed_list.keys_digest(key for folder in folders for key in folder.keys)
            for month, folders in self._by_month.items()
        }

    def _keys_of(self, sha256: str) -> set[str]:
        """The keys of a list, as far as it can be read."""
        others = list(self._other_parts(sha256))
        found = {file["key"] for part in others for file in self._entries(part)}
        as_listed = {part.keys_sha256 for part in self._parts(sha256)} - {part.keys_sha256 for part in others}
        for month, folders in self._by_month.items():
            if self._digests[month] in as_listed:
                found.update(key for folder in folders for key in folder.keys)
        return found

    def _other_parts(self, sha256: str) -> Iterable[Part]:
        """The parts of a list that are of other landed files than any month of these."""
        return [part for part in self._parts(sha256) if part.keys_sha256 not in self._digests.values()]

    def _parts(self, sha256: str) -> Sequence[Part]:
        return self._read(landed_list.parts, sha256)

    def _entries(self, part: Part) -> Sequence[Entry]:
        return self._read(landed_list.entries, part)

    def _read(self, read: Callable[[Path, Named], Sequence[Found]], named: Named) -> Sequence[Found]:
        """What is read of a list; nothing of a damaged one, which is a problem."""
        try:
            return read(self._snapshots, named)
        except Damaged as error:
            self.problems.append(str(error))
            return []


def _entries_of(folder: RawFolder, there: Mapping[str, Entry]) -> Sequence[Entry]:
    """What is listed of the landed files of a folder; `there` is what was listed before, by key.

    The index of a pack is read only where something else is to be said: of new files, or by another name.
    """
    if all(key in there for key in folder.keys):
        found = [there[key] for key in folder.keys]
        if entries_digest(found) == folder.entries_sha256:  # safeguard: names-are-those-of-raw
            return found
    return [file.entry for file in folder.landed]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _month(folder: RawFolder) -> str:
    """The month that the landed files of a folder are listed under, such as 2026-01; "" where nothing tells one.

    It only says which lists stay as they are when more lands: any would do.
    """
    names = [each.name for each in folder.named] or ([folder.only.landed_name] if folder.only else [])
    if named := next((day for name in names if (day := named_day(name))), None):
        return named.isoformat()[:7]
    if days := sorted(name for name in folder.files if name != ALL):
        return days[0][:7]
    newest = max((file.newest for file in folder.files.values() if file.newest is not None), default=AGE_NOT_NOTED)
    with suppress(OverflowError):
        return (_EPOCH + timedelta(milliseconds=newest)).date().isoformat()[:7]
    return ""
