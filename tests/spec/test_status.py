"""What `mostwatched status` says of days, late sessions and runs; it only looks."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime
from typing import Any

import pytest
from world import AS_OF, World

from pipelines.core import durable_files
from pipelines.core.errors import RefusedToPublish, UsageError
from pipelines.jobs import last_run, nightly, status
from pipelines.snapshots import manifest

GOOD = '{"sessionId":"%s","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-%02dT10:00:00Z"}\n'


def ask(world: World, as_of: date = AS_OF, **changed: Any) -> dict[str, Any]:
    return status.status(world.settings.__class__(**vars(world.settings) | changed), as_of, None, datetime.now(UTC))


def land_days(world: World, *numbers: int, sessions: int = 4) -> None:
    """A file a day of January, named by it."""
    for number in numbers:
        lines = "".join(GOOD % (f"{number}-{each}", number) for each in range(sessions))
        world.land_text("viewing_sessions", lines, f"2026-01-{number:02}.ndjson")


def states(answer: dict[str, Any]) -> dict[int, str]:
    return {int(row["day"][-2:]): row["state"] for row in answer["days"]}


def test_where_nothing_was_made_there_is_an_answer(world):
    """And nothing is made by asking."""
    answer = ask(world)
    assert (answer["snapshot"], answer["days"], answer["last_run"]) == (None, [], None)
    assert answer["next_run"]["outcome"] == "nothing"
    assert not world.settings.home.exists()


def test_it_tells_empty_from_missing_from_incomplete(world):
    """An empty file is a delivery; a day without a file is missing; half a day is incomplete."""
    land_days(world, *range(10, 30))
    land_days(world, 30, sessions=1)
    world.land_text("viewing_sessions", "", "2026-01-12.ndjson")
    (world.settings.landing / "viewing_sessions/2026-01-15.ndjson").unlink()
    world.run(compare=False, night={"allow_incomplete": True})
    found = states(ask(world))
    assert min(found) == 10
    assert {day: state for day, state in found.items() if state != "present"} == {
        12: "empty",
        15: "missing",
        30: "incomplete",
    }
    assert {row["sessions"] for row in ask(world)["days"]} == {0, 1, 4}


def test_a_missing_day_whose_file_landed_is_not_said_to_have_none(world):
    """All that its file holds was rejected: it is missing, and `rejects` says why, not the platform."""
    land_days(world, *range(10, 31))
    world.land_text("viewing_sessions", '{"broken\n', "2026-01-12.ndjson")
    (world.settings.landing / "viewing_sessions/2026-01-15.ndjson").unlink()
    world.run(compare=False, night={"accept_rejects": True})
    whys = {row["day"]: row["why"] for row in ask(world)["days"] if row["state"] == "missing"}
    rejected = "its file has landed, and no session of it was accepted: see `mostwatched rejects`"
    assert whys == {"2026-01-12": rejected, "2026-01-15": None}


def test_empty_days_stay_empty_when_the_platform_clears_its_files(world):
    """All empty files are the same bytes; each of their names is remembered."""
    land_days(world, *range(10, 20), 22, 25, 30)
    for number in (20, 23, 24):
        world.land_text("viewing_sessions", "", f"2026-01-{number}.ndjson")
    world.run(compare=False)
    for path in world.settings.landing.rglob("*.ndjson"):
        path.unlink()
    found = states(ask(world))
    assert [day for day, state in found.items() if state == "empty"] == [20, 23, 24]
    assert [day for day, state in found.items() if state == "missing"] == [21, 26, 27, 28, 29]
    world.run(compare=False)
    assert states(ask(world)) == found


def test_days_are_those_of_the_policy(world):
    """In Istanbul the sessions of 21:00 UTC are the next day's, also in a file that is named by its local day."""
    world.land_text("viewing_sessions", (GOOD % ("a", 10)).replace("T10", "T21"), "2026-01-11.ndjson")
    world.land_text("viewing_sessions", (GOOD % ("b", 12)).replace("T10", "T21"), "2026-01-13.ndjson")
    world.run(compare=False, day_timezone="Europe/Istanbul", night={"allow_incomplete": True})
    found = states(ask(world, date(2026, 1, 15), day_timezone="Europe/Istanbul"))
    assert found == {11: "present", 12: "missing", 13: "present", 14: "missing"}


def test_it_says_what_came_late(world):
    """Of a published day: in the current snapshot, and what is in the lake since; gaps of later days are no news."""
    land_days(world, *range(20, 31))
    world.run(compare=False)
    late = GOOD % ("late", 25)
    world.land_text("viewing_sessions", late, "late.ndjson")
    world.run(compare=False)
    assert ask(world)["late"] == [
        {"day": "2026-01-25", "sessions_before": 4, "sessions": 5, "is_published": True},
    ]
    world.land_text("viewing_sessions", (GOOD % ("later", 26)) + '{"sessionId":"bad"}\n', "later.ndjson")
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    assert ask(world)["late"][1:] == [
        {"day": "2026-01-26", "sessions_before": 4, "sessions": 5, "is_published": False},
    ]


def test_a_late_correction_within_a_day_is_late(world):
    """Another creator for the same time on the same day changes no total, but it changes the day."""
    land_days(world, *range(20, 31))
    world.run(compare=False)
    line = (GOOD % ("25-0", 25)).replace("ada", "bob").replace('"v1"', '"v1","revision":1')
    world.land_text("viewing_sessions", line, "correction.ndjson")
    world.run(compare=False)
    assert [row["day"] for row in ask(world)["late"]] == ["2026-01-25"]


def test_it_foretells_a_refusal_and_how_to_override_it(world):
    """The grounds of the last run, those of the next one, and the command."""
    land_days(world, *range(20, 30))
    land_days(world, 30, sessions=1)
    world.land_text("pledges", '{"pledgeId":"p1"}\n')
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    answer = ask(world)
    assert (answer["last_run"]["outcome"], answer["last_run"]["why"]) == ("refused", str(refusal.value))
    assert answer["next_run"]["outcome"] == "refuses"
    assert all(why in str(refusal.value) for why in answer["next_run"]["refused_because"])
    assert answer["next_run"]["command_to_override"].endswith(
        "run --as-of 2026-01-31 --accept-rejects --allow-incomplete"
    )
    world.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    assert ask(world)["last_run"]["outcome"] == "published"


def test_it_foretells_that_vanished_files_refuse_the_run(world):
    """Neither raw nor the landed file is there any more: nothing overrides that, and landing it again helps."""
    land_days(world, *range(20, 31))
    path = world.land_text("follows", '{"userId":"ann","creatorId":"ada"}\n', "gone.ndjson")
    text = path.read_text()
    world.run(compare=False)
    shutil.rmtree(*world.settings.lake.glob("raw/follows/*"))
    there = ask(world)["next_run"]
    assert (there["outcome"], there["refused_because"]) == ("reads", [])
    path.unlink()
    world.land_text("pledges", '{"pledgeId":"p1"}\n')
    with pytest.raises(RefusedToPublish, match=r"such as follows/gone\.ndjson: land them again") as refusal:
        world.run(compare=False)
    gone = ask(world)["next_run"]
    assert (gone["outcome"], gone["command_to_override"]) == ("refuses", None)
    assert len(gone["refused_because"]) == 2
    assert all(why in str(refusal.value) for why in gone["refused_because"])
    world.land_text("follows", text, "gone.ndjson")
    answer = ask(world)["next_run"]
    assert len(answer["refused_because"]) == 1
    assert answer["command_to_override"].endswith("--accept-rejects")


def test_it_says_how_fresh_what_readers_see_is(world):
    """When it was published, and when its newest session began, and how long ago both were."""
    land_days(world, *range(20, 31))
    world.run(compare=False)
    snapshot = ask(world)["snapshot"]
    assert snapshot["newest_session_at"] == "2026-01-30T10:00:00.000Z"
    newest = datetime(2026, 1, 30, 10, tzinfo=UTC)
    assert abs(snapshot["newest_session_age_seconds"] - (datetime.now(UTC) - newest).total_seconds()) < 60
    assert 0 <= snapshot["age_seconds"] < 60


def test_it_foretells_a_missing_yesterday_before_the_run(world):
    """With nothing landed for yesterday, the run of today is going to be refused; nothing need be built to know."""
    land_days(world, *range(20, 31))
    world.run(compare=False)
    answer = ask(world, date(2026, 2, 1))
    assert answer["next_run"]["outcome"] == "refuses"
    assert answer["days"][-1] == {"day": "2026-01-31", "state": "missing", "sessions": 0, "why": None}


def test_it_says_what_the_next_run_would_read(world):
    """New, changed and gone files, and those that wait, and why; what was read is told by its bytes, not its name."""
    land_days(world, *range(20, 31))
    world.run(compare=False)
    assert ask(world)["next_run"]["outcome"] == "nothing new"
    folder = world.settings.landing / "viewing_sessions"
    (folder / "2026-01-20.ndjson").rename(folder / "renamed.ndjson")
    (folder / "2026-01-21.ndjson").unlink()
    world.land_text("viewing_sessions", GOOD % ("x", 22), "2026-01-22.ndjson")
    world.land_text("viewing_sessions", GOOD % ("y", 23), "new.ndjson")
    world.land_text("viewing_sessions", "", "growing.ndjson.part")
    world.land_text("viewing_session", "", "x.ndjson")
    landing = ask(world)["landing"]
    assert [(file["file"], file["is_changed"]) for file in landing["unread"]] == [
        ("viewing_sessions/2026-01-22.ndjson", True),
        ("viewing_sessions/new.ndjson", False),
    ]
    assert landing["gone"] == [{"entity": "viewing_sessions", "file": "viewing_sessions/2026-01-21.ndjson"}]
    assert [file["file"] for file in landing["postponed"]] == ["viewing_sessions/growing.ndjson.part"]
    assert [each["path"] for each in landing["ignored"]] == [str(world.settings.landing / "viewing_session")]
    assert ask(world)["next_run"]["outcome"] == "reads"


def test_it_says_what_would_be_built(world):
    """After another policy every day; nothing is called known that is not worked out yet."""
    land_days(world, 29, 30)
    world.run(compare=False)
    answer = ask(world, min_watched_seconds=1)
    assert set(answer["next_run"]["builds_days"]) >= {"2026-01-29", "2026-01-30"}
    assert [row["sessions"] for row in answer["days"]] == [None, None]
    assert answer["next_run"]["outcome"] == "publishes"


def test_it_only_reads(world):
    """No file is written or touched, and it answers while a run holds the lock, naming its process."""
    land_days(world, 29, 30)
    world.run(compare=False)
    before = {path: path.stat() for path in world.settings.home.rglob("*")}
    assert ask(world)["next_run"]["at_work"] is None
    with durable_files.lock_home(world.settings.home):
        locked = ask(world)
    after = {path: path.stat() for path in world.settings.home.rglob("*")}
    assert [
        path for path in before if path.parent.name != ".lock" and before[path].st_mtime_ns != after[path].st_mtime_ns
    ] == []
    assert before.keys() == after.keys()
    if os.path.exists("/proc/locks"):  # noqa: PTH110 (not a landed file)
        assert locked["next_run"]["at_work"] == os.getpid()


def test_a_run_that_was_killed_is_told_from_one_that_ended(world):
    """Its record says that it is at work, and nobody holds the lock."""
    land_days(world, 29, 30)
    world.run(compare=False)
    with last_run.recorded(world.settings, AS_OF):
        killed = (world.settings.lake / last_run.NAME).read_bytes()
    with pytest.raises(KeyboardInterrupt), last_run.recorded(world.settings, AS_OF):
        raise KeyboardInterrupt
    assert ask(world)["last_run"]["outcome"] == "failed"
    (world.settings.lake / last_run.NAME).write_bytes(killed)
    assert ask(world)["last_run"]["outcome"] == "died"


@pytest.mark.parametrize("what", ["last_run", "pointer", "index", "cube", "manifest"])
def test_damage_is_an_answer(world, what):
    """Whatever is damaged is named among the problems, is left as it is, and the rest is answered."""
    land_days(world, *range(20, 31))
    night = world.run(compare=False)
    damaged = {
        "last_run": [world.settings.lake / last_run.NAME],
        "pointer": [world.settings.snapshots / manifest.POINTER],
        "index": [next(world.settings.lake.glob("raw/*/*/index.json"))],
        "cube": list(world.settings.lake.glob("creator_reach/day=*/*.parquet")),
        "manifest": [night.snapshot.path / "manifest.json"],
    }[what]
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    files = {path: path.read_bytes() for path in damaged}
    answer = ask(world)
    assert len(answer["problems"]) == 1
    assert {path: path.read_bytes() for path in damaged} == files
    world.run(compare=False, night={"accept_rejects": True})
    assert ask(world)["problems"] == []


@pytest.mark.parametrize("where", [0.1, 0.5, 0.999])
def test_damaged_raw_is_not_counted(world, where):
    """Where days of the zone are not those of UTC, raw says which sessions are whose: once it is damaged, nothing."""
    land_days(world, *range(20, 31))
    world.run(compare=False, day_timezone="Europe/Istanbul", night={"allow_incomplete": True})
    good = ask(world, day_timezone="Europe/Istanbul")
    for path in world.settings.lake.glob("raw/viewing_sessions/*/*.parquet"):
        content = bytearray(path.read_bytes())
        content[int(len(content) * where)] ^= 1
        path.write_bytes(content)
    answer = ask(world, day_timezone="Europe/Istanbul")
    assert good["problems"] == []
    assert any("is damaged" in problem for problem in answer["problems"])
    assert answer["snapshot"]["snapshot_id"] == good["snapshot"]["snapshot_id"]


def test_a_landing_folder_that_does_not_exist_is_wrong_usage(world, tmp_path):
    """As for a run; but the home's own may be missing."""
    with pytest.raises(UsageError):
        status.status(world.settings, AS_OF, [tmp_path / "nowhere"], datetime.now(UTC))
    with pytest.raises(UsageError):
        ask(world, date(1, 1, 5))


def test_a_record_that_cannot_be_written_does_not_stop_a_run(world):
    """It is there for status alone."""
    land_days(world, 29, 30)
    (world.settings.lake / last_run.NAME).mkdir(parents=True)
    assert nightly.run(world.settings, AS_OF).published.is_current
