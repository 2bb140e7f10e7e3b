"""The deployments of prefect.yaml on a real server, with a real worker: nothing less shows that they run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prefect_harness import PrefectServer, running

from pipelines.landing.synthetic import generate
from pipelines.snapshots import manifest

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.timeout(240)]

CHECKOUT = Path(__file__).resolve().parent.parent.parent
AS_OF = date(2026, 3, 2)
RUN_ENDS_WITHIN = 100  # seconds; ten on a quiet machine
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    """The server with a work pool and everything in prefect.yaml deployed to it."""
    prefect_server.command("work-pool", "create", "mostwatched", "--type", "process", cwd=CHECKOUT)
    prefect_server.command("--no-prompt", "deploy", "--all", cwd=CHECKOUT)
    return prefect_server


@pytest.fixture(scope="module")
def worked(deployed: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """And a worker that takes its runs."""
    folder = tmp_path_factory.mktemp("worker")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "mostwatched"]
    with running(command, folder, deployed.environ, folder / "worker.log"):
        yield deployed


def test_all_deployments_are_there(deployed: PrefectServer) -> None:
    """Nightly at 03:15 in Istanbul, and one run at a time of each."""
    found = {each["name"]: each for each in deployed.ask("POST", "/deployments/filter", {})}
    assert set(found) == {"nightly", "backfill", "prune", "audit"}
    (schedule,) = found["nightly"]["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"], schedule["active"]) == (
        "15 3 * * *",
        "Europe/Istanbul",
        True,
    )
    assert found["backfill"]["schedules"] == []
    (weekly,) = found["audit"]["schedules"]
    assert (weekly["schedule"]["cron"], weekly["active"]) == ("30 6 * * 0", True)
    for deployment in found.values():
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert deployment["job_variables"]["env"]["DO_NOT_TRACK"] == "1"


def test_a_worker_publishes_a_snapshot(worked: PrefectServer, tmp_path: Path) -> None:
    """The nightly deployment, triggered with plain JSON, ends as completed and the snapshot is current."""
    generate(tmp_path / "landing", days=3, sessions_per_day=200, seed=1, as_of=AS_OF)
    home = tmp_path / "home"
    run = _trigger(worked, "nightly", {"as_of": str(AS_OF), "landing": [str(tmp_path / "landing")], "home": str(home)})
    assert run["state"]["type"] == "COMPLETED", json.dumps(run["state"])
    assert run["name"] == "nightly 2026-03-02"
    pointer = manifest.current(home / "snapshots")
    assert pointer is not None
    assert pointer.snapshot_id.startswith("2026-03-02-")


def _trigger(server: PrefectServer, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run a deployment to its end and give the run as the server has it."""
    deployment = server.ask("GET", f"/deployments/name/{name}/{name}")
    run = server.ask(
        "POST",
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )
    give_up_at = time.monotonic() + RUN_ENDS_WITHIN
    while run["state"]["type"] not in ENDED and time.monotonic() < give_up_at:
        time.sleep(0.5)
        run = server.ask("GET", f"/flow_runs/{run['id']}")
    return dict(run)
