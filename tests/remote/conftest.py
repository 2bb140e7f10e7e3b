"""A server for all tests of this folder, a bucket for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from machines import ACCEPT, AS_OF, Machines
from noise import land_noise
from s3 import KEY, SECRET, Bucket, Server
from world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found where the tools of S3 look for them, and nowhere else."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "MOSTWATCHED_S3"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.remote.mirror.LEFT_BEHIND_SECONDS", 0.5)


@pytest.fixture
def bucket(server: Server) -> Bucket:
    name = f"bucket-{next(_numbers)}"
    httpx.put(f"{server.url}/{name}").raise_for_status()
    return Bucket(server, name)


@pytest.fixture
def machines(bucket: Bucket, tmp_path: Path) -> Machines:
    return Machines(bucket, tmp_path / "machines")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(a landing folder, the ids of the snapshots as of two days), from a home that is a folder."""
    world = World(tmp_path_factory.mktemp("platform"))
    land_noise(world, seed=21, sessions=40, days=4)
    first = world.run("2026-01-30", compare=False, night=ACCEPT).snapshot_id
    second = world.run(AS_OF, compare=False, night=ACCEPT).snapshot_id
    return world.settings.landing, (first, second)
