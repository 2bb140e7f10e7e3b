"""Who may import whom is held by import-linter; here, that its lists leave nothing out."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import pipelines

ROOT = Path(__file__).resolve().parents[2]
MODULES = {f"pipelines.{module.name}" for module in pkgutil.iter_modules(pipelines.__path__)}
ALONE = r"The read API rests on (.+) alone"


def read_api() -> dict[str, Any]:
    """The contract of the read API."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = [contract for contract in contracts if re.fullmatch(ALONE, contract["name"])]
    return dict(found)


def test_the_read_api_may_import_what_its_contract_names_and_nothing_else():
    """import-linter knows no list of what is allowed: every module that the sentence does not name is forbidden."""
    contract = read_api()
    allowed = {f"pipelines.{name}" for name in re.split(", | and ", re.fullmatch(ALONE, contract["name"])[1])}
    assert allowed < MODULES
    ours = [name for name in contract["forbidden_modules"] if name.startswith("pipelines.")]
    assert ours == sorted(MODULES - allowed - {"pipelines.api"})


def test_the_read_api_imports_all_that_it_may():
    """Else the sentence would allow more than there is need for."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "pipelines" / "api").rglob("*.py")]
    found = re.findall(
        r"^\s*(?:from pipelines import (.+)|(?:from|import) pipelines\.(\w+))", "\n".join(texts), re.MULTILINE
    )
    imported = {name for names, module in found for name in (re.findall(r"\w+", names) or [module])} - {"api"}
    assert imported == set(re.split(", | and ", re.fullmatch(ALONE, read_api()["name"])[1]))
