"""A bucket that is away for a moment costs a night a moment: the run is tried again as a whole."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket

from pipelines.core.errors import Unreachable
from pipelines.jobs import last_run, nightly

pytestmark = pytest.mark.xdist_group("bucket")

SECOND = date.fromisoformat(AS_OF)


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """A command that writes down what it is notified of."""
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/sh\ncat >> {tmp_path}/notified\n")
    path.chmod(0o755)
    return path


def events(hook: Path) -> list[str]:
    notified = hook.with_name("notified")
    return [json.loads(line)["event"] for line in notified.read_text().splitlines()] if notified.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("first", ["pull", "push"])
def test_a_blip_in_the_middle_of_a_run(
    first: str, machines: Machines, bucket: Bucket, platform: Any, hook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is that of a quiet night, and nobody is notified of a failure, nor of a recovery from it."""
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 0)
    landing, (_, second) = platform
    settings = machines.settings("one", MOSTWATCHED_NOTIFY_COMMAND=str(hook))
    puts: list[str] = []

    def blip(number: int, method: str, path: str) -> str:
        if first == "pull":
            return "down" if number <= 2 else ""
        puts.extend([path] * (method == "PUT"))
        return "down" if method == "PUT" and len(puts) <= 2 else ""

    with bucket.network(blip):
        report = nightly.run(settings, SECOND, [landing], **ACCEPT)
    assert bucket.server.faults
    assert report.snapshot_id == second
    record = last_run.read(settings.lake)
    assert record is not None
    assert record.outcome in ("published", "unchanged")
    assert "failed" not in events(hook)
    assert "recovered" not in events(hook)


def test_a_bucket_that_stays_away(
    machines: Machines, bucket: Bucket, platform: Any, hook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and says so once, however often it was tried."""
    monkeypatch.setattr("pipelines.remote.objects._TRIES", 0)
    settings = machines.settings("one", MOSTWATCHED_NOTIFY_COMMAND=str(hook))
    with bucket.network(lambda number, method, path: "down"), pytest.raises(Unreachable):
        nightly.run(settings, SECOND, [platform[0]], **ACCEPT)
    assert events(hook) == ["failed"]
