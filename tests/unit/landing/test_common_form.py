"""Lines of many shapes, read by one form: it must take each for what it is, or leave it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa
import pytest
from test_landing_fast import ODD, USUAL, assert_same, block_of, slow

from pipelines.landing import common_form
from pipelines.landing.fast import NOT_IN_JSON, FastReader, is_fit
from pipelines.landing.values import MAX_DEPTH

SHAPES = [
    {"viewerId": "v%d", "endedAt": "2026-01-05T10:05:00Z"},
    {"deviceId": "d%d", "endedAt": None},
    {"viewerId": "v%d", "deviceId": "d%d", "source": "web", "endedAt": "2026-01-05T10:05:00.250Z", "revision": 1},
    {"endedAt": "2026-01-05T10:05:00.25Z", "revision": 7, "deleted": True},
    {"streamId": "t%d", "source": "", "endedAt": "2026-01-05T10:05:00Z", "deleted": False},
]


def mixed(count: int, separators: tuple[str, str] = (",", ":")) -> list[bytes]:
    """Lines of several shapes, one after the other; every field where the platform puts it."""
    order = ("viewerId", "deviceId", "streamId", "source", "startedAt", "endedAt", "revision", "deleted")
    lines = []
    for number in range(count):
        record = {"sessionId": f"s{number}", "creatorId": "ada"}
        fields = SHAPES[number % len(SHAPES)] | {"startedAt": "2026-01-05T10:00:00Z"}
        record |= {name: fields[name] for name in order if name in fields}
        text = json.dumps(record, separators=separators)
        lines.append((text % number if "%d" in text and text.count("%d") == 1 else text.replace("%d", "x")).encode())
    return lines


def form_of(lines: list[bytes]) -> common_form.CommonForm:
    form = common_form.learn("viewing_sessions", [line.decode() for line in lines])
    assert form is not None
    return form


def assert_read_rightly(form: common_form.CommonForm, lines: list[bytes]) -> list[int]:
    """What the form reads is what the slow path reads; returns which lines those are."""
    block = block_of(lines)
    table, places, _ = form.match(block.data, block.lines)
    read = list(range(len(lines))) if places is None else places.to_pylist()
    expected = {row.pop("line") - block.first_line: row for row in slow("viewing_sessions", block).accepted.to_pylist()}
    assert [expected[place] for place in read] == table.to_pylist()
    return read


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_every_shape_is_read(separators: tuple[str, str]) -> None:
    """Fields that are left out, null, numbers and truth values, in one pass."""
    lines = mixed(200, separators)
    assert assert_read_rightly(form_of(lines), lines) == list(range(200))


# The others do not come so far: blocks are read by columns only where their bytes are fit for it.
FIT = [name for name, line in ODD.items() if is_fit(block_of([line]), NOT_IN_JSON)]


@pytest.mark.parametrize("name", FIT)
def test_an_odd_line_among_them(name: str) -> None:
    """It is read as what it is or left to others; and so are the lines beside it."""
    lines = mixed(40)
    form = form_of(lines)
    assert_read_rightly(form, [*lines[:20], ODD[name], *lines[20:]])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"revision":1', '"revision":1e0'),
        ('"revision":1', '"revision":1.0'),
        ('"revision":1', '"revision":"1"'),
        ('"revision":1', '"revision":-1'),
        ('"revision":1', '"revision":1,"revision":2'),
        ('"creatorId":"ada"', '"creatorId":100000.0'),
        ('"creatorId":"ada"', '"creatorId":{"x": 1}'),
        ('"creatorId":"ada"', '"creatorId":["x"]'),
        ('"creatorId":"ada"', '"creatorId":true'),
        ('"creatorId":"ada"', '"creatorId":""'),
        ('"creatorId":"ada",', ""),
        ('"source":"web"', '"source":"web","extra":1'),
        ("}", " }"),
    ],
)
def test_a_line_that_means_something_else_is_left(old: str, new: str) -> None:
    """What a lenient parser would take for the same is not."""
    lines = mixed(40)
    odd = lines[2].replace(old.encode(), new.encode(), 1)
    assert odd != lines[2]
    assert 20 not in assert_read_rightly(form_of(lines), [*lines[:20], odd, *lines[20:]])


def test_lines_in_another_order_are_of_another_form() -> None:
    """The form is that of the first line; others read the rest."""
    line = USUAL % 1
    turned = '{"creatorId":"ada","sessionId":"s0","startedAt":"2026-01-05T10:00:00Z"}'
    lines = [line.encode(), turned.encode()] * 40
    assert assert_read_rightly(form_of(lines), lines) == list(range(0, 80, 2))
    assert common_form.learn("viewing_sessions", []) is None


START = '"startedAt":"2026-01-05T10:00:00Z"'
WRITERS = {
    "unknown fields": '{"sessionId":"s%d","_v":%d,"creatorId":"ada",' + START + ',"app":"tv","x":null}',
    "nested fields": '{"sessionId":"s%d","creatorId":"ada",'
    + START
    + ',"meta":{"a":[%d,"x"],"b":{"c":null}},"tags":[]}',
    "nested fields, spaced": '{"sessionId": "s%d", "creatorId": "ada", '
    + START.replace(":", ": ", 1)
    + ', "meta": {"a": [%d, "x"]}}',
    "Extended JSON": '{"_id":{"$oid":"64d15f9e2e6c8f4d5a12%04d"},"creatorId":"ada","revision":{"$numberInt":"%d"},'
    '"startedAt":{"$date":"2026-01-05T10:00:00Z"}}',
    "canonical Extended JSON": '{"_id":"%d","creatorId":{"$oid":"64d15f9e2e6c8f4d5a123456"},'
    '"revision":{"$numberLong":"%d"},'
    '"startedAt":{"$date":{"$numberLong":"1767607200000"}}}',
    "spacing of its own": '{ "sessionId" : "s%d" , "revision" : %d , "creatorId" : "ada" , '
    + START.replace(":", " : ", 1)
    + " }",
}


def counts_of(unknown: Mapping[str, pa.BooleanArray]) -> dict[str, int]:
    return {name: has_it.true_count for name, has_it in unknown.items()}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("writer", WRITERS)
def test_what_other_programs_write(writer: str, end: bytes) -> None:
    """Unknown fields, Extended JSON and any spacing are read as columns, and their fields counted."""
    lines = [(WRITERS[writer] % (number, number % 9)).encode() for number in range(200)]
    block = block_of(lines, end)
    expected = slow("viewing_sessions", block)
    assert expected.accepted.num_rows + len(expected.rejected) == 200
    if not expected.rejected:
        table, places, unknown = form_of(lines).match(block.data, 200)
        assert (table.num_rows, places, counts_of(unknown)) == (200, None, expected.unknown_fields)
    assert_same(FastReader("viewing_sessions").read(block), expected)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_the_deepest_nesting_is_that_of_the_line(depth: int) -> None:
    """A nested field stands in a line, which is a level of its own."""
    plain = '{"sessionId":"s%d","creatorId":"ada",' + START + ',"meta":%s}'
    lines = [(plain % (number, "[1]")).encode() for number in range(200)]
    lines[100] = (plain % (100, "[" * depth + "]" * depth)).encode()
    reader, block = FastReader("viewing_sessions"), block_of(lines)
    for _ in range(2):
        assert_same(reader.read(block), slow("viewing_sessions", block))


def test_a_field_that_we_do_not_know_is_counted_where_it_is() -> None:
    """Where some lines leave it out, those are not counted."""
    lines = [USUAL % number for number in range(200)]
    lines = [line.replace("}", ',"extra":1.5}') if number % 3 else line for number, line in enumerate(lines)]
    block = block_of([line.encode() for line in lines])
    _, places, unknown = form_of([line.encode() for line in lines]).match(block.data, 200)
    assert (places, counts_of(unknown)) == (None, {"extra": 133})
    assert_same(FastReader("viewing_sessions").read(block), slow("viewing_sessions", block))


def test_lines_that_are_no_json_cost_the_lines_around_them_alone() -> None:
    """The rest of their block is still read as columns."""
    lines = mixed(1000)
    form = form_of(lines)
    broken = [*lines[:500], ODD["half a line"], *lines[500:900], ODD["a comma at the end"], *lines[900:]]
    assert len(assert_read_rightly(form, broken)) > 1000 - 4 * common_form.MIN_PARSED


def test_mixed_blocks_are_read_by_it() -> None:
    """The columnar reader comes to the form by itself, and says what the slow path says."""
    reader = FastReader("viewing_sessions")
    for _ in range(2):
        block = block_of([*mixed(500), ODD["an escape"], *mixed(100), ODD["half a line"]])
        assert_same(reader.read(block), slow("viewing_sessions", block))
    assert reader._forms
