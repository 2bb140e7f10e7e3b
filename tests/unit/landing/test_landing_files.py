"""Which files count as landed, how their bytes are read, and where their lines end."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from refusing import no_descriptors

from pipelines.core.errors import UsageError
from pipelines.landing.files import DamagedArchive, Postponed, decompressed, open_landed
from pipelines.landing.finding import find_landed
from pipelines.landing.lines import (
    LONG_LINE_TEXT_BYTES,
    MAX_LINE_BYTES,
    Block,
    Damage,
    LongLine,
    Piece,
    blocks_of_lines,
)


@pytest.fixture
def land(tmp_path: Path) -> Callable[..., Path]:
    """Drop a file under the landing root."""

    def drop(name: str, content: bytes = b"") -> Path:
        path = tmp_path / "landing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return drop


# --- finding ----------------------------------------------------------------------------------------------------


def test_landed_files_by_entity_and_name(tmp_path: Path, land: Callable[..., Path]) -> None:
    """At any depth, in one order, with format and compression told by the name."""
    for name in ("viewing_sessions/b.jsonl", "viewing_sessions/2026/01/a.ndjson.gz", "follows/x.csv.zst",
                 "lls_streams/r.json", "erasures/e.parquet"):  # fmt: skip
        land(name)
    files, ignored = find_landed([tmp_path / "landing"])
    assert ignored == []
    assert [(each.entity, each.name, each.format, each.compression) for each in files] == [
        ("erasures", "erasures/e.parquet", "parquet", None),
        ("follows", "follows/x.csv.zst", "csv", "zst"),
        ("lls_streams", "lls_streams/r.json", "json", None),
        ("viewing_sessions", "viewing_sessions/2026/01/a.ndjson.gz", "ndjson", "gz"),
        ("viewing_sessions", "viewing_sessions/b.jsonl", "ndjson", None),
    ]


@pytest.mark.parametrize("name", [".x.ndjson", "_x.ndjson", "x.ndjson.part", "x.ndjson.tmp", ".d/x.ndjson",
                                  "_d/x.ndjson", "d.tmp/x.ndjson", "Desktop.ini", "d/Thumbs.db"])  # fmt: skip
def test_what_is_not_complete_yet_is_ignored(tmp_path: Path, land: Callable[..., Path], name: str) -> None:
    """The platform writes under such a name and renames."""
    land(f"follows/{name}")
    files, ignored = find_landed([tmp_path / "landing"])
    assert files == []
    assert [each.reason for each in ignored] == ["marker or temporary file"]


def test_what_is_no_landed_file_is_mentioned(tmp_path: Path, land: Callable[..., Path]) -> None:
    """Unknown folders and kinds of files, symlinks, FIFOs: never read, never fatal. What is called data is read."""
    good = land("follows/good.ndjson")
    for name in ("README.md", "viewers/x.ndjson", "follows/x.txt", "follows/x.ndjson.xz", "follows/x.parquet.gz",
                 "follows/x.json", "creators/x.csv"):  # fmt: skip
        land(name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.ndjson").write_bytes(b"{}")
    (good.parent / "link.ndjson").symlink_to(good)
    (good.parent / "folder").symlink_to(tmp_path / "elsewhere")
    (good.parent.parent / "pledges").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(good.parent / "pipe.ndjson")
    files, ignored = find_landed([tmp_path / "landing"])
    assert [each.name for each in files] == [
        "creators/x.csv", "follows/good.ndjson", "follows/x.json", "follows/x.ndjson.xz", "follows/x.parquet.gz"
    ]  # fmt: skip
    assert sorted(str(each.path.relative_to(tmp_path / "landing")) for each in ignored) == [
        "README.md", "follows/folder", "follows/link.ndjson", "follows/pipe.ndjson", "follows/x.txt", "pledges",
        "viewers",
    ]  # fmt: skip
    assert all(each.reason for each in ignored)


def test_a_landing_folder_that_is_not_there(tmp_path: Path) -> None:
    """Is a mistake of the caller, and named."""
    with pytest.raises(UsageError, match="nowhere"):
        find_landed([tmp_path / "nowhere"])


def test_a_name_that_is_no_utf8(tmp_path: Path, land: Callable[..., Path]) -> None:
    """Is still text wherever it is written, and one line that does nothing to a terminal."""
    folder = land("follows/x.ndjson").parent
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.ndjson")).write_bytes(b"")
    land("follows/\x1b[31m\n.ndjson")
    files, _ = find_landed([tmp_path / "landing"])
    assert [each.name for each in files] == [
        "follows/\\x1b[31m\\x0a.ndjson", "follows/\\xff.ndjson", "follows/x.ndjson"
    ]  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "symlink", "fifo", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    """Whatever stands there by the time it is opened; and nobody waits for a FIFO's writer."""
    path = tmp_path / "x"
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    {"missing": lambda: None, "symlink": lambda: path.symlink_to(target), "fifo": lambda: os.mkfifo(path),
     "folder": path.mkdir}[kind]()  # fmt: skip
    with pytest.raises(Postponed), open_landed(path) as source:
        source.sha256()


def test_no_folder_under_the_root_may_be_a_symlink(tmp_path: Path) -> None:
    """Not even one that took the place of a folder since it was listed."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "follows" / "2026", outside):
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"1")
    with open_landed(root / "follows" / "2026" / "x", root) as source:
        assert source.read(1) == b"1"
    (root / "follows" / "2026").rename(root / "gone")
    (root / "follows" / "2026").symlink_to(outside)
    with pytest.raises(Postponed), open_landed(root / "follows" / "2026" / "x", root):
        pass


@pytest.mark.parametrize("change", ["appended", "replaced", "removed", "touched"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    """Waits for the next run."""
    path = tmp_path / "x"
    path.write_bytes(b"1")
    os.utime(path, ns=(1, 1))
    with open_landed(path) as source:
        source.check_unchanged()
        if change == "appended":
            path.write_bytes(b"12")
            os.utime(path, ns=(1, 1))
        elif change == "replaced":
            other = tmp_path / "y"
            other.write_bytes(b"2")
            os.utime(other, ns=(1, 1))
            other.replace(path)
        elif change == "removed":
            path.unlink()
        else:
            os.utime(path, ns=(2, 2))
        with pytest.raises(Postponed):
            source.check_unchanged()


def unpack(content: bytes, compression: str | None, size: int = 100) -> bytes:
    return b"".join(decompressed((content[at : at + size] for at in range(0, len(content), size)), compression))


def test_archives_of_several_parts_are_read_through() -> None:
    """Gzip members, zero padding between them, zstd frames."""
    one, two = os.urandom(5000), b"b" * 5000
    assert unpack(one, None) == one
    for size in (1, 7, 100_000):
        assert unpack(gzip.compress(one) + bytes(10) + gzip.compress(two), "gz", size) == one + two
        frames = zstandard.ZstdCompressor().compress(one) + zstandard.ZstdCompressor(write_checksum=True).compress(two)
        assert unpack(frames, "zst", size) == one + two
    assert unpack(b"", "gz") == unpack(b"", "zst") == b""


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_damaged_archives(compression: str) -> None:
    """What breaks off, is no archive, or does not fit its checksum is damage, and never silently short."""
    content = os.urandom(20_000)
    packed = gzip.compress(content) if compression == "gz" else zstandard.ZstdCompressor(
        write_checksum=True
    ).compress(content)  # fmt: skip
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 1
    wrong_sum = bytearray(packed)
    wrong_sum[-5 if compression == "gz" else -1] ^= 1
    for damaged in (packed[:-1], packed[: len(packed) // 2], bytes(flipped), bytes(wrong_sum), b"plain", packed + b"x"):
        with pytest.raises(DamagedArchive):
            unpack(damaged, compression)


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_bomb_is_streamed(compression: str) -> None:
    """A gigabyte of zeros in a few kilobytes comes in pieces."""
    zeros = bytes(1 << 26)
    compressor = zstandard.ZstdCompressor(level=19)
    packed = gzip.compress(zeros) if compression == "gz" else compressor.compress(zeros)
    sizes = [len(piece) for piece in decompressed([packed], compression)]
    assert sum(sizes) == len(zeros)
    assert max(sizes) <= len(zeros)
    assert compression == "zst" or max(sizes) <= 1 << 20


# --- lines ------------------------------------------------------------------------------------------------------


def lines_of(pieces: list[Piece]) -> list[tuple[int, bytes]]:
    found = []
    for piece in pieces:
        if isinstance(piece, Block):
            found += list(enumerate(piece.data.splitlines(keepends=True), piece.first_line))
            assert piece.lines == len(piece.data.splitlines())
    return found


@pytest.mark.parametrize("block", [1, 5, 100])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_blocks_hold_whole_lines(block: int, chunk: int) -> None:
    """However the bytes come, the same lines under the same numbers; a byte order mark at the start is dropped."""
    text = b"one\n\ntwo\r\n three\nlast"
    landed = b"\xef\xbb\xbf" + text
    chunks = (landed[at : at + chunk] for at in range(0, len(landed), chunk))
    assert lines_of(list(blocks_of_lines(chunks, block))) == list(enumerate(text.splitlines(keepends=True), 1))


def test_a_line_that_is_too_long_is_passed_over() -> None:
    """Only its beginning is kept; the lines around it keep their numbers."""
    long = b"x" * (3 * MAX_LINE_BYTES)
    landed = b"a\n" + long + b"\nb\n"
    chunks = (landed[at : at + 1000] for at in range(0, len(landed), 1000))
    pieces = list(blocks_of_lines(chunks, 10_000))
    assert lines_of(pieces) == [(1, b"a\n"), (3, b"b\n")]
    assert [each for each in pieces if isinstance(each, LongLine)] == [LongLine(2, b"x" * LONG_LINE_TEXT_BYTES)]


@pytest.mark.parametrize("most", [1, 2, 7, 100])
def test_blocks_hold_so_many_lines_at_most(most: int) -> None:
    """However short they are; each keeps its number."""
    text = b"a\n\n\nlonger than the others\n\nb\r\n" * 5 + b"\n" * 50 + b"end"
    pieces = list(blocks_of_lines([text], block_lines=most))
    assert all(isinstance(each, Block) and each.lines <= most for each in pieces)
    assert lines_of(pieces) == list(enumerate(text.splitlines(keepends=True), 1))


def test_damage_comes_after_the_good_lines() -> None:
    """In place of the line that breaks off."""
    packed = gzip.compress(b"a\nb\n" + os.urandom(50_000).translate(None, b"\r\n") + b"\nc\n", 1)
    pieces = list(blocks_of_lines(decompressed([packed[:20_000]], "gz")))
    assert lines_of(pieces) == [(1, b"a\n"), (2, b"b\n")]
    assert pieces[-1] == Damage(3, "the archive is damaged: it ends in the middle")


def test_a_process_without_descriptors_leaves_no_file_out(tmp_path):
    """To publish without a file for want of a descriptor would be to publish less than landed."""
    path = tmp_path / "follows" / "a.ndjson"
    path.parent.mkdir()
    path.write_text("")

    def look() -> None:
        with open_landed(path):
            pass

    for refused in (look, lambda: find_landed([tmp_path])):
        with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
            refused()


@pytest.mark.parametrize("unreadable", ["", "erasures", "erasures/2026"])
def test_a_folder_that_cannot_be_listed_is_not_left_out(tmp_path, monkeypatch, unreadable):
    """Whoever was erased would be published. One that has just gone holds nothing."""
    (tmp_path / "erasures" / "2026").mkdir(parents=True)
    (tmp_path / "follows").mkdir()
    (tmp_path / "follows" / "a.ndjson").write_text("")
    opened = os.open

    def failing(path, *args, **options):
        if Path(path) == tmp_path / unreadable:
            raise error
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", failing)
    error: OSError = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / unreadable))
    with pytest.raises(PermissionError):
        find_landed([tmp_path])
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(tmp_path / unreadable))
    assert len(find_landed([tmp_path])[0]) == (unreadable != "")
