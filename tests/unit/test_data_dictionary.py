"""sql/README.md says of every model what its header says; scripts/data_dictionary.py writes it anew (`make guide`)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.lake import models
from pipelines.lake.derive import RELATIONS
from pipelines.landing.schema import ENTITIES

README = models.sql_folder() / "README.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that writes it."""
    spec = importlib.util.spec_from_file_location("data_dictionary", README.parents[1] / "scripts/data_dictionary.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_says_what_the_headers_say(script):
    """Purposes, grains, sources, columns and types are those of the files; `make guide` writes them again."""
    text = README.read_text(encoding="utf-8")
    assert script.BEGIN in text
    assert script.END in text
    assert script.with_dictionary(text) == text


def test_every_column_of_every_model_is_in_it():
    """No model and no column is left out, nor one without a meaning."""
    text = README.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(models.LINE) <= set(sections)
    for name in models.LINE:
        rows = re.findall(r"^\| (\w+) \|(?: [A-Z0-9(), ]+ \|)? (\S.*) \|$", sections[name], re.MULTILINE)
        assert [column for column, _ in rows if column != "column"] == list(models.model(name).columns), name


def test_the_readme_names_everything_that_a_model_can_read(script):
    """Raw tables and the relations that lake/plan.py makes are explained by hand: none is forgotten."""
    words = set(re.findall(r"`(\w+)`", README.read_text(encoding="utf-8").split(script.BEGIN)[0]))
    assert {f"raw_{entity}" for entity in ENTITIES} | set(RELATIONS) <= words


def test_the_links_of_the_readme_lead_somewhere():
    """A newcomer can click through."""
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (Path(README).parent / target).exists(), target
