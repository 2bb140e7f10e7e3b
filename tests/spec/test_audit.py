"""`mostwatched audit` counts a snapshot again, the plain way, and finds what is not what landed."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import forged
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from world import AS_OF, World

from pipelines.cli import cli, render
from pipelines.core.errors import Damaged, RefusedToPublish
from pipelines.core.settings import Policy
from pipelines.jobs import audit_run, last_audit, notify, redaction, report, status
from pipelines.jobs.erase_user import forget
from pipelines.jobs.report import formats
from pipelines.jobs.report.document import document
from pipelines.raw.catalog import raw_files
from pipelines.raw.pack_parts import folders_of
from pipelines.snapshots import audit, manifest, recount
from pipelines.snapshots.manifest import Snapshot


def platform(world: World, seed: int = 1) -> None:
    """Sessions of few viewers over 70 days, with repeats, corrections and retractions, and some money."""
    draw = random.Random(seed)
    sessions = []
    for number in range(300):
        start = datetime(2025, 11, 25, tzinfo=UTC) + timedelta(minutes=draw.randrange(70 * 1440))
        session = {"sessionId": f"s{number}", "creatorId": draw.choice("abcd"), "startedAt": start.isoformat()}
        if draw.random() < 0.9:
            session["endedAt"] = (start + timedelta(minutes=draw.randrange(600))).isoformat()
        session[draw.choice(["viewerId", "viewerId", "deviceId"])] = draw.choice("abvwxyz")
        sessions.append(session)
        if draw.random() < 0.2:
            again = session | {"revision": draw.randrange(2), "creatorId": draw.choice("abcd")}
            sessions.append(again | {"deleted": draw.random() < 0.3})
        if draw.random() < 0.1:
            sessions.append(session)
    draw.shuffle(sessions)
    world.land("viewing_sessions", sessions[:200])
    world.land("viewing_sessions", sessions[200:])
    world.land(
        "creators", "creator | status | updated_at\nd | banned | 2026-01-02 10:00\na | banned | 2026-03-01 10:00"
    )
    world.land("live_streams", "id | funding_goal | currency\nx | 30 | TRY\ny | 100 |\nz | |")
    world.land(
        "pledges",
        """
        pledge_id | user | stream | amount | currency | status   | captured_at      | refunded_at      | refunded_amount
        p1        | u1   | x      | 10     | TRY      | captured | 2026-01-05 10:00 |                  |
        p2        | u2   | x      | 33.34  |          | refunded | 2026-01-05 10:00 | 2026-01-06 10:00 | 3.33
        p3        | u3   | x      | 50     | EUR      | captured | 2026-01-05 10:00 |                  |
        p4        | u1   | y      | 20     | EUR      | refunded | 2026-01-05 10:00 | 2026-01-06 10:00 |
        p5        | u4   | y      | 5      | EUR      | captured | 2026-02-05 10:00 |                  |
        """,
    )


NIGHT = {"allow_incomplete": True, "accept_rejects": True}


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Istanbul", "America/New_York", "Pacific/Apia"])
def test_it_agrees_with_what_the_night_published(tmp_path, zone):
    """Every creator in every window, every day, and random ranges."""
    world = World(tmp_path, day_timezone=zone, revision_days=1, max_session_hours=9, min_watched_seconds=60)
    platform(world, seed=2)
    world.land("erasures", [{"userId": "v"}, {"userId": "u2"}])
    night = world.run(compare=False, night=NIGHT).snapshot
    for path in world.settings.lake.glob("raw/viewing_sessions/*/2025-12-0*.parquet"):
        path.unlink()  # it rests on none of these days, nor on a day within reach of them
    done = audited(world, night, ranges=10)
    assert list(done.differences) == []
    assert (done.days, done.creators, done.streams, len(done.ranges)) == (31, 4, 3, 10)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("audited"))
    platform(world)
    return world, world.run(night=NIGHT).snapshot_id


@pytest.fixture
def night(world, published):
    """A night of a world with the same records, which a test may spoil."""
    first, snapshot_id = published
    world.begin_as(first)
    return manifest.open_snapshot(world.settings.snapshots, snapshot_id)


def audited(world: World, night: Snapshot, **more):
    """What an audit finds; its ranges are few, since it counts every day by itself anyway."""
    asked = {"ranges": 1} | more
    return audit.audit(world.settings, manifest.open_snapshot(world.settings.snapshots, night.id), **asked)


@pytest.mark.slow
def test_a_replaced_file_of_the_cube_is_found(world, night):
    """Of any day: other right-looking rows, for which the manifest signs."""
    for day in ("2025-12-31", "2026-01-14", "2026-01-30"):
        name = f"creator_reach/{day}.parquet"
        whole = night.table(name)
        (row, *_) = [at for at, count in enumerate(whole["viewers"].to_pylist()) if count]
        forged.replace(night, name, forged.changed(whole, "creator_id", row, "e"))
        assert not manifest.open_snapshot(world.settings.snapshots, night.id).damage()
        found = audited(world, night).differences
        assert f"{day}/{date.fromisoformat(day) + timedelta(days=1)}" in {one.days for one in found}
        assert {one.table for one in found} == {"creator_reach"}
        forged.replace(night, name, whole)
    assert not audited(world, night).differences


def test_a_wrong_row_of_a_ranking_is_found(world, night):
    """In any column."""
    whole = night.table("creator_rankings.parquet")
    right = whole["viewers"][0].as_py()
    forged.replace(night, "creator_rankings.parquet", forged.changed(whole, "viewers", 0, right + 1))
    (found,) = audited(world, night).differences
    assert (found.table, found.key, found.column) == ("creator_rankings", whole["creator_id"][0].as_py(), "viewers")
    assert (found.published, found.counted_again) == (right + 1, right)


def test_a_creator_who_is_missing_is_found(world, night):
    """With every column, and nothing where it should be something."""
    whole = night.table("creator_rankings.parquet")
    forged.replace(night, "creator_rankings.parquet", whole.slice(1))
    found = audited(world, night).differences
    assert {(one.key, one.published) for one in found} == {(whole["creator_id"][0].as_py(), None)}
    assert {"position", "rank", "viewers", "sessions"} <= {one.column for one in found}


@pytest.mark.slow
def test_wrong_funding_is_found(world, night):
    """Of one stream."""
    whole = night.table("live_stream_funding.parquet")
    forged.replace(night, "live_stream_funding.parquet", forged.changed(whole, "backers", 0, 7))
    (found,) = audited(world, night).differences
    assert (found.table, found.key, found.days, found.column) == ("live_stream_funding", "x", None, "backers")
    assert (found.published, found.counted_again) == (7, 2)


@pytest.mark.slow
def test_the_ranges_are_drawn_by_the_seed(world, night):
    """By the snapshot's id, unless another is given; the first one holds the days that no other question reaches."""
    once, again, other = (audited(world, night, seed=seed, ranges=3) for seed in (None, night.id, "7"))
    assert (once.seed, other.seed) == (night.id, "7")
    assert once.ranges == again.ranges != other.ranges
    assert len(once.ranges) == 3


def test_what_raw_no_longer_holds_is_not_passed(world, night):
    """A landed file is gone from raw."""
    (folder, *_) = (world.settings.lake / "raw" / "viewing_sessions").iterdir()
    folder.rename(world.settings.home / "elsewhere")
    with pytest.raises(Damaged, match=r"\d+ landed files that snapshot .* audit a newer snapshot"):
        audited(world, night)


def test_days_that_retention_removed_are_not_passed(world, night):
    """The snapshot is older than what raw still holds: it may have come back from a backup."""
    first, _ = recount.scope(date(2025, 12, 31), AS_OF, world.settings.policy).compared
    (sessions, *_) = [each for each in folders_of(raw_files(world.settings)) if each.entity == "viewing_sessions"]
    redaction.expire(sessions, [min(day for day in map(date.fromisoformat, sessions.files) if day >= first)])
    with pytest.raises(Damaged, match=r"removed from raw \(MOSTWATCHED_KEEP_DAYS\)\. Audit a newer snapshot"):
        audited(world, night)


def test_raw_that_is_damaged_is_not_counted(world, night):
    """A byte of a file has turned over."""
    path = next((world.settings.lake / "raw" / "viewing_sessions").glob("*/2026-01-1*.parquet"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:])
    with pytest.raises(Damaged, match=r"it was written with .* again from what landed") as error:
        audited(world, night)
    # What it says helps.
    path.parent.rename(world.settings.home / "elsewhere")
    assert f"Move {path.parent} out of {path.parent.parent} and run" in str(error.value)
    assert world.run(compare=False, night=NIGHT).snapshot_id == night.id
    assert not audited(world, night).differing


def test_the_command_fails_where_something_differs(world, night):
    """Exit code 1, and a line for every value; 0 where nothing does."""

    def asked(*more: str):
        told = {"MOSTWATCHED_MAX_WINDOW_DAYS": "30", "MOSTWATCHED_THREADS": "1"}
        return CliRunner(env=told).invoke(cli, ["--home", str(world.settings.home), "audit", *more])

    done = asked("--ranges", "2", "--seed", "7")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "Nothing differs.")
    assert "2 random ranges (seed 7)" in done.stdout
    whole = night.table("creator_rankings.parquet")
    forged.replace(night, "creator_rankings.parquet", forged.changed(whole, "sessions", 0, 0))
    done = asked(night.id, "--ranges", "2")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, "1 value differs.")
    assert f"(seed {night.id})" in done.stdout


@pytest.mark.slow
def test_who_was_forgotten_since_is_counted(world, night):
    """Raw holds fewer records than landed: an older snapshot may differ for that."""
    assert audited(world, night).erased_records == 0
    (kept,) = [row.id for row in manifest.listed(world.settings.snapshots)]
    forget(world.settings, "v", datetime(2026, 2, 1, tzinfo=UTC))
    now = manifest.open_current(world.settings.snapshots)
    assert now.id != kept
    done = audited(world, now)
    assert done.differing == 0
    assert done.erased_records > 10


def test_more_differences_than_one_wants_to_read_are_counted(world, night, monkeypatch):
    """The first ones are listed."""
    monkeypatch.setattr(audit, "LISTED", 5)
    forged.replace(night, "creator_rankings.parquet", night.table("creator_rankings.parquet").slice(0, 0))
    done = audited(world, night)
    assert len(done.differences) == 5
    assert done.differing > 3 * 6  # of three windows, three creators with six values at least


def test_a_scope_holds_every_start_of_a_session_that_reaches_a_day():
    """Also where the longest session is no whole number of days, and a day begins on the UTC day before it."""
    day = date(2026, 1, 10)
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
        ((begins, ends),) = recount.intervals(day, day + timedelta(days=1), zone)
        for hours in (1, 24, 25, 47, 48):
            policy = Policy(day_timezone=zone, max_session_hours=hours, revision_days=3)
            scope = recount.scope(day, day + timedelta(days=1), policy)
            earliest = datetime.fromtimestamp(begins / 1000, UTC) - timedelta(hours=hours)
            latest = datetime.fromtimestamp(ends / 1000, UTC) - timedelta(milliseconds=1)
            assert scope.counted[0] <= earliest.date() <= latest.date() <= scope.counted[1]
            assert scope.compared[0] <= earliest.date() - timedelta(days=3)
            assert latest.date() + timedelta(days=3) <= scope.compared[1]


def test_every_instant_belongs_to_the_day_that_its_wall_shows():
    """Also where clocks were put back over midnight, so that a date came twice: minute by minute."""
    for zone, around in (("America/St_Johns", date(2010, 11, 6)), ("Pacific/Apia", date(2011, 12, 30))):
        for first in (around - timedelta(days=1), around, around + timedelta(days=1)):
            parts = recount.intervals(first, first + timedelta(days=1), zone)
            start = datetime.combine(first - timedelta(days=1), datetime.min.time(), ZoneInfo("UTC"))
            for minute in range(4 * 1440):
                at = start + timedelta(minutes=minute)
                inside = any(begins <= at.timestamp() * 1000 < ends for begins, ends in parts)
                assert inside == (at.astimezone(ZoneInfo(zone)).date() == first), (zone, first, at)


# --- how it went, for whoever is on duty ------------------------------------------------------------------------------


@pytest.mark.slow
def test_how_an_audit_went_is_known_until_the_next(world, night, monkeypatch):
    """To status, to metrics and to the hooks; what passed last stays known while none passes."""
    told = []
    monkeypatch.setattr(notify, "is_wanted", lambda _: True)
    monkeypatch.setattr(notify, "send", lambda _, events: told.extend((one.event, one.text, one.why) for one in events))

    def status_says():
        answer = status.status(world.settings, AS_OF, None, datetime.now(UTC))
        return answer["last_audit"]

    def status_prints():
        answer = status.status(world.settings, AS_OF, None, datetime.now(UTC))
        with pytest.MonkeyPatch.context() as patch:
            lines: list[str] = []
            patch.setattr("click.echo", lines.append)
            render.print_status(answer)
        return lines

    def metrics():
        families = text_string_to_metric_families((world.settings.home / "metrics/mostwatched-audit.prom").read_text())
        return {(one.name, *[*one.labels.values()][1:]): one.value for each in families for one in each.samples}

    assert status_says() is None
    assert not audit_run.audit_current(world.settings, 1).differing
    passed = status_says()
    assert (passed["outcome"], passed["snapshot_id"], passed["passed_at"]) == ("passed", night.id, passed["ended_at"])
    assert told == []
    assert f"Audit     passed: {night.id}, {passed['ended_at']}" in status_prints()
    assert metrics()["mostwatched_audit_outcome", "passed"] == 1
    at = datetime.fromisoformat(passed["passed_at"]).timestamp()
    assert metrics()["mostwatched_audit_passed_timestamp_seconds",] == at

    whole = night.table("live_stream_funding.parquet")
    forged.replace(night, "live_stream_funding.parquet", forged.changed(whole, "backers", 0, 7))
    forged.point_to(night)
    assert audit_run.audit_current(world.settings, 1).differing == 1
    found = status_says()
    assert (found["outcome"], found["differing"], found["passed_at"]) == ("differs", 1, passed["passed_at"])
    assert f"            last passed {passed['passed_at']}" in status_prints()
    assert found["why"] == "live_stream_funding: x has backers 7, but 2 when counted again from raw."
    assert metrics()["mostwatched_audit_outcome", "differs"] == 1
    assert metrics()["mostwatched_audit_passed_timestamp_seconds",] == at
    said = f"The audit of the current snapshot, {night.id}, found 1 values that differ."
    assert told == [("failed", said.replace("1 values that differ", "1 value that differs"), found["why"])]

    (night.path / "creators.parquet").unlink()
    with pytest.raises(Damaged):
        audit_run.audit_current(world.settings, 1)
    assert (status_says()["outcome"], status_says()["passed_snapshot_id"]) == ("failed", night.id)
    assert metrics()["mostwatched_audit_outcome", "failed"] == 1
    assert [event for event, *_ in told] == ["failed", "failed"]

    assert world.run(compare=False, night=NIGHT).snapshot_id == night.id  # which mends it
    facts = report.read(world.settings, AS_OF)
    assert facts["last_audit"]["passed_at"] == passed["passed_at"]
    page = formats.markdown(document(facts))
    assert f"An audit last passed at {passed['passed_at']}, of {night.id}." in page
    assert "did not pass" in page
    assert not audit_run.audit_current(world.settings, 1).differing
    assert told[-1][:2] == ("recovered", f"The audit of {night.id} passed: all is well again.")


def test_an_audit_of_an_older_snapshot_tells_nobody(world, night):
    """It may well differ: somebody was forgotten since."""
    done = CliRunner(env={"MOSTWATCHED_THREADS": "1"}).invoke(
        cli, ["--home", str(world.settings.home), "audit", night.id, "--ranges", "1"]
    )
    assert done.exit_code == 0
    assert last_audit.read(world.settings.lake) is None


# --- what every publish counts again ---------------------------------------------------------------------------------


@pytest.fixture
def two(world):
    """Two creators who were watched by the same people on each of the days before; the night was published."""
    for creator in ("ada", "bob"):
        world.busy_days("2026-01-01", 30, creator=creator)
    world.run()
    return world


def replace_a_cube_file(world: World) -> None:
    """Every row of the last day has a minute more. The file's sidecar, its checksum and digest match."""
    (path,) = world.settings.lake.glob("creator_reach/day=2026-01-30/*.parquet")
    whole = pq.read_table(path)
    more = [count + 60_000 for count in whole["watched_milliseconds"].to_pylist()]
    forged.replace_in_lake(path, forged.with_values(whole, "watched_milliseconds", more))


@pytest.mark.slow
def test_a_replaced_file_of_the_lake_is_not_published(two):
    """A right-looking one: the last snapshot stays, and what the refusal says to do helps."""
    last = two.current()
    replace_a_cube_file(two)
    with pytest.raises(RefusedToPublish, match=r"has watched_seconds \d+ in .*, but \d+ when counted again") as refusal:
        two.run()
    assert two.current() == last
    assert manifest.snapshot_ids(two.settings.snapshots) == [last]
    assert f"move every folder but raw out of {two.settings.home}/lake and run again" in str(refusal.value)
    facts = json.loads((two.settings.reports / f"{AS_OF}.json").read_bytes())
    assert "counted again from raw" in facts["grounds"][0]
    for folder in two.settings.lake.iterdir():
        if folder.name != "raw" and folder.is_dir():
            folder.rename(two.settings.home / f"moved-{folder.name}")
    assert two.run().snapshot_id == last


def test_a_version_that_was_moved_far_away_refuses_nothing(two):
    """What differs at first sight is looked at with all versions within reach."""
    for creator in ("ada", "bob"):
        moved = f"m-{creator} | {creator} | v | 2025-12-28 10:00 | 1"
        here = f"m-{creator} | {creator} | v | 2026-01-30 10:00\nn-{creator} | {creator} | w | 2026-01-30 10:00"
        two.sessions(f"session_id | creator | viewer | started_at\n{here}")
        two.sessions(f"session_id | creator | viewer | started_at | revision\n{moved}")
    assert two.run().viewers(1) == [("ada", 5), ("bob", 5)]


def test_few_records_are_read_where_a_day_holds_many(two, monkeypatch):
    """One range of one day."""
    asked = []
    count = recount.Recount.count
    monkeypatch.setattr(recount.Recount, "count", lambda *args: (asked.append(args[2:]), count(*args)))
    two.run("2026-01-30")
    assert len(asked) == 2
    asked.clear()
    monkeypatch.setattr(audit, "ROWS", 3)
    two.run("2026-01-29")
    ((first, end),) = asked
    assert end == first + timedelta(days=1)


def test_one_creator_is_drawn_from_raw(two, monkeypatch):
    """Who may be missing in the ranking."""
    monkeypatch.setattr(audit, "CREATORS", 0)
    replace_a_cube_file(two)
    with pytest.raises(RefusedToPublish, match="counted again from raw"):
        two.run()


def test_damaged_raw_is_parsed_again_and_blames_nobody(two):
    """A night that needs none of its sessions finds it where it counts them again."""
    for path in two.settings.lake.glob("raw/viewing_sessions/*/*.parquet"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:100])
    two.land("creators", "creator | status | updated_at\nbob | banned | 2026-01-02 10:00")
    assert two.run().viewers() == [("ada", 4)]
