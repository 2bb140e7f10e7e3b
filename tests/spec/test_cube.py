"""THE CUBE, row by row: what a published day of creator_reach says."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

COLUMNS = ("is_signed_in", "gap_days", "viewers", "sessions_started", "sessions_carried_in", "watched_milliseconds")


def rows_of(night, day: str) -> list[tuple[object, ...]]:
    """The rows of ada's day, those with a gap first."""
    rows = night.rows(f"creator_reach/{day}.parquet")
    assert {row["creator_id"] for row in rows} <= {"ada"}
    assert {str(row["day"]) for row in rows} <= {day}
    found = [tuple(row[column] for column in COLUMNS) for row in rows]
    return sorted(found, key=lambda row: (not row[0], row[1] or 1000))


def test_a_gap_is_the_days_since_the_same_viewer_last_watched_the_same_creator(world):
    """`gap_days` is 1 to W; a viewer not seen for longer, or never, has none."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-29 10:00 | 1
        ada     | v1     | 2026-01-30 10:00 | 2
        ada     | v2     | 2025-12-31 10:00 | 1
        ada     | v2     | 2026-01-30 10:00 | 4
        ada     | v3     | 2025-12-30 10:00 | 1
        ada     | v3     | 2026-01-30 10:00 | 8
        ada     | v4     | 2026-01-30 10:00 | 16
        ada     | v5     | 2026-01-31 10:00 | 1
        bob     | v4     | 2026-01-20 10:00 | 1
    """)
    assert rows_of(world.run(), "2026-01-30") == [
        (True, 1, 1, 1, 0, 2000),
        (True, 30, 1, 1, 0, 4000),
        (True, None, 2, 2, 0, 24000),
    ]


@pytest.mark.parametrize("day", ["2026-01-30", "2025-12-31"])  # the newest day of the snapshot, and its oldest
def test_a_gap_reaches_the_day_into_which_a_session_was_carried(world, day):
    """The last visit may have been the end of a session that began a day earlier than any gap reaches."""
    before = date.fromisoformat(day) - timedelta(days=30)
    world.sessions(f"""
        creator | viewer | started_at                         | ended_at
        ada     | v1     | {before - timedelta(days=1)} 23:00 | {before} 00:30
        ada     | v1     | {day} 10:00                        | {day} 10:01
    """)
    assert rows_of(world.run(), day) == [(True, 30, 1, 1, 0, 60_000)]


def test_devices_have_gaps_of_their_own(world):
    """Anonymous devices go through the same cube, apart from the viewers; nobody knows who had neither id."""
    world.sessions("""
        creator | viewer | device | started_at       | seconds
        ada     |        | d1     | 2026-01-20 10:00 | 1
        ada     |        | d1     | 2026-01-30 10:00 | 2
        ada     | d1     |        | 2026-01-30 10:00 | 4
        ada     |        |        | 2026-01-29 10:00 | 8
        ada     |        |        | 2026-01-30 10:00 | 16
        ada     |        |        | 2026-01-30 10:00 | 32
    """)
    assert rows_of(world.run(), "2026-01-30") == [
        (True, None, 1, 1, 0, 4000),
        (False, 10, 1, 1, 0, 2000),
        (False, None, 0, 2, 0, 48000),
    ]


def test_a_session_starts_on_one_day_and_is_carried_into_the_others(world):
    """A session is started on its first day, carried into every later one, and its time is clipped to each."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-10 23:00 | 2026-01-12 00:30
        ada     | v1     | 2026-01-11 10:00 | 2026-01-11 10:00
    """)
    night = world.run(max_session_hours=48)
    assert rows_of(night, "2026-01-10") == [(True, None, 1, 1, 0, 3_600_000)]
    assert rows_of(night, "2026-01-11") == [(True, 1, 1, 1, 1, 86_400_000)]
    assert rows_of(night, "2026-01-12") == [(True, 1, 1, 0, 1, 1_800_000)]
    assert rows_of(night, "2026-01-13") == []


def test_banned_creators_stay_in_the_cube(world):
    """A ban leaves a creator out of the rankings, not out of the cube."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-30 10:00 | 1
    """)
    world.land("creators", "creator | status\nada | banned")
    night = world.run()
    assert night.viewers() == []
    assert rows_of(night, "2026-01-30") == [(True, None, 1, 1, 0, 1000)]
