"""The SQL files are what their headers say: read, run and compared, one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noise import land_noise
from world import AS_OF, Night, World

from pipelines.lake import derive, models, plan_states
from pipelines.lake.derive import RELATIONS
from pipelines.lake.engines import duckdb as engine
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.raw.writer import AGES
from pipelines.snapshots import publish

PARAMS: dict[str, object] = {
    "min_watched_milliseconds": 0,
    "max_session_milliseconds": 86_400_000,
    "leave_out_own_views": True,
    "max_window_days": 30,
    "revision_days": 35,
    "min_cell": 2,
    "as_of_instant": datetime(2026, 1, 31, tzinfo=UTC),
    "first_day": date(2026, 1, 1),
    "end_day": date(2026, 1, 31),
}
RAW = {f"raw_{entity}": schema for entity, schema in RAW_SCHEMAS.items()}
BY_DAY = {  # the models that are kept in a file a day
    *(
        "session_keys",
        "session_repeats",
        "repeated_session_keys",
        "repeated_session_versions",
        "session_versions",
        "erased_viewers",
        "session_outcomes",
    ),
    *("viewer_days", "creator_reach", "creator_windows", "shown_creator_windows"),
}
DAY_OF = {
    "viewer_days": "started_on",
    "creator_windows": "as_of",
    "shown_creator_windows": "as_of",
}  # what the day of a file is called in its rows
every_model = pytest.mark.parametrize("name", models.LINE)
every_statement = pytest.mark.parametrize(
    "path", sorted(models.sql_folder().rglob("*.sql")), ids=lambda path: path.name
)


@pytest.fixture(scope="module")
def schemas() -> dict[str, pa.Schema]:
    """The columns of every source and every model, found by running each model over nothing."""
    found: dict[str, pa.Schema] = RAW | RELATIONS
    with engine.connect("500MB", 1, None) as connection:
        for name in models.LINE:
            model = models.model(name)
            if models.EARLIER + name in model.sources:
                found[name] = derive.versions_schema(model)
            for source in model.sources:
                engine.register(connection, source, found[source.removeprefix(models.EARLIER)].empty_table())
            params = {param: PARAMS[param] for param in model.params}
            rows = engine.query(connection, model.statement, params)
            assert rows.num_rows == 0, f"{name} makes rows out of nothing"
            found[name] = rows.schema
    return found


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night over random records in which everything that models deal with happens."""
    world = World(tmp_path_factory.mktemp("noise"), min_cell=1)
    land_noise(world, seed=1)
    land_noise(world, seed=2, sessions=1)
    old = {"sessionId": "old", "creatorId": "ada", "viewerId": "gone", "endedAt": None}
    world.land("viewing_sessions", [old | {"startedAt": f"{year}-03-01T00:00:00Z"} for year in (2022, 2025)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_states, "BASE_ROWS", 15)  # the base has a part of the records, and some have landed since
        return world.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})


# --- headers -------------------------------------------------------------------------------------------------------


def test_the_line_is_all_the_files_there_are():
    """Every SQL file but those of the warehouse is a model of the line; every model has one file, in one folder."""
    files = [path.stem for path in models.sql_folder().rglob("*.sql") if path.parent.name != "warehouse"]
    statements = [name for name in files if not name.endswith(".checks")]
    assert sorted(models.LINE) == sorted(statements)
    assert {name.removesuffix(".checks") for name in files} == set(statements)
    for name in models.LINE:
        checks = models.sql_file(f"{name}.checks")
        assert checks is None or checks.parent == models.sql_file(name).parent


def test_checks_guard_what_is_published():
    """Only published tables have checks: those are the ones that are run."""
    guarded = {path.name.split(".")[0] for path in models.sql_folder().glob("*/*.checks.sql")}
    assert guarded <= {*publish.PUBLIC_TABLES, "creator_reach"}


@every_model
def test_sources_are_what_the_statement_reads(name):
    """The header names exactly the tables that the statement names."""
    model = models.model(name)
    with duckdb.connect() as connection:
        used = connection.get_table_names(re.sub(r"\$\w+", "null", model.statement))
    assert set(model.sources) == used
    assert len(model.sources) == len(used)


@every_model
def test_a_model_reads_only_what_stands_before_it(name):
    """Raw, relations that lake/plan.py makes, models earlier in the line, and earlier files of its own."""
    before = set(models.LINE[: models.LINE.index(name)])
    earlier = {models.EARLIER + source for source in (*before, name)}
    assert set(models.model(name).sources) <= {*RAW, *RELATIONS, *before, *earlier}


@every_model
def test_params_are_what_the_statement_binds(name):
    """The header names exactly the statement's parameters, and the tests know a value for each."""
    model = models.model(name)
    (statement,) = duckdb.extract_statements(model.statement)
    assert set(model.params) == statement.named_parameters
    assert set(model.params) <= set(PARAMS)


def test_an_as_of_is_compared_with_noted_ages_alone():
    """Raw notes the newest of the instants by which as_of tells what was known: of all that SQL compares with it."""
    for name in models.LINE:
        compared = re.findall(r"([\w.]+|coalesce\([^)]*\)) < \$as_of_instant", models.model(name).canonical)
        assert models.model(name).canonical.count("$as_of_instant") == len(compared)
        assert set(re.findall(r"\w+_at", " ".join(compared))) <= set(AGES)


@every_model
def test_every_column_has_a_comment_and_nothing_else_has(name, schemas):
    """The commented columns are the columns of the result, in their order."""
    assert list(models.model(name).columns) == schemas[name].names


@every_model
def test_a_header_says_what_and_how_fine(name):
    """A purpose in a sentence, and the grain as `one row per …`."""
    model = models.model(name)
    assert re.match(r"[A-Z].*\.", model.purpose)
    assert model.grain.startswith("one row per ")


@every_model
def test_keys_are_columns_and_begin_with_the_day(name, schemas):
    """Keys are columns of the result; where files are kept by day, that day comes first in both."""
    keys = models.model(name).keys
    assert set(keys) <= set(schemas[name].names)
    if name in BY_DAY:
        assert keys[0] == schemas[name].names[0] == DAY_OF.get(name, "day")


@pytest.mark.slow
def test_keys_tell_rows_apart_and_order_them(night):
    """In every file that random records lead to, keys are unique and rows stand in their order."""
    with_rows = set()
    for name in models.LINE:
        for path in sorted((night.settings.lake / name).rglob("*.parquet")):
            rows = [
                tuple(row.values()) for row in pq.read_table(path, columns=list(models.model(name).keys)).to_pylist()
            ]
            assert len(set(rows)) == len(rows), path
            assert rows == sorted(rows, key=_nulls_first), path
            if rows:
                with_rows.add(name)
    stored = {name for name in models.LINE if models.model(name).is_stored}
    assert with_rows == stored, "the random records leave a model without a row"


def test_what_is_not_stored_is_made_of_what_is():
    """`sessions` is made again for its readers; what it is made of is kept, and counts as what they rest on."""
    assert [name for name in models.LINE if not models.model(name).is_stored] == ["sessions"]
    assert models.model("sessions").ephemeral == ()
    assert models.model("viewer_days").leaf_sources == (*models.model("sessions").sources, "calendar")


def _nulls_first(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(value is not None, value.encode() if isinstance(value, str) else value) for value in row]


@pytest.mark.slow
def test_models_kept_by_day_are(night):
    """A model has a folder for each day, or none."""
    by_day = {folder.parent.name for folder in night.settings.lake.glob("*/day=*")}
    assert by_day == BY_DAY | {check.name for check in models.checks("creator_reach")}


# --- text ----------------------------------------------------------------------------------------------------------


@every_statement
def test_sql_is_plain(path):
    """No `between`, which includes its end, and nothing that a template engine or a formatter would fill in."""
    text = path.read_text()
    assert not re.search(r"\bbetween\b", models.without_comments(text), re.IGNORECASE)
    assert not re.search(r"\{\{|\{%|%\(|%s|\{\w*\}|\$\{", text)
    assert all(len(line) <= 140 for line in text.splitlines())


@every_model
def test_a_file_holds_one_select(name):
    """One statement a file, with no semicolon, and it only reads."""
    model = models.model(name)
    (statement,) = duckdb.extract_statements(model.statement)
    assert statement.type == duckdb.StatementType.SELECT
    assert ";" not in model.canonical


def test_comments_and_spacing_do_not_count():
    """What names a derived file is the statement without comments and spacing; what stands in quotes is left alone."""
    assert models.without_comments("-- says a\nselect  'a -- b',\n\t1 -- one") == "select 'a -- b', 1"
    assert models.without_comments("select 'it''s  -- so'") == "select 'it''s  -- so'"


def test_an_unknown_model_names_the_known_ones():
    """Asking for a model that is not there says which are."""
    with pytest.raises(LookupError, match=r"session_keys, .*version_conflicts"):
        models.model("session")


@pytest.mark.parametrize("field", ["grain", "keys", "sources", "params"])
def test_a_header_without_a_line_is_an_error(field):
    """Each line of the header is required, and the error names file and line."""
    lines = [
        "-- Do.",
        "-- grain: one row",
        "-- keys: a",
        "-- sources: b",
        "-- params: none",
        "select 1 as a -- one",
        "",
    ]
    assert models.parse("some", "\n".join(lines)).columns == {"a": "one"}
    with pytest.raises(ValueError, match=f"some.sql has no line `-- {field}:`"):
        models.parse("some", "\n".join(line for line in lines if not line.startswith(f"-- {field}")))


# --- what is published -----------------------------------------------------------------------------------------------

PUBLISHED = {
    "creator_rankings.parquet": """
        window_days SMALLINT, position INTEGER, rank INTEGER, creator_id VARCHAR, viewers BIGINT,
        anonymous_viewers BIGINT, sessions BIGINT, watched_seconds BIGINT, previous_rank INTEGER""",
    "creator_reach/2026-01-30.parquet": """
        day DATE, creator_id VARCHAR, is_signed_in BOOLEAN, gap_days SMALLINT, viewers BIGINT,
        sessions_started BIGINT, sessions_carried_in BIGINT, watched_milliseconds BIGINT""",
    "live_stream_funding.parquet": """
        stream_id VARCHAR, creator_id VARCHAR, funding_goal DECIMAL(18,2), collected_funding DECIMAL(18,2),
        currency VARCHAR, funding_percentage BIGINT, backers BIGINT""",
    "creators.parquet": """
        creator_id VARCHAR, username VARCHAR, name VARCHAR, surname VARCHAR, availability_status VARCHAR,
        profile_photo_id VARCHAR, profile_photo_url VARCHAR, profile_photo_type VARCHAR,
        profile_photo_variants VARCHAR, profile_photo_created_at TIMESTAMP WITH TIME ZONE,
        profile_photo_updated_at TIMESTAMP WITH TIME ZONE, expertise VARCHAR, status VARCHAR,
        updated_at TIMESTAMP WITH TIME ZONE""",
    "private/follows.parquet": "user_id VARCHAR, creator_id VARCHAR",
    "private/funded_streams.parquet": "user_id VARCHAR, stream_id VARCHAR",
    "private/replay_rentals.parquet": """
        user_id VARCHAR, stream_id VARCHAR, rented_at TIMESTAMP WITH TIME ZONE, expires_at TIMESTAMP WITH TIME ZONE,
        price DECIMAL(18,2)""",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_columns_are_the_design(night, name):
    """Readers get the columns and types that the design promises, in its order."""
    expected = [tuple(column.strip().split(" ", 1)) for column in re.split(r",(?!2\))", PUBLISHED[name])]
    assert _columns(night, name.replace("creator_reach/", night.snapshot.cube)) == expected


@pytest.mark.parametrize("entity", ["live_streams", "lls_streams"])
def test_streams_are_published_as_landed(night, entity):
    """The columns of raw, but for the line they stood on."""
    columns = _columns(night, f"{entity}.parquet")
    assert [name for name, _ in columns] == [name for name in RAW_SCHEMAS[entity].names if name != "line"]


def test_published_types_are_those_of_raw(night):
    """What passes through keeps its type; instants are UTC, in the engine's own resolution."""
    for name in ("creators", "live_streams", "lls_streams"):
        for column in night.snapshot.table(f"{name}.parquet").schema:
            landed = RAW_SCHEMAS[name].field(column.name).type
            if pa.types.is_timestamp(landed):
                assert pa.types.is_timestamp(column.type)
                assert column.type.tz == "UTC"
            else:
                assert column.type == landed, (name, column.name)


def _columns(night: Night, name: str) -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        rows = connection.from_parquet(str(night.snapshot.path / name))
        return [(column, str(kind)) for column, kind in zip(rows.columns, rows.types, strict=True)]


# --- checks --------------------------------------------------------------------------------------------------------

# For every check a way to break a good table, and what of the offender it must print.
OFFENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "positions of a window are 1..n with no gap": (
        "delete from creator_rankings where window_days = 30 and position = 2",
        {"window_days": 30, "first_position": 1, "last_position": 4, "creators": 3},
    ),
    "a creator stands once in a window": (
        "update creator_rankings set creator_id = 'ada' where window_days = 7",
        {"window_days": 7, "creator_id": "ada", "times": 2},
    ),
    "rank follows viewers": (
        "update creator_rankings set rank = 9 where window_days = 30 and position = 1",
        {"window_days": 30, "rank": 9, "position": 1, "viewers": 3},
    ),
    "figures are neither negative nor more than sessions allow": (
        "update creator_rankings set sessions = 1 where window_days = 30 and position = 1",
        {"window_days": 30, "viewers": 3, "anonymous_viewers": 0, "sessions": 1},
    ),
    "banned and deleted creators are left out": (
        "update creators set status = 'deleted' where creator_id = 'ada'",
        {"creator_id": "ada", "status": "deleted"},
    ),
    "no creator is called as programs write null": (
        "update creator_rankings set creator_id = 'NULL' where window_days = 30 and position = 1",
        {"window_days": 30, "creator_id": "NULL", "viewers": 3},
    ),
    "no row stands twice": (
        "insert into creator_reach select * from creator_reach where day = '2026-01-30' and creator_id = 'bob'",
        {"day": date(2026, 1, 30), "creator_id": "bob", "times": 2},
    ),
    "counts are not negative and a gap is at least a day": (
        "update creator_reach set viewers = -1 where day = '2026-01-30' and creator_id = 'bob'",
        {"day": date(2026, 1, 30), "creator_id": "bob", "viewers": -1},
    ),
    "every stream has one row": (
        "delete from live_stream_funding where stream_id = 's1'",
        {"stream_id": "s1", "times": 0},
    ),
    "what was collected fits its column and is not negative": (
        "update live_stream_funding set collected_funding = -1 where stream_id = 's1'",
        {"stream_id": "s1"},
    ),
    "the pledges of a stream without a currency are in one, or nothing is added up": (
        "update live_stream_funding set collected_funding = null where stream_id = 's1'",
        {"stream_id": "s1", "backers": 1},
    ),
    "there is a percentage exactly where there is a goal": (
        "update live_stream_funding set funding_percentage = null where stream_id = 's1'",
        {"stream_id": "s1", "funding_percentage": None},
    ),
    "nobody backs a stream for which nothing was collected": (
        "update live_stream_funding set collected_funding = 0 where stream_id = 's1'",
        {"stream_id": "s1", "backers": 1},
    ),
    "what was collected is for streams that are known": (
        "delete from live_streams where stream_id = 's1'",
        {"stream_id": "s1", "backers": 1},
    ),
    "a stream's status is spelled as the contract spells it": (
        "update live_streams set status = 'Ended' where stream_id = 's1'",
        {"stream_id": "s1", "status": "Ended"},
    ),
}
ALL_CHECKS = [check for name in models.LINE for check in models.checks(name)]
every_check = pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.title)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Published tables of a small platform, by name."""
    world = World(tmp_path_factory.mktemp("good"))
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-20 10:00 | 5
        ada     | v2     | 2026-01-20 10:00 | 5
        ada     | v3     | 2026-01-28 10:00 | 5
        bob     | v1     | 2026-01-30 10:00 | 5
        eve     | v1     | 2026-01-10 10:00 | 5
        eve     | v2     | 2026-01-11 10:00 | 5
        dan     | v1     | 2026-01-12 10:00 | 5
    """)
    world.land("creators", "creator\nada\nbob")
    world.land("live_streams", "stream | funding_goal\ns1 | 100\ns2 |")
    world.land(
        "pledges",
        """
        pledge | user | stream | amount | status   | captured_at
        p1     | ann  | s1     | 10     | captured | 2026-01-06 10:00
        """,
    )
    folder = world.run(AS_OF).snapshot.path
    tables = {name: [str(folder / f"{name}.parquet")] for name in publish.PUBLIC_TABLES}
    for name in ("base_stream_funding", "changed_pledges", "pledges"):
        tables[name] = [str(path) for path in (world.settings.lake / name).glob("**/*.parquet")]
    return tables | {"creator_reach": [str(path) for path in (folder / "creator_reach").iterdir()]}


@pytest.fixture
def tables(good_files: dict[str, list[str]]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The good tables, to spoil."""
    with engine.connect("500MB", 1, None) as connection:
        for name, files in good_files.items():
            connection.from_parquet(files).create(name)
        yield connection


def test_every_check_in_the_files_is_run():
    """A line that only looks like a check would guard nothing; no two have one title."""
    written = [
        line
        for path in models.sql_folder().glob("*/*.checks.sql")
        for line in path.read_text().splitlines()
        if line.lower().lstrip("- ").startswith("check:")
    ]
    assert len(written) == len(ALL_CHECKS) == len({check.title for check in ALL_CHECKS})
    assert {check.title for check in ALL_CHECKS} == set(OFFENCES), "a check without an offender that it finds"


@every_check
def test_a_check_is_silent_on_good_tables(tables, check):
    """Nothing offends in what a good night publishes."""
    assert engine.query(tables, check.statement).num_rows == 0


@every_check
def test_a_check_finds_its_offender_and_says_which(tables, check):
    """What the check prints is enough to find the row."""
    spoil, expected = OFFENCES[check.title]
    tables.execute(spoil)
    offenders = engine.query(tables, check.statement).to_pylist()
    assert any(expected.items() <= offender.items() for offender in offenders), offenders
    message = publish.CheckResult(check, len(offenders), offenders[0]).message
    assert check.model in message
    assert check.title in message
    assert str(len(offenders)) in message


@pytest.mark.parametrize(
    ("title", "spoil"),
    [
        ("positions of a window are 1..n with no gap", "update creator_rankings set position = position + 1"),
        ("positions of a window are 1..n with no gap", "update creator_rankings set position = 1"),
        ("rank follows viewers", "update creator_rankings set rank = position where viewers = 1"),
        ("figures are neither negative nor more than sessions allow", "update creator_rankings set viewers = -1"),
        (
            "figures are neither negative nor more than sessions allow",
            "update creator_rankings set watched_seconds = -1",
        ),
        ("figures are neither negative nor more than sessions allow", "update creator_rankings set sessions = 0"),
        ("counts are not negative and a gap is at least a day", "update creator_reach set gap_days = 0"),
        ("counts are not negative and a gap is at least a day", "update creator_reach set viewers = 2"),
        ("counts are not negative and a gap is at least a day", "update creator_reach set watched_milliseconds = -1"),
        ("every stream has one row", "insert into live_stream_funding from live_stream_funding"),
        (
            "what was collected fits its column and is not negative",
            "update live_stream_funding set collected_funding = null",
        ),
        (
            "there is a percentage exactly where there is a goal",
            "update live_stream_funding set funding_percentage = 1",
        ),
        ("banned and deleted creators are left out", "update creators set status = 'banned'"),
    ],
)
def test_other_offences(tables, title, spoil):
    """Each clause of a check finds what it is for."""
    (check,) = [check for check in ALL_CHECKS if check.title == title]
    tables.execute(spoil)
    assert engine.query(tables, check.statement).num_rows > 0
