"""What several files need: the sample as `make run` publishes it, and one Prefect server, on the loopback alone."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from prefect_harness import SERVER_STARTS_WITHIN, PrefectServer, is_healthy, running

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
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    environ = ours | {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": AUTH_STRING,
        "PREFECT_API_AUTH_STRING": AUTH_STRING,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    log = folder / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, folder, environ, log) as process:
        server = PrefectServer(environ["PREFECT_API_URL"], environ, log)
        give_up_at = time.monotonic() + SERVER_STARTS_WITHIN
        while not is_healthy(server):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, f"no server within {SERVER_STARTS_WITHIN} s:\n{log.read_text()}"
            time.sleep(0.2)
        yield server
