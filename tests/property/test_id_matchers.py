"""Many ids together are found where each is found by itself, and whose a record is, is the same."""

from __future__ import annotations

import base64
import csv
import io
import json
import tempfile
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jobs.id_matcher import FEW, IdMatcher, IdMatchers
from pipelines.jobs.id_search import find_files
from pipelines.jobs.owned_records import owned_ranges, owners_of_rows
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import Content

LETTERS = "abc-_\"\\/'@.é日 \n7\x00\U0001f600"
IDS = st.one_of(
    st.sampled_from(
        ["usr-7f3a", "usr-7f3a'\"ö", "usr-7f3", "a/b/c", "aaaa", "aaa", "7", "é", "abcabc", "日本語", "ab\\"]
    ),
    st.text(LETTERS, min_size=1, max_size=8),
)


def escaped(text: str) -> str:
    """With every letter as a JSON escape."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def spellings(user: str) -> list[bytes]:
    half = len(user) // 2
    texts = [
        user,
        json.dumps(user),
        json.dumps(user, ensure_ascii=False).replace("/", "\\/"),
        escaped(user),
        user[:half] + escaped(user[half:]),
        json.dumps({"userId": user, "x": 1}),
        json.dumps({"creatorId": user, "deviceId": user}),
        json.dumps({"x": [{"y": user}], "creatorId": "c"}, ensure_ascii=False),
        f'{{"viewerId":"{escaped(user)}"}}',
        user.replace('"', '""'),
        f"x{user}",
        f"{user}x",
    ]
    found = [text.encode() for text in texts]
    found += [base64.b64encode(b"x" * before + b'"' + user.encode() + b'"') for before in range(3)]
    found += [user.encode("utf-16-le"), user.encode("latin-1", "replace"), base64.urlsafe_b64encode(user.encode())]
    return found


def test_how_a_text_is_cut_decides_nothing() -> None:
    """In pieces of any size an id is found, or not, as in the whole: also where zero bytes are left out."""
    for word, encoding in (("7", "utf-8"), ("7", "utf-16-le"), ("77", "utf-8"), ("7-", "utf-8"), ("x7", "utf-8")):
        content = b"\0" * 9 + b" " * 31 + f" {word} ".encode(encoding) + b" " * 40
        for size in range(1, 90):
            chunks = [content[at : at + size] for at in range(0, len(content), size)]
            assert IdMatcher("7").is_in_text(chunks) == (word == "7"), (encoding, word, size)


@settings(max_examples=300, deadline=None)
@given(IDS, st.lists(st.sampled_from('7 -a\x00é?>"~'), max_size=9), st.lists(st.sampled_from("7 -a?~"), max_size=5))
def test_how_base64_is_cut_decides_nothing(user: str, before: list[str], behind: list[str]) -> None:
    """In each of its alphabets, with slashes behind backslashes, and whatever letters stand beside it."""
    text = "".join([*before, user, *behind]).encode()
    matcher = IdMatcher(user)
    for letters in (
        base64.b64encode(text),
        base64.urlsafe_b64encode(text),
        base64.b64encode(text).replace(b"/", b"\\/"),
    ):
        content = b'ab="' + letters + b'" and more of it than an id is long: ' + b"." * 60
        whole = matcher.is_in_text([content])
        assert whole or len(user.encode()) < 3 or not matcher.is_in_bytes(text)
        for size in (1, 2, 3, 5, 7, 11, 31, 64):
            chunks = [content[at : at + size] for at in range(0, len(content), size)]
            assert matcher.is_in_text(chunks) == whole, (letters, size)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_many_ids_are_found_as_each_is(data: st.DataObject) -> None:
    """In bytes, in texts in pieces, in records; however each is spelt."""
    users = data.draw(st.lists(IDS, min_size=FEW + 1, max_size=FEW + 8, unique=True))
    parts = [part for user in users[:5] for part in spellings(user)] + [b"", b"a", b"\\", b'"', b"usr", b"\\u00", b"/"]
    separator = st.sampled_from([b"", b" ", b'"', b"\n", b","])
    pieces = data.draw(st.lists(st.tuples(st.sampled_from(parts), separator), max_size=6))
    content = b"".join(part + between for part, between in pieces)
    size = data.draw(st.integers(1, 40))
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    ids, each = IdMatchers.of(users), [IdMatcher(user) for user in users]
    assert ids.in_bytes(content) == {one.user for one in each if one.is_in_bytes(content)}
    assert ids.in_chunks(chunks) == {one.user for one in each if one.is_in_chunks(chunks)}
    assert ids.in_text(chunks) == {one.user for one in each if one.is_in_text(chunks)}
    lines = content.split(b"\n")
    assert ids.owners_of(lines) == [{one.user for one in each if one.is_owned(line)} for line in lines]
    cells = [line.decode("latin-1") for line in lines] + users[:2]
    header = ["viewerId"] * len(cells)
    assert ids.owners_of_cells(header, cells) == {one.user for one in each if one.is_in_cells(header, cells)}


def test_many_ids_of_a_usual_kind_are_looked_for_at_once() -> None:
    """Nothing is matched one by one where none of the ids stands: a thousand cost what ten do."""
    asked: list[str] = []

    class Counting(IdMatcher):
        def _is_in(self, *args: object, **kwargs: object) -> bool:
            asked.append(self.user)
            return super()._is_in(*args, **kwargs)  # type: ignore[arg-type]

    ids = IdMatchers(Counting(f"{number:024x}") for number in range(1000))
    text = "".join(f'{{"viewerId":"{number:024x}","title":"\\u00e9"}}\n' for number in range(5000, 6000)).encode()
    assert ids.in_text([text]) == set()
    assert ids.owners_of(text.splitlines()) == [set()] * 1000
    assert asked == []
    assert ids.in_text([text + b'"000000000000000000000007"']) == {f"{7:024x}"}
    assert set(asked) == {f"{7:024x}"}


VALUES = st.one_of(
    IDS,
    IDS.map(lambda user: f"of {user}"),
    IDS.map(lambda user: f"x{user}"),
    IDS.map(lambda user: base64.b64encode(user.encode()).decode()),
    IDS.map(lambda user: json.dumps({"v": user})),
    st.integers(0, 10),
    st.none(),
)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_records_in_files_are_those_of_each(data: st.DataObject) -> None:
    """In landed JSON, CSV and Parquet, and in Parquet, JSON and other files of ours."""
    users = data.draw(st.lists(IDS, min_size=FEW + 1, max_size=FEW + 5, unique=True))
    rows = data.draw(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=6))
    table = pa.table(
        {
            name: pa.array([None if row[number] is None else str(row[number]) for row in rows], pa.string())
            for number, name in enumerate(("viewer_id", "creator_id", "text"))
        }
    )
    records = [dict(zip(("viewerId", "creatorId", "note"), row, strict=True)) for row in rows]
    as_json = "\n".join(json.dumps(each, ensure_ascii=data.draw(st.booleans())) for each in records).encode()
    as_array = json.dumps(records).encode()
    cells = io.StringIO()
    csv.writer(cells).writerows([("userId", "creatorId", "note"), *rows])
    contents = {"ndjson": [as_json, as_array], "csv": [cells.getvalue().encode()]}

    def found(of: list[str]) -> tuple[object, ...]:
        ids = IdMatchers.of(of)
        in_texts = []
        for kind, texts in contents.items():
            for text in texts:
                owned: Counter[str] = Counter()
                content = Content(kind, None)
                parts = partial(iter, [text])
                ranges = list(owned_ranges(content, parts, entity="follows", ids=ids, owned=owned))
                in_texts.append((set(ranges), set(owned.items())))
        in_rows = {
            (row, user) for batch in table.to_batches() for row, of in owners_of_rows(batch, ids).items() for user in of
        }
        matches = {(each.path.name, each.user, each.is_public) for each in find_files(connection, paths, ids)}
        return (*in_texts, (in_rows, matches))

    with tempfile.TemporaryDirectory() as folder, closing(engine.connect("200MB", 1, spill=None)) as connection:
        paths = [Path(folder, name) for name in ("a.parquet", "b.json", "c.txt")]
        pq.write_table(table, paths[0])
        paths[1].write_bytes(as_array)
        paths[2].write_bytes(as_json)
        many, alone = found(users), [found([user]) for user in users]
    for number, (first, second) in enumerate(many):
        assert second == set().union(*(each[number][1] for each in alone))
        if number in (0, 2) or number == len(many) - 1:  # those of an array are put together where they are neighbours
            assert first == set().union(*(each[number][0] for each in alone))
