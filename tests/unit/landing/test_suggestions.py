"""The lines of `mostwatched.toml` that messages suggest: they are what makes the file readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.landing.suggestions import of_header, of_rejections
from pipelines.landing.values import NO_OFFSET
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
