"""By any mapping the fast paths say what the slow ones say: names, time zones, numbers, nulls, delimiters, folders."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_acceptance import all_of

from pipelines.landing.batches import Rows
from pipelines.landing.csv_text import read_csv
from pipelines.landing.fast import MIN_LINES, FastReader
from pipelines.landing.files import open_landed
from pipelines.landing.lines import Block, blocks_of_lines
from pipelines.landing.mapping import EntityMapping
from pipelines.landing.ndjson import read_piece
from pipelines.landing.parquet import read_parquet
from pipelines.landing.schema import Instant, LandedField, landed_fields

ENTITY = "viewing_sessions"
FIELDS = landed_fields(ENTITY)
LOCAL = [
    "2026-03-09 10:00:00",
    "2026-03-29 02:30:00",
    "2026-10-25 02:30:00.5",
    "1970-06-01T00:00:00",
    "0001-01-01 00:00:00",
]
INSTANTS = [*LOCAL, "2026-03-09T10:00:00Z", "2026-03-09 10:00:00+00", "2026-03-09T10:00:00.123456+0000", "1772960400",
            "1772960400123", "-1", "-", "NULL", "x"]  # fmt: skip
TEXTS = [
    "a",
    "b",
    "-",
    "NULL",
    "\\N",
    "nan",
    "é",
    "7",
    "ObjectId(64d15f9e2e6c8f4d5a123456)",
    'ObjectId("x")',
    "ObjectIde",
    "back\\\\slash",
    "t\\tab",
    "end\\",
    "\\'",
    "'q\\'x'",
    "c:\\new",
    "7.0",
    "1.2E+18",
]
OTHERS = ["", "-", "true", "f", "0", "1", "3.0", "NULL", "x"]


@st.composite
def mappings(draw: st.DrawFn) -> EntityMapping:
    folders = st.sampled_from(
        [("viewerId", "a"), ("viewerId", None), ("deleted", "true"), ("revision", "x"), ("source", "s")]
    )
    return EntityMapping(
        rename=draw(st.sampled_from([(), (("user", "viewerId"),), (("sid", "sessionId"), ("viewerId", "deviceId"))])),
        timezone=draw(st.sampled_from([None, "UTC", "Europe/Berlin", "America/St_Johns"])),
        epoch=draw(st.sampled_from([None, "s", "ms", "us", "ns"])),
        null=draw(st.sampled_from([None, (), ("-",), ("NULL", "\\N")])),
        delimiter=draw(st.sampled_from([None, ";", "\t", "|"])),
        escape=draw(st.sampled_from([None, "", "\\"])),
        quote=draw(st.sampled_from([None, "", "'"])),
        in_folders=tuple(draw(st.lists(folders, max_size=2, unique=True))),
    )


def landed_names(draw: st.DrawFn, mapping: EntityMapping) -> list[tuple[str, LandedField]]:
    """Some fields, each by one of the names that it may land by."""
    renamed = {field: landed for landed, field in mapping.rename}
    found = []
    for field in FIELDS:
        if field.required or draw(st.booleans()):
            name = renamed.get(field.name, field.column)
            found.append((name if draw(st.integers(0, 9)) else field.name, field))
    return found


def texts_of(field: LandedField) -> list[str]:
    return INSTANTS if field.kind is Instant else TEXTS if field.kind is str else OTHERS


# A local time that is left out in Berlin, one that comes twice, one with seconds in its offset, and usual ones.
SECONDS = [1_774_751_400, 1_792_895_400, -2_000_000_000, -3600, 0, 1_772_960_400, 1_772_964_000]


def usual(field: LandedField) -> str:
    return {Instant: "2026-03-09 10:00:00", str: "a", bool: "true", int: "1"}[field.kind]


def cells(draw: st.DrawFn, names: list[tuple[str, LandedField]], lines: int) -> list[list[str]]:
    """Records of texts, most of them good: a value in some dozen is unusual."""
    return [
        [draw(st.sampled_from(texts_of(field))) if draw(st.integers(0, 8)) == 0 else usual(field) for _, field in names]
        for _ in range(lines)
    ]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_csv_by_columns(data: st.DataObject) -> None:
    """Read as columns, or record by record."""
    mapping = data.draw(mappings())
    names = landed_names(data.draw, mapping)
    delimiter = mapping.delimiter or ","
    records = cells(data.draw, names, data.draw(st.integers(1, 12)))
    rows = [[name for name, _ in names], *records * (1 + MIN_LINES // len(records))]  # fewer are read one by one
    text = "".join(delimiter.join(row) + "\n" for row in rows).replace('"', "").encode()
    size = data.draw(st.sampled_from([50, 1_000_000]))
    chunks = [text[at : at + 40] for at in range(0, len(text), 40)]
    fast = all_of(read_csv(ENTITY, blocks_of_lines(chunks, size), mapping=mapping))
    assert fast == all_of(read_csv(ENTITY, blocks_of_lines(chunks, size), fast=False, mapping=mapping))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_ndjson_by_its_form(data: st.DataObject) -> None:
    """Texts, and numbers where they are some."""
    mapping = data.draw(mappings())
    names = landed_names(data.draw, mapping)
    bare = {name for name, _ in names if data.draw(st.integers(0, 2)) == 0}
    lines = []
    for row in cells(data.draw, names, data.draw(st.integers(2, 12))):
        pairs = []
        for (name, _), cell in zip(names, row, strict=True):
            is_bare = name in bare and (cell in ("true", "0", "1", "3.0", "-1", "7") or cell.isdigit())
            pairs.append(f'"{name}":{cell}' if is_bare else f'"{name}":"{cell}"'.replace("\\", "\\\\"))
        lines.append("{" + ",".join(pairs) + "}")
    text = "".join(f"{line}\n" for line in lines).replace('("x")', "").encode()
    rows = Rows(ENTITY, mapping)
    fast = FastReader(ENTITY, min_lines=1, mapping=mapping)
    for piece in blocks_of_lines([text[: len(text) // 2], text[len(text) // 2 :]], block_bytes=1):
        assert isinstance(piece, Block)
        read_piece(piece, rows)
        assert all_of(iter([fast.read(piece)])) == all_of(iter([rows.batch()]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_parquet_by_columns(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Columns of texts, of local times, of numbers."""
    mapping = data.draw(mappings())
    names = landed_names(data.draw, mapping)
    count = data.draw(st.integers(1, 6))
    arrays = []
    for _, field in names:
        kinds: list[pa.DataType] = [pa.string(), pa.large_string()]
        if field.kind is Instant:
            kinds += [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")] + [pa.int64(), pa.float64()]
        elif field.kind is str:
            kinds += [pa.int64(), pa.binary(), pa.decimal128(20, 0)]
        else:
            kinds += [pa.int8(), pa.bool_() if field.kind is bool else pa.float64()]
        kind = data.draw(st.sampled_from(kinds))
        values: list[Any] = data.draw(
            st.lists(st.one_of(st.none(), st.integers(0, 11)), min_size=count, max_size=count)
        )
        if pa.types.is_timestamp(kind) or (field.kind is Instant and kind == pa.int64()):
            seconds = [None if each is None else SECONDS[each % len(SECONDS)] for each in values]
            arrays.append(pa.array(seconds, pa.int64()).cast(pa.timestamp("s")).cast(kind))
        elif pa.types.is_boolean(kind):
            arrays.append(pa.array([None if each is None else each > 5 for each in values]))
        elif kind in (pa.string(), pa.large_string(), pa.binary()):
            words = texts_of(field)
            arrays.append(pa.array([None if each is None else words[each % len(words)] for each in values]).cast(kind))
        else:
            arrays.append(pa.array(values, pa.int64()).cast(kind))
    path = tmp_path_factory.mktemp("parquet") / "landed.parquet"
    pq.write_table(pa.table(arrays, names=[name for name, _ in names]), path, row_group_size=4)
    with open_landed(path) as source:
        fast = all_of(read_parquet(ENTITY, source, mapping=mapping))
        assert fast == all_of(read_parquet(ENTITY, source, fast=False, mapping=mapping))
