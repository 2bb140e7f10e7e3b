"""What several files need: the sample as `make run` publishes it, and one Prefect server, on the loopback alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from prefect_harness import PrefectServer, started_server

from pipelines.core import settings
from pipelines.jobs import nightly
from pipelines.snapshots import manifest

ROOT = Path(__file__).resolve().parents[2]
AUTH_STRING = f"mostwatched:{secrets.token_hex(32)}"  # as docs/how-to/run-every-night.md starts the server


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snapshot of the sample, as `make run` publishes it; tests that use it are one group, on one worker."""
    home = settings.load(tmp_path_factory.mktemp("sample") / "home", environ={})
    nightly.run(home, date(2013, 7, 1), [ROOT / "data" / "sample"])
    return manifest.open_current(home.snapshots).path


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One server for all tests of flows; it takes some 15 seconds to start."""
    with started_server(tmp_path_factory.mktemp("prefect"), AUTH_STRING) as (server, _):
        yield server
