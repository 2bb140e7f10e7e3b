"""Records of CSV whose quoted cells do not end: each costs its own line, and no line is read again for each of them."""

from __future__ import annotations

import csv
import random

import pytest

from pipelines.landing import csv_text
from pipelines.landing.csv_text import read_csv
from pipelines.landing.lines import Block, LongLine, Piece, blocks_of_lines

MOST = 30  # bytes of a line, and of a record
HEADER = b"sessionId,creatorId,startedAt\n"
PARTS = ['"', '"', '""', ",", '","', "a", "b" * 9, '"a"']


def plainly(lines: list[str]) -> list[tuple[int, str | None]]:
    """The lines that records begin on, and why they are not CSV: every record tried from its first line on."""
    found: list[tuple[int, str | None]] = []
    at = 0
    while at < len(lines):
        count, problem = 1, None
        while True:
            try:
                list(csv.reader(lines[at : at + count], strict=True))
            except csv.Error as error:
                problem = str(error)
                if problem == "unexpected end of data":
                    following = sum(map(len, lines[at : at + count + 1])) - 1
                    if at + count < len(lines) and following <= MOST:
                        count, problem = count + 1, None
                        continue
                    count = 1
            break
        if count > 1 or problem or lines[at].strip():
            found.append((at + 1, problem))
        at += count
    return found


@pytest.mark.parametrize("seed", range(40))
def test_cells_that_do_not_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record begins on the line that trying them all says, in blocks of any size."""
    monkeypatch.setattr(csv_text, "MAX_LINE_BYTES", MOST)
    drawn = random.Random(seed)
    for _ in range(50):
        count = drawn.randrange(1, 30)
        lines = ["".join(drawn.choices(PARTS, k=drawn.randrange(4)))[:MOST] + "\n" for _ in range(count)]
        data = HEADER + "".join(lines).encode()
        batches = list(read_csv("viewing_sessions", blocks_of_lines([data], drawn.choice([1, 40, 1000]))))
        rejected = [(each.line - 1, each.reason) for batch in batches for each in batch.rejected]
        expected = plainly(lines)
        assert [line for line, _ in rejected] == [line for line, _ in expected]
        assert [reason == csv_text.UNENDED for _, reason in rejected] == [
            problem == "unexpected end of data" for _, problem in expected
        ]


@pytest.mark.parametrize("line", [b'a","\n', b'"\n', b'a","' + b"x" * 1000 + b"\n"], ids=["short", "quotes", "long"])
@pytest.mark.parametrize("is_cut", [False, True], ids=["to the end", "to a long line"])
def test_each_line_is_read_a_few_times(line: bytes, is_cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a cell begins on every line that the cell of the line before does not end on."""
    read = 0
    following = csv_text._Lines.__next__

    def counted(lines: csv_text._Lines) -> str:
        nonlocal read
        read += 1
        return following(lines)

    monkeypatch.setattr(csv_text._Lines, "__next__", counted)
    count = 2500
    pieces: list[Piece] = [Block(1, HEADER, 1), Block(2, line * count, count)]
    if is_cut:
        pieces.append(LongLine(count + 2, b"long"))
    rejected = [each for batch in read_csv("viewing_sessions", pieces) for each in batch.rejected]
    assert read < 4 * count
    if line != b'"\n':
        assert len(rejected) == count + is_cut
