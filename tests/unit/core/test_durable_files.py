"""Files get to disk whole or not at all, and one at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Timer

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from refusing import no_descriptors, no_space

from pipelines.core import durable_files, errors
from pipelines.core.errors import Busy, Damaged, MostwatchedError

# --- files and folders ---------------------------------------------------------------------------------------------


def test_a_new_file_appears_whole(tmp_path):
    """Until the block ends nothing stands under the name; then all of it."""
    final = tmp_path / "folder" / "file"
    with durable_files.new_file(final) as temporary:
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
        with durable_files.new_file(final) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert final.read_text() == "old"


def test_a_new_folder_appears_whole(tmp_path):
    """Until the block ends nothing stands under the name; then all of it."""
    final = tmp_path / "folder"
    with durable_files.new_folder(final) as temporary:
        (temporary / "inner").mkdir(mode=0o700)
        (temporary / "inner" / "file").write_text("content")
        assert not final.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (final / "inner" / "file").read_text() == "content"
    assert (final / "inner").stat().st_mode & 0o777 == 0o700


def test_a_failed_folder_leaves_nothing(tmp_path):
    """An exception removes what was written so far."""

    def fail() -> None:
        with durable_files.new_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text("content")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_stands_already_is_kept(tmp_path):
    """Folders are named by their content: the first one stays."""
    for text in ("first", "second"):
        with durable_files.new_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text(text)
    assert (tmp_path / "folder" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_is_written_one_way(tmp_path):
    """Indented UTF-8 in the given order, with a newline at its end."""
    durable_files.write_json(tmp_path / "facts.json", {"b": "çağ", "a": [1]})
    assert (tmp_path / "facts.json").read_bytes() == '{\n "b": "çağ",\n "a": [\n  1\n ]\n}\n'.encode()


def test_an_immutable_file_gets_a_second_name(tmp_path):
    """Where the file system can, both names are one file."""
    (tmp_path / "old").write_text("content")
    durable_files.link_or_copy(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "old").samefile(tmp_path / "new")


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path):
    """A file system with a limit on links, or another device, gets a copy."""
    (tmp_path / "old").write_text("content")
    (tmp_path / "new").write_text("in the way of a link")
    durable_files.link_or_copy(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new").read_text() == "content"
    assert not (tmp_path / "old").samefile(tmp_path / "new")


def test_sweeping_removes_leftovers_and_nothing_else(tmp_path):
    """Temporary files and folders go, at any depth; everything with a name of its own stays."""
    kept = tmp_path / "model" / "file.parquet"
    kept.parent.mkdir()
    kept.write_text("kept")
    durable_files.temporary_beside(kept).write_text("half")
    leftover = durable_files.temporary_beside(tmp_path / "folder")
    (leftover / ".tmp-inside" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(kept)
    dangling = durable_files.temporary_beside(tmp_path / "dangling")
    dangling.symlink_to(tmp_path / "nowhere")
    assert durable_files.sweep(tmp_path) >= 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path != dangling) == ["file.parquet", "link", "model"]


def test_a_new_folder_and_its_parents_are_made(tmp_path):
    """Making a folder that stands already is no error."""
    for _ in range(2):
        durable_files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_verified_by_its_bytes(tmp_path):
    """Every single changed bit is noticed, and a missing file as well."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    sha256 = durable_files.sha256_of(path)
    durable_files.verify(path, sha256)
    for place in range(7):
        content = bytearray(b"content")
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(Damaged, match="is damaged"):
            durable_files.verify(path, sha256)
    path.unlink()
    with pytest.raises(Damaged, match="No such file"):
        durable_files.verify(path, sha256)


def test_the_bytes_that_were_checked_are_given(tmp_path):
    """Or an error, for other bytes and for none."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    sha256 = durable_files.sha256_of(path)
    assert durable_files.checked_bytes(path, sha256) == b"content"
    path.write_bytes(b"Content")
    with pytest.raises(Damaged, match="is damaged"):
        durable_files.checked_bytes(path, sha256)
    path.unlink()
    with pytest.raises(Damaged, match="No such file"):
        durable_files.checked_bytes(path, sha256)


def test_a_name_of_any_bytes_is_written_and_read_again():
    """A byte that is no UTF-8 is escaped as JSON does, with a checksum too; all other text stays letters."""
    facts = {"path": os.fsdecode(b"/in/\xff\xc3.txt"), "name": "ç"}
    content = durable_files.json_bytes(durable_files.with_checksum(facts))
    assert b'"/in/\\udcff\\udcc3.txt"' in content
    assert "ç".encode() in content
    assert durable_files.verify_checksum(content) == facts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda one: st.lists(one) | st.dictionaries(st.text(st.characters()), one),
)


@given(JSON)
@example({"a": {}, "b": [], "c": [[1, {"d": 1e300}]], "\udcff": float("nan")})
def test_json_is_written_as_the_standard_library_indents_it(content):
    """Byte for byte, also half a character and what is no number: keys and checksums of stored files rest on it."""
    expected = json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    assert durable_files.json_bytes(content) == expected


SEALED = durable_files.json_bytes(durable_files.with_checksum({"a": 1, "b": ["ç", None, 1.5]}))


def test_a_seal_covers_every_bit():
    """What was written with a checksum is given back; with any bit changed, missing or added, nothing is."""
    assert durable_files.verify_checksum(SEALED) == {"a": 1, "b": ["ç", None, 1.5]}
    for place in range(len(SEALED)):
        for bit in range(8):
            content = bytearray(SEALED)
            content[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"."):
                durable_files.verify_checksum(bytes(content))
        with pytest.raises(ValueError, match=r"."):
            durable_files.verify_checksum(SEALED[:place])
    for content in (
        *(SEALED + b"\n", b"", b"[]", b"null", b"[" * 100_000, SEALED.replace(b'"a": 1', b'"a": 2, "a": 1')),
        *(SEALED.replace(b',\n "seal"', b'\n "seal"'), SEALED.replace(b"\n", b"\r\n"), SEALED.replace(b": ", b":")),
    ):
        with pytest.raises(ValueError, match=r"."):
            durable_files.verify_checksum(content)


def test_a_seal_covers_an_object_without_entries():
    """Which is written on one line, and on three with its checksum."""
    assert durable_files.verify_checksum(durable_files.json_bytes(durable_files.with_checksum({}))) == {}
    with pytest.raises(ValueError, match="not what was written"):
        durable_files.verify_checksum(durable_files.json_bytes({"seal": "0" * 64}))


# --- the lock ------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from pipelines.core import durable_files
with durable_files.lock(Path(sys.argv[1])):
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
        with pytest.raises(Busy, match=rf"process {holder.pid}\) is at work") as busy, durable_files.lock(path):
            pass
        assert busy.value.exit_code == 4
        if ending is None:
            holder.stdin.close()
        else:
            holder.send_signal(ending)
        holder.wait(10)
        with durable_files.lock(path):
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


@pytest.mark.slow
def test_a_lock_holds_whatever_becomes_of_its_file(tmp_path):
    """Somebody who removes the file, or writes into it, frees nothing: the folder is locked as well."""
    path = tmp_path / ".lock"
    with held(path):
        path.write_text("garbage")
        with pytest.raises(Busy, match="Another run is at work"), durable_files.lock(path):
            pass
        path.unlink()
        with pytest.raises(Busy, match="Another run is at work"), durable_files.lock(path):
            pass
    with durable_files.lock(path):
        pass


def test_a_home_of_two_names_has_one_lock(tmp_path):
    """Through a link to the home the same holder is met."""
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with held(tmp_path / "home" / ".lock") as holder:
        told = rf"process {holder}\) is at work in .*link"
        with pytest.raises(Busy, match=told), durable_files.lock(tmp_path / "link" / ".lock"):
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
        with pytest.raises(Busy, match=rf"process {os.getpid()}\)"), durable_files.lock(path):
            pass


def test_who_looks_whether_a_lock_is_held(tmp_path):
    """Another's is, one's own is not; and whoever comes for it meanwhile waits for a moment instead of giving up."""
    path = tmp_path / ".lock"
    with held(path), durable_files.unless_locked(path) as is_free:
        assert not is_free
    with durable_files.lock(path), durable_files.unless_locked(path) as is_free:
        assert is_free
    with ExitStack() as looking:
        assert looking.enter_context(durable_files.unless_locked(path))
        path.write_text(f"{os.getpid()}\n")  # as a server leaves it that has held it and lives on
        Timer(0.05, looking.close).start()
        with durable_files.lock(path):
            pass
    with ExitStack() as looking:
        assert looking.enter_context(durable_files.unless_locked(path))
        with pytest.raises(Busy), durable_files.lock(path):
            pass


@pytest.mark.parametrize("what", ["folder", "link", "fifo"])
def test_what_is_no_file_cannot_be_the_lock(tmp_path, what):
    """We are told what stands in its place, and nothing that it leads to is touched."""
    path, elsewhere = tmp_path / ".lock", tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's")
    {"folder": path.mkdir, "link": lambda: path.symlink_to(elsewhere), "fifo": lambda: os.mkfifo(path)}[what]()
    with pytest.raises(MostwatchedError, match="Move what is there out of the way"), durable_files.lock(path):
        pass
    assert elsewhere.read_text() == "somebody else's"


def test_a_disk_that_fails_is_not_taken_for_something_in_the_way(tmp_path, monkeypatch):
    """The operating system's own words go up to whoever says what to do about a disk."""
    opened = os.open

    def failing(path, flags, *rest, **more):
        if str(path).endswith(".lock"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), durable_files.lock(tmp_path / ".lock"):
        pass


def test_a_lock_is_freed_by_an_exception(tmp_path: Path):
    """A run that fails leaves no lock behind."""

    def fail() -> None:
        with durable_files.lock(tmp_path / ".lock"):
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    with durable_files.lock(tmp_path / ".lock"):
        pass


# --- what the operating system refuses -----------------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_is_not_damaged(tmp_path):
    """Without a free descriptor nothing is known of it, so nothing may be put in its place."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        durable_files.verify(path, durable_files.sha256_of(path))
    durable_files.verify(path, durable_files.sha256_of(path))


def test_a_folder_is_replaced_by_one_that_is_whole(tmp_path):
    """Until then the old one stays; afterwards nothing is left of it."""
    final = tmp_path / "folder"
    final.mkdir()
    (final / "file").write_text("damaged")

    def fail() -> None:
        with durable_files.new_folder(final, replace=True) as folder:
            (folder / "file").write_text("half")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert (final / "file").read_text() == "damaged"
    with durable_files.new_folder(final, replace=True) as folder:
        (folder / "file").write_text("whole")
        assert (final / "file").read_text() == "damaged"
    assert (final / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_lock_needs_no_space(tmp_path):
    """Its holder's number is for people: on a full disk `prune` must be able to hold it."""
    path = tmp_path / ".lock"
    with no_space(), durable_files.lock(path):
        pass


def test_a_refusal_says_what_where_and_what_to_do(tmp_path):
    """Of Python, of PyArrow, which leaves out where, and of the engine; any other error is none."""
    home = tmp_path / "home"
    full = OSError(errno.ENOSPC, "No space left on device", str(home / "lake" / "x"))
    said = errors.os_error_message(full, home)
    assert said
    assert said.startswith(f"{home}/lake/x: No space left on device. Free space on that disk")
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory", str(home / "lake" / "x"))
    said = errors.os_error_message(gone, home)
    assert said
    assert said.startswith(
        f"{home}/lake/x: No such file or directory. See whether somebody removes files there; put back"
    )
    arrow = OSError(errno.EIO, "Error writing bytes to file. Detail: [errno 5] Input/output error")
    said = errors.os_error_message(arrow, home)
    assert said
    assert said.startswith(f"In {home}: Error writing bytes to file.")
    assert "Check that disk" in said
    with duckdb.connect() as connection, pytest.raises(duckdb.IOException) as refused:
        connection.execute(f"copy (select 1) to '{tmp_path}'")
    said = errors.os_error_message(refused.value, home)
    assert said
    assert str(tmp_path) in said
    for other in (ValueError("x"), BrokenPipeError(errno.EPIPE, "Broken pipe"), duckdb.BinderException("no column")):
        assert errors.os_error_message(other, home) is None


def test_bytes_of_python_are_read_by_no_thread_of_arrow(tmp_path):
    """One that still held them when the interpreter ended would abort the process: `rejects` did, now and then."""
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({f"column{number}": list(range(1000)) for number in range(8)}), path)
    program = """
import os, sys
from pathlib import Path
from pipelines.core import durable_files

path = Path(sys.argv[1])
sha256 = durable_files.sha256_of(path)
before = os.listdir("/proc/self/task")
assert durable_files.checked_table(path, sha256).num_rows == 1000
sys.exit(len(os.listdir("/proc/self/task")) - len(before))
"""
    done = subprocess.run([sys.executable, "-c", program, path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode} more threads {done.stderr}"


# --- a home whose truth lies elsewhere -----------------------------------------------------------------------------


def test_an_origin_that_another_thread_leaves_meanwhile(tmp_path):
    """Whoever has begun to look for a file asks the origin that was there, and does not stumble over its end."""
    asked = []

    class Origin:
        has = fetch = staticmethod(asked.append)

    left = ExitStack()

    class PathMeanwhile(type(tmp_path)):
        def exists(self):
            left.close()
            return False

    with left:
        left.enter_context(durable_files.fetching_from(Origin()))
        durable_files.fetched(PathMeanwhile(tmp_path / "file"))
    assert asked == [tmp_path / "file"]
