"""What docs/how-to/ask-the-tables.md says, on the sample: every answer, worked out again and asked of two DuckDBs.

Also docs/reference/metrics.md, which needs a published sample as well.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.core import settings
from pipelines.jobs.audit_run import audit_current

ROOT = Path(__file__).resolve().parents[2]
OLDEST = ROOT / "build" / "analysts-venv" / "bin" / "python"  # made by `make analysts`
ONE_DAY = timedelta(days=1)
AS_OF = date(2013, 7, 1)

pytestmark = pytest.mark.xdist_group("sample")


def loaded(name: str) -> ModuleType:
    """A script of the checkout."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that writes the guide."""
    return loaded("analysts_guide")


@pytest.fixture(scope="module")
def answers(script, sample) -> Mapping[str, Any]:
    """What the queries answer on the sample."""
    return script.answers(sample / "warehouse.duckdb")


@pytest.fixture(scope="module")
def days() -> Mapping[tuple[str, str], list[date]]:
    """(creator, viewer) -> the days on which they watched, from the landed lines. (Nobody who flew is erased.)"""
    found: dict[tuple[str, str], set[date]] = defaultdict(set)
    for path in (ROOT / "data/sample/viewing_sessions").glob("*.gz"):
        with gzip.open(path, "rt") as lines:
            for line in map(json.loads, lines):
                start, end = (datetime.fromisoformat(line[name]) for name in ("startedAt", "endedAt"))
                last = max(start, end - timedelta(milliseconds=1))
                day = start.date()
                while day <= last.date() and line["viewerId"] != line["creatorId"]:
                    found[line["creatorId"], line["viewerId"]].add(day)
                    day += ONE_DAY
    return {pair: sorted(watched) for pair, watched in found.items()}


def rows(answer: Any) -> list[dict[str, Any]]:
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


@pytest.mark.slow
def test_the_guide_shows_the_queries_and_answers_as_they_are(script, answers):
    """`make guide` would write the same text and the same picture, byte for byte."""
    text = script.GUIDE.read_text(encoding="utf-8")
    assert script.guide(text, answers) == text
    assert script.PICTURE.read_text(encoding="utf-8") == script.picture(answers)
    for name in script.names():
        assert f"<!-- {name}: begin -->" in text, f"{name} is a query that the guide does not show"


def test_the_short_queries_answer(script, sample):
    """Each of the page's five queries runs on the sample as it stands and has an answer."""
    (block,) = re.findall(r"```sql\n(-- 1\..*?)```", script.GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    queries = [query.strip() for query in block.split(";\n") if query.strip()]
    assert [query.split(".")[0] for query in queries] == [f"-- {number}" for number in range(1, 6)]
    with duckdb.connect(str(sample / "warehouse.duckdb"), read_only=True) as connection:
        for query in queries:
            assert connection.execute(query).fetchall(), query


@pytest.mark.slow
def test_the_page_of_metrics_says_what_there_is(script, sample):
    """`make guide` would write docs/reference/metrics.md again as it is."""
    home = settings.load(sample.parents[1], environ={})
    audit_current(home, 1)
    pages = loaded("generate_docs")
    assert pages.metrics(home) == pages.METRICS.read_text(encoding="utf-8")


def test_who_came_back(answers, days):
    """Retention by gap is the next visit of every viewer of a day, counted one by one."""
    first, end = AS_OF - timedelta(days=30), AS_OF - timedelta(days=7)
    audience, came_back = 0, defaultdict(int)
    for watched in days.values():
        for number, day in enumerate(watched):
            if first <= day < end:
                audience += 1
                gap = (watched[number + 1] - day).days if number + 1 < len(watched) else 99
                came_back[gap] += gap <= 7 and watched[number + 1] < AS_OF
    asked = rows(answers["retention"])
    assert [(row["days_later"], row["viewers"]) for row in asked] == [(gap, came_back[gap]) for gap in range(1, 8)]
    assert [row["percent"] for row in asked] == [round(100 * came_back[gap] / audience, 1) for gap in range(1, 8)]


def test_who_was_there_on_both_days(answers, days):
    """The overlap of two days is the viewers of both, counted one by one."""
    monday, tuesday = date(2013, 6, 24), date(2013, 6, 25)
    asked = rows(answers["overlap"])
    assert len(asked) == 8
    for row in asked:
        watched = [set(them) for (creator, _), them in days.items() if creator == row["creator_id"]]
        assert row["monday"] == sum(monday in them for them in watched)
        assert row["tuesday"] == sum(tuesday in them for them in watched)
        assert row["both_days"] == sum({monday, tuesday} <= them for them in watched)


def test_the_days_of_the_week(answers, days):
    """The averages are those of the viewers of each day, counted one by one."""
    by_weekday: dict[str, int] = defaultdict(int)
    for watched in days.values():
        for day in watched:
            if AS_OF - timedelta(days=56) <= day < AS_OF:
                by_weekday[f"{day:%A}"] += 1
    asked = rows(answers["weekdays"])
    assert {row["weekday"]: row["viewers"] for row in asked} == {
        weekday: pytest.approx(count / 8, abs=0.051) for weekday, count in by_weekday.items()
    }
    assert {row["days"] for row in asked} == {8}


def test_reach_and_goals(answers, sample):
    """Every creator with a goal is in one of four groups; goals and backers are those of the published table."""
    funding = [row for row in pq.read_table(sample / "live_stream_funding.parquet").to_pylist() if row["funding_goal"]]
    ranking = pq.read_table(sample / "creator_rankings.parquet").to_pylist()
    ranked = {row["creator_id"] for row in ranking if row["window_days"] == 30}
    counted = [row for row in funding if row["creator_id"] in ranked]
    asked = rows(answers["funding"])
    assert [row["quarter"] for row in asked] == [1, 2, 3, 4]
    assert sum(row["creators"] for row in asked) == len({row["creator_id"] for row in counted})
    assert sum(row["streams"] for row in asked) == len(counted)
    assert sum(row["backers"] for row in asked) == sum(row["backers"] for row in counted)
    assert sum(row["goals_reached"] for row in asked) == sum(row["funding_percentage"] >= 100 for row in counted)


def opened_by(python: str | Path, script: ModuleType, sample: Path) -> Any:
    queries = [str(script.QUERIES / f"{name}.sql") for name in script.names()]
    command = [str(python), str(ROOT / "tests" / "analyst.py"), str(sample / "warehouse.duckdb"), *queries]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_table_column_and_macro_is_explained(script, sample):
    """To whoever opens the file, without the project beside it."""
    seen = opened_by(sys.executable, script, sample)
    assert seen["version"].startswith("2.")
    assert seen["uncommented"] == []
    assert len(seen["comments"]) > 50


def test_duckdb_1_2_sees_the_same(script, sample):
    """Tables, comments, macros and the answers to every documented query are those of DuckDB 2.0."""
    if not OLDEST.exists():
        pytest.skip("no DuckDB 1.2 here: `make analysts` installs it")
    old, new = (opened_by(python, script, sample) for python in (OLDEST, sys.executable))
    assert old.pop("version").startswith("1.2.")
    assert new.pop("version").startswith("2.")
    assert old == new
