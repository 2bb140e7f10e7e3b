"""Hostile lines and values, each among good ones, in every form in which a record of its entity may land."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import oracle
import pyarrow as pa
import pyarrow.parquet as pq

from faults.landing import BOM, PACKED, Expected, Ground
from faults.line_judge import DEPTH, LINE_BYTES, judge_object, strict_json
from faults.values import NUMBER_CHARS

FLAT = ("viewing_sessions", "pledges", "follows", "replay_rentals", "erasures")
AT = "2026-01-05T10:00:00Z"
GOOD: dict[str, dict[str, Any]] = {
    "viewing_sessions": {"sessionId": "s", "creatorId": "c", "viewerId": "v", "startedAt": AT, "endedAt": AT},
    "creators": {"_id": "c", "username": "ada", "name": "Ada"},
    "live_streams": {"id": "l", "creatorId": "c", "status": "scheduled", "title": "t", "broadcasters": []},
    "pledges": {"pledgeId": "p", "userId": "u", "streamId": "l", "amount": 5, "currency": "TRY", "status": "pending"},
    "follows": {"userId": "u", "creatorId": "c", "followedAt": AT},
    "replay_rentals": {"userId": "u", "streamId": "l", "rentedAt": AT, "expiresAt": AT, "price": 9.5},
    "lls_streams": {"id": "l", "domain": "d", "app": "a", "stream": "s", "created": AT, "status": "active"},
    "erasures": {"userId": "u"},
}
LINE_END = re.compile(r"\r\n|\n|\r")
MORE_TEXTS = ["\x00", "a\x00b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufeffa", "\U0010ffff", " ", "\t", "\r\n", "a\r",
              "\r", "\n",
              "a,b", '"', '""', "'", "\\", "=1+1", "＝1", ";=1", "x" * 70_000]  # fmt: skip
ID = {"viewing_sessions": "sessionId", "creators": "_id", "live_streams": "id", "pledges": "pledgeId",
      "lls_streams": "id"}  # fmt: skip


def good(entity: str, number: object) -> dict[str, Any]:
    """A good record with an id of its own."""
    return GOOD[entity] | {ID.get(entity, "userId"): f"good {number}"}


def good_line(entity: str, number: object) -> bytes:
    return json.dumps(good(entity, number)).encode()


# --- lines -----------------------------------------------------------------------------------------------------------


def some(full: bool, number: int) -> list[str]:
    """All ways of packing a file, or one of them by turns."""
    return list(PACKED) if full else [list(PACKED)[number % len(PACKED)]]


def land_suite(ground: Ground, documents: Path, full: bool) -> int:
    """Land every document of a JSON test suite as lines and inside good lines: by itself, and all together.

    Returns how many there were.
    """
    cases = sorted(documents.iterdir())
    entities = list(GOOD)
    together: dict[str, list[bytes]] = {entity: [] for entity in entities}
    for number, case in enumerate(cases):
        document = case.read_bytes()
        entity = entities[number % len(entities)]
        lines = [good_line(entity, f"{number} before"), document, *_inside(entity, document, number)]
        lines.append(good_line(entity, f"{number} after"))
        ground.land_lines(entity, f"suite {number}", b"\n".join(lines), some(full, number))
        for each in entities:
            together[each] += [document, good_line(each, number), *_inside(each, document, number)]
    for number, (entity, lines) in enumerate(together.items()):
        text = b"\n".join([good_line(entity, "first"), *lines, good_line(entity, "last"), b""])
        ground.land_lines(entity, "suite", text, some(full, number))
    return len(cases)


def _inside(entity: str, document: bytes, number: int) -> Iterator[bytes]:
    """A good line with the document in place of a value: of a field that nobody knows, of a text, of a list."""
    line = good_line(entity, f"{number} inside")
    yield line[:-1] + b', "unknown": ' + document + b"}"
    yield b'{"unknown": ' + document + b", " + line[1:]
    text = next(name for name in ("name", "title", "viewerId", "currency", "updated", "updatedAt", "erasedAt")
                if name in oracle.CONTRACT[entity])  # fmt: skip
    fields = {name: value for name, value in good(entity, f"{number} text").items() if name != text}
    yield json.dumps(fields).encode()[:-1] + f', "{text}": '.encode() + document + b"}"
    if entity == "live_streams":
        yield line[:-1] + b', "guests": ' + document + b"}"


def hostile_lines(entity: str) -> list[bytes]:
    """One line each, unless it says otherwise."""
    line = good_line(entity, "hostile")
    head = line[:-1]
    key = ID.get(entity, "userId").encode()
    instant = next(name for name, kind in oracle.CONTRACT[entity].items() if kind is oracle.instant and "." not in name)
    rest = json.dumps({name: value for name, value in good(entity, "hostile").items() if name != instant}).encode()[:-1]
    dates = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "99999-01-01T00:00:00Z",
             "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-23:59", "2016-12-31T23:59:60Z", "2026-02-30T00:00:00Z",
             "2026-01-05T10:00:00", "٢٠٢٦-01-05T10:00:00Z"]  # fmt: skip
    numbers = ["1e400", "-1e400", "1e-400", "0e1234567", "-0", "1.0", "9" * 300, "9" * NUMBER_CHARS,
    "9" * (NUMBER_CHARS + 1),
               "9" * 5000, "1." + "0" * 998, "1." + "0" * 999, "NaN", "Infinity", "0x1F", "1_0", "٣", "+1",
               "01"]  # fmt: skip
    padded = b'{"x":"%s",' % (b"y" * (LINE_BYTES - len(line) - 7)) + line[1:]
    assert len(padded) == LINE_BYTES
    inside = [
        b"nul\x00", b"nul\\u0000", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\udc00 ", b"\\ud83d\\ude00", b"\xc0\xaf",
        b"\xf5", b"\xe2\x80\xa8", b"a\rb", b"a\tb", b"\x7f\xc2\x85", "\U0010ffff".encode(),
    ]  # fmt: skip
    more = [
        b'"%s": "again"' % key, b'"x": 1, "x": 1', b'"x": {"y": 1, "y": 2}', b'"\\u0078": 1, "x": 1', b'"": 1, "": 2',
        b"", b'"x": 1, ', b'"__proto__": {"a": 1}, "constructor": []', b'"x": ' + b"[" * 99 + b"]" * 99,
        b'"x": ' + b"[" * DEPTH + b"]" * DEPTH, b'"x": ' + b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
        b'"x": "' + b"\\" * 99_999 + b'"', b'"x": [' + b"0," * 400_000 + b"0]",
        *(f'"x": {number}'.encode() for number in numbers),
        *(f'"{name}": {number}'.encode() for number in numbers for name in ("revision", "amount", "price")),
    ]  # fmt: skip
    return [
        b"", b" ", b"\t \t", b"\r", b"\x0b", b"\x00", b"\x1a", b"null", b"[]", b"{}", b"0", b'""', b"{", b"}", b"#",
        b"<html><body>502 Bad Gateway</body></html>", b"userId,creatorId", b"\x1f\x8b\x08\x00", b"PAR1",
        b"\xfd7zXZ\x00", BOM, BOM + line, line + BOM, line + b"\r", line + b"\r\r", line + b" ", b"\t" + line,
        line + b"\x00", b"\x00" + line, line + line, line + b",", line.replace(b'"', b"'"),
        *(line.decode().encode(coding) for coding in ("utf-16-le", "utf-16", "utf-32")),
        b"[" * 100_000, b"[" * 500_000 + b"]" * 500_000, b'{"a":' * 100_000,
        padded, padded[:-1] + b" }", b" " * LINE_BYTES, b" " * (LINE_BYTES + 1), b"\xff" * (LINE_BYTES + 1),
        b'"' * LINE_BYTES, b"\\" * LINE_BYTES, b"," * LINE_BYTES, b"{" * LINE_BYTES,
        *(line.replace(b"hostile", text) for text in inside),
        *(head + b", " + fields + b"}" for fields in more),
        *(rest + f', "{instant}": "{date}"}}'.encode() for date in dates),
    ]  # fmt: skip


def land_hostile_lines(ground: Ground, full: bool) -> int:
    """Land the hostile lines of every entity between good ones: with both kinds of line end, packed, among many alike.

    Lines of a mebibyte come in all ways in the full tier, in one way for two entities in the quick one.
    """
    count = 0
    for turn, entity in enumerate(GOOD):
        lines = hostile_lines(entity)
        if not full and entity not in ("follows", "creators"):
            lines = [line for line in lines if len(line) < 10_000]
        count += len(lines)
        mixed = [part for number, line in enumerate(lines) for part in (good_line(entity, number), line)]
        mixed.append(good_line(entity, "last"))
        ground.land_lines(entity, "hostile", b"\n".join(mixed), some(full, turn))
        if not full:
            mixed = [line for line in mixed if len(line) < 10_000]
        ground.land_lines(entity, "hostile crlf", BOM + b"\r\n".join(mixed) + b"\r\n", [""])
        # among many that are alike, so that they meet the columnar path
        alike = [good_line(entity, number) for number in range(500)]
        short = [line for line in lines if len(line) < 5000]
        step = len(alike) // len(short) + 1
        spread = [
            part for number, line in enumerate(short) for part in (*alike[number * step : (number + 1) * step], line)
        ]
        ground.land_lines(entity, "hostile alike", b"\n".join([*spread, *alike]), [""])
        whole = json.dumps([good(entity, number) for number in range(3)], indent=1).encode()
        for name, text in {
            "array": whole,
            "utf-16": whole.decode().encode("utf-16"),
            "cr": b"\r".join(alike[:3]),
        }.items():
            ground.land_lines(
                entity, name, good_line(entity, name) + b"\n" + text + b"\n" + good_line(entity, name), [""]
            )
    return count


# --- values, in every form -------------------------------------------------------------------------------------------


def land_values(ground: Ground, texts: list[str], every: int) -> int:
    """Land records with each text as ids and names, in every form that a record of the entity may have.

    Each text is all of them at once in one record, and each of `every` of them in turn in others.
    """
    count = 0
    for entity, example in GOOD.items():
        names = [name for name, kind in oracle.CONTRACT[entity].items() if kind is str and "." not in name]
        names = [name for name in names if name != "status" or entity == "live_streams"]
        records = [good(entity, "first")]
        for number, text in enumerate(texts):
            turns = {(number + turn) % len(names) for turn in range(min(every, len(names)))}
            records += [good(entity, number) | {names[turn]: text} for turn in sorted(turns)]
            records.append(good(entity, number) | dict.fromkeys(names, text))
        records.append(good(entity, "last"))
        count += len(records) - 2
        for ascii_only in (True, False):
            lines = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records)
            ground.land_lines(entity, f"naughty {ascii_only}", lines.encode(), some(every > 1, count + ascii_only))
        if AT in example.values():
            lines = "".join(json.dumps(_extended(record)) + "\n" for record in records)
            ground.land_lines(entity, "naughty extended", lines.encode(), [""])
        land_parquet(ground, entity, "naughty", records)
        if entity in FLAT:
            land_csv(ground, entity, "naughty", records, csv.QUOTE_MINIMAL, "\r\n", some(every > 1, count))
            land_csv(ground, entity, "naughty all", records, csv.QUOTE_ALL, "\n", some(every > 1, count + 1))
        if entity == "lls_streams":
            land_response(ground, "naughty", records)
    return count


def _extended(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its instants as `mongoexport` writes them."""
    return {name: {"$date": value} if value == AT else value for name, value in record.items()}


def land_response(ground: Ground, name: str, records: list[dict[str, Any]]) -> None:
    """The streams as a List Streams response, a document of its own."""
    for ending, pack in PACKED.items():
        path = f"lls_streams/{name}.json{ending}"
        ground.land(path, pack(json.dumps({"streams": records, "next": None}, indent=2).encode()))
        verdicts = [judge_object("lls_streams", strict_json(json.dumps(each)), None) for each in records]
        ground.expected.append(Expected("lls_streams", path, list(enumerate(verdicts, 1))))


def land_csv(
    ground: Ground, entity: str, name: str, records: list[dict[str, Any]], quoting: int, end: str, endings: list[str]
) -> None:
    """The records as CSV. A cell that is empty is null; a record begins at the line on which its first cell does.

    A CR ends a line, in a quoted cell too.
    """
    columns = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(columns)
    expected = Expected(entity, f"{entity}/{name}.csv")
    line = 2
    for record in records:
        cells = [record.get(column) for column in columns]
        start = text.tell()
        writer.writerow(["" if cell is None else str(cell) for cell in cells])
        text.seek(start)
        landed = text.read()
        count = len(LINE_END.findall(landed))
        nulled = strict_json(json.dumps({column: cell or None for column, cell in zip(columns, cells, strict=True)}))
        if landed.removesuffix(end).strip(" \t\r\n\x0b\x0c"):
            expected.records.append((line, judge_object(entity, nulled, landed.removesuffix("\n").removesuffix("\r"))))
        else:
            expected.blank += count
        line += count
    for ending in endings:
        ground.land(expected.name + ending, PACKED[ending](text.getvalue().encode()))
        ground.expected.append(Expected(entity, expected.name + ending, expected.records, expected.blank))


def land_parquet(ground: Ground, entity: str, name: str, records: list[dict[str, Any]]) -> None:
    """The records as Parquet: texts as texts, instants as instants or as texts, numbers as doubles or integers."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    for instants in ("text", "instant") if AT in GOOD[entity].values() else ("text",):
        arrays = []
        for column in columns:
            values = [record.get(column) for record in records]
            if instants == "instant" and oracle.CONTRACT[entity].get(column) is oracle.instant:
                moments = [None if value is None else datetime.fromisoformat(value).astimezone(UTC) for value in values]
                arrays.append(pa.array(moments, pa.timestamp("us", "UTC")))
            else:
                arrays.append(pa.array(values))
        path = f"{entity}/{name} {instants}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(arrays, names=columns), sink, row_group_size=700)
        ground.land(path, sink.getvalue().to_pybytes())
        verdicts = [judge_object(entity, strict_json(json.dumps(record)), None) for record in records]
        ground.expected.append(Expected(entity, path, list(enumerate(verdicts, 1))))
