"""The served OpenAPI document taken at its word: Schemathesis draws requests from it, good and bad, with all checks.

The rate limits are kept out of its way as a proxy would: every request comes, by X-Forwarded-For from a trusted proxy,
for a client of its own. That the limits hold is another attack's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from faults.campaign import Effort, Figure, not_tried
from faults.serving import RANGE, REACH, Served, log_problems, published, serving, token

HOOKS = """
from itertools import count
import schemathesis

clients = count()

@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(clients)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
"""
# Which days and creators there are is the snapshot's to say, not the document's: a well-formed range may be refused.
OF_A_SNAPSHOT = "".join(
    f"""
[[operations]]
include-path = "{path}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "404", "410"]
"""
    for path in (RANGE, REACH.partition("?")[0], "/", "/creator")
)
MOST_SECONDS = 3000


def as_documented(effort: Effort) -> Iterator[Figure]:
    """Without a token, and with one that is valid."""
    what = "requests drawn from /openapi.json, all checks"
    if find_spec("schemathesis") is None:
        yield not_tried(what, "Schemathesis is not installed")
        return
    with serving(
        published(effort.scratch / "documented", creators=20), trusted_proxies="127.0.0.1", log_level="DEBUG"
    ) as server:
        yield drawn(effort, server, f"{what}, no token", "")
        yield drawn(effort, server, f"{what}, a token", token())
        figure = Figure("log lines of these", server.err.read_bytes().count(b"\n"), list(log_problems(server)))
        yield figure


def drawn(effort: Effort, server: Served, what: str, bearer: str) -> Figure:
    """One run of Schemathesis in a process of its own; it must have tried every operation."""
    folder = effort.scratch / what.replace("/", "")
    folder.mkdir()
    (folder / "hooks.py").write_text(HOOKS)
    login = f'[auth.openapi.JWT-auth]\nbearer = "{bearer}"\n' if bearer else ""
    (folder / "schemathesis.toml").write_text(f'hooks = "hooks.py"\n{login}{OF_A_SNAPSHOT}')
    seed = effort.random(what).randrange(2**32)
    report = folder / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"),
        *("--checks", "all", "--seed", seed, "--max-examples", effort.times(15, 1000), "--no-color"),
        *("--generation-database", "none", "--report", "json", "--report-json-path", report),
        *(["--max-time", MOST_SECONDS // 10] if effort.full else []),
    ]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    if not report.exists():
        return Figure(what, 1, [f"it did not run: {(done.stdout + done.stderr)[-1000:]}"])
    return judged(what, json.loads(report.read_text()), done.stdout)


def judged(what: str, report: dict[str, Any], said: str) -> Figure:
    """Its report as a figure."""
    figure = Figure(what, report["test_cases"]["generated"])
    operations = report["operations"]
    figure.note = f"{operations['tested']} operations, seed {report['seed']}"
    if not (report["complete"] and operations["tested"] == operations["total"] > 0):
        figure.wrong.append(f"not everything was tried: {operations}")
    if report["warnings"]["rate_limited"]:
        figure.wrong.append(f"requests were refused with 429: {report['warnings']['rate_limited']}")
    if report["exit_code"] or report["failures"] or report["errors"]:
        failures = [json.dumps(one)[:1500] for one in (*report["failures"], *report["errors"])]
        figure.wrong += failures or [said[-2000:]]
    return figure
