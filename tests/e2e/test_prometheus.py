"""From a night, an audit and the API to the alerts and the dashboard, by way of the real programs.

Debian's packages prometheus, prometheus-node-exporter and prometheus-pushgateway have them. Where one is missing, its
test is skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from calling import running
from published import EXAMPLE, publish
from tokens import bearer
from world import World

from pipelines.core.settings import Settings
from pipelines.jobs import audit_run, metrics, report

ROOT = Path(__file__).resolve().parents[2]
RANKING = "/api/v1/live-stream/most-watched-creators"
LINE = '{"sessionId":"%s","creatorId":"ada","viewerId":"v","startedAt":"2026-01-%02dT10:00:00Z","viewer_Id":"x"}\n'


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here (Debian's package {package})")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path, ready: str, *command: str) -> Iterator[None]:
    """A program that answers at the address `ready` before this goes on."""
    with (folder / f"{Path(command[0]).name}.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            until(lambda: httpx.get(ready).status_code == 200, lambda: Path(log.name).read_text())
            yield
        finally:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], said: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A home after a night and an audit; its metrics stand in a folder of homes."""
    folder = tmp_path_factory.mktemp("night")
    world = World(folder / "home", metrics_file=folder / "textfile")
    for number in range(20, 31):
        world.land_text("viewing_sessions", LINE % (number, number), f"2026-01-{number}.ndjson")
    world.run(compare=False)
    audit_run.audit_current(world.settings, ranges=1)
    return world


@pytest.fixture(scope="module")
def textfile(night: World) -> Path:
    """The folder of two homes: the second's metrics are those of the first, under its own name."""
    other = replace(night.settings, home=Path("/srv/other"))
    facts = report.read(night.settings, datetime(2026, 1, 31, tzinfo=UTC).date())
    metrics.write(other, other.metrics, metrics.text(other, facts, None))
    return night.settings.metrics.parent


def test_two_homes_share_a_folder_of_the_node_exporter(night, textfile, tmp_path):
    """Each has a file of its own for its runs, and one for its audits; none hides the other."""
    exporter = program("prometheus-node-exporter", "prometheus-node-exporter")
    assert len(list(textfile.iterdir())) == 3
    address = f"127.0.0.1:{free_port()}"
    only = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={textfile}")
    with started(tmp_path, f"http://{address}/", exporter, *only, f"--web.listen-address={address}"):
        shown = httpx.get(f"http://{address}/metrics").text
    assert "node_textfile_scrape_error 0" in shown
    for home in (night.settings.home, "/srv/other"):
        assert re.search(rf'^mostwatched_run_outcome{{home="{home}",outcome="published"}} 1$', shown, re.MULTILINE)
    files = re.findall(r'^node_textfile_mtime_seconds{file="(.*)"}', shown, re.MULTILINE)
    assert sorted(files) == sorted(map(str, textfile.iterdir()))
    (stale,) = [
        rule["expr"]
        for rule in yaml.safe_load((ROOT / "dashboards/alerts.yml").read_text())["groups"][0]["rules"]
        if rule["alert"] == "MostwatchedMetricsFileStale"
    ]
    pattern, not_this = re.findall(r'file!?[=~]+"([^"]*)"', stale)
    watched = [file for file in files if re.fullmatch(pattern, file) and not re.fullmatch(not_this, file)]
    assert len(watched) == 2


def test_all_names_are_as_prometheus_wants_them(night, textfile, tmp_path):
    """promtool finds nothing to say of what is written, and of what the API shows."""
    promtool = program("promtool", "prometheus")
    publish(tmp_path, EXAMPLE)
    with running(Settings(home=tmp_path)) as api:
        httpx.get(f"{api}{RANKING}")
        texts = [httpx.get(f"{api}/metrics").content]
    for content in [*(path.read_bytes() for path in textfile.iterdir()), *texts]:
        assert content.count(b"# TYPE") >= 3
        done = subprocess.run([promtool, "check", "metrics"], input=content, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def expressions(content: Any) -> list[str]:
    if isinstance(content, dict):
        own = [content["expr"]] if "expr" in content else []
        return own + [each for value in content.values() for each in expressions(value)]
    return [each for value in content for each in expressions(value)] if isinstance(content, list) else []


@pytest.mark.slow
def test_a_push_reaches_the_dashboard_and_the_alerts(night, tmp_path, monkeypatch):
    """By deploy/prometheus.yml, a real Pushgateway and a real API: no panel is empty, no rule fails."""
    prometheus = program("prometheus", "prometheus")
    gateway = program("prometheus-pushgateway", "prometheus-pushgateway")
    pushed, asked = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    publish(tmp_path / "home", EXAMPLE)
    with ExitStack() as stack:
        stack.enter_context(started(tmp_path, f"http://{pushed}/-/ready", gateway, f"--web.listen-address={pushed}"))
        api = stack.enter_context(running(Settings(home=tmp_path / "home")))
        settings = replace(night.settings, metrics_push_url=f"http://{pushed}/")
        other = replace(settings, home=Path("/srv/other"))
        facts = report.read(night.settings, datetime(2026, 1, 31, tzinfo=UTC).date())
        metrics.push(other, metrics.RUN, metrics.text(other, facts, None))
        monkeypatch.setattr(night, "settings", settings)
        night.land_text("viewing_sessions", LINE % ("late", 29), "late.ndjson")
        night.land_text("follows", "{}\n")
        night.run(compare=False, night={"accept_rejects": True})
        audit_run.audit_current(settings, ranges=1)

        text = (ROOT / "deploy/prometheus.yml").read_text().replace("15s", "1s").replace("30s", "1s")
        for shown, ours in (
            ("api:8000", api.removeprefix("http://")),
            ("pushgateway:9091", pushed),
            ("/etc/prometheus/alerts.yml", str(ROOT / "dashboards/alerts.yml")),
        ):
            assert text.count(shown) == 1
            text = text.replace(shown, ours)
        (tmp_path / "prometheus.yml").write_text(text)
        options = (f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address={asked}")
        stack.enter_context(
            started(tmp_path, f"http://{asked}/-/ready", prometheus, "--config.file=prometheus.yml", *options)
        )

        def query(expression: str) -> list[dict[str, Any]]:
            answer = httpx.get(f"http://{asked}/api/v1/query", params={"query": expression})
            assert answer.status_code == 200, (expression, answer.text)
            result: list[dict[str, Any]] = answer.json()["data"]["result"]
            return result

        def is_all_shown() -> bool:
            httpx.get(f"{api}{RANKING}", headers=bearer("x.y.z"))
            return bool(query("rate(mostwatched_http_requests_total[5m]) > 0"))

        until(is_all_shown, lambda: httpx.get(f"http://{asked}/api/v1/targets").text)
        assert {one["metric"]["job"]: one["value"][1] for one in query("up")} == {
            "mostwatched-api": "1",
            "mostwatched-runs": "1",
        }
        homes = {one["metric"]["home"] for one in query('mostwatched_run_outcome{outcome="published"}')}
        assert homes == {str(night.settings.home), "/srv/other"}
        assert len(query("mostwatched_audit_passed_timestamp_seconds")) == 1
        dashboard = json.loads((ROOT / "dashboards/mostwatched.json").read_text())
        empty = []
        for expression in expressions(dashboard):
            filled = expression.replace("$home", str(night.settings.home)).replace("$api", ".*")
            if not query(filled.replace("$__rate_interval", "5m")):
                empty.append(expression)
        assert empty == ['mostwatched_lake_lost_records{home=~"$home"}'], "of what is lost, and nothing is lost here"
        until(
            lambda: {rule["health"] for rule in rules(asked)} == {"ok"},
            lambda: [(rule["name"], rule.get("lastError")) for rule in rules(asked)],
        )
        firing = {rule["name"] for rule in rules(asked) if rule["state"] == "firing"}
        assert "MostwatchedWatchdog" in firing
        assert firing <= {"MostwatchedWatchdog", "MostwatchedDaysMissing", "MostwatchedSnapshotStale"}


def rules(address: str) -> list[dict[str, Any]]:
    groups = httpx.get(f"http://{address}/api/v1/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]
