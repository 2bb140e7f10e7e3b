"""The flows in this process, against a real Prefect server."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import forged
import pytest
from prefect_harness import PrefectServer

from pipelines.core import durable_files, retries
from pipelines.core.errors import Busy, MostwatchedError, RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.jobs import nightly, prefect_reporter
from pipelines.landing.synthetic import generate
from pipelines.snapshots import manifest

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.timeout(240)]

AS_OF = date(2026, 3, 2)
BROKEN = '{"sessionId": "no creator"}\n'


@pytest.fixture(scope="module")
def flows(prefect_server: PrefectServer) -> Iterator[ModuleType]:
    """The module of the flows, talking to the test's server; so do the processes that report runs to it."""
    from pipelines.jobs import prefect_flows  # before Prefect: it sets what Prefect reads

    settings = import_module("prefect.settings")
    names = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, prefect_server.environ[name])
        with settings.temporary_settings({getattr(settings, name): prefect_server.environ[name] for name in names}):
            yield prefect_flows


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    generate(folder, days=3, sessions_per_day=200, seed=1, as_of=AS_OF)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", min_watched_seconds=60)


def newest_run(server: PrefectServer) -> dict[str, Any]:
    (run,) = server.ask("POST", "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
    return dict(run)


def artifacts(server: PrefectServer) -> dict[str, dict[str, Any]]:
    newest = server.ask("POST", "/artifacts/filter", {"sort": "CREATED_DESC"})
    return {artifact["key"]: artifact for artifact in reversed(newest)}


def test_the_flow_publishes_what_the_plain_function_does(
    flows: ModuleType, prefect_server: PrefectServer, settings: Settings, landing: Path, tmp_path: Path
) -> None:
    """The same snapshot id, under the caller's settings, in three tasks, with the date in the run's name."""
    plain = nightly.run(Settings(home=tmp_path / "plain", min_watched_seconds=60), AS_OF, [landing])
    told: list[str] = []
    report = prefect_reporter.run(settings, AS_OF, [landing], progress=lambda what, *_: told.append(what))
    assert report.snapshot_id == plain.snapshot_id
    assert report.as_json()["funnel"] == plain.as_json()["funnel"]
    assert told
    run = newest_run(prefect_server)
    assert (run["name"], run["state"]["type"]) == ("nightly 2026-03-02", "COMPLETED")
    tasks = prefect_server.ask("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert sorted(task["name"].rpartition("-")[0] for task in tasks) == ["build", "ingest", "publish"]


@pytest.mark.slow
def test_the_run_leaves_artifacts(
    flows: ModuleType, prefect_server: PrefectServer, settings: Settings, landing: Path
) -> None:
    """The top of the ranking and the funnel as tables, and where the snapshot is."""
    report = prefect_reporter.run(settings, AS_OF, [landing])
    left = artifacts(prefect_server)
    assert {"most-watched-creators", "funnel", "snapshot"} <= set(left)
    assert '"position": 1,' in left["most-watched-creators"]["data"]
    assert '"ranked"' in left["funnel"]["data"]
    assert report.snapshot_id in left["snapshot"]["data"]
    assert left["report"]["data"].startswith("# Nightly run as of 2026-03-02: published")


@pytest.mark.slow
def test_a_refusal_is_not_retried_and_fails_the_run(
    flows: ModuleType, prefect_server: PrefectServer, settings: Settings, tmp_path: Path
) -> None:
    """And comes out of the flow as what it is, for the exit code."""
    file = tmp_path / "landing" / "viewing_sessions" / "2026-03-01.ndjson"
    file.parent.mkdir(parents=True)
    file.write_text(BROKEN)
    with pytest.raises(RefusedToPublish):
        prefect_reporter.run(settings, AS_OF, [tmp_path / "landing"])
    run = newest_run(prefect_server)
    assert run["state"]["type"] == "FAILED"
    tasks = prefect_server.ask("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {task["run_count"] for task in tasks} == {1}
    said = artifacts(prefect_server)["report"]["data"]
    assert said.startswith("# Nightly run as of 2026-03-02: refused")
    assert "accept\\-rejects" in said or "--accept-rejects" in said
    assert prefect_reporter.run(settings, AS_OF, [tmp_path / "landing"], accept_rejects=True).snapshot_id


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backfill", "prune", "audit"])
def test_a_moment_without_the_disk_fails_no_flow(
    flows: ModuleType, monkeypatch: pytest.MonkeyPatch, settings: Settings, landing: Path, name: str
) -> None:
    """It is tried again as a whole, and does what it does on a quiet day."""
    published = nightly.run(settings, AS_OF, [landing]).snapshot_id
    module, function = {
        "backfill": (nightly, "backfill"),
        "prune": (flows.pruning, "prune"),
        "audit": (flows.audit_run, "audit_current"),
    }[name]
    work, tries = getattr(module, function), []

    def fail_once(*arguments: Any, **options: Any) -> Any:
        tries.append(name)
        if len(tries) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return work(*arguments, **options)

    monkeypatch.setattr(module, function, fail_once)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    home = str(settings.home)
    if name == "backfill":
        monkeypatch.setenv("MOSTWATCHED_MIN_WATCHED_SECONDS", "60")
        assert flows.backfill(AS_OF, AS_OF, [str(landing)], home) == [published]
    elif name == "prune":
        assert flows.prune(home).snapshots == []
    else:
        assert flows.audit(home, ranges=1)["differing"] == 0
    assert len(tries) == 2


@pytest.mark.slow
def test_one_run_at_a_time(flows: ModuleType, settings: Settings, landing: Path) -> None:
    settings.home.mkdir()
    with durable_files.lock_home(settings.home), pytest.raises(Busy):
        prefect_reporter.run(settings, AS_OF, [landing])


def test_without_a_date_a_run_is_about_the_days_before_today(
    flows: ModuleType, monkeypatch: pytest.MonkeyPatch, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    """In the policy's time zone, where today may be another day than in UTC."""
    zone = "Pacific/Kiritimati"  # 14 hours ahead of UTC
    before = datetime.now(UTC)
    monkeypatch.setenv("MOSTWATCHED_DAY_TIMEZONE", zone)
    report = flows.publish_most_watched_creators(home=str(tmp_path), allow_incomplete=True)
    expected = {moment.astimezone(ZoneInfo(zone)).date() for moment in (before, datetime.now(UTC))}
    assert report.as_of in expected
    assert newest_run(prefect_server)["name"] == f"nightly {report.as_of}"


@pytest.mark.slow
def test_a_backfill_publishes_every_day(
    flows: ModuleType, prefect_server: PrefectServer, landing: Path, tmp_path: Path
) -> None:
    """Oldest first, so that the newest is current in the end."""
    home = tmp_path / "home"
    ids = flows.backfill(date(2026, 3, 1), AS_OF, landing=[str(landing)], home=str(home))
    assert [snapshot_id[:10] for snapshot_id in ids] == ["2026-03-01", "2026-03-02"]
    assert newest_run(prefect_server)["name"] == "backfill 2026-03-01 to 2026-03-02"
    pointer = manifest.current(home / "snapshots")
    assert pointer is not None
    assert pointer.snapshot_id == ids[-1]


@pytest.mark.slow
def test_a_backfill_fails_at_the_end_if_a_day_was_refused(flows: ModuleType, tmp_path: Path) -> None:
    """The other days are published all the same."""
    generate(tmp_path / "landing", days=8, sessions_per_day=100, seed=1, as_of=AS_OF, mess=0)
    last_day = tmp_path / "landing" / "viewing_sessions" / "2026-03-01.ndjson"
    last_day.write_text("".join(last_day.read_text().splitlines(keepends=True)[:10]))
    with pytest.raises(RefusedToPublish, match=r"^1 published, 1 refused"):
        flows.backfill(date(2026, 3, 1), AS_OF, landing=[str(tmp_path / "landing")], home=str(tmp_path / "home"))
    assert len(manifest.listed(tmp_path / "home" / "snapshots")) == 1


@pytest.mark.slow
def test_an_audit_is_a_flow(
    flows: ModuleType, prefect_server: PrefectServer, settings: Settings, landing: Path
) -> None:
    """It fails, as a run of the flow, when anything differs."""
    nightly.run(settings, AS_OF, [landing])
    assert flows.audit(home=str(settings.home), ranges=1)["agrees"]
    assert newest_run(prefect_server)["name"].startswith("audit ")
    now = manifest.open_current(settings.snapshots)
    rankings = now.table("creator_rankings.parquet")
    forged.replace(now, "creator_rankings.parquet", forged.changed(rankings, "sessions", 0, 0))
    forged.point_to(now)
    with pytest.raises(MostwatchedError, match=r"creator_rankings: .* has sessions 0 in .*1 value in all"):
        flows.audit(home=str(settings.home), ranges=1)
    assert newest_run(prefect_server)["state"]["type"] == "FAILED"


@pytest.mark.slow
def test_prune_is_a_flow(flows: ModuleType, prefect_server: PrefectServer, settings: Settings, landing: Path) -> None:
    prefect_reporter.run(settings, AS_OF, [landing])
    report = flows.prune(home=str(settings.home))
    assert report.snapshots == []
    assert newest_run(prefect_server)["name"].startswith("prune ")
