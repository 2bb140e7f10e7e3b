"""A bucket that stalls: what times out is tried again and knows its own bytes, and a slow line is no stall."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket

from pipelines.core.errors import PublishConflict, Unreachable, UsageError
from pipelines.jobs import nightly
from pipelines.remote import uploads
from pipelines.remote.objects import Objects
from pipelines.remote.replica import Replica

pytestmark = [pytest.mark.xdist_group("bucket"), pytest.mark.timeout(240)]

SMALL, LARGE, IN_PARTS = 1000, 2 << 20, 11 << 20


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PARTS_FROM_BYTES", 10 << 20)
    monkeypatch.setattr(uploads, "PART_BYTES", 5 << 20)  # the smallest that S3 takes


@pytest.fixture
def objects(bucket: Bucket) -> Objects:
    return Objects(f"{bucket.url}/home", bucket.server.url, timeout_seconds=1)


def file_of(folder: Path, size: int, seed: bytes = b"x") -> Path:
    path = folder / f"{size}-{seed.hex()}"
    path.write_bytes(seed * size)
    return path


def once(method: str, marks: str, fault: str) -> Callable[[int, str, str], str]:
    """The first request of that kind goes wrong."""
    seen: list[str] = []

    def plan(_number: int, used: str, path: str) -> str:
        if used == method and marks in path and not seen:
            seen.append(path)
            return fault
        return ""

    return plan


@pytest.mark.parametrize("fault", ["late", "stall"])
@pytest.mark.parametrize(("size", "method"), [(SMALL, "PUT"), (LARGE, "PUT"), (IN_PARTS, "PUT"), (IN_PARTS, "POST")])
def test_a_put_on_a_condition_that_times_out(
    size: int, method: str, fault: str, objects: Objects, bucket: Bucket, tmp_path: Path
) -> None:
    """It is tried again; what had arrived without an answer is known for our own by its bytes."""
    file = file_of(tmp_path, size)
    with bucket.network(once(method, "name", fault)):
        etag = objects.upload("name", file, is_new=True)
    assert etag is not None
    assert bucket.read("home/name") == file.read_bytes()
    assert objects.upload("name", file_of(tmp_path, size, b"y"), is_new=True) is None, "it is somebody else's"
    assert bucket.read("home/name") == file.read_bytes()


@pytest.mark.parametrize("fault", ["late", "stall"])
def test_a_pointer_that_times_out(fault: str, objects: Objects, bucket: Bucket) -> None:
    first = objects.replace("pointer", b"one", None)
    with bucket.network(once("PUT", "pointer", fault)):
        second = objects.replace("pointer", b"two", first)
    assert objects.read("pointer") == (b"two", second)
    with pytest.raises(PublishConflict):
        objects.replace("pointer", b"three", first)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_times_out_for_good_names_the_setting(
    size: int, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 0)
    monkeypatch.setattr(uploads, "TRIES", 0)
    objects = Objects(f"{bucket.url}/home", bucket.server.url, timeout_seconds=1)
    with (
        bucket.network(lambda *_: "stall"),
        pytest.raises(
            Unreachable, match=r"write name: it timed out after 1 seconds \(MOSTWATCHED_S3_TIMEOUT_SECONDS\)"
        ),
    ):
        objects.upload("name", file_of(tmp_path, size), is_new=True)


@contextmanager
def slow_line(url: str, bytes_a_second: int) -> Iterator[str]:
    """A line to a server that is slow in both directions, and never stands still."""
    there = urlsplit(url)
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        try:
            while data := source.recv(1 << 15):
                time.sleep(len(data) / bytes_a_second)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection((there.hostname or "", there.port or 0))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [8 << 20, IN_PARTS])
def test_a_slow_line_is_no_stall(size: int, bucket: Bucket, tmp_path: Path) -> None:
    """A transfer takes longer than the limit, which is one on standing still (what buffers hold is sent within it)."""
    file = file_of(tmp_path, size)
    with slow_line(bucket.server.url, 3 << 19) as url:
        objects = Objects(f"{bucket.url}/home", url, timeout_seconds=4)
        began = time.monotonic()
        assert objects.upload("name", file, is_new=True)
        assert time.monotonic() - began > 5
        with objects.downloaded("name", tmp_path / "copy") as (copy, etag):
            assert etag is not None
            assert copy.read_bytes() == file.read_bytes()


def test_large_files_go_up_in_parts(objects: Objects, bucket: Bucket, tmp_path: Path) -> None:
    before = len(bucket.server.requests)
    objects.upload("name", file_of(tmp_path, IN_PARTS))
    assert [method for method, _ in bucket.server.requests[before:]] == ["POST", "PUT", "PUT", "PUT", "POST"]


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["ignores_conditions", "refuses_if_match"])
def test_a_bucket_that_ignores_conditions_is_refused(
    fault: str, machines: Machines, bucket: Bucket, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first use, before anything is written there; so is one that refuses where they hold."""
    monkeypatch.setattr(bucket.server, fault, True)
    with pytest.raises(UsageError, match="ignores conditions of writes"):
        nightly.run(machines.settings("one"), date.fromisoformat(AS_OF), [platform[0]],
                    accept_rejects=True, allow_incomplete=True)  # fmt: skip
    assert bucket.names() == []


def test_a_bucket_that_compares_etags_without_their_quotes(
    objects: Objects, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ceph's gateway 16 does: what holds passes, and of two that replace the same object one passes."""
    monkeypatch.setattr(bucket.server, "compares_etags_without_quotes", True)
    objects.require_conditional_puts()
    first = objects.replace("pointer", b"1", None)
    assert objects.replace("pointer", b"2", first) != first
    with pytest.raises(PublishConflict):
        objects.replace("pointer", b"3", first)
    assert bucket.read("home/pointer") == b"2"


def test_conditions_are_tried_once(objects: Objects, bucket: Bucket) -> None:
    """Not every night; again where the marker came with a copy from another store."""
    objects.require_conditional_puts()
    assert bucket.names() == ["home/.conditional-puts"]
    before = len(bucket.server.requests)
    objects.require_conditional_puts()
    assert [method for method, _ in bucket.server.requests[before:]] == ["GET"]
    bucket.write("home/.conditional-puts", b'{"conditional_puts": true, "endpoint": null, "bucket": "another"}')
    before = len(bucket.server.requests)
    objects.require_conditional_puts()
    assert len(bucket.server.requests) - before > 1


# --- killed, and served ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("put", [2, 9])
def test_a_run_that_is_killed_within_its_push(put: int, machines: Machines, bucket: Bucket, platform: Any) -> None:
    """Readers see the snapshot of before, here none; another machine goes on and ends where all end."""
    landing, (_, second) = platform
    options = ["--direct", "--as-of", AS_OF, "--landing", str(landing), "--accept-rejects", "--allow-incomplete"]
    command = [sys.executable, "-m", "pipelines.cli", "run", *options]
    with subprocess.Popen(command, env=os.environ | machines.environ("one"), stderr=subprocess.DEVNULL) as process:
        puts: list[str] = []

        def kill(_number: int, method: str, path: str) -> str:
            puts.extend([path] * (method == "PUT"))
            if len(puts) == put:
                os.kill(process.pid, signal.SIGKILL)
            return ""

        with bucket.network(kill):
            process.wait(120)
    assert process.returncode == -signal.SIGKILL
    assert "home/snapshots/current.json" not in bucket.names()
    report = nightly.run(machines.settings("two"), date.fromisoformat(AS_OF), [landing],
                         accept_rejects=True, allow_incomplete=True)  # fmt: skip
    assert report.snapshot_id == second


@pytest.mark.slow
def test_a_server_goes_on_with_its_copy_while_the_bucket_stalls(
    machines: Machines, bucket: Bucket, platform: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A look at a bucket that never answers ends in limited time; the copy stays, and the next look goes on."""
    landing, (first, second) = platform
    accept = {"accept_rejects": True, "allow_incomplete": True}
    nightly.run(machines.settings("one"), date(2026, 1, 30), [landing], **accept)
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 1)
    home = tmp_path / "server"
    (home / "snapshots").mkdir(parents=True)
    replica = Replica(Objects(f"{bucket.url}/home", bucket.server.url, timeout_seconds=1), home)
    replica.sync()
    assert first in (home / "snapshots" / "current.json").read_text()
    nightly.run(machines.settings("one"), date.fromisoformat(AS_OF), [landing], **accept)
    began = time.monotonic()
    with bucket.network(lambda *_: "stall"), pytest.raises(Unreachable, match="MOSTWATCHED_S3_TIMEOUT_SECONDS"):
        replica.sync()
    assert time.monotonic() - began < 15
    assert first in (home / "snapshots" / "current.json").read_text()
    replica.sync()
    assert second in (home / "snapshots" / "current.json").read_text()


@pytest.mark.slow
def test_the_api_answers_while_its_bucket_stalls(
    machines: Machines, bucket: Bucket, platform: Any, tmp_path: Path
) -> None:
    """A real server: quick and right meanwhile, it says why, and comes to the new snapshot afterwards."""
    landing, (first, second) = platform
    states: list[dict[str, bytes]] = []
    for as_of in ("2026-01-30", AS_OF):
        nightly.run(machines.settings("one"), date.fromisoformat(as_of), [landing], **ACCEPT)
        states.append({name: bucket.read(name) for name in bucket.names("home/snapshots")})
    for name, content in states[0].items():
        bucket.write(name, content)
    path = tmp_path / "api.sock"
    often = {"MOSTWATCHED_S3_TIMEOUT_SECONDS": "1", "MOSTWATCHED_S3_LOOK_EVERY_SECONDS": "1"}
    command = [sys.executable, "-m", "pipelines.cli", "serve", "--uds", str(path)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log, env=os.environ | machines.environ("server") | often)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://api", timeout=5) as http:

            def served() -> str | None:
                assert server.poll() is None, (tmp_path / "log").read_text()
                with suppress(httpx.ConnectError):
                    return http.get("/api/v1/creators/ranking").headers.get("X-Snapshot-Id")
                return None

            wait_until(lambda: served() == first)
            with bucket.network(lambda _number, method, _path: "stall" if method == "GET" else ""):
                for name, content in states[1].items():
                    bucket.write(name, content)
                wait_until(
                    lambda: served() == first and b"MOSTWATCHED_S3_TIMEOUT_SECONDS" in (tmp_path / "log").read_bytes()
                )
                assert served() == first
            wait_until(lambda: served() == second)
    finally:
        server.terminate()
        server.wait(30)


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
