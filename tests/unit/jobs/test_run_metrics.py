"""What a run leaves for Prometheus, and the dashboard and the alerts that read it."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from world import AS_OF, World

from pipelines.api.telemetry import Metrics
from pipelines.core import shared_folders
from pipelines.core.errors import RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.core.shared_folders import NewFile
from pipelines.jobs import metrics, notify, report
from pipelines.jobs.last_audit import OUTCOMES, LastAudit
from pipelines.jobs.nightly import locked_home

DASHBOARDS = Path(__file__).parents[3] / "dashboards"


def told(path: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """Name -> label values, without the home's -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            assert sample.labels.pop("home"), sample
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform with a late day, a missing one and rejected lines, after two nights."""
    world = World(tmp_path_factory.mktemp("metrics"))
    for number in (*range(20, 25), *range(26, 31)):
        line = '{"sessionId":"%s","creatorId":"ada","viewerId":"v","startedAt":"2026-01-%02dT10:00:00Z"}\n'
        world.land_text("viewing_sessions", line % (number, number), f"2026-01-{number}.ndjson")
    world.run("2026-01-30", compare=False)
    world.sessions(
        "creator | viewer | started_at\nada | v7 | 2026-01-28 10:00\nada | v8 | 2026-01-30 11:00", "late.ndjson"
    )
    world.land_text("follows", "{}\n")
    world.run(compare=False, night={"accept_rejects": True})
    return world


def test_it_says_what_the_run_came_to(night):
    facts = report.read(night.settings, AS_OF)
    metrics = told(night.settings.metrics)
    assert metrics["mostwatched_run_outcome"] == {
        ("published",): 1.0,
        ("unchanged",): 0.0,
        ("refused",): 0.0,
        ("failed",): 0.0,
    }
    assert metrics["mostwatched_run_records"] == {("accepted",): 2.0, ("rejected",): 1.0}
    assert metrics["mostwatched_lake_records"] == {("accepted",): 12.0, ("rejected",): 1.0}
    assert metrics["mostwatched_sessions"]["ranked",] == 12.0
    assert metrics["mostwatched_missing_dates"] == {(): 1.0}
    assert metrics["mostwatched_revised_dates"] == {(): 1.0}
    assert metrics["mostwatched_run_files"] == {(): 2.0}
    assert metrics["mostwatched_run_as_of_timestamp_seconds"] == {(): datetime(2026, 1, 31, tzinfo=UTC).timestamp()}
    assert metrics["mostwatched_newest_session_timestamp_seconds"] == {
        (): datetime(2026, 1, 30, 11, tzinfo=UTC).timestamp()
    }
    steps = metrics["mostwatched_run_step_duration_seconds"]
    assert {(row["stage"], row["step"]): row["seconds"] for row in facts["durations"]} == steps
    assert metrics["mostwatched_run_duration_seconds"] == {(): facts["seconds"]}
    ended = datetime.fromisoformat(facts["ended_at"]).timestamp()
    assert metrics["mostwatched_run_end_timestamp_seconds"] == {(): ended}
    assert abs(metrics["mostwatched_current_published_timestamp_seconds"][()] - ended) < 60


def test_a_refused_run_says_so_and_what_readers_still_see(tmp_path):
    world = World(tmp_path, metrics_file=tmp_path / "textfile" / "night.prom")
    world.busy_days("2026-01-20", 10)
    world.run("2026-01-30", compare=False)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    metrics = told(tmp_path / "textfile" / "night.prom")
    assert metrics["mostwatched_run_outcome"]["refused",] == 1.0
    assert metrics["mostwatched_current_as_of_timestamp_seconds"] == {(): datetime(2026, 1, 30, tzinfo=UTC).timestamp()}
    assert not (world.settings.home / "metrics").exists()


def test_metrics_of_a_refused_run_that_cannot_be_written_are_not_missing_in_silence(tmp_path, caplog):
    """Alerts rest on them: a file that cannot be written is said, with its name."""
    (tmp_path / "textfile").write_text("no folder")
    world = World(tmp_path, metrics_file=tmp_path / "textfile" / "night.prom")
    world.busy_days("2026-01-20", 10)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    assert re.search(
        r"the metrics file could not be written: .*/textfile.*: (File exists|Not a directory)", caplog.text
    )


def test_the_collector_never_sees_half_a_file(tmp_path, monkeypatch):
    """The file is replaced at once, and what is being written does not have a name that the collector reads."""
    path = tmp_path / "mostwatched.prom"
    metrics.write(Settings(home=tmp_path), path, b"old 1\n")
    seen: list[tuple[list[str], bytes]] = []
    rename = NewFile.rename

    def watched(self: NewFile, name: str) -> None:
        seen.append((sorted(each.name for each in tmp_path.glob("*.prom")), path.read_bytes()))
        rename(self, name)

    monkeypatch.setattr(NewFile, "rename", watched)
    metrics.write(Settings(home=tmp_path), path, b"new 1\n")
    assert seen == [(["mostwatched.prom"], b"old 1\n")]
    assert path.read_bytes() == b"new 1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["mostwatched.prom"]


# --- dashboard and alerts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(night: World) -> dict[str, set[str]]:
    """Every metric that there is, with its labels: of a run, and of an API of which all has happened once."""
    api = Metrics(lambda: 0)
    api.request("/x", 200, 0.1)
    api.auth("accepted")
    api.rate_limited(is_admitted=True)
    api.rate_limit_fallback()
    api.snapshot(None)
    found: dict[str, set[str]] = {}
    audited = metrics.audit_text(
        night.settings, LastAudit(None, "2026-01-31T10:00:00Z", "passed", 0, None, "2026-01-31T10:00:00Z")
    )
    for text in (night.settings.metrics.read_text(), audited.decode(), api.text().decode()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
            if not family.samples:
                found.setdefault(family.name, set())
    of_others = {"up": set(), "node_textfile_scrape_error": set(), "node_textfile_mtime_seconds": {"file"}}
    return found | {"mostwatched_snapshot_info": {"snapshot_id"}} | of_others


def expressions(content: Any) -> list[str]:
    """Every PromQL expression anywhere in a dashboard or in alert rules."""
    if isinstance(content, dict):
        own = [content["expr"]] if isinstance(content.get("expr"), str) else []
        query = content.get("query")
        if isinstance(query, dict):
            own.append(query["query"])
        return own + [each for value in content.values() for each in expressions(value)]
    return [each for value in content for each in expressions(value)] if isinstance(content, list) else []


@pytest.fixture(scope="module", params=["mostwatched.json", "alerts.yml"])
def content(request: pytest.FixtureRequest) -> Any:
    text = (DASHBOARDS / request.param).read_text()
    return json.loads(text) if request.param.endswith(".json") else yaml.safe_load(text)


def test_only_metrics_that_there_are_are_asked_for(content, known):
    """With labels that they have: a panel that can never show anything, or an alert that can never fire, is a lie."""
    asked = expressions(content)
    assert len(asked) >= 7
    for expression in asked:
        if expression == "vector(1)":  # the watchdog
            continue
        names = re.findall(r"\b(?:mostwatched|node)_\w+|\bup\b", expression)
        assert names, expression
        assert set(names) <= known.keys(), expression
        labels = {
            label for matchers in re.findall(r"\{([^{}]*)\}", expression) for label in re.findall(r"(\w+)=", matchers)
        }
        labels |= {part.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for part in by.split(",")}
        allowed = {"home", "instance", "job", "le"} | set().union(*(known[name] for name in names))
        assert labels <= allowed, expression


def test_every_metric_is_on_the_dashboard(known):
    """What is measured is shown; a histogram by its buckets, a run's as_of by that of what readers see."""
    shown = " ".join(expressions(json.loads((DASHBOARDS / "mostwatched.json").read_text())))
    hidden = {name for name in known if name.startswith("mostwatched_") and not re.search(rf"\b{name}\b", shown)}
    assert {name for name in hidden if not name.endswith(("_count", "_sum", "_created"))} == {
        "mostwatched_run_as_of_timestamp_seconds"
    }


def test_an_audit_that_did_not_pass_or_is_overdue_raises_an_alert():
    """Whichever way it did not pass; an overdue one after more than a week, and one that was never made as well."""
    groups = yaml.safe_load((DASHBOARDS / "alerts.yml").read_text())["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    pattern = r'(\w+)\{outcome!="(\w+)"\} == 1'
    metric, well = re.fullmatch(pattern, rules["MostwatchedAuditNotPassed"]["expr"]).groups()
    for outcome in OUTCOMES:
        text = metrics.audit_text(Settings(), LastAudit("x", "2026-01-31T10:00:00Z", outcome, 0, None)).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        fires = [one for one in samples if one.name == metric and one.labels["outcome"] != well and one.value == 1]
        assert len(fires) == (outcome != "passed")
    metric, days = re.fullmatch(r"time\(\) - (\w+) > (\d+) \* 86400", rules["MostwatchedNoAudit"]["expr"]).groups()
    assert metric in text
    assert 7 < int(days) < 14
    assert rules["MostwatchedNeverAudited"]["expr"].endswith(f" unless on (home) {metric}")
    assert rules["MostwatchedNeverAudited"]["for"] == f"{days}d"


def test_panels_have_places_of_their_own():
    """No two overlap, none is wider than the page, ids are unique."""
    panels = json.loads((DASHBOARDS / "mostwatched.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


# --- a Pushgateway -------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A stand-in on the loopback: its address, and what was put there as (path, content type, body)."""
    received: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/prefix/", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_run_pushes_what_it_writes_and_the_lock_is_free_by_then(tmp_path, gateway, monkeypatch):
    """In a group of its home and job, which is replaced whole."""
    address, received = gateway
    world = World(tmp_path, metrics_push_url=address)
    deliver = notify.deliver

    def watched(*arguments: Any) -> str | None:
        with locked_home(world.settings):
            return deliver(*arguments)

    monkeypatch.setattr(notify, "deliver", watched)
    world.run(compare=False)
    ((path, content_type, body),) = received
    home = base64.urlsafe_b64encode(str(world.settings.home).encode()).decode()
    assert path == f"/prefix/metrics/job/mostwatched-run/home@base64/{home}"
    assert content_type.startswith("text/plain; version=0.0.4")
    assert body == world.settings.metrics.read_bytes()


def test_a_gateway_that_does_not_answer_fails_no_run(tmp_path, monkeypatch, caplog):
    """The run is published, and one line says what is missing; the wait is bounded."""
    monkeypatch.setattr(notify, "WEBHOOK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world = World(tmp_path, metrics_push_url=f"http://127.0.0.1:{silent.getsockname()[1]}/SECRET")
        started = time.monotonic()
        assert world.run(compare=False)
        assert time.monotonic() - started < 60
    (line,) = [record.getMessage() for record in caplog.records if "pushed" in record.getMessage()]
    assert line == "the metrics could not be pushed: no answer after 0.2 seconds (127.0.0.1)"


def test_homes_that_share_a_folder_have_files_of_their_own(tmp_path):
    """Whatever they are called; a home in a bucket goes by its URL, and a file that is named is that file."""
    named = Settings(home=tmp_path, metrics_file=tmp_path / "night.prom")
    assert named.metrics == tmp_path / "night.prom"
    homes = [
        Settings(home=Path("/a/b"), metrics_file=tmp_path),
        Settings(home=Path("/a-b"), metrics_file=tmp_path),
        Settings(home=Path("/a/b"), home_url="s3://bucket/b", metrics_file=tmp_path),
    ]
    assert len({path for home in homes for path in (home.metrics, metrics.audit_path(home.metrics))}) == 6
    assert {home.metrics.parent for home in homes} == {tmp_path}
    assert b'home="s3://bucket/b"' in metrics.audit_text(
        homes[2], LastAudit("x", "2026-01-31T10:00:00Z", "passed", 0, None)
    )


def test_what_a_killed_run_left_of_its_metrics_is_removed(tmp_path: Path) -> None:
    """Half of a file, in the folder that it was built in."""
    left = tmp_path / "home" / "metrics" / f"{shared_folders.PREFIX}left"
    left.mkdir(parents=True, mode=0o700)
    (left / "new").write_text("half")
    with locked_home(Settings(home=tmp_path / "home")):
        pass
    assert list(left.parent.iterdir()) == []
