"""What is logged: one line each, no secrets, plain words or JSON."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.logs import JsonLines, PlainLines, TextLines, without_secrets

CHECKOUT = Path(__file__).parents[3]
FORMATTERS = [JsonLines(), PlainLines(), TextLines()]


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda each: type(each).__name__)
def test_a_record_is_one_line_that_commands_no_terminal(formatter):
    record = logging.makeLogRecord({"msg": "one\ntwo \x1b[31m \u202e", "levelname": "INFO", "name": "a", "key": "b\nc"})
    line = formatter.format(record)
    assert line.isprintable()
    assert "one\\ntwo" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:secret@host:1/0 is away", "redis://***@host:1/0 is away"),
        ("https://secret@host/x", "https://***@host/x"),
        ("redis://user:se@secret@host:1/0 is away", "redis://***@host:1/0 is away"),
        ("Authorization: Bearer secret.secret.secret", "Authorization: Bearer ***"),
        ("nobody@example.com wrote http://host/a@b", "nobody@example.com wrote http://host/a@b"),
    ],
)
def test_no_secret_is_in_it(text, shown):
    assert without_secrets(text) == shown
    for formatter in FORMATTERS:
        line = formatter.format(logging.makeLogRecord({"msg": text, "extra": text}))
        assert "secret" not in line


def said(script: str, log_format: str, code: int = 0) -> list[str]:
    """What a process that runs `script` writes to stderr."""
    start = f"from pipelines.core import logs\nlogs.configure({log_format!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", start + script], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    return done.stderr.splitlines()


def test_as_text_only_what_matters_is_said():
    script = "logs.run_log.info('began')\nlogs.run_log.warning('the disk is %s', 'full')"
    assert said(script, "text") == ["mostwatched: the disk is full"]


def test_as_json_everything_is():
    """Also what other libraries and Python itself have to say, and an error that nobody expected."""
    script = (
        "import logging, warnings\n"
        "logs.run_log.info('began', extra={'as_of': '2026-01-31'})\n"
        "logging.getLogger('other').warning('hm')\n"
        "warnings.warn('old')\n"
        "raise KeyError('a\\nb')"
    )
    began, other, warning, ended = map(json.loads, said(script, "json", code=1))
    assert (began["event"], began["as_of"], began["level"]) == ("began", "2026-01-31", "info")
    assert (other["logger"], other["event"]) == ("other", "hm")
    assert "old" in warning["event"]
    assert (ended["level"], "KeyError" in ended["exception"]) == ("critical", True)


def test_what_another_library_puts_on_stderr_becomes_json():
    """At the level that it had; what it writes to a file stays what it is."""
    script = (
        "import io, logging, sys\n"
        "other, file = logging.getLogger('other'), io.StringIO()\n"
        "other.propagate = False\n"
        "other.addHandler(logging.StreamHandler(sys.stderr)); other.handlers[0].setLevel('ERROR')\n"
        "other.addHandler(logging.StreamHandler(file))\n"
        "logs.redirect_handlers()\n"
        "other.warning('one'); other.error('two')\n"
        "assert file.getvalue() == 'one\\ntwo\\n'\n"
    )
    assert [json.loads(line)["event"] for line in said(script, "json")] == ["two"]
