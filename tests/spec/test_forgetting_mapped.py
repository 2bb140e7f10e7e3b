"""`forget --landing-too` takes out of a landed file what a run reads of it, as its mapping says that it is written."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import pytest
import zstandard

from pipelines.core.settings import Settings
from pipelines.jobs.erase_user import forget_all
from pipelines.raw.ingest import ingest

NOW = datetime(2026, 3, 11, tzinfo=UTC)
USERS = ["a,b", "a;b", "a|b", "o'neil", 'q"x', "a\\b", "a\tb", "a\\,b", "o'\"\\|n", "x y", "é日\U0001f600,x", "u-1"]
PACK = {"a.csv": bytes, "a.csv.gz": gzip.compress, "a.csv.zst": zstandard.compress}
UNPACK = {"a.csv": bytes, "a.csv.gz": gzip.decompress, "a.csv.zst": lambda it: zstandard.decompress(it, 1 << 20)}
SAID = ["delimiter = ';'", "escape = '\\'", 'quote = "\'"']
OTHER = "s1;c;ann;2026-03-09T10:00:00Z"
OTHERS = ["ab", "u-12", "a", "b", "neil"]


def escaped(text: str, delimiter: str, also: str = "") -> str:
    """As PostgreSQL, MySQL and ClickHouse write a cell that stands in no quotation marks."""
    text = text.replace("\\", "\\\\").replace("\t", "\\t")
    for letter in {*delimiter, *also} - {"\t"}:
        text = text.replace(letter, "\\" + letter)
    return text


def record(number: int, viewer: str, delimiter: str, also: str) -> str:
    cells = [f"s{number}", "c", viewer, "2026-03-09T10:00:00Z"]
    return delimiter.join(escaped(cell, delimiter, also) for cell in cells)


@pytest.mark.parametrize("also", ["", "'"])  # which ClickHouse escapes
@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "a.csv"), (";", "a.csv.gz"), ("\t", "a.csv"), ("|", "a.csv.zst"), (":", "a.csv")]
)
def test_an_id_that_is_escaped_in_csv_is_found(tmp_path, delimiter, also, name):
    """A backslash before a delimiter or a quotation mark: of one id or of all, each record of theirs is gone."""
    header = delimiter.join(["sessionId", "creatorId", "user", "startedAt"])
    said = f"""[viewing_sessions]
        rename = {{ user = "viewerId" }}
        delimiter = {json.dumps(delimiter)}
        escape = '\\'
        quote = ""
    """
    for number, users in enumerate([USERS, USERS[-1:], [*USERS[:1], USERS[3]]]):
        folder = tmp_path / str(number) / "landing"
        (folder / "viewing_sessions").mkdir(parents=True)
        (folder / "mostwatched.toml").write_text(said)
        lines = [header, *(record(at, viewer, delimiter, also) for at, viewer in enumerate(USERS + OTHERS))]
        path = folder / "viewing_sessions" / name
        path.write_bytes(PACK[name]("\n".join(lines).encode()))
        done = forget_all(Settings(home=tmp_path / str(number)), users, NOW, landing_too=True)
        assert [[each.records for each in one.landed_files] for one in done] == [[1]] * len(users)
        content = UNPACK[name](path.read_bytes())
        kept = [
            header,
            *("" if viewer in users else line for line, viewer in zip(lines[1:], USERS + OTHERS, strict=True)),
        ]
        assert content.decode().rstrip("\n") == "\n".join(kept).rstrip("\n")


@pytest.mark.parametrize("viewer", ["a\n;b", "o''\\neil", "\f x"])
def test_an_id_that_is_written_in_an_unusual_way_is_found(tmp_path, viewer):
    """In quotation marks of another kind, with some of its letters escaped; of a rejected record too."""
    folder = tmp_path / "landing"
    (folder / "viewing_sessions").mkdir(parents=True)
    (folder / "mostwatched.toml").write_text(f"[viewing_sessions]\n{chr(10).join(SAID)}\n")
    written = viewer.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\\n").replace("\f", "\\f")
    lines = ["sessionId;creatorId;viewerId;startedAt", f"s0;c;'{written}';2026-03-09T10:00:00Z", OTHER]
    path = folder / "viewing_sessions" / "a.csv"
    path.write_text("\n".join(lines))
    (done,) = forget_all(Settings(home=tmp_path), [viewer], NOW, landing_too=True)
    assert [(each.records, each.is_emptied) for each in done.landed_files] == [(1, True)]
    assert path.read_text().split() == [lines[0], OTHER]


@pytest.mark.parametrize("viewer", ["o'neil", "a,b"])
def test_the_text_of_a_rejected_record_is_looked_at_as_it_is_written(tmp_path, viewer):
    """Neither the landed file nor what raw keeps of it has it afterwards."""
    folder = tmp_path / "landing"
    (folder / "viewing_sessions").mkdir(parents=True)
    (folder / "mostwatched.toml").write_text("[viewing_sessions]\nescape = '\\'\nquote = ''\n")
    bad = record(0, viewer, ",", "'").replace("2026", "never")
    path = folder / "viewing_sessions" / "a.csv"
    path.write_text(f"sessionId,creatorId,viewerId,startedAt\n{bad}\ns1,c,ann,2026-03-09T10:00:00Z\n")
    settings = Settings(home=tmp_path)
    ingest(settings, [settings.landing])
    (done,) = forget_all(settings, [viewer], NOW, landing_too=True)
    assert (done.rejected_records, [each.records for each in done.landed_files], done.is_forgotten) == (1, [1], True)
    assert path.read_text().split() == ["sessionId,creatorId,viewerId,startedAt", "s1,c,ann,2026-03-09T10:00:00Z"]
