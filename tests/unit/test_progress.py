"""How long work shows that it goes on."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from pipelines import progress

WORK = """
import time
from pipelines import progress
progress._SECONDS_BETWEEN_LINES = 0.05
with progress.shown() as tell:
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
    assert set(lines) <= {f"build sessions [/x]: {number} of 5" for number in range(6)}
    assert done.stdout == "the result\n"


def test_on_a_terminal_it_is_a_bar_on_stderr():
    """On a terminal a bar moves, also then not on stdout."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert b"build sessions" in shown
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


def test_quiet_says_nothing(capsys):
    """Nothing on either stream."""
    with progress.shown(quiet=True) as tell:
        tell("build", 0, 1)
        tell("build", 1, 1)
    assert capsys.readouterr() == ("", "")


def test_short_work_says_nothing(capsys):
    """What is done at once needs no signs of life."""
    with progress.shown() as tell:
        for done in range(1000):
            tell("build", done, 999)
    assert len(capsys.readouterr().err.splitlines()) <= 1
