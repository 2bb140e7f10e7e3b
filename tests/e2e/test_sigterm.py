"""SIGTERM ends a run like a failure: report, metrics and hooks say so, and the process dies of the signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLD = "The process was told to end (SIGTERM)."

# The command line, which a signal of its own meets as its build begins: within Python, or within a query of DuckDB's.
DRIVER = """
import os, signal, sys, threading
from pipelines.cli import main
from pipelines.lake import plan
from pipelines.lake.engines import duckdb

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

def build(*_):
    if {threads}:
        connection = duckdb.connect('1GB', {threads}, None)
        threading.Timer(3, os.kill, (os.getpid(), signal.{name})).start()
        connection.execute("select sum(hash(a.range * b.range) % 7) from range(1000000) a, range(1000000) b").fetchall()
    os.kill(os.getpid(), signal.{name})
    raise AssertionError("the signal did not end it")

plan.build = build
main()
"""


def terminated(folder: Path, *, threads: int | None, name: str = "SIGTERM") -> subprocess.CompletedProcess[str]:
    hook = folder / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> {folder}/notified\n")
    hook.chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    environ = ours | {"PYTHONPATH": str(ROOT), "MOSTWATCHED_NOTIFY_COMMAND": str(hook)}
    command = [sys.executable, "-c", DRIVER.format(threads=threads, name=name)]
    options = ["--home", str(folder / "home"), "run", "--direct", "--json", "--as-of", "2013-07-01"]
    return subprocess.run(
        [*command, *options, "--landing", str(ROOT / "data" / "sample")],
        env=environ, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_a_run_that_is_told_to_end_says_so(threads: int | None, tmp_path: Path) -> None:
    """Also within one task of a query, which lasts for hours: the main thread works at it, or waits for another."""
    done = terminated(tmp_path, threads=threads)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"mostwatched: {TOLD}"
    assert "Traceback" not in done.stderr
    home = tmp_path / "home"
    last_run = json.loads((home / "lake" / "last_run.json").read_text())
    assert (last_run["outcome"], last_run["why"]) == ("failed", TOLD)
    report = json.loads((home / "reports" / "2013-07-01.json").read_text())
    assert (report["outcome"], report["why"]) == ("failed", TOLD)
    metrics = (home / "metrics" / "mostwatched.prom").read_text()
    assert f'mostwatched_run_outcome{{home="{home}",outcome="failed"}} 1.0' in metrics
    (event,) = map(json.loads, (tmp_path / "notified").read_text().splitlines())
    assert (event["event"], event["why"]) == ("failed", TOLD)


@pytest.mark.slow
def test_an_interrupted_query_is_an_interrupted_run(tmp_path: Path) -> None:
    """^C at a terminal: whoever interrupts a run sees it end, in one line, and needs no notification."""
    done = terminated(tmp_path, threads=1, name="SIGINT")
    assert done.returncode == 1
    assert "Aborted!" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "notified").exists()
