"""`mostwatched schema`, as a producer calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipelines.landing.schema import ENTITIES


def schema(*arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "pipelines.cli", "schema", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


def test_schema_prints_the_contract_in_three_forms() -> None:
    assert json.loads(schema("pledges"))["title"] == "pledges"
    assert set(ENTITIES) <= set(json.loads(schema())["$defs"])
    assert json.loads(schema("--data-contract"))["kind"] == "DataContract"
    tables = schema("--markdown")
    assert tables.rstrip("\n") in Path("docs/reference/landed-fields.md").read_text(encoding="utf-8")
    assert "no entity. What may land: viewing_sessions" in schema("sessions", code=2)
