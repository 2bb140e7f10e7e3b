"""Fixtures for every tier. The helpers themselves are in world.py, the independent judge in oracle.py."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stand_ins
from effort import PROFILE
from hypothesis import HealthCheck, settings
from world import World

TEST_DATA = "MOSTWATCHED_TEST_DATA"

# What runs whole nights says by itself how many: see effort.py.
slow = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("fast", max_examples=12, derandomize=True, print_blob=True, **slow)
settings.register_profile("long", max_examples=12, print_blob=True, **slow)
settings.register_profile("full", max_examples=1000, print_blob=True, **slow)

# A night fsyncs some two hundred times. What is durable when, the tests record call by call (durability.py): they need
# no disk for it. TMPDIR says where else to work.
IN_MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 4 << 30  # all of them write 2.2 GB, and what passed is removed at once


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(PROFILE)
    if "TMPDIR" not in os.environ and is_roomy(IN_MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = str(IN_MEMORY)


def is_roomy(folder: Path) -> bool:
    """Whether the tests may work in `folder`: it is there, has room, and what is written to it can be executed."""
    if not os.access(folder, os.W_OK):
        return False
    return shutil.disk_usage(folder).free >= ENOUGH_MEMORY and not os.statvfs(folder).f_flag & os.ST_NOEXEC


@pytest.fixture(scope="session", autouse=True)
def _night_over_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World(tmp_path_factory.mktemp("nothing"), from_nothing=True)
    world.run()
    stand_ins.learn(world.settings.lake)


@pytest.fixture(autouse=True)
def _retries_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.core.retries.FIRST_WAIT_SECONDS", 0.0)


@pytest.fixture
def set_parser_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Read what lands as a parser of another version would, in every module that knows the number."""

    def change(version: int) -> None:
        for module in [sys.modules[name] for name in sys.modules if name.startswith("pipelines.raw.")]:
            if hasattr(module, "PARSER_VERSION"):
                monkeypatch.setattr(module, "PARSER_VERSION", version)

    return change


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty platform."""
    return World(tmp_path)


@pytest.fixture
def ranking(world: World) -> Callable[..., list[tuple[str, int]]]:
    """Land sessions, run the night, and give (creator, distinct viewers) by position."""

    def run(table: str, **settings: object) -> list[tuple[str, int]]:
        world.sessions(table)
        return world.run(**settings).viewers()

    return run


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can go through, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data beside the project, where there is one."""
    folder = os.environ.get(TEST_DATA)
    if not folder:
        pytest.skip(f"no real data: {TEST_DATA} does not name the folder that holds it")
    path = Path(folder).resolve() / "data"
    if not path.is_dir():
        pytest.skip(f"no real data: {TEST_DATA} is {folder!r}, which has no folder data")
    return path
