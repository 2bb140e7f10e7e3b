"""Analysts ask a home on object storage: of a checked copy, or where it lies if their DuckDB has httpfs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import SECRET, Bucket

from pipelines import remote as home_in_bucket
from pipelines.core.errors import Damaged, Unreachable
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.remote import httpfs
from pipelines.snapshots import manifest, range_query

pytestmark = pytest.mark.xdist_group("bucket")

ROOT = Path(__file__).parents[2]
WITH_HTTPFS = ROOT / "build" / "analysts-venv" / "bin" / "python"  # made by `make analysts`
QUERY = f"select position, creator_id, viewers from ranking('{AS_OF}', 30)"


@pytest.fixture
def published(machines: Machines, platform: Any) -> str:
    """The name of the warehouse in the bucket."""
    landing, (_, second) = platform
    nightly.run(machines.settings("one"), date.fromisoformat(AS_OF), [landing], **ACCEPT)
    return f"home/snapshots/{second}/warehouse.duckdb"


def asked(settings: Settings) -> list[tuple[Any, ...]]:
    """The answer of the command, without its printing."""
    with home_in_bucket.mounted(settings, "snapshots"):
        snapshot = manifest.open_current(settings.snapshots)
        attach_in_place = partial(home_in_bucket.attach, settings)
        with range_query.open_warehouse(settings, snapshot, attach_in_place) as connection:
            return list(range_query.run_query(connection, settings, QUERY).rows)


def by_httpfs(machines: Machines, name: str, **access: Any) -> Any:
    """What a DuckDB with httpfs sees that is told whom to ask as the command tells it."""
    if not WITH_HTTPFS.exists():
        pytest.skip("no DuckDB with httpfs here: `make analysts` installs it")
    settings = machines.settings("one")
    given = {
        "access": dataclasses.asdict(home_in_bucket.access(settings)) | access,
        "url": f"{machines.bucket.url}/{name}",
        "query": QUERY,
    }
    done = subprocess.run(
        [WITH_HTTPFS, Path(__file__).with_name("httpfs_reader.py"), machines.folder / "extensions"],
        input=json.dumps(given),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_copy_is_asked_that_was_checked(bucket: Bucket, machines: Machines, published: str) -> None:
    """Where there is no httpfs: the file is brought here, and one that is not as it was published is refused."""
    there, visitor = machines.settings("one"), machines.settings("two")
    assert asked(visitor) == asked(there) != []
    assert (visitor.home / published.removeprefix("home/")).exists()
    content = bytearray(bucket.read(published))
    content[len(content) // 2] ^= 1
    bucket.write(published, bytes(content))
    with pytest.raises((Damaged, Unreachable), match=r"warehouse\.duckdb"):
        asked(machines.settings("three"))


def test_httpfs_that_does_not_load(
    machines: Machines, published: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is there by name alone: the copy answers, and a line says why."""
    monkeypatch.setattr(httpfs, "is_possible", lambda connection: True)
    answer = asked(machines.settings("two"))
    assert "httpfs cannot read" in caplog.text
    assert SECRET not in caplog.text
    caplog.clear()
    assert asked(machines.settings("two")) == answer != []
    assert caplog.text == "", "the copy is here by then"


@pytest.mark.slow
def test_httpfs_reads_it_where_it_lies(machines: Machines, published: str) -> None:
    """A true httpfs, of DuckDB 1.2: found only when it is installed; the same answer; nothing can be written."""
    seen = by_httpfs(machines, published)
    assert seen["error"] is None
    assert seen["possible"] == [False, True]
    assert [tuple(row) for row in seen["rows"]] == asked(machines.settings("one"))
    assert "read-only" in seen["writes"]
    assert "secret=redacted" in seen["secrets"]
    assert "disabled" in seen["others"], "the secret opens this file alone to a query"
    assert "unredacted secrets is disabled" in seen["unredacted"]


def test_a_session_token_is_used(machines: Machines, published: str) -> None:
    """Credentials of a role have one; a quotation mark in it changes nothing."""
    seen = by_httpfs(machines, published, session_token="t0ken't0ken")
    assert seen["error"] is None
    assert seen["rows"]
    assert "session_token=redacted" in seen["secrets"]
    assert "t0ken" not in json.dumps(seen)


@pytest.mark.slow
def test_what_httpfs_is_refused_says_no_secret(machines: Machines, published: str) -> None:
    """A server that does not answer."""
    seen = by_httpfs(machines, published, endpoint="http://127.0.0.1:9")
    assert seen["error"]
    assert seen["rows"] == []


@pytest.mark.slow
def test_only_what_a_question_needs_is_read(bucket: Bucket, machines: Machines, published: str) -> None:
    """No copy is made of it, and other objects are left alone."""
    before = len(bucket.server.requests)
    by_httpfs(machines, published)
    requests = bucket.server.requests[before:]
    assert {path.partition("/home/")[2] for _, path in requests} <= {
        published.removeprefix("home/"),
        published.removeprefix("home/") + ".wal",
    }
    assert {method for method, _ in requests} == {"GET", "HEAD"}
