"""`mostwatched.toml`, and fields in `key=value` folders: how files are read that are not as the contract says."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import World

from pipelines.core.errors import RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.jobs.erase_user import forget
from pipelines.landing.mapping import EntityMapping
from pipelines.raw.catalog import every_raw_file, raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import rejected_records

CASES = Path(__file__).parent.parent / "cases"
AS_OF = date(2026, 3, 10)
HOUR = 3_600_000


def say(folder: Path, text: str) -> None:
    """Land a mapping."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mostwatched.toml").write_text(text, encoding="utf-8")


def drop(folder: Path, name: str, content: str | pa.Table) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode())
    os.utime(path, (1_700_000_000, 1_700_000_000))  # so old that the cache believes it
    return path


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", windows=(1, 7, 30), max_window_days=30)


def accepted(home: Settings, entity: str = "viewing_sessions") -> list[dict[str, Any]]:
    """The rows of raw that count."""
    ingest(home)
    tables = [raw.table(name) for raw in raw_files(home) if raw.entity == entity for name in raw.files]
    return [row for table in tables for row in table.to_pylist()]


def reasons(home: Settings) -> set[tuple[str | None, str]]:
    ingest(home)
    return {(each.field, each.reason) for each in rejected_records(home)}


def measured(tmp_path: Path, landing: Path, **asked: Any) -> tuple[int, int, int]:
    """(viewers, anonymous viewers, sessions) of the one creator."""
    settings = Settings(home=tmp_path / "home", windows=(1, 7, 30), max_window_days=30)
    night = nightly.run(settings, AS_OF, [landing], allow_incomplete=True, **asked)
    assert night.published.snapshot is not None
    rows = night.published.snapshot.table("creator_rankings.parquet").to_pylist()
    (row,) = [row for row in rows if row["window_days"] == 30]
    return row["viewers"], row["anonymous_viewers"], row["sessions"]


# --- the cases ------------------------------------------------------------------------------------------------------


def test_null_as_a_text_is_no_viewer(tmp_path):
    """Without a mapping the night is refused and the message says what to write."""
    with pytest.raises(RefusedToPublish):
        measured(tmp_path, CASES / "null_written_as_backslash_N" / "landing")
    settings = Settings(home=tmp_path / "home")
    (field, reason), *others = {(each.field, each.reason) for each in rejected_records(settings)}
    assert (field, others) == ("viewerId", [])
    assert "null = [" in reason


def test_a_mapping_says_what_is_null(tmp_path):
    """1 viewer and 6 devices, in a night after the one that refused."""
    landing = tmp_path / "landing"
    shutil.copytree(CASES / "null_written_as_backslash_N" / "landing", landing)
    with pytest.raises(RefusedToPublish):
        measured(tmp_path, landing)
    say(landing, "[viewing_sessions]\nnull = ['\\N']\n")
    assert measured(tmp_path, landing) == (1, 6, 7)
    assert list(rejected_records(Settings(home=tmp_path / "home"))) == []


def test_fields_in_folders_are_read(tmp_path):
    """The same bytes below deleted=true and deleted=false are two files."""
    assert measured(tmp_path, CASES / "hive_partition_deleted" / "landing") == (2, 0, 2)


# --- a mapping ------------------------------------------------------------------------------------------------------

RENAMED = """[viewing_sessions]
rename = { id = 'sessionId', channel = 'creatorId', "user" = 'viewer_id', at = 'startedAt' }
"""
MAPPED_CSV = "id,channel,user,at\n1,ada,ann,2026-03-09T10:00:00Z\n"


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize("count", [1, 300])
def test_columns_are_renamed_in_every_format(home, name, count):
    """One record, and so many that they are read as columns."""
    say(home.landing, RENAMED)
    records = [
        {"id": f"s{number}", "channel": "ada", "user": "ann", "at": "2026-03-09T10:00:00Z"} for number in range(count)
    ]
    drop(home.landing, f"viewing_sessions/{name}", written(name, records))
    rows = accepted(home)
    assert {(row["creator_id"], row["viewer_id"]) for row in rows} == {("ada", "ann")}
    assert len(rows) == count
    (raw,) = raw_files(home)
    assert raw.unknown_fields == {}


def written(name: str, records: list[dict[str, Any]]) -> str | pa.Table:
    """Records of texts in the format of a name."""
    if name.endswith(".parquet"):
        return pa.Table.from_pylist(records)
    if name.endswith(".ndjson"):
        return "".join(json.dumps(record) + "\n" for record in records)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize("count", [1, 300])
def test_local_times_are_of_the_time_zone_that_is_said(home, name, count):
    """10:00 in Berlin is 09:00 in winter and 08:00 in summer, as text or as a column without a zone."""
    say(home.landing, "[viewing_sessions]\ntimezone = 'Europe/Berlin'\n")
    records = [
        {"sessionId": f"s{number}", "creatorId": "ada", "startedAt": at, "endedAt": f"{at}.5"}
        for number in range(count)
        for at in ("2026-01-05 10:00:00", "2026-07-05 10:00:00")
    ]
    records = [{**record, "sessionId": str(number)} for number, record in enumerate(records)]
    table = written(name, records)
    if isinstance(table, pa.Table):
        for place in (2, 3):
            column = table.column(place).cast(pa.timestamp("us"))
            table = table.set_column(place, table.schema.names[place], column)
    drop(home.landing, f"viewing_sessions/{name}", table)
    rows = accepted(home)
    assert len(rows) == 2 * count
    winter, summer = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 7, 5, 8, tzinfo=UTC)
    assert {row["started_at"] for row in rows} == {winter, summer}
    assert {row["ended_at"] - row["started_at"] for row in rows} == {timedelta(milliseconds=500)}


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize(
    ("local", "reason"), [("2026-10-25 02:30:00", "comes twice"), ("2026-03-29 02:30:00", "is left out")]
)
def test_a_local_time_that_is_no_one_instant_is_rejected(home, name, local, reason):
    """The hour that comes twice and the one that is left out: nothing is guessed."""
    say(home.landing, "[viewing_sessions]\ntimezone = 'Europe/Berlin'\n")
    table = written(name, [{"sessionId": "1", "creatorId": "ada", "startedAt": local}])
    if isinstance(table, pa.Table):
        table = table.set_column(2, "startedAt", table.column(2).cast(pa.timestamp("us")))
    drop(home.landing, f"viewing_sessions/{name}", table)
    ((field, why),) = reasons(home)
    assert field == "startedAt"
    assert reason in why


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "text.ndjson", "a.parquet"])
def test_numbers_count_since_1970_in_the_unit_that_is_said(home, unit, name):
    """As numbers or as their digits, cut to the millisecond, also before 1970."""
    say(home.landing, f"[viewing_sessions]\nepoch = '{unit}'\n")
    per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    instants = [datetime(2026, 3, 9, 10, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)]
    for number, instant in enumerate(instants):
        count: Any = int(instant.timestamp()) * per_second
        count = str(count) if name.startswith("text") else count
        record = {"sessionId": "1", "creatorId": "ada", "startedAt": count}
        drop(home.landing, f"viewing_sessions/{number}{name}", written(name, [record]))
    assert {row["started_at"] for row in accepted(home)} == set(instants)


def test_a_part_of_a_unit_is_cut_to_the_millisecond(home):
    """Seconds with a fraction, as many programs write them."""
    say(home.landing, "[erasures]\nepoch = 's'\n[follows]\nepoch = 'us'\n")
    drop(home.landing, "erasures/a.ndjson", '{"userId":"u","erasedAt":1772960400.1239}\n')
    drop(home.landing, "follows/a.csv", "userId,creatorId,followedAt\nu,c,1772960400123999\n")
    instant = datetime(2026, 3, 8, 9, 0, 0, 123_000, tzinfo=UTC)
    assert accepted(home, "erasures")[0]["erased_at"] == instant
    assert accepted(home, "follows")[0]["followed_at"] == instant


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize("count", [1, 300])
def test_what_is_null_is_said(home, name, count):
    """In every field; a required one is then missing."""
    say(home.landing, "[viewing_sessions]\nnull = ['-', 'n/a']\n")
    records = [
        {"sessionId": f"s{number}", "creatorId": "ada", "viewerId": "-", "deviceId": "n/a", "streamId": "NULL",
         "startedAt": "2026-03-09T10:00:00Z", "endedAt": "-", "revision": "-"}
        for number in range(count)
    ]  # fmt: skip
    records.append({**records[0], "creatorId": "-"})
    drop(home.landing, f"viewing_sessions/{name}", written(name, records))
    rows = accepted(home)
    found = {(row["viewer_id"], row["device_id"], row["stream_id"], row["ended_at"], row["revision"]) for row in rows}
    assert found == {(None, None, "NULL", None, 0)}
    assert len(rows) == count
    assert reasons(home) == {("creatorId", "missing")}


def test_an_id_that_reads_like_null_can_be_said_to_be_one(home):
    """Whoever says what is null says it all: somebody may be called None."""
    say(home.landing, "[viewing_sessions]\nnull = []\n")
    drop(
        home.landing,
        "viewing_sessions/a.csv",
        "sessionId,creatorId,viewerId,startedAt\n1,c,None,2026-03-09T10:00:00Z\n",
    )
    assert accepted(home)[0]["viewer_id"] == "None"


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "\x01"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("count", [1, 300])
def test_csv_may_have_another_delimiter(home, delimiter, end, count):
    """With quotation marks and without, in few lines and in many."""
    say(home.landing, f'[viewing_sessions]\ndelimiter = "\\u{ord(delimiter):04x}"\n')
    lines = [["sessionId", "creatorId", "viewerId", "startedAt"]]
    lines += [[f"s{number}", "ada, the first", "", "2026-03-09T10:00:00Z"] for number in range(count)]
    lines += [["q", f'"ada, {delimiter} ""b"""', "", "2026-03-09T10:00:00Z"]]
    drop(home.landing, "viewing_sessions/a.csv", "".join(delimiter.join(cells) + end for cells in lines))
    rows = accepted(home)
    assert len(rows) == count + 1
    assert {row["creator_id"] for row in rows} == {"ada, the first", f'ada, {delimiter} "b"'}


TABS = '[viewing_sessions]\ndelimiter = "\\t"\n'


@pytest.mark.parametrize("cell", ["back\\\\slash", "\\N", "a\\tb", "c:\\x"])
@pytest.mark.parametrize("count", [1, 300])
def test_what_a_backslash_is_between_tabs_is_not_guessed(home, cell, count):
    """Most programs that write tabs escape by it; nothing shows whether this one did."""
    say(home.landing, TABS)
    lines = ["sessionId\tcreatorId\tviewerId\tstartedAt"]
    lines += [f"s{number}\tc\t{cell}\t2026-03-09T10:00:00Z" for number in range(count)]
    path = drop(home.landing, "viewing_sessions/a.csv", "\n".join(lines))
    ((field, reason),) = reasons(home)
    assert field == "viewerId"
    assert "escape = '\\'" in reason
    say(home.landing, TABS + "escape = ''\nnull = []\n")
    assert {row["viewer_id"] for row in accepted(home)} == {cell}
    assert path.exists()


def test_a_backslash_that_does_not_escape_after_all_is_noticed(home):
    """Of Spark, and of COPY with an escape character, cells without quotation marks hold backslashes as they are."""
    say(home.landing, "[viewing_sessions]\nescape = '\\'\n")
    header = "sessionId,creatorId,viewerId,startedAt\n"
    line = "s,c,{},2026-03-09T10:00:00Z\n"
    drop(home.landing, "viewing_sessions/a.csv", header + line.format("back\\slash"))
    drop(home.landing, "viewing_sessions/b.csv", header + line.format('"a\\"b"') + line.format("back\\slash") * 300)
    assert [row["viewer_id"] for row in accepted(home)] == ['a"b']
    ((field, reason),) = reasons(home)
    assert field is None
    assert "does not escape in this file" in reason


def test_a_mapping_of_before_keeps_its_files_read(home):
    """Its digest is part of the names of raw: new keys that it does not say must not change it."""
    assert EntityMapping(null=("x",)).digest == "de06a2f0723ffd166bc6b431250e7be3ab2cd8b8f54aaff34dd0986d113860e7"
    assert EntityMapping(null=("x",), escape="").digest != EntityMapping(null=("x",)).digest


def test_a_nested_field_can_be_renamed(home):
    """By its whole name, or with the object that it stands in."""
    say(home.landing, "[creators]\nrename = { photo = 'profilePhoto', link = 'profilePhoto.url' }\n")
    drop(home.landing, "creators/a.ndjson", '{"_id":"1","username":"a","photo":{"type":"image"},"link":"u"}\n')
    row = accepted(home, "creators")[0]
    assert (row["profile_photo_type"], row["profile_photo_url"]) == ("image", "u")


def test_two_columns_of_one_field_are_rejected(home):
    """The renamed one, and one by the field's own name."""
    say(home.landing, RENAMED)
    drop(home.landing, "viewing_sessions/a.ndjson", '{"id":"1","user":"u","viewerId":"v"}\n')
    assert reasons(home) == {("viewerId", "the field is given in two spellings")}


# --- what is part of the key ----------------------------------------------------------------------------------------


def test_a_changed_mapping_reads_the_files_of_its_entity_again(home):
    """What was read by the mapping before counts no more, also when it comes back; other entities are left alone."""
    drop(
        home.landing,
        "viewing_sessions/a.ndjson",
        '{"sessionId":"1","creatorId":"c","startedAt":"2026-03-09 10:00:00"}\n',
    )
    drop(home.landing, "follows/a.csv", "userId,creatorId\nu,c\n")
    assert accepted(home) == []
    keys = {raw.key for raw in raw_files(home)}
    for zone, hour in [("UTC", 10), ("Europe/Istanbul", 7), ("UTC", 10), ("Europe/Istanbul", 7)]:
        say(home.landing, f"[viewing_sessions]\ntimezone = '{zone}'\n")
        assert [row["started_at"].hour for row in accepted(home)] == [hour]
        assert ingest(home).new_files == 0
        assert list(rejected_records(home)) == []
        follows = [raw.key for raw in raw_files(home) if raw.entity == "follows"]
        assert set(follows) <= keys
    (home.landing / "mostwatched.toml").unlink()
    assert accepted(home) == []
    assert {raw.key for raw in raw_files(home)} == keys
    assert len(every_raw_file(home)) == 4


def test_a_file_that_is_gone_keeps_the_mapping_that_it_was_read_by(home):
    """What landed once counts."""
    say(home.landing, "[viewing_sessions]\ntimezone = 'UTC'\n")
    path = drop(
        home.landing,
        "viewing_sessions/a.ndjson",
        '{"sessionId":"1","creatorId":"c","startedAt":"2026-03-09 10:00:00"}\n',
    )
    assert len(accepted(home)) == 1
    path.unlink()
    say(home.landing, "[viewing_sessions]\ntimezone = 'Europe/Istanbul'\n")
    assert [row["started_at"].hour for row in accepted(home)] == [10]


def test_the_next_night_rests_on_what_was_read_again(tmp_path):
    """The snapshot of the night before, which another mapping was read for, is no reason to refuse."""
    landing = tmp_path / "landing"
    drop(landing, "viewing_sessions/a.csv", MAPPED_CSV)
    say(landing, RENAMED)
    assert measured(tmp_path, landing) == (1, 0, 1)
    say(landing, RENAMED + "null = ['ann']\n")
    assert measured(tmp_path, landing) == (0, 0, 1)
    say(landing, RENAMED)
    assert measured(tmp_path, landing) == (1, 0, 1)


def test_every_landing_folder_has_its_own(tmp_path, home):
    """The same columns mean what each folder says."""
    for name, zone in (("berlin", "Europe/Berlin"), ("utc", "UTC")):
        say(tmp_path / name, f"[viewing_sessions]\ntimezone = '{zone}'\n")
        drop(
            tmp_path / name, "viewing_sessions/a.csv", f"sessionId,creatorId,startedAt\n{name},c,2026-03-09 10:00:00\n"
        )
    ingest(home, [tmp_path / "berlin", tmp_path / "utc"])
    rows = [row for raw in raw_files(home) for name in raw.files for row in raw.table(name).to_pylist()]
    assert {(row["session_id"], row["started_at"].hour) for row in rows} == {("berlin", 9), ("utc", 10)}


def test_bytes_in_two_folders_are_read_by_the_mapping_of_the_first(tmp_path, home):
    """Night after night the same."""
    for name, zone in (("a", "Europe/Berlin"), ("b", "UTC")):
        say(tmp_path / name, f"[viewing_sessions]\ntimezone = '{zone}'\n")
        drop(tmp_path / name, "viewing_sessions/a.csv", "sessionId,creatorId,startedAt\n1,c,2026-03-09 10:00:00\n")
    for _ in range(3):
        ingest(home, [tmp_path / "b", tmp_path / "a"])
        rows = [row for raw in raw_files(home) for name in raw.files for row in raw.table(name).to_pylist()]
        assert [row["started_at"].hour for row in rows] == [9]


def test_bytes_in_two_folders_are_read_as_they_are_where_the_first_has_no_mapping(tmp_path, home):
    """In the first run as in the next: twenty files, since which of two raw folders comes first their keys decide."""
    for folder in ("one", "two"):
        for number in range(20):
            line = {"sessionId": f"s{number}", "creatorId": "c", "viewerId": "v", "startedAt": "2026-01-05T10:00:00Z"}
            path = tmp_path / folder / "viewing_sessions" / f"{number}.ndjson"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(line) + "\n")
    swapped = "[viewing_sessions]\nrename = { viewerId = 'deviceId', deviceId = 'viewerId' }\n"
    (tmp_path / "two" / "mostwatched.toml").write_text(swapped)
    for _ in range(2):
        ingest(home, [tmp_path / "one", tmp_path / "two"])
        assert [each.mapping for each in raw_files(home)] == [""] * 20


# --- a bad mapping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[viewing_sessions\n", "is not TOML"),
        ("[viewing_session]\n", "viewing_session is not an entity"),
        ("viewing_sessions = 5\n", "viewing_sessions is not a table"),
        ("[viewing_sessions]\nrenames = {}\n", 'no key "renames". Known are rename, timezone, epoch, null, delimiter'),
        ("[viewing_sessions]\nrename = ['a']\n", "rename is a table"),
        ("[viewing_sessions]\nrename = { a = 'viewer' }\n", '"viewer", which is no field. The fields are creatorId'),
        ("[viewing_sessions]\nrename = { a = 'viewerId', b = 'viewer_id' }\n", "two names are renamed to viewerId"),
        ("[viewing_sessions]\nrename = { a = 'viewerId', a = 'deviceId' }\n", "is not TOML"),
        ("[viewing_sessions]\ntimezone = 'Europe/Berlin/x'\n", "is no time zone"),
        ("[viewing_sessions]\ntimezone = '../etc/passwd'\n", "is no time zone"),
        ("[viewing_sessions]\ntimezone = 3\n", "is no time zone"),
        ("[viewing_sessions]\nepoch = 'minutes'\n", "is not one of s, ms, us, ns"),
        ("[viewing_sessions]\nepoch = ['s']\n", "is not one of s, ms, us, ns"),
        ("[viewing_sessions]\nnull = 'NULL'\n", "null is a list of texts"),
        ("[viewing_sessions]\nnull = [5]\n", "null is a list of texts"),
        ("[viewing_sessions]\ndelimiter = ';;'\n", "is not one character"),
        ("[viewing_sessions]\ndelimiter = '\"'\n", "is not one character"),
        ("[viewing_sessions]\ndelimiter = 'a'\n", "is not one character"),
        ("[viewing_sessions]\nescape = '/'\n", "in which a backslash escapes"),
        ("[viewing_sessions]\nescape = ['x']\n", "in which a backslash escapes"),
        ("[viewing_sessions]\nquote = '<<'\n", "neither one character nor"),
        ("[viewing_sessions]\nquote = ','\n", "the same character"),
    ],
)  # fmt: skip
def test_a_bad_mapping_is_wrong_usage(home, text, said):
    """It names the file and what is wrong, and nothing is ingested."""
    say(home.landing, text)
    drop(home.landing, "viewing_sessions/a.csv", MAPPED_CSV)
    with pytest.raises(UsageError) as error:
        ingest(home)
    assert said in str(error.value)
    assert error.value.exit_code == 2
    assert str(home.landing / "mostwatched.toml") in str(error.value)
    assert every_raw_file(home) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "not UTF-8", "large"])
def test_a_mapping_is_a_regular_file(tmp_path, home, kind):
    """No link, pipe or folder is followed, and no mapping is passed over because it cannot be read."""
    path = home.landing / "mostwatched.toml"
    drop(home.landing, "viewing_sessions/a.csv", MAPPED_CSV)
    match kind:
        case "link":
            say(tmp_path / "else", RENAMED)
            path.symlink_to(tmp_path / "else" / "mostwatched.toml")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "not UTF-8":
            path.write_bytes(b"\xff\xfe[\0")
        case "large":
            path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match=r"mostwatched\.toml"):
        ingest(home)


def test_a_mapping_in_the_folder_of_an_entity_is_wrong_usage(home):
    """It is no file of that entity, and would map nothing; a byte order mark before one is none of its text."""
    drop(home.landing, "viewing_sessions/a.csv", MAPPED_CSV)
    say(home.landing, RENAMED)
    ours = home.landing / "mostwatched.toml"
    theirs = ours.rename(home.landing / "viewing_sessions" / "mostwatched.toml")
    with pytest.raises(UsageError, match=r"viewing_sessions/mostwatched\.toml would map nothing: move it up"):
        ingest(home)
    theirs.rename(ours)
    ours.write_text(RENAMED, encoding="utf-8-sig")
    assert len(accepted(home)) == MAPPED_CSV.count("\n") - 1


# --- key=value folders ----------------------------------------------------------------------------------------------

PARTS = "creator_id=ada/viewerId=a%2Fb%20%C3%A9/deviceId=__HIVE_DEFAULT_PARTITION__/revision=3/day=2026-03-09/hour=10"


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
@pytest.mark.parametrize("count", [1, 300])
def test_fields_stand_in_folders_for_every_format(home, name, count):
    """Percent-encoding is decoded, Hive's name for null is null, and keys that are no field are nothing."""
    records = [{"sessionId": f"s{number}", "startedAt": "2026-03-09T10:00:00Z"} for number in range(count)]
    drop(home.landing, f"viewing_sessions/{PARTS}/{name}", written(name, records))
    rows = accepted(home)
    assert len(rows) == count
    found = {(row["creator_id"], row["viewer_id"], row["device_id"], row["revision"]) for row in rows}
    assert found == {("ada", "a/b é", None, 3)}


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_a_folder_and_a_record_must_agree(home, name):
    """One that says another value is rejected; one that says nothing, or the same, is not."""
    records = [
        {"sessionId": each, "creatorId": "ada", "startedAt": "2026-03-09T10:00:00Z", "deleted": each}
        for each in ("true", "false")
    ]
    drop(home.landing, f"viewing_sessions/deleted=true/{name}", written(name, records))
    assert [row["session_id"] for row in accepted(home)] == ["true"]
    ((field, reason),) = reasons(home)
    assert field == "deleted"
    assert "folder" in reason


def test_a_folder_that_says_what_a_field_cannot_be_rejects_its_records(home):
    """With the field, like any record; also where it says two things."""
    line = '{"sessionId":"1","creatorId":"c","startedAt":"2026-03-09T10:00:00Z"}\n'
    for folder in ("revision=x", "deleted=perhaps", "viewerId=%FF", "viewerId=null", "deleted=true/deleted=false"):
        drop(home.landing, f"viewing_sessions/{folder}/a.ndjson", line)
    assert accepted(home) == []
    assert {field for field, _ in reasons(home)} == {"revision", "deleted", "viewerId"}


def test_an_erasure_may_stand_in_a_folder(home):
    """Nobody's erasure is lost in silence: a file without any other column, too."""
    drop(home.landing, "erasures/user_id=u9/a.parquet", pa.table({"reason": ["x", "y"]}))
    assert [row["user_id"] for row in accepted(home, "erasures")] == ["u9", "u9"]


def test_keys_of_folders_are_renamed_too(home):
    """Hive writes names in small letters."""
    say(home.landing, "[viewing_sessions]\nrename = { creatorid = 'creatorId' }\n")
    drop(home.landing, "viewing_sessions/creatorid=ada/a.csv", "sessionId,startedAt\n1,2026-03-09T10:00:00Z\n")
    assert accepted(home)[0]["creator_id"] == "ada"


def test_what_was_read_before_folders_were_does_not_count_any_more(home, monkeypatch, set_parser_version):
    """By the parser before, the same bytes were one file, whatever their folder said."""
    path = drop(
        home.landing, "viewing_sessions/source=web/a.csv", "sessionId,creatorId,startedAt\n1,c,2026-03-09T10:00:00Z\n"
    )
    set_parser_version(3)
    monkeypatch.setattr("pipelines.landing.files.in_folders", lambda entity, name, mapping: mapping)
    assert [row["source"] for row in accepted(home)] == [""]
    monkeypatch.undo()
    assert [row["source"] for row in accepted(home)] == ["web"]
    path.unlink()


# --- forgetting -----------------------------------------------------------------------------------------------------


def test_a_person_is_forgotten_in_files_that_are_read_by_a_mapping(world: World):
    """Their records are found by what the columns mean: not those in which a creator or a device has their name."""
    landing = world.settings.landing
    renamed = "rename = { sid = 'sessionId', device = 'viewerId', who = 'creatorId', start = 'startedAt' }"
    say(landing, f"[viewing_sessions]\ndelimiter = ';'\n{renamed}\n")
    others = ["2;ann;bob;2026-01-05T10:00:00Z", "3;ada;bob;2026-01-05T11:00:00Z"]
    text = "\n".join(["sid;who;device;start", "1;ada;ann;2026-01-05T10:00:00Z", *others]) + "\n"
    path = drop(landing, "viewing_sessions/a.csv", text)
    table = pa.table({"sid": ["4", "5"], "who": ["ann", "ada"], "device": ["bob", "ann"],
                      "start": ["2026-01-05T12:00:00Z"] * 2})  # fmt: skip
    parquet = drop(landing, "viewing_sessions/b.parquet", table)
    assert world.run(compare=False).viewers() == [("ada", 2), ("ann", 1)]
    done = forget(world.settings, "ann", datetime(2026, 2, 1, tzinfo=UTC), landing_too=True)
    assert done.is_forgotten
    assert path.read_text().splitlines()[1:] == ["", *others]
    assert pq.read_table(parquet).column("sid").to_pylist() == ["4"]
    assert world.run(compare=False).viewers() == [("ada", 1), ("ann", 1)]


def test_a_person_whose_id_is_a_number_is_forgotten(world: World):
    """In every format."""
    landing = world.settings.landing
    drop(
        landing,
        "viewing_sessions/a.ndjson",
        '{"sessionId":1,"creatorId":7,"viewerId":7,"startedAt":"2026-01-05T10:00:00Z"}\n',
    )
    table = pa.table({"sessionId": [2], "creatorId": [7], "viewerId": [7], "startedAt": ["2026-01-05T10:00:00Z"]})
    drop(landing, "viewing_sessions/b.parquet", table)
    assert len(accepted(world.settings)) == 2
    done = forget(world.settings, "7", datetime(2026, 2, 1, tzinfo=UTC), landing_too=True)
    assert sum(each.records for each in done.landed_files if each.is_emptied) == 2
    assert accepted(world.settings) == []


def test_a_folder_that_is_named_by_a_person_is_told(world: World):
    """Its records are taken out; the name of the folder still holds the id."""
    path = drop(world.settings.landing, "viewing_sessions/viewer_id=ann/a.csv",
                "sessionId,creatorId,startedAt\n1,ada,2026-01-05T10:00:00Z\n")  # fmt: skip
    assert len(accepted(world.settings)) == 1
    done = forget(world.settings, "ann", datetime(2026, 2, 1, tzinfo=UTC), landing_too=True)
    assert not done.is_forgotten
    assert any("remove the folder" in each["why"] for each in done.remaining)
    assert path.read_text() == "sessionId,creatorId,startedAt\n\n"
