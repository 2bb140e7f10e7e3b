"""`forget --landing-too` in a landing folder of another user, who swaps names in it all the while.

Nothing outside of that folder changes, no record of anybody else is lost, and it says "Forgotten" only when it is true.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from other_user import NOBODY, needs_root
from swapping import swapping

from pipelines.core import shared_folders
from pipelines.core.settings import load
from pipelines.jobs.nightly import locked_home
from pipelines.raw.ingest import ingest

RECORDS = 30_000
SECRET = "known to root alone"


def write(path: Path, users: list[str], creator: str) -> None:
    """Write follows of a creator."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"userId": users, "creatorId": [creator] * len(users)}), path)
    else:
        path.write_text("".join(f'{{"userId":"{user}","creatorId":"{creator}"}}\n' for user in users))


def users_in(path: Path) -> list[str]:
    if path.suffix == ".parquet" or path.read_bytes().startswith(b"PAR1"):
        return pq.ParquetFile(path).read()["userId"].to_pylist()  # a dot file may hide it
    return [line.split('"')[3] for line in path.read_text().splitlines() if line]


def forget(place: Path) -> subprocess.CompletedProcess[str]:
    """Forget u1 in an empty home, and in the landing folder."""
    asked = ["--home", str(place / "home"), "forget", "u1", "--landing", str(place / "landing"), "--landing-too"]
    command = [sys.executable, "-m", "pipelines.cli", *asked]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("link", "a.ndjson"),
        ("link", "a.parquet"),
        ("hard link", "a.ndjson"),
        ("folder", "a.ndjson"),
        ("landed", "a.ndjson"),
        ("landed", "a.parquet"),
        ("parent", "a.ndjson"),
    ],
)
def test_swapped_names_lead_nowhere(place: Path, way: str, name: str) -> None:
    """Whatever the other user puts in the place of what is written, of the landed file or of its folder."""
    for number in range(10):
        (place / str(number)).mkdir()
        if forget_while_swapping(place / str(number), way, name):
            return
    raise AssertionError("it was too slow to swap anything")


def forget_while_swapping(place: Path, way: str, name: str) -> int:
    """Forget somebody while another user swaps names; returns how often it did."""
    landed = place / "landing" / "follows" / name
    landed.parent.mkdir(parents=True)
    others = [f"v{number}" for number in range(RECORDS)]
    write(landed, [*others, "u1"], "c")
    write(landed.with_name("other.ndjson"), ["v1"], "c")
    write(landed.with_name(".theirs"), ["v1"], "c")
    for path in [place / "landing", *(place / "landing").rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    with locked_home(settings := load(place / "home")):
        ingest(settings, [place / "landing"])
    victim = place / "roots" / name
    victim.parent.mkdir()
    write(victim, ["u1", "u2"], SECRET)
    victim.chmod(0o600)
    before = victim.read_bytes(), victim.lstat()

    with swapping(way, landed, victim) as swaps:
        ended = forget(place)

    assert (victim.read_bytes(), victim.lstat()) == before
    assert names(victim.parent) == [name]
    files = [path for path in (place / "landing").rglob("*") if path.is_file() and not path.is_symlink()]
    assert all(path.stat().st_uid == NOBODY for path in files)
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    holding = [path for path in files if set(others) <= set(users_in(path))]
    assert holding, ended.stdout + ended.stderr
    if ended.returncode == 0:
        assert "Forgotten: " in ended.stdout
        assert not [path for path in files if "u1" in users_in(path)]
    else:
        assert ended.returncode == 1, ended.stderr
        assert "Not yet forgotten." in ended.stdout, ended.stderr
        assert "Traceback" not in ended.stderr
    # What is renamed between its listing and its opening may hold the id elsewhere: it alone may be left.
    of_temporaries = f"{landed.parent}/{shared_folders.PREFIX}"
    holders = [line for line in ended.stdout.splitlines() if "STILL HOLDS" in line]
    assert way in ("landed", "parent") or all(of_temporaries in line for line in holders), ended.stdout
    assert way in ("landed", "parent") or ended.returncode == 0 or holders, ended.stdout

    for path in (landed, landed.parent):  # once nobody swaps any more
        if path.is_symlink():
            path.unlink()
            path.with_name(".aside").rename(path)
    assert forget(place).returncode == 0
    assert "u1" not in users_in(landed)
    return swaps[0]


def test_what_is_named_like_a_temporary(place: Path) -> None:
    """A folder, a link or a FIFO of such a name stops no erasure, and what others put there stays."""
    landed = place / "landing" / "follows" / "a.ndjson"
    landed.parent.mkdir(parents=True)
    write(landed, ["v1", "u1"], "c")
    prefix = shared_folders.PREFIX
    theirs = landed.with_name(f"{prefix}folder")
    theirs.mkdir(mode=0o755)
    theirs.chmod(0o755)
    (theirs / "new").write_text("theirs")
    left = landed.with_name(f"{prefix}left")  # by a killed one of ours
    left.mkdir(mode=0o700)
    (left / "new").write_text("half")
    landed.with_name(f"{prefix}link").symlink_to("/etc/passwd")
    os.mkfifo(landed.with_name(f"{prefix}fifo"))
    (place / "landing" / f"{prefix}top").mkdir(mode=0o700)
    ended = forget(place)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert users_in(landed) == ["v1"]
    assert names(landed.parent) == [theirs.name, "a.ndjson"]
    assert (theirs / "new").read_text() == "theirs"


def test_a_landed_file_outside_the_home_that_cannot_be_emptied(place: Path) -> None:
    """It is not said to be forgotten: the record that was to go is still there."""
    landed = place / "landing" / "follows" / "a.parquet"
    landed.parent.mkdir(parents=True)
    landed.write_text('PAR1 {"userId":"u1"}')
    ended = forget(place)
    assert ended.returncode == 1
    assert f"STILL HOLDS THE ID: {landed}" in ended.stdout


def test_a_link_where_a_file_had_landed(place: Path) -> None:
    """What it leads to is not looked at, so that it cannot be said to be emptied."""
    landed = place / "landing" / "follows" / "a.ndjson"
    landed.parent.mkdir(parents=True)
    write(landed, ["v1", "u1"], "c")
    with locked_home(settings := load(place / "home")):
        ingest(settings, [place / "landing"])
    moved = landed.rename(place / "moved.ndjson")
    landed.symlink_to(moved)
    ended = forget(place)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"{landed}: files have landed by this name, and now it is not a regular file" in ended.stdout
    assert users_in(moved) == ["v1", "u1"]
