"""One odd line among many that are alike: the columnar path must give it to the slow one, and keep the others."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.landing import content_of, open_landed, read_landed
from pipelines.landing.batches import Batch, Rows
from pipelines.landing.columns import instants
from pipelines.landing.fast import MAX_LESSONS, FastReader
from pipelines.landing.lines import BLOCK_BYTES, MAX_LINE_BYTES, Block
from pipelines.landing.ndjson import read_piece
from pipelines.landing.values import Rejected, parse_instant

USUAL = '{"sessionId":"s%d","creatorId":"ada","startedAt":"2026-01-05T10:00:00Z","endedAt":"2026-01-05T10:05:00Z"}'


def block_of(lines: list[bytes], end: bytes = b"\n") -> Block:
    return Block(7, end.join(lines) + end, len(lines))


def slow(entity: str, block: Block) -> Batch:
    rows = Rows(entity)
    read_piece(block, rows)
    return rows.batch()


def assert_same(fast: Batch, expected: Batch) -> None:
    assert fast.accepted.schema == expected.accepted.schema
    assert fast.accepted.to_pylist() == expected.accepted.to_pylist()
    assert fast.rejected == expected.rejected
    assert (fast.blank, fast.unknown_fields) == (expected.blank, expected.unknown_fields)


def variant(old: str, new: str) -> bytes:
    return (USUAL % 0).replace(old, new, 1).encode()


ODD = {
    "an escape": variant("ada", "\\u0061da"),
    "an escaped quotation mark": variant("ada", 'a\\"da'),
    "an escape that is none": variant("ada", "a\\da"),
    "a backslash at the end": variant("ada", "ada\\"),
    "a tab in a text": variant("ada", "a\tda"),
    "a tab between": variant(",", ",\t"),
    "a NUL": variant("ada", "a\0da"),
    "a vertical tab between": variant(",", ",\x0b"),
    "a control character that JSON allows": variant("ada", "\x7f"),
    "a byte order mark": b"\xef\xbb\xbf" + variant("", ""),
    "a byte order mark in a text": variant("ada", "\ufeff"),
    "bytes that are no UTF-8": variant("", "").replace(b"ada", b"\xff"),
    "half a character": variant("", "").replace(b"ada", b"\xe2\x82"),
    "an overlong character": variant("", "").replace(b"ada", b"\xc0\x80"),
    "a surrogate in UTF-8": variant("", "").replace(b"ada", b"\xed\xa0\x80"),
    "letters that are not ASCII": variant("ada", "Çağrı 日本"),
    "an empty id": variant("ada", ""),
    "the longest id": variant("ada", "日" * 200),
    "an id that is too long": variant("ada", "x" * 201),
    "another key": variant("endedAt", "finished"),
    "a key of the same length": variant("endedAt", "endedaT"),
    "another spelling": variant("endedAt", "ended_at"),
    "a key given twice": variant('"creatorId":"ada"', '"creatorId":"ada","creatorId":"ada"'),
    "other spacing": variant(",", ", "),
    "another order": b'{"creatorId":"ada","sessionId":"s0","startedAt":"2026-01-05T10:00:00Z"}',
    "a number for a text": variant('"ada"', "5"),
    "null for a text": variant('"ada"', "null"),
    "null at the end": variant('"2026-01-05T10:05:00Z"', "null"),
    "nothing": b"",
    "spaces": b" \t ",
    "half a line": variant("", "")[:50],
    "a comma at the end": variant("}", ",}"),
    "something behind": variant("", "") + b" x",
    "a space behind": variant("", "") + b" ",
    "a quotation mark alone": b'"',
    "a long line": variant("ada", "a" * MAX_LINE_BYTES),
    "a line of just the limit": variant("ada", "a" * (MAX_LINE_BYTES - len(USUAL % 0) + 3)),
    "an end before the start": variant("10:05", "09:05"),
    "another day": variant("2026-01-05T10:00", "2025-01-05T10:00"),
    "the hour 24": variant("T10:05", "T24:05"),
    "the second 60": variant("05:00Z", "05:60Z"),
    "a leap second": variant("10:05:00Z", "23:59:60Z"),
    "31 April": variant("01-05T10:05", "04-31T10:05"),
    "the month 13": variant("01-05T10:05", "13-05T10:05"),
    "no offset": variant("05:00Z", "05:00"),
    "no offset, the same length": variant("05:00Z", "05:000"),
    "an offset": variant("05:00Z", "05:00+01:00"),
    "an offset without a colon": variant("05:00Z", "05:00+0100"),
    "an offset of hours only": variant("05:00Z", "05:00+01"),
    "no seconds": variant("05:00Z", "05Z"),
    "an offset of 24 hours": variant("05:00Z", "05:00+24:00"),
    "milliseconds": variant("05:00Z", "05:00.123Z"),
    "nanoseconds": variant("05:00Z", "05:00.123999999Z"),
    "one digit": variant("05:00Z", "05:00.1Z"),
    "a comma for a point": variant("05:00Z", "05:00,1Z"),
    "small letters": variant("T10:05:00Z", "t10:05:00z"),
    "a space for T": variant("T10:05", " 10:05"),
    "a slash": variant("2026-01-05T10:05", "2026/01/05T10:05"),
    "the year 0": variant("2026-01-05T10:00", "0000-01-05T10:00"),
    "the first day": variant("2026-01-05T10:00", "0001-01-01T10:00"),
    "the last day": variant("2026-01-05T10:05", "9999-12-31T10:05"),
    "digits that are not ASCII": variant("10:05:00Z", "10:05:0٣Z"),
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", ODD)
def test_one_odd_line_among_many(name: str, end: bytes) -> None:
    """First, in the middle and last; told apart from the others, which are accepted."""
    usual = [(USUAL % number).encode() for number in range(120)]
    for place in (0, 60, 120):
        block = block_of([*usual[:place], ODD[name], *usual[place:]], end)
        expected = slow("viewing_sessions", block)
        assert expected.accepted.num_rows >= 120
        reader = FastReader("viewing_sessions")
        assert_same(reader.read(block), expected)
        assert_same(reader.read(block), expected)  # once more, with all that was learned


def test_many_writers_in_one_file() -> None:
    """More forms of lines than are learned: the rest is read line by line, to the same result."""
    shapes = [f'{{"x{number}":1,"userId":"%d"}}' for number in range(MAX_LESSONS + 3)]
    lines = [(shapes[number % len(shapes)] % number).encode() for number in range(2000)]
    block = block_of(lines)
    reader = FastReader("erasures")
    assert_same(reader.read(block), slow("erasures", block))
    assert_same(reader.read(block), slow("erasures", block))


def test_a_block_without_a_newline_at_its_end() -> None:
    """The last line of a file counts."""
    lines = [(USUAL % number).encode() for number in range(100)]
    block = Block(1, b"\n".join(lines), 100)
    batch = FastReader("viewing_sessions").read(block)
    assert_same(batch, slow("viewing_sessions", block))
    assert batch.accepted.num_rows == 100


@pytest.mark.parametrize("name", ODD)
def test_columns_of_instants(name: str) -> None:
    """A column of instants gives what each gives by itself."""
    text = ODD[name].decode("utf-8", "replace").rpartition('"endedAt":"')[2].partition('"')[0][:40]
    texts = ["2026-01-05T10:00:00Z", "2026-01-05T10:00:00.123456Z", text, "1969-12-31T23:59:59.9999Z"]
    for column in (texts, [text], [text, text], texts * 3):
        values, good = instants(pa.array(column))
        for number, each in enumerate(column):
            try:
                expected = parse_instant(each)
            except Rejected:
                assert good is not None
                assert not good[number].as_py()
            else:
                assert good is None or good[number].as_py()
                assert values[number].value == expected


def test_a_file_larger_than_its_blocks(tmp_path: Path) -> None:
    """Blocks are parsed side by side and come out in order, compressed or not."""
    count = 3 * BLOCK_BYTES // len(USUAL % 0)
    lines = "".join(f"{USUAL % number}\n" for number in range(count)).encode()
    for name, landed in {"x.ndjson": lines, "x.ndjson.gz": gzip.compress(lines, 1)}.items():
        path = tmp_path / name
        path.write_bytes(landed)
        with open_landed(path) as source:
            content = content_of("viewing_sessions", name.partition(".")[2], source)
            batches = list(read_landed("viewing_sessions", content, source))
        assert len(batches) > 1
        numbers = [number for batch in batches for number in batch.accepted.column("line").to_pylist()]
        assert numbers == list(range(1, count + 1))
