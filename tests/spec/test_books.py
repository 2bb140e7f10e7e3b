"""The books balance: every landed record is accounted for."""

from __future__ import annotations

from everything import EVERYTHING


def test_every_landed_record_is_accepted_or_rejected(world):
    """Per file, records = accepted + rejected; blank lines are counted apart."""
    good = '{"sessionId":"s1","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}'
    bad = '{"sessionId":"s2","creatorId":"ada"}'
    world.land_text("viewing_sessions", f"{good}\n\n{bad}\nnot json\n\n")
    night = world.run(compare=False, night={"accept_rejects": True})
    report = night.report.as_json()
    assert (report["records"], report["accepted"], report["rejected"]) == (3, 1, 2)
    assert sum(night.manifest["rejected_by_reason"]["viewing_sessions"].values()) == 2


def test_the_funnel_says_what_became_of_every_session(world):
    """Accepted sessions = ranked + everything else that can become of one, each counted once."""
    world.sessions(EVERYTHING["viewing_sessions"])
    world.land("creators", EVERYTHING["creators"])
    world.land("erasures", EVERYTHING["erasures"])
    world.sessions(EVERYTHING["viewing_sessions"] + "x1 | | | ada | v1 | | 2026-01-05 10:00 | 2026-01-15 10:00")
    world.sessions("""
        creator | viewer | started_at       | seconds
        ada     | v1     | 2026-01-05 10:00 | 1
    """)
    night = world.run(min_watched_seconds=2)
    assert night.funnel() == {
        "accepted": 30,
        "ranked": 5,
        "superseded": 3,
        "duplicate": 13,
        "deleted": 1,
        "erased": 2,
        "own_view": 1,
        "under_minimum": 2,
        "banned_or_deleted_creator": 1,
        "outside_window": 1,
        "not_yet": 1,
        "expired": 0,
    }


def test_every_session_has_one_fate_by_precedence(world):
    """Of several reasons not to count, the first of this order is a session's fate."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | ended_at         | deleted
        s1      | 0        | mal     | mal    | 2026-01-05 10:00 | 2026-01-05 10:00 |
        s1      | 1        | mal     | mal    | 2026-01-05 10:00 | 2026-01-05 10:00 | yes
        s2      | 1        | mal     | mal    | 2026-01-05 10:00 | 2026-01-05 10:00 |
        s3      | 1        | bob     | bob    | 2026-01-05 10:00 | 2026-01-05 10:00 |
        s4      | 1        | bob     | bob    | 2026-01-05 10:00 | 2026-01-15 10:00 |
        s5      | 1        | mal     | v1     | 2025-01-05 10:00 | 2025-01-05 10:00 |
        s6      | 1        | mal     | v1     | 2025-01-05 10:00 | 2025-01-15 10:00 |
        s7      | 1        | mal     | v1     | 2025-01-05 10:00 | 2025-01-05 11:00 |
        s8      | 1        | mal     | v1     | 2027-01-05 10:00 | 2027-01-05 11:00 |
        s9      | 1        | bob     | v1     | 2027-01-05 10:00 | 2027-01-05 10:00 |
    """)
    world.land("creators", "creator | status\nmal | banned")
    world.land("erasures", "user\nmal")
    funnel = world.run(min_watched_seconds=60).funnel()
    assert {fate: count for fate, count in funnel.items() if count} == {
        "accepted": 10,
        "erased": 3,
        "own_view": 2,
        "under_minimum": 3,
        "banned_or_deleted_creator": 2,
    }


def test_the_fates_of_several_versions_of_one_session(world):
    """One session's records are its winner, the superseded and the duplicates of either."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | 0        | ada     | v2     | 2026-01-05 10:00 | 5
        s1      | 1        | ada     | v1     | 2025-12-15 10:00 | 5
        s1      | 2        | ada     | v1     | 2026-01-07 10:00 | 5
        s1      | 2        | ada     | v1     | 2026-01-07 10:00 | 5
        s1      | 2        | ada     | v1     | 2026-01-07 10:00 | 5
    """)
    funnel = world.run().funnel()
    assert (funnel["ranked"], funnel["superseded"], funnel["duplicate"]) == (1, 3, 3)


def test_the_edges_of_the_funnel_are_those_of_the_window(world):
    """A session of the window is ranked, one before it is outside, one from as_of on is not yet."""
    world.sessions("""
        creator | viewer | started_at              | ended_at
        ada     | v1     | 2025-12-31 23:00        | 2026-01-01 00:00
        ada     | v1     | 2025-12-31 23:00        | 2026-01-01 00:00:00.001
        ada     | v1     | 2026-01-01 00:00        |
        ada     | v1     | 2026-01-30 23:59:59.999 | 2026-02-01 00:00
        ada     | v1     | 2026-01-31 00:00        |
        ada     | v1     | 2027-01-31 00:00        |
    """)
    funnel = world.run(max_session_hours=48).funnel()
    assert (funnel["outside_window"], funnel["ranked"], funnel["not_yet"]) == (1, 3, 2)
