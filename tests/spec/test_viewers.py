"""Who is a distinct viewer."""

from __future__ import annotations


def test_repeat_views_count_once(ranking):
    """A viewer who watches a creator twice is one distinct viewer."""
    assert ranking("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-05 18:00 | 5
        ada     | v1     | 2026-01-06 10:00 | 5
        ada     | v1     | 2026-01-28 10:00 | 5
    """) == [("ada", 1)]


def test_one_viewer_counts_for_every_creator_watched(ranking):
    """A viewer counts once for each creator that they watched."""
    assert ranking("""
        creator | viewer | started_at       | minutes
        ada     | v1     | 2026-01-05 10:00 | 9
        bob     | v1     | 2026-01-05 11:00 | 8
        ada     | v2     | 2026-01-05 11:00 | 5
    """) == [("ada", 2), ("bob", 1)]


def test_nothing_landed_is_an_empty_ranking(world):
    """With nothing landed there is a snapshot, and nobody in it."""
    night = world.run()
    assert (night.viewers(), night.funding(), night.manifest["as_of"]) == ([], [], "2026-01-31")


def test_anonymous_devices_are_counted_beside_the_viewers(world):
    """Devices without a signed-in viewer are counted once each, and never added to the viewers."""
    world.sessions("""
        creator | viewer | device | started_at       | minutes
        ada     | v1     |        | 2026-01-05 10:00 | 5
        ada     |        | d1     | 2026-01-05 10:00 | 5
        ada     |        | d1     | 2026-01-09 10:00 | 5
        ada     |        | d2     | 2026-01-05 10:00 | 5
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.anonymous_viewers, ada.sessions, ada.watched_seconds) == (1, 2, 4, 1200)


def test_the_device_of_a_signed_in_viewer_is_ignored(world):
    """A signed-in viewer is one viewer on any number of devices, and those are no anonymous viewers."""
    world.sessions("""
        creator | viewer | device | started_at       | minutes
        ada     | v1     | d1     | 2026-01-05 10:00 | 5
        ada     | v1     | d2     | 2026-01-06 10:00 | 5
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.anonymous_viewers) == (1, 0)


def test_a_viewer_and_a_device_of_the_same_name_are_two(world):
    """A device whose id happens to be a viewer's is still an anonymous viewer of its own."""
    world.sessions("""
        creator | viewer | device | started_at       | minutes
        ada     | x      |        | 2026-01-05 10:00 | 5
        ada     |        | x      | 2026-01-06 10:00 | 5
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.anonymous_viewers) == (1, 1)


def test_a_session_with_neither_id_adds_time_but_no_viewer(world):
    """With neither id a session counts in sessions and watched seconds and adds no viewer of either kind."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     |        | 2026-01-05 10:00 | 5
        ada     |        | 2026-01-05 10:00 | 5
    """)
    ada = world.run().measured("ada")
    assert (ada.viewers, ada.anonymous_viewers, ada.sessions, ada.watched_seconds) == (0, 0, 2, 600)


def test_creators_without_signed_in_viewers_come_last(ranking):
    """A creator with sessions but no signed-in viewer is in the table, behind everybody who has one."""
    assert ranking("""
        creator | viewer | device | started_at       | minutes
        ada     |        | d1     | 2026-01-05 10:00 | 500
        ada     |        | d2     | 2026-01-05 10:00 | 500
        bob     | v1     |        | 2026-01-05 10:00 | 1
    """) == [("bob", 1), ("ada", 0)]


def test_own_views_are_left_out(world):
    """A creator's own session on their own stream does not count; their session elsewhere does."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | ada    | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-05 10:00 | 5
        bob     | ada    | 2026-01-05 10:00 | 3
    """)
    night = world.run()
    assert night.viewers() == [("ada", 1), ("bob", 1)]
    assert night.measured("ada").sessions == 1


def test_own_views_can_be_kept(ranking):
    """The policy can count a creator's own views."""
    table = """
        creator | viewer | started_at       | minutes
        ada     | ada    | 2026-01-05 10:00 | 5
        ada     | v1     | 2026-01-05 10:00 | 5
    """
    assert ranking(table, leave_out_own_views=False) == [("ada", 2)]


def test_a_device_named_like_the_creator_is_no_own_view(world):
    """Only a signed-in viewer can be the creator."""
    world.sessions("""
        creator | device | started_at       | minutes
        ada     | ada    | 2026-01-05 10:00 | 5
    """)
    assert world.run().measured("ada").anonymous_viewers == 1


def test_ids_are_compared_as_they_are(ranking):
    """Ids differing in case, in spaces or in accents are different viewers."""
    assert ranking("""
        creator | viewer     | started_at       | minutes
        ada     | çiğdem     | 2026-01-05 10:00 | 5
        ada     | cigdem     | 2026-01-05 10:00 | 5
        ada     | CIGDEM     | 2026-01-05 10:00 | 5
        ada     | c i g d em | 2026-01-05 10:00 | 5
        ada     | 😀         | 2026-01-05 10:00 | 5
    """) == [("ada", 5)]


def test_a_viewer_is_the_same_viewer_in_every_source(ranking):
    """The source tells sessions apart, not viewers."""
    assert ranking("""
        session | source | creator | viewer | started_at       | minutes
        s1      | web    | ada     | v1     | 2026-01-05 10:00 | 5
        s1      | app    | ada     | v1     | 2026-01-05 10:00 | 5
    """) == [("ada", 1)]
