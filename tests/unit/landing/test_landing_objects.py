"""JSON that is not one object a line is read as its objects, and as lines where it is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.landing import objects
from pipelines.landing.batches import Batch, with_records
from pipelines.landing.fast import read_fast
from pipelines.landing.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES, Damage, blocks_of_lines
from pipelines.landing.ndjson import read_ndjson
from pipelines.landing.objects import NotByLine, Scanner, value_pieces

Books = tuple[list[dict[str, object]], list[tuple[int, str, str]], int, str | None]


def in_pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def books(batches: Iterator[Batch]) -> Books:
    """(accepted rows, (line, reason, text) of rejected ones, blank lines, why it is unreadable)."""
    accepted, rejected, blank, unreadable = [], [], 0, None
    for batch in batches:
        accepted += batch.accepted.to_pylist()
        rejected += [(each.line, each.reason, each.text.strip()) for each in batch.rejected]
        blank += batch.blank
        unreadable = unreadable or batch.unreadable
    return accepted, rejected, blank, unreadable


def by_value(text: bytes, size: int = 1 << 20, entity: str = "follows") -> Books:
    read = read_fast if entity == "follows" else read_ndjson
    return books(read(entity, value_pieces(in_pieces(text, size))))


def users(text: bytes | str) -> list[tuple[object, object]]:
    accepted, rejected, _, unreadable = by_value(text if isinstance(text, bytes) else text.encode())
    assert (rejected, unreadable) == ([], None)
    return [(row["user_id"], row["line"]) for row in accepted]


RECORDS = [{"userId": f"u{number}", "creatorId": 'c}{"[,]', "x": {"y": [{}, {"z": 1}]}} for number in range(4)]


def test_objects_one_after_the_other():
    """As Firehose writes them; with line ends here and there, too."""
    texts = [json.dumps(each) for each in RECORDS]
    assert users("".join(texts)) == [("u0", 1), ("u1", 1), ("u2", 1), ("u3", 1)]
    assert users(f"{texts[0]}{texts[1]}\n\n{texts[2]} {texts[3]}") == [("u0", 1), ("u1", 1), ("u2", 3), ("u3", 3)]


def test_objects_over_several_lines():
    """The line of each is that on which it begins, whatever ends the lines."""
    text = "\n".join(json.dumps(each, indent=2) for each in RECORDS)
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line == "{"]
    for end in ("\n", "\r\n", "\r"):
        assert users(text.replace("\n", end)) == [(f"u{number}", line) for number, line in enumerate(lines)]


@pytest.mark.parametrize("indent", [None, 1])
def test_arrays(indent):
    """One or several, in a line or over many; an empty one holds no records."""
    assert [user for user, _ in users(json.dumps(RECORDS, indent=indent))] == ["u0", "u1", "u2", "u3"]
    two = json.dumps(RECORDS[:2], indent=indent) + "\n" + json.dumps(RECORDS[2:], indent=indent)
    assert [user for user, _ in users(two)] == ["u0", "u1", "u2", "u3"]
    assert by_value(b"[]\n") == ([], [], 0, None)


def test_an_array_that_does_not_end_is_unreadable():
    """What is there of it counts."""
    text = json.dumps(RECORDS, indent=1).encode()
    accepted, rejected, _, unreadable = by_value(text[:-1])
    assert (len(accepted), len(rejected), unreadable) == (4, 1, "the array that begins on line 1 does not end")
    assert by_value(text[: len(text) // 2])[3] is not None


@pytest.mark.parametrize("indent", [None, 1, 4, "\t"])
@pytest.mark.parametrize("bad", ['"u1', "u1", '"u1"}'])
def test_a_bad_element_of_an_array_in_lines_costs_itself(indent, bad):
    """The file is unreadable; what follows is read for those who accept that. Parts of the element are no records."""
    records = [{**each, "x": [each, each]} for each in RECORDS]
    text = json.dumps(records, indent=indent)
    if indent is None:
        text = "[\n" + ",\n".join(map(json.dumps, records)) + "\n]"
    text = text.replace('"userId": "u1"', f'"userId": {bad}', 1)
    for size in (1 << 20, 5):
        accepted, _, _, unreadable = by_value(text.encode(), size)
        assert [row["user_id"] for row in accepted] == ["u0", "u2", "u3"]
        assert unreadable == "an array is damaged"


def test_a_bad_element_of_an_array_in_one_line_ends_it():
    """Nothing says there what is within a text: the same letters may be a record or a part of its neighbour's text."""
    text = '[{"userId":"u0","creatorId":"c"},{"userId":"a" "x":"},{"userId":"u2","creatorId":"c"}'
    for rest in ("]", '"},{"userId":"u3","creatorId":"c"}]'):
        accepted, _, _, unreadable = by_value((text + rest).encode())
        assert [row["user_id"] for row in accepted] == ["u0"]
        assert unreadable == "an array is damaged"


def test_a_bad_object_costs_its_line_and_none_after_it():
    """Among objects in one line it costs itself."""
    good = [json.dumps({"userId": f"u{number}", "creatorId": "c"}) for number in range(4)]
    accepted, rejected, _, _ = by_value(f'{good[0]}{{"userId" 5}}{good[1]}\n{{"userId":\n{good[2]}\n{good[3]}'.encode())
    assert [row["user_id"] for row in accepted] == ["u0", "u1", "u2", "u3"]
    assert [(line, text) for line, _, text in rejected] == [(1, '{"userId" 5}'), (2, '{"userId":')]


def test_a_value_that_is_too_long_is_one_rejected_record():
    """However long; what comes after it is read."""
    long = '{"userId":"' + "x" * (6 * MAX_LINE_BYTES) + '","creatorId":"c"}'
    good = '{"userId":"u","creatorId":"c"}'
    accepted, rejected, _, _ = by_value(f"{good}{good}\n{long}\n{good}".encode(), 1 << 16)
    assert [row["line"] for row in accepted] == [1, 1, 3]
    assert [(line, reason) for line, reason, _ in rejected] == [(2, "the line is longer than 1 MiB")]


def test_a_text_of_many_unended_objects_is_not_read_again_for_each(monkeypatch):
    """Each would be read on to the end of what is held."""
    monkeypatch.setattr(objects, "MAX_LOOKED_AT_IN_VAIN", 1000)
    looked_at: list[int] = []

    class Counted(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[object, int]:
            looked_at.append(len(s) - idx)
            return super().raw_decode(s, idx)

    monkeypatch.setattr(objects, "_DECODER", Counted())
    scanner = Scanner(iter([b'{"a":\n' * 5_000]))
    assert sum(1 for _ in scanner.values()) == 5_000
    assert sum(looked_at) < 1_000_000


PARTS = [
    b'{"userId":"u","creatorId":"c"}', b'{"userId":"\xc3\xbc","creatorId":"c"}', b'{"userId":"\xff","creatorId":"c"}',
    b"{}", b"[", b"]", b",", b"{", b"}", b'"userId"', b":", b"null", b" ", b"\n", b"\n", b"\r\n", b"\r", b"[]", b"\\",
    b"\0",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PARTS), max_size=30), st.integers(1, 40), st.booleans())
def test_reading_by_line_and_by_value_agree(parts, size, has_mark):
    """Wherever every line holds one value, or none, and however the text is cut."""
    text = BYTE_ORDER_MARK * has_mark + b"".join(parts)
    expected = by_value(text)
    assert by_value(text, size) == expected
    assert by_value(text, size, "live_streams")[2] == expected[2]
    try:
        lines = books(read_ndjson("follows", blocks_of_lines(in_pieces(text, size))))
    except NotByLine:
        return
    assert lines == expected


def test_a_text_without_a_record_is_unreadable():
    """It is a page of an error, or white space."""
    for text in (
        '{"error":"not found","status":404}',
        "<html>\n<body>",
        "Service Unavailable",
        '{"message":null}\n' * 9,
    ):
        batches = read_fast("follows", blocks_of_lines([text.encode()]))
        assert books(with_records("follows", batches, may_be_empty=False))[3] == "nothing in it has a required field"
    blank = books(with_records("follows", read_fast("follows", blocks_of_lines([b" \n\t"])), may_be_empty=False))
    assert blank == ([], [], 2, "it holds nothing but white space")


def test_damage_comes_after_the_values_before_it():
    """A value that breaks off is no value."""

    def chunks() -> Iterator[bytes]:
        yield b'{"userId":"u","creatorId":"c"}{"userId":"v","creat'
        raise objects.DamagedArchive("it ends in the middle")

    pieces = list(value_pieces(chunks()))
    assert pieces[-1] == Damage(1, "the archive is damaged: it ends in the middle")
    assert [row["user_id"] for row in books(read_fast("follows", iter(pieces)))[0]] == ["u"]


def test_values_in_random_places_have_their_columns():
    """They are where the scanner says, byte by byte."""
    random.seed(1)
    text = b""
    for number in range(200):
        record = json.dumps({"n": number, "text": "\u00fc\n" * random.randrange(3)}, indent=random.choice([None, 1]))
        text += random.choice([b"", b"\n", b" \n ", b"\r\n"]) + record.encode()
    lines = text.split(b"\n")
    for value in Scanner(in_pieces(text, 100)).values():
        assert lines[value.line - 1][value.column :].startswith(value.text[:1])
        assert lines[value.end_line - 1][: value.end_column].endswith(value.text[-1:])
        assert json.loads(value.text)
