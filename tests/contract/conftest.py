"""Fixtures: a home, keys, and clients of the documents' example platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock, running
from published import EXAMPLE, publish
from tokens import jwks

from pipelines.api.app import create_app
from pipelines.api.query_service import QueryService
from pipelines.core.settings import Settings


@pytest.fixture(autouse=True)
def _loaded_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No application is still loading the cube of a home that goes with its test: the next one would hear of it."""
    loading: list[Future[None]] = []
    prepare = QueryService.prepare

    def preparing(desk: QueryService, serving: Any) -> Future[None] | None:
        pending = prepare(desk, serving)
        if pending is not None:
            loading.append(pending)
        return pending

    monkeypatch.setattr(QueryService, "prepare", preparing)
    yield
    for pending in loading:
        with suppress(CancelledError):
            pending.result(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose snapshot is that of the documents' examples."""
    home = tmp_path_factory.mktemp("home")
    publish(home, EXAMPLE)
    (home / "jwks.json").write_bytes(jwks("rsa-1"))
    settings = Settings(home=home, jwks=str(home / "jwks.json"), stale_hours=10**6, operators=("operator",))
    with running(settings, StoppedClock().clock) as address:
        yield address


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with nothing published."""
    (tmp_path / "snapshots").mkdir()
    return tmp_path


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def jwks_file(home: Path) -> Path:
    """A JWKS with one key of each kind."""
    path = home / "jwks.json"
    path.write_bytes(jwks("rsa-1", "ec-1", "ed-1", "oct-1"))
    return path


@pytest.fixture
def client_for(home: Path, clock: StoppedClock) -> Callable[..., Client]:
    """A client of an application with the given settings."""

    def make(**settings: Any) -> Client:
        return Client(create_app(Settings(home=home, **settings), clock.clock))

    return make


@pytest.fixture
def client(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> Client:
    """A client of the documents' example platform, with keys."""
    publish(home, EXAMPLE)
    return client_for(jwks=str(jwks_file))


@pytest.fixture(scope="session")
def example_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The same, made once, for the many tests that change nothing. Its clock stands still: so do its rate limits."""
    home = tmp_path_factory.mktemp("example")
    publish(home, EXAMPLE)
    (home / "jwks.json").write_bytes(jwks("rsa-1", "ec-1", "ed-1", "oct-1"))
    return Client(create_app(Settings(home=home, jwks=str(home / "jwks.json")), StoppedClock().clock))
