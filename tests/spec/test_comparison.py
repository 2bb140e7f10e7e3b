"""`mostwatched snapshots diff`: who entered, left, rose and fell, and which viewers account for it."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from effort import FAST
from noise import land_noise, land_sessions
from world import World

from pipelines.snapshots.diff import (
    CORRECTED,
    LATE,
    LEFT_DAYS,
    LISTED,
    NEW_DAYS,
    OTHERS,
    RULES,
    UNLISTED,
    WINDOW_MOVED,
    Comparison,
    compare,
)


def compared(before, after, window=30) -> Comparison:
    return compare(before.settings, before.snapshot, after.snapshot, window)


def changes(before, after, window=30) -> dict[str, tuple[str, dict[str, int]]]:
    return {one.creator_id: (one.change, one.because) for one in compared(before, after, window).changes}


def test_a_day_that_comes_and_a_day_that_goes_account_for_the_difference(world):
    """Viewers of the new day are added, those whose only visit left the window are taken away."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-01 10:00 | 5
        ada     | v2     | 2026-01-01 10:00 | 5
        ada     | v2     | 2026-01-05 10:00 | 5
        bob     | v1     | 2026-01-01 10:00 | 5
        bob     | v2     | 2026-01-01 10:00 | 5
        eve     | v1     | 2026-01-07 10:00 | 5
        bob     | v3     | 2026-01-05 10:00 | 5
        bob     | v4     | 2026-01-06 10:00 | 5
        bob     | v4     | 2026-01-08 10:00 | 5
        zoe     | v1     | 2026-01-01 10:00 | 5
    """)
    before, after = world.run("2026-01-08"), world.run("2026-01-09")
    assert changes(before, after, 7) == {
        "bob": ("stayed", {LEFT_DAYS: -2}),
        "ada": ("stayed", {LEFT_DAYS: -1}),
        "eve": ("rose", {OTHERS: 0}),
        "zoe": ("left", {LEFT_DAYS: -1}),
    }
    assert compared(before, after, 7).landed_since == 0


def test_late_sessions_and_corrections_are_told_apart(world):
    """More sessions on days that both hold are late data; as many or fewer are corrections."""
    world.sessions("""
        session | creator | viewer | started_at       | minutes
        s1      | ada     | v1     | 2026-01-05 10:00 | 5
        s2      | bob     | v1     | 2026-01-05 10:00 | 5
        s3      | bob     | v2     | 2026-01-05 10:00 | 5
    """)
    before = world.run()
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes | deleted
        s4      | 0        | ada     | v2     | 2026-01-04 10:00 | 5       |
        s3      | 1        | bob     | v2     | 2026-01-05 10:00 | 5       | yes
    """)
    after = world.run()
    assert changes(before, after) == {"ada": ("rose", {LATE: 1}), "bob": ("fell", {CORRECTED: -1})}
    assert changes(after, before) == {"ada": ("fell", {LATE: -1}), "bob": ("rose", {CORRECTED: 1})}
    assert (compared(before, after).landed_since, compared(before, after).landed_only_before) == (1, 0)


def test_a_ban_and_its_end_are_the_reason(world):
    """A creator who is banned leaves though the sessions are there, and enters again when the ban ends."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        mal     | v1     | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-05 10:00 | 5
        ada     | v2     | 2026-01-05 10:00 | 5
    """)
    before = world.run()
    world.land("creators", "creator | username | status | updated_at\nada | ada | banned | 2026-01-06 10:00")
    banned = world.run()
    world.land("creators", "creator | username | status | updated_at\nada | ada | active | 2026-01-07 10:00")
    after = world.run()
    assert changes(before, banned) == {"ada": ("left", {UNLISTED: 0}), "mal": ("rose", {OTHERS: 0})}
    assert changes(banned, after) == {"ada": ("entered", {LISTED: 0}), "mal": ("fell", {OTHERS: 0})}


def test_another_policy_is_the_reason(world):
    """Snapshots of different policies: the difference of the same days is the policy's, and it is named."""
    world.sessions(
        "creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5\nada | v2 | 2026-01-05 10:00 | 9"
    )
    before, after = world.run(), world.run(min_watched_seconds=360)
    assert changes(before, after) == {"ada": ("stayed", {RULES: -1})}
    assert compared(before, after).policy == {"min_watched_seconds": (0, 360)}


def test_windows_that_no_snapshot_holds_together_are_compared_as_a_whole(world):
    """Two snapshots further apart than the longest range: the difference has one reason, the days."""
    world.sessions(
        "creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5\nada | v2 | 2026-01-20 10:00 | 9"
    )
    before, after = world.run("2026-01-10"), world.run("2026-02-10")
    assert changes(before, after) == {"ada": ("stayed", {})} or changes(before, after) == {}
    world.sessions("creator | viewer | started_at | minutes\nada | v3 | 2026-02-05 10:00 | 5")
    assert changes(before, world.run("2026-02-10")) == {"ada": ("stayed", {WINDOW_MOVED: 1})}


@pytest.mark.slow
def test_the_reasons_always_add_up(tmp_path):
    """On a random platform, for every two snapshots, forwards and backwards: the reasons give the whole difference.

    Of a short window or of a long one; of both in `make test-long`.
    """
    world = World(tmp_path)
    land_noise(world, seed=5, sessions=150)
    anyway = {"allow_incomplete": True, "accept_rejects": True}
    nights = [world.run(as_of, compare=False, night=anyway) for as_of in ("2026-01-28", "2026-01-30")]
    land_sessions(world, Random(5), 60)
    nights += [world.run(as_of, compare=False, night=anyway) for as_of in ("2026-01-28", "2026-01-31")]
    viewers = {(night, window): _viewers(night, window) for night in nights for window in (7, 27)}
    pairs, windows = itertools.permutations(nights, 2), (7, 27)
    both = zip(pairs, itertools.cycle(windows), strict=False) if FAST else itertools.product(pairs, windows)
    for (before, after), window in both:
        one = compared(before, after, window)
        was, now = viewers[before, window], viewers[after, window]
        assert one.unchanged + len(one.changes) == len(was.keys() | now.keys())
        for change in one.changes:
            if UNLISTED in change.because or LISTED in change.because:
                continue
            difference = now.get(change.creator_id, 0) - was.get(change.creator_id, 0)
            assert sum(change.because.values()) == difference, (before.snapshot_id, after.snapshot_id, change)
        assert NEW_DAYS not in str(one.changes) or before.snapshot.as_of != after.snapshot.as_of


def _viewers(night, window):
    first = night.snapshot.as_of.fromordinal(night.snapshot.as_of.toordinal() - window)
    return {row.creator_id: row.viewers for row in night.top(first, night.snapshot.as_of)}
