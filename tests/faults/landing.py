"""Land hostile files in a home, ingest them, and compare every line with what the judge says of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oracle
import pyarrow as pa
import zstandard

from faults.campaign import Figure
from faults.line_judge import Accepted, Refused, Verdict, judge_line, split_values
from faults.values import snake
from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import IngestReport, ingest
from pipelines.raw.raw_file import RawFile
from pipelines.raw.rejected_records import rejected_records

BOM = b"\xef\xbb\xbf"
Pack = Callable[[bytes], bytes]
PACKED: dict[str, Pack] = {
    "": lambda content: content,
    ".gz": lambda content: gzip.compress(content, 1),
    ".zst": lambda content: zstandard.ZstdCompressor(write_checksum=True).compress(content),
}
COLUMNS = {
    "creators": {"_id": "creator_id", "profilePhoto._id": "profile_photo_id"},
    "live_streams": {"id": "stream_id"},
    "lls_streams": {"id": "stream_id", "created": "created_at", "updated": "updated_at"},
}


@dataclass
class Expected:
    """What must be known of one landed file: its records by line, and how many lines are blank."""

    entity: str
    name: str  # under the landing root
    records: list[tuple[int, Verdict]] = field(default_factory=list)
    blank: int = 0
    about: dict[int, str] = field(default_factory=dict)  # what a line is, to say when something is wrong with it


def expected_lines(entity: str, name: str, text: bytes) -> Expected:
    """What must be known of a file of JSON."""
    expected = Expected(entity, name)
    values, expected.blank, damaged = split_values(text)
    for line, value in values:
        verdicts = judge_line(entity, value)
        if verdicts is None:
            expected.blank += 1
        else:
            expected.records += [(line, verdict) for verdict in verdicts]
        expected.about[line] = repr(value[:400])
    if damaged is not None:
        expected.records.append((damaged, Refused(frozenset({None}), "")))
    return expected


class Ground:
    """A home to land hostile files in."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder)
        self.expected: list[Expected] = []

    def land(self, name: str, content: bytes) -> Path:
        """Drop a file under the landing root."""
        path = self.settings.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def land_lines(self, entity: str, name: str, text: bytes, endings: Iterable[str] = PACKED) -> None:
        """Drop a file of NDJSON, plain and packed. No two are of the same bytes: those would count as one."""
        for ending in endings:
            self.land(f"{entity}/{name}.ndjson{ending}", PACKED[ending](text))
            self.expected.append(expected_lines(entity, f"{entity}/{name}.ndjson{ending}", text))

    def compare(self, figure: Figure, seed: str = "") -> IngestReport:
        """Ingest all, and count every record in the figure: those that are not what was expected as wrong."""
        report = ingest(self.settings)
        raw = {each.landed_name: each for each in raw_files(self.settings)}
        rejects: dict[str, list[tuple[int, str | None, str, str]]] = {}
        for each in rejected_records(self.settings):
            rejects.setdefault(each.file, []).append((each.line, each.field, each.reason, each.text))
        figure.check(report.postponed == (), f"{seed}: postponed: {report.postponed[:3]}")
        for expected in self.expected:
            if expected.name not in raw:
                figure.check(False, f"{seed}: {expected.name} is not in raw, or with the bytes of another file")
                continue
            for problem in differences(expected, raw[expected.name], rejects.get(expected.name, [])):
                figure.wrong.append(f"{seed}: {expected.name}: {problem}")
            figure.tried += len(expected.records)
        return report


def differences(expected: Expected, raw: RawFile, rejected: list[tuple[int, str | None, str, str]]) -> list[str]:
    """Sentences on what is not as expected."""
    found: list[str] = []
    about = expected.about
    good = sorted(
        (line, tuple(verdict.values.items())) for line, verdict in expected.records if isinstance(verdict, Accepted)
    )
    rows = read_back(raw)
    if rows != good:
        theirs, ours = {repr(each): each for each in rows}, {repr(each): each for each in good}
        for text in sorted(set(theirs) ^ set(ours)):
            line = (theirs.get(text) or ours[text])[0]
            found.append(f"line {line} {'is in' if text in theirs else 'should be in'} as {text} of {about.get(line)}")
    bad = [(line, verdict) for line, verdict in expected.records if isinstance(verdict, Refused)]
    if [line for line, *_ in rejected] != [line for line, _ in bad]:
        wrong = {line for line, *_ in rejected} ^ {line for line, _ in bad}
        shown = "; ".join(f"{line}: {about.get(line)}" for line in sorted(wrong)[:3])
        found.append(f"{len(rejected)} lines are rejected, and {len(bad)} should be: {shown}")
    else:
        for (line, verdict), (_, name, reason, text) in zip(bad, rejected, strict=True):
            is_kept = bool(text) if verdict.text is None else text.strip() == verdict.text.strip()
            if name not in verdict.fields or not reason or not is_kept:
                right = f"one of {sorted(map(str, verdict.fields))}, with the text {(verdict.text or '')[:300]!r}"
                why = f"{name}: {reason}, with the text {text[:300]!r}"
                found.append(f"line {line} is rejected for {why}, not for {right}; it is {about.get(line)}")
    counts = (raw.records, raw.accepted, raw.rejected, raw.blank)
    right = (len(good) + len(bad), len(good), len(bad), expected.blank)
    if counts != right or raw.records != raw.accepted + raw.rejected:
        found.append(f"(records, accepted, rejected, blank) are {counts}, not {right}")
    return found


def read_back(raw: RawFile) -> list[tuple[int, tuple[tuple[str, Any], ...]]]:
    """The rows of a raw folder by line, each with the values that the judge would give it."""
    names = {name: column(raw.entity, name) for name in oracle.CONTRACT[raw.entity]}
    found = []
    for day in raw.files:
        table = raw.table(day)
        values = [_plain(table.column(each)) for each in names.values()]
        lines = table.column("line").to_pylist()
        found += [(line, tuple(zip(names, row, strict=True))) for line, *row in zip(lines, *values, strict=True)]
    return sorted(found, key=lambda each: (each[0], repr(each[1])))


def column(entity: str, name: str) -> str:
    """The column of raw that holds a field."""
    return COLUMNS.get(entity, {}).get(name) or snake(name).replace(".", "_")


def _plain(values: pa.ChunkedArray) -> list[Any]:
    return (values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values).to_pylist()
