"""Rejected records by reason, with a few samples that show what a line looks like and not what it says.

Letters become x and digits 9, but for the names of fields: an id, a name or an amount is not in the report, which many
people read. `mostwatched rejects` shows the lines themselves.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from pipelines.core.settings import Settings
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import ENTITIES, landed_fields
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFolder, by_folder

SAMPLES = 3  # of each reason
FILES_READ = 40  # for all of them together
SHOWN_CHARS = 160


def rejected_by_reason(settings: Settings, raw: Sequence[RawFile], new: AbstractSet[str]) -> list[dict[str, Any]]:
    """Every (entity, reason) of the lake, those with most records of this run first; its files have the keys `new`."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    folders = _with_rejects(raw)
    for folder in folders:
        for reason, count in folder.rejected_by_reason.items():
            counts[folder.entity, reason][0] += count
    for file in _new_files(folders, new):
        for reason, count in file.rejected_by_reason.items():
            counts[file.entity, reason][1] += count
    samples = _samples(settings, _chosen(folders, new))
    rows = [
        {
            "entity": entity,
            "reason": reason,
            "records": records,
            "new_records": new_records,
            "samples": samples.get((entity, reason), []),
        }
        for (entity, reason), (records, new_records) in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["new_records"], -row["records"], row["entity"], row["reason"]))


def inputs(raw: Sequence[RawFile], new: AbstractSet[str]) -> list[object]:
    """Return all that decides what is said of the rejected records of some raw folders."""
    rejects = [
        (
            folder.entity,
            folder.entries_sha256,
            folder.rejects and folder.rejects.sha256,
            sorted(new & set(folder.keys)),
            folder.rejected_by_reason,
        )
        for folder in _with_rejects(raw)
    ]
    return [SAMPLES, FILES_READ, SHOWN_CHARS, _FIRST, *rejects]


def _with_rejects(raw: Iterable[RawFile]) -> list[RawFolder]:
    """The folders with rejected records, by entity and the first name in each."""
    folders = [folder for folder in by_folder(raw) if folder.rejected_by_reason]
    return sorted(folders, key=lambda folder: (folder.entity, folder.first_name or "", folder.location))


def _new_files(folders: Iterable[RawFolder], new: AbstractSet[str]) -> list[RawFile]:
    with_new = (folder for folder in folders if not new.isdisjoint(folder.keys))
    return _by_name(each for folder in with_new for each in folder.landed if each.key in new)


def _by_name(files: Iterable[RawFile]) -> list[RawFile]:
    return sorted(files, key=lambda file: (file.entity, file.landed_name, file.key))


def mask(text: str, fields: Collection[str]) -> str:
    """The shape of a line: letters as x, digits as 9, the names of `fields` as they are where they are keys."""
    kept = "".join(map(_mask, text))  # safeguard: rejected-line-masked
    for found in _KEY.finditer(text):
        if found[1] in fields:
            kept = kept[: found.start(1)] + found[1] + kept[found.end(1) :]
    return kept if len(kept) <= SHOWN_CHARS else kept[:SHOWN_CHARS] + "…"


_KEY = re.compile(r'"([A-Za-z_$]+)"\s*:')
_FIELDS = {
    entity: frozenset(part for field in landed_fields(entity) for part in field.name.split(".")) for entity in ENTITIES
}


def _mask(char: str) -> str:
    if char.isdigit() or char.isnumeric():
        return "9"
    if char.isascii() and not char.isalnum():
        return char if char.isprintable() else "\N{MIDDLE DOT}"
    return "x"


def _chosen(folders: Sequence[RawFolder], new: AbstractSet[str]) -> list[RawFile]:
    """Files that show every reason, as few as may be: those of this run first.

    The index of a pack is read only while it has a reason that is not shown yet.
    """
    chosen: dict[str, RawFile] = {}
    shown: Counter[tuple[str, str]] = Counter()

    def choose(files: Iterable[RawFile]) -> None:
        for file in files:
            reasons = {(file.entity, reason): count for reason, count in file.rejected_by_reason.items()}
            if file.rejects and len(chosen) < FILES_READ and any(shown[reason] < SAMPLES for reason in reasons):
                chosen[file.key] = file
                shown.update(reasons)

    choose(_new_files(folders, new))
    for folder in folders:
        is_wanted = any(shown[folder.entity, reason] < SAMPLES for reason in folder.rejected_by_reason)
        if is_wanted and folder.rejects is not None and len(chosen) < FILES_READ:
            choose(each for each in _by_name(folder.landed) if each.key not in chosen)
    return list(chosen.values())


def _samples(settings: Settings, files: Sequence[RawFile]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The first of each reason. The files have been checked in this run."""
    if not files:
        return {}
    rows = [_with_file(row, file) for file in files if file.is_packed for row in _first_of(file)]
    by_path = {str(file.rejects_path): file for file in files if not file.is_packed}
    if by_path:
        with engine.run_session(settings, "report") as connection:
            engine.register(connection, "rejects", [Path(path) for path in by_path], with_filename=True)
            found_rows = engine.query(connection, _FIRST, {"samples": SAMPLES, "chars": SHOWN_CHARS + 1}).to_pylist()
        rows += [_with_file(row, by_path[row["filename"]]) for row in found_rows]
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["landed"].landed_name, row["line"])):
        file = row["landed"]
        samples = found[file.entity, row["reason"]]
        if len(samples) < SAMPLES:
            samples.append(
                {
                    "file": file.landed_name,
                    "line": row["line"],
                    "field": row["field"],
                    "shape": mask(row["text"], _FIELDS[file.entity]),
                }
            )
    return found


def _with_file(row: dict[str, Any], file: RawFile) -> dict[str, Any]:
    return {**row, "landed": file}


def _first_of(file: RawFile) -> Iterator[dict[str, Any]]:
    """The first of each reason in a small file, whose rejected records stand among those of others."""
    shown: Counter[str] = Counter()
    for batch in file.rejected_records():
        for row in batch.to_pylist():
            shown[row["reason"]] += 1
            if shown[row["reason"]] <= SAMPLES:
                yield row


# The lines of each reason first, and then the text of those few.
_FIRST = """
    with first_lines as (
        select filename, reason, unnest(min(line, $samples)) as line
        from rejects
        group by filename, reason
    )
    select filename, line, reason, field, substr(text, 1, $chars) as text
    from rejects
    semi join first_lines using (filename, reason, line)
"""
