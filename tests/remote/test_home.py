"""A home on object storage is the same home: the same numbers and ids, on any machine, whatever the network does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import SECRET, Bucket, bad, broken_from

from pipelines import remote as home_in_bucket
from pipelines.core.errors import PublishConflict, Unreachable, UsageError
from pipelines.core.settings import Settings, load
from pipelines.jobs import nightly
from pipelines.remote.mirror import Mirror
from pipelines.remote.objects import Objects
from pipelines.snapshots import manifest, ranking

pytestmark = pytest.mark.xdist_group("bucket")

FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"
FIRST, SECOND = date(2026, 1, 30), date.fromisoformat(AS_OF)


def night(settings: Settings, as_of: date, landing: Any) -> str:
    """The id of the snapshot that a run publishes."""
    return nightly.run(settings, as_of, [landing], **ACCEPT).snapshot_id


def top(settings: Settings) -> list[dict[str, Any]]:
    with home_in_bucket.mounted(settings, "snapshots"):
        snapshot = manifest.open_current(settings.snapshots)
        return ranking.ranking(settings, snapshot, ranking.window_from_options(snapshot, None, None, None))


def problem(machines: Machines, *ids: str | None) -> str | None:
    """What a machine that has never seen this home finds wrong: it must be served one of the snapshots, whole."""
    settings = machines.settings("visitor")
    try:
        with home_in_bucket.mounted(settings, "snapshots"):
            pointer = manifest.current(settings.snapshots) if (settings.snapshots / "current.json").exists() else None
            served = pointer.snapshot_id if pointer else None
            if served not in ids:
                return f"{served} is served"
            if served and (damage := manifest.open_snapshot(settings.snapshots, served).damage()):
                return damage[0]
    finally:
        machines.forget("visitor")
    return None


def mostwatched(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False)


# --- on any machine ------------------------------------------------------------------------------------------------


def test_the_same_night_on_any_machine(machines: Machines, platform: Any) -> None:
    """Each night on a machine of its own, which starts with nothing: the ids are those of a home in a folder."""
    landing, (first, second) = platform
    assert night(machines.settings("one"), FIRST, landing) == first
    machines.forget("one")
    assert night(machines.settings("two"), SECOND, landing) == second
    there, elsewhere = machines.settings("two"), machines.settings("three")
    assert top(there) == top(elsewhere) != []
    assert problem(machines, second) is None
    brought = list(elsewhere.lake.rglob("*.parquet"))
    assert brought == [], "who asks for a ranking needs nothing of the lake"


@pytest.mark.slow
def test_a_night_without_news_writes_nothing(bucket: Bucket, machines: Machines, platform: Any) -> None:
    landing, (_, second) = platform
    night(machines.settings("one"), SECOND, landing)
    before = {name: bucket.read(name) for name in bucket.names()}
    asked = len(bucket.server.requests)
    assert night(machines.settings("two"), SECOND, landing) == second
    writes = {path.partition("/home/")[2] for method, path in bucket.server.requests[asked:] if method != "GET"}
    own = {"lake/last_run.json", f"reports/{AS_OF}.html", f"reports/{AS_OF}.json"}  # of the run, not of its numbers
    assert writes == own
    after = {name: bucket.read(name) for name in bucket.names()}
    assert {name for name in after if after[name] != before.get(name)} == {f"home/{name}" for name in own}


@pytest.mark.slow
def test_what_says_that_something_exists_is_written_after_it(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """The lake's data before its sidecars, a snapshot before its manifest, the pointer last; removed the other way."""
    asked = len(bucket.server.requests)
    second = night(machines.settings("one"), SECOND, platform[0])
    written = [path.partition("/home/")[2] for method, path in bucket.server.requests[asked:] if method == "PUT"]
    lake = [name for name in written if name.startswith("lake/")]
    assert lake == sorted(lake, key=lambda name: name.endswith(".json"))
    assert {name.endswith(".json") for name in lake} == {True, False}
    published = [name for name in written if name.startswith(f"snapshots/{second}/")]
    assert published.index(f"snapshots/{second}/manifest.json") == len(published) - 1 > 0
    assert written[-1] == "snapshots/current.json"
    removed: list[list[str]] = []
    with home_in_bucket.mounted(machines.settings("one")) as mirror, pytest.MonkeyPatch.context() as patch:
        assert mirror is not None
        shutil.rmtree(machines.settings("one").snapshots / second)
        patch.setattr(Objects, "delete", lambda self, names: removed.append(names))
        mirror.tidy()
    assert removed[0] == [f"snapshots/{second}/manifest.json"]
    assert set().union(*removed) == set(published)


def test_no_secret_is_written_or_said(bucket: Bucket, machines: Machines, platform: Any) -> None:
    landing, _ = platform
    done = mostwatched(machines.environ("one"), "run", "--direct", "--as-of", AS_OF, "--landing", str(landing),
                       "--accept-rejects", "--allow-incomplete")  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused = mostwatched(machines.environ("one") | {"MOSTWATCHED_S3_ENDPOINT": "http://127.0.0.1:9"}, "top")
    assert refused.returncode == 1
    assert "did not let us" in refused.stderr
    said = done.stdout + done.stderr + refused.stdout + refused.stderr
    here = b"".join(path.read_bytes() for path in machines.folder.rglob("*") if path.is_file())
    assert SECRET not in said
    assert SECRET.encode() not in here + b"".join(bucket.read(name) for name in bucket.names())


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://UPPER/x", "gs://bucket/x", "s3://user:s3cret@bucket/x"])
def test_a_url_that_cannot_be(url: str, tmp_path: Path) -> None:
    settings = load(url, {"MOSTWATCHED_CACHE": str(tmp_path)})
    with pytest.raises(UsageError, match="s3://BUCKET") as refused, home_in_bucket.mounted(settings):
        pass
    assert "s3cret" not in str(refused.value)


def test_without_credentials(machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="no credentials"), home_in_bucket.mounted(machines.settings("one")):
        pass


# --- the copy may go -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_copy_that_lost_something_loses_nothing_there(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """Parts of the copy are removed between two nights: all of it is still in the bucket, and the id is the same."""
    landing, (first, second) = platform
    settings = machines.settings("one")
    assert night(settings, FIRST, landing) == first
    held = bucket.names("home")
    shutil.rmtree(settings.lake / "viewer_days")
    shutil.rmtree(settings.lake / "raw" / "follows")
    shutil.rmtree(settings.snapshots)
    assert night(settings, SECOND, landing) == second
    assert set(held) <= set(bucket.names("home"))
    assert problem(machines, second) is None


@pytest.mark.slow
def test_what_is_damaged_there_is_mended_there(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """A bit flips in the bucket: a reader is told, the next run that needs the file makes it again, there too."""
    landing, (first, second) = platform
    night(machines.settings("one"), FIRST, landing)
    machines.forget("one")
    pairs = [name for name in bucket.names("home/lake/viewer_days") if name.endswith(".parquet")]
    damaged = max(pairs, key=lambda name: len(bucket.read(name)))
    content = bytearray(bucket.read(damaged))
    content[len(content) // 2] ^= 1
    bucket.write(damaged, bytes(content))
    settings = machines.settings("two")
    assert night(settings, SECOND, landing) == second
    assert bucket.read(damaged) != bytes(content)
    assert problem(machines, second) is None
    machines.forget("two")
    pointed = f"home/snapshots/{second}/creator_rankings.parquet"
    bucket.write(pointed, bucket.read(pointed)[:-1])
    assert "is damaged" in str(problem(machines, second))
    assert night(machines.settings("three"), SECOND, landing) == second
    assert problem(machines, second) is None
    assert first in manifest.snapshot_ids(machines.settings("three").snapshots)


# --- two at once -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_who_reads_beside_a_run(machines: Machines, platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked in its copy of the home before it has told the bucket, what a run has published stays published."""
    landing, (first, second) = platform
    assert night(machines.settings("one"), FIRST, landing) == first
    push, asked = home_in_bucket.push, []

    def asked_before(settings: Settings) -> None:
        asked.append(mostwatched(machines.environ("one"), "snapshots", "list"))
        push(settings)

    monkeypatch.setattr(home_in_bucket, "push", asked_before)
    assert night(machines.settings("one"), SECOND, landing) == second
    assert [done.returncode for done in asked] == [0]
    assert problem(machines, second) is None
    assert mostwatched(machines.environ("one"), "top").returncode == 0


def published_meanwhile(machines: Machines, name: str, as_of: date, landing: Path) -> Any:
    """A stage for `nightly.run`: once, before it publishes, another machine runs its own night whole."""
    arguments = ("run", "--direct", "--as-of", as_of.isoformat(), "--landing", str(landing))
    done: list[subprocess.CompletedProcess[str]] = []

    def stage(step: str, function: Any) -> Any:
        if step == "publish" and not done:
            done.append(mostwatched(machines.environ(name), *arguments, "--accept-rejects", "--allow-incomplete"))
            assert done[0].returncode == 0, done[0].stderr
        return function()

    return stage


@pytest.mark.slow
def test_many_that_read_in_one_copy_after_a_prune_elsewhere(bucket: Bucket, machines: Machines) -> None:
    """All take out of it what is gone, and none minds the others."""
    settings = machines.settings("one")
    objects = Objects(f"{bucket.url}/home", settings.s3_endpoint)
    names = [f"home/snapshots/2026-01-31-{number:012x}/creator_reach/2026-01-30.json" for number in range(60)]
    for _ in range(4):
        for name in names:
            bucket.write(name, b"{}")
        with home_in_bucket.mounted(settings):
            assert len(list(settings.snapshots.iterdir())) == len(names)
        for name in names:
            bucket.remove(name)
        readers = [Mirror(objects, settings.home) for _ in range(12)]
        with ThreadPoolExecutor(len(readers)) as pool:
            list(pool.map(Mirror.pull, readers))
        assert list(settings.snapshots.rglob("*")) == []


def test_of_two_publishers_one_wins(bucket: Bucket, machines: Machines, platform: Any) -> None:
    """The other one is told, exit code 4, and nothing of it is seen; given again it succeeds."""
    landing, (first, second) = platform
    settings = machines.settings("one")
    stage = published_meanwhile(machines, "two", SECOND, landing)
    with pytest.raises(PublishConflict, match="Somebody else has published meanwhile") as refused:
        nightly.run(settings, FIRST, [landing], **ACCEPT, stage=stage)
    assert refused.value.exit_code == 4
    assert problem(machines, second) is None
    assert night(settings, FIRST, landing) == first
    assert problem(machines, second) is None, "an earlier as_of does not become current"
    assert json.loads(bucket.read(f"home/snapshots/{first}/manifest.json"))["snapshot_id"] == first


@pytest.mark.slow
def test_two_that_publish_the_same_snapshot(machines: Machines, platform: Any) -> None:
    """It stays the one that was there first, byte for byte, whole; the second publisher finds out that it is his own.

    Their warehouses differ, as databases do: what one has published, nobody writes over.
    """
    landing, (_, second) = platform
    settings = machines.settings("one")
    stage = published_meanwhile(machines, "two", SECOND, landing)
    with pytest.raises(PublishConflict):
        nightly.run(settings, SECOND, [landing], **ACCEPT, stage=stage)
    assert problem(machines, second) is None
    assert night(settings, SECOND, landing) == second
    assert problem(machines, second) is None


# --- a bad network ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20) if FULL else [1])
def test_a_bad_network_changes_nothing(machines: Machines, bucket: Bucket, platform: Any, seed: int) -> None:
    """Many requests fail, in one of five ways: the night ends as ever, or in a sentence and is repeated."""
    landing, (first, second) = platform
    seen: list[str | None] = [None, first]
    for as_of, right in ((FIRST, first), (SECOND, second)):
        for attempt in range(9):
            name = f"{as_of}-{attempt}" if attempt % 2 else "one"
            with bucket.network(bad(f"{seed} {as_of} {attempt}", 0.1 if FULL else 0.03)):
                try:
                    assert night(machines.settings(name), as_of, landing) == right
                    break
                except Unreachable:
                    pass
            assert problem(machines, *seen, right) is None
        assert night(machines.settings("one"), as_of, landing) == right
        seen.append(right)
    assert problem(machines, second) is None


@pytest.mark.slow
def test_a_network_that_ends_at_any_moment(machines: Machines, bucket: Bucket, platform: Any, monkeypatch: Any) -> None:
    """Readers see the old snapshot or the new one, whole; another machine goes on and ends where all end."""
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 0)
    landing, (first, second) = platform
    night(machines.settings("one"), FIRST, landing)
    kept = {name: bucket.read(name) for name in bucket.names()}
    asked = len(bucket.server.requests)
    night(machines.settings("one"), SECOND, landing)
    count = len(bucket.server.requests) - asked
    machines.forget("one")
    for moment in (count // 2, count - 5, count - 1, count):
        bucket.restore(kept)
        settings = machines.settings(f"at {moment}")
        with bucket.network(broken_from(moment)), suppress(Unreachable):
            night(settings, SECOND, landing)
        assert problem(machines, first, second) is None, f"broken from request {moment} of {count}"
        assert night(machines.settings("next"), SECOND, landing) == second
        machines.forget("next")
        assert problem(machines, second) is None
