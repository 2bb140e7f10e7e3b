"""Any text comes out of CSV as it went in, by the rules of each kind of program that writes backslashes before things.

The encoders are to the letter of the programs' documentation; tests/spec/test_programs.py has the programs themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.landing.csv_text import csv_records, read_csv
from pipelines.landing.fast import MIN_LINES
from pipelines.landing.lines import blocks_of_lines
from pipelines.landing.mapping import EntityMapping

COPY = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
BATCH = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\0": "\\0"}  # mysql --batch
OUTFILE = {"\\": "\\\\", "\n": "\\\n", "\t": "\\\t", "\0": "\\0"}  # select … into outfile
ENCLOSED = {"\\": "\\\\", "\n": "\\\n", '"': '\\"', "\0": "\\0"}  # … optionally enclosed by '"'
SEPARATED = {**COPY, "\0": "\\0", "'": "\\'"}  # ClickHouse's TabSeparatedWithNames; it leaves \v as it is
del SEPARATED["\v"]


def encoder(table: dict[str, str], around: str = "") -> Callable[[str], str]:
    return lambda text: around + "".join(table.get(char, char) for char in text) + around


WRITERS: dict[str, tuple[Callable[[str], str], EntityMapping]] = {
    "copy": (encoder(COPY), EntityMapping(delimiter="\t", escape="\\", quote="")),
    "batch": (encoder(BATCH), EntityMapping(delimiter="\t", escape="\\", quote="")),
    "outfile": (encoder(OUTFILE), EntityMapping(delimiter="\t", escape="\\", quote="")),
    "enclosed": (encoder(ENCLOSED, '"'), EntityMapping(escape="\\")),
    "separated": (encoder(SEPARATED), EntityMapping(delimiter="\t", escape="\\", quote="")),
    "bare": (
        lambda text: text.translate(dict.fromkeys(map(ord, "\t\n"))),
        EntityMapping(delimiter="\t", quote="", escape=""),
    ),
}
TEXTS = st.text(st.sampled_from("ab\\nN0Z\n\t\"',é|;"), min_size=1, max_size=6)
AT = "2026-03-09T10:00:00Z"


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8),
    many=st.booleans(),
    size=st.sampled_from([40, 1_000_000]),
)
@example(texts=[("\\N", "\\N"), ("a\n", "\n"), ("\\", "\\\\"), ('"a"', '"')], many=True, size=1_000_000)
def test_any_text_is_an_id_as_it_was_written(writer: str, texts: list[tuple[str, str]], many: bool, size: int) -> None:
    """In few lines and in many, which are read as columns; in blocks of any size; and the same for `forget`."""
    write, mapping = WRITERS[writer]
    if writer == "bare":
        texts = [(write(first) + "x", write(second) + "x") for first, second in texts]
    if many:
        texts = texts * (1 + MIN_LINES // len(texts))
    separator = mapping.delimiter or ","
    rows = [["sessionId", "startedAt", "viewerId", "creatorId"]]
    rows += [[write(first), AT, "" if writer == "bare" else "\\N", write(second)] for first, second in texts]
    data = "".join(separator.join(row) + "\n" for row in rows).encode()
    chunks = [data[at : at + 64] for at in range(0, len(data), 64)]
    batches = list(read_csv("viewing_sessions", blocks_of_lines(chunks, size, quotes=True), mapping=mapping))
    assert [rejected for batch in batches for rejected in batch.rejected] == []
    found = [(row["session_id"], row["creator_id"]) for batch in batches for row in batch.accepted.to_pylist()]
    assert found == texts
    records = list(csv_records(blocks_of_lines([data], quotes=True), mapping))[1:]
    assert [(record.cells[0], record.cells[3]) for record in records] == texts
    assert sum(record.lines for record in records) == data.count(b"\n") - 1
