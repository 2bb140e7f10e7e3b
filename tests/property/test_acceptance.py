"""Fast and slow paths agree on every line, and hostile text is never more than a rejected record."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.settings import Settings
from pipelines.landing.batches import Batch, Rows
from pipelines.landing.common_form import learn
from pipelines.landing.csv_text import read_csv
from pipelines.landing.fast import MIN_LINES, FastReader
from pipelines.landing.files import open_landed
from pipelines.landing.lines import Block, blocks_of_lines, lines_of
from pipelines.landing.ndjson import read_piece, read_value
from pipelines.landing.objects import value_pieces
from pipelines.landing.parquet import read_parquet
from pipelines.landing.schema import FLAT_ENTITIES, MAX_ID_CHARS, Instant, LandedField, Money, landed_fields
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import rejected_records

# --- lines that are nearly all alike, as a platform writes them, and a few that are not --------------------------

GOOD_INSTANTS = ["2013-01-01T10:17:00Z", "2013-01-02T00:00:59.999Z", "2013-01-01T11:00:00.123456Z"]
INSTANTS = [
    *GOOD_INSTANTS, "2013-01-01T10:17:00+03:00", "2013-01-01T10:17:00.500-11:30", "2013-01-01T10:17:00-00:00",
    "2013-02-30T10:17:00Z", "2013-04-31T00:00:00Z", "2013-13-01T00:00:00Z", "2013-01-01T24:00:00Z",
    "2013-01-01T10:60:00Z", "2016-12-31T23:59:60Z", "2013-01-01t10:17:00z", "2013-01-01 10:17:00Z",
    "2013-01-01T10:17:00", "2013-01-01", "0001-01-01T00:00:00Z", "0001-01-02T00:00:00.000001Z", "0000-01-01T00:00:00Z",
    "9999-12-30T23:59:59.999Z", "9999-12-31T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2013-01-01T10:17:00+24:00",
    "2013-01-01T10:17:00.1Z", "2013-01-01T10:17:00.123456789Z", "2013-01-01T10:17:0٣Z", "", "x",
]  # fmt: skip
TEXTS = [
    "a",
    "b",
    "0123456789abcdef01234567",
    "é",
    "日本",
    "",
    "\ufeff",
    "a b",
    "N/A",
    "null",
    "NaN",
    "[NULL]",
    "000000000000000000000000",
    "00000000-0000-0000-0000-000000000000",
    "1.77305E+12",
    "1.7730504e+018",
    "1.7E+1",
    ",",
    "{",
    "\u2028",
    *(char * length for char in ("x", "日") for length in (MAX_ID_CHARS - 1, MAX_ID_CHARS, MAX_ID_CHARS + 1)),
]
NUMBERS = ["0", "1", "2", "-0", "007", "1.0", "12.5", "12.50", "1.505", "-1", "1e2", "9223372036854775807",
           "9223372036854775808", "999999999999.99", "1e12"]  # fmt: skip
WRAPPED = ['{"$oid":"64d15f9e2e6c8f4d5a123456"}', '{"$oid":"x"}', '{"$date":"2013-01-01T10:17:00Z"}', '{"$date":5}',
           '{"$date":{"$numberLong":"1357035420000"}}', '{"$numberLong":"4"}', '{"$numberInt":"04"}',
           '{"$numberDecimal":"1.50"}', '{"$numberDouble":"NaN"}']  # fmt: skip
OTHERS = ["null", "true", "false", "tru", "True", "NaN", "[]", "[1]", "{}", '{"a":1}', '"3.5"', '"x"', ""]


def usual(field: LandedField) -> st.SearchStrategy[str]:
    """A value as JSON text that the field would take."""
    if field.choices:
        return st.sampled_from([f'"{choice}"' for choice in field.choices])
    return {
        str: st.integers(0, 9).map(lambda number: f'"id{number}"'),
        int: st.sampled_from(["0", "1", "2"]),
        bool: st.sampled_from(["true", "false"]),
        Instant: st.sampled_from([f'"{text}"' for text in GOOD_INSTANTS]),
        Money: st.sampled_from(["5", "12.5"]),
    }[field.kind]


UNUSUAL = st.one_of(
    st.sampled_from(INSTANTS).map(lambda text: f'"{text}"'),
    st.sampled_from(TEXTS).map(lambda text: f'"{text}"'),
    st.sampled_from([*NUMBERS, *WRAPPED, *OTHERS]),
)
HOSTILE = '"\\{}[]:,0123456789.+-eEtfnuTZz \t\r\x00\x1f\x7fé\ufeff\u2028'


@st.composite
def shapes(draw: st.DrawFn, entity: str) -> Callable[[st.DrawFn], str]:
    """How one writer writes: which fields, in which order and spelling, spaced how, wrapped how."""
    fields = [each for each in landed_fields(entity) if each.required or draw(st.booleans())]
    fields = draw(st.permutations(fields))
    names = [each.name if draw(st.integers(0, 5)) else each.column for each in fields]
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :")]))
    always = [draw(st.one_of(st.none(), st.none(), st.none(), UNUSUAL)) for _ in fields]
    extra = draw(st.sampled_from([None, None, "__v", "profile.x"]))

    def line(draw: st.DrawFn) -> str:
        unusual = draw(st.integers(0, 12 * len(fields)))  # now and then one value of the line
        values = [
            fixed if fixed is not None else draw(UNUSUAL if number == unusual else usual(field))
            for number, (field, fixed) in enumerate(zip(fields, always, strict=True))
        ]
        pairs = [f'"{name}"{colon}{value}' for name, value in zip(names, values, strict=True)]
        if extra:
            pairs.append(f'"{extra}"{colon}{draw(st.sampled_from(["1", "null", "2.5"]))}')
        return "{" + comma.join(pairs) + "}"

    return line


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, bytes]:
    """An entity, and the bytes of a landed file of it."""
    entity = draw(st.sampled_from(sorted(FLAT_ENTITIES)))
    writers = draw(st.lists(shapes(entity), min_size=1, max_size=2))
    lines: list[bytes] = []
    for _ in range(draw(st.integers(1, 25))):
        line = draw(st.sampled_from(writers))(draw)
        if draw(st.integers(0, 9)) == 0:
            at = draw(st.integers(0, len(line)))
            line = line[:at] + draw(st.sampled_from(["", *HOSTILE])) + line[at + draw(st.integers(0, 1)) :]
        raw = line.encode()
        if draw(st.integers(0, 30)) == 0:
            raw = draw(st.sampled_from([b"", b"  ", b"{}", b"\xef\xbb\xbf" + raw, raw + b"\xff", raw + b" ", b"\r"]))
        lines.append(raw)
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    return entity, end.join(lines) + draw(st.sampled_from([end, b""]))


def all_of(batches: Iterator[Batch]) -> tuple[Any, ...]:
    read = list(batches)
    unknown: dict[str, int] = {}
    for batch in read:
        for name, times in batch.unknown_fields.items():
            unknown[name] = unknown.get(name, 0) + times
    rows = [row for batch in read for row in batch.accepted.to_pylist()]
    return rows, [each for batch in read for each in batch.rejected], sum(each.blank for each in read), unknown


def blocks(data: bytes) -> list[Block]:
    """The data as two blocks or so, so that the second meets what was learned from the first."""
    half = len(data) // 2
    return [piece for piece in blocks_of_lines([data[:half], data[half:]], block_bytes=1) if isinstance(piece, Block)]


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(texts())
def test_the_fast_path_says_what_the_slow_path_says(landed: tuple[str, bytes]) -> None:
    """Row for row, reason for reason, whatever stands in a line."""
    entity, data = landed
    rows = Rows(entity)
    fast = FastReader(entity, min_lines=1)
    for block in blocks(data):
        for line, text in enumerate(lines_of(block.data), block.first_line):
            read_value(line, text, rows)
        slow_batch, fast_batch = rows.batch(), fast.read(block, read_value)
        assert fast_batch.accepted.schema == slow_batch.accepted.schema
        assert fast_batch.accepted.to_pylist() == slow_batch.accepted.to_pylist()
        assert fast_batch.rejected == slow_batch.rejected
        assert (fast_batch.blank, fast_batch.unknown_fields) == (slow_batch.blank, slow_batch.unknown_fields)


@settings(max_examples=150, deadline=None)
@given(texts(), st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_small_files_read_at_once_are_read_as_each_alone(
    landed: tuple[str, bytes], cuts: list[int], is_plain: bool
) -> None:
    """A file that is read with others has the rows that it has alone, or is left to be read alone: wherever a text is
    cut into files."""
    entity, data = landed
    if is_plain:  # else one odd line in most of them
        line = data.splitlines()[0] if data else b""
        data = b"".join(b"%s\n" % line for _ in range(30))
    places = sorted({0, len(data), *(min(data.find(b"\n", cut % (len(data) + 1)) + 1, len(data)) for cut in cuts)})
    files = [data[start:end] for start, end in itertools.pairwise(places)]
    read = FastReader(entity, min_lines=1).read_texts(files)
    for number, text in enumerate(files):
        if number not in read.texts:
            assert number not in read.text_of_row.to_pylist()
            continue
        rows, rejected, blank, unknown = all_of(iter([_slow(entity, text)]))
        assert read.rows.filter(pc.equal(read.text_of_row, number)).to_pylist() == rows
        assert (rejected, blank, dict(read.unknown.get(number, {}))) == ([], 0, unknown)
    assert read.text_of_row.to_pylist() == sorted(read.text_of_row.to_pylist())


def _slow(entity: str, text: bytes) -> Batch:
    rows = Rows(entity)
    for piece in blocks_of_lines([text]):
        read_piece(piece, rows)
    return rows.batch()


def test_small_files_are_read_at_once() -> None:
    """The comparison above would be empty if every file were left: plain ones are read, and but one is left."""
    line = b'{"sessionId":"s%d","creatorId":"c","startedAt":"2026-01-05T10:00:00Z","app":"tv"}\n'
    files = [b"".join(line % (10 * file + number) for number in range(10)) for file in range(20)]
    files[7] = files[7].replace(b"10:00", b"25:00", 1)
    files[9] = files[9].removesuffix(b"\n")
    files[11] = b""
    read = FastReader("viewing_sessions").read_texts(files)
    assert read.texts == frozenset(range(20)) - {7, 11}
    assert read.rows["line"].to_pylist() == [*range(1, 11)] * 18
    assert read.unknown[9] == {"app": 10}


def test_the_fast_path_is_taken() -> None:
    """The comparison above would be empty if every line went the slow way: lines that are alike all match."""
    line = '{"sessionId":"s%d","creatorId":{"$oid":"64d15f9e2e6c8f4d5a123456"},"startedAt":"%s","revision":%d,"x":null}'
    data = "".join(f"{line % (number, GOOD_INSTANTS[number % 3], number % 4)}\n" for number in range(500)).encode()
    form = learn("viewing_sessions", data.decode().splitlines())
    assert form is not None
    table, places, unknown = form.match(data, 500)
    assert (table.num_rows, places, unknown["x"].true_count) == (500, None, 500)


CELLS = st.sampled_from([*INSTANTS, *TEXTS, *NUMBERS, "true", "false", "True", '"', '"a"', '"a,b"', '"a\nb"', "\x00"])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_csv_by_columns_says_what_the_csv_reader_says(data: st.DataObject) -> None:
    """With quotation marks in some blocks and none in others."""
    entity = data.draw(st.sampled_from(sorted(FLAT_ENTITIES)))
    fields = [each for each in landed_fields(entity) if each.required or data.draw(st.booleans())]
    header = [each.name for each in fields] + data.draw(st.sampled_from([[], ["extra"]]))
    lines = [",".join(header)]
    quoting = data.draw(st.sampled_from(["as it is", "all", "some"]))
    for _ in range(data.draw(st.integers(1, 15))):
        odd = data.draw(st.integers(0, 3 * len(fields)))
        cells = [
            data.draw(CELLS if number == odd else usual(field).map(lambda text: text.strip('"')))
            for number, field in enumerate(fields)
        ]
        cells += [""] * (len(header) - len(cells) + (odd == 0))
        if quoting == "all":
            cells = [cell if '"' in cell and data.draw(st.booleans()) else f'"{cell}"' for cell in cells]
        elif quoting == "some":
            cells = [f'"{cell}"' if '"' not in cell and data.draw(st.booleans()) else cell for cell in cells]
        lines.append(",".join(cells))
    records = lines[1:]  # fewer than MIN_LINES of them are read one by one
    lines += records * data.draw(st.sampled_from([0, MIN_LINES // len(records)]))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = (end.join(lines) + data.draw(st.sampled_from([end, ""]))).encode()
    size = data.draw(st.sampled_from([50, 10_000]))
    chunks = [text[at : at + 40] for at in range(0, len(text), 40)]
    fast = all_of(read_csv(entity, blocks_of_lines(chunks, size)))
    assert fast == all_of(read_csv(entity, blocks_of_lines(chunks, size), fast=False))
    assert fast == all_of(read_csv(entity, blocks_of_lines([text])))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parquet_by_columns_says_what_row_by_row_says(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Of every type that a column may come in."""
    entity = data.draw(st.sampled_from(["viewing_sessions", "follows", "erasures"]))
    fields = [each for each in landed_fields(entity) if each.required or data.draw(st.booleans())]
    count = data.draw(st.integers(0, 6))
    arrays = []
    for field in fields:
        kinds = {
            str: [pa.string(), pa.string(), pa.large_string(), pa.int64(), pa.binary()],
            int: [pa.int64(), pa.int32(), pa.uint64(), pa.float64(), pa.string()],
            bool: [pa.bool_(), pa.bool_(), pa.int8()],
            Instant: [pa.timestamp(u, "UTC") for u in ("s", "ms", "us", "ns")] + [pa.timestamp("ms"), pa.string()],
        }[field.kind]
        kind = data.draw(st.sampled_from(kinds))
        numbers = st.integers(-3, 3) if data.draw(st.booleans()) else st.integers(0, 2)
        values = data.draw(st.lists(st.one_of(numbers, numbers, st.none()), min_size=count, max_size=count))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
            words = ["2013-01-01T10:17:00Z"] if field.kind is Instant else ["", "a", "é", "b"]
            arrays.append(pa.array([None if v is None else words[v % len(words)] for v in values], kind))
        elif pa.types.is_boolean(kind):
            arrays.append(pa.array([None if v is None else v > 0 for v in values], kind))
        elif pa.types.is_timestamp(kind):
            arrays.append(pa.array(values, pa.int64()).cast(kind))
        else:
            arrays.append(pa.array([None if v is None else abs(v) for v in values]).cast(kind))
    path = tmp_path_factory.mktemp("parquet") / "landed.parquet"
    pq.write_table(pa.table(arrays, names=[each.name for each in fields]), path, row_group_size=4)
    with open_landed(path) as source:
        fast = all_of(read_parquet(entity, source))
        assert fast == all_of(read_parquet(entity, source, fast=False))


# --- other people's hostile text ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpora() -> Path:
    folder = os.environ.get("MOSTWATCHED_TEST_DATA")
    if not folder or not (Path(folder) / "corpora").is_dir():
        pytest.skip("no test corpora: MOSTWATCHED_TEST_DATA does not name the folder that holds them")
    return Path(folder) / "corpora"


def test_json_test_suite(corpora: Path, tmp_path: Path) -> None:
    """No invalid document of nst/JSONTestSuite is accepted as a record, or as part of one; none stops a file."""
    cases = sorted((corpora / "json_test_suite" / "test_parsing").iterdir())
    assert len(cases) > 300
    for case in cases:
        document = case.read_bytes()
        for landed in (document, b'{"userId":"u","x":%b}' % document):
            rows = Rows("erasures")
            for piece in value_pieces([landed]):
                read_piece(piece, rows)
            if case.name.startswith("n_"):
                assert rows.accepted == 0, case.name


def test_naughty_strings_round_trip(corpora: Path, tmp_path: Path) -> None:
    """As ids and names, byte for byte, through PyArrow and DuckDB."""
    strings = [each for each in json.loads((corpora / "naughty_strings" / "blns.json").read_text()) if each]
    strings = [each for each in strings if len(each) <= MAX_ID_CHARS]  # longer ones are rejected, whatever is in them
    strings += ["\x00", "a\x00b", "\x7f", "\u2028", "\ufeff", "\U0010ffff", " ", "\t", "\r\n"]
    folder = tmp_path / "landing" / "creators"
    folder.mkdir(parents=True)
    for escaped in (True, False):
        lines = [json.dumps({"_id": text, "username": text, "name": text}, ensure_ascii=escaped) for text in strings]
        (folder / f"{escaped}.ndjson").write_bytes("".join(f"{line}\n" for line in lines).encode())
    home = Settings(home=tmp_path)
    report = ingest(home)
    assert (report.new_rejected, report.new_accepted) == (0, 2 * len(strings))
    for raw in raw_files(home):
        facts = raw.files["all"]
        for column in ("creator_id", "username", "name"):
            assert raw.table("all").column(column).to_pylist() == strings
            query = f"select {column} from read_parquet(?) limit {facts.rows} offset {facts.first_row}"
            assert [row[0] for row in duckdb.execute(query, [str(raw.path("all"))]).fetchall()] == strings


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["follows/x.ndjson", "follows/x.csv", "follows/x.parquet",
       "follows/x.ndjson.gz", "follows/x.csv.zst", "lls_streams/x.json", "live_streams/x.jsonl.gz"]))  # fmt: skip
def test_any_bytes_are_read_without_an_error(tmp_path_factory: Any, content: bytes, name: str) -> None:
    """And the books balance."""
    home = Settings(home=tmp_path_factory.mktemp("home"))
    path = home.landing / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert ingest(home).new_files == 1
    (raw,) = raw_files(home)
    assert raw.records == raw.accepted + raw.rejected
    assert sum(raw.rejected_by_reason.values()) == raw.rejected == len(list(rejected_records(home)))
