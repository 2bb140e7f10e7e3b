"""The lists of landed files of a home in a bucket: up before what names them, down with it, gone with the last one."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket
from test_replica import follower, served
from world import World

from pipelines import remote as in_bucket
from pipelines.core.errors import PublishConflict
from pipelines.jobs import nightly, prune
from pipelines.remote import replica
from pipelines.remote.mirror import LISTS
from pipelines.snapshots import inputs, landed_list, manifest

pytestmark = pytest.mark.xdist_group("bucket")

LAST = date.fromisoformat(AS_OF)


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No manifest lists landed files itself, however few."""
    monkeypatch.setattr(inputs, "LISTED_INSIDE", 0)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A landed file of December and one of January, of two nights."""
    world = World(tmp_path / "landing")
    land(world.settings.landing, "2025-12-30")
    return world.settings.landing


def land(landing: Path, day: str) -> None:
    session = {"sessionId": day, "creatorId": "ada", "viewerId": f"v{day}", "startedAt": f"{day}T10:00:00Z"}
    path = landing / "viewing_sessions" / f"{day}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(session | {"endedAt": f"{day}T11:00:00Z"}) + "\n")


def night(machines: Machines, name: str, landing: Path, as_of: date = LAST, **more: str) -> nightly.NightReport:
    return nightly.run(machines.settings(name, **more), as_of, [landing], **ACCEPT)


def lists(bucket: Bucket) -> set[str]:
    return {name.rpartition("/")[2] for name in bucket.names(f"home/{LISTS}")}


def test_a_list_goes_up_before_what_names_it(bucket: Bucket, machines: Machines, landing: Path) -> None:
    """Its parts, what names them, then the manifest, and last the pointer. Any machine reads it."""
    asked = len(bucket.server.requests)
    snapshot = night(machines, "one", landing).published.snapshot
    written = [path.partition("/home/")[2] for method, path in bucket.server.requests[asked:] if method == "PUT"]
    written = [name for name in written if name.startswith("snapshots/") and not name.endswith(".parquet")]
    order = [name for name in written if name.startswith(LISTS) or name.endswith(("/manifest.json", "current.json"))]
    assert [name.partition(".")[2] for name in order] == ["json.zst", "json", "json", "json"]
    assert order[-2:] == [f"snapshots/{snapshot.id}/manifest.json", "snapshots/current.json"]
    settings = machines.settings("two")
    with in_bucket.mounted(settings, "snapshots"):
        there = manifest.open_current(settings.snapshots)
        assert [file["name"] for file in there.landed] == ["viewing_sessions/2025-12-30.ndjson"]
        assert there.damage() == []


@pytest.mark.slow
def test_a_month_goes_up_once(bucket: Bucket, machines: Machines, landing: Path) -> None:
    """From a machine that has never seen it, a night writes the list of its own month alone."""
    night(machines, "one", landing)
    before = lists(bucket)
    machines.forget("one")
    land(landing, "2026-01-05")
    night(machines, "two", landing)
    assert len(lists(bucket) - before) == 2
    machines.forget("two")
    assert not night(machines, "three", landing).published.is_new
    assert len(lists(bucket)) == 4


def test_what_a_bucket_lost_of_a_list_is_made_again(bucket: Bucket, machines: Machines, landing: Path) -> None:
    """By the next run, on any machine; until then `verify` names it."""
    snapshot = night(machines, "one", landing).published.snapshot
    (part,) = [name for name in lists(bucket) if name.endswith(".zst")]
    bucket.remove(f"home/{LISTS}{part}")
    settings = machines.settings("two")
    with in_bucket.mounted(settings, "snapshots"):
        ((found,),) = manifest.damage(settings.snapshots, snapshot.id).values()
        assert part in found
    night(machines, "three", landing)
    settings = machines.settings("four")
    with in_bucket.mounted(settings, "snapshots"):
        assert manifest.open_current(settings.snapshots).damage() == []


@pytest.mark.slow
def test_a_list_is_pruned_with_the_last_snapshot_that_names_it(
    bucket: Bucket, machines: Machines, landing: Path
) -> None:
    """From a machine that holds none of its parts. What a kept snapshot shares stays, and is read everywhere."""
    for number, day in enumerate(("2026-01-05", "2026-01-06", "2026-01-07")):
        night(machines, "one", landing, LAST - timedelta(days=2 - number))
        land(landing, day)
    assert len(lists(bucket)) == 6  # three of what names them, December, and two Januaries
    machines.forget("one")
    prune.prune(machines.settings("two", MOSTWATCHED_KEEP_SNAPSHOTS="1"))
    assert len(lists(bucket)) == 3
    settings = machines.settings("three")
    with in_bucket.mounted(settings, "snapshots"):
        (left,) = manifest.listed(settings.snapshots)
        assert (left.damage(), len(left.landed)) == ([], 3)


@pytest.mark.slow
def test_the_pointer_does_not_move_to_a_list_that_was_pruned_meanwhile(
    bucket: Bucket, machines: Machines, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was taken over from an earlier list may be gone: whoever publishes is told, and gives it again."""
    night(machines, "one", landing, LAST - timedelta(days=1))
    land(landing, "2026-01-05")
    (part,) = [name for name in lists(bucket) if name.endswith(".zst")]
    require = manifest.pointer_of

    def meanwhile(path: Path, content: bytes) -> Any:
        if part in lists(bucket) and len(lists(bucket)) == 4:
            bucket.remove(f"home/{LISTS}{part}")
        return require(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(manifest, "pointer_of", meanwhile)
        with pytest.raises(PublishConflict, match=f"Somebody else has removed {LISTS}{part}"):
            night(machines, "one", landing)
    machines.forget("one")
    assert night(machines, "two", landing).published.snapshot.damage() == []
    settings = machines.settings("three")
    with in_bucket.mounted(settings, "snapshots"):
        assert manifest.open_current(settings.snapshots).damage() == []


@pytest.mark.slow
def test_a_replica_holds_the_lists_of_what_it_holds(
    machines: Machines, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the snapshot that names them; they are mended, and go with it."""
    monkeypatch.setattr(replica, "STILL_READ_SECONDS", 0)
    api = machines.settings("api")
    one = follower(api)
    for number, day in enumerate(("2026-01-05", "2026-01-06", "2026-01-07")):
        snapshot = night(machines, "job", landing, LAST - timedelta(days=2 - number)).published.snapshot
        prune.prune(machines.settings("job", MOSTWATCHED_KEEP_SNAPSHOTS="1"))
        one.sync()
        assert served(api) == snapshot.id
        land(landing, day)
    follower(api).sync()
    here = {path.name for path in (api.snapshots / landed_list.FOLDER).iterdir()}
    assert len(here) == 3
    for name in here:
        (api.snapshots / landed_list.FOLDER / name).write_bytes(b"torn")
    follower(api).sync()
    assert served(api) == snapshot.id
