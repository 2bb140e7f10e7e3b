"""Files get to disk whole or not at all, and are known by the digest of their rows."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusing import no_descriptors, no_space

from pipelines import errors, store
from pipelines.errors import Busy, Damaged, MostwatchedError

MOMENT = datetime(2026, 1, 5, 10, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("yes", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("ms", "UTC")),
        ("price", pa.decimal128(18, 2)),
    ]
)
ROW = {
    "text": "çağ\n\0",
    "count": -3,
    "yes": True,
    "day": date(1969, 7, 20),
    "at": MOMENT,
    "price": Decimal("-0.50"),
}
NOTHING = dict.fromkeys(ROW)

rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
            "count": st.none() | st.integers(-(2**63), 2**63 - 1),
            "yes": st.none() | st.booleans(),
            "day": st.none() | st.dates(),
            "at": st.none() | st.integers(-(10**12), 10**13).map(lambda ms: MOMENT + timedelta(milliseconds=ms)),
            "price": st.none() | st.decimals(-(10**15), 10**15, places=2),
        }
    ),
    max_size=20,
)


def table(*content: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(content), schema=SCHEMA)


def digest(rows: pa.Table) -> str:
    return store.row_digest(rows)


# --- the digest of rows ----------------------------------------------------------------------------------------------


@given(rows, st.lists(st.integers(0, 20), max_size=4))
def test_a_digest_does_not_see_chunks_and_slices(content, cuts):
    """However rows are cut into chunks, and wherever in a larger buffer they stand, the digest is theirs."""
    whole = table(*content)
    borders = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    around = table(ROW, NOTHING, *content, ROW).slice(2, len(content))
    chunked = pa.concat_tables([around.slice(start, end - start) for start, end in pairwise(borders)] or [whole])
    by_batches = store.RowDigest(SCHEMA)
    for batch in chunked.to_batches(max_chunksize=3):
        by_batches.update(batch)
    assert digest(whole) == digest(around) == digest(chunked) == by_batches.hexdigest()


@given(rows)
def test_a_digest_does_not_see_encodings(content):
    """Dictionaries, wide strings and narrow integers are ways of storing the same values."""
    whole = table(*content)
    encoded = whole.set_column(0, "text", whole["text"].dictionary_encode())
    wide = whole.set_column(0, "text", whole["text"].cast(pa.large_string()))
    views = whole.set_column(0, "text", whole["text"].cast(pa.string_view()))
    finer = whole.set_column(4, "at", whole["at"].cast(pa.timestamp("us", "UTC")))
    assert digest(whole) == digest(encoded) == digest(wide) == digest(views) == digest(finer)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64()])
def test_integers_count_by_their_value(kind):
    """A count is the same count in 8 bits or in 64."""
    narrow, wide = (pa.table({"count": pa.array([7, None, 0], each)}) for each in (kind, pa.int64()))
    assert digest(narrow) == digest(wide)


def test_decimals_count_by_their_value_at_a_scale():
    """A price is the same in a wider decimal."""
    narrow, wide = (
        pa.table({"price": pa.array([Decimal("9.90"), None], kind)})
        for kind in (pa.decimal128(5, 2), pa.decimal128(38, 2))
    )
    assert digest(narrow) == digest(wide)


@given(rows)
def test_a_digest_does_not_see_who_wrote_the_file(tmp_path_factory, content):
    """PyArrow, DuckDB and Polars write different bytes and the same rows; row groups do not matter either."""
    folder = tmp_path_factory.mktemp("writers")
    whole = table(*content)
    pq.write_table(whole, folder / "arrow.parquet", row_group_size=3, use_dictionary=False)
    pq.write_table(whole, folder / "plain.parquet", compression="none", data_page_size=64)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.from_arrow(whole).write_parquet(str(folder / "duckdb.parquet"))
        queried = connection.sql("select * from whole").to_arrow_table()
    pl.from_arrow(whole).write_parquet(folder / "polars.parquet")  # type: ignore[union-attr]
    found = {(table.num_rows, digest(table)) for table in map(pq.read_table, folder.iterdir())}
    assert found == {(len(content), digest(whole))}
    assert digest(queried) == digest(whole)


@given(rows, st.data())
def test_any_other_value_gives_another_digest(content, data):
    """Whatever value, null or empty text is changed, the digest changes."""
    before = [ROW, *content]
    number = data.draw(st.integers(0, len(before) - 1))
    other = data.draw(rows.filter(bool))[0]
    column = data.draw(st.sampled_from([name for name in ROW if other[name] != before[number][name]] or [None]))
    if column is None:
        return
    changed = [*before[:number], {**before[number], column: other[column]}, *before[number + 1 :]]
    assert digest(table(*before)) != digest(table(*changed))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([{"text": ""}], [{"text": None}]),
        ([{"text": "ab"}, {"text": "c"}], [{"text": "a"}, {"text": "bc"}]),
        ([{"text": "a"}, {"text": None}], [{"text": None}, {"text": "a"}]),
        ([{"text": "a"}, {"text": "b"}], [{"text": "b"}, {"text": "a"}]),
        ([{"count": 0}], [{"count": None}]),
        ([{"yes": False}], [{"yes": None}]),
        ([{"price": Decimal("0.00")}], [{"price": None}]),
        (
            [{"price": Decimal("1.00")}, {"price": Decimal("11.00")}],
            [{"price": Decimal("11.00")}, {"price": Decimal("1.00")}],
        ),
        ([{"at": MOMENT}], [{"at": MOMENT + timedelta(milliseconds=1)}]),
        ([], [{}]),
        ([{}], [{}, {}]),
    ],
)
def test_what_is_told_apart(one, other):
    """Null, nothing and zero are three things; texts do not run into each other; order counts."""
    whole = [pa.Table.from_pylist([NOTHING | row for row in content], schema=SCHEMA) for content in (one, other)]
    assert digest(whole[0]) != digest(whole[1])


def test_names_and_kinds_of_columns_count():
    """A column of another name, another kind or in another place is another table."""
    tables = [
        pa.table({"a": pa.array([1]), "b": pa.array([2])}),
        pa.table({"b": pa.array([2]), "a": pa.array([1])}),
        pa.table({"a": pa.array([1]), "c": pa.array([2])}),
        pa.table({"a": pa.array(["1"]), "b": pa.array([2])}),
        pa.table({"a": pa.array([1])}),
    ]
    assert len({digest(each) for each in tables}) == len(tables)


def test_a_column_can_be_left_out():
    """Without a column the digest is that of the table without it."""
    assert store.row_digest(table(ROW), leave_out=("text",)) == digest(table(ROW).drop_columns(["text"]))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.list_(pa.int64()), pa.binary()])
def test_what_is_not_exact_is_refused(kind):
    """A float has no exact canonical form, so no digest; the error names the column."""
    with pytest.raises(TypeError, match="column share has type"):
        store.RowDigest(pa.schema([("share", kind)]))


def test_an_instant_finer_than_a_millisecond_is_refused():
    """Instants are kept to the millisecond; a finer one would be cut silently."""
    finer = pa.table({"at": pa.array([1_500], pa.timestamp("us", "UTC"))})
    with pytest.raises(pa.ArrowInvalid):
        digest(finer)


def test_a_digest_stays_what_it_was():
    """The digest is written into every snapshot's name: this value may never change."""
    assert digest(table(ROW, NOTHING)) == DIGEST_OF_TWO_ROWS


DIGEST_OF_TWO_ROWS = "66dcb2815931c118f8c820e9b3de6fca1f97b40e1954d69474627e07bbf92c9c"


# --- files and folders ---------------------------------------------------------------------------------------------


def test_a_new_file_appears_whole(tmp_path):
    """Until the block ends nothing stands under the name; then all of it."""
    final = tmp_path / "folder" / "file"
    with store.new_file(final) as temporary:
        temporary.write_text("half")
        assert not final.exists()
        assert temporary.parent == final.parent
        temporary.write_text("whole")
    assert [path.name for path in final.parent.iterdir()] == ["file"]
    assert final.read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_file_leaves_nothing_and_changes_nothing(tmp_path, error):
    """An exception leaves the old content, and no leftover."""
    final = tmp_path / "file"
    final.write_text("old")

    def fail() -> None:
        with store.new_file(final) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert final.read_text() == "old"


def test_a_new_folder_appears_whole(tmp_path):
    """Until the block ends nothing stands under the name; then all of it."""
    final = tmp_path / "folder"
    with store.new_folder(final) as temporary:
        (temporary / "inner").mkdir(mode=0o700)
        (temporary / "inner" / "file").write_text("content")
        assert not final.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (final / "inner" / "file").read_text() == "content"
    assert (final / "inner").stat().st_mode & 0o777 == 0o700


def test_a_failed_folder_leaves_nothing(tmp_path):
    """An exception removes what was written so far."""

    def fail() -> None:
        with store.new_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text("content")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_stands_already_is_kept(tmp_path):
    """Folders are named by their content: the first one stays."""
    for text in ("first", "second"):
        with store.new_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text(text)
    assert (tmp_path / "folder" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_is_written_one_way(tmp_path):
    """Indented UTF-8 in the given order, with a newline at its end."""
    store.write_json(tmp_path / "facts.json", {"b": "çağ", "a": [1]})
    assert (tmp_path / "facts.json").read_bytes() == '{\n "b": "çağ",\n "a": [\n  1\n ]\n}\n'.encode()


def test_an_immutable_file_gets_a_second_name(tmp_path):
    """Where the file system can, both names are one file."""
    (tmp_path / "old").write_text("content")
    store.link_or_copy(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "old").samefile(tmp_path / "new")


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path):
    """A file system with a limit on links, or another device, gets a copy."""
    (tmp_path / "old").write_text("content")
    (tmp_path / "new").write_text("in the way of a link")
    store.link_or_copy(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new").read_text() == "content"
    assert not (tmp_path / "old").samefile(tmp_path / "new")


def test_sweeping_removes_leftovers_and_nothing_else(tmp_path):
    """Temporary files and folders go, at any depth; everything with a name of its own stays."""
    kept = tmp_path / "model" / "file.parquet"
    kept.parent.mkdir()
    kept.write_text("kept")
    store.temporary_beside(kept).write_text("half")
    leftover = store.temporary_beside(tmp_path / "folder")
    (leftover / ".tmp-inside" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(kept)
    dangling = store.temporary_beside(tmp_path / "dangling")
    dangling.symlink_to(tmp_path / "nowhere")
    assert store.sweep(tmp_path) >= 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path != dangling) == ["file.parquet", "link", "model"]


def test_a_new_folder_and_its_parents_are_made(tmp_path):
    """Making a folder that stands already is no error."""
    for _ in range(2):
        store.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_verified_by_its_bytes(tmp_path):
    """Every single changed bit is noticed, and a missing file as well."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    sha256 = store.sha256_of(path)
    store.verify(path, sha256)
    for place in range(7):
        content = bytearray(b"content")
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(Damaged, match="is damaged"):
            store.verify(path, sha256)
    path.unlink()
    with pytest.raises(Damaged, match="No such file"):
        store.verify(path, sha256)


def test_the_bytes_that_were_checked_are_given(tmp_path):
    """Or an error, for other bytes and for none."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    sha256 = store.sha256_of(path)
    assert store.checked_bytes(path, sha256) == b"content"
    path.write_bytes(b"Content")
    with pytest.raises(Damaged, match="is damaged"):
        store.checked_bytes(path, sha256)
    path.unlink()
    with pytest.raises(Damaged, match="No such file"):
        store.checked_bytes(path, sha256)


SEALED = store.json_bytes(store.sealed({"a": 1, "b": ["ç", None, 1.5]}))


def test_a_seal_covers_every_bit():
    """What was sealed is given back; with any bit changed, or any byte missing or too many, nothing is."""
    assert store.unsealed(SEALED) == {"a": 1, "b": ["ç", None, 1.5]}
    for place in range(len(SEALED)):
        for bit in range(8):
            content = bytearray(SEALED)
            content[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"."):
                store.unsealed(bytes(content))
        with pytest.raises(ValueError, match=r"."):
            store.unsealed(SEALED[:place])
    for content in (SEALED + b"\n", b"", b"[]", b"null", b"[" * 100_000, SEALED.replace(b'"a": 1', b'"a": 2, "a": 1')):
        with pytest.raises(ValueError, match=r"."):
            store.unsealed(content)


# --- the lock ------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from pipelines import store
with store.lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, None])
def test_one_holder_at_a_time_and_death_frees_it(tmp_path, ending):
    """While another process holds the lock we are told which; however it ends, the lock is free."""
    path = tmp_path / "home" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match=rf"process {holder.pid}\) is at work") as busy, store.lock(path):
            pass
        assert busy.value.exit_code == 4
        if ending is None:
            holder.stdin.close()
        else:
            holder.send_signal(ending)
        holder.wait(10)
        with store.lock(path):
            assert path.read_text() == f"{os.getpid()}\n"
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process holds the lock; its id."""
    command = [sys.executable, "-c", HOLD, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.communicate(timeout=10)


def test_a_lock_holds_whatever_becomes_of_its_file(tmp_path):
    """Somebody who removes the file, or writes into it, frees nothing: the folder is locked as well."""
    path = tmp_path / ".lock"
    with held(path):
        path.write_text("garbage")
        with pytest.raises(Busy, match="Another run is at work"), store.lock(path):
            pass
        path.unlink()
        with pytest.raises(Busy, match="Another run is at work"), store.lock(path):
            pass
    with store.lock(path):
        pass


def test_a_home_of_two_names_has_one_lock(tmp_path):
    """Through a link to the home the same holder is met."""
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with held(tmp_path / "home" / ".lock") as holder:
        told = rf"process {holder}\) is at work in .*link"
        with pytest.raises(Busy, match=told), store.lock(tmp_path / "link" / ".lock"):
            pass


def test_only_the_holder_is_named(tmp_path):
    """Between a lock and its holder's name there is a moment in which the file names nobody, or somebody dead."""
    path = tmp_path / ".lock"
    dead = subprocess.Popen(["true"])
    dead.wait()
    path.write_text(f"{dead.pid}\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Timer(0.1, path.write_text, [f"{os.getpid()}\n"]).start()
        with pytest.raises(Busy, match=rf"process {os.getpid()}\)"), store.lock(path):
            pass


@pytest.mark.parametrize("what", ["folder", "link", "fifo"])
def test_what_is_no_file_cannot_be_the_lock(tmp_path, what):
    """We are told what stands in its place, and nothing that it leads to is touched."""
    path, elsewhere = tmp_path / ".lock", tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's")
    {"folder": path.mkdir, "link": lambda: path.symlink_to(elsewhere), "fifo": lambda: os.mkfifo(path)}[what]()
    with pytest.raises(MostwatchedError, match="Move what is there out of the way"), store.lock(path):
        pass
    assert elsewhere.read_text() == "somebody else's"


def test_a_lock_is_freed_by_an_exception(tmp_path: Path):
    """A run that fails leaves no lock behind."""

    def fail() -> None:
        with store.lock(tmp_path / ".lock"):
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    with store.lock(tmp_path / ".lock"):
        pass


# --- what the operating system refuses -----------------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_is_not_damaged(tmp_path):
    """Without a free descriptor nothing is known of it, so nothing may be put in its place."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        store.verify(path, store.sha256_of(path))
    store.verify(path, store.sha256_of(path))


def test_a_folder_is_replaced_by_one_that_is_whole(tmp_path):
    """Until then the old one stays; afterwards nothing is left of it."""
    final = tmp_path / "folder"
    final.mkdir()
    (final / "file").write_text("damaged")

    def fail() -> None:
        with store.new_folder(final, replace=True) as folder:
            (folder / "file").write_text("half")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert (final / "file").read_text() == "damaged"
    with store.new_folder(final, replace=True) as folder:
        (folder / "file").write_text("whole")
        assert (final / "file").read_text() == "damaged"
    assert (final / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_lock_needs_no_space(tmp_path):
    """Its holder's number is for people: on a full disk `prune` must be able to hold it."""
    path = tmp_path / ".lock"
    with no_space(), store.lock(path):
        pass


def test_a_refusal_says_what_where_and_what_to_do(tmp_path):
    """Of Python, of PyArrow, which leaves out where, and of the engine; any other error is none."""
    home = tmp_path / "home"
    full = OSError(errno.ENOSPC, "No space left on device", str(home / "lake" / "x"))
    said = errors.refusal_of_the_system(full, home)
    assert said
    assert said.startswith(f"{home}/lake/x: No space left on device. Free space on that disk")
    arrow = OSError(errno.EIO, "Error writing bytes to file. Detail: [errno 5] Input/output error")
    said = errors.refusal_of_the_system(arrow, home)
    assert said
    assert said.startswith(f"In {home}: Error writing bytes to file.")
    assert "Check that disk" in said
    with duckdb.connect() as connection, pytest.raises(duckdb.IOException) as refused:
        connection.execute(f"copy (select 1) to '{tmp_path}'")
    said = errors.refusal_of_the_system(refused.value, home)
    assert said
    assert str(tmp_path) in said
    for other in (ValueError("x"), BrokenPipeError(errno.EPIPE, "Broken pipe"), duckdb.BinderException("no column")):
        assert errors.refusal_of_the_system(other, home) is None
