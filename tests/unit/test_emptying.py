"""A landed file without somebody's records is otherwise what landed: whose it is, who may read it, its name."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.landing import LandedFile, emptying, find_landed
from pipelines.traces import Sought, theirs, without

CUT = emptying.Cut(
    partial(without, sought=Sought("u1"), is_csv=False),
    partial(theirs, sought=Sought("u1")),
)


def landed(root: Path, name: str) -> LandedFile:
    """A file of two follows, one of them the person's."""
    path = root / "follows" / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"userId": ["u1", "u2"], "creatorId": ["c", "c"]}), path)
    else:
        path.write_text('{"userId":"u1","creatorId":"c"}\n{"userId":"u2","creatorId":"c"}\n')
    (file,) = find_landed([root])[0]
    return file


def facts(path: Path) -> tuple[Any, ...]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_mtime_ns


@pytest.mark.parametrize("name", ["a.ndjson", "a.parquet"])
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o2640])
def test_owner_group_mode_and_times_stay(tmp_path: Path, name: str, mode: int) -> None:
    """While it is written nobody may read it who might not read the old one."""
    file = landed(tmp_path, name)
    if os.geteuid() == 0:  # who else may not give files away
        os.chown(file.path, 12_345, 23_456)
    file.path.chmod(mode)
    os.utime(file.path, ns=(10**18, 10**18))
    before = facts(file.path)

    def look(_: emptying.Emptied) -> None:
        (written,) = file.path.parent.glob(".mostwatched-*")
        assert facts(written) == before

    seen = []
    goes = CUT.rows

    def rows(batch: pa.RecordBatch) -> pa.Array:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in file.path.parent.glob(".mostwatched-*"))
        return goes(batch)

    done = emptying.emptied(file, emptying.Cut(CUT.lines, rows), look)
    assert done is not None
    assert done.records == 1
    assert facts(file.path) == before
    assert set(seen) <= {0o600}


def test_where_a_file_cannot_be_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records go all the same, and the mode stays."""
    file = landed(tmp_path, "a.ndjson")
    file.path.chmod(0o640)

    def refused(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refused)
    assert emptying.emptied(file, CUT, lambda _: None) is not None
    assert facts(file.path)[2] == 0o640
    assert file.path.read_bytes().startswith(b"\n")


@pytest.mark.parametrize("name", ["n" * 248 + ".ndjson", "\u00f6" * 123 + ".parquet"], ids=["ASCII", "UTF-8"])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    """As long as a file system lets them be."""
    file = landed(tmp_path, name)
    assert len(os.fsencode(name)) >= 254
    assert emptying.emptied(file, CUT, lambda _: None) is not None
    assert [path.name for path in file.path.parent.iterdir()] == [name]
