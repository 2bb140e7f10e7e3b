"""Nested entities: reading many lines at a time says what reading them one by one says, whatever stands in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from test_acceptance import HOSTILE, UNUSUAL, all_of, blocks

from pipelines.landing import json_columns
from pipelines.landing.batches import Rows
from pipelines.landing.json_columns import JsonColumns
from pipelines.landing.lines import Block, lines_of
from pipelines.landing.mapping import UNMAPPED, EntityMapping
from pipelines.landing.ndjson import read_value
from pipelines.landing.schema import (
    ENTITIES,
    FLAT_ENTITIES,
    Instant,
    JsonArray,
    JsonObject,
    LandedField,
    Money,
    landed_fields,
)

NESTED = sorted(set(ENTITIES) - FLAT_ENTITIES)
ESCAPED = ['"a\\nb"', '"\\u00e9"',
           '"\\u00E9"', '"\\/"', '"\\"{\\"$oid\\":"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\u0001"',
           '"\\u001F"', '"\x7f"', '"a\\\\"', '"{"', '"$oid"', '"\\b\\f\\t\\r"', '"\U0001f600"']  # fmt: skip
OBJECT_ID = '{"$oid":"64d15f9e2e6c8f4d5a123456"}'
IN_OBJECTS = [OBJECT_ID, '{"$oid":"x"}', '{"$date":"2013-01-01T10:17:00Z"}', '{"$date":5}', '{"$date":"x"}',
              '{"$date":{"$numberLong":"1357035420000"}}', '{"$date":{"$numberInt":"5"}}', '{"$numberLong":"4"}',
              '{"$numberLong":"04"}', '{"$numberInt":4}', '{"$numberDecimal":"1.50"}', '{"$numberDecimal":"1E2"}',
              '{"$numberDouble":"NaN"}', '{"$x":1}', '{"$oid":"64d15f9e2e6c8f4d5a123456","b":1}', "1.50", "1e16",
              "1e+16", "1e-7", "1E5", "12345678901234567890123", "1.0", "-0.0", "0.1", "9007199254740993",
              "9007199254740993.0", "[]", "{}", "null", "true", "1" * 1001, '"' + "1" * 1001 + '"']  # fmt: skip
KEYS = ["a", "b", "$oid", "é", "a b", ""]


# A nested value as JSON text without spaces; now and then with a key twice. Made once: it takes longer than to draw.
NESTED_VALUES = st.recursive(
    st.one_of(st.sampled_from(['"a"', "1", "2.5", *IN_OBJECTS, *ESCAPED]), UNUSUAL.filter(bool)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
        ),
    ),
    max_leaves=5,
)
UNUSUAL_OR_NESTED = st.one_of(UNUSUAL, NESTED_VALUES)


def usual(field: LandedField) -> st.SearchStrategy[str]:
    """A value that the field would take."""
    if field.choices:
        return st.sampled_from([f'"{choice}"' for choice in field.choices])
    if field.kind is JsonArray:
        return st.sampled_from(["[]", '[{"_id":"a","username":"é"}]', f'[{{"_id":{OBJECT_ID},"n":1.5}},2]'])
    if field.kind is JsonObject:
        return st.sampled_from(["{}", '{"small":"s","large":{"w":10}}', f'{{"a":{OBJECT_ID}}}'])
    if field.kind is Instant:
        wrapped = st.sampled_from(['{"$date":"2013-01-01T10:17:00Z"}', '{"$date":"2013-01-01T10:17:00.123Z"}'])
        return st.one_of(st.just('"2013-01-01T10:17:00Z"'), wrapped)
    if field.kind is Money:
        return st.sampled_from(["5", "12.5", '"3.25"', '{"$numberDecimal":"1.50"}', "0.01", "999999999999.99"])
    if field.kind is bool:
        return st.sampled_from(["true", "false"])
    return st.one_of(st.integers(0, 9).map(lambda number: f'"id{number}"'), st.just(OBJECT_ID))


@st.composite
def texts(draw: st.DrawFn, mapping: EntityMapping = UNMAPPED) -> tuple[str, bytes]:
    """An entity, and the bytes of a landed file of it, written by one or two programs."""
    entity = draw(st.sampled_from(NESTED))
    shapes = []
    for _ in range(draw(st.integers(1, 2))):
        fields = [each for each in landed_fields(entity) if each.required or draw(st.booleans())]
        names = [each.name if draw(st.integers(0, 5)) else each.column for each in fields]
        kinds = [usual(each) if draw(st.booleans()) else draw(usual(each).map(st.just)) for each in fields]
        order = draw(st.permutations(range(len(fields))))
        style = draw(st.sampled_from(["compact", "spaced", "ascii", "spaced ascii", "odd"]))
        extra = draw(st.sampled_from([None, None, "__v", "profilePhoto.x", "a.b", "_id"]))
        shapes.append(([(names[place], kinds[place], fields[place]) for place in order], style, extra))
    lines = []
    for _ in range(draw(st.integers(1, 20))):
        shape, style, extra = draw(st.sampled_from(shapes))
        pairs = []
        for name, kind, field in shape:
            odd = draw(st.integers(0, 6 * len(shape)))
            if odd == 1:
                continue
            value = draw(kind)
            if odd == 0 or (odd < 8 and field.kind in (JsonArray, JsonObject)):
                value = draw(UNUSUAL_OR_NESTED)
            pairs.append((name, value))
        if extra:
            pairs.append((extra, draw(NESTED_VALUES)))
        lines.append(mutated(draw, written(pairs, style)))
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    return entity, end.join(lines) + draw(st.sampled_from([end, b""]))


def written(pairs: list[tuple[str, str]], style: str) -> str:
    """A line of the pairs, those of a nested object in one at the place of the first of them."""
    merged: dict[str, Any] = {}
    flat: list[tuple[str, Any]] = []
    for name, value in pairs:
        head, _, tail = name.partition(".")
        if tail and head == "profilePhoto" and tail != "x":
            if head not in merged:
                merged[head] = []
                flat.append((head, merged[head]))
            merged[head].append((tail, value))
        else:
            flat.append((name, value))
    whole = _object(flat)
    if "spaced" in style:
        try:
            value = json.loads(whole, parse_float=_Text, object_pairs_hook=_Pairs)
        except ValueError:
            return whole
        return _spaced(value, is_ascii="ascii" in style)
    if style == "ascii":
        return "".join(letter if letter < "\x80" else json.dumps(letter)[1:-1] for letter in whole)
    return whole.replace(",", " , ") if style == "odd" else whole


def _object(pairs: list[tuple[str, Any]]) -> str:
    texts = (f'"{name}":{_object(value) if isinstance(value, list) else value}' for name, value in pairs)
    return "{" + ",".join(texts) + "}"


class _Text(str):
    """A number as it is written."""


class _Pairs(list[tuple[str, Any]]):
    """An object, with every key as often as it is given."""


def _spaced(value: Any, *, is_ascii: bool) -> str:
    if isinstance(value, _Pairs):
        each = (
            f"{json.dumps(key, ensure_ascii=is_ascii)}: {_spaced(inner, is_ascii=is_ascii)}" for key, inner in value
        )
        return "{" + ", ".join(each) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_spaced(inner, is_ascii=is_ascii) for inner in value) + "]"
    return str(value) if isinstance(value, _Text) else json.dumps(value, ensure_ascii=is_ascii)


def mutated(draw: st.DrawFn, line: str) -> bytes:
    """Now and then a letter of the line is another, or something stands around it."""
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from(["", *HOSTILE])) + line[at + draw(st.integers(0, 1)) :]
    raw = line.encode(errors="replace")
    if draw(st.integers(0, 30)) == 0:
        odd = [b"", b"  ", b"{}", b"[]", b"1", b"\xef\xbb\xbf" + raw, raw + b"\xff", raw + b" ", b"\r", raw + raw]
        raw = draw(st.sampled_from([*odd, b'{"streams":[' + raw + b"]}", raw.replace(b"id", b"\xff")]))
    return raw


def assert_same(reader: JsonColumns, mapping: EntityMapping, data: bytes) -> int:
    """Returns how many of the rows were read as columns."""
    slow, asked = 0, 0

    def ask(line: int, text: bytes, rows: Rows) -> None:
        nonlocal asked
        before = rows.accepted
        read_value(line, text, rows)
        asked += rows.accepted - before

    rows = Rows(reader.entity, mapping)
    for block in blocks(data):
        for line, text in enumerate(lines_of(block.data), block.first_line):
            read_value(line, text, rows)
        slow += rows.accepted
        expected, found = rows.batch(), reader.read(block, ask)
        assert found.accepted.schema == expected.accepted.schema
        assert all_of(iter([found])) == all_of(iter([expected]))
    return slow - asked


@pytest.mark.parametrize("part", [1, 3, 4096])
@settings(max_examples=effort(20, 60, 600), deadline=None)
@given(landed=texts())
def test_many_lines_at_a_time_say_what_each_says(part: int, landed: tuple[str, bytes]) -> None:
    """Row for row, reason for reason; and in parts of any size."""
    entity, data = landed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_columns, "PART_LINES", part)
        patch.setattr(json_columns, "_DECODED_LINES", min(part, 3))
        assert_same(JsonColumns(entity), UNMAPPED, data)


FOLDERS = [("status", "active"), ("creatorId", "c"), ("updatedAt", "x"), ("profilePhoto.type", "t"), ("id", None)]


@settings(max_examples=effort(20, 80, 800), deadline=None)
@given(st.data())
def test_by_any_mapping(data: st.DataObject) -> None:
    """Names, time zones, numbers, nulls and folders."""
    entity, landed = data.draw(texts())
    fields = {each.name for each in landed_fields(entity)}
    names = sorted({"id", "username", "status"} & fields)
    renames = [("x", name) for name in names] + [("a.b", "profilePhoto.url"), ("title", "profilePhoto._id")]
    known = [pair for pair in renames if pair[1] in fields]
    folders = [pair for pair in FOLDERS if pair[0] in fields]
    mapping = EntityMapping(
        rename=tuple(data.draw(st.lists(st.sampled_from(known), max_size=2, unique_by=lambda pair: pair[1]))),
        timezone=data.draw(st.sampled_from([None, "Europe/Berlin"])),
        epoch=data.draw(st.sampled_from([None, "s", "ms"])),
        null=data.draw(st.sampled_from([None, (), ("a", "id1"), ("NULL", "3.25")])),
        in_folders=tuple(data.draw(st.lists(st.sampled_from(folders), max_size=1))) if folders else (),
    )
    landed = landed.replace(b'T10:17:00Z"', data.draw(st.sampled_from([b'T10:17:00Z"', b'T10:17:00"'])))
    assert_same(JsonColumns(entity, mapping), mapping, landed)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_string_without_an_end_has_the_same_reason_whatever_ends_the_line(end: bytes) -> None:
    """As columns and one by one: the carriage return is no letter of the string."""
    data = end.join([b'{"id":"a","username":"b', b'{"id":"c","username":"d']) + end
    assert assert_same(JsonColumns("creators"), UNMAPPED, data) == 0


@pytest.mark.parametrize("style", ["compact", "spaced", "ascii", "spaced ascii"])
@pytest.mark.parametrize("entity", NESTED)
def test_good_lines_are_read_as_columns(entity: str, style: str) -> None:
    """The comparison above would be empty if every line went the slow way."""
    values = {str: '"é%d"', Instant: '"2013-01-01T10:17:00Z"', Money: "12.5", bool: "true", JsonObject: '{"a":{"b":1}}',
              JsonArray: '[{"_id":"a","n":"é"}]'}  # fmt: skip
    lines = []
    for number in range(50):
        pairs = [
            (each.name, f'"{each.choices[0]}"' if each.choices else values[each.kind].replace("%d", str(number)))
            for each in landed_fields(entity)
            if each.required or number % 3
        ]
        lines.append(written([*pairs, ("__v", "0")], style).encode())
    assert assert_same(JsonColumns(entity), UNMAPPED, b"\n".join(lines)) == 50


def test_extended_json_is_read_as_columns() -> None:
    """As `mongoexport` writes it, at any depth."""
    line = (
        '{"_id":{"$oid":"64d15f9e2e6c8f4d5a12%04d"},"creatorId":{"$oid":"64d15f9e2e6c8f4d5a123456"},"status":"active",'
        '"price":{"$numberDecimal":"9.99"},"createdAt":{"$date":"2013-01-01T10:17:00.5Z"},"guests":[{"_id":'
        '{"$oid":"64d15f9e2e6c8f4d5a123456"},"at":{"$date":{"$numberLong":"1357035420000"}},"n":{"$numberInt":"4"}}]}'
    )
    data = "".join(f"{line % number}\n" for number in range(50)).encode()
    reader = JsonColumns("live_streams")
    assert assert_same(reader, UNMAPPED, data) == 50
    (row,) = reader.read(Block(1, data.splitlines()[0], 1)).accepted.to_pylist()
    assert row["guests"] == '[{"_id":"64d15f9e2e6c8f4d5a123456","at":"2013-01-01T10:17:00.000Z","n":4}]'
