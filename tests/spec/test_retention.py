"""MOSTWATCHED_KEEP_DAYS: old days of sessions go from raw, and no figure changes for it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from typing import Any

import pytest
from world import AS_OF, Night, World

from pipelines.core.errors import UsageError
from pipelines.core.settings import load
from pipelines.jobs import nightly, status
from pipelines.jobs import prune as pruning
from pipelines.snapshots import manifest

KEEP = 64  # the least, with windows of 30 days; with the 35 before them the first day kept is 24 October


def kept(world: World, **changed: Any) -> Any:
    return dataclasses.replace(world.settings, keep_days=KEEP, **changed)


def prune(world: World, **how: Any) -> pruning.PruneReport:
    return pruning.prune(kept(world), **how)


@pytest.fixture
def old_days(world: World) -> World:
    """Sessions in autumn, and in winter by the same people; some of those were corrected to another month."""
    world.sessions(
        """
        session | revision | creator | viewer | started_at       | minutes
        o1      | 0        | ada     | ann    | 2025-10-01 10:00 | 5
        o2      | 0        | ada     | ben    | 2025-10-02 10:00 | 5
        o3      | 0        | ada     | ben    | 2025-10-23 23:59 | 5
        n1      | 0        | ada     | ann    | 2026-01-05 10:00 | 5
        n2      | 0        | bob     | cem    | 2026-01-30 10:00 | 5
        back    | 0        | bob     | dan    | 2026-01-06 10:00 | 5
        back    | 1        | bob     | dan    | 2025-12-02 11:00 | 5
        forth   | 0        | bob     | eve    | 2025-12-03 12:00 | 5
        forth   | 1        | bob     | eve    | 2026-01-07 10:00 | 5
        """,
        "all.ndjson",
    )
    world.sessions("creator | viewer | started_at | minutes\nada | zoe | 2025-10-03 10:00 | 5", "only-old.ndjson")
    return world


def days_in_raw(world: World) -> set[str]:
    return {path.stem for path in world.settings.lake.glob("raw/viewing_sessions/*/2*.parquet")}


def night(world: World, **asked: Any) -> Night:
    return world.run(compare=False, **asked)


def test_days_that_are_too_old_go_and_no_figure_changes(old_days):
    """The next run publishes the same; nothing is read again; what was removed is accounted for."""
    before = old_days.run()
    report = prune(old_days)
    assert report.days == ["2025-10-01", "2025-10-02", "2025-10-03", "2025-10-23"]
    assert report.records == 4
    after = night(old_days)
    assert (after.snapshot_id, after.report.ingested.new_files) == (before.snapshot_id, 0)
    funnel = before.funnel()
    assert after.funnel() == funnel | {"expired": 4, "outside_window": funnel["outside_window"] - 4}
    assert manifest.damage(old_days.settings.snapshots) == {before.snapshot_id: []}
    assert (prune(old_days).days, prune(old_days).records) == ([], 0)


def test_days_that_may_hold_newer_versions_stay(old_days):
    """A correction that moved a session out of what a snapshot rests on still keeps its outdated version from it."""
    old_days.run()
    prune(old_days)
    assert days_in_raw(old_days) == {"2025-12-02", "2025-12-03", "2026-01-05", "2026-01-06", "2026-01-07", "2026-01-30"}
    old_days.sessions("creator | viewer | started_at | minutes\nbob | fay | 2026-01-30 11:00 | 5")
    assert night(old_days).viewers() == [("bob", 3), ("ada", 1)]


def test_a_mistaken_as_of_makes_nothing_old(old_days):
    """What goes is told by the newest session then, as if its next day were the newest as_of."""
    old_days.run()
    expected = pruning.prune(kept(old_days), dry_run=True).days
    old_days.run("2031-01-01", compare=False)
    assert pruning.prune(kept(old_days), dry_run=True).days == expected != []


def test_an_as_of_that_rests_on_removed_days_is_refused(old_days):
    """By a run and a backfill: never a smaller number instead. The first possible one is named."""
    old_days.run()
    prune(old_days)
    for as_of in ("2025-12-15", "2026-01-20"):
        with pytest.raises(UsageError, match="The first as_of that can be worked out is 2026-01-29"):
            night(old_days, as_of=as_of)
    with pytest.raises(UsageError, match="were removed"):
        list(nightly.backfill(old_days.settings, date(2026, 1, 28), AS_OF))
    with pytest.raises(UsageError, match="were removed") as refused:
        night(old_days, max_window_days=32)
    longer = dataclasses.replace(old_days.settings, max_window_days=32)
    foretold = status.status(longer, AS_OF, None, datetime.now(UTC))["next_run"]
    assert (foretold["outcome"], foretold["builds_days"], foretold["command_to_override"]) == ("refuses", [], None)
    assert foretold["refused_because"] == [str(refused.value)]
    night(old_days, as_of="2026-01-29", night={"allow_incomplete": True})


def test_what_is_removed_is_not_missed(old_days):
    """`status` takes removed days for nothing that is lost, late, unread or to be done."""
    old_days.run()
    before = status.status(kept(old_days), AS_OF, None, datetime.now(UTC))
    prune(old_days)
    after = status.status(kept(old_days), AS_OF, None, datetime.now(UTC))
    for name in ("days", "late", "landing", "problems", "next_run"):
        assert after[name] == before[name], name


def test_late_sessions_of_a_removed_day_are_read_and_go_with_the_next_prune(old_days):
    """They are too old to count; their file is read once."""
    first = old_days.run()
    prune(old_days)
    old_days.sessions("creator | viewer | started_at | minutes\nada | late | 2025-10-01 11:00 | 5")
    late = night(old_days)
    assert (late.snapshot_id, late.report.ingested.new_files, late.funnel()["expired"]) == (first.snapshot_id, 1, 4)
    assert (prune(old_days).records, night(old_days).funnel()["expired"]) == (1, 5)


def test_a_dry_run_says_what_would_go_and_writes_nothing(old_days):
    """The same days, records and snapshots; of derived files those that are not needed as things are."""
    old_days.run("2026-01-30", compare=False)
    old_days.run()
    settings = kept(old_days, keep_snapshots=1)
    before = {path: path.stat().st_mtime_ns for path in settings.home.rglob("*")}
    said = pruning.prune(settings, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in settings.home.rglob("*")} == before
    done = pruning.prune(settings)
    assert (said.is_dry_run, done.is_dry_run) == (True, False)
    assert (said.snapshots, said.days, said.records) == (done.snapshots, done.days, done.records)
    assert len(said.snapshots) == 1
    assert 0 < said.lake_files <= done.lake_files


def test_in_a_new_home_there_is_nothing_to_remove(world):
    """And nothing is made by asking."""
    assert prune(world, dry_run=True) == pruning.PruneReport([], 0, 0, [], 0, is_dry_run=True)
    assert not world.settings.home.exists()
    assert prune(world) == pruning.PruneReport([], 0, 0, [], 0)


def test_rejected_texts_go_with_the_last_day_of_their_file(world):
    """They are as old as the day, and hold whatever landed."""
    good = '{"sessionId":"s1","creatorId":"ada","viewerId":"v1","startedAt":"2025-09-01T10:00:00Z"}\n'
    world.land_text("viewing_sessions", good + good.replace("2025", "year"))
    world.sessions("creator | viewer | started_at | minutes\nada | v2 | 2026-01-05 10:00 | 5")
    night(world, night={"accept_rejects": True})
    prune(world)
    (record,) = nightly_rejects(world)
    assert (record.line, "startedAt" in record.text, "v1" in record.text) == (2, False, False)


def nightly_rejects(world: World) -> list[Any]:
    from pipelines.jobs.rejects import all_rejected

    return list(all_rejected(world.settings))


@pytest.mark.parametrize(("days", "is_possible"), [(0, True), (63, False), (64, True)])
def test_a_setting_that_would_break_the_cube_is_refused(days, is_possible):
    """A snapshot rests on twice the longest window and a few days: fewer cannot be kept."""
    environ = {"MOSTWATCHED_MAX_WINDOW_DAYS": "30", "MOSTWATCHED_KEEP_DAYS": str(days)}
    if is_possible:
        assert load(environ=environ).keep_days == days
    else:
        with pytest.raises(UsageError, match="MOSTWATCHED_KEEP_DAYS is 63, but a snapshot rests on the 64 days"):
            load(environ=environ)
