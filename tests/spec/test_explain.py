"""`mostwatched explain`: every landed record of a creator is accounted for, down to exactly the published figure."""

from __future__ import annotations

import dataclasses
import itertools
import shutil

import pytest
from everything import EVERYTHING
from noise import CREATORS, land_noise
from world import World

from pipelines.core.errors import Damaged, UsageError
from pipelines.jobs.explain import Explanation, explain
from pipelines.snapshots import ranking


def explained(night, creator, window=30, days=(None, None)) -> Explanation:
    asked = ranking.window_from_options(night.snapshot, None if days[0] else window, *days)
    return explain(night.settings, night.snapshot, creator, asked)


def left_out(one: Explanation) -> dict[str, int]:
    return {reason: count for reason, count in one.left_out.items() if count}


@pytest.mark.slow
def test_every_record_that_names_a_creator_is_accounted_for(world):
    """Records = those left out, each for one reason, + the sessions in the window."""
    world.sessions(EVERYTHING["viewing_sessions"])
    world.sessions(EVERYTHING["viewing_sessions"] + "x1 | | | zoe | v1 | | 2026-01-05 10:00 | 2026-01-05 11:00")
    world.land("creators", EVERYTHING["creators"])
    world.land("erasures", "user\ngone")
    world.land_text("viewing_sessions", '{"sessionId":"s99","creatorId":"ada"}\n')
    night = world.run(compare=False, night={"accept_rejects": True})
    ada = explained(night, "ada")
    assert (ada.records, ada.landed_files, ada.mentioned_in_rejects) == (12, 2, 1)
    assert left_out(ada) == {"duplicate": 6, "superseded": 1, "not_yet": 1, "outside_window": 1}
    assert (ada.sessions, ada.viewers, ada.anonymous_viewers) == (3, 2, 1)
    bob = explained(night, "bob")
    assert left_out(bob) == {"duplicate": 2, "erased": 2, "own_view": 1}
    eve = explained(night, "eve")
    assert left_out(eve) == {"duplicate": 4, "superseded": 2, "deleted": 1}
    assert (eve.sessions, eve.viewers) == (1, 1)
    assert all(one.agrees and one.published for one in (ada, bob, eve))


def test_days_add_up_to_the_distinct_viewers(world):
    """Viewers of all days = distinct viewers + those who had been there on an earlier day of the window."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-07 10:00 | 5
        ada     | v2     | 2026-01-07 23:58 | 5
        ada     | v1     | 2025-12-20 10:00 | 5
    """)
    one = explained(world.run(), "ada")
    assert [(str(day.day), day.sessions, day.viewers, day.new_viewers) for day in one.by_day if day.viewers] == [
        ("2026-01-05", 1, 1, 1),
        ("2026-01-07", 2, 2, 1),
        ("2026-01-08", 0, 1, 0),
    ]
    assert (one.viewer_days, one.viewers, one.agrees) == (4, 2, True)


def test_a_session_that_went_to_another_creator_is_superseded(world):
    """A correction that names another creator takes the session away from the first one."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | 1        | bob     | v1     | 2026-01-09 10:00 | 5
    """)
    night = world.run()
    ada = explained(night, "ada")
    assert (ada.records, left_out(ada), ada.moved_away, ada.published) == (1, {"superseded": 1}, 1, None)
    assert ada.agrees
    bob = explained(night, "bob")
    assert (bob.records, left_out(bob), bob.moved_away, bob.viewers, bob.agrees) == (1, {}, 0, 1, True)


def test_a_banned_creator_has_sessions_and_no_place(world):
    """The sessions are explained; the ban is why there is no figure."""
    world.sessions("creator | viewer | started_at | minutes\nmal | v1 | 2026-01-05 10:00 | 5")
    world.land("creators", "creator | username | status\nmal | mal | banned")
    one = explained(world.run(), "mal")
    assert (one.sessions, one.viewers, one.status, one.published, one.agrees) == (1, 1, "banned", None, True)


def test_what_landed_after_a_snapshot_does_not_explain_it(world):
    """A snapshot is explained from what it rests on, whatever has landed since."""
    world.sessions("creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5")
    first = world.run()
    world.sessions("creator | viewer | started_at | minutes\nada | v2 | 2026-01-05 10:00 | 5")
    second = world.run()
    assert [(one.viewers, one.agrees) for one in (explained(first, "ada"), explained(second, "ada"))] == [
        (1, True),
        (2, True),
    ]


def test_a_figure_that_landed_records_do_not_give_is_told(world):
    """An explanation that does not end in the published figure says so."""
    world.sessions("creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5")
    one = explained(world.run(), "ada")
    assert one.agrees
    assert not dataclasses.replace(one, published=one.published | {"viewers": 2}).agrees
    assert not dataclasses.replace(one, published=None).agrees


def test_nobody_is_explained_who_is_not_known(world):
    """A creator without a session or a profile, a range that is not held, and raw files that are gone: clear errors."""
    path = world.sessions("creator | viewer | started_at | minutes\nada | v1 | 2026-01-05 10:00 | 5")
    night = world.run()
    with pytest.raises(UsageError, match="'nobody'"):
        explained(night, "nobody")
    with pytest.raises(UsageError, match="at most 30"):
        explained(night, "ada", window=31)
    (folder,) = night.settings.lake.glob("raw/viewing_sessions/*")
    shutil.rmtree(folder)
    with pytest.raises(Damaged, match=path.name):
        explained(night, "ada")


@pytest.mark.slow
def test_every_creator_of_a_random_platform_is_explained(tmp_path):
    """For any range, and in a zone with changing offsets: the figure is exactly the published one."""
    world = World(tmp_path, day_timezone="America/New_York", min_watched_seconds=1)
    land_noise(world, seed=1, sessions=150, days=22)
    night = world.run(compare=False, night={"allow_incomplete": True, "accept_rejects": True})
    as_of = night.snapshot.as_of
    for creator, days in zip(CREATORS, itertools.cycle([(None, None), (as_of.replace(day=13), as_of.replace(day=19))])):
        one = explained(night, creator, window=10, days=days)
        assert one.agrees, (creator, days)
        assert one.records == sum(one.left_out.values()) + one.sessions
        assert one.viewers == sum(day.new_viewers for day in one.by_day)
        assert one.viewer_days == sum(day.viewers for day in one.by_day)
        assert one.sessions == sum(day.sessions for day in one.by_day)


def test_a_creator_of_whom_no_session_landed(world):
    """A profile is enough to be asked about; that nothing was watched is the answer."""
    world.land("creators", "creator | username\nada | ada")
    one = explained(world.run(), "ada")
    assert (one.records, one.sessions, one.viewers, one.published, one.agrees) == (0, 0, 0, None, True)
