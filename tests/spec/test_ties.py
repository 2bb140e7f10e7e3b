"""Rank, position and previous rank."""

from __future__ import annotations

from itertools import pairwise


def test_rank_is_competition_rank_and_position_a_total_order(world):
    """Equal viewers share a rank, and the next rank leaves a gap: 1, 2, 2, 4; positions are 1 to n."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 1
        ada     | v2     | 2026-01-05 10:00 | 1
        ada     | v3     | 2026-01-05 10:00 | 1
        bob     | v1     | 2026-01-05 10:00 | 1
        bob     | v2     | 2026-01-05 10:00 | 1
        eve     | v1     | 2026-01-05 10:00 | 1
        eve     | v2     | 2026-01-05 10:00 | 2
        zoe     | v1     | 2026-01-05 10:00 | 9
    """)
    assert [(row.position, row.rank, row.creator_id) for row in world.run().ranking()] == [
        (1, 1, "ada"),
        (2, 2, "eve"),
        (3, 2, "bob"),
        (4, 4, "zoe"),
    ]


def test_ties_are_broken_by_watched_seconds_then_by_id(world):
    """Position: viewers, then whole watched seconds (not milliseconds), then the id by its UTF-8 bytes."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        zoe     | v1     | 2026-01-05 10:00 | 61
        Bob     | v1     | 2026-01-05 10:00 | 60
        ada     | v1     | 2026-01-05 10:00 | 60
        çağ     | v1     | 2026-01-05 10:00 | 60.9
        eve     | v1     | 2026-01-05 10:00 | 60.5
        Ａ      | v1     | 2026-01-05 10:00 | 60.5
        😀      | v1     | 2026-01-05 10:00 | 60.9
        9       | v1     | 2026-01-05 10:00 | 60
    """)
    names = [row.creator_id for row in world.run().ranking()]
    assert names == ["zoe", "9", "Bob", "ada", "eve", "çağ", "Ａ", "😀"]


def test_creators_with_no_viewers_share_the_last_rank(world):
    """Creators with sessions and no viewers tie as well, longest watched first."""
    world.sessions("""
        creator | viewer | device | started_at       | minutes
        ada     |        | d1     | 2026-01-05 10:00 | 1
        bob     |        |        | 2026-01-05 10:00 | 2
        eve     | v1     |        | 2026-01-05 10:00 |
    """)
    assert [(row.rank, row.creator_id) for row in world.run().ranking()] == [
        (1, "eve"),
        (2, "bob"),
        (2, "ada"),
    ]


def test_previous_rank_is_the_rank_in_the_same_window_one_day_earlier(world):
    """Each window remembers its own yesterday; who was not ranked then has no previous rank."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-29 10:00 | 1
        ada     | v2     | 2026-01-29 10:00 | 1
        bob     | v1     | 2026-01-29 10:00 | 1
        bob     | v2     | 2026-01-30 10:00 | 1
        bob     | v3     | 2026-01-30 10:00 | 1
        eve     | v3     | 2026-01-30 10:00 | 1
        old     | v1     | 2025-12-31 10:00 | 1
        old     | v2     | 2025-12-31 10:00 | 1
        old     | v3     | 2025-12-31 10:00 | 1
        old     | v3     | 2026-01-01 10:00 | 1
    """)
    night = world.run()
    previous = [
        [(row.creator_id, row.rank, row.previous_rank) for row in night.ranking(window)] for window in (1, 7, 30)
    ]
    assert previous == [
        [("bob", 1, 2), ("eve", 2, None)],
        [("bob", 1, 2), ("ada", 2, 1), ("eve", 3, None)],
        [("bob", 1, 3), ("ada", 2, 2), ("eve", 3, None), ("old", 3, 1)],
    ]


def test_todays_previous_ranks_are_yesterdays_ranks(world):
    """Night after night, `previous_rank` is what the night before published."""
    for number in range(1, 9):
        world.busy_days("2026-01-01", number, sessions=number % 4 + 1, creator=f"c{number}")
    nights = [world.run(f"2026-01-{day:02}") for day in range(2, 8)]
    for yesterday, today in pairwise(nights):
        for window in (1, 7, 30):
            ranks = {row.creator_id: row.rank for row in yesterday.ranking(window)}
            assert all(row.previous_rank == ranks.get(row.creator_id) for row in today.ranking(window))
