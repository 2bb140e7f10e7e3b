"""How long work shows that it goes on."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

from pipelines.core import progress

WORK = """
import time
from pipelines.core import progress
progress._SECONDS_BETWEEN_LINES = 0.05
with progress.show_progress() as tell:
    for done in range(6):
        tell("build sessions [/x]", done, 5)  # a file may be called so: it is no markup
        time.sleep(0.06)
print("the result")
"""


def test_elsewhere_it_is_plain_lines_on_stderr():
    """In a log there are whole lines now and then, and stdout holds the result alone."""
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines
    counted = re.compile(r"build sessions \[/x\]: [0-5] of 5(, [\d.]+/s, 0:0\d left)?")
    assert all(counted.fullmatch(line) for line in lines), lines
    assert done.stdout == "the result\n"


def test_where_logs_are_json_lines_are_too():
    """One object a line, with rate and remaining time as numbers."""
    work = WORK.replace(
        "from pipelines.core import progress", "from pipelines.core import logs, progress\nlogs.configure('json')"
    )
    work = work.replace("_LINES = 0.05", "_LINES = 0.05; progress._SECONDS_TO_MEASURE = 0.1")
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines
    assert {line["event"] for line in lines} == {"progress"}
    assert {(line["step"], line["total"], line["unit"]) for line in lines} == {("build sessions [/x]", 5, "parts")}
    assert 5 < lines[-1]["per_second"] < 50
    assert lines[-1]["remaining_seconds"] == 0
    assert done.stdout == "the result\n"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_of_the_work_at_hand():
    """Measured since this kind of work began, from where it began; nothing is said before it can be."""
    clock = Clock()
    pace = progress.Pace(clock)
    pace.update("read a", 50_000_000, 1_000_000_000, "bytes")
    assert (pace.per_second, pace.text) == (None, "")
    clock.now = 10.0
    pace.update("read b", 250_000_000, 1_000_000_000, "bytes")
    assert pace.per_second == 20_000_000
    assert pace.remaining_seconds == 37.5
    assert pace.text == "20.0 MB/s, 0:38 left"
    pace.update("viewer_days", 0, 30, "")
    assert pace.text == ""
    clock.now = 3_610.0
    pace.update("viewer_days", 1, 30, "")
    assert pace.text == "0.0/s, 29:00:00 left"


def test_what_has_been_there_before_is_no_pace():
    """Work that begins anew is measured anew."""
    clock = Clock()
    pace = progress.Pace(clock)
    pace.update("build a", 5, 10, "")
    clock.now = 1.0
    pace.update("build b", 2, 10, "")
    assert pace.per_second is None
    clock.now = 2.0
    pace.update("build b", 4, 10, "")
    assert pace.per_second == 2


def test_on_a_terminal_it_is_a_bar_on_stderr():
    """On a terminal a bar moves, also then not on stdout."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "120"}
    work = WORK.replace("_LINES = 0.05", "_LINES = 0.05; progress._SECONDS_TO_MEASURE = 0.1")
    done = subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert b"build sessions" in shown
    assert re.search(rb"\d/s, 0:0\d left", shown), shown
    assert done.stdout == b"the result\n"


def test_a_name_is_shown_and_not_obeyed():
    """Files are named by others: brackets are no markup, and a control character is shown as its number."""
    work = WORK.replace("build sessions", "read [/x] \\x1b[31m")
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=theirs, env=environ, check=False)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert done.stdout == b"the result\n"
    assert b"read [/x] \\x1b[31m" in shown
    lines = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True).stderr
    assert "read [/x] \\x1b[31m" in lines


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed, and all was read
        return b""


def test_short_work_says_nothing(capsys):
    """What is done at once needs no signs of life."""
    with progress.show_progress() as tell:
        for done in range(1000):
            tell("build", done, 999)
    assert len(capsys.readouterr().err.splitlines()) <= 1
