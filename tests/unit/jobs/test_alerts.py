"""The alert rules, judged by Prometheus's own promtool: all is well, and then one thing is not.

Debian's package `prometheus` has promtool; where it is missing these tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

DASHBOARDS = Path(__file__).parents[3] / "dashboards"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((DASHBOARDS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
API = {"instance": "api", "job": "mostwatched-api"}
NODE = {"instance": "night", "job": "mostwatched-runs"}
RUN = {"home": "/srv/m", **NODE}
AUDIT = {**RUN, "instance": "auditor"}  # audited on another machine, say
FILE = {**NODE, "file": "/textfile/mostwatched-1.prom"}
AUDIT_FILE = {**NODE, "file": "/textfile/mostwatched-1-audit.prom"}

Series = tuple[str, dict[str, str]]
UP_API: Series = ("up", API)
UP_RUNS: Series = ("up", NODE)
RUN_END: Series = ("mostwatched_run_end_timestamp_seconds", RUN)
AUDIT_END: Series = ("mostwatched_audit_end_timestamp_seconds", AUDIT)
PINNED: Series = ("mostwatched_current_is_pinned", RUN)
MISSING: Series = ("mostwatched_missing_dates", RUN)
FILE_ERROR: Series = ("node_textfile_scrape_error", NODE)
FILE_TIME: Series = ("node_textfile_mtime_seconds", FILE)
SERVED: Series = ("mostwatched_snapshot_info", {**API, "snapshot_id": "s"})
AGE: Series = ("mostwatched_snapshot_age_seconds", API)
FALLBACKS: Series = ("mostwatched_rate_limit_fallbacks_total", {**API, "reason": "redis_away"})


def run(outcome: str) -> Series:
    return ("mostwatched_run_outcome", {**RUN, "outcome": outcome})


def audit(outcome: str) -> Series:
    return ("mostwatched_audit_outcome", {**AUDIT, "outcome": outcome})


def loads(outcome: str) -> Series:
    return ("mostwatched_snapshot_loads_total", {**API, "outcome": outcome})


def requests(status: str) -> Series:
    return ("mostwatched_http_requests_total", {**API, "route": "/x", "status": status})


def tokens(outcome: str) -> Series:
    return ("mostwatched_auth_requests_total", {**API, "outcome": outcome})


STEP_MINUTES = 4  # less than the 5 minutes after which Prometheus takes a sample for gone
NO, YES, RISING = "0x…", "1x…", "0+100x…"  # a sample each step from the instant 0 on, for as long as is looked at
WELL: list[tuple[Series, str]] = [
    (UP_API, YES),
    (UP_RUNS, YES),
    (RUN_END, NO),  # at the instant 0
    (run("published"), YES),
    (run("failed"), NO),
    (run("refused"), NO),
    (MISSING, NO),
    (PINNED, NO),
    (AUDIT_END, NO),
    (audit("passed"), YES),
    (audit("differs"), NO),
    (audit("failed"), NO),
    (FILE_ERROR, NO),
    (FILE_TIME, NO),
    (("node_textfile_mtime_seconds", AUDIT_FILE), NO),
    (SERVED, YES),
    (AGE, "100x…"),
    (loads("loaded"), YES),
    (loads("failed"), NO),
    (requests("200"), RISING),
    (requests("503"), NO),
    (tokens("accepted"), RISING),
    (tokens("no_keys_yet"), NO),
    (tokens("invalid_signature"), "0+99x…"),
    (FALLBACKS, NO),
]
OLD = "1000000x…"  # an instant to come, for what must not have become old meanwhile


@dataclass
class Case:
    """What is otherwise than when all is well, and what fires."""

    name: str
    changed: list[tuple[Series, str]]
    at: str
    fires: list[tuple[str, dict[str, str]]]


NEVER = "_"  # no sample at all
LATER = [(RUN_END, OLD), (FILE_TIME, OLD), (AUDIT_END, OLD)]
CASES = [
    Case("all is well", [], "2h", []),
    Case("nothing scrapes the API", [(UP_API, NEVER)], "2h", [("MostwatchedNothingWatched", {"job": API["job"]})]),
    Case("nothing scrapes the runs", [(UP_RUNS, NEVER)], "2h", [("MostwatchedNothingWatched", {"job": NODE["job"]})]),
    Case("the API is down", [(UP_API, "1x10 0x90")], "2h", [("MostwatchedTargetDown", API)]),
    Case("the API was down for a moment", [(UP_API, "1x10 0 1x90")], "1h", []),
    Case("the node_exporter is down", [(UP_RUNS, "1x10 0x90")], "2h", [("MostwatchedTargetDown", NODE)]),
    Case("no run was ever seen", [(RUN_END, NEVER)], "2h", [("MostwatchedRunNeverSeen", {})]),
    Case(
        "the file of one of two homes is gone",
        [(RUN_END, "0x10 _x90"), ((RUN_END[0], {**RUN, "home": "/srv/other"}), NO)],
        "3h",
        [("MostwatchedRunMetricsGone", RUN)],
    ),
    Case("a textfile cannot be read", [(FILE_ERROR, YES)], "1h", [("MostwatchedMetricsFileUnreadable", NODE)]),
    Case("the textfile is stale", [*LATER, (FILE_TIME, NO)], "27h", [("MostwatchedMetricsFileStale", FILE)]),
    Case("the run failed", [(run("failed"), YES)], "1h", [("MostwatchedRunFailed", run("failed")[1])]),
    Case("the run was refused", [(run("refused"), YES)], "1h", [("MostwatchedRunRefused", run("refused")[1])]),
    Case("25 hours ago", [], "25h", []),
    Case("no run for 27 hours", [*LATER, (RUN_END, NO)], "27h", [("MostwatchedNoRun", RUN)]),
    Case("three days are missing", [(MISSING, "3x…")], "1h", [("MostwatchedDaysMissing", MISSING[1])]),
    Case("pinned for a day", [*LATER, (PINNED, YES)], "24h", []),
    Case("pinned for two days", [*LATER, (PINNED, YES)], "49h", [("MostwatchedPinned", PINNED[1])]),
    Case("values differ", [(audit("differs"), YES)], "1h", [("MostwatchedAuditNotPassed", audit("differs")[1])]),
    Case("the audit failed", [(audit("failed"), YES)], "1h", [("MostwatchedAuditNotPassed", audit("failed")[1])]),
    Case("no audit for nine days", [*LATER, (AUDIT_END, NO)], "217h", [("MostwatchedNoAudit", AUDIT)]),
    Case("never audited", [*LATER, (AUDIT_END, NEVER)], "217h", [("MostwatchedNeverAudited", RUN)]),
    Case("nothing is served", [(SERVED, NEVER)], "1h", [("MostwatchedNothingServed", API)]),
    Case("an old snapshot is served", [(AGE, "172801x…")], "1h", [("MostwatchedSnapshotStale", API)]),
    Case(
        "a snapshot cannot be loaded",
        [(loads("failed"), RISING)],
        "1h",
        [("MostwatchedSnapshotLoadsFail", loads("failed")[1])],
    ),
    Case("one load failed", [(loads("failed"), "0x12 1x90")], "1h", []),
    Case("errors of its own", [(requests("503"), RISING)], "1h", [("MostwatchedApiErrors", {"instance": "api"})]),
    Case("no keys", [(tokens("no_keys_yet"), RISING)], "1h", [("MostwatchedNoKeys", tokens("no_keys_yet")[1])]),
    Case(
        "most tokens are refused",
        [(tokens("invalid_signature"), "0+101x…")],
        "1h",
        [("MostwatchedTokensRefused", {"instance": "api"})],
    ),
    Case(
        "one token is refused, and no other came",
        [(tokens("invalid_signature"), "0x12 1x90"), (tokens("accepted"), NO)],
        "1h",
        [],
    ),
    Case("Redis is away", [(FALLBACKS, RISING)], "1h", [("MostwatchedRedisAway", FALLBACKS[1])]),
]


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed here (Debian's package prometheus)")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def text_of(series: Series) -> str:
    name, labels = series
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels.items())}}}"


def annotations(rule: dict[str, Any], labels: dict[str, str], value: str) -> dict[str, str]:
    """Those of a rule as Prometheus fills them in."""

    def filled(text: str) -> str:
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        return text.replace("{{ $value }}", value)

    return {name: filled(text) for name, text in rule["annotations"].items()}


def expected(case: Case, alert: str) -> list[dict[str, Any]]:
    """The alerts of one name that fire, as promtool wants them: without others of that name."""
    fires = [*case.fires, ("MostwatchedWatchdog", {})]
    return [
        {
            "exp_labels": {name: value for name, value in labels.items() if name != "__name__"}
            | RULES[alert]["labels"],
            "exp_annotations": annotations(RULES[alert], labels, "3"),
        }
        for name, labels in fires
        if name == alert
    ]


@pytest.mark.parametrize("is_long", [False, True])
def test_each_alert_fires_when_it_should_and_then_alone(tmp_path, is_long):
    """Every rule is asked in every case; promtool also compares what the alert says."""
    shutil.copy(DASHBOARDS / "alerts.yml", tmp_path)
    tests = []
    for case in CASES:
        hours = float(case.at.removesuffix("h"))
        if (hours > 20) is not is_long:
            continue
        samples = f"x{int(hours * 60 / STEP_MINUTES) + 1}"
        state = {text_of(series): values.replace("x…", samples) for series, values in [*WELL, *case.changed]}
        tests.append(
            {
                "name": case.name,
                "interval": f"{STEP_MINUTES}m",
                "input_series": [
                    {"series": series, "values": values} for series, values in state.items() if values != NEVER
                ],
                "alert_rule_test": [
                    {"eval_time": case.at, "alertname": alert, "exp_alerts": expected(case, alert)} for alert in RULES
                ],
            }
        )
    # to evaluate the rules of nine days as often would take a minute
    interval = "1h" if is_long else f"{STEP_MINUTES}m"
    content = {"rule_files": ["alerts.yml"], "evaluation_interval": interval, "tests": tests}
    (tmp_path / "tests.yml").write_text(json.dumps(content))
    done = promtool(tmp_path, "test", "rules", "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_a_severity_and_a_way_out():
    fired = {name for case in CASES for name, _ in case.fires} | {"MostwatchedWatchdog"}
    assert fired == RULES.keys()
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "none"), name
        assert rule["annotations"].keys() == {"summary", "todo"}, name


def test_every_expression_of_the_dashboard_is_promql(tmp_path):
    """And so are its queries for variables; Grafana's own variables are filled in."""
    text = (DASHBOARDS / "mostwatched.json").read_text()
    asked = [json.loads(f'"{each}"') for each in re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', text)]
    assert len(asked) > 20
    filled = [one.replace("$__rate_interval", "5m") for one in asked]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(filled)]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool(tmp_path, "check", "rules", "panels.yml")
    assert done.returncode == 0, done.stdout + done.stderr
