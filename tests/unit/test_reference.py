"""The generated pages say what the code says; scripts/generate_docs.py writes them anew (`make guide`).

Two more pages need a published sample, docs/reference/metrics.md and docs/how-to/ask-the-tables.md:
tests/e2e/test_analysts.py compares those.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.lake import models
from pipelines.lake.derive import RELATIONS
from pipelines.landing.schema import ENTITIES

ROOT = Path(__file__).resolve().parents[2]
SQL_README = ROOT / "sql/README.md"
GENERATED = [*sorted((ROOT / "docs/reference").glob("*.md")), SQL_README]
BY_HAND = {"glossary.md", "json.md"}  # of them


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script that writes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts/generate_docs.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_page_says_what_the_code_says(script, path):
    """`make guide` would write the same page again; a page that it does not write says that it is written by hand."""
    text = path.read_text(encoding="utf-8")
    if path in script.PAGES:
        assert script.PAGES[path](text) == text, f"{path.name} is not what the code says: run `make guide`"
    else:
        assert path == script.METRICS or path.name in BY_HAND


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_the_first_line_says_who_writes_the_page(script, path):
    """Generated, generated in part, or by hand."""
    text = path.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    assert re.fullmatch("<!-- .* -->", first)
    assert ("by hand" in first) == (script.BEGIN in text or path.name in BY_HAND)
    assert ("scripts/generate_docs.py" in first) == (path.name not in BY_HAND)


def test_every_column_of_every_model_is_described():
    """On one of two pages: that of the published tables, or that of the models. No column is without a meaning."""
    text = SQL_README.read_text(encoding="utf-8") + (ROOT / "docs/reference/tables.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(models.LINE) <= set(sections)
    for name in models.LINE:
        rows = re.findall(r"^\| (\w+) \|(?: [A-Z0-9(), ]+ \|)? (\S.*) \|$", sections[name], re.MULTILINE)
        assert [column for column, _ in rows if column != "column"] == list(models.model(name).columns), name


def test_the_readme_names_everything_that_a_model_can_read(script):
    """Raw tables and the relations of the plan are explained by hand: none is forgotten."""
    words = set(re.findall(r"`(\w+)`", SQL_README.read_text(encoding="utf-8").split(script.BEGIN)[0]))
    assert {f"raw_{entity}" for entity in ENTITIES} | set(RELATIONS) <= words


def test_a_setting_without_a_description_is_found(script):
    """Whoever adds a setting has to say what it sets."""
    text = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    with pytest.raises(KeyError, match="MOSTWATCHED_HOME"):
        script.settings_page(re.sub(r"^\| MOSTWATCHED_HOME .*\n", "", text, flags=re.MULTILINE))


def test_a_page_that_is_out_of_date_is_found(script):
    """An option, a default, a field, a column that was changed in the page."""
    for path, right, wrong in (
        ("commands.md", "`--as-of DATE`", "`--until DATE`"),
        ("settings.md", "| 0.01 |", "| 0.02 |"),
        ("landed-fields.md", "| `revision` | whole number", "| `revision` | text"),
        ("tables.md", "| viewers | BIGINT |", "| viewers | INTEGER |"),
        ("exit-codes.md", "| 3 |", "| 5 |"),
        ("http-api.md", "1 to 1000, default 100", "1 to 100, default 100"),
    ):
        page = ROOT / "docs/reference" / path
        text = page.read_text(encoding="utf-8")
        changed = text.replace(right, wrong)
        assert changed != text
        assert script.PAGES[page](changed) == text
