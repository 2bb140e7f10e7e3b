"""`mostwatched sql`: anything asked of a published snapshot, in SQL, printed in three ways."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner, Result
from everything import EVERYTHING
from world import Night, World

from pipelines.cli import cli
from pipelines.core.errors import Damaged, NoSnapshot, UsageError
from pipelines.snapshots import manifest, range_query

LAST_WEEK = "from ranking('2026-01-31', 7)"


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    world = World(tmp_path_factory.mktemp("questions"))
    for entity, table in EVERYTHING.items():
        world.land(entity, table)
    return world.run()


def sql(world: World, *arguments: str, **more: str) -> Result:
    home = str(world.settings.home)
    return CliRunner().invoke(cli, ["--home", home, "sql", *arguments], catch_exceptions=True, **more)


def test_the_answer_is_that_of_the_warehouse(night):
    """As JSON and as CSV every row of it, from the argument or from stdin."""
    rows = night.warehouse(LAST_WEEK)
    answer = sql(night.world, LAST_WEEK, "--json")
    assert [tuple(row.values()) for row in json.loads(answer.stdout)] == rows != []
    assert json.loads(answer.stdout)[0].keys() >= {"position", "rank", "creator_id", "viewers"}
    assert sql(night.world, "-", "--json", input=LAST_WEEK).stdout == answer.stdout
    written = list(csv.reader(io.StringIO(sql(night.world, LAST_WEEK, "--csv").stdout)))
    assert written[1:] == [[str(cell) for cell in row] for row in rows]


def test_a_table_is_as_long_as_is_asked(night):
    """A hundred rows unless told, and a line that says so when there are more."""
    many = "select range as n from range(1000)"
    assert len(sql(night.world, many).stdout.splitlines()) == 101
    assert "--limit" in sql(night.world, many).stderr
    assert len(sql(night.world, many, "--limit", "7").stdout.splitlines()) == 8
    assert sql(night.world, many, "--limit", "7").stderr == ""
    assert len(json.loads(sql(night.world, many, "--json").stdout)) == 1000
    assert "--limit" not in sql(night.world, "select range from range(100)").stderr


def test_values_of_every_kind(night):
    """A number stays the number it is, nothing stays nothing, a list is its JSON; no cell is a formula."""
    values = "select 12.50 as decimal, null as nothing, [1, 2] as list, date '2026-01-05' as day, '=1+1' as formula"
    assert json.loads(sql(night.world, values, "--json").stdout) == [
        {"decimal": 12.5, "nothing": None, "list": "[1, 2]", "day": "2026-01-05", "formula": "=1+1"}
    ]
    assert sql(night.world, values, "--csv").stdout.splitlines()[1] == '12.50,,"[1, 2]",2026-01-05,\'=1+1'
    exact = json.loads(sql(night.world, "select 0.12345678901234567890::decimal(38, 20) as n", "--json").stdout)
    assert exact == [{"n": "0.12345678901234567890"}], "no number of JSON's readers is this one"
    assert json.loads(sql(night.world, "select 'nan'::double as n", "--json").stdout) == [{"n": "nan"}]
    assert json.loads(sql(night.world, "select 1 as n where false", "--json").stdout) == []


def test_a_question_may_begin_with_a_comment(night):
    """As the queries of sql/warehouse do, which can be given as they are; `--json` is an option all the same."""
    assert json.loads(sql(night.world, "-- why?\nselect 1 as n", "--json").stdout) == [{"n": 1}]
    assert "unexpected extra argument (--jsn)" in sql(night.world, "select 1", "--jsn").stderr


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("interval '1 month'", "1 month"),
        ("interval '1000000000 days'", "1000000000 days"),
        ("timestamp_ns '2026-01-05 10:00:00.123456789'", "2026-01-05 10:00:00.123456789"),
        ("timestamptz '2026-01-05 10:00:00+03'", "2026-01-05 07:00:00+00"),
        ("date 'infinity'", "infinity"),
        (r"'\xff=1'::blob", r"\xFF=1"),
        ("['nan'::double]", '["nan"]'),
        ("{'a \"b': [interval '1 month']}", '{"a \\"b": ["1 month"]}'),
        ("map {1: date 'infinity'}", '{"1": "infinity"}'),
        ("array_value(date '2026-01-05')", '["2026-01-05"]'),
        ("170141183460469231731687303715884105727::hugeint", 170141183460469231731687303715884105727),
    ],
)
def test_values_that_python_has_none_of(night, value, shown):
    """They come as DuckDB writes them, and not as what is nearest in Python: no month is thirty days."""
    for query in (f"select {value} as v", f"select {value} as v; -- and; more"):
        assert json.loads(sql(night.world, query, "--json").stdout) == [{"v": shown}]


def test_a_question_with_values_of_such_kinds_is_the_same_question(night):
    """Its rows stay in their order and its columns keep their names; what stands before it is done once."""
    query = "create temp table t as select range as n from range(3); select n, date '2026-01-05' as d, 1 as n"
    answer = sql(night.world, f"{query} from t order by t.n desc", "--csv").stdout
    assert answer.splitlines() == ["n,d,n", "2,2026-01-05,1", "1,2026-01-05,1", "0,2026-01-05,1"]
    with pytest.raises(UsageError, match="More than one column is called n"):
        raise sql(night.world, f"{query} from t", "--json").exception


@pytest.mark.parametrize("asked", ["-- nothing", ";", "", b"select '\xff'"])
def test_nothing_that_can_be_asked_on_stdin(night, asked):
    with pytest.raises(UsageError, match="Ask something" if isinstance(asked, str) else "not UTF-8"):
        raise sql(night.world, "-", input=asked).exception


def test_a_question_changes_nothing(night):
    for statement in ("drop table creators", "create table warehouse.main.mine as select 1", "delete from creators"):
        with pytest.raises(UsageError, match="read-only"):
            raise sql(night.world, statement).exception
    assert manifest.open_current(night.world.settings.snapshots).damage() == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "Ask something"),
        ("-- a comment", "Ask something"),
        ("from 'nowhere.parquet'", "DuckDB cannot answer that. Permission Error: .*--allow-files"),
        ("selec", "DuckDB cannot answer that. Parser Error: .*selec"),
        ("from creatorz", "Did you mean"),
        ("from ranking('2020-01-01', 7)", "holds"),
        ("select 1 as a, 2 as a", "More than one column is called a"),
    ],
)
def test_a_question_without_an_answer(night, query, said):
    """DuckDB's reason in one sentence; nothing is fetched to find one."""
    refused = sql(night.world, query, "--json").exception
    assert isinstance(refused, UsageError)
    assert "\n" not in str(refused)
    with pytest.raises(UsageError, match=said):
        raise refused


@pytest.mark.parametrize(
    "query",
    [
        "from read_text('{secret}')",
        "from '{secret}'",
        "from read_csv('{secret}')",
        "from sniff_csv('{secret}')",
        "from read_parquet('{raw}')",
        "from parquet_metadata('{private}')",
        "from glob('/*')",
        "copy (select 1) to '{home}/snapshots/current.json' (format csv)",
        "copy (select 1) to '{beside}/new.csv'",
        "export database '{beside}/new'",
        "import database '{beside}/new'",
        "attach '{beside}/new.duckdb'",
        "attach '{beside}/new.duckdb' as mine (read_only)",
        "from 'https://127.0.0.1:9/file.parquet'",
        "from read_parquet('s3://bucket/file.parquet')",
        "install httpfs",
        "load httpfs",
        "load '{beside}/evil.duckdb_extension'",
        "create secret (type s3, key_id 'a', secret 'b')",
        "from duckdb_secrets()",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "reset lock_configuration",
        "set allowed_directories = ['/']",
        "set temp_directory = '{beside}'",
        "set profiling_output = '{beside}/new.json'",
        "pragma enable_profiling = 'json'",
        "call enable_logging(storage = 'file', storage_path = '{beside}/new')",
    ],
)
def test_a_question_reaches_nothing_but_the_snapshot(night, tmp_path, query):
    """No file of this machine, no other database, no network, and no setting that would open one of them."""
    home = night.world.settings.home
    secret = tmp_path / "secret.txt"
    secret.write_text("password")
    raw, private = next(home.glob("lake/raw/pledges/*/all.parquet")), next(home.rglob("private/*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in (*home.rglob("*"), *tmp_path.rglob("*")) if path.is_file()}
    asked = query.format(secret=secret, raw=raw, private=private, home=home, beside=tmp_path)
    refused = sql(night.world, asked, "--json")
    assert isinstance(refused.exception, UsageError), refused.stdout
    assert "password" not in str(refused.exception) + refused.stdout
    assert {
        path: path.stat().st_mtime_ns for path in (*home.rglob("*"), *tmp_path.rglob("*")) if path.is_file()
    } == before


def test_a_question_may_use_files_of_a_folder_that_is_named(night, tmp_path):
    """--allow-files opens that folder, and no other."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir(), other.mkdir()
    (mine / "teams.csv").write_text("creator_id,team\nada,red\n")
    query = f"copy (select team from '{mine}/teams.csv' join creators using (creator_id)) to '{mine}/out.csv'"
    assert sql(night.world, query, "--allow-files", str(mine)).exception is None
    assert (mine / "out.csv").read_text() == "team\nred\n"
    for refused in (f"from '{mine}/../other/x.csv'", f"copy (select 1) to '{other}/out.csv'", "from glob('/*')"):
        with pytest.raises(UsageError):
            raise sql(night.world, refused, "--allow-files", str(mine)).exception


def test_a_question_that_is_too_large_for_the_memory_spills_into_the_home(night, monkeypatch, tmp_path):
    """Into a folder that goes with the question, and nowhere else: not where the command was started."""
    monkeypatch.chdir(tmp_path)
    (folder,) = json.loads(sql(night.world, "select current_setting('temp_directory') as folder", "--json").stdout)
    assert str(night.world.settings.home / "tmp") in folder["folder"]
    assert not (night.world.settings.home / "tmp").exists()
    assert list(tmp_path.iterdir()) == []


_ASK = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started by has made of it
from pipelines.cli import main
main()
"""


def test_a_question_that_is_given_up(night, tmp_path):
    """^C ends it at once and without a word of Python's, also where DuckDB works in several threads."""
    begun = tmp_path / "begun"
    query = f"copy (select 1) to '{begun}' (format csv); select sum(hash(range)) from range(1000000000000)"
    command = [sys.executable, "-c", _ASK, "--home", str(night.world.settings.home), "sql", query]
    command += ["--allow-files", str(tmp_path)]
    several = os.environ | {"MOSTWATCHED_THREADS": "4"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=several) as asking:
        try:
            while not begun.exists():
                assert asking.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            asking.send_signal(signal.SIGINT)
            out, said = asking.communicate(timeout=20)
        finally:
            asking.kill()
    assert (asking.returncode, out, said.strip()) == (1, "", "Aborted!")


def test_an_earlier_snapshot(tmp_path):
    world = World(tmp_path)
    with pytest.raises(NoSnapshot):
        raise sql(world, LAST_WEEK).exception
    world.land("viewing_sessions", "creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5")
    first = world.run("2026-01-30")
    world.land("viewing_sessions", "creator | viewer | started_at | minutes\nada | v2 | 2026-01-05 10:00 | 5")
    world.run("2026-01-31")
    viewers = "select viewers from creator_rankings where window_days = 30"
    assert json.loads(sql(world, viewers, "--json").stdout) == [{"viewers": 2}]
    assert json.loads(sql(world, viewers, "--json", "--snapshot", first.snapshot.id).stdout) == [{"viewers": 1}]


def test_a_damaged_warehouse_is_not_asked(tmp_path):
    """One bit of it, where DuckDB may never look."""
    world = World(tmp_path)
    world.land("viewing_sessions", "creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5")
    night = world.run()
    path = night.snapshot.path / range_query.WAREHOUSE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"warehouse\.duckdb is damaged"):
        raise sql(night.world, "select 1").exception
