"""What is prepared of a snapshot: once for all workers, mapped by each, gone when it is no longer served."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from calling import Client
from hypothesis import given
from hypothesis import strategies as st
from published import EXAMPLE, FOLLOWER, Row, point, publish, ts
from tokens import bearer, claims, sign

from pipelines.api import preparation
from pipelines.api.insight import search_key, search_keys
from pipelines.api.preparation import DOCUMENTED, Preparer, map_documented, server_folder
from pipelines.api.responses import Streams, prepare_streams
from pipelines.core.errors import Damaged
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import Snapshot

RANKING = "/api/v1/live-stream/most-watched-creators"
PATHS = (
    RANKING,
    "/api/v1/live-stream/funded",
    "/lls/v1.0/stream",
    "/lls/v1.0/stream?status=active&domain=live.example.com",
)
RANGES = (
    "/api/v1/creators/ranking?q=JOHN",
    "/api/v1/creators/ranking?days=7&trend=true",
    "/creator?id=64d15f9e2e6c8f4d5a123456",
)


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot is prepared in a process of its own, as large ones are."""
    monkeypatch.setattr(preparation, "OWN_PROCESS_BYTES", 0)


def opened(home: Path, snapshot_id: str) -> Snapshot:
    return manifest.open_snapshot(home / "snapshots", snapshot_id)


def bodies(client: Client) -> list[bytes]:
    token = bearer(sign(claims(sub=FOLLOWER)))
    return [client.get(path, headers=headers).content for path in (*PATHS, *RANGES) for headers in ({}, token)]


def test_a_large_snapshot_is_read_by_another_process_alone(
    home: Path, client: Client, jwks_file: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is the same, and the worker itself parses not one table."""
    before = bodies(client)
    monkeypatch.setattr(preparation, "OWN_PROCESS_BYTES", 0)
    monkeypatch.setattr(Snapshot, "table", lambda *_: pytest.fail("a worker has read a table"))
    assert bodies(client_for(jwks=str(jwks_file))) == before


@pytest.mark.usefixtures("own_process")
def test_what_the_other_process_finds_wrong_is_said(home: Path, tmp_path: Path) -> None:
    snapshot_id = publish(home, EXAMPLE)
    snapshot = opened(home, snapshot_id)
    (snapshot.path / "creators.parquet").write_bytes(b"PAR1")
    with pytest.raises(Damaged, match=r"creators\.parquet"), Preparer().prepared(DOCUMENTED, snapshot):
        pass


def test_the_workers_of_a_server_prepare_a_snapshot_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = opened(home, publish(home, EXAMPLE))
    folder = tmp_path / "shared"
    folder.mkdir()
    prepared: list[Path] = []
    prepare = preparation.prepare_documented

    def counted(snapshot: Snapshot, into: Path, before: Path | None) -> None:
        prepared.append(into)
        prepare(snapshot, into, before)

    monkeypatch.setattr(preparation, "_PREPARE", {DOCUMENTED: counted})
    found: list[Path] = []

    def work() -> None:
        with Preparer(folder).prepared(DOCUMENTED, snapshot) as path:
            found.append(path)
            map_documented(path)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(prepared) == 1
    assert found == [found[0]] * 4


def test_private_tables_are_mapped_from_the_file(home: Path) -> None:
    """Not copied into the memory of each worker: the address of every column lies in the file's mapping."""
    preparer = Preparer()
    with preparer.prepared(DOCUMENTED, opened(home, publish(home, EXAMPLE))) as folder:
        ranking, funded, streams = map_documented(folder)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [(line[-1], *(int(end, 16) for end in line[0].split("-"))) for line in maps]

    def is_in(address: int, name: str) -> bool:
        return any(path == str(folder / name) and start <= address < end for path, start, end in spans)

    assert is_in(ranking.followers.positions.__array_interface__["data"][0], "follows.arrow")
    assert is_in(funded.callers.positions.__array_interface__["data"][0], "funded_streams.arrow")
    assert is_in(funded.rentals.rest["price"].chunk(0).buffers()[1].address, "replay_rentals.arrow")
    assert is_in(streams.items.buffers()[2].address, "streams.arrow")


def test_what_was_prepared_of_a_snapshot_goes_with_it(
    home: Path, client_for: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of whoever was forgotten stays behind; the server that has it mapped can still answer from it."""
    made: list[Preparer] = []
    create = preparation.Preparer.__init__

    def made_preparer(self: Preparer, folder: Path | None = None) -> None:
        create(self, folder)
        made.append(self)

    monkeypatch.setattr(preparation.Preparer, "__init__", made_preparer)
    publish(home, EXAMPLE)
    client = client_for()
    client.get("/")
    second = publish(home, EXAMPLE | {"private/follows": []}, move_pointer=False)
    point(home, second, datetime.now(UTC))
    assert client.get("/").status_code == 200
    assert client.get(RANKING).headers["X-Snapshot-Id"] == second
    (folder,) = {preparer._folder for preparer in made}
    assert [path.name.rpartition("-")[0] for path in folder.iterdir() if path.is_dir()] == [second]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(FOLLOWER.encode() in path.read_bytes() for path in files)


def test_a_mapped_snapshot_outlives_its_files(home: Path) -> None:
    preparer = Preparer()
    snapshot = opened(home, publish(home, EXAMPLE))
    with preparer.prepared(DOCUMENTED, snapshot) as folder:
        ranking, _, streams = map_documented(folder)
    preparer.keep([])
    assert not folder.exists()
    assert ranking.followed(FOLLOWER, 10) == [0]
    assert b"movie-night" in streams.data({"status": "banned"})


def test_a_server_shares_its_folder_with_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own is for its user alone, and swept of what killed servers left; one that others may enter is not used."""
    monkeypatch.setattr(preparation.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(preparation.tempfile, "tempdir", str(tmp_path))
    usual = tmp_path / f"mostwatched-{os.getuid()}"
    with server_folder() as folder:
        assert folder.parent.parent == usual
        assert [path.stat().st_mode & 0o777 for path in (usual, folder)] == [0o700, 0o700]
        killed = folder.parent / "serve-killed"
        (killed / "2026-11-21").mkdir(parents=True)
        with server_folder() as other:
            assert not killed.exists()
            assert folder.is_dir()
            assert other != folder
    assert not folder.exists()
    usual.mkdir(exist_ok=True)
    usual.chmod(0o770)
    with server_folder() as folder:
        assert usual not in folder.parents


NAMES = st.text(st.sampled_from("aZ İıIßÉ\x1c\t é\u0301ﬁ~") | st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(NAMES, NAMES | st.none(), NAMES | st.none()), max_size=6))
def test_names_are_folded_as_a_search_folds(rows: list[tuple[str, str | None, str | None]]) -> None:
    """Column by column, with the same result as text by text."""
    columns = [pa.array([row[at] for row in rows], pa.large_string()) for at in range(3)]
    assert search_keys(*columns).to_pylist() == [search_key(" ".join(part for part in row if part)) for row in rows]


VALUES = st.sampled_from(["", "a", "b", "ab", "ğ", "active", "banned"])


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12),
    st.dictionaries(st.sampled_from(["domain", "app", "status"]), VALUES | st.just("nowhere")),
)
def test_filters_leave_what_matches_all_of_them(rows: list[tuple[str, str, str]], filters: dict[str, str]) -> None:
    """In order of created and id, whatever the order of the file."""
    listed: list[Row] = [
        {"stream_id": str(at), "domain": domain, "app": app, "stream": "s", "created_at": ts("2025-07-11T14:20:00Z")}
        | {"updated_at": None, "latest_streaming_at": None, "status": status}
        for at, (domain, app, status) in enumerate(rows)
    ]
    schema = pa.schema(
        {name: pa.timestamp("ms", "UTC") if name.endswith("_at") else pa.string() for name in LLS_COLUMNS}
    )
    streams = Streams.of(*prepare_streams(pa.Table.from_pylist(listed[::-1], schema)))
    expected = [row["stream_id"] for row in listed if all(row[name] == value for name, value in filters.items())]
    assert [one["id"] for one in json.loads(streams.data(filters))["streams"]] == sorted(expected)
    assert streams.count(filters) >= len(expected)


LLS_COLUMNS = ("stream_id", "domain", "app", "stream", "created_at", "updated_at", "latest_streaming_at", "status")
