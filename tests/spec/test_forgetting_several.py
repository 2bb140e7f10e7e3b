"""`mostwatched forget --users FILE`: everybody in it is forgotten in one pass, each as they would be alone."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from person import DEVICE, USER, holding, other_formats, platform
from world import World

from pipelines.core import durable_files
from pipelines.core.errors import UsageError
from pipelines.jobs.erase_user import forget, forget_all
from pipelines.lake.engines import duckdb as engine
from pipelines.raw import erasure_register
from pipelines.snapshots import manifest

NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
# `ada` is a creator, "nobody" never landed; more than FEW, so that they are looked for together.
USERS = [USER, "ben", "zoe", "abe", "ada", "nobody-7f3a"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    world = World(tmp_path_factory.mktemp("made"))
    platform(world)
    world.run()
    other_formats(world)
    folder = world.settings.landing / "viewing_sessions"
    (folder / "notes.txt").write_text("ben and usr-9")
    (folder / "_part.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\x80" * 100)
    world.run(compare=False, night={"accept_rejects": True})
    return world.settings.home


def home_like(made: Path, folder: Path) -> World:
    world = World(folder)
    shutil.copytree(made, world.settings.home)
    return world


@pytest.mark.slow
def test_several_are_forgotten_as_each_would_be_alone(made, tmp_path):
    """What is published, what is left, and what is said of each: records, files, snapshots."""
    together, one_by_one = home_like(made, tmp_path / "together"), home_like(made, tmp_path / "apart")
    reports = forget_all(together.settings, USERS, NOW, landing_too=True)
    alone = [forget(one_by_one.settings, user, NOW, landing_too=True) for user in USERS]
    assert together.current() == one_by_one.current() == alone[-1].snapshot_after
    assert manifest.snapshot_ids(together.settings.snapshots) == [together.current()]
    for user, done, expected in zip(USERS, reports, alone, strict=True):
        assert (done.records, done.rejected_records) == (expected.records, expected.rejected_records), user
        files = [(Path(each.file).name, each.records, each.is_emptied) for each in done.landed_files]
        assert files == [(Path(each.file).name, each.records, each.is_emptied) for each in expected.landed_files], user
        left = sorted((Path(each["path"]).name, each["why"]) for each in done.remaining)
        assert left == sorted((Path(each["path"]).name, each["why"]) for each in expected.remaining), user
        assert done.is_forgotten is expected.is_forgotten is False, "the 7z may hold anybody"
        assert done.snapshot_after == together.current()
    assert holding(together.settings.home, USER, DEVICE) == []
    landed = sorted(path.relative_to(together.settings.home) for path in together.settings.landing.rglob("*.*"))
    for path in landed:
        there = together.settings.home / path
        if path.suffix == ".parquet":
            assert pq.read_table(there).equals(pq.read_table(one_by_one.settings.home / path))
        elif there.is_file() and path.suffix not in (".gz", ".zst"):
            assert there.read_bytes() == (one_by_one.settings.home / path).read_bytes()


@pytest.mark.slow
def test_given_again_each_is_said_to_be_done(made, tmp_path):
    """Once what could not be looked into is gone; one more in the file is forgotten beside them."""
    world = home_like(made, tmp_path)
    first = forget_all(world.settings, USERS[:4], NOW, landing_too=True)
    assert all(any("7z" in each["path"] for each in done.remaining) for done in first)
    for name in ("notes.txt", "_part.7z"):
        (world.settings.landing / "viewing_sessions" / name).unlink()
    again = forget_all(world.settings, [*USERS[:4], "cem"], NOW, landing_too=True)
    assert [(done.is_forgotten, done.was_forgotten) for done in again] == [(True, False)] * 5
    assert again[-1].records == {"viewing_sessions": 1, "erasures": 1}
    third = forget_all(world.settings, USERS[:4], NOW)
    assert [(done.is_forgotten, done.was_forgotten, done.changes) for done in third] == [(True, True, [])] * 4
    assert len(erasure_register.read(world.settings).entries) == 5
    assert holding(world.settings.home, USER, DEVICE) == []


@pytest.mark.slow
def test_a_dry_run_says_of_each_what_it_says_of_one(made, tmp_path):
    """And writes nothing."""
    world = home_like(made, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in world.settings.home.rglob("*")}
    together = forget_all(world.settings, USERS, NOW, dry_run=True)
    alone = [forget(world.settings, user, NOW, dry_run=True) for user in USERS]
    assert [dataclasses.asdict(done) for done in together] == [dataclasses.asdict(done) for done in alone]
    assert {path: path.stat().st_mtime_ns for path in world.settings.home.rglob("*")} == before


def test_an_id_that_is_none_stops_all(made, tmp_path):
    """Before anything is done."""
    world = home_like(made, tmp_path)
    for users in ([USER, ""], []):
        with pytest.raises(UsageError, match="An id of a user is needed"):
            forget_all(world.settings, users, NOW)
    assert not erasure_register.folder(world.settings).exists()


@pytest.mark.slow
def test_a_folder_named_by_one_of_them(world):
    """Is theirs alone."""
    platform(world)
    folder = world.settings.landing / "viewing_sessions" / "viewerId=ben"
    folder.mkdir()
    (folder / "x.ndjson").write_text('{"sessionId":"k","creatorId":"ada","startedAt":"2026-01-20T10:00:00Z"}\n')
    world.run(compare=False, night={"accept_rejects": True})
    reports = dict(zip(USERS, forget_all(world.settings, USERS, NOW, landing_too=True), strict=True))
    problems = {user: [each.problem for each in done.landed_files if each.problem] for user, done in reports.items()}
    assert problems == {user: [] for user in USERS} | {"ben": ["its folder is named by the id: remove the folder"]}


# --- what it costs


_OPENED: list[Counter[str]] = []  # one while files are counted: a hook stays for good


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _OPENED and event == "open" and isinstance(arguments[0], str):
        _OPENED[0][arguments[0]] += 1


sys.addaudithook(_hook)


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each file is opened by Python, handed to DuckDB or to PyArrow."""

    def counting(inner: Callable[..., Any], paths: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            _OPENED[0].update(str(path) for path in paths(*args))
            return inner(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(engine, "register", counting(engine.register, lambda _, __, files: files))
        patch.setattr(engine, "opened", counting(engine.opened, lambda path: [path]))
        patch.setattr(pq, "read_schema", counting(pq.read_schema, lambda path: [path]))
        patch.setattr(durable_files, "verify", counting(durable_files.verify, lambda path, _: [path]))
        _OPENED.append(Counter())
        try:
            yield _OPENED[0]
        finally:
            _OPENED.clear()


DATA = {".parquet", ".ndjson", ".csv", ".gz", ".zst", ".duckdb"}


@pytest.mark.slow
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_is_opened_as_often_for_many_as_for_one(made, tmp_path, monkeypatch, dry_run):
    """Whatever is stored under home and landed: not once a person."""
    counts = []
    for number, users in enumerate(([USER], [*USERS[:4], *(f"nobody-{n:04}" for n in range(60))])):
        world = home_like(made, tmp_path / str(number))
        with opened(monkeypatch) as found:
            forget_all(world.settings, users, NOW, dry_run=dry_run, landing_too=True)
        home = world.settings.home
        paths = {path: Path(path).relative_to(home) for path in found if Path(path).is_relative_to(home)}
        counts.append({str(each): found[path] for path, each in paths.items() if each.suffix in DATA})
    one, many = counts
    assert len(one) > 20, "the test should see the files that are opened"
    if dry_run:
        assert many == one
    # What is derived is opened as often as publishing asks for it: one empty file stands for many days.
    stored = {path for path in one if path in many and path.startswith(("landing/", "lake/raw/", "snapshots/"))}
    more = {path: (one[path], many[path]) for path in stored if many[path] > one[path] + 8}
    assert more == {}  # one that holds records of more persons is redacted and read back, once
