"""Which folders hold the rows of some landed files: what is read of raw as a whole is read by folder.

A pack is read as it stands where all of its landed files are meant, which is nearly always so. Where they are not (an
older snapshot rests on some, since the pack was made again with others; a mapping made some of them be read again), the
rows that are meant are copied once into a folder beside raw: a function of its content like all of the lake, which
`prune` removes.

    <lake>/raw_parts/<entity>/<name>/   as a pack; name = sha256 of the pack's files and of the keys that are meant
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pyarrow as pa

from pipelines.core.durable_files import make_folder, new_folder, parquet_writer, sha256_of
from pipelines.core.errors import Damaged
from pipelines.landing.schema import RAW_SCHEMAS, REJECTS_SCHEMA
from pipelines.raw.index import as_index, files_of, from_index
from pipelines.raw.layout import INDEX
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder
from pipelines.raw.writer import WrittenFile

PARTS = "raw_parts"


class PackDamaged(Damaged):
    """A file of a pack is not what was written: the pack must be made again from what landed."""

    def __init__(self, folder: Path, problem: str) -> None:
        """`folder` is the pack's."""
        super().__init__(problem)
        self.folder = folder


def folders_of(raw: Iterable[RawFile]) -> list[RawFolder]:
    """The folders that hold the rows of some landed files, and of no others.

    Raises PackDamaged where part of a pack is meant that is damaged.
    """
    # safeguard: part-of-a-pack-is-not-the-pack
    return [
        folder if folder.is_whole else RawFolder.of(_part(folder.path_of_folder, folder.landed))
        for folder in by_folder(raw)
    ]


def _part(pack: Path, landed: Sequence[RawFile]) -> list[RawFile]:
    """Some landed files of a pack as a folder of their own, made unless it is there."""
    landed = sorted(landed, key=lambda each: each.key)
    files, rejects = files_of(landed)
    stored = [file.sha256 for _, file in sorted(files.items())] + ([rejects.sha256] if rejects else [])
    named = hashlib.sha256("\n".join([pack.name, *stored, *(each.key for each in landed)]).encode()).hexdigest()
    folder = pack.parents[2] / PARTS / landed[0].entity / named
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        there = from_index(folder, (folder / INDEX).read_bytes())
        if all(folder.joinpath(f"{name}.parquet").exists() for name in files):
            return [msgspec.structs.replace(each, key=own.key) for each, own in zip(there, landed, strict=True)]
    make_folder(folder.parent)
    with new_folder(folder, replace=True) as new:
        try:
            made = _copied(landed, files, rejects, new)
        except Damaged as error:
            raise PackDamaged(pack, str(error)) from error
        made = [msgspec.structs.replace(each, location=str(folder), landed_files=len(landed)) for each in made]
        (new / INDEX).write_bytes(as_index(made))
    return made


def _copied(
    landed: Sequence[RawFile], files: Mapping[str, WrittenFile], rejects: WrittenFile | None, folder: Path
) -> list[RawFile]:
    its_files: list[dict[str, WrittenFile]] = [{} for _ in landed]
    its_rejects: list[WrittenFile | None] = [None for _ in landed]
    schema = RAW_SCHEMAS[landed[0].entity]
    for name in files:
        parts = [each.table(name) if name in each.files else schema.empty_table() for each in landed]
        facts = _write(folder / f"{name}.parquet", pa.concat_tables(parts), schema)
        first_row = 0
        for number, (each, rows) in enumerate(zip(landed, parts, strict=True)):
            if name in each.files:
                own = each.files[name]
                its_files[number][name] = msgspec.structs.replace(
                    own, bytes=facts.bytes, sha256=facts.sha256, first_row=first_row
                )
            first_row += rows.num_rows
    if rejects is not None:
        parts = [pa.Table.from_batches(each.rejected_records(), REJECTS_SCHEMA) for each in landed]
        facts = _write(folder / "rejects.parquet", pa.concat_tables(parts), REJECTS_SCHEMA)
        first_row = 0
        for number, (each, rows) in enumerate(zip(landed, parts, strict=True)):
            if each.rejects is not None:
                its_rejects[number] = msgspec.structs.replace(
                    each.rejects, bytes=facts.bytes, sha256=facts.sha256, first_row=first_row
                )
            first_row += rows.num_rows
    return [
        msgspec.structs.replace(each, files=own, rejects=rejected)
        for each, own, rejected in zip(landed, its_files, its_rejects, strict=True)
    ]


def _write(path: Path, rows: pa.Table, schema: pa.Schema) -> WrittenFile:
    with parquet_writer(path, schema) as writer:
        writer.write_table(rows)
    return WrittenFile(rows.num_rows, path.stat().st_size, sha256_of(path), digest="")
