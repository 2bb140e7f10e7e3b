"""The lines of `mostwatched.toml` that messages suggest: they are what makes the file readable."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import Settings
from pipelines.landing.suggestions import of_header, of_rejections
from pipelines.landing.values import NO_OFFSET, NOT_AN_INSTANT
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.raw.rejected_records import describe_unreadable, suggest_mapping


def line_of(sentence: str) -> str:
    """The line that a sentence says to put into mostwatched.toml."""
    found = re.search(r"in the landing folder: (\w+ = \{ .* \})", sentence)
    assert found, sentence
    return found[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id;user_id;channel_id;start_time;end_time\n1;u;c;2026-03-09T10:00:00Z;\n"),
        ("b.csv", "view_id\tuser\tstreamer\tstarted\n1\tu\tc\t2026-03-09T10:00:00Z\n"),
        ("c.csv", "ID|member|Creator ID|Begin\n1|u|c|2026-03-09T10:00:00Z\n"),
        ("d.csv", '"uuid","viewerID","channel","start_date"\n"1","u","c","2026-03-09T10:00:00Z"\n'),
        ("e.csv", "sessionId;creatorId;startedAt\n1;c;2026-03-09T10:00:00Z\n"),
        ("f.ndjson", '{"session":"1","user":"u","channel":"c","start":"2026-03-09T10:00:00Z"}\n'),
        ("g.ndjson", '{"sessionId":"1","viewerId":"\\\\N","creatorId":"c","startedAt":"2026-03-09T10:00:00Z"}\n'),
        ("h.csv", "sessionId,viewerId,creatorId,startedAt\n1,NULL,c,2026-03-09T10:00:00Z\n"),
        ("i.ndjson", '{"sessionId":"1","creatorId":"c","startedAt":1772960400000}\n'),
        ("j.csv", "sessionId,creatorId,startedAt\n1,c,1772960400\n"),
        ("k.csv", "sessionId,creatorId,startedAt\n1,c,2026-03-09 10:00:00\n"),
    ],
)
def test_the_suggested_line_reads_the_file(tmp_path: Path, name: str, content: str) -> None:
    """Put into mostwatched.toml as it is told, word for word."""
    home = Settings(home=tmp_path)
    path = home.landing / "viewing_sessions" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.accepted == 0
    (sentence,) = [describe_unreadable(raw)] if raw.unreadable else suggest_mapping([raw])
    (home.landing / "mostwatched.toml").write_text(line_of(sentence))
    ingest(home)
    (raw,) = raw_files(home)
    assert (raw.accepted, raw.rejected, raw.unknown_fields) == (1, 0, {})


ROW = {"id": "1", "user_id": "u", "channel_id": "c", "start_time": "2026-03-09T10:00:00Z", "end_time": None}
TYPED = {name: {"NULL": True} if each is None else {"S": each} for name, each in ROW.items()}
ENVELOPES = {
    "DynamoDB export": {"Item": TYPED},
    "DynamoDB item": TYPED,
    "Elasticsearch": {"_index": "i", "_id": "1", "_score": 1.0, "_source": ROW},
    "Debezium": {"before": ROW, "after": ROW, "source": {"db": "d"}, "op": "u", "ts_ms": 1},
    "Kafka Connect with schemas": {"schema": {"type": "struct", "fields": []}, "payload": ROW},
    "Debezium with schemas": {"schema": {}, "payload": {"before": None, "after": ROW, "op": "c"}},
    "CloudEvents": {"specversion": "1.0", "id": "e", "type": "t", "source": "/s", "data": ROW},
    "Airbyte": {"type": "RECORD", "record": {"stream": "s", "data": ROW, "emitted_at": 1}},
    "Airbyte in S3": {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1, "_airbyte_data": ROW},
    "Singer": {"type": "RECORD", "stream": "s", "record": ROW},
    "Segment": {"messageId": "m", "type": "track", "event": "e", "properties": ROW},
    "a page of an API": {"data": [ROW], "next": None},
    "SNS": {"Type": "Notification", "MessageId": "m", "Message": json.dumps(ROW)},
    "a name to be quoted": {"detail-type": "t", "the detail": {"row": ROW}},
}


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("mapped", [False, True])
def test_an_envelope_is_named_and_comes_off_as_it_is_told(tmp_path: Path, envelope: str, mapped: bool) -> None:
    """By the very command, and the very line of mostwatched.toml; also where that stands there already."""
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("the command that takes envelopes off is not tried: no jq is installed here")
    home = Settings(home=tmp_path)
    path = home.landing / "viewing_sessions" / "a.ndjson"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(ENVELOPES[envelope]) + "\n")
    names = 'id = "sessionId", user_id = "viewerId", channel_id = "creatorId", start_time = "startedAt"'
    renamed = f'viewing_sessions = {{ rename = {{ {names}, end_time = "endedAt" }} }}'
    if mapped:
        (home.landing / "mostwatched.toml").write_text(renamed)
    ingest(home)
    (raw,) = raw_files(home)
    assert raw.accepted == 0
    (sentence,) = [describe_unreadable(raw)] if raw.unreadable else suggest_mapping([raw])
    found = re.search("as jq -c '(.+)' writes them", sentence)
    assert found, sentence
    assert ("Debezium" in sentence) == ("Debezium" in envelope)
    again = Settings(home=tmp_path / "again")
    flat = again.landing / "viewing_sessions" / "a.ndjson"
    flat.parent.mkdir(parents=True)
    flat.write_bytes(subprocess.run([jq, "-c", found[1]], input=path.read_bytes(), stdout=-1, check=True).stdout)
    (again.landing / "mostwatched.toml").write_text(renamed if mapped else line_of(sentence))
    ingest(again)
    (raw,) = raw_files(again)
    assert (raw.accepted, raw.rejected, raw.unknown_fields) == (1, 0, {})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"sessionId": "1", "creatorId": "c", "viewerId": {"id": "u", "userId": "x"}}, "expected text, got an object"),
        ({"before": ROW, "after": None, "op": "d"}, "missing"),
        ({"x": {"y": {"z": {"a": {"b": ROW}}}}}, "missing"),
        ({"Item": {"id": {"S": "1"}}}, "missing"),
    ],
)
def test_what_is_no_envelope_is_not_called_one(record: dict[str, Any], reason: str) -> None:
    """A field of a wrong type, a row as it was, what lies too deep, and one name that may be there by chance."""
    assert "envelope" not in of_rejections("viewing_sessions", [(reason, json.dumps(record))])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("            id            | user_id | started_at ", "a table drawn for people"),
        ("+----+---------+", "a table drawn for people"),
        ("┌────┬─────────┐", "a table drawn for people"),
        ("| id | user_id |", "a table drawn for people"),
        ("        id = 65ec2a", "a table drawn for people"),
        ("sessionId, creatorId, startedAt", "White space stands around its names"),
        ("sep=;", 'leave it out, and say delimiter = ";"'),
    ],
)
def test_what_only_looks_like_csv_is_said(header: str, said: str) -> None:
    """Rather than a mapping that could not help."""
    assert said in of_header("viewing_sessions", header)


@pytest.mark.parametrize(
    ("reason", "text", "said"),
    [
        (NOT_AN_INSTANT, "s,c,09/03/2026 10:00:00 UTC", "set datestyle = 'ISO'"),
        (NOT_AN_INSTANT, "s,c,09.03.2026 10:00:00 UTC", "set datestyle = 'ISO'"),
        (NOT_AN_INSTANT, "s,c,Mon 09 Mar 10:00:00 2026 UTC", "set datestyle = 'ISO'"),
        (NOT_AN_INSTANT, "s,c,yesterday", ""),
        ("not valid JSON: something", r'{"id":"quo\\"te"}', "use psql -At -c, or mysql --raw"),
        ("not valid JSON: something", r' \n {"id":"1"}', "use psql -At -c, or mysql --raw"),
        ("not valid JSON: something", r'{"id":"quo\"te', ""),
    ],
)
def test_what_a_program_was_asked_to_write_is_said(reason: str, text: str, said: str) -> None:
    """Where another question to it gives what can be read."""
    found = of_rejections("viewing_sessions", [(reason, text)])
    assert (said in found) if said else found == ""


def test_a_suspected_delimiter_is_said(tmp_path: Path) -> None:
    """Beside the line."""
    home = Settings(home=tmp_path)
    path = home.landing / "follows" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("userId\tcreatorId\nu\tc\n")
    ingest(home)
    assert 'Its columns seem to be separated by "\\t".' in describe_unreadable(raw_files(home)[0])


def test_nothing_is_suggested_where_nothing_is_alike() -> None:
    """A line of data is no header, and a text that is no JSON has no fields."""
    assert of_header("viewing_sessions", "s1,c1,v1,2026-03-09T10:00:00Z") == ""
    assert of_rejections("viewing_sessions", [("not valid JSON", "{"), ("missing", "{"), ("missing", "[]")]) == ""


def test_names_are_written_as_toml_has_them() -> None:
    """Whatever they are made of; each field is suggested once."""
    assert line_of(of_header("erasures", 'user "id"')) == 'erasures = { rename = { "user \\"id" = "userId" } }'
    assert line_of(of_header("erasures", "user,account")) == 'erasures = { rename = { user = "userId" } }'
    assert "Or the time zone" in of_rejections("erasures", [(NO_OFFSET, "")])
