"""What the README says can be done, done."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.core import settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERIES = [query.strip() for query in re.search(r"```sql\n(.*?)```", README, re.DOTALL)[1].split(";\n")]


pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture(scope="module")
def warehouse(sample):
    """The warehouse of the sample."""
    with duckdb.connect(str(sample / "warehouse.duckdb"), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("query", [query for query in QUERIES if query])
def test_the_queries_for_analysts_answer(warehouse, query):
    """Each of the README's queries runs on the sample as it stands and has an answer."""
    assert warehouse.execute(query).fetchall()


def test_there_are_five_queries():
    """The block holds the five queries that the section promises, numbered."""
    assert [query.split(".")[0] for query in QUERIES if query] == [f"-- {number}" for number in range(1, 6)]


def test_every_setting_is_in_the_table_with_its_default():
    """The table of settings is the fields of Settings, no more and no less."""
    rows = dict(re.findall(r"^\| (MOSTWATCHED_\w+) \| ([^|]+) \|", README, re.MULTILINE))
    defaults = {
        settings.variable(field.name): field.default
        for field in fields(settings.Settings)
        if field.name in settings.names()
    }
    assert set(rows) == set(defaults)
    for variable, default in defaults.items():
        shown = rows[variable].strip()
        match default:
            case None | ():
                assert shown == "none", variable
            case bool():
                assert shown == str(default).lower(), variable
            case tuple():
                assert shown == ",".join(map(str, default)), variable
            case Path():
                assert shown == (str(default) if default.parts[0] == "~" else f"./{default}"), variable
            case _:
                assert shown == str(default), variable


@pytest.mark.parametrize("line", re.findall(r"^    mostwatched ((?:\w+ ?)+?)(?= [-\[|]|  |$)", README, re.MULTILINE))
def test_every_command_shown_exists(line):
    """A command that the README shows has a help text."""
    words = [word for word in line.split() if word.islower()]
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(path):
    """What the README links to is in the checkout."""
    assert (ROOT / path).exists()
