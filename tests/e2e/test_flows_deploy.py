"""The deployments of prefect.yaml on a real server, with a real worker: nothing less shows that they run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.schema_tools.validation import ValidationError, validate
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


@pytest.fixture
def worked(deployed: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """And a worker that takes its runs."""
    with _worker(deployed.environ, tmp_path_factory.mktemp("worker")):
        yield deployed


@pytest.mark.slow
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


def test_containers_run_the_same_deployments() -> None:
    """The two files differ in where the flow is found, and in nothing else."""
    here, there = (
        yaml.safe_load((CHECKOUT / name).read_text()) for name in ("prefect.yaml", "prefect-containers.yaml")
    )
    assert there["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/mostwatched"}}], (
        "nothing of the deployer's machine"
    )
    for each in (*here["deployments"], *there["deployments"]):
        del each["work_pool"]
    assert there["deployments"] == here["deployments"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_pool_of_containers_takes_the_deployments(kind: str, deployed: PrefectServer) -> None:
    """Prefect's own validation takes the job variables, by its template of that kind."""
    name = "mostwatched-containers"
    server = dataclasses.replace(
        deployed,
        environ=deployed.environ
        | {"MOSTWATCHED_IMAGE": "registry.example/mostwatched-prefect:1", "MOSTWATCHED_HOME": "s3://bucket/home"},
    )
    server.command("work-pool", "create", name, "--type", kind, cwd=CHECKOUT)
    try:
        server.command("--no-prompt", "deploy", "--all", "--prefect-file", "prefect-containers.yaml", cwd=CHECKOUT)
        variables = server.ask("GET", f"/work_pools/{name}")["base_job_template"]["variables"]
        there = [each for each in server.ask("POST", "/deployments/filter", {}) if each["work_pool_name"] == name]
        assert {each["name"] for each in there} == {"nightly", "backfill", "prune", "audit"}
        for each in there:
            assert each["job_variables"]["image"] == "registry.example/mostwatched-prefect:1"
            assert each["job_variables"]["env"]["MOSTWATCHED_HOME"] == "s3://bucket/home"
            assert str(CHECKOUT) not in json.dumps([each["pull_steps"], each["path"], each["entrypoint"]])
            validate(each["job_variables"], variables, raise_on_error=True)
            assert each["job_variables"].keys() <= variables["properties"].keys()
        with pytest.raises(ValidationError):
            validate({"image": ["no", "name"]}, variables, raise_on_error=True)
    finally:
        deployed.command("--no-prompt", "deploy", "--all", cwd=CHECKOUT)  # they have the same names: back to their pool
        server.ask("DELETE", f"/work_pools/{name}")


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


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["the worker", "the flow"])
def test_what_is_killed_beneath_a_run(killed: str, deployed: PrefectServer, tmp_path: Path) -> None:
    """A flow whose worker is killed goes on and publishes; one that is told to end says so everywhere."""
    generate(tmp_path / "landing", days=3, sessions_per_day=200, seed=1, as_of=AS_OF)
    home, notified, hook = tmp_path / "home", tmp_path / "notified", tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> {notified}\n")
    hook.chmod(0o755)
    environ = deployed.environ | {"MOSTWATCHED_NOTIFY_COMMAND": str(hook)}
    record = home / "lake" / "last_run.json"
    with _worker(environ, tmp_path) as worker:
        _create_run(
            deployed, "nightly", {"as_of": str(AS_OF), "landing": [str(tmp_path / "landing")], "home": str(home)}
        )
        _wait_for(record.exists)
        flow = json.loads(record.read_text())["pid"]
        os.kill(
            worker.pid if killed == "the worker" else flow, signal.SIGKILL if killed == "the worker" else signal.SIGTERM
        )
        _wait_for(lambda: json.loads(record.read_text())["ended_at"] is not None)
        _wait_for(lambda: not Path(f"/proc/{flow}").exists())
    ended = json.loads(record.read_text())
    report = json.loads((home / "reports" / f"{AS_OF}.json").read_text())
    if killed == "the worker":
        assert (ended["outcome"], report["outcome"]) == ("published", "published")
        return
    assert ended["outcome"] == report["outcome"] == "failed"
    assert ended["why"] == report["why"]
    assert ended["why"].startswith("The process was told to end")
    assert [json.loads(line)["event"] for line in notified.read_text().splitlines()] == ["failed"]
    metrics = (home / "metrics" / "mostwatched.prom").read_text()
    assert re.search(r'^mostwatched_run_outcome\{home="[^"]+",outcome="failed"\} 1.0$', metrics, re.MULTILINE)


def _worker(environ: dict[str, str], folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker whose runs write to pipes that it reads."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "mostwatched"]
    return running(command, folder, environ, folder / "worker.log")


def _wait_for(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + RUN_ENDS_WITHIN
    while not happened():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def _create_run(server: PrefectServer, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    deployment = server.ask("GET", f"/deployments/name/{name}/{name}")
    run: dict[str, Any] = server.ask(
        "POST",
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )
    return run


def _trigger(server: PrefectServer, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run a deployment to its end and give the run as the server has it."""
    run = _create_run(server, name, parameters)
    give_up_at = time.monotonic() + RUN_ENDS_WITHIN
    while run["state"]["type"] not in ENDED and time.monotonic() < give_up_at:
        time.sleep(0.5)
        run = server.ask("GET", f"/flow_runs/{run['id']}")
    return dict(run)
