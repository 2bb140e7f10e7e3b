"""The command line: what it prints, and the exit code of everything that can happen."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from refusing import no_space
from world import World

from pipelines import __version__
from pipelines import cli as command_line
from pipelines.core import durable_files, logs
from pipelines.jobs import nightly
from pipelines.snapshots import manifest

pytestmark = pytest.mark.xdist_group("cli")  # `three_nights` is made once, whichever worker has it

NIGHTS = [date(2026, 1, 29), date(2026, 1, 30), date(2026, 1, 31)]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `--json` printed: one line, the last of stdout."""
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Done]


@pytest.fixture
def mostwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the home of this test."""
    monkeypatch.setenv("MOSTWATCHED_MAX_WINDOW_DAYS", "30")
    monkeypatch.setenv("MOSTWATCHED_THREADS", "1")

    def run(*arguments: object) -> Done:
        texts = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["mostwatched", "--home", str(tmp_path / "home"), *texts])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three snapshots; copy the home before changing anything."""
    world = World(tmp_path_factory.mktemp("nights"))
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
        ada     | v2     | 2026-01-29 10:00 | 5
        bob     | v1     | 2026-01-30 10:00 | 5
    """)
    for as_of in NIGHTS:
        nightly.run(world.settings, as_of)
    return world


@pytest.fixture
def home(tmp_path: Path, three_nights: World) -> Path:
    """Such a home for this test."""
    shutil.copytree(three_nights.settings.home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def ids(three_nights: World) -> list[str]:
    return manifest.snapshot_ids(three_nights.settings.snapshots)


SESSION = '{"sessionId":"s%d","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}\n'


def landed(folder: Path, lines: str) -> Path:
    """A landing folder with one file of sessions."""
    (folder / "viewing_sessions").mkdir(parents=True)
    (folder / "viewing_sessions" / "some.ndjson").write_text(lines)
    return folder


# --- run -------------------------------------------------------------------------------------------------------------


def test_a_run_publishes_what_landed(mostwatched, tmp_path):
    """Without --landing it is HOME/landing; the summary is for people, on stdout."""
    landed(tmp_path / "home" / "landing", SESSION % 1)
    done = mostwatched("run", "--direct", "--as-of", "2026-01-31")
    assert done.code == 0
    assert done.out.startswith("Snapshot 2026-01-31-")
    assert "New: 1 file with 1 record, 0 rejected." in done.out
    assert "1 ranked" in done.out
    assert "Ignored" not in done.out
    (tmp_path / "home" / "landing" / "viewing_session").mkdir()
    again = mostwatched("run", "--direct", "--as-of", "2026-01-31")
    assert "published before, unchanged" in again.out
    assert re.search(r"Ignored: 1 path:\n  .*/landing/viewing_session \(.+\)\n", again.out)


def test_a_run_says_in_json_what_it_did(mostwatched, tmp_path):
    """One object on one line: the snapshot, the books of the lake, and what was new."""
    folders = [landed(tmp_path / name, SESSION % number) for number, name in enumerate(("a", "b"))]
    done = mostwatched("run", "--direct", "--json", "--as-of", "2026-01-31", *(f"--landing={path}" for path in folders))
    assert len(done.out.splitlines()) == 1
    pointer = manifest.current(tmp_path / "home" / "snapshots")
    assert pointer
    assert (
        done.json.items()
        >= {
            "snapshot_id": pointer.snapshot_id,
            "as_of": "2026-01-31",
            "is_new": True,
            "is_current": True,
            "records": 2,
            "accepted": 2,
            "rejected": 0,
            "new_files": 2,
            "new_records": 2,
            "new_accepted": 2,
            "new_rejected": 0,
            "postponed": [],
        }.items()
    )
    assert done.json["funnel"]["ranked"] == 2
    assert "from 2026-01-06 on" in " ".join(done.json["warnings"])


def test_the_default_as_of_is_today(mostwatched, tmp_path, monkeypatch):
    """Only the command line asks the clock, and in the policy's zone."""
    monkeypatch.setenv("MOSTWATCHED_DAY_TIMEZONE", "Pacific/Kiritimati")
    before = datetime.now(UTC)
    done = mostwatched("run", "--direct", "--json")
    zone = ZoneInfo("Pacific/Kiritimati")
    assert done.json["as_of"] in {str(moment.astimezone(zone).date()) for moment in (before, datetime.now(UTC))}


def test_a_refused_run_is_exit_code_3(mostwatched, tmp_path):
    """Too many rejected records, and a last day that is not all there: each with its way out."""
    landing = landed(tmp_path / "bad", SESSION % 1 + "no record\n")
    refused = mostwatched("run", "--direct", "--json", "--as-of", "2026-01-31", "--landing", landing)
    assert (refused.code, refused.out) == (3, "")
    assert "mostwatched: Not published" in refused.err
    assert "--accept-rejects" in refused.err
    accepted = mostwatched(
        "run", "--direct", "--json", "--accept-rejects", "--as-of", "2026-01-31", "--landing", landing
    )
    assert (accepted.code, accepted.json["rejected"]) == (0, 1)


def test_a_run_with_an_incomplete_day_is_exit_code_3(mostwatched, tmp_path):
    """`--allow-incomplete` publishes the day as it is."""
    world = World(tmp_path)
    world.busy_days("2026-01-23", 7)
    run = ("run", "--direct", "--as-of", "2026-01-31")
    refused = mostwatched(*run)
    assert (refused.code, "--allow-incomplete" in refused.err) == (3, True)
    assert mostwatched(*run, "--allow-incomplete").code == 0


def test_a_second_run_at_the_same_time_is_exit_code_4(mostwatched, home):
    """Whoever comes second is told to wait; reading goes on."""
    with durable_files.lock_home(home):
        for arguments in (("run", "--direct"), ("snapshots", "prune"), ("snapshots", "rollback"), ("forget", "v1")):
            done = mostwatched(*arguments)
            assert (done.code, done.out) == (4, "")
            assert "is at work in" in done.err
        assert mostwatched("top").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("stdin", [b"v1\n", b"v1"])
def test_an_id_is_read_from_stdin(mostwatched, home, monkeypatch, stdin):
    """Where others share the machine: they can read arguments. Nothing but the end of the line is cut off."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert (
        mostwatched("forget", "-", "--dry-run", "--json").json
        == mostwatched("forget", "v1", "--dry-run", "--json").json
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ada\n")))
    assert mostwatched("explain", "-", "--json").json == mostwatched("explain", "ada", "--json").json


@pytest.mark.parametrize(("stdin", "said"), [(b"", "nothing stands on stdin"), (b"\xff\n", "not UTF-8")])
def test_no_id_on_stdin_is_wrong_usage(mostwatched, home, monkeypatch, stdin, said):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    done = mostwatched("forget", "-")
    assert (done.code, said in done.err) == (2, True)


@pytest.mark.slow
def test_forget_is_exit_code_1_until_nothing_holds_the_id(mostwatched, home):
    """It says what it did, in numbers, and what is left; with --landing-too there is nothing left."""
    foreseen = mostwatched("forget", "v1", "--dry-run")
    assert (foreseen.code, "Would redact 1 raw folder: 2 viewing_sessions" in foreseen.out) == (0, True)
    first = mostwatched("forget", "v1")
    assert first.code == 1
    assert "Redacted 2 raw folders: 2 viewing_sessions, 1 erasures" in first.out
    assert re.search(r"creator_rankings +window_days 30, creator_id ada +viewers +2 +1\n", first.out)
    assert "STILL HOLDS THE ID" in first.out
    assert "give the command with --landing-too" in first.out
    done = mostwatched("forget", "v1", "--landing-too")
    assert (done.code, "Forgotten: no file under home holds the id." in done.out) == (0, True)
    again = mostwatched("forget", "v1", "--json")
    assert (again.code, again.json["is_forgotten"], again.json["remaining"]) == (0, True, [])
    assert "v1" not in again.out


@pytest.mark.slow
def test_users_of_a_file_are_forgotten_together(mostwatched, home, tmp_path):
    """Each has a result, by the line of their id; blank lines, a repeated id and a byte order mark are none."""
    users = tmp_path / "users.txt"
    users.write_bytes(b"\xef\xbb\xbfv1\r\n\n v1\nv1\nv2\n")
    foreseen = mostwatched("forget", "--users", users, "--dry-run", "--json").json
    assert [(each.pop("line"), each["records"]) for each in foreseen] == [
        (1, {"viewing_sessions": 2}),
        (3, {}),
        (5, {"viewing_sessions": 1}),
    ]
    assert foreseen[0] == mostwatched("forget", "v1", "--dry-run", "--json").json
    first = mostwatched("forget", "--users", users)
    assert (first.code, first.out.count("STILL HOLDS THE ID")) == (1, 2)
    assert re.findall(r"^Line \d+:$", first.out, re.MULTILINE) == ["Line 1:", "Line 3:", "Line 5:"]
    done = mostwatched("forget", "--users", users, "--landing-too")
    assert (done.code, done.out.count("Forgotten: no file under home holds the id.")) == (0, 3)


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (b"v1\n", ("v1",), "Give the id of one user, or --users FILE."),
        (b"", (), "holds no id"),
        (b"\n\r\n", (), "holds no id"),
        (b"v1\n\xff\n", (), "not UTF-8"),
    ],
)
def test_users_that_are_none_are_wrong_usage(mostwatched, home, tmp_path, content, more, said):
    """Nothing is forgotten then, and without USER and --users neither."""
    users = tmp_path / "users.txt"
    users.write_bytes(content)
    done = mostwatched("forget", "--users", users, *more)
    assert (done.code, said in done.err) == (2, True)
    assert mostwatched("forget").code == 2
    assert not (home / "forgotten").exists()


def test_a_dry_run_of_prune_removes_nothing(mostwatched, home, ids, monkeypatch):
    """It prints what the command would remove."""
    monkeypatch.setenv("MOSTWATCHED_KEEP_SNAPSHOTS", "1")
    said = mostwatched("snapshots", "prune", "--dry-run", "--json").json
    assert (said["snapshots"], said["is_dry_run"]) == (ids[:2], True)
    assert manifest.snapshot_ids(home / "snapshots") == ids
    done = mostwatched("snapshots", "prune", "--json").json
    assert done == said | {"is_dry_run": False}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "--direct", "--as-of", "yesterday"), "is not a day such as"),
        (("run", "--direct", "--as-of", "2026-02-30"), "is not a day such as"),
        (("run", "--direct", "--as-of", "9999-12-31"), "the day after it must be in the calendar"),
        (("run", "--direct", "--landing", "nowhere"), "nowhere does not exist"),
        (("backfill", "--from", "2026-01-05"), "Missing option '--to'"),
        (("backfill", "--from", "2026-01-05", "--to", "2026-01-04"), "is after the last one"),
        (("top", "--window", "many"), "not a valid integer"),
        (("top", "--window", "0"), "at least one day"),
        (("top", "--window", "31"), "at most 30"),
        (("top", "--window", "7", "--from", "2026-01-05", "--to", "2026-01-06"), "without --days"),
        (("top", "--from", "2026-01-05"), "--from and --to together"),
        (("top", "--from", "2026-01-05", "--to", "2026-01-05"), "must be before"),
        (("top", "--from", "2026-01-05", "--to", "2026-02-05"), "at most 30"),
        (("top", "--from", "2026-01-25", "--to", "2026-02-05"), "holds the days"),
        (("top", "--limit", "0"), "not in the range"),
        (("top", "--snapshot", "newest"), "is not a snapshot id"),
        (("top", "--snapshot", "2026-01-05-0123456789ab"), "There is no snapshot"),
        (("snapshots", "verify", "2026-01-05-0123456789ab"), "There is no snapshot"),
        (("snapshots", "rollback", "2026-01-05-0123456789ab"), "There is no snapshot"),
        (("top", "--json", "--csv"), "not both"),
        (("rejects", "--json", "--csv"), "not both"),
        (("snapshots", "rollback", "--release", "2026-01-05-0123456789ab"), "not both"),
        (("publish",), "No such command"),
        (("run", "--force"), "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(mostwatched, home, arguments, reason):
    """The message says what is wrong; nothing is printed on stdout, and nothing moves."""
    before = manifest.current(home / "snapshots")
    done = mostwatched(*arguments)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert manifest.current(home / "snapshots") == before


def test_a_setting_that_cannot_be_is_exit_code_2(mostwatched, monkeypatch):
    """The variable and its value are named."""
    monkeypatch.setenv("MOSTWATCHED_DAY_TIMEZONE", "Mars")
    done = mostwatched("top")
    assert (done.code, done.out) == (2, "")
    assert "MOSTWATCHED_DAY_TIMEZONE is 'Mars'" in done.err


def test_a_misspelt_setting_is_mentioned(mostwatched, home, monkeypatch):
    """It is not ignored in silence, and does not disturb what is printed."""
    monkeypatch.setenv("MOSTWATCHED_THREDS", "1")
    done = mostwatched("top", "--json")
    assert (done.code, len(done.json)) == (0, 2)
    assert "MOSTWATCHED_THREDS is not a setting" in done.err


def test_nothing_published_is_exit_code_1(mostwatched):
    """Where there is no snapshot the error says how to get one."""
    done = mostwatched("top")
    assert (done.code, done.out) == (1, "")
    assert "`mostwatched run` does that" in done.err


def test_damage_is_exit_code_1(mostwatched, home, ids):
    """A damaged table is not read from."""
    (home / "snapshots" / ids[-1] / "creators.parquet").write_bytes(b"")
    done = mostwatched("top")
    assert (done.code, done.out) == (1, "")
    assert "creators.parquet is damaged" in done.err


def test_backfill_publishes_every_day(mostwatched, home, ids):
    """One line a day, oldest first; the newest stays current."""
    done = mostwatched("backfill", "--from", "2026-01-28", "--to", "2026-01-30")
    assert [line.split("  ")[0] for line in done.out.splitlines()] == ["2026-01-28", "2026-01-29", "2026-01-30"]
    assert done.out.splitlines()[1].endswith(ids[0])
    pointer = manifest.current(home / "snapshots")
    assert pointer
    assert (done.code, pointer.snapshot_id) == (0, ids[-1])
    as_json = mostwatched("backfill", "--json", "--from", "2026-01-29", "--to", "2026-01-30")
    assert [night["snapshot_id"] for night in as_json.json] == ids[:2]


# --- questions -------------------------------------------------------------------------------------------------------


def test_top_prints_the_ranking(mostwatched, home, ids):
    """A table for people that says which snapshot and which days."""
    done = mostwatched("top", "--limit", "1")
    assert done.out.splitlines()[0] == f"Snapshot {ids[-1]}, the days 2026-01-01/2026-01-31 (end not included)"
    assert done.out.splitlines()[2].split() == list(COLUMNS)
    assert done.out.splitlines()[3].split() == ["1", "1", "ada", "2", "0", "2", "600"]
    assert len(done.out.splitlines()) == 4


COLUMNS = ("position", "rank", "creator_id", "viewers", "anonymous_viewers", "sessions", "watched_seconds")


def test_the_home_may_stand_after_the_command(mostwatched, home, tmp_path):
    """Where people write it; it counts more than one before the command."""
    here = mostwatched("top", "--json").json
    assert mostwatched("top", "--home", str(home), "--json").json == here
    assert mostwatched("top", "--home", str(tmp_path / "nowhere")).code == 1


def test_top_answers_in_json(mostwatched, home, ids):
    """One list on one line: a window, a range, an older snapshot."""
    ada, bob = mostwatched("top", "--json").json
    assert ada == dict(zip(COLUMNS, (1, 1, "ada", 2, 0, 2, 600), strict=True))
    assert bob == dict(zip(COLUMNS, (2, 2, "bob", 1, 0, 1, 300), strict=True))
    assert list(ada) == list(COLUMNS)
    assert [row["creator_id"] for row in mostwatched("top", "--json", "--days", "1").json] == ["bob"]
    assert mostwatched("top", "--json", "--window", "1").json == mostwatched("top", "--json", "--days", "1").json
    ranged = mostwatched("top", "--json", "--from", "2026-01-05", "--to", "2026-01-06")
    assert [(row["creator_id"], row["viewers"]) for row in ranged.json] == [("ada", 1)]
    older = mostwatched("top", "--json", "--snapshot", ids[0])
    assert [(row["creator_id"], row["viewers"]) for row in older.json] == [("ada", 1)]
    assert mostwatched("top", "--json", "--from", "2026-01-10", "--to", "2026-01-11").json == []


def test_top_and_rejects_answer_in_csv(mostwatched, tmp_path):
    """A header and a line a row in UTF-8; a text that a spreadsheet could take for a formula is a text."""
    session = '{"sessionId":"s%d","creatorId":%s,"viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}\n'
    creators = ["=1+1", "çağ", "a,b\n"]
    text = "".join(session % (number, json.dumps(creator)) for number, creator in enumerate(creators))
    landing = landed(tmp_path / "odd", text + "-no record\n")
    mostwatched("run", "--direct", "--accept-rejects", "--as-of", "2026-01-31", "--landing", landing)
    top = mostwatched("top", "--csv")
    assert top.code == 0
    assert list(csv.reader(top.out.splitlines())) == [
        list(COLUMNS),
        ["1", "1", "'=1+1", "1", "0", "1", "0"],
        ["2", "1", "a,b\\x0a", "1", "0", "1", "0"],
        ["3", "1", "çağ", "1", "0", "1", "0"],
    ]
    rejects = list(csv.DictReader(mostwatched("rejects", "--csv").out.splitlines()))
    assert [(row["file"], row["line"], row["field"], row["text"]) for row in rejects] == [
        ("viewing_sessions/some.ndjson", "4", "", "'-no record")
    ]
    assert len(mostwatched("rejects", "--csv", "--limit", "1").out.splitlines()) == 2


def test_a_table_is_safe_on_a_terminal(mostwatched, tmp_path):
    """Whatever a creator calls itself."""
    hostile = json.dumps("\x1b[31mred\n")
    landing = landed(tmp_path / "odd", (SESSION % 1).replace('"ada"', hostile))
    mostwatched("run", "--direct", "--as-of", "2026-01-31", "--landing", landing)
    done = mostwatched("top")
    assert "\\x1b[31mred\\n" in done.out
    assert "\x1b" not in done.out


def test_rejects_are_listed(mostwatched, tmp_path):
    """Where, which field, why, and the text, made safe for a terminal."""
    bad = '{"sessionId":"s","creatorId":"ada","startedAt":"\x1b[31myesterday"}\n'
    landing = landed(tmp_path / "bad", SESSION % 1 + bad + "no record\n")
    assert mostwatched("rejects").out == "No rejected records.\n"
    mostwatched("run", "--direct", "--accept-rejects", "--as-of", "2026-01-31", "--landing", landing)
    done = mostwatched("rejects")
    assert done.code == 0
    assert "viewing_sessions/some.ndjson line 2: " in done.out
    assert done.out.endswith("2 rejected records\n")
    assert "\x1b" not in done.out
    rows = mostwatched("rejects", "--json").json
    assert [list(row) for row in rows] == [["entity", "file", "line", "field", "reason", "text"]] * 2
    assert [(row["line"], row["text"]) for row in rows] == [(2, bad.strip("\n")), (3, "no record")]
    assert len(mostwatched("rejects", "--json", "--limit", "1").json) == 1


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_of_a_home_where_nothing_was_made(mostwatched, tmp_path):
    """A plain sentence, exit code 0, and the home is not made by asking."""
    done = mostwatched("status")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Nothing has landed in {tmp_path / 'home'} and nothing has been published there yet.\n"
    assert mostwatched("status", "--json").json["snapshot"] is None
    assert not (tmp_path / "home").exists()


def test_status_says_in_lines_how_things_stand(mostwatched, home, ids):
    """A subject a paragraph: the snapshot, the days, what landed, the last run and the next one."""
    (home / "landing/viewing_sessions/2026-01-28.ndjson").write_text("")
    done = mostwatched("status", "--as-of", "2026-01-31")
    assert done.code == 0
    starts = [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert starts == ["Snapshot", "Days", "Landing", "Last", "Next"]
    assert f"Snapshot  {ids[-1]}, published " in done.out
    assert "2026-01-05 to 2026-01-30: 3 present, 22 missing, 1 unread" in done.out
    assert "missing     2026-01-06  its file has not landed" in done.out
    assert "new         viewing_sessions/2026-01-28.ndjson  0 bytes" in done.out
    assert f"mostwatched --home {home} run --as-of 2026-01-31\n" in done.out


def test_status_says_it_in_json(mostwatched, home, ids):
    """One object on the last line, whatever there is to say; the exit code is 0 also when that is bad."""
    (home / "snapshots" / "current.json").write_text("{")
    done = mostwatched("status", "--as-of", "2026-01-31", "--json")
    assert done.code == 0
    assert list(done.json) == [
        "home",
        "as_of",
        "snapshot",
        "days",
        "late",
        "landing",
        "last_run",
        "last_audit",
        "next_run",
        "problems",
    ]
    assert "current.json is damaged" in done.json["problems"][0]


def test_status_of_a_landing_folder_that_is_not_there(mostwatched, tmp_path):
    """Wrong usage, as for a run."""
    assert mostwatched("status", "--landing", tmp_path / "nowhere").code == 2


def test_status_says_why_the_last_run_refused(mostwatched, tmp_path):
    """With the command that publishes all the same."""
    landed(tmp_path / "home" / "landing", SESSION % 1 + "{}\n")
    assert mostwatched("run", "--direct", "--as-of", "2026-01-31").code == 3
    done = mostwatched("status", "--as-of", "2026-01-31")
    assert done.code == 0
    assert "Last run  refused: as of 2026-01-31" in done.out
    assert "Next run  would refuse to publish" in done.out
    assert "run --as-of 2026-01-31 --accept-rejects   to publish all the same" in done.out


# --- snapshots -----------------------------------------------------------------------------------------------------


def test_snapshots_are_listed(mostwatched, home, ids):
    """Oldest first, with a mark at the one that readers see."""
    lines = mostwatched("snapshots", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ids
    assert [line.endswith(" current") for line in lines] == [False, False, True]
    rows = mostwatched("snapshots", "list", "--json").json
    assert [row["is_current"] for row in rows] == [False, False, True]
    assert [row["as_of"] for row in rows] == [str(night) for night in NIGHTS]
    mostwatched("snapshots", "rollback", ids[0])
    assert mostwatched("snapshots", "list").out.splitlines()[0].endswith(" pinned")


def test_an_empty_list_says_how_to_fill_it(mostwatched):
    """Nothing published is no error here."""
    assert "mostwatched run" in mostwatched("snapshots", "list").out
    assert mostwatched("snapshots", "list", "--json").json == []
    assert "mostwatched run" in mostwatched("snapshots", "verify").out
    assert mostwatched("snapshots", "verify", "--json").json == []


@pytest.mark.parametrize("name", ["creator_reach/2026-01-20.parquet", "manifest.json", "warehouse.duckdb"])
def test_verify_finds_damage(mostwatched, home, ids, name):
    """Whole is exit code 0; a changed byte in any snapshot is 1, and the file is named."""
    assert mostwatched("snapshots", "verify").out.splitlines() == [f"{name}  whole" for name in ids]
    path = home / "snapshots" / ids[0] / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    done = mostwatched("snapshots", "verify")
    assert done.code == 1
    assert f"{ids[0]}  DAMAGED\n    {path} is damaged" in done.out
    as_json = mostwatched("snapshots", "verify", "--json", ids[0])
    assert (as_json.code, as_json.json[0]["is_whole"]) == (1, False)
    assert mostwatched("snapshots", "verify", ids[1]).code == 0


@pytest.mark.parametrize("content", [b"{", None])
def test_verify_finds_a_damaged_pointer(mostwatched, home, ids, content):
    """current.json is a stored file like any other; the list goes on without it, and says so."""
    path = home / "snapshots" / "current.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    done = mostwatched("snapshots", "verify")
    assert done.code == 1
    assert done.out.splitlines()[: len(ids)] == [f"{name}  whole" for name in ids]
    assert f"current.json  DAMAGED\n    {path} is" in done.out
    listed = mostwatched("snapshots", "list")
    assert (listed.code, [line.split()[0] for line in listed.out.splitlines()]) == (1, ids)
    assert "rollback ID" in listed.err


@pytest.mark.parametrize("content", [b"{}", None])
def test_a_damaged_manifest_does_not_shorten_the_list_in_silence(mostwatched, home, ids, content):
    """Which snapshot cannot be listed is told, with how to mend it; so does verify where there is no manifest."""
    path = home / "snapshots" / ids[0] / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    listed = mostwatched("snapshots", "list")
    assert (listed.code, [line.split()[0] for line in listed.out.splitlines()]) == (1, ids[1:])
    assert f"run --as-of {NIGHTS[0]}` publishes it again" in listed.err
    done = mostwatched("snapshots", "verify")
    assert (done.code, f"{ids[0]}  DAMAGED\n    {path} is" in done.out) == (1, True)


def test_rolling_back_and_releasing(mostwatched, home, ids):
    """Without an ID to the one before; with one to that; --release returns to the newest."""
    assert mostwatched("snapshots", "rollback").out.startswith(f"{ids[1]} is current and pinned")
    assert mostwatched("top", "--json", "--window", "1").json[0]["creator_id"] == "ada"
    done = mostwatched("run", "--direct", "--as-of", "2026-01-31")
    assert "not current: a later or pinned snapshot is" in done.out
    assert mostwatched("snapshots", "rollback", ids[0]).code == 0
    assert mostwatched("snapshots", "rollback", "--release").out.startswith(f"Released: {ids[2]} is current")


def test_an_as_of_ahead_of_the_clock_is_refused(mostwatched, home, ids):
    """More than a day ahead; the refusal says what overrides it, and how one that was published is taken back."""
    today = datetime.now(UTC).date()
    for command in (
        ("run", "--direct", "--as-of", "2931-01-31"),
        ("run", "--direct", "--as-of", str(today + timedelta(days=3))),
        ("backfill", "--from", str(today - timedelta(days=1)), "--to", str(today + timedelta(days=3))),
    ):
        done = mostwatched(*command, "--allow-incomplete")
        assert done.code == 3, command
        assert "--allow-future" in done.err
        assert "`mostwatched snapshots remove ID`" in done.err
    assert manifest.snapshot_ids(home / "snapshots") == ids
    assert mostwatched("run", "--direct", "--allow-incomplete", "--as-of", str(today + timedelta(days=1))).code == 0
    assert mostwatched("run", "--direct", "--as-of", "9999-12-31").code == 2  # impossible is wrong usage


def test_a_snapshot_of_a_mistaken_day_is_taken_back(mostwatched, home, ids):
    """In one command: the newest other one is current then, and runs move the pointer again."""
    anyway = ("--allow-incomplete", "--allow-future")
    mistake = mostwatched("run", "--direct", "--json", *anyway, "--as-of", "2931-01-31").json["snapshot_id"]
    assert manifest.current(home / "snapshots").snapshot_id == mistake
    assert mostwatched("snapshots", "remove", "2931-01-31-000000000000").code == 2
    assert mostwatched("snapshots", "remove", "../lake").code == 2
    done = mostwatched("snapshots", "remove", mistake)
    assert done.out == f"Removed snapshot {mistake}. {ids[2]} is current now.\n"
    assert manifest.snapshot_ids(home / "snapshots") == ids
    assert not manifest.current(home / "snapshots").pinned
    assert mostwatched("run", "--direct", "--json", "--as-of", "2026-01-31").json["is_current"]
    assert mostwatched("snapshots", "remove", ids[0]).out == f"Removed snapshot {ids[0]}.\n"
    mostwatched("snapshots", "remove", ids[1])
    only = mostwatched("snapshots", "remove", ids[2])
    assert (only.code, "no other whole snapshot" in only.err) == (1, True)
    assert manifest.snapshot_ids(home / "snapshots") == ids[2:]


def test_pruning_says_what_it_removed(mostwatched, home, ids, monkeypatch):
    """As many snapshots as are to be kept stay."""
    monkeypatch.setenv("MOSTWATCHED_KEEP_SNAPSHOTS", "1")
    done = mostwatched("snapshots", "prune")
    assert done.out.startswith("Removed 2 snapshots and ")
    assert manifest.snapshot_ids(home / "snapshots") == ids[2:]
    nothing = {"snapshots": [], "lake_files": 0, "lake_bytes": 0, "days": [], "records": 0, "is_dry_run": False}
    assert mostwatched("snapshots", "prune", "--json").json == nothing


# --- help ------------------------------------------------------------------------------------------------------------


def commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from commands(command)


EVERYTHING = dict(commands(command_line.cli))


def test_explain_ends_in_the_published_figure(mostwatched, home):
    """Step by step for people, one documented object as JSON; a creator whom nobody knows is wrong usage."""
    done = mostwatched("explain", "ada")
    assert done.code == 0
    assert "Published: 2 viewers" in done.out
    assert done.out.rstrip().endswith("exactly this.")
    explained = mostwatched("explain", "ada", "--from", "2026-01-29", "--to", "2026-01-30", "--json").json
    assert list(explained) == [
        "snapshot_id", "creator_id", "landed_files", "records", "left_out", "moved_away", "mentioned_in_rejects",
        "sessions", "watched_seconds", "viewer_days", "viewers", "device_days", "anonymous_viewers", "status",
        "published", "first_day", "end_day", "by_day", "agrees",
    ]  # fmt: skip
    assert (explained["records"], explained["sessions"], explained["viewers"], explained["agrees"]) == (2, 1, 1, True)
    assert explained["left_out"]["outside_window"] == 1
    assert mostwatched("explain", "nobody").code == 2


def test_diff_says_who_moved_and_why(mostwatched, home):
    """From one snapshot to another, or to the current one; as a table for people, whole as JSON."""
    first, second, third = manifest.snapshot_ids(home / "snapshots")
    done = mostwatched("snapshots", "diff", first, second)
    assert done.code == 0
    assert "new days +1" in done.out
    compared = mostwatched("snapshots", "diff", second, "--json").json
    assert (compared["before"], compared["after"], compared["window_days"]) == (second, third, 30)
    assert compared["changes"] == [
        {
            "creator_id": "bob",
            "change": "entered",
            "rank_before": None,
            "rank_after": 2,
            "viewers_before": None,
            "viewers_after": 1,
            "because": {"new days": 1},
        }
    ]
    assert mostwatched("snapshots", "diff", "2026-01-01-0123456789ab").code == 2


def test_a_run_over_nothing_says_so(mostwatched):
    """An empty snapshot is right where nothing has landed, and most often the wrong folder was named."""
    done = mostwatched("run", "--direct", "--as-of", "2026-01-31")
    assert done.code == 0
    assert "Warning: Nothing has landed, so the snapshot is empty: put files into" in done.out
    assert "Sessions: none" in done.out


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_command_explains_itself(name):
    """A command has a sentence of help that a list of commands shows whole, and so has every option."""
    command = EVERYTHING[name]
    said = command.get_short_help_str(limit=61)  # of 80 columns, beside the longest name
    assert said.endswith(".")
    assert not said.endswith("..."), said
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, option.opts


def test_help_and_version_need_no_home():
    """The real program, in a process of its own: -h lists the commands and the exit codes."""
    program = [sys.executable, "-m", "pipelines.cli"]
    shown = subprocess.run([*program, "-h"], capture_output=True, text=True, check=True).stdout
    assert "Exit codes: 0 done, 1 failed" in shown
    listed = [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines()]
    assert listed[:3] == ["run", "status", "report"]  # in the order in which somebody meets them
    assert {"backfill", "top", "rejects", "snapshots", "serve"} <= set(listed)
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
    assert version == f"mostwatched, version {__version__}\n"


def test_what_the_system_refuses_is_one_sentence(home, mostwatched):
    """What, where and what to do, with no traceback; the last snapshot stays, and the next run does it."""
    before = manifest.current(home / "snapshots")
    with no_space():
        refused = mostwatched("run", "--direct", "--as-of", "2026-02-01", "--allow-incomplete")
    (sentence,) = refused.err.splitlines()
    assert refused.code == 1
    assert str(home) in sentence
    assert "File too large" in sentence
    assert sentence.endswith("then give the command again; what was published stays as it is.")
    assert manifest.current(home / "snapshots") == before
    assert mostwatched("run", "--direct", "--as-of", "2026-02-01", "--allow-incomplete").code == 0


def test_prune_needs_no_space(home, mostwatched, monkeypatch):
    """What frees space can be done where there is none."""
    monkeypatch.setenv("MOSTWATCHED_KEEP_SNAPSHOTS", "1")
    with no_space():
        assert mostwatched("snapshots", "prune", "--json").code == 0
    assert len(manifest.snapshot_ids(home / "snapshots")) == 1


# --- what a run tells ----------------------------------------------------------------------------------------------


def test_a_run_leaves_a_report_that_can_be_asked_for(mostwatched, tmp_path):
    """As Markdown, as the page and as JSON, also of a run that was refused."""
    landed(tmp_path / "home" / "landing", SESSION % 1 + "{}\n")
    assert mostwatched("run", "--direct", "--as-of", "2026-01-31").code == 3
    words = mostwatched("report")
    assert (words.code, words.out.splitlines()[0]) == (0, "# Nightly run as of 2026-01-31: refused")
    assert "--accept-rejects" in words.out
    page = mostwatched("report", "--as-of", "2026-01-31", "--html")
    assert page.out == (tmp_path / "home" / "reports" / "2026-01-31.html").read_text()
    facts = mostwatched("report", "--json").json
    assert list(facts) == [
        "schema_version",
        "outcome",
        "as_of",
        "snapshot_id",
        "is_current",
        "previous_snapshot_id",
        "why",
        "grounds",
        "started_at",
        "ended_at",
        "seconds",
        "landed",
        "unknown_fields",
        "records",
        "funnel",
        "newest_session_at",
        "rejected",
        "lost",
        "missing_days",
        "late",
        "checks",
        "durations",
        "change",
        "anomalies",
        "similar_ids",
        "warnings",
        "last_audit",
        "problems",
        "section_keys",
        "code_version",
        "policy",
    ]
    done = mostwatched("run", "--direct", "--as-of", "2026-01-31", "--accept-rejects", "--json")
    assert (done.json["anomalies"], done.json["report"]) == ([], str(tmp_path / "home/reports/2026-01-31.html"))
    assert mostwatched("report", "--json").json["outcome"] == "published"
    assert mostwatched("report", "--as-of", "2026-01-30").code == 2
    assert mostwatched("report", "--json", "--html").code == 2


@pytest.fixture
def in_json(mostwatched: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The same with logs in JSON."""
    monkeypatch.setenv("MOSTWATCHED_LOG_FORMAT", "json")
    yield mostwatched
    logging.getLogger().handlers.clear()
    logging.captureWarnings(False)
    sys.excepthook = sys.__excepthook__
    logs.configure(None)


def test_where_logs_are_json_all_of_stderr_is(in_json, tmp_path, monkeypatch):
    """What began and ended, and the error that ends the command, with its exit code; stdout is the result alone."""
    monkeypatch.setenv("MOSTWATCHED_LOG_FORMATT", "json")
    landed(tmp_path / "home" / "landing", SESSION % 1 + "{}\n")
    refused = in_json("run", "--direct", "--json", "--as-of", "2026-01-31")
    done = in_json("run", "--direct", "--json", "--as-of", "2026-01-31", "--accept-rejects")
    lines = [json.loads(line) for line in refused.err.splitlines()]
    told = [line for line in lines if line["event"] != "progress"]
    assert "MOSTWATCHED_LOG_FORMATT is not a setting" in told[0]["event"]
    assert [line["event"] for line in told[1:3]] == ["run began", "run ended"]
    assert (told[2]["outcome"], len(told[2]["grounds"])) == ("refused", 1)
    assert (told[3]["level"], told[3]["exit_code"], refused.code, len(told)) == ("error", 3, 3, 4)
    assert [json.loads(line) for line in done.err.splitlines()][-1]["snapshot_id"] == done.json["snapshot_id"]
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["top", "--nope"], 2, "No such option"),
        (["--nope"], 2, "No such option"),
        (["nope"], 2, "No such command"),
        ([], 2, "Missing command"),
        (["run", "--as-of", "today"], 2, "is not a day such as"),
        (["report", "--json", "--html"], 2, "not both"),
        (["explain"], 2, "Missing argument"),
        (["snapshots", "diff", "nope"], 2, "is not a snapshot id"),
        (["generate", "--days", "0", "--sessions-per-day", "1", "somewhere"], 2, "--days"),
        (["top", "--window", "1000"], 2, "1000"),
        (["sql", "from range(101)"], 0, "The first 100 rows"),
        (["sql", "select"], 2, "SELECT"),
        (["--help"], 0, None),
    ],
    ids=str,
)
def test_where_logs_are_json_so_is_what_is_said_of_usage(in_json, three_nights, tmp_path, arguments, code, said):
    """One line that says what is wrong; the exit code is what it is without."""
    (tmp_path / "home").symlink_to(three_nights.settings.home)
    done = in_json(*arguments)
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert (done.code, len(lines)) == (code, int(said is not None)), done.err
    for line in lines:
        assert said in line["event"]
        assert line.get("exit_code", 0) == code


def test_where_logs_are_json_an_interrupt_is_said_so(in_json, monkeypatch):
    """Without the empty line by which a terminal's ^C is ended."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "open_current", interrupted)
    done = in_json("top")
    assert (done.code, [json.loads(line)["event"] for line in done.err.splitlines()]) == (1, ["interrupted"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["top", "--window", 800_000], "A window of 800000 days is too long: a range may hold at most 30"),
        (["top", "--window", 10**12], "is too long"),
        (["explain", "ada", "--window", 10**12], "is too long"),
        (["snapshots", "diff", "BEFORE", "--window", 800_000], "is too long"),
        (["top", "--limit", 10**20], "is not in the range"),
        (["sql", "select 1", "--limit", 10**20], "is not in the range"),
        (["rejects", "--limit", 10**20], "is not in the range"),
        (["explain", "\udcff"], r"\udcff is not UTF-8"),
        (["sql", "select '\udcff'"], r"\udcff' is not UTF-8"),
        (["forget", "\udcff", "--dry-run"], r"\udcff is not UTF-8"),
        (
            ["generate", "--days", 3, "--sessions-per-day", 1, "--creators", 9, "g"],
            "'--creators': 9 is not in the range",
        ),
        (["generate", "--days", 3, "--sessions-per-day", 1, "--viewers", 9, "g"], "'--viewers': 9 is not in the range"),
        (["generate", "--days", 1_000_000, "--sessions-per-day", 1, "g"], "A platform of 1000000 days before"),
        (["generate", "--days", 3, "--sessions-per-day", 1, "--as-of", "0001-01-02", "g"], "cannot be: its days lie"),
        (["generate", "--days", 3, "--sessions-per-day", 1, "--as-of", "9999-12-31", "g"], "cannot be: its days lie"),
    ],
    ids=ascii,
)
def test_what_cannot_be_is_wrong_usage(mostwatched, three_nights, tmp_path, monkeypatch, arguments, said):
    """However far it is from what can be: a sentence and 2, never a traceback."""
    (tmp_path / "home").symlink_to(three_nights.settings.home)
    monkeypatch.chdir(tmp_path)
    before = manifest.snapshot_ids(three_nights.settings.snapshots)[0]
    done = mostwatched(*(before if each == "BEFORE" else each for each in arguments))
    assert (done.code, said in done.err, done.out) == (2, True, "")
    assert not (tmp_path / "g").exists()


def test_a_home_that_the_engine_takes_for_a_pattern_is_wrong_usage(tmp_path, monkeypatch, capsys):
    """It would read the neighbours' files too, or lose the warehouse: DuckDB puts `.wal` before a question mark."""
    for name in ("a?b", "a*b", "a\udcff"):
        monkeypatch.setattr(sys, "argv", ["mostwatched", "--home", str(tmp_path / name), "top"])
        with pytest.raises(SystemExit, match="2"):
            command_line.main()
        said = capsys.readouterr().err
        assert (said.count("\n"), "cannot be used" in said) == (1, True)


def test_an_address_that_cannot_be_served_on_is_one_sentence(mostwatched):
    """Not uvicorn's exit code, which says here that a night was not published."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = mostwatched("serve", "--port", taken.getsockname()[1])
        assert (done.code, "127.0.0.1, port " in done.err, "Address already in use" in done.err) == (1, True, True)
        many = mostwatched("serve", "--port", taken.getsockname()[1], "--workers", 2)
        assert (many.code, many.err) == (1, done.err)
    assert done.err.count("\n") == 1
    for host in ("no such host", "a..b", "a" * 64):
        nowhere = mostwatched("serve", "--host", host)
        assert (nowhere.code, f"{host!r} is no address" in nowhere.err, nowhere.err.count("\n")) == (2, True, 1)


def test_a_platform_that_cannot_be_written_is_one_sentence(mostwatched, tmp_path):
    """Where, why, and what to do."""
    (tmp_path / "file").write_text("")
    done = mostwatched("generate", "--days", 1, "--sessions-per-day", 1, tmp_path / "file" / "platform")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert str(tmp_path / "file") in done.err
    assert "Not a directory" in done.err


def test_status_notifies_when_a_night_is_late(mostwatched, tmp_path, monkeypatch):
    """Of a snapshot that should be there by now; with nobody to tell it is wrong usage."""
    landed(tmp_path / "home" / "landing", SESSION % 1)
    assert mostwatched("run", "--direct", "--as-of", "2026-01-30").code == 0
    assert mostwatched("status", "--as-of", "2026-01-30", "--notify").code == 2
    kept = tmp_path / "told"
    monkeypatch.setenv("MOSTWATCHED_NOTIFY_COMMAND", f"tee -a {kept}")
    assert mostwatched("status", "--as-of", "2026-01-31", "--notify").code == 0
    event = json.loads(kept.read_text())
    assert (event["event"], event["as_of"]) == ("late", "2026-01-31")
    assert event["text"].startswith("No snapshot as of 2026-01-31 has been published yet (the newest: 2026-01-30)")
