"""One landed file -> one raw folder (raw.py), whole or not at all."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date

from pipelines import forgotten
from pipelines.landed_cache import LandedCache
from pipelines.landing import (
    LandedFile,
    Source,
    Unbelievable,
    Unsoundness,
    count_unknown,
    open_landed,
    read_landed,
)
from pipelines.raw import PARSER_VERSION, RawFile, as_index, raw_key, raw_root, stands
from pipelines.raw_writer import RawWriter, within_days
from pipelines.settings import Settings
from pipelines.store import make_folder, new_folder, temporary_beside, write_json


def ingest_file(
    settings: Settings,
    file: LandedFile,
    seen: LandedCache,
    register: forgotten.Register,
    tell: Callable[[int], None],
    hash_first: set[tuple[str, int]],
    aliases: Mapping[tuple[str, str, str], str],
) -> RawFile | str:
    """The raw folder made of one landed file, or the sha256 of its bytes if they are in the lake. Raises Postponed."""
    how = file.read_as
    with open_landed(file.path, file.root) as source:
        sha256 = seen.get(file.path, source.stamp)
        if sha256 is not None and stands(settings, file.entity, aliases.get((file.entity, sha256, how), sha256), how):
            return sha256
        # Parquet is read from its end. And bytes of a size that the lake has are likely bytes that the lake has.
        if file.format == "parquet" or (file.entity, source.stamp.size) in hash_first:
            sha256 = source.sha256()
            source.check_unchanged()
            if stands(settings, file.entity, aliases.get((file.entity, sha256, how), sha256), how):
                seen.put(file.path, source.stamp, sha256)
                return sha256
            source.rewind()
        try:
            raw = _write_raw(settings, file, source, register, tell)
        except Unbelievable as error:
            source.rewind()
            raw = _write_raw(settings, file, source, register, tell, error.unsound)
        seen.put(file.path, source.stamp, raw.landed_sha256)
        return raw


def _write_raw(
    settings: Settings,
    file: LandedFile,
    source: Source,
    register: forgotten.Register,
    tell: Callable[[int], None],
    unsound: Unsoundness | None = None,
) -> RawFile:
    """Read a file and leave its raw folder, whole. `unsound` as for `read_landed`, which may raise Unbelievable.

    How far it has been read is told as it goes on; Parquet is not read in order, and that is told at its end.

    Raises Postponed if the file changed. Nothing is left of a folder that could not be completed.
    """
    unknown: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    days: set[date] = set()
    accepted = erased = blank = 0
    root = raw_root(settings) / file.entity
    make_folder(root)
    workshop = temporary_beside(root / "unnamed")  # the folder's name is known once the last byte was hashed
    workshop.mkdir()
    writer = RawWriter(file.entity, workshop)
    try:
        for read in read_landed(file, source, unsound):
            batch = within_days(read, days) if file.entity == "viewing_sessions" else read
            left = register.screened(file.entity, batch)
            writer.append(left)
            accepted += batch.accepted.num_rows
            erased += batch.accepted.num_rows - left.accepted.num_rows
            blank += batch.blank
            reasons.update(each.reason for each in batch.rejected)
            for name, times in batch.unknown_fields.items():
                count_unknown(unknown, name, times)
            if file.format != "parquet":
                tell(source.file.tell())
        files, rejects = writer.finish()
        if file.format == "parquet":  # was not read in order
            source.rewind()
        landed_sha256 = source.sha256()
        source.check_unchanged()
        key = raw_key(file.entity, landed_sha256, file.read_as)
        raw = RawFile(
            location=str(root / key),
            key=key,
            entity=file.entity,
            landed_name=file.name,
            landed_sha256=landed_sha256,
            landed_bytes=source.stamp.size,
            parser_version=PARSER_VERSION,
            records=accepted + reasons.total(),
            accepted=accepted,
            rejected=reasons.total(),
            blank=blank,
            unknown_fields=dict(sorted(unknown.items())),
            rejected_by_reason=dict(sorted(reasons.items())),
            files=files,
            rejects=rejects,
            erased=erased,
        )
        with new_folder(raw.folder) as folder:
            for path in workshop.iterdir():
                path.rename(folder / path.name)
            write_json(folder / "index.json", as_index(raw))
        return raw
    finally:
        writer.abandon()
        shutil.rmtree(workshop, ignore_errors=True)
