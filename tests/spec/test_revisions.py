"""Which of several records of one session counts: the highest revision, once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from world import World


def test_an_open_session_counts_from_its_start_with_no_time(world):
    """A session that has not ended yet counts its viewer, with 0 watched seconds."""
    world.sessions("""
        creator | viewer | started_at
        ada     | v1     | 2026-01-05 10:00
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.sessions, ada.watched_seconds) == (1, 1, 0)


def test_an_open_session_is_closed_by_a_later_revision(world):
    """The revision that closes an open session adds its time, and no second session."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 |
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 7
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.sessions, ada.watched_seconds) == (1, 1, 420)


def test_closing_arrives_on_another_night(world):
    """Closed a night later, the session has its time in the next snapshot and none in the last."""
    world.sessions("""
        session | revision | creator | viewer | started_at
        s1      | 0        | ada     | v1     | 2026-01-30 23:50
    """)
    first = world.run("2026-01-31")
    world.sessions("""
        session | revision | creator | viewer | started_at       | ended_at
        s1      | 1        | ada     | v1     | 2026-01-30 23:50 | 2026-01-31 00:20
    """)
    second = world.run("2026-02-01")
    assert first.measured("ada").watched_seconds == 0
    assert second.measured("ada").watched_seconds == 1800
    assert second.measured("ada", window=1).watched_seconds == 1200


def test_the_highest_revision_counts_whatever_arrived_last(world):
    """An older revision that arrives later changes nothing."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 2        | ada     | v1     | 2026-01-05 10:00 | 20
    """)
    first = world.run()
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 1        | bob     | v9     | 2026-01-07 10:00 | 10
    """)
    second = world.run()
    assert second.viewers() == [("ada", 1)]
    assert second.snapshot_id == first.snapshot_id


def test_a_missing_revision_is_revision_0(ranking):
    """A record without a revision is superseded by revision 1."""
    assert ranking("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 20
        s1      |          | bob     | v1     | 2026-01-05 10:00 | 20
    """) == [("ada", 1)]


def test_a_correction_can_change_creator_and_viewer(ranking):
    """A corrected session counts for the creator and the viewer of the correction, and for no other."""
    assert ranking("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        s2      | 0        | bob     | v1     | 2026-01-05 10:00 | 5
        s1      | 1        | bob     | v2     | 2026-01-05 10:00 | 5
    """) == [("bob", 2)]


def test_signing_in_turns_a_device_into_a_viewer(world):
    """A revision that names the viewer takes the anonymous device out again."""
    world.sessions("""
        session | revision | creator | viewer | device | started_at       | minutes
        s1      | 0        | ada     |        | d1     | 2026-01-05 10:00 | 5
        s1      | 1        | ada     | v1     | d1     | 2026-01-05 10:00 | 5
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.anonymous_viewers) == (1, 0)


@pytest.mark.parametrize(
    ("day", "viewers"),
    [
        ("2026-01-04", 1),
        ("2026-01-06", 1),
        ("2026-01-29", 1),
        ("2025-12-31", 0),
        ("2025-12-01", 0),
        ("2026-02-05", 0),
        ("2026-02-09", 0),
    ],
)
def test_a_correction_can_move_a_session_to_another_day(world, day, viewers):
    """A corrected session counts where the correction puts it: a day off, or out of the window."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
    """)
    assert world.run().viewers() == [("ada", 1)]
    world.sessions(f"""
        session | revision | creator | viewer | started_at  | minutes
        s1      | 1        | ada     | v1     | {day} 10:00 | 5
    """)
    night = world.run()
    assert night.viewers() == [("ada", 1)] * viewers
    assert night.top("2026-01-05", "2026-01-06") == []


def test_a_session_can_move_away_and_back(world):
    """Moved to another day and back again, a session is where it was, and so is the snapshot."""
    moves = ["2026-01-05", "2025-12-25", "2026-01-29", "2026-01-05"]
    nights = []
    for revision, day in enumerate(moves):
        world.sessions(f"""
            session | revision   | creator | viewer | started_at  | minutes
            s1      | {revision} | ada     | v1     | {day} 10:00 | 5
        """)
        nights.append(world.run())
    assert [night.viewers() for night in nights] == [[("ada", 1)], [], [("ada", 1)], [("ada", 1)]]
    assert nights[3].snapshot_id == nights[0].snapshot_id != nights[2].snapshot_id


@pytest.mark.parametrize(("apart", "sessions"), [(34, 1), (35, 1), (36, 2), (400, 2)])
@pytest.mark.parametrize("revisions", [(0, 1), (1, 0)])
def test_records_of_one_id_that_start_far_apart_are_two_sessions(world, apart, sessions, revisions):
    """Versions start at most `revision_days` UTC days apart, whichever of them is the newer and whatever the hour."""
    later, earlier = date(2026, 1, 29), date(2026, 1, 29) - timedelta(days=apart)
    # Each lands twice, so that both days are looked at together also where they are far apart.
    for day, hour, revision in ((later, "00:00", revisions[0]), (earlier, "23:50", revisions[1])):
        world.sessions(f"""
            session | revision   | creator | viewer | started_at   | minutes
            s1      | {revision} | ada     | v1     | {day} {hour} | 5
            s1      | {revision} | ada     | v1     | {day} {hour} | 5
        """)
    assert world.run().funnel()["superseded"] == 2 - sessions


def test_a_version_is_superseded_by_one_that_is_itself_superseded(world):
    """Of three versions in a row, each within reach of the next alone, the middle one takes the lesser with it."""
    for day, revision in (("2025-12-01", 2), ("2025-12-30", 1), ("2026-01-28", 0)):
        world.sessions(f"""
            session | revision   | creator | viewer | started_at  | minutes
            s1      | {revision} | ada     | v1     | {day} 10:00 | 5
        """)
    night = world.run(max_window_days=90)
    assert night.viewers() == []
    assert [row.sessions for row in night.top("2025-11-15", "2026-01-30")] == [1]


@pytest.mark.parametrize("revision_days", [0, 1, 60])
def test_how_far_apart_versions_may_start_is_policy(world, revision_days):
    """`revision_days` 0: only records of one day are versions of one session."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | 1        | ada     | v2     | 2026-01-06 10:00 | 5
        s1      | 2        | ada     | v3     | 2026-01-29 10:00 | 5
    """)
    assert world.run(revision_days=revision_days).viewers() == [("ada", {0: 3, 1: 2, 60: 1}[revision_days])]


def test_a_move_reaches_a_day_that_nothing_else_has(world):
    """A session moved from outside everything we hold into the window counts there."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2025-12-20 10:00 | 5
    """)
    assert world.run().viewers() == []
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 5
    """)
    assert world.run().viewers() == [("ada", 1)]


def test_a_retracted_session_does_not_count(world):
    """`deleted: true` in the highest revision retracts the session."""
    world.sessions("""
        session | creator | viewer | started_at       | minutes
        s1      | ada     | v1     | 2026-01-05 10:00 | 5
        s2      | ada     | v2     | 2026-01-05 10:00 | 5
    """)
    assert world.run().viewers() == [("ada", 2)]
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes | deleted
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 5       | yes
    """)
    assert world.run().viewers() == [("ada", 1)]


def test_a_retraction_on_another_day_retracts_too(ranking):
    """A retraction retracts wherever it says that the session was."""
    assert (
        ranking("""
        session | revision | creator | viewer | started_at       | minutes | deleted
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5       |
        s1      | 1        | ada     | v1     | 2025-12-05 10:00 | 5       | yes
    """)
        == []
    )


def test_a_higher_revision_brings_a_retracted_session_back(ranking):
    """A revision after the retraction counts again."""
    assert ranking("""
        session | revision | creator | viewer | started_at       | minutes | deleted
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5       |
        s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 5       | yes
        s1      | 2        | ada     | v1     | 2026-01-06 10:00 | 5       | no
    """) == [("ada", 1)]


def test_a_duplicate_counts_once(world):
    """The same record landed again, in the same file or another, is one session."""
    table = """
        session | creator | viewer | started_at       | minutes
        s1      | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | ada     | v1     | 2026-01-05 10:00 | 5
    """
    world.sessions(table)
    first = world.run()
    assert first.measured("ada").sessions == 1
    world.sessions(table + "s2 | bob | v1 | 2025-11-05 10:00 | 5")
    assert world.run().snapshot_id == first.snapshot_id


def test_the_source_is_part_of_the_key(world):
    """One session id from two sources is two sessions; an absent, a null and an empty source are one."""
    world.land(
        "viewing_sessions",
        [
            {"sessionId": "s1", "creatorId": "ada", "startedAt": "2026-01-05T10:00:00Z", "revision": revision} | source
            for revision, source in enumerate([{}, {"source": None}, {"source": ""}, {"source": "app"}])
        ],
    )
    assert world.run().measured("ada").sessions == 2


@pytest.mark.parametrize(
    ("what_decides", "lesser", "greater"),
    [
        ("retracted", "ada | 10:00 | 10:05 | v1", "ada | 10:00 |       | v1 |    | yes"),
        ("closed", "zoe | 10:00 |       | v1", "ada | 10:00 | 10:05 | v1"),
        ("the later end", "zoe | 10:00 | 10:05 | v1", "ada | 10:00 | 10:06 | v1"),
        ("the creator", "ada | 10:04 | 10:05 | v9", "bob | 10:00 | 10:05 | v1"),
        ("small letters after capitals", "Zoe | 10:00 | 10:05 | v1", "ada | 10:00 | 10:05 | v1"),
        ("letters after digits", "9 | 10:00 | 10:05 | v1", "a | 10:00 | 10:05 | v1"),
        ("the longer text", "ada | 10:00 | 10:05 | v1", "ada2 | 10:00 | 10:05 | v1"),
        ("Turkish letters after Latin ones", "zoe | 10:00 | 10:05 | v1", "çağ | 10:00 | 10:05 | v1"),
        ("UTF-8, not UTF-16", "\uff21 | 10:00 | 10:05 | v1", "😀 | 10:00 | 10:05 | v1"),
        ("the later start", "ada | 10:00 | 10:05 | v9", "ada | 10:01 | 10:05 | v1"),
        ("any viewer", "ada | 10:00 | 10:05 |    | d1", "ada | 10:00 | 10:05 | v1 |"),
        ("the viewer", "ada | 10:00 | 10:05 | v1 | d9", "ada | 10:00 | 10:05 | v2 | d1"),
        ("any device", "ada | 10:00 | 10:05 |", "ada | 10:00 | 10:05 |    | d1"),
    ],
)
def test_equal_revisions_are_decided_by_their_content(tmp_path, what_decides, lesser, greater):
    """Of two records with one revision the greater tuple counts, in whichever order they arrive."""
    ids = {}
    for order, lines in {"first": (greater, lesser), "last": (lesser, greater), "alone": (greater,)}.items():
        world = World(tmp_path / order)
        for line in lines:
            world.sessions(
                "session | creator | started_at | ended_at | viewer | device | deleted\ns1 | "
                + line.replace("10:", "2026-01-05 10:")
            )
        ids[order] = world.run().snapshot_id
    assert ids["first"] == ids["last"] == ids["alone"]


def test_conflicts_are_counted(world):
    """Different records with one revision are conflicts, also on two days, and though a later revision settles it;
    identical ones are none."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 3        | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | 3        | ada     | v2     | 2026-01-05 10:00 | 5
        s2      | 0        | ada     | v2     | 2026-01-05 10:00 | 5
        s2      | 0        | ada     | v2     | 2026-01-05 10:00 | 5
    """)
    assert world.run().conflicts() == 1
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 4        | ada     | v1     | 2026-01-05 10:00 | 5
        s3      | 1        | ada     | v1     | 2026-01-05 10:00 | 5
        s3      | 1        | ada     | v1     | 2026-01-06 10:00 | 5
        s3      | 1        | ada     | v1     | 2026-01-07 10:00 | 5
        s3      | 2        | ada     | v1     | 2026-01-06 10:00 | 5
        s4      | 1        | ada     | v1     | 2026-01-05 10:00 | 5
        s4      | 2        | ada     | v1     | 2026-01-06 10:00 | 5
    """)
    assert world.run().conflicts() == 1 + 2


def test_conflicts_of_other_entities_are_counted_too(world):
    """Two profiles of one age that differ are one conflict in the manifest, by entity; the same one twice is none."""
    world.sessions("creator | viewer | started_at\nada | v1 | 2026-01-05 10:00")
    version = {"_id": "ada", "username": "ada", "updatedAt": "2026-01-01T00:00:00Z"}
    world.land("creators", [version, version, version | {"username": "lovelace"}])
    night = world.run()
    assert night.manifest["version_conflicts"] == {"creators": 1}
    assert [row["username"] for row in night.rows("creators.parquet")] == ["lovelace"]


def test_two_sources_may_use_the_same_ids(world):
    """A session is known by its source and its id: revisions of one source's leave the other's alone."""
    world.sessions("""
        source  | session | revision | creator | viewer | started_at       | minutes
        ios     | s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        ios     | s1      | 1        | ada     | v1     | 2026-01-05 10:00 | 6
        android | s1      | 0        | ada     | v2     | 2026-01-05 10:00 | 7
        android | s1      | 2        | ada     | v2     | 2026-01-05 10:00 | 8
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.sessions, ada.watched_seconds) == (2, 2, 840)
