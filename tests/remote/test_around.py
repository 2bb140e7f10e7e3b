"""Around a home on object storage: landing folders there, prune, rollback, and the read API."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import person
import pytest
from calling import running
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket, broken_from
from world import World

from pipelines import remote as in_bucket
from pipelines.cli import cli
from pipelines.core.errors import Unreachable, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs import nightly, prune, status
from pipelines.jobs.erase_user import forget
from pipelines.snapshots import manifest, range_query

pytestmark = pytest.mark.xdist_group("bucket")

FIRST, SECOND = date(2026, 1, 30), date.fromisoformat(AS_OF)
RANKING = "/api/v1/live-stream/most-watched-creators"


def run(machines: Machines, name: str, as_of: date, *landing: Path | str, **more: str) -> Any:
    return nightly.run(machines.settings(name, **more), as_of, list(landing), **ACCEPT)


# --- what landed -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_landed_in_a_bucket(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """Comes to the same as what landed in a folder; a machine that starts with nothing fetches only what is new."""
    landing, (first, second) = platform
    bucket.upload(landing, "drop")
    url = f"{bucket.url}/drop"
    assert run(machines, "one", FIRST, url).snapshot_id == first
    asked = len(bucket.server.requests)
    assert run(machines, "two", SECOND, url).snapshot_id == second
    assert not [path for method, path in bucket.server.requests[asked:] if "/drop/" in path]


def test_an_object_that_is_replaced_or_not_complete_yet(bucket: Bucket, machines: Machines) -> None:
    """Another content under the same name is read as well; hidden and partial names wait."""
    url = f"{bucket.url}/drop"
    bucket.write("drop/follows/a.ndjson", b'{"userId":"u","creatorId":"c"}\n')
    bucket.write("drop/follows/b.ndjson.part", b'{"userId":"v","creatorId":"c"}\n')
    bucket.write("drop/follows/.c.ndjson", b'{"userId":"w","creatorId":"c"}\n')
    assert run(machines, "one", SECOND, url).ingested.new_records == 1
    assert run(machines, "one", SECOND, url).ingested.new_records == 0
    bucket.write("drop/follows/a.ndjson", b'{"userId":"x","creatorId":"c"}\n{"userId":"y","creatorId":"c"}\n')
    assert run(machines, "two", SECOND, url).ingested.new_records == 2
    assert run(machines, "one", SECOND, url).ingested.new_records == 0


def test_a_mapping_in_a_bucket(bucket: Bucket, machines: Machines) -> None:
    """Landed objects are read by it; one that changed fetches those of its entity again, and none of another."""
    url = f"{bucket.url}/drop"
    bucket.write(
        "drop/viewing_sessions/deleted=false/a.csv", b"sessionId;channel;startedAt\n1;ada;2026-01-20 10:00:00\n"
    )
    bucket.write("drop/follows/a.ndjson", b'{"userId":"u","creatorId":"c"}\n')
    hours = []
    for zone in ("UTC", "Europe/Istanbul", "Europe/Istanbul", "UTC"):
        keys = f"delimiter = ';'\nrename = {{ channel = 'creatorId' }}\ntimezone = '{zone}'\n"
        bucket.write("drop/mostwatched.toml", f"[viewing_sessions]\n{keys}".encode())
        night = run(machines, "one", SECOND, url)
        (raw,) = [each for each in night.raw if each.entity == "viewing_sessions"]
        assert (raw.accepted, raw.rejected, night.ingested.ignored) == (1, 0, ())
        rows = raw.table("2026-01-20").to_pylist()
        hours.append((night.ingested.new_records, rows[0]["started_at"].hour))
    assert hours == [(2, 10), (1, 7), (0, 7), (0, 10)]
    bucket.write("drop/mostwatched.toml", b"[viewing_session]\n")
    with pytest.raises(UsageError, match="viewing_session is not an entity"):
        run(machines, "one", SECOND, url)
    with pytest.raises(UsageError, match="viewing_session is not an entity"):
        status.status(machines.settings("one"), SECOND, [url], datetime(2026, 2, 1, tzinfo=UTC))


# --- prune and rollback ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_prune_removes_there_what_it_removes_here(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """From a machine that holds next to nothing of it; what is kept is whole, and a night over it builds nothing."""
    landing, (first, second) = platform
    run(machines, "one", FIRST, landing)
    run(machines, "one", SECOND, landing)
    assert len(manifest.snapshot_ids(machines.settings("one").snapshots)) == 2
    with in_bucket.mounted(machines.settings("two")):
        pass
    report = prune.prune(machines.settings("two", MOSTWATCHED_KEEP_SNAPSHOTS="1"))
    assert report.snapshots == [first]
    left = bucket.names("home/snapshots")
    assert left
    assert {name.split("/")[2] for name in left} == {second, "current.json"}
    again = run(machines, "three", SECOND, landing)
    assert (again.snapshot_id, again.built) == (second, {})
    settings = machines.settings("four")
    with in_bucket.mounted(settings):
        assert manifest.open_current(settings.snapshots).damage() == []
    with in_bucket.mounted(machines.settings("one")):
        assert manifest.snapshot_ids(machines.settings("one").snapshots) == [second], "pruned elsewhere, gone here"


@pytest.mark.slow
def test_warehouses_are_removed_there_and_made_again(
    bucket: Bucket, machines: Machines, platform: Any, monkeypatch: Any
) -> None:
    """Each step on another machine; what the bucket holds is whole after each."""
    landing, (first, second) = platform
    run(machines, "one", FIRST, landing)
    run(machines, "one", SECOND, landing)
    report = prune.prune(machines.settings("two", MOSTWATCHED_KEEP_WAREHOUSES="1"))
    assert report.warehouses == [first]
    assert [name.split("/")[2] for name in bucket.names("home/snapshots") if "warehouse" in name] == [second]
    settings = machines.settings("three")
    with in_bucket.mounted(settings):
        assert not any(manifest.damage(settings.snapshots).values())
        snapshot = manifest.open_snapshot(settings.snapshots, first)
        with range_query.open_warehouse(settings, snapshot) as connection:
            ranked = connection.execute("select count(*) from ranking(date '2026-01-30', 30)").fetchone()
        assert ranked == (snapshot.table("creator_rankings.parquet")["window_days"].to_pylist().count(30),)
    for name, value in machines.environ("four").items():
        monkeypatch.setenv(name, value)
    cli.main(["snapshots", "rollback"], standalone_mode=False)
    assert len([name for name in bucket.names("home/snapshots") if "warehouse" in name]) == 2
    settings = machines.settings("five")
    with in_bucket.mounted(settings):
        assert manifest.open_current(settings.snapshots).id == first
        assert not any(manifest.damage(settings.snapshots).values())


@pytest.mark.slow
def test_rollback(bucket: Bucket, machines: Machines, platform: Any, monkeypatch: Any) -> None:
    """Given on one machine it holds on all."""
    landing, (first, second) = platform
    run(machines, "one", FIRST, landing)
    run(machines, "one", SECOND, landing)
    for name, value in machines.environ("two").items():
        monkeypatch.setenv(name, value)
    cli.main(["snapshots", "rollback"], standalone_mode=False)
    assert json.loads(bucket.read("home/snapshots/current.json"))["snapshot_id"] == first
    assert not run(machines, "three", SECOND, landing).published.is_current
    cli.main(["snapshots", "rollback", "--release"], standalone_mode=False)
    assert json.loads(bucket.read("home/snapshots/current.json"))["snapshot_id"] == second


@pytest.mark.slow
def test_a_snapshot_that_is_removed_is_gone_everywhere(
    bucket: Bucket, machines: Machines, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, (first, second) = platform
    run(machines, "one", FIRST, landing)
    run(machines, "one", SECOND, landing)
    for name, value in machines.environ("two").items():
        monkeypatch.setenv(name, value)
    cli.main(["snapshots", "remove", first], standalone_mode=False)
    assert {name.split("/")[2] for name in bucket.names("home/snapshots")} == {second, "current.json"}
    with in_bucket.mounted(machines.settings("one")):
        assert manifest.snapshot_ids(machines.settings("one").snapshots) == [second]


def test_a_snapshot_is_fetched_whole(
    machines: Machines, platform: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DuckDB opens the warehouse from the folder that is printed, without any extension."""
    landing, (_, second) = platform
    run(machines, "one", SECOND, landing)
    for name, value in machines.environ("two").items():
        monkeypatch.setenv(name, value)
    cli.main(["snapshots", "fetch"], standalone_mode=False)
    folder = Path(capsys.readouterr().out.strip())
    assert folder.name == second
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        ranked = connection.execute("select count(*) from ranking(date '2026-01-31', 30)").fetchone()
    table = manifest.open_snapshot(folder.parent, second).table("creator_rankings.parquet")
    assert ranked == (table["window_days"].to_pylist().count(30),)


# --- the read API ----------------------------------------------------------------------------------------------------


@contextmanager
def served(settings: Settings) -> Iterator[httpx.Client]:
    """Somebody who asks a server of that home."""
    with running(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


def wait_for(client: httpx.Client, snapshot_id: str) -> None:
    until = time.monotonic() + 20
    while client.get(RANKING).headers.get("x-snapshot-id") != snapshot_id:
        assert time.monotonic() < until, client.get(RANKING)
        time.sleep(0.1)


def test_the_api_follows_the_bucket(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """It serves what is current there, from a copy of its own, and goes on with it when the bucket is gone."""
    landing, (first, second) = platform
    run(machines, "job", FIRST, landing)
    settings = machines.settings("api", MOSTWATCHED_S3_LOOK_EVERY_SECONDS="1")
    told: list[str] = []
    with in_bucket.replicating(settings, told.append), served(settings) as client:
        wait_for(client, first)
        run(machines, "job", SECOND, landing)
        wait_for(client, second)
        with bucket.network(broken_from(1)):
            time.sleep(1.5)
            assert client.get(RANKING).headers["x-snapshot-id"] == second
    assert not settings.lake.exists(), "it needs nothing of the lake"
    assert [path.name for path in settings.snapshots.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_the_api_is_never_given_what_is_damaged(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """A file of the current snapshot is not as published there: it is said, not served; a run puts it right."""
    landing, (_, second) = platform
    run(machines, "job", SECOND, landing)
    name = f"home/snapshots/{second}/creators.parquet"
    content = bytearray(bucket.read(name))
    content[len(content) // 2] ^= 1
    bucket.write(name, bytes(content))
    settings = machines.settings("api", MOSTWATCHED_S3_LOOK_EVERY_SECONDS="1")
    told: list[str] = []
    with in_bucket.replicating(settings, told.append), served(settings) as client:
        until = time.monotonic() + 20
        while not any("is damaged" in each for each in told):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert client.get(RANKING).status_code == 503
        run(machines, "another", SECOND, landing)
        wait_for(client, second)


@pytest.mark.slow
def test_unreachable_from_the_start(machines: Machines) -> None:
    """A sentence that says what, where, and what to do."""
    settings = machines.settings("one", MOSTWATCHED_S3_ENDPOINT="http://127.0.0.1:9")
    with pytest.raises(Unreachable, match="see to the network, the credentials and the rights"):
        nightly.run(settings, SECOND, None)
    with served(settings) as client:
        assert client.get(RANKING).status_code == 503


def test_who_is_on_duty_learns_of_a_bucket_that_failed(
    bucket: Bucket, machines: Machines, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night that was worked out but could not be written there has failed, whatever it came to here."""
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 0)
    landing, _ = platform
    said = machines.folder / "said.json"
    more = {"MOSTWATCHED_NOTIFY_COMMAND": f"tee {said}"}
    writes = bucket.network(lambda number, method, path: "down" if method == "PUT" else "")
    with writes, pytest.raises(Unreachable):
        run(machines, "one", SECOND, landing, **more)
    assert json.loads(said.read_bytes())["event"] == "failed"


# --- forget ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_who_is_forgotten_is_in_no_object(bucket: Bucket, machines: Machines, tmp_path: Path) -> None:
    """Forgotten on a machine that holds nothing of it yet: no object holds the id, on no machine it comes back."""
    world = World(tmp_path / "world")
    person.platform(world)
    settings = machines.settings("one")
    nightly.run(settings, date(2026, 1, 31), [world.settings.landing], **ACCEPT)
    assert person.holding(settings.home, person.USER)
    done = forget(machines.settings("two"), person.USER, datetime(2026, 2, 1, tzinfo=UTC))
    assert done.is_forgotten
    for name in bucket.names("home"):
        target = tmp_path / "objects" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bucket.read(name))
    assert person.holding(tmp_path / "objects", person.USER, person.DEVICE) == []
    with in_bucket.mounted(settings):
        assert manifest.open_current(settings.snapshots).id == done.snapshot_after
    again = nightly.run(machines.settings("three"), date(2026, 1, 31), [world.settings.landing], **ACCEPT)
    assert again.snapshot_id == done.snapshot_after


@pytest.mark.slow
def test_landed_objects_of_who_is_forgotten_are_named(bucket: Bucket, machines: Machines, tmp_path: Path) -> None:
    """Packed ones too, and what is not complete yet; the bucket is the platform's, so nothing there changes."""
    line = b'{"sessionId":"s1","creatorId":"c","viewerId":"somebody-to-forget","startedAt":"2026-01-30T10:00:00Z"}\n'
    for name, content in {
        "viewing_sessions/2026-01-30.ndjson": line,
        "viewing_sessions/sub/2026-01-30.ndjson.gz": gzip.compress(line * 3),
        "viewing_sessions/2026-01-31.ndjson.part": line,
        "viewing_sessions/others.ndjson": line.replace(b"somebody-to-forget", b"somebody-else"),
        "creators/2026-01-30.ndjson": b'{"_id":"somebody-to-forget","username":"public"}\n',
    }.items():
        bucket.write(f"landing/{name}", content)
    before = {name: bucket.read(name) for name in bucket.names("landing")}
    home, url = tmp_path / "home", f"{bucket.url}/landing"
    environ = machines.environ("one") | {"MOSTWATCHED_HOME": str(home)}

    def forget_with(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.cli", "forget", "somebody-to-forget", "--landing", url, "--json"]
        return subprocess.run(
            [*command, *options], env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
        )

    named = {
        f"{url}/viewing_sessions/2026-01-30.ndjson": 1,
        f"{url}/viewing_sessions/sub/2026-01-30.ndjson.gz": 3,
        f"{url}/viewing_sessions/2026-01-31.ndjson.part": 0,
    }
    for options in ([], ["--dry-run"]):
        done = forget_with(*options)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])["landed_files"]
        assert {each["file"]: each["records"] for each in found} == named
        assert not any(each["is_emptied"] for each in found)
    done = forget_with("--landing-too")
    assert done.returncode == 1, "it was asked for, and the platform has to do it"
    assert {each["path"] for each in json.loads(done.stdout.splitlines()[-1])["remaining"]} == set(named)
    assert {name: bucket.read(name) for name in bucket.names("landing")} == before
    assert [path for path in home.rglob("*") if path.is_file() and b"somebody-to-forget" in path.read_bytes()] == []


def test_a_server_that_cannot_reach_its_bucket_says_so_as_it_says_everything(tmp_path: Path) -> None:
    """A line of JSON among the lines of JSON, and it goes on."""
    nobody = {"MOSTWATCHED_S3_ENDPOINT": "http://127.0.0.1:9", "MOSTWATCHED_S3_TIMEOUT_SECONDS": "1"}
    here = {"PYTHONPATH": str(Path(__file__).parents[2]), "MOSTWATCHED_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.cli", "--home", "s3://nowhere/home", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **nobody, **here})
    stop = threading.Timer(30, server.kill)
    stop.start()
    try:
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(json.loads(line))
            if "s3://nowhere/home did not let us read" in said[-1]["event"]:
                break
    finally:
        stop.cancel()
        server.kill()
        server.communicate()
    assert (said[-1]["level"], said[-1]["logger"]) == ("warning", "mostwatched.api")
    assert all(line["logger"] in ("mostwatched.api", "uvicorn.error") for line in said)
