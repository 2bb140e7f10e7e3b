"""Which sessions the policy believes."""

from __future__ import annotations


def test_sessions_under_the_minimum_do_not_count(world):
    """Sessions of at least the minimum watched seconds count, as a whole or not at all."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-05 10:00 | 30
        ada     | v2     | 2026-01-05 10:00 | 29.999
        ada     | v3     | 2026-01-05 10:00 | 0
    """)
    assert world.run().viewers() == [("ada", 3)]
    ada = world.run(min_watched_seconds=30).measured("ada")
    assert (ada.viewers, ada.sessions, ada.watched_seconds) == (1, 1, 30)


def test_the_minimum_is_of_the_whole_session(world):
    """A session cut short by the edge of the window is still measured whole against the minimum."""
    world.sessions("""
        creator | viewer | started_at          | ended_at
        ada     | v1     | 2026-01-30 23:59:50 | 2026-01-31 00:01
        bob     | v1     | 2025-12-31 23:59:00 | 2026-01-01 00:00:10
    """)
    night = world.run(min_watched_seconds=60)
    assert [(row.creator_id, row.watched_seconds) for row in night.ranking()] == [("ada", 10), ("bob", 10)]


def test_an_open_session_has_no_time_yet(world):
    """With a minimum, an open session waits for the revision that closes it."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 |
    """)
    assert world.run(min_watched_seconds=1).viewers() == []
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 1
    """)
    assert world.run(min_watched_seconds=1).viewers() == [("ada", 1)]


def test_an_end_that_is_not_believed_is_no_end(world):
    """A session of exactly the longest believable length is watched for so long, one a millisecond longer is open."""
    world.sessions("""
        creator | viewer | started_at       | ended_at
        ada     | v1     | 2026-01-05 10:00 | 2026-01-06 10:00
        ada     | v2     | 2026-01-05 10:00 | 2026-01-06 10:00:00.001
        ada     | v3     | 2026-01-05 10:00 | 2036-01-06 10:00
    """)
    for hours, seconds in ((24, 86_400), (25, 2 * 86_400)):
        ada = world.run(max_session_hours=hours).measured("ada")
        assert (ada.viewers, ada.sessions, ada.watched_seconds) == (3, 3, seconds)


def test_an_open_session_that_is_closed_too_late_keeps_its_viewer(world):
    """`open_then_closed_after_25h`: closing a session takes nobody away."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 |
    """)
    assert world.run().viewers() == [("ada", 1)]
    world.sessions("""
        session | revision | creator | viewer | started_at       | hours
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 25
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.watched_seconds) == (1, 0)
    assert world.run(min_watched_seconds=1).viewers() == []


def test_a_correction_to_a_believable_length_counts(world):
    """Only the newest revision is held against the policy."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | ended_at
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 2026-01-16 10:00
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 2026-01-05 11:00
        s2      | 0        | ada     | v2     | 2026-01-05 10:00 | 2026-01-05 11:00
        s2      | 1        | ada     | v2     | 2026-01-05 10:00 | 2026-01-16 10:00
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.watched_seconds) == (2, 3600)


def test_changing_the_policy_back_brings_the_snapshot_back(world):
    """The policy is part of the snapshot's id, and the id depends on nothing that happened between."""
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-05 10:00 | 30
        ada     | v2     | 2026-01-05 10:00 | 90
    """)
    first, strict, again = world.run(), world.run(min_watched_seconds=60), world.run()
    assert first.snapshot_id == again.snapshot_id != strict.snapshot_id
    assert strict.manifest["policy"]["min_watched_seconds"] == 60
