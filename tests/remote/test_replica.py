"""The copy of a bucket's current snapshot that the read API serves: whole, mended, and no larger than it must be."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import person
import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket
from world import World

from pipelines import remote as in_bucket
from pipelines.core import durable_files
from pipelines.core.settings import Settings
from pipelines.jobs import nightly, prune
from pipelines.jobs.erase_user import forget
from pipelines.remote import replica
from pipelines.remote.replica import Replica
from pipelines.snapshots import manifest

pytestmark = pytest.mark.xdist_group("bucket")

LAST = date.fromisoformat(AS_OF)


@pytest.fixture
def api(machines: Machines) -> Settings:
    return machines.settings("api")


def follower(settings: Settings) -> Replica:
    """That of a server that has just been started."""
    assert settings.home_url is not None
    durable_files.make_folder(settings.snapshots)
    return Replica(in_bucket._objects(settings, settings.home_url), settings.home)


def night(machines: Machines, platform: Any, as_of: date = LAST) -> str:
    return nightly.run(machines.settings("job"), as_of, [platform[0]], **ACCEPT).snapshot_id


def here(settings: Settings) -> set[str]:
    """What lies beside the snapshots counts too."""
    hidden = {path.name for path in settings.snapshots.iterdir() if path.name.startswith(".")}
    return set(manifest.snapshot_ids(settings.snapshots)) | hidden | left(settings)


def left(settings: Settings) -> set[str]:
    return {path.name for path in (settings.home / "following").iterdir()} - {"lock"}


def served(settings: Settings) -> str:
    """The current snapshot of the copy, which is whole."""
    snapshot = manifest.open_current(settings.snapshots)
    assert snapshot.damage() == []
    return snapshot.id


@pytest.mark.slow
def test_the_copy_does_not_grow(
    machines: Machines, api: Settings, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three nights of which the bucket keeps one there are two here, and soon one: who reads the other can end."""
    one = follower(api)
    published = []
    for number in range(2, -1, -1):
        published.append(night(machines, platform, LAST - timedelta(days=number)))
        prune.prune(machines.settings("job", MOSTWATCHED_KEEP_SNAPSHOTS="1"))
        one.sync()
        assert served(api) == published[-1]
        assert here(api) == set(published[-2:])
    one.sync()
    assert here(api) == set(published[-2:]), "somebody may still be reading it"
    monkeypatch.setattr(replica, "STILL_READ_SECONDS", 0)
    follower(api).sync()
    assert here(api) == {served(api)} == {published[-1]}


@pytest.mark.slow
def test_what_the_bucket_keeps_stays(
    machines: Machines, api: Settings, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have fetched it."""
    monkeypatch.setattr(replica, "STILL_READ_SECONDS", 0)
    first = night(machines, platform, LAST - timedelta(days=1))
    one = follower(api)
    one.sync()
    second = night(machines, platform)
    for each in (one, one, follower(api)):
        each.sync()
        assert here(api) == {first, second}


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_what_another_snapshot_here_holds_is_not_fetched(
    bucket: Bucket, machines: Machines, api: Settings, platform: Any, damaged: bool
) -> None:
    """Most days of the cube are those of the night before: one file here, unless it is not whole any more."""
    first = night(machines, platform, LAST - timedelta(days=1))
    one = follower(api)
    one.sync()
    before = manifest.open_snapshot(api.snapshots, first)
    days = [name for name in before.files if name.startswith("creator_reach/")]
    for name in days if damaged else ():
        (before.path / name).write_bytes(b"torn")
    second = night(machines, platform)
    asked = len(bucket.server.requests)
    one.sync()
    assert served(api) == second
    after = manifest.open_snapshot(api.snapshots, second)
    fetched = {path.partition(f"{second}/")[2] for _, path in bucket.server.requests[asked:] if f"/{second}/" in path}
    same = {name for name in days if after.files.get(name, {}).get("sha256") == before.files[name]["sha256"]}
    assert len(same) > len(days) / 2
    assert fetched & same == (same if damaged else set())
    held = {(before.path / name).stat().st_ino for name in days}
    assert all(((after.path / name).stat().st_ino in held) is not damaged for name in same)


@pytest.mark.slow
@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_missing_or_damaged_is_fetched_again(
    bucket: Bucket, machines: Machines, api: Settings, platform: Any, restarted: bool
) -> None:
    """File by file, whether the server was running or not; nothing else is fetched."""
    current = night(machines, platform)
    one = follower(api)
    one.sync()
    folder = api.snapshots / current
    names = ["creators.parquet", "private/follows.parquet", "warehouse.duckdb", "manifest.json", "../current.json"]
    for name in names:
        for spoil in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")):
            spoil(folder / name)
            asked = len(bucket.server.requests)
            (follower(api) if restarted else one).sync()
            assert served(api) == current
            fetched = {path for method, path in bucket.server.requests[asked:] if f"/{current}/" in path}
            if name not in ("manifest.json", "../current.json"):
                assert {path.partition(f"{current}/")[2] for path in fetched} == {name}
    shutil.rmtree(folder / "private")
    one.sync()
    assert served(api) == current
    assert (folder / "private").stat().st_mode & 0o777 == 0o700
    asked = len(bucket.server.requests)
    one.sync()
    assert len(bucket.server.requests) == asked + 1, "when all is well it only looks at the pointer"


def test_what_a_killed_server_left_is_swept(machines: Machines, api: Settings, platform: Any) -> None:
    """At the start of the next one, but not from under a run that is at work in this copy."""
    current = night(machines, platform)
    follower(api).sync()
    for half in (api.snapshots / ".tmp-0123-x", api.home / "following" / "2026-01-01-0123456789ab"):
        (half / "private").mkdir(parents=True)
        (half / "private" / "follows.parquet").write_bytes(b"PAR1")
    with durable_files.lock_home(api.home):
        follower(api).sync()
        assert here(api) == {current, ".tmp-0123-x"}
    follower(api).sync()
    assert here(api) == {current}


@pytest.mark.slow
def test_a_run_at_work_in_the_same_copy_is_left_alone(machines: Machines, api: Settings, platform: Any) -> None:
    """What it has published here and not written to the bucket yet is neither removed nor taken back."""
    first = night(machines, platform, LAST - timedelta(days=1))
    one = follower(api)
    one.sync()
    with nightly.locked_home(api):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(in_bucket, "push", lambda settings: None)
            second = nightly_in(api, platform)
        for each in (one, follower(api)):
            each.sync()
            assert served(api) == second
    follower(machines.settings("other")).sync()
    assert served(machines.settings("other")) == second != first


def nightly_in(settings: Settings, platform: Any) -> str:
    """A night of somebody who holds the home already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nightly, "locked_home", _holds)
        return nightly.run(settings, LAST, [platform[0]], **ACCEPT).snapshot_id


class _holds:
    def __init__(self, settings: Settings) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.slow
def test_servers_that_share_a_copy(machines: Machines, api: Settings, platform: Any) -> None:
    """All at once, while the pointer moves: each finds a whole snapshot at any time, and nothing is left over."""
    problems: list[str] = []
    over = threading.Event()

    def serve(one: Replica) -> None:
        while not over.is_set():
            try:
                one.sync()
                served(api)
            except Exception as error:
                problems.append(repr(error))

    published = {night(machines, platform, LAST - timedelta(days=1))}
    follower(api).sync()
    threads = [threading.Thread(target=serve, args=(follower(api),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        published.add(night(machines, platform))
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    follower(api).sync()
    assert problems == []
    assert here(api) == published


@pytest.mark.slow
def test_who_was_forgotten_is_gone_from_the_copy(
    machines: Machines, api: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once nobody can be reading it any more."""

    world = World(tmp_path / "world")
    person.platform(world)
    nightly.run(machines.settings("job"), LAST, [world.settings.landing], **ACCEPT)
    one = follower(api)
    one.sync()
    assert person.holding(api.home, person.USER)
    assert forget(machines.settings("job"), person.USER, datetime(2026, 2, 1, tzinfo=UTC)).is_forgotten
    one.sync()
    monkeypatch.setattr(replica, "STILL_READ_SECONDS", 0)
    one._tidy_at = 0
    one.sync()
    assert person.holding(api.home, person.USER) == []
