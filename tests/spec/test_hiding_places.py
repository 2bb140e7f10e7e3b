"""`forget` says "forgotten" only of what it looked into: an id in any of these places is found, or its file named."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import quopri
import sqlite3
import tarfile
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.core.settings import Settings
from pipelines.jobs.erase_user import forget

NOW = datetime(2026, 3, 11, tzinfo=UTC)
USER = "viewer-7f3a9c1e55"
LINE = json.dumps({"sessionId": "s1", "creatorId": "c", "viewerId": USER, "startedAt": "2026-03-09T01:00:00Z"}).encode()
OTHER = LINE.replace(USER.encode(), b"somebody-else")


def zipped(name: str, content: bytes, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.comment = comment
    return file.getvalue()


def tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def named_gzip(name: str) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(filename=name, mode="wb", fileobj=file) as archive:
        archive.write(OTHER + b"\n")
    return file.getvalue()


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def broken(content: bytes, width: int, end: str = "\n") -> str:
    text = base64.b64encode(content).decode()
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def by_path(folder: Path, name: str) -> bytes:
    path = folder / name
    if name == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute("create table t(a)")
            connection.execute("insert into t values (?)", (USER,))
        connection.close()
    elif name == "duckdb":
        with duckdb.connect(str(path)) as database:
            database.execute("create table t as select ? as a", [USER])
    else:
        orc.write_table(pa.table({"viewerId": [USER]}), str(path))
    return path.read_bytes()


SESSION = {"sessionId": ["s"], "creatorId": ["c"], "startedAt": ["2026-03-09T01:00:00Z"]}
VALID = pa.table(SESSION)
ESCAPED = "".join(f"\\u{ord(each):04x}" for each in USER)
BARE = base64.b64encode(f"see {USER}".encode()).decode().rstrip("=")


def with_column(**columns: list[object]) -> bytes:
    return parquet(pa.table({**SESSION, **columns}))


PLACES: dict[str, bytes] = {
    "UTF-16": LINE.decode().encode("utf-16"),
    "UTF-32": LINE.decode().encode("utf-32"),
    "UTF-16 behind text": OTHER + b"\n" + LINE.decode().encode("utf-16-le"),
    "EBCDIC": LINE.decode().encode("cp037"),
    "bzip2": bz2.compress(LINE),
    "xz": lzma.compress(LINE),
    "lzma": lzma.compress(LINE, format=lzma.FORMAT_ALONE),
    "zlib": zlib.compress(LINE),
    "zip": zipped("a", LINE),
    "a name in zip": zipped(USER, b""),
    "the comment of zip": zipped("a", b"", USER.encode()),
    "zip in gz": gzip.compress(zipped("a", LINE)),
    "gz in zip": zipped("a", gzip.compress(LINE)),
    "zip in zip": zipped("a", zipped("b", LINE)),
    "tar": tar("a", LINE),
    "a name in tar": tar(USER, b""),
    "tar in zst": zstandard.compress(tar("a", LINE)),
    "gz in tar": tar("a", gzip.compress(LINE)),
    "the name in gz": named_gzip(USER + ".csv"),
    "gz five deep": gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(LINE))))),
    "zip behind a script": b"#!/bin/sh\n" + zipped("a", LINE),
    "gz behind text": OTHER + b"\n" + gzip.compress(LINE * 9),
    "base64": base64.b64encode(LINE),
    "base64url": base64.urlsafe_b64encode(LINE),
    "base64 in lines": broken(LINE, 20).encode(),
    "base64 in CRLF lines": broken(LINE * 3, 30, "\r\n").encode(),
    "base64 folded": broken(LINE * 3, 30, "\n ").encode(),
    "base64 in lines in JSON": json.dumps({"x": broken(LINE, 20)}).encode(),
    "gz in base64": base64.b64encode(gzip.compress(LINE)),
    "gz in base64 lines": broken(gzip.compress(LINE), 40).encode(),
    "gz in base64 in JSON": json.dumps({"x": base64.b64encode(gzip.compress(LINE)).decode()}).encode(),
    "zlib in base64 in JSON": json.dumps({"x": base64.b64encode(zlib.compress(LINE)).decode()}).encode(),
    "zip in base64": base64.b64encode(zipped("a", LINE)),
    "hex": LINE.hex().encode(),
    "HEX": LINE.hex().upper().encode(),
    "bytea": b'{"x":"\\\\x' + LINE.hex().encode() + b'"}',
    "\\x": "".join(f"\\x{each:02x}" for each in LINE).encode(),
    "percent": "".join(f"%{each:02X}" for each in LINE).encode(),
    "behind %20": b"q=hello%20" + USER.encode() + b"%20bye",
    "percent, twice": quote(quote(USER.replace("-", "%2D"))).encode(),
    "JSON escapes": f'{{"v":"{ESCAPED}"}}'.encode(),
    "JSON escapes in JSON in JSON": json.dumps({"m": json.dumps({"m": f'{{"v":"{ESCAPED}"}}'})}).encode(),
    "a text in JSON": json.dumps({"m": f"seen {USER} today"}).encode(),
    "JSON in JSON": json.dumps({"m": LINE.decode()}).encode(),
    "HTML": "".join(f"&#{ord(each)};" for each in USER).encode(),
    "one entity": USER.replace("-", "&#x2d;").encode(),
    "quoted-printable": quopri.encodestring(("é" * 21 + USER).encode()),
    "a soft break": (USER[:5] + "=\n" + USER[5:]).encode(),
    "CSV beside quotes": f'a,"x""y",{USER}\n'.encode(),
    "a token": base64.urlsafe_b64encode(b'{"alg":"none"}')
    + b"."
    + base64.urlsafe_b64encode(f'{{"sub":"{USER}"}}'.encode()),
    "bytes": bytes(range(1, 256)) + USER.encode(),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(range(99)),
    "encrypted": b"\x85\x01\x0c\x03" + bytes(range(255, 0, -1)),
    "damaged gz": gzip.compress(LINE * 99)[:-20],
    "damaged zip": zipped("a", LINE)[:-9],
    "Parquet": with_column(viewerId=[USER]),
    "Parquet in gz": gzip.compress(with_column(viewerId=[USER])),
    "Parquet in zip": zipped("a", with_column(viewerId=[USER])),
    "a text in Parquet": with_column(note=[f"seen {USER} today"]),
    "JSON in Parquet": with_column(note=[LINE.decode()]),
    "base64 in Parquet": with_column(note=[base64.b64encode(LINE).decode()]),
    "bytes in Parquet": with_column(note=[LINE]),
    "UTF-16 in Parquet": with_column(note=[USER.encode("utf-16-le")]),
    "zlib in Parquet": with_column(note=[zlib.compress(LINE)]),
    "JSON escapes in Parquet": with_column(note=[f'{{"v":"{ESCAPED}"}}']),
    "base64 without padding in Parquet": parquet(
        pa.table({name: values * 2 for name, values in SESSION.items()} | {"note": [BARE, "others"]})
    ),
    "gz in Parquet": with_column(note=[gzip.compress(LINE)]),
    "deep in Parquet": with_column(note=[[{"x": {"y": f"of {USER}"}}]]),
    "a column's name": with_column(**{USER: ["x"]}),
    "metadata of Parquet": parquet(VALID.replace_schema_metadata({"who": USER})),
    "metadata of a column": parquet(VALID.cast(pa.schema([each.with_metadata({"w": USER}) for each in VALID.schema]))),
    "damaged Parquet": with_column(viewerId=[USER])[:-9],
}
CLEAN = {
    "text": b"hello\n",
    "others": OTHER + b"\n",
    "gz of others": gzip.compress(OTHER),
    "empty": b"",
    "words like base64": b"eJzo%20H4sIdent Qlpo &amp; =3D 0x1234567890abcdef\n",
    "Parquet of others": parquet(VALID),
    "a longer id": OTHER.replace(b"somebody-else", USER.encode() + b"6"),
    "the creator": OTHER.replace(b'"c"', f'"{USER}"'.encode()),
}


@pytest.mark.parametrize("name", ["viewing_sessions/note.txt", "viewing_sessions/a.ndjson", "viewing_sessions/a.csv"])
def test_no_place_is_passed_over_in_silence(tmp_path, name):
    """Beside what lands, or as what lands: gone, or named with exit code 1."""
    places = {**PLACES, **{kind: by_path(tmp_path, kind) for kind in ("sqlite", "duckdb", "orc")}}
    silent = []
    for number, (place, content) in enumerate(places.items()):
        path = tmp_path / str(number) / "landing" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        done = forget(Settings(home=tmp_path / str(number)), USER, NOW, landing_too=True)
        if done.is_forgotten and not any(each.is_emptied for each in done.landed_files):
            silent.append(place)
    assert silent == []


@pytest.mark.parametrize("name", ["viewing_sessions/note.txt", "viewing_sessions/a.ndjson"])
@pytest.mark.parametrize("place", CLEAN)
def test_where_nobody_is_nobody_is_found(tmp_path, place, name):
    """A person whom nothing names is forgotten: no word is taken for an archive or an id."""
    path = tmp_path / "landing" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(CLEAN[place])
    if place == "the creator" and name.endswith("txt"):
        pytest.skip("what is no landed file has nothing that is public")
    assert forget(Settings(home=tmp_path), USER, NOW, landing_too=True).remaining == []


@pytest.mark.parametrize(
    "place", ["zip", "zip in gz", "gz in tar", "tar in zst", "gz in base64", "Parquet in gz", "7z", "hex"]
)
def test_a_backup_under_home_is_looked_into(tmp_path, place):
    """Whatever it is called."""
    path = tmp_path / "backups" / "old.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(PLACES[place])
    done = forget(Settings(home=tmp_path), USER, NOW, landing_too=True)
    assert [Path(each["path"]).name for each in done.remaining] == ["old.bin"]


def test_names_of_all_kinds_are_looked_at(tmp_path):
    """Of folders without a file, of links, in landing folders elsewhere; what links lead to, and attributes."""
    home, landing = tmp_path / "home", tmp_path / "landing"
    (home / USER).mkdir(parents=True)
    (landing / "viewing_sessions" / f"x={USER}").mkdir(parents=True)
    (home / "link").symlink_to(f"/nowhere/{USER}/a")
    (home / "note").write_text("x")
    wanted = {home / USER, landing / "viewing_sessions" / f"x={USER}", home / "link"}
    try:
        os.setxattr(home / "note", "user.who", USER.encode())
        wanted.add(home / "note")
    except OSError:
        pass
    done = forget(Settings(home=home), USER, NOW, [landing], landing_too=True)
    assert {Path(each["path"]) for each in done.remaining} == wanted


@pytest.mark.parametrize("user", ["u9", "7", "m"])
def test_a_short_id_is_looked_for_in_base64_of_texts(tmp_path, user):
    """As a word of a text; letters that stand for no text are a word that looks like base64."""
    path = tmp_path / "landing" / "viewing_sessions" / "note.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"sessionId startedAt dT creator to be " + base64.b64encode(b"other u99 77"))
    assert forget(Settings(home=tmp_path), user, NOW, landing_too=True).is_forgotten
    path.write_bytes(b"note " + base64.b64encode(f"of {user}, who left".encode()))
    assert not forget(Settings(home=tmp_path), user, NOW, landing_too=True).is_forgotten


@pytest.mark.parametrize(
    "content",
    [
        b"x" * 3_000_000,
        b"%41" * 500_000,
        b"eJ" * 1_000_000,
        b"&" * 2_000_000,
        b"=" * 2_000_000,
        b"ab" * 1_000_000,
        b"H4sI" + b"A" * 2_000_000,
        b"\\u" * 1_000_000,
    ],
)
def test_no_text_takes_the_square_of_its_length(tmp_path, content):
    """Each of these is some megabytes of one word."""
    path = tmp_path / "landing" / "viewing_sessions" / "note.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    before = os.times().user
    forget(Settings(home=tmp_path), USER, NOW, landing_too=True)
    assert os.times().user - before < 5


def test_a_bomb_is_not_unpacked_for_ever(tmp_path):
    """An archive in base64 that stands for gigabytes is named."""
    path = tmp_path / "landing" / "viewing_sessions" / "note.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(base64.b64encode(bz2.compress(bytes(1 << 28))))
    (left,) = forget(Settings(home=tmp_path), USER, NOW, landing_too=True).remaining
    assert "too large to be looked into" in left["why"]
