"""Programs that are installed write the same small platform: by its recipe in the docs it is the same snapshot.

PostgreSQL and MariaDB are asked by their clients, in servers of the test's own; the command lines of SQLite and jq, R
and LibreOffice write for themselves; so does what `make exporters` installs: AWS's driver into moto, which stores what
it is sent as Firehose and DynamoDB do, and Debezium, whose JSON is by Kafka Connect's converter. Each is skipped where
it is not installed. What BigQuery, Snowflake, mongoexport and Kafka Connect's sinks write is to the letter of their
formats alone, in test_dialects.py: they do not install where these tests run.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from database_servers import MariaDB, Postgres, mariadb, postgres, program
from exported import RECIPES, SCHEMAS, TABLES, Rows, by_contract, drop, published, recipe, tables

from pipelines.core.settings import Settings
from pipelines.jobs.erase_user import forget
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import describe_unreadable, rejected_records, suggest_mapping

pytestmark = pytest.mark.xdist_group("programs")
EXPORTERS = Path(__file__).parents[2] / "build" / "exporters-venv" / "bin" / "python"  # made by `make exporters`
(RENAMED,) = re.findall(r"^rename = .+$", recipe("PostgreSQL"), re.MULTILINE)


def mapping(**keys: str) -> str:
    """A mapping of both entities by the names of the tables; keys as TOML writes their values."""
    said = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f"[viewing_sessions]\n{RENAMED}\n{said}\n[pledges]\n{said}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return published(tmp_path_factory.mktemp("contract"), by_contract)


@pytest.fixture(scope="module")
def pg() -> Iterator[Postgres]:
    with postgres() as server:
        for entity, rows in TABLES.items():
            create_in_postgres(server, entity, rows)
        yield server


@pytest.fixture(scope="module")
def my() -> Iterator[MariaDB]:
    with mariadb() as server:
        for entity, rows in TABLES.items():
            create_in_mariadb(server, entity, rows)
        yield server


def create_in_postgres(server: Postgres, table: str, rows: Rows) -> None:
    kinds = {"string": "text", "bool": "boolean", "int64": "bigint", "decimal128(18, 2)": "numeric(18,2)"}
    columns = ", ".join(f'"{each.name}" {kinds.get(str(each.type), "timestamptz")}' for each in SCHEMAS[table])
    told = json.dumps(rows, default=str)
    server.ask(
        f"create table {table} ({columns})",
        f"insert into {table} select * from json_populate_recordset(null::{table}, $told${told}$told$)",
    )


def create_in_mariadb(server: MariaDB, table: str, rows: Rows) -> None:
    def literal(value: Any) -> str:
        if isinstance(value, str):
            return f"convert(X'{value.encode().hex()}' using utf8mb4)"
        if isinstance(value, datetime):
            return f"'{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ')}'"
        return "null" if value is None else str(value)

    kinds = {"string": "varchar(60)", "bool": "boolean", "int64": "bigint", "decimal128(18, 2)": "decimal(18,2)"}
    columns = ", ".join(f"`{each.name}` {kinds.get(str(each.type), 'datetime(3)')}" for each in SCHEMAS[table])
    values = ", ".join(f"({', '.join(map(literal, row.values()))})" for row in rows)
    server.ask(f"create table {table} ({columns}) character set utf8mb4; insert into {table} values {values}", "tests")


# --- PostgreSQL ------------------------------------------------------------------------------------------------------

COPY_CSV = "copy (select * from {0}) to stdout (format csv, header)"
TABS = {"delimiter": r'"\t"', "escape": r"'\'", "quote": '""'}
LOCAL = {"viewing_sessions": "select id, user_id, device_id, channel_id, stream_id, started_at::timestamp, "
                             "ended_at::timestamp, is_deleted, version::numeric(38,0) from viewing_sessions",
         "pledges": "select pledge_id, user_id, stream_id, amount::numeric(38,2), currency, status, "
                    "captured_at::timestamp from pledges"}  # fmt: skip


def by_backslash_copy(pg: Postgres, table: str) -> bytes:
    path = pg.folder / f"{table}.csv"
    pg.ask(rf"\copy (select * from {table}) to '{path}' with (format csv, header)")
    return path.read_bytes()


POSTGRES: dict[str, tuple[str, Callable[[Postgres, str], bytes], str]] = {
    "COPY, CSV": ("a.csv", lambda pg, table: pg.ask(COPY_CSV.format(table)), recipe("PostgreSQL")),
    "psql --csv": (
        "a.csv",
        lambda pg, table: pg.ask(f"select * from {table}", options=["--csv"]),
        recipe("PostgreSQL"),
    ),
    "\\copy": ("a.csv", by_backslash_copy, recipe("PostgreSQL")),
    "COPY in Istanbul": (
        "a.csv",
        lambda pg, table: pg.ask("set timezone = 'Europe/Istanbul'", COPY_CSV.format(table)),
        recipe("PostgreSQL"),
    ),
    "COPY in Kathmandu": (
        "a.csv",
        lambda pg, table: pg.ask("set timezone = 'Asia/Kathmandu'", COPY_CSV.format(table)),
        recipe("PostgreSQL"),
    ),
    "COPY, every cell in quotation marks": (
        "a.csv",
        lambda pg, table: pg.ask(COPY_CSV.format(table)[:-1] + ", force_quote *, null 'NULL')"),
        mapping(null="['NULL']"),
    ),
    "COPY, text": (
        "a.tsv",
        lambda pg, table: pg.ask(f"copy (select * from {table}) to stdout (header)"),
        recipe("Text between tabs"),
    ),
    "columns without a time zone": (
        "a.csv",
        lambda pg, table: pg.ask(f"copy ({LOCAL[table]}) to stdout (format csv, header)"),
        mapping(timezone='"UTC"'),
    ),
    "row_to_json by psql": (
        "a.ndjson",
        lambda pg, table: pg.ask(f"select row_to_json(t) from {table} t", options=["-At"]),
        recipe("PostgreSQL"),
    ),
    "row_to_json by COPY": (
        "a.ndjson",
        lambda pg, table: pg.ask(f"copy (select row_to_json(t) from {table} t) to stdout {PLAIN_LINES}"),
        recipe("PostgreSQL"),
    ),
    "json_agg": (
        "a.json",
        lambda pg, table: pg.ask(f"select json_agg(t) from {table} t", options=["-At"]),
        recipe("PostgreSQL"),
    ),
    "jsonb_pretty": (
        "a.json",
        lambda pg, table: pg.ask(f"select jsonb_pretty(jsonb_agg(t)) from {table} t", options=["-At"]),
        recipe("PostgreSQL"),
    ),
}
PLAIN_LINES = r"(format csv, quote e'\x01', delimiter e'\x02')"  # which stand in no JSON


@pytest.mark.parametrize("how", POSTGRES)
def test_postgres(tmp_path: Path, pg: Postgres, expected: str, how: str) -> None:
    """Each way of asking it for a table."""
    name, ask, said = POSTGRES[how]
    assert published(tmp_path, lambda landing: of_each(landing, name, lambda table: ask(pg, table)), said) == expected


def of_each(landing: Path, name: str, ask: Callable[[str], bytes]) -> None:
    for entity in TABLES:
        drop(landing, f"{entity}/{name}", ask(entity))


@pytest.mark.parametrize(
    ("commands", "name", "said"),
    [
        (["set datestyle = 'SQL, DMY'", COPY_CSV], "a.csv", "set datestyle = 'ISO'"),
        (["set datestyle = 'German'", COPY_CSV], "a.csv", "set datestyle = 'ISO'"),
        (["set datestyle = 'Postgres'", COPY_CSV], "a.csv", "set datestyle = 'ISO'"),
        (["copy (select * from {0}) to stdout (format binary)"], "a.csv", "the binary format of PostgreSQL's COPY"),
        (["select * from {0}"], "a.csv", "a table drawn for people"),
        (["copy (select * from {0}) to stdout (header)"], "a.tsv", "escape = "),
        ([COPY_CSV[:-1] + ", null 'NULL')"], "a.csv", "null = ['NULL']"),
        (["copy (select row_to_json(t) from awkward t) to stdout"], "a.ndjson", "use psql -At -c"),
        (["copy (select json_agg(t) from awkward t) to stdout"], "a.json", "use psql -At -c"),
        (["create table infinite as select 's' as id, 'c' as channel_id, 'infinity'::timestamptz as started_at",
          COPY_CSV.format("infinite")], "a.csv", "say null = ['infinity']"),
    ],
)  # fmt: skip
def test_what_postgres_can_be_asked_for_and_is_not_read(
    tmp_path: Path, pg_awkward: Postgres, commands: list[str], name: str, said: str
) -> None:
    """No record of it counts, and the message has the remedy."""
    asked = [each.format("viewing_sessions") for each in commands]
    tabs = r'delimiter = "\t"' if name.endswith("tsv") else ""
    home = landed(tmp_path, name, pg_awkward.ask(*asked), f"[viewing_sessions]\n{RENAMED}\n{tabs}\n")
    (raw,) = raw_files(home)
    assert raw.rejected
    heard = " ".join([describe_unreadable(raw)] if raw.unreadable else suggest_mapping([raw]))
    assert said in heard + " ".join(each.reason for each in rejected_records(home))


def test_a_person_is_found_by_what_a_backslash_stands_for(tmp_path: Path, pg: Postgres) -> None:
    """`forget` takes the line out that COPY wrote with other letters than the id has."""
    pg.ask(
        "create table people (id text, user_id text, channel_id text, started_at timestamptz default '2026-03-09Z')",
        r"insert into people values ('s1', e'a\\b\tc', 'c'), ('s2', 'other', 'c')",
    )
    home = landed(tmp_path, "a.tsv", pg.ask("copy people to stdout (header)"), recipe("Text between tabs"))
    path = home.landing / "viewing_sessions" / "a.tsv"
    assert rb"a\\b\tc" in path.read_bytes()
    done = forget(home, "a\\b\tc", datetime(2026, 3, 10, tzinfo=UTC), landing_too=True)
    assert (done.is_forgotten, done.records["viewing_sessions"]) == (True, 1)
    assert b"s1" not in path.read_bytes()
    assert b"s2" in path.read_bytes()


# --- MySQL and MariaDB -----------------------------------------------------------------------------------------------

HEADER = {table: "select " + ", ".join(f"'{each.name}'" for each in schema) for table, schema in SCHEMAS.items()}
ENCLOSED = "fields terminated by ',' optionally enclosed by '\"'"
MARIADB: dict[str, tuple[str, Callable[[MariaDB, str], bytes], str]] = {
    "--batch": (
        "a.tsv",
        lambda my, table: my.ask(f"select * from {table}", "--batch", "tests"),
        recipe("MySQL and MariaDB"),
    ),
    "INTO OUTFILE": (
        "a.tsv",
        lambda my, table: my.outfile(f"{HEADER[table]} union all select * from {table}"),
        recipe("Text between tabs").replace('quote = ""', 'quote = ""\ntimezone = "UTC"'),
    ),
    "INTO OUTFILE, CSV": (
        "a.csv",
        lambda my, table: my.outfile(f"{HEADER[table]} union all select * from {table}", ENCLOSED),
        mapping(escape=r"'\'", timezone='"UTC"'),
    ),
    "json_object": (
        "a.ndjson",
        lambda my, table: my.ask(
            f"select json_object({', '.join(f'{each.name!r}, {each.name}' for each in SCHEMAS[table])}) from {table}",
            "--batch", "--raw", "--skip-column-names", "tests",
        ),
        mapping(timezone='"UTC"'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", MARIADB)
def test_mariadb(tmp_path: Path, my: MariaDB, expected: str, how: str) -> None:
    """Each way of asking it for a table."""
    name, ask, said = MARIADB[how]
    assert published(tmp_path, lambda landing: of_each(landing, name, lambda table: ask(my, table)), said) == expected


# --- awkward texts ---------------------------------------------------------------------------------------------------

AWKWARD = [
    "tab\there", "back\\slash", "back\\new", 'quo"te', "it's", "comma,;|", "new\nline", "é 😀", "\\N", "\\\\N", "NULL",
    '"all"', "'all'", " space ", '{"a":1}', "end\\", "\\", '\\"', "a\\tb", "\\\t", "<b>&amp;</b>", "%41",
    "00123", "1e5",
]  # fmt: skip
AWKWARD_ROWS: Rows = [
    {"id": f"s{number}", "user_id": None, "device_id": None, "channel_id": text, "stream_id": text,
     "started_at": datetime(2026, 3, 9, 10, tzinfo=UTC), "ended_at": None, "is_deleted": False, "version": 0}
    for number, text in enumerate(AWKWARD)
]  # fmt: skip


@pytest.fixture(scope="module")
def pg_awkward(pg: Postgres) -> Postgres:
    pg.ask("create table awkward (like viewing_sessions)")
    told = json.dumps(AWKWARD_ROWS, default=str)
    pg.ask(f"insert into awkward select * from json_populate_recordset(null::awkward, $told${told}$told$)")
    return pg


@pytest.fixture(scope="module")
def my_awkward(my: MariaDB) -> MariaDB:
    SCHEMAS["awkward"] = SCHEMAS["viewing_sessions"]
    HEADER["awkward"] = HEADER["viewing_sessions"]
    create_in_mariadb(my, "awkward", AWKWARD_ROWS)
    return my


def landed(tmp_path: Path, name: str, content: bytes, said: str) -> Settings:
    home = Settings(home=tmp_path / "home")
    drop(home.landing, f"viewing_sessions/{name}", content)
    drop(home.landing, "mostwatched.toml", said)
    ingest(home)
    return home


def texts_of(home: Settings, nulls: int = 0) -> list[tuple[str, str]]:
    """The ids of creators and streams, in the order of their sessions; those of `nulls` sessions are null."""
    assert [each.reason for each in rejected_records(home)] == ["missing"] * nulls
    rows = [row for raw in raw_files(home) for name in raw.files for row in raw.table(name).to_pylist()]
    return [(row["creator_id"], row["stream_id"]) for row in sorted(rows, key=lambda row: int(row["session_id"][1:]))]


@pytest.mark.parametrize("how", sorted(POSTGRES.keys() - {"columns without a time zone"}))
def test_awkward_texts_of_postgres(tmp_path: Path, pg_awkward: Postgres, how: str) -> None:
    """Come out as they went in: quotation marks, backslashes, tabs, ends of lines, what looks like null."""
    name, ask, said = POSTGRES[how]
    nulls = {"NULL"} if "'NULL'" in said else set()
    read = texts_of(landed(tmp_path, name, ask(pg_awkward, "awkward"), said), len(nulls))
    assert read == [(text, text) for text in AWKWARD if text not in nulls]


@pytest.mark.parametrize("how", MARIADB)
def test_awkward_texts_of_mariadb(tmp_path: Path, my_awkward: MariaDB, how: str) -> None:
    """As of PostgreSQL."""
    name, ask, said = MARIADB[how]
    nulls = {"NULL"} if '"NULL"' in said else set()
    read = texts_of(landed(tmp_path, name, ask(my_awkward, "awkward"), said), len(nulls))
    assert read == [(text, text) for text in AWKWARD if text not in nulls]


# --- programs of the command line ------------------------------------------------------------------------------------


def in_sqlite(folder: Path, named: dict[str, Rows]) -> Path:
    """The tables in a database, instants as RFC 3339 and amounts as numbers: it has no types of its own for either."""

    def value(each: Any) -> Any:
        if isinstance(each, datetime):
            return each.isoformat().replace("+00:00", "Z")
        return float(each) if isinstance(each, Decimal) else each

    path = folder / "tables.db"
    with sqlite3.connect(path) as connection:
        for table, rows in named.items():
            connection.execute(f"create table {table} ({', '.join(rows[0])})")
            holes = ", ".join("?" * len(rows[0]))
            values = [[value(each) for each in row.values()] for row in rows]
            connection.executemany(f"insert into {table} values ({holes})", values)
    return path


def by_sqlite(path: Path, table: str, *options: str) -> bytes:
    return written([program("sqlite3"), *options, path, f"select * from {table}"])


def written(command: list[str | Path], told: bytes | None = None, **options: Any) -> bytes:
    return subprocess.run(command, input=told, stdout=subprocess.PIPE, check=True, timeout=120, **options).stdout


SQLITE = {
    "CSV": ("a.csv", ["-header", "-csv"], recipe("SQLite")),
    "JSON": ("a.json", ["-json"], recipe("SQLite")),
    "list": ("a.csv", ["-header", "-list"], mapping(delimiter='"|"', quote='""', escape='""')),
    "tabs": ("a.tsv", ["-header", "-tabs"], mapping(delimiter=r'"\t"', quote='""', escape='""')),
    "null": ("a.csv", ["-header", "-csv", "-nullvalue", "(null)"], mapping(null='["(null)"]')),
}


@pytest.mark.parametrize("how", SQLITE)
def test_sqlite(tmp_path: Path, expected: str, how: str) -> None:
    """0 and 1 are truth values."""
    name, options, said = SQLITE[how]
    path = in_sqlite(tmp_path, TABLES)

    def write(landing: Path) -> None:
        of_each(landing, name, lambda table: by_sqlite(path, table, *options))

    assert published(tmp_path, write, said) == expected


@pytest.mark.parametrize("how", ["CSV", "JSON"])
def test_awkward_texts_of_sqlite(tmp_path: Path, how: str) -> None:
    """As of PostgreSQL."""
    name, options, said = SQLITE[how]
    path = in_sqlite(tmp_path, {"awkward": AWKWARD_ROWS})
    assert texts_of(landed(tmp_path, name, by_sqlite(path, "awkward", *options), said)) == list(
        zip(AWKWARD, AWKWARD, strict=True)
    )


COLUMNS = "[.sessionId, .creatorId, .stream_id, .viewerId, .device_id, .started_at, .ended_at, .deleted, .revision]"
NAMES = re.sub(r"\.(\w+)", r'"\1"', COLUMNS)
JQ: dict[str, tuple[str, list[str], str]] = {
    "a record a line": ("a.ndjson", ["-c", "."], ""),
    "sorted keys": ("a.ndjson", ["-c", "-S", "."], ""),
    "over several lines": ("a.json", ["."], ""),
    "an array": ("a.json", ["-s", "."], ""),
    "an array in a line": ("a.json", ["-s", "-c", "."], ""),
    "escaped": ("a.ndjson", ["-c", "-a", "."], ""),
    "@csv": ("a.csv", ["-r", "-s", f"{NAMES}, (.[] | {COLUMNS}) | @csv"], ""),
    "@tsv": ("a.tsv", ["-r", "-s", f"{NAMES}, (.[] | {COLUMNS}) | @tsv"], recipe("Text between tabs")),
}


@pytest.mark.parametrize("how", JQ)
def test_jq(tmp_path: Path, expected: str, how: str) -> None:
    """Each of its forms, of what the contract has."""
    name, options, said = JQ[how]
    said = said.partition("\n[pledges]")[0]

    def write(landing: Path) -> None:
        by_contract(landing)
        path = landing / "viewing_sessions" / "a.ndjson"
        text = written([program("jq"), *options], path.read_bytes())
        path.unlink()
        drop(landing, f"viewing_sessions/{name}", text)

    assert published(tmp_path, write, said) == expected


@pytest.mark.parametrize("how", JQ)
def test_awkward_texts_of_jq(tmp_path: Path, how: str) -> None:
    """As of PostgreSQL."""
    name, options, said = JQ[how]
    lines = [
        {"sessionId": f"s{number}", "creatorId": text, "stream_id": text, "started_at": "2026-03-09T10:00:00Z"}
        for number, text in enumerate(AWKWARD)
    ]
    text = written([program("jq"), *options], "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    assert texts_of(landed(tmp_path, name, text, said)) == list(zip(AWKWARD, AWKWARD, strict=True))


R_FRAMES = """
options(digits.secs = 3)
for (table in c("viewing_sessions", "pledges")) {
  frame <- jsonlite::fromJSON(paste0(table, ".json"))
  for (name in grep("_at$", names(frame), value = TRUE))
    frame[[name]] <- as.POSIXct(frame[[name]], tz = "UTC", format = "%Y-%m-%dT%H:%M:%OSZ")
  WRITE
}
"""
R = {
    "write.csv": ("csv", 'write.csv(frame, paste0(table, ".csv"), row.names = FALSE)'),
    "write_json": ("json", 'jsonlite::write_json(frame, paste0(table, ".json"))'),
    "stream_out": ("ndjson", 'jsonlite::stream_out(frame, file(paste0(table, ".ndjson")), verbose = FALSE)'),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", R)
def test_r(tmp_path: Path, expected: str, how: str) -> None:
    """Its frames, as itself and jsonlite write them."""
    ending, command = R[how]
    rscript = program("Rscript")
    for table, rows in TABLES.items():
        values = [{name: in_json(each) for name, each in row.items()} for row in rows]
        (tmp_path / f"{table}.json").write_text(json.dumps(values))
    done = subprocess.run(
        [rscript, "-e", R_FRAMES.replace("WRITE", command)], cwd=tmp_path, capture_output=True, timeout=120, check=False
    )
    if b"jsonlite" in done.stderr:
        pytest.skip("what R writes is not landed: its package jsonlite is not installed here")
    assert done.returncode == 0, done.stderr.decode()

    def write(landing: Path) -> None:
        of_each(landing, f"a.{ending}", lambda table: (tmp_path / f"{table}.{ending}").read_bytes())

    assert published(tmp_path, write, recipe("R")) == expected


def in_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return float(value) if isinstance(value, Decimal) else value


FILTER = "csv:Text - txt - csv (StarCalc):{},34,{},1"  # delimiter, quotation mark, encoding (76: UTF-8), first line


def by_libreoffice(folder: Path, text: str, delimiter: str = ";", encoding: int = 76) -> bytes:
    """A CSV that is opened and saved again."""
    path = folder / "opened.csv"
    path.write_text(text, encoding="utf-8")
    office = program("soffice", "libreoffice")
    how = FILTER.format(ord(delimiter), encoding)
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    written([office, profile, "--headless", "--convert-to", how, "--outdir", folder / "saved", path])
    return (folder / "saved" / "opened.csv").read_bytes()


@pytest.mark.slow
def test_libreoffice(tmp_path: Path, expected: str) -> None:
    """Saved with semicolons."""

    def write(landing: Path) -> None:
        for entity, rows in TABLES.items():
            out = io.StringIO()
            lines = csv.DictWriter(out, list(rows[0]))
            lines.writeheader()
            lines.writerows({name: in_json(each) for name, each in row.items()} for row in rows)
            drop(landing, f"{entity}/a.csv", by_libreoffice(tmp_path, out.getvalue()))

    assert published(tmp_path, write, recipe("Spreadsheets")) == expected


@pytest.mark.slow
def test_what_a_spreadsheet_makes_of_ids_and_texts_is_not_believed(tmp_path: Path) -> None:
    """Two ids of 19 digits are one now, and its Unicode text is UTF-16: both are rejected with what to do."""
    header = "sessionId,creatorId,startedAt\n"
    lines = "s1,1234567890123456789,2026-03-09T10:00:00Z\ns2,1234567890123456788,2026-03-09T10:00:00Z\n"
    saved = by_libreoffice(tmp_path, header + lines, ",")
    assert saved.count(b"1.23456789012346E+018") == 2
    home = landed(tmp_path, "a.csv", saved, "")
    assert [each.field for each in rejected_records(home)] == ["creatorId"] * 2
    home = landed(tmp_path / "again", "a.csv", by_libreoffice(tmp_path, header + lines, "\t", 65535), "")
    (raw,) = raw_files(home)
    assert "land the text as UTF-8" in describe_unreadable(raw)


# --- what `make exporters` installs ----------------------------------------------------------------------------------


def exported(kind: str, source: str | Path, target: Path) -> None:
    if not EXPORTERS.exists():
        pytest.skip("the program is not installed: `make exporters` installs it")
    script = Path(__file__).parents[1] / "exporting.py"
    written([EXPORTERS, script, kind, source, target], cwd=target.parent)


def export_tables(kind: str, landing: Path, name: str) -> None:
    for entity, table in tables().items():
        source = landing.parent / f"{entity}.parquet"
        pq.write_table(table, source)
        (landing / entity).mkdir(parents=True)
        exported(kind, source, landing / entity / name if name else landing / entity)


@pytest.mark.slow
def test_firehose(tmp_path: Path, expected: str) -> None:
    """Objects without ends of lines, in files without an ending, in folders of an hour."""

    def write(landing: Path) -> None:
        export_tables("firehose", landing, "")
        (name, *_) = [each.name for each in (landing / "viewing_sessions").rglob("*") if each.is_file()]
        assert "." not in name

    assert published(tmp_path, write, recipe("Firehose")) == expected


@pytest.mark.slow
def test_clickhouse_between_tabs(tmp_path: Path, expected: str) -> None:
    """TabSeparatedWithNames."""
    said = recipe("Text between tabs").replace('quote = ""', 'quote = ""\ntimezone = "UTC"')
    assert published(tmp_path, lambda landing: export_tables("clickhouse_tabs", landing, "a.tsv"), said) == expected


@pytest.mark.slow
def test_dynamodb(tmp_path: Path, expected: str) -> None:
    """An export is refused with a command, which makes of it what lands; so does that of the page."""
    jq = program("jq")
    (exports := tmp_path / "landing").mkdir()
    export_tables("dynamodb", exports, "")
    items: dict[str, bytes] = {}
    for entity in TABLES:
        (path,) = (exports / entity).rglob("*.gz")
        items[entity] = gzip.decompress(path.read_bytes())
    home = landed(tmp_path, "a.ndjson", items["viewing_sessions"], "")
    told = re.search(r"as jq -c '(.+)' writes them", " ".join(suggest_mapping(raw_files(home))))
    page = re.search(r"jq -c '(.+)' >", RECIPES.read_text(encoding="utf-8").partition("## DynamoDB")[2])
    assert told
    assert page
    for command in (told[1], page[1]):

        def write(landing: Path, command: str = command) -> None:
            for entity, text in items.items():
                drop(landing, f"{entity}/a.ndjson", written([jq, "-c", f"{command} | del(.number)"], text))

        assert published(tmp_path / str(len(command)), write, recipe("DynamoDB")) == expected


CONNECTOR = {
    "name": "engine",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "database.hostname": "127.0.0.1", "database.user": "tests", "database.password": "-", "database.dbname": "postgres",
    "topic.prefix": "topic", "plugin.name": "pgoutput", "publication.autocreate.mode": "disabled",
    "snapshot.mode": "initial_only", "poll.interval.ms": "50", "decimal.handling.mode": "string",
    "converter.schemas.enable": "false",
}  # fmt: skip
UNWRAPPED = {"transforms": "unwrap", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState"}


def by_debezium(
    pg: Postgres, folder: Path, tables: list[str], records: int, options: dict[str, str]
) -> dict[str, bytes]:
    """Its events by table."""
    if shutil.which("java") is None:
        pytest.skip("what Debezium writes is not landed: no Java is installed here")
    listed = ",".join(f"public.{table}" for table in tables)
    place = {"database.port": str(pg.port), "table.include.list": listed, "slot.name": f"slot_{time.monotonic_ns()}"}
    asked = {"properties": {**CONNECTOR, **place, **options}, "records": records}
    (events := folder / "events").mkdir()
    exported("debezium", json.dumps(asked), events)
    return {table: (events / table).read_bytes() for table in tables}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "local_"])
def test_debezium(tmp_path: Path, pg: Postgres, expected: str, prefix: str) -> None:
    """Its events, flattened by its own transformation: instants as texts, and as microseconds."""
    for entity, select in LOCAL.items():
        pg.ask(f"create table if not exists local_{entity} as {select.replace('::numeric(38,0)', '')}")
    tables = {entity: prefix + entity for entity in TABLES}
    found = by_debezium(pg, tmp_path, list(tables.values()), sum(map(len, TABLES.values())), UNWRAPPED)

    def write(landing: Path) -> None:
        of_each(landing, "a.json", lambda entity: found[tables[entity]])

    assert published(tmp_path, write, recipe("Debezium")) == expected


@pytest.mark.slow
def test_a_row_that_is_deleted_comes_as_a_deleted_record(tmp_path: Path, pg: Postgres) -> None:
    """By Debezium's own rewriting, out of the server's log."""
    pg.ask("create table changing (id text primary key, channel_id text, started_at timestamptz, version int)")
    pg.ask("alter table changing replica identity full", "create publication dbz_publication for table changing")
    pg.ask("select pg_create_logical_replication_slot('changes', 'pgoutput')")
    pg.ask("insert into changing values ('s1', 'c', '2026-03-09 10:00Z', 0), ('s2', 'c', '2026-03-09 11:00Z', 0)")
    pg.ask("update changing set version = 1 where id = 's1'")
    pg.ask("delete from changing where id = 's2'")
    rewritten = {"transforms.unwrap.delete.tombstone.handling.mode": "rewrite", "snapshot.mode": "no_data"}
    found = by_debezium(pg, tmp_path, ["changing"], 4, {**UNWRAPPED, **rewritten, "slot.name": "changes"})
    said = f"[viewing_sessions]\n{RENAMED.replace('is_deleted', '__deleted')}\n"
    home = landed(tmp_path, "a.json", found["changing"], said)
    assert list(rejected_records(home)) == []
    rows = [row for raw in raw_files(home) for name in raw.files for row in raw.table(name).to_pylist()]
    assert {(row["session_id"], row["revision"], row["deleted"]) for row in rows} == {
        ("s1", 0, False), ("s2", 0, False), ("s1", 1, False), ("s2", 0, True),
    }  # fmt: skip


@pytest.mark.slow
def test_debezium_in_its_envelope(tmp_path: Path, pg: Postgres) -> None:
    """Nothing of it counts; the message says where the rows stand."""
    asked = {"converter.schemas.enable": "true"}
    found = by_debezium(pg, tmp_path, ["viewing_sessions"], len(TABLES["viewing_sessions"]), asked)
    home = landed(tmp_path, "a.json", found["viewing_sessions"], f"[viewing_sessions]\n{RENAMED}\n")
    (raw,) = raw_files(home)
    assert raw.accepted == 0
    (said,) = suggest_mapping([raw])
    assert "jq -c '.payload.after'" in said
    assert "ExtractNewRecordState" in said
