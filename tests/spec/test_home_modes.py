"""Other users of the machine get nothing of a home; its group, where that is wanted, what the API serves alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from other_user import GROUP, as_nobody, needs_root
from person import platform
from tokens import bearer, claims, jwks, sign
from world import AS_OF, World

from pipelines.api.app import create_app
from pipelines.core import durable_files
from pipelines.core.settings import Settings
from pipelines.jobs import status
from pipelines.snapshots import manifest


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(home: Path) -> list[str]:
    """What is in a home that others could read or enter if the folders above let them; what landed is not ours."""
    found = [path for path in [home, *home.rglob("*")] if path.stat().st_mode & 0o077]
    ours = [path for path in found if not path.is_relative_to(home / "landing")]
    return sorted(path.relative_to(home).as_posix() for path in ours)


def problems(world: World) -> list[str]:
    return list(status.status(world.settings, AS_OF, None, datetime.now(UTC))["problems"])


@pytest.mark.usefixtures("umask")
def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask is: every file of raw, of the lake, of snapshots, reports and metrics."""
    world = World(tmp_path, from_nothing=True)
    platform(world)
    world.settings.landing.chmod(0o755)
    world.run()
    assert open_to_others(world.settings.home) == []
    assert world.settings.home.stat().st_mode & 0o777 == 0o700
    private = next(world.settings.snapshots.glob("*/private/follows.parquet"))
    assert private.stat().st_nlink > 1, "it shares its file with the lake"
    assert private.stat().st_mode & 0o077 == 0


def test_an_existing_home_is_narrowed(tmp_path: Path) -> None:
    """The next run does, without one file more; until then `status` says what is open."""
    world = World(tmp_path)
    world.busy_days("2026-01-20", 10)
    world.run(night={"allow_incomplete": True})
    home = world.settings.home
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert any(f"{home} has mode 0755 and should have 0700" in problem for problem in problems(world))
    world.run(night={"allow_incomplete": True})
    folders = [home, *(path for path in home.iterdir() if path.is_dir() and path.name != "landing")]
    assert {path.name: path.stat().st_mode & 0o777 for path in folders if path.stat().st_mode & 0o077} == {}
    assert problems(world) == []


def test_where_others_land_files_they_get_through(tmp_path: Path) -> None:
    """And nowhere else: they can neither list the home nor enter anything that is ours."""
    world = World(tmp_path, from_nothing=True)
    world.busy_days("2026-01-20", 10)
    world.settings.landing.chmod(0o777)
    world.run(night={"allow_incomplete": True})
    assert world.settings.home.stat().st_mode & 0o777 == 0o711
    assert open_to_others(world.settings.home) == ["."]
    assert problems(world) == []


def readable(paths: list[Path]) -> list[str]:
    """Those that this user can open: a file to be read, a folder to be listed, or to be locked."""
    found = []
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY))
        except PermissionError:
            continue
        found.append(str(path))
    return found


@needs_root
def test_another_user_reads_nothing(place: Path) -> None:
    """Nor can they lock the home or its lock, and so stop every night."""
    world = World(place)
    platform(world)
    world.run()
    paths = [world.settings.home, *world.settings.home.rglob("*")]
    assert as_nobody(lambda: readable(paths)) == []
    world.settings.landing.chmod(0o777)
    world.run(compare=False)
    opened = as_nobody(lambda: readable(paths))
    assert [path for path in opened if not Path(path).is_relative_to(world.settings.landing)] == []


@needs_root
def test_the_users_group_reads_what_the_api_serves(place: Path) -> None:
    """The API with a user of its own: every answer is that of the owner's, and nothing else can be read."""
    owners = World(place)
    platform(owners)
    owners.run("2026-01-30")  # before the group was to read: it is let in
    home = owners.settings.home
    os.chown(home, -1, GROUP)
    world = World(place, home_mode="group")
    world.landed = owners.landed
    world.run(compare=False)
    assert problems(world) == []

    paths = [home, *home.rglob("*")]
    served = {str(path) for path in paths if path.is_relative_to(world.settings.snapshots)}
    opened = set(as_nobody(lambda: readable(paths), GROUP))
    assert served <= opened
    assert [path for path in opened - served if not Path(path).is_relative_to(world.settings.landing)] == []
    assert as_nobody(lambda: readable(paths)) == []

    (place / "jwks.json").write_bytes(jwks("rsa-1"))
    settings = Settings(home=home, jwks=str(place / "jwks.json"), operators=("ben",))

    def answers(api: Client) -> list[Any]:
        paths = ("/api/v1/live-stream/most-watched-creators", "/api/v1/live-stream/funded", "/lls/v1.0/stream", "/")
        return [(got.status_code, got.text) for path in paths for got in [api.get(path, headers=token)]]

    token = bearer(sign(claims("ben")))
    ours, fresh = (Client(create_app(settings, StoppedClock().clock)) for _ in range(2))
    expected = answers(ours)
    assert [status for status, _ in expected] == [200] * 4
    assert as_nobody(lambda: fresh.get("/readyz").status_code) == 503, "not in the group"
    theirs = as_nobody(lambda: answers(fresh), GROUP)  # which opens the snapshot now
    assert [status for status, _ in theirs] == [200] * 4
    assert theirs[0][1] == expected[0][1]
    manifest.release(world.settings.snapshots)  # whoever writes the pointer
    assert as_nobody(lambda: readable([world.settings.snapshots / "current.json"]), GROUP) != []


@needs_root
def test_a_night_goes_on_whoever_holds_what_they_could_open(place: Path) -> None:
    """Somebody opened the home and the lock of an older version while that let them, and keeps them locked."""
    world = World(place)
    world.busy_days("2026-01-20", 10)
    home = world.settings.home
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    (home / ".lock").write_text("ended\n")
    folder, file = os.open(home, os.O_RDONLY), os.open(home / ".lock", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        world.run(night={"allow_incomplete": True})
        assert as_nobody(lambda: readable([home, durable_files.home_lock(home), home / ".lock"])) == []
    finally:
        os.close(folder)
        os.close(file)


@pytest.mark.usefixtures("umask")
def test_what_else_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metrics file outside of the home can be read by a collector's user."""
    world = World(tmp_path, metrics_file=tmp_path / "textfile" / "night.prom")
    world.busy_days("2026-01-20", 10)
    world.run(night={"allow_incomplete": True})
    assert (tmp_path / "textfile").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "textfile" / "night.prom").stat().st_mode & 0o777 == 0o644
