"""Lines that are decoded many at a time: what is not plainly what its slow path reads is left to that."""

from __future__ import annotations

import json

import pytest

from pipelines.landing.batches import Batch, Rows
from pipelines.landing.fast import FastReader
from pipelines.landing.json_columns import JsonColumns
from pipelines.landing.lines import Block
from pipelines.landing.mapping import EntityMapping
from pipelines.landing.ndjson import read_value

GOOD = '{"id":"%d","creatorId":"c","status":"active","guests":[{"a":1.5}],"x":0}'


def block_of(lines: list[str]) -> Block:
    return Block(1, "".join(f"{line}\n" for line in lines).encode(), len(lines))


def slow(entity: str, block: Block) -> Batch:
    rows = Rows(entity)
    for number, line in enumerate(block.data.splitlines(), 1):
        read_value(number, line, rows)
    return rows.batch()


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "ending",
    [
        '"x":1,"x":2}',  # an unknown key twice
        '"guests":[{"a":1,"a":2}]}',
        '"guests":[{"a":1.50}]}',  # a number that would come back as another text
        '"guests":[{"a":1e5}]}',
        '"guests":[{"a":-0}]}',
        '"guests":[{"$oid":"x"}]}',
        '"guests":[{"$date":"2013-01-01T10:17:00"}]}',
        '"guests":{"$oid":"64d15f9e2e6c8f4d5a123456"}}',
        '"guests":[{"a":"\\u00e9"}]}',
        f'"x":{deep(100)}}}',
        f'"x":{deep(99)}}}',
        f'"x":{"1" * 1001}}}',
        f'"x":"{"1" * 1001}"}}',
        '"price":999999999999.99}',
        '"price":9999999999999.99}',
        '"price":0.001}',
        '"price":-1}',
        '"price":true}',
        '"price":{"$numberDecimal":"01.5"}}',
        '"_id":"by another spelling"}',
        '"a.b":1}',
        '"title":"\\ud800"}',
    ],
)
@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("is_spaced", [False, True])
def test_an_unusual_line_is_read_as_it_is_by_itself(ending: str, others: int, *, is_spaced: bool) -> None:
    """Among good ones, and alone."""
    line = f'{{"id":"1","creatorId":"c","status":"active",{ending}'
    if is_spaced:
        line = line.replace(":", ": ").replace(",", ", ")
    lines = [GOOD % number for number in range(others)]
    block = block_of([*lines, line, *lines])
    found, expected = JsonColumns("live_streams").read(block, read_value), slow("live_streams", block)
    assert found.accepted.equals(expected.accepted)
    assert (found.rejected, found.unknown_fields) == (expected.rejected, expected.unknown_fields)


def test_more_unknown_fields_than_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Are counted by the slow path, in time that does not grow with their number."""
    lines = [json.dumps({"id": str(n), "creatorId": "c", "status": "s", f"x{n}": n}) for n in range(300)]
    block = block_of(lines)
    found, expected = JsonColumns("live_streams").read(block, read_value), slow("live_streams", block)
    assert found.unknown_fields == expected.unknown_fields
    assert len(found.unknown_fields) == 300
    assert found.accepted.equals(expected.accepted)


def test_whole_amounts_with_a_fraction_are_not_read_line_by_line() -> None:
    """Python writes 45.0, which the common form does not know."""
    asked: list[int] = []

    def ask(line: int, text: bytes, rows: Rows) -> None:
        asked.append(line)
        read_value(line, text, rows)

    line = '{"pledgeId":"p%d","userId":"u","streamId":"s","amount":%d.0,"status":"pending"}'
    block = block_of([line % (number, number) for number in range(100)])
    found = FastReader("pledges").read(block, ask)
    assert found.accepted.equals(slow("pledges", block).accepted)
    assert asked == []


def test_a_lesson_is_not_taken_again_of_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that their own form does not read would be learned from until no lesson is left for others."""
    line = '{"pledgeId":"p%d","userId":"u","streamId":"s","amount":%d.0,"status":"pending"}'
    reader = FastReader("pledges")
    for _ in range(3):
        reader.read(block_of([line % (number, number) for number in range(100)]))
    assert reader._lessons >= 12


def test_a_time_zone_is_not_said_of_extended_json() -> None:
    """Whatever stands in the lines around it: a `$date` without an offset is rejected."""
    mapping = EntityMapping(timezone="Europe/Berlin")
    lines = [f'{{"userId":"u{number}","erasedAt":{{"$date":"2013-06-01T10:17:00Z"}}}}' for number in range(60)]
    lines[30] = lines[30].replace("00Z", "00")
    found = FastReader("erasures", mapping=mapping).read(block_of(lines))
    assert [each.line for each in found.rejected] == [31]
