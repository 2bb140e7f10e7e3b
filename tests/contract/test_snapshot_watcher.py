"""The snapshot that is served: swapped whole, without a restart, and never for a damaged one."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from calling import Client, StoppedClock, running
from published import EXAMPLE, many, point, publish
from tokens import bearer, claims, jwks, sign

from pipelines.api import snapshot_watcher
from pipelines.api.preparation import Preparer
from pipelines.core.settings import Settings
from pipelines.snapshots import manifest

RANKING = "/api/v1/live-stream/most-watched-creators"


def _wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_snapshot_appears_and_moves_without_a_restart(home: Path) -> None:
    with running(Settings(home=home)) as address, httpx.Client(base_url=address) as client:
        assert client.get(RANKING).status_code == 503
        first = publish(home, many(3, " first"))
        _wait_for(lambda: client.get(RANKING).headers.get("X-Snapshot-Id") == first)
        second = publish(home, many(5, " second"))
        _wait_for(lambda: client.get(RANKING).headers["X-Snapshot-Id"] == second)
        assert len(client.get(RANKING).json()["data"]) == 5
        point(home, first, datetime.now(UTC))  # a rollback
        _wait_for(lambda: client.get(RANKING).headers["X-Snapshot-Id"] == first)


@pytest.mark.slow
def test_no_answer_mixes_two_snapshots(home: Path) -> None:
    """Eight clients read while the pointer moves to and fro: headers, ETag and every row always agree."""
    (home / "jwks.json").write_bytes(jwks("rsa-1"))
    names = ["a", "b"]
    ids = [publish(home, many(100, f" {name}")) for name in names]
    label_of = dict(zip(ids, names, strict=True))
    token = bearer(sign(claims(exp=4_000_000_000)))

    async def read(client: httpx.AsyncClient, until: float, seen: set[str], headers: dict[str, str]) -> int:
        count = 0
        while time.monotonic() < until:
            response = await client.get(RANKING, headers=headers)
            snapshot_id = response.headers["X-Snapshot-Id"]
            named = [one["username"] for one in response.json()["data"] if one["username"] != one["_id"]]
            labels = {username[-1] for username in named}
            assert labels == {label_of[snapshot_id]}
            assert snapshot_id in response.headers["ETag"]
            seen.add(snapshot_id)
            count += 1
        return count

    async def play(address: str) -> tuple[set[str], int]:
        until = time.monotonic() + 3
        seen: set[str] = set()

        async def move() -> None:
            at = 0
            while time.monotonic() < until:
                point(home, ids[at % 2], datetime.now(UTC))
                at += 1
                await asyncio.sleep(0.3)

        async with httpx.AsyncClient(base_url=address) as client:
            readers = [read(client, until, seen, token if at % 2 else {}) for at in range(8)]
            *counts, _ = await asyncio.gather(*readers, move())
        return seen, sum(counts)

    with running(Settings(home=home, jwks=str(home / "jwks.json"))) as address:
        seen, count = asyncio.run(play(address))
    assert seen == set(ids)
    assert count > 50


@pytest.mark.parametrize("damage", ["table", "private", "manifest", "pointer", "missing", "unknown id"])
def test_a_damaged_snapshot_is_never_served(
    home: Path, client: Client, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """The old one stays, the log says why, the metrics count it, and the next good one is taken."""
    good = client.get(RANKING).headers["X-Snapshot-Id"]
    bad = publish(home, many(4), as_of="2026-11-22", move_pointer=False)
    folder = home / "snapshots" / bad
    if damage in ("table", "private"):
        path = folder / ("creators.parquet" if damage == "table" else "private/follows.parquet")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    point(home, bad, datetime.now(UTC))
    if damage == "manifest":
        (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b" ")
    elif damage == "pointer":
        (home / "snapshots" / "current.json").write_bytes(b'{"snapshot_id":')
    elif damage == "missing":
        (folder / "lls_streams.parquet").unlink()
    elif damage == "unknown id":
        folder.rename(home / "snapshots" / "2026-11-22-000000000000")
    for _ in range(3):
        response = client.get(RANKING)
        assert (response.status_code, response.headers["X-Snapshot-Id"]) == (200, good)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1, "said once, not at every look"
    assert errors[0].__dict__["still_serving"] == good
    assert 'mostwatched_snapshot_loads_total{outcome="failed"} 1.0' in client.get("/metrics").text
    next_one = publish(home, many(6), as_of="2026-11-23")
    assert client.get(RANKING).headers["X-Snapshot-Id"] == next_one


def test_a_damaged_first_snapshot_is_503(home: Path, client_for: Callable[..., Client]) -> None:
    snapshot_id = publish(home, EXAMPLE)
    (home / "snapshots" / snapshot_id / "creators.parquet").write_bytes(b"PAR1")
    client = client_for()
    assert client.get(RANKING).status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_pointer_is_known_by_what_it_says(home: Path, client: Client) -> None:
    """Not by its times and size, which may be those of the one before."""
    pointer, same_inode = home / "snapshots" / "current.json", home / "kept"
    first, status = client.get(RANKING), pointer.stat()
    os.link(pointer, same_inode)
    second = publish(home, many(3))
    same_inode.write_bytes(pointer.read_bytes().ljust(status.st_size))
    same_inode.replace(pointer)
    os.utime(pointer, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = pointer.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (status.st_size, status.st_mtime_ns, status.st_ino)
    assert client.get(RANKING).headers["X-Snapshot-Id"] == second != first.headers["X-Snapshot-Id"]


def test_a_snapshot_pruned_while_it_is_loaded_is_no_fault(
    home: Path, client_for: Callable[..., Client], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a newer one then, and a server that starts at that moment begins with it."""
    old, new = publish(home, many(2)), publish(home, many(3), as_of="2026-11-22", move_pointer=False)
    load = snapshot_watcher.load

    def load_too_late(folder: Path, pointer: manifest.Pointer, preparer: Preparer) -> snapshot_watcher.Serving:
        if pointer.snapshot_id == old:
            point(home, new, datetime.now(UTC))
            shutil.rmtree(folder / old)
        return load(folder, pointer, preparer)

    monkeypatch.setattr(snapshot_watcher, "load", load_too_late)
    assert client_for().get(RANKING).headers["X-Snapshot-Id"] == new
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_snapshot_that_is_no_longer_served_is_freed(
    home: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages of it were asked for."""
    loaded: list[weakref.ref[snapshot_watcher.Serving]] = []
    load = snapshot_watcher.load

    def load_and_watch(folder: Path, pointer: manifest.Pointer, preparer: Preparer) -> snapshot_watcher.Serving:
        serving = load(folder, pointer, preparer)
        loaded.append(weakref.ref(serving))
        return serving

    monkeypatch.setattr(snapshot_watcher, "load", load_and_watch)
    publish(home, many(20))
    client = client_for()
    for limit in range(1, 15):
        client.get(f"{RANKING}?limit={limit}")
    second = publish(home, many(21))
    assert client.get(RANKING).headers["X-Snapshot-Id"] == second
    gc.collect()
    assert [one() is None for one in loaded] == [True, False]


def test_what_is_served_outlives_its_files(home: Path, client: Client) -> None:
    """Prune may take a snapshot from under a running worker: everything it needs is mapped."""
    first = client.get(RANKING)
    (home / "snapshots").rename(home / "gone")
    again = client.get(RANKING)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert client.get("/lls/v1.0/stream").json()["streams"]


def test_ready_until_stale(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    now = datetime.fromtimestamp(clock.us / 1_000_000, UTC)
    snapshot_id = publish(home, EXAMPLE, published_at=now - timedelta(hours=47, minutes=59))
    client = client_for()
    assert client.get("/readyz").json()["data"] == {
        "status": "ready",
        "snapshotId": snapshot_id,
        "publishedAt": "2026-05-26T20:27:40.000Z",
        "dataUntil": "2026-11-20T23:59:58.000Z",
        "dataAgeSeconds": 0,  # the clock stands before it
    }
    clock.advance(60)
    assert client.get("/readyz").status_code == 200
    clock.advance(0.001)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["errors"] == ["The snapshot was published more than 48 hours ago"]
    assert client.get(RANKING).status_code == 200, "an old answer is still an answer"
    point(home, snapshot_id, now + timedelta(minutes=2))  # the same records, published again
    assert client.get("/readyz").status_code == 200


def test_readiness_says_how_old_the_data_is(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    """By the clock: a snapshot of three days ago that is published again is ready, and no monitor takes it for new."""
    newest = datetime(2026, 11, 20, 23, 59, 58, tzinfo=UTC)
    now = newest + timedelta(days=3, milliseconds=1999)
    clock.us = round(now.timestamp() * 1_000_000)
    publish(home, EXAMPLE, published_at=now - timedelta(hours=1))
    answer = client_for().get("/readyz")
    assert answer.json()["data"]["dataAgeSeconds"] == 3 * 86_400 + 1
    assert answer.headers["X-Data-Age-Seconds"] == str(3 * 86_400 + 1)
    assert answer.headers["X-Data-Until"] == answer.json()["data"]["dataUntil"] == "2026-11-20T23:59:58.000Z"
    late = client_for(stale_hours=1)
    clock.advance(7_200)
    answer = late.get("/readyz")
    assert (answer.status_code, answer.headers["X-Data-Age-Seconds"]) == (503, str(3 * 86_400 + 7_201))


def test_stale_hours_is_a_setting(home: Path, client_for: Callable[..., Client], clock: StoppedClock) -> None:
    publish(home, published_at=datetime.fromtimestamp(clock.us / 1_000_000, UTC) - timedelta(hours=2))
    assert client_for(stale_hours=1).get("/readyz").status_code == 503
    assert client_for(stale_hours=2).get("/readyz").status_code == 200
