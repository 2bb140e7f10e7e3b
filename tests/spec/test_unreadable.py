"""Nothing is read as nothing: a landed file with bytes in it yields records, or it is unreadable and refuses."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import re
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import AS_OF, World

from pipelines.core.errors import RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs import erase_user, nightly
from pipelines.jobs.nightly import NightReport
from pipelines.raw import ingest as ingesting

NOW = datetime(2026, 3, 11, tzinfo=UTC)
CASES = Path(__file__).parent.parent / "cases"
GOOD = '{"sessionId":"g1","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}\n'


def run_case(tmp_path: Path, name: str, *, accept_rejects: bool = False, as_of: str = "2026-03-10") -> NightReport:
    """The night over a case's landing folder; its home is `tmp_path`/home."""
    settings = Settings(home=tmp_path / "home", windows=(1, 7, 30), max_window_days=30)
    roots = [CASES / name / "landing"]
    return nightly.run(settings, date.fromisoformat(as_of), roots, accept_rejects=accept_rejects, allow_incomplete=True)


def refused(tmp_path: Path, name: str) -> str:
    """Why a case is refused; with --accept-rejects it is published."""
    with pytest.raises(RefusedToPublish) as refusal:
        run_case(tmp_path, name)
    assert run_case(tmp_path, name, accept_rejects=True).published.is_current
    return str(refusal.value)


def test_csv_without_a_header_refuses(tmp_path):
    """The message quotes the line that was taken for the header and names every field that is missing."""
    why = refused(tmp_path, "csv_no_header_one_row")
    assert "viewing_sessions/h10.csv cannot be read: the header lacks the required fields " in why
    assert "sessionId, creatorId, startedAt. It begins with `s1,c1,v1,2026-03-09T10:00:00Z," in why
    assert "--accept-rejects" in why


def test_an_erasure_without_a_header_refuses(tmp_path):
    """Nobody's erasure is lost in silence."""
    why = refused(tmp_path, "erasure_no_header")
    assert "erasures/2026-03-09.csv cannot be read: the header lacks the required field userId." in why
    assert "It begins with `u9`." in why


def test_a_damaged_parquet_file_weighs_more_than_a_record(tmp_path):
    """A third of a day is in it: one rejected record of 161 would be published."""
    assert "viewing_sessions/2026-03-09_2.parquet cannot be read" in refused(tmp_path, "lost_file_truncated_parquet")


def unreadable(world: World, name: str = "bad.parquet", content: bytes = b"PAR1, and nothing more") -> Path:
    path: Path = world.settings.landing / "viewing_sessions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_an_unreadable_file_refuses_whatever_else_landed(world):
    """It is one record of many, and over no limit."""
    world.land_text("viewing_sessions", "".join(GOOD.replace("g1", f"g{number}") for number in range(500)))
    unreadable(world)
    for _ in range(2):  # also when it has been read before
        with pytest.raises(RefusedToPublish, match=r"bad\.parquet cannot be read"):
            world.run(compare=False)


def test_an_accepted_unreadable_file_is_told_every_night_that_it_is_there(world):
    """It refuses no more, but its records are still missing: a warning and a list, until it is gone."""
    world.land_text("viewing_sessions", GOOD)
    path = unreadable(world)
    for _ in range(3):
        report = world.run(compare=False, night={"accept_rejects": True}).report
        night = report.as_json()
        assert [each["file"] for each in night["unreadable"]] == ["viewing_sessions/bad.parquet"]
        assert report.facts["landed"]["unreadable"] == night["unreadable"]
        assert "Unreadable:" in report.page.read_text()
        assert any("bad.parquet cannot be read" in warning for warning in night["warnings"])
        world.land_text("viewing_sessions", GOOD)
    path.unlink()
    night = world.run(compare=False).report.as_json()
    assert night["unreadable"] == []
    assert not any("cannot be read" in warning for warning in night["warnings"])


def test_an_unreadable_file_that_lands_again_is_dealt_with(world):
    """Under the same name, in this format or another."""
    world.land_text("viewing_sessions", GOOD)
    path = unreadable(world)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    path.unlink()
    with pytest.raises(RefusedToPublish, match=r"bad\.parquet"):  # what was in it is still missing
        world.run(compare=False)
    path.with_suffix(".ndjson").write_text(GOOD.replace("g1", "g2"))
    night = world.run(compare=False, night={"accept_rejects": False, "allow_incomplete": True})
    assert night.measured("ada").sessions == 2


def test_a_good_file_that_becomes_unreadable_refuses(world):
    """That it could be read the day before does not help."""
    path = unreadable(world, "all.parquet")
    table = pa.table({"sessionId": ["a"], "creatorId": ["ada"], "startedAt": ["2026-01-05T10:00:00Z"]})
    pq.write_table(table, path)
    world.run(compare=False)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RefusedToPublish, match=r"all\.parquet cannot be read"):
        world.run(compare=False)


# --- what a file is ------------------------------------------------------------------------------------------------


def counts(report: NightReport) -> tuple[int, int]:
    facts = report.as_json()
    return facts["new_accepted"], facts["new_rejected"]


def test_lines_may_end_with_a_carriage_return_alone(tmp_path):
    """Both records of the file are read."""
    assert counts(run_case(tmp_path, "csv_cr_only")) == (3, 0)


def test_an_archive_of_zero_bytes_refuses(tmp_path):
    """It is not a day without sessions."""
    why = refused(tmp_path, "gz_all_zero_bytes")
    assert "2026-03-08.ndjson.gz cannot be read: it holds zero bytes in place of a text" in why


def test_objects_that_follow_each_other_are_read(tmp_path):
    """A third of a day stands in one line of them."""
    accepted, rejected = counts(run_case(tmp_path, "lost_file_concatenated_json"))
    assert (accepted, rejected) == (2160, 0)


def session(text: str = "") -> str:
    return GOOD.replace("g1", f"other{text}")


CSV = "sessionId,creatorId,startedAt\ns1,ada,2026-01-05T10:00:00Z\n"
REFUSED = {
    "utf16.csv": (CSV.encode("utf-16"), "the text is UTF-16"),
    "utf16 without a mark.csv": (CSV.encode("utf-16-be"), "the text is UTF-16"),
    "utf32.ndjson": (GOOD.encode("utf-32"), "the text is UTF-32"),
    "latin1.ndjson": ((session("é") + session("ü")).encode("latin-1"), "not UTF-8 but, as it seems, Latin-1"),
    "page.ndjson": (b"<html>\n<body>502 Bad Gateway</body>\n", "it is HTML or XML"),
    "error.json": (b'{"error": {"code": 404, "status": "gone"}}', "nothing in it has a required field"),
    "error.ndjson.gz": (b'{"message":"Forbidden"}\n', "nothing in it has a required field"),
    "text.csv": (b"Service Unavailable\n", "the header lacks the required fields sessionId, creatorId, startedAt"),
    "white.ndjson": (b" \n\n\t\n", "it holds nothing but white space"),
    "white.csv": (b"\n\n\n", "it holds nothing but white space"),
    "mark.csv": (b"\xef\xbb\xbf", "it holds nothing but white space"),
    "zeros.ndjson": (b"\0" * 5000, "it holds zero bytes"),
    "tail.ndjson": (GOOD.encode() + b"\0" * 5000, "it holds zero bytes"),
    "tail.csv": (CSV.encode() + b"\0" * 5000, "it holds zero bytes"),
    "none.ndjson.gz": (b"", "it has no bytes, and no archive has none"),
    "none.parquet": (b"", "it has no bytes, and no archive has none"),
    "text.ndjson.bz2": (bz2.compress(GOOD.encode()), "it is compressed with bzip2: use gzip or zstd"),
    "xz named.ndjson": (lzma.compress(GOOD.encode()), "it is compressed with xz: use gzip or zstd"),
    "twice.ndjson.gz": (gzip.compress(gzip.compress(GOOD.encode())), "an archive within an archive"),
    "behind.ndjson.gz": (gzip.compress(GOOD.encode()) + b"garbage", "the archive is damaged"),
    "between.ndjson.gz": (gzip.compress(GOOD.encode()) + b"x" + gzip.compress(GOOD.encode()), "archive is damaged"),
    "cut.ndjson.gz": (gzip.compress(GOOD.encode() * 9)[:-5], "the archive is damaged: it ends in the middle"),
    "garbage.ndjson.zst": (b"no archive at all", "it is not compressed as its name says (zst)"),
    "array.json": (f"[{GOOD},{session()}".encode(), "the array that begins on line 1 does not end"),
    "book.xlsx": (b"PK\x03\x04" + bytes(99), "it is a zip archive (or a workbook)"),
    "a.orc": (b"ORC\x0a\x0b\x0c", "it is an ORC file: land Parquet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_what_lands_is_refused(world, name):
    """With what was seen, and never read as a day without sessions, nor passed over."""
    content, reason = REFUSED[name]
    world.land_text("viewing_sessions", GOOD)
    unreadable(world, name, content)
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    assert f"viewing_sessions/{name} cannot be read: " in str(refusal.value)
    assert reason in str(refusal.value)
    facts = world.run(compare=False, night={"accept_rejects": True}).report.as_json()
    assert [each["file"] for each in facts["unreadable"]] == [f"viewing_sessions/{name}"]


ROWS = """(
    select 'n' || i as sessionId, 'ada' as creatorId, timestamptz '2026-01-05 10:00Z' as startedAt from range(9) t(i)
)"""
LISTS = f"(select list(sessionId) as sessionId, list(creatorId) as creatorId, list(startedAt) as startedAt from {ROWS})"
NESTED = {  # by DuckDB: nine records in one
    "answer": f"select {{data: list(r), next: null}} from {ROWS} r",
    "deep": f"select {{hits: {{total: 9, hits: list({{_source: r}})}}}} from {ROWS} r",
    "by id": f"select map_from_entries(list((sessionId, r))) from {ROWS} r",
    "array in an array": f"select [list(r)] from {ROWS} r",
    "text": f"select {{message: to_json(list(r))::text}} from {ROWS} r",
    "columns": f"select lists from {LISTS} lists",
    "names apart": f"select {{names: ['sessionId', 'creatorId'], data: list([sessionId, creatorId])}} from {ROWS}",
}


@pytest.mark.parametrize("behind", ["", GOOD], ids=["alone", "behind a record"])
@pytest.mark.parametrize("name", NESTED)
def test_a_record_that_holds_several_is_no_record(world, name, behind):
    """It would be one rejected record of 400, however many are lost with it."""
    world.land_text("viewing_sessions", "".join(GOOD.replace("g1", f"many{number}") for number in range(400)))
    ((line,),) = duckdb.sql(f"select to_json(record)::text from ({NESTED[name]}) found(record)").fetchall()
    path = unreadable(world, "nested.ndjson", f"{behind}{line}\n".encode())
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    assert "viewing_sessions/nested.ndjson cannot be read: one of its records holds " in str(refusal.value)
    assert world.run(compare=False, night={"accept_rejects": True}).report.as_json()["rejected"] == 1
    remedy = re.search("as jq -c '(.*)' writes", str(refusal.value))
    assert (remedy is None) == (name in ("text", "columns", "names apart"))
    if remedy is None:
        return
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    written = subprocess.run(
        ["jq", "-c", remedy[1], path], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    unreadable(world, "nested.ndjson", written.encode())
    assert world.run(compare=False).report.as_json()["new_accepted"] == 9 + bool(behind)


@pytest.mark.parametrize(
    "line",
    [
        '{"sessionId": "s1", "creatorId": {"sessionId": "s1", "name": "Ada"}, "startedAt": "2026-01-05T10:00:00Z"}',
        '{"before": null, "after": {"sessionId": "s1", "creatorId": "ada", "startedAt": "2026-01-05T10:00:00Z"}}',
        '{"schema": {"fields": [{"field": "sessionId"}]}, "payload": {"sessionId": "s1", "creatorId": "ada"}}',
        '{"sessionId": "s1", "creatorId": "ada", "startedAt": "yesterday, or \\"sessionId\\": 3"}',
        '{"sessionId": "s1", "creatorId": "ada", "sta{"sessionId": "s2", "creatorId": "ada", "startedAt": ""}',
        '{"sessionId": "s", "creatorId": "ada", "startedAt": "", "sessionId": "s", "creatorId": "bo", "startedAt": ""}',
    ],
)
def test_one_rejected_record_is_one(world, line):
    """One that is wrapped, or damaged, costs itself alone."""
    world.land_text("viewing_sessions", "".join(GOOD.replace("g1", f"many{number}") for number in range(400)) + line)
    facts = world.run(compare=False).report.as_json()
    assert (facts["rejected"], facts["unreadable"]) == (1, [])


def test_a_rejected_stream_with_people_in_it_is_one(world):
    """Those who broadcast it have fields of the same names."""
    people = [{"id": f"p{number}", "creatorId": f"c{number}", "role": "guest"} for number in range(9)]
    stream = {"id": "s1", "creatorId": "", "status": "active", "broadcasters": people}
    world.land("live_streams", [{"id": f"s{number}", "creatorId": "ada", "status": "active"} for number in range(400)])
    for text in (json.dumps(stream), json.dumps(stream)[:-1]):
        world.land_text("live_streams", text, "b.ndjson")
        facts = world.run(compare=False, night={"accept_rejects": True}).report.as_json()
        assert (facts["new_rejected"], facts["unreadable"]) == (1, [])


def test_a_header_again_is_nobody_who_follows(world):
    """In a file of follows any text is a good id: also the name of its column."""
    rows = "".join(f"u{number},ada\n" for number in range(200))
    text = f"userId,creatorId\n{rows}userId,creatorId\n{rows.replace('u', 'w')}"
    world.land_text("viewing_sessions", GOOD)
    unreadable(world, "../follows/two.csv", text.encode())
    facts = world.run(compare=False).report.as_json()
    assert (facts["new_accepted"], facts["new_rejected"], facts["unreadable"]) == (401, 1, [])
    unreadable(world, "../follows/two.csv", text.replace("\nuserId,creatorId", "\ncreatorId,userId").encode())
    with pytest.raises(RefusedToPublish, match="a header of other columns begins in the middle"):
        world.run(compare=False)


def test_a_file_of_another_kind_without_an_extension_is_not_passed_over(world):
    """Its first bytes say that it is data; a note about files, whatever it is called, is ignored by name."""
    world.land_text("viewing_sessions", GOOD)
    for name, text in {"a.csv.md5": b"d41d8 a.csv\n", "README": b"Sessions.", "a.ndjson.done": b""}.items():
        unreadable(world, name, text)
    assert len(world.run(compare=False).report.ingested.ignored) == 3
    unreadable(world, "export", bz2.compress(GOOD.encode()))
    unreadable(world, "b.csv.gpg", b"\x85\x01\x0c\x03" + bytes(range(99)))
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    assert "viewing_sessions/export cannot be read: it is compressed with bzip2" in str(refusal.value)
    assert "viewing_sessions/b.csv.gpg cannot be read: " in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"", mtime=0), CSV.partition("\n")[0].encode(), b"[]", b"[\n]\n"],
)
def test_what_says_that_there_are_no_records_is_read(world, content):
    """A text without a byte, a header alone, an empty array."""
    world.land_text("viewing_sessions", GOOD)
    unreadable(world, "none.json", content)
    facts = world.run(compare=False).report.as_json()
    assert (facts["new_files"], facts["new_records"], facts["unreadable"]) == (2, 1, [])


RECORD = {"sessionId": "s1", "creatorId": "ada", "startedAt": "2026-01-05T10:00:00Z"}
PLEDGE = {"pledgeId": "p1", "userId": "v1", "streamId": "s1", "amount": 5, "status": "pending"}
SAID = {  # what landed -> what is said, and what is not, since it is not so
    "parts of an instant.ndjson": (
        json.dumps(RECORD | {"startedAt": [2026, 1, 5, 10, 0]}), "expected an RFC 3339 instant, got a list", "columns"
    ),
    "keys and values.ndjson": (
        json.dumps({"params": [{"key": key, "value": {"string": each}} for key, each in RECORD.items()]}),
        "nothing in it has a required field", "columns",
    ),
    "python.ndjson": (f"{RECORD}\n", "what Python shows of a dict, which is no JSON: write it with json.dumps", ".."),
    "log.ndjson": (json.dumps({"log": json.dumps(RECORD)}), "as jq -c '.log | fromjson' writes them. Land it", ".."),
    "pledges.csv": (
        ",".join(PLEDGE) + "\np1,v1,s1,5,pending\n", "It seems to hold pledges: move it to the folder pledges", "rename"
    ),
    "pledges.ndjson": (json.dumps(PLEDGE), "It seems to hold pledges: move it to the folder pledges.", "rename"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_reason_is_the_right_one(world, name):
    """Who follows the remedy of a wrong one does so in vain."""
    content, said, not_said = SAID[name]
    world.land_text("viewing_sessions", GOOD)
    unreadable(world, name, content.encode())
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    assert said in str(refusal.value)
    assert not_said not in str(refusal.value)


def test_names_in_capital_letters_are_suggested_for_parquet_too(world):
    """As Snowflake unloads them."""
    world.land_text("viewing_sessions", GOOD)
    path = unreadable(world, "a.parquet")
    pq.write_table(pa.table({name.upper(): [each] for name, each in RECORD.items()}), path)
    with pytest.raises(
        RefusedToPublish, match=r'rename = { SESSIONID = "sessionId", CREATORID = "creatorId", STARTEDAT'
    ):
        world.run(compare=False)


# --- the landing folder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stray", "root", "meant"),
    [
        ("viewing_sessions.csv", "", "move it into a folder of an entity: .*/landing/viewing_sessions"),
        ("2026-01-05.ndjson.gz", "", "move it into a folder of an entity"),
        ("sessions/a.ndjson", "", "/landing/sessions should perhaps be called viewing_sessions"),
        ("Pledges/2026/a.parquet", "", "/landing/Pledges should perhaps be called pledges"),
        ("data/a.ndjson", "", "put files into a folder of the name of an entity: viewing_sessions, "),
        ("viewing_sessions/a.ndjson", "viewing_sessions", "give the folder that it is in: --landing .*/landing$"),
    ],
)
def test_a_landing_folder_without_an_entity_is_wrong_usage(world, stray, root, meant):
    """No empty snapshot: the message says what was probably meant."""
    path = world.settings.landing / stray
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GOOD)
    with pytest.raises(UsageError, match=meant.replace("$", r"\.")) as error:
        nightly.run(world.settings, AS_OF, [world.settings.landing / root])
    assert error.value.exit_code == 2
    assert str(path) in str(error.value)


def test_a_file_that_lands_while_folders_are_listed_is_no_wrong_usage(world, monkeypatch):
    """It is read by the next run."""
    listed = ingesting.find_landed

    def found(*roots, **how):
        result = listed(*roots, **how)
        world.land_text("viewing_sessions", GOOD)
        return result

    (world.settings.landing / "viewing_sessions").mkdir(parents=True)
    monkeypatch.setattr(ingesting, "find_landed", found)
    assert ingesting.ingest(world.settings).new_accepted == 0
    assert ingesting.ingest(world.settings).new_accepted == 1


def test_an_empty_landing_folder_is_none(world):
    """Nor is one with a note beside folders that are still empty."""
    (world.settings.landing / "viewing_sessions").mkdir(parents=True)
    (world.settings.landing / "README.md").write_text("Land here.")
    assert world.run(compare=False).report.as_json()["records"] == 0


def test_what_is_passed_over_is_named_with_the_reason(world):
    """What a folder resembles, too."""
    world.land_text("viewing_sessions", GOOD)
    for name in ("viewing_session/a.ndjson", "viewing_sessions/_SUCCESS", "viewing_sessions/a.csv.tmp", "pledges/x.md"):
        path = world.settings.landing / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("?")
    ignored = world.run(compare=False).report.ingested.ignored
    found = {str(each.path.relative_to(world.settings.landing)): each.reason for each in ignored}
    assert found["viewing_session"].endswith("; viewing_sessions was perhaps meant")
    assert found["viewing_sessions/_SUCCESS"] == found["viewing_sessions/a.csv.tmp"] == "marker or temporary file"
    assert found["pledges/x.md"].startswith("no file of data")


# --- forgetting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forget_utf16", "forget_bz2"])
def test_a_person_in_a_file_that_cannot_be_read_is_not_forgotten(tmp_path, name):
    """The file is named; once it is gone they are."""
    home = tmp_path / "home"
    shutil.copytree(CASES / name / "landing", home / "landing")
    settings = Settings(home=home, windows=(1, 7, 30), max_window_days=30)
    nightly.run(settings, date(2026, 3, 10), accept_rejects=True, allow_incomplete=True)
    done = erase_user.forget(settings, "viewer-7f3a9c1e55", NOW, landing_too=True)
    (left,) = done.remaining
    assert left["path"].endswith(("b.csv", "b.ndjson.bz2"))
    assert left["why"].startswith("it holds the id and cannot be rewritten: ")
    assert not done.is_forgotten
    Path(left["path"]).unlink()
    assert erase_user.forget(settings, "viewer-7f3a9c1e55", NOW, landing_too=True).is_forgotten


@pytest.mark.parametrize("name", ["b.ndjson.part", "_b.ndjson", "notes.txt", "c.7z"])
def test_files_that_are_passed_over_are_looked_into(world, name):
    """Or said not to be."""
    world.land_text("viewing_sessions", GOOD)
    world.run(compare=False)
    content = (
        b"7z\xbc\xaf\x27\x1c\xff\x00" if name == "c.7z" else base64.b64encode(GOOD.replace("v1", "gone1").encode())
    )
    unreadable(world, name, content)
    done = erase_user.forget(world.settings, "gone1", NOW, landing_too=True)
    assert [Path(each["path"]).name for each in done.remaining] == [name]
