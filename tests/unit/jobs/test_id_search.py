"""Where an id stands in bytes that come in pieces: at every cut the same as in one piece."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from pipelines.jobs.id_matcher import IdMatcher, IdMatchers
from pipelines.jobs.id_search import find_files, find_unread
from pipelines.jobs.owned_records import may_hold
from pipelines.lake.engines import duckdb as engine
from pipelines.landing import content_of, open_landed
from pipelines.raw.erasure_register import candidate_ids

MIB = 1 << 20
USER = "u-1"


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
@pytest.mark.parametrize(
    ("content", "is_there"),
    [
        (b'{"viewerId": "u-1", "x": 1}', True),
        (b"u-1", True),
        (b"xu-1 u-1x u-1-2 _u-1 u-12", False),
        (b"u-12 u-1", True),
        (b"u-1u-1 u-1", True),
        (b"", False),
    ],
)
def test_a_word_wherever_the_pieces_are_cut(content: bytes, is_there: bool, size: int) -> None:
    """A piece that ends after the id, or begins with it, does not make a word of what is none."""
    assert IdMatcher(USER).is_in_bytes(content) is is_there
    assert IdMatcher(USER).is_in_chunks(pieces(content, size)) is is_there


def escaped(text: str, seed: int) -> str:
    """A text as in JSON, some of its letters as escapes."""
    drawn = random.Random(seed)

    def written(letter: str) -> str:
        if ord(letter) < 1 << 16 and drawn.randrange(2):
            return "\\u" + format(ord(letter), drawn.choice(["04x", "04X"]))
        return json.dumps(letter, ensure_ascii=drawn.random() < 0.5)[1:-1]

    return "".join(map(written, text))


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("user", ["u-1", "a/b", "é\n\t", 'q"\\', "\U0001f600x", "日本"])
def test_a_text_with_escapes(user: str, size: int) -> None:
    """However JSON writes the letters of an id, it is found in a text that is too long to be read as JSON."""
    for seed in range(20):
        text = '{"a":"' + escaped(user, seed) + '"}'
        assert json.loads(text) == {"a": user}
        assert IdMatcher(user).is_in_text(pieces(text.encode(), size)), text
        other = '{"a":"' + escaped(user + "x", seed) + '"}'
        assert "\\u0078" in other or not IdMatcher(user).is_in_text(pieces(other.encode(), size)), other


@pytest.mark.parametrize("length", [1, 5_000, 50_000])
def test_an_id_of_any_length(length: int) -> None:
    """Also one that is longer than a piece: ids have no greatest length."""
    matcher, piece = IdMatcher("i" * length), 1 << 14
    content = b'{"viewerId":"' + b"i" * length + b'"}'
    for before in (0, piece - 20, 2 * piece - 14):
        assert matcher.is_in_chunks(pieces(b" " * before + content, piece)), before
        assert not matcher.is_in_chunks(pieces(b" " * before + content.replace(b'i"', b'ii"'), piece)), before


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("past", range(7))
def test_an_escape_across_the_border_of_two_pieces(tmp_path: Path, past: int, packed: bool) -> None:
    """A record in which a letter of the id is an escape: wherever in the file it stands, the file may hold the id."""
    record = rb'{"viewerId":"u\u002d1"}'
    before = MIB - record.index(b"\\") - past
    content = b'{"a": "' + b"a" * (before - 10) + b'"}\n' + record
    assert content[MIB - past : MIB - past + 2] == b"\\u"
    path = tmp_path / ("a.ndjson.gz" if packed else "a.ndjson")
    path.write_bytes(gzip.compress(content) if packed else content)
    with open_landed(path) as source:
        assert may_hold(content_of("viewing_sessions", "ndjson", source), source, IdMatchers.of([USER]))


@pytest.mark.parametrize("past", [-2, 0, 1, 3, 4_990, 5_001])
def test_a_file_that_holds_a_long_id_across_the_border(tmp_path: Path, past: int) -> None:
    """In any file under home: the longest ids are found too."""
    user = "long" * 1_250
    path = tmp_path / "notes.txt"
    path.write_text("." * (MIB - past) + json.dumps(user))
    with closing(engine.connect("200MB", 1, spill=None)) as connection:
        assert [trace.path for trace in find_files(connection, [path], IdMatchers.of([user]))] == [path]


def test_words_of_a_text_in_which_strings_do_not_end() -> None:
    """A string that does not end is not looked for anew at each of its quotation marks."""

    def seconds(marks: int) -> float:
        text = 'ben "' + '\\"' * marks
        started = time.process_time()
        assert {"ben", '"""'} & candidate_ids(text, {3}) == {"ben"}
        return time.process_time() - started

    assert min(seconds(1 << 14) for _ in range(5)) < 8 * min(seconds(1 << 12) for _ in range(5))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (r'{"viewerId":"a\u002db"', "a-b"),
        (r'{"a":"b\"","viewerId":"a\"b","c":"', 'a"b'),
        (r'"\" "', '" '),
        ('x,"a""b"', 'a"b'),
    ],
)
def test_words_of_a_broken_record(text: str, word: str) -> None:
    """Strings of JSON and cells of CSV are found in what is neither."""
    assert word in candidate_ids(text, ())


def packed_zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return file.getvalue()


PACKED = {
    "nothing": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
    "zip": packed_zip,
    "gzip in bzip2": lambda content: bz2.compress(gzip.compress(content)),
    "two parts": lambda content: bz2.compress(content[:20]) + bz2.compress(content[20:]),
}
WRITTEN = {
    "plain": str.encode,
    "escaped": lambda text: "".join(f"\\u{ord(char):04x}" if char == "-" else char for char in text).encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "base64": lambda text: b'{"data":"' + base64.b64encode(text.encode()) + b'"}',
    "base64 for URLs": lambda text: b'{"data":"' + base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()) + b'"}',
}


@pytest.mark.parametrize("pack", PACKED)
@pytest.mark.parametrize("write", WRITTEN)
@pytest.mark.parametrize("name", ["a.part", ".a.ndjson", "notes.txt", "a.csv"])
def test_an_id_in_a_file_that_is_not_read(tmp_path: Path, name: str, write: str, pack: str) -> None:
    """Whatever its name says, packed and written in any of these ways; another id is not taken for it."""
    for user, is_there in (("u-7f3a9c", True), ("u-7f3a9cd", False)):
        text = f'{{"sessionId":"s","viewerId":"{user}","startedAt":"2026-03-09T10:00:00Z"}}\n'
        path = tmp_path / name
        path.write_bytes(PACKED[pack](WRITTEN[write](text)))
        found = list(find_unread([path], tmp_path, IdMatchers.of(["u-7f3a9c"])))
        assert [(each.path, each.problem) for each in found] == [(path, None)] * is_there


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_base64_wherever_it_is_cut(size: int) -> None:
    """Behind any number of other bytes."""
    for before in range(7):
        text = b'{"x":"' + base64.b64encode(b'"' * before + b'"u-1","b"') + b'"}'
        assert IdMatcher(USER).is_in_text(pieces(text, size))
        other = b'{"x":"' + base64.b64encode(b'"' * before + b'"u-12","b"') + b'"}'
        assert not IdMatcher(USER).is_in_text(pieces(other, size))


@pytest.mark.parametrize(
    "content",
    [b"7z\xbc\xaf\x27\x1c" + bytes(range(256)), b"Obj\x01\x04\x14avro.codec", bytes(range(1, 32)) * 40,
     lzma.compress(b"u")[:-9]],
)  # fmt: skip
def test_what_cannot_be_looked_into_is_named(tmp_path: Path, content: bytes) -> None:
    """Nobody knows whether the id is in it."""
    path = tmp_path / "a.part"
    path.write_bytes(content)
    (found,) = find_unread([path], tmp_path, IdMatchers.of([USER]))
    assert found.problem is not None


def test_a_long_text_costs_no_more_than_its_bytes() -> None:
    """An id of two bytes is not looked for in base64, whose letters any long text holds everywhere; of three it is."""
    asked: list[bytes] = []

    class Counting(IdMatcher):
        def is_in_bytes(self, content: bytes) -> bool:
            asked.append(content)
            return super().is_in_bytes(content)

    assert not Counting("x").is_in_base64(b"e" * 100_000)
    assert not Counting("xy").is_in_base64(b"eHk" * 30_000)
    assert asked == []
    assert Counting("xyz").is_in_base64(base64.b64encode(b'"xyz"'))
