"""Banned, deleted and unknown creators, and profiles as they were known as of as_of."""

from __future__ import annotations

import pytest
from world import World

THREE = """
    creator | viewer | started_at       | minutes
    ada     | v1     | 2026-01-05 10:00 | 5
    ada     | v2     | 2026-01-05 10:00 | 5
    ada     | v3     | 2026-01-05 10:00 | 5
    bob     | v1     | 2026-01-05 10:00 | 5
    bob     | v2     | 2026-01-05 10:00 | 5
    eve     | v1     | 2026-01-05 10:00 | 5
"""


@pytest.mark.parametrize("status", ["banned", "deleted"])
def test_a_banned_or_deleted_creator_is_left_out_and_ranks_close_up(world, status):
    """A banned or deleted creator is not ranked, and leaves no gap."""
    world.sessions(THREE)
    world.land(
        "creators",
        f"""
        creator | status    | updated_at
        ada     | active    | 2026-01-01 00:00
        bob     | {status}  | 2026-01-01 00:00
    """,
    )
    night = world.run()
    assert [(row.position, row.rank, row.creator_id) for row in night.ranking()] == [
        (1, 1, "ada"),
        (2, 2, "eve"),
    ]


def test_a_creator_without_a_status_is_ranked(world):
    """A profile without a status is no reason to leave anybody out."""
    world.sessions(THREE)
    world.land(
        "creators",
        """
        creator
        ada
    """,
    )
    assert world.run().viewers() == [("ada", 3), ("bob", 2), ("eve", 1)]


def test_an_unbanned_creator_is_ranked_again(world):
    """A newer version of the profile that lifts the ban brings the creator back, with every viewer."""
    world.sessions(THREE)
    world.land(
        "creators",
        """
        creator | status | updated_at
        ada     | banned | 2026-01-20 00:00
    """,
    )
    assert world.run("2026-01-30").viewers() == [("bob", 2), ("eve", 1)]
    world.land(
        "creators",
        """
        creator | status | updated_at
        ada     | active | 2026-01-30 10:00
    """,
    )
    night = world.run("2026-01-31")
    assert night.viewers() == [("ada", 3), ("bob", 2), ("eve", 1)]


def test_previous_ranks_are_worked_out_with_todays_bans(world):
    """Whoever is banned today is left out of the previous ranks as well."""
    world.sessions(THREE)
    assert world.run("2026-01-30").measured("eve").rank == 3
    world.land(
        "creators",
        """
        creator | status | updated_at
        ada     | banned | 2026-01-30 10:00
    """,
    )
    eve = world.run("2026-01-31").measured("eve")
    assert (eve.rank, eve.previous_rank) == (2, 2)


def test_an_unknown_creator_is_ranked_and_counted(world):
    """A creator who never landed in `creators` is ranked all the same, and counted in the manifest."""
    world.sessions(THREE)
    world.land(
        "creators",
        """
        creator | status | updated_at
        ada     | active | 2026-01-20 00:00
        zoe     | active | 2026-01-20 00:00
    """,
    )
    night = world.run()
    assert night.viewers() == [("ada", 3), ("bob", 2), ("eve", 1)]
    assert [row["creator_id"] for row in night.rows("creators.parquet")] == ["ada", "zoe"]
    assert night.unknown_creators() == 2


def test_a_backfill_does_not_see_the_future(world):
    """A version of a profile from as_of on is not known yet: neither its name nor its ban."""
    world.sessions(THREE)
    world.land(
        "creators",
        """
        creator | username | status  | updated_at
        ada     | old      | active  | 2026-01-02 00:00
        ada     | new      | banned  | 2026-01-20 00:00
        bob     | later    | deleted | 2026-01-19 23:59:59.999
    """,
    )
    before, after = world.run("2026-01-20"), world.run("2026-01-21")
    assert [row["username"] for row in before.rows("creators.parquet")] == ["old", "later"]
    assert [row["username"] for row in after.rows("creators.parquet")] == ["new", "later"]
    assert [name for name, _ in before.viewers()] == ["ada", "eve"]
    assert [name for name, _ in after.viewers()] == ["eve"]


def test_what_is_known_begins_at_midnight_in_the_time_zone(world):
    """as_of is midnight in the policy's zone for profiles too."""
    world.sessions(THREE)
    world.land(
        "creators",
        """
        creator | status  | updated_at
        ada     | banned  | 2026-01-30 20:59:59.999
        bob     | banned  | 2026-01-30 21:00
    """,
    )
    assert world.run(day_timezone="Europe/Istanbul").viewers() == [("bob", 2), ("eve", 1)]


def test_a_version_without_an_instant_is_the_oldest_and_always_known(world):
    """A profile without updatedAt counts until any other is known."""
    world.land(
        "creators",
        """
        creator | username  | updated_at
        ada     | undated   |
        ada     | dated     | 2026-01-20 00:00
        bob     | undated   |
    """,
    )
    assert [row["username"] for row in world.run("2026-01-10").rows("creators.parquet")] == [
        "undated",
        "undated",
    ]
    assert [row["username"] for row in world.run("2026-01-31").rows("creators.parquet")] == [
        "dated",
        "undated",
    ]


@pytest.mark.parametrize(
    ("lesser", "greater"),
    [
        ({"username": "Z"}, {"username": "a"}),
        ({"username": "a"}, {"username": "a", "name": "A"}),
        ({"username": "a", "surname": "Z"}, {"username": "a", "name": "A"}),
        ({"username": "a", "availabilityStatus": "b"}, {"username": "a", "surname": "A"}),
        (
            {"username": "a", "profilePhoto": {"_id": "1", "url": "z"}},
            {"username": "a", "profilePhoto": {"_id": "2"}},
        ),
        (
            {"username": "a", "profilePhoto": {"variants": {"40": "a"}}},
            {"username": "a", "profilePhoto": {"type": "i"}},
        ),
        (
            {"username": "a", "expertise": "x"},
            {"username": "a", "profilePhoto": {"updatedAt": "2026-01-01T00:00:00Z"}},
        ),
        ({"username": "a", "status": "active"}, {"username": "a", "status": "banned"}),
    ],
)
def test_equal_instants_are_decided_by_their_content(tmp_path, lesser, greater):
    """Of two versions of one instant the greater tuple of fields counts, in contract order, nulls lowest."""
    rows = []
    for order in ([lesser, greater], [greater, lesser]):
        world = World(tmp_path / str(len(rows)))
        world.land("creators", [{"_id": "ada", "updatedAt": "2026-01-01T00:00:00Z"} | fields for fields in order])
        rows.append(world.run().rows("creators.parquet"))
    world = World(tmp_path / "alone")
    world.land("creators", [{"_id": "ada", "updatedAt": "2026-01-01T00:00:00Z"} | greater])
    assert rows[0] == rows[1] == world.run().rows("creators.parquet")


def test_a_creator_who_is_called_null_is_said(world):
    """Ids of creators are taken as they are: one of them may be all sessions whose creator nobody knows."""
    sessions = [
        {"sessionId": f"s{number}", "creatorId": name, "viewerId": "v", "startedAt": "2026-01-30T10:00:00Z"}
        for number, name in enumerate(["undefined", "ada"])
    ]
    world.land("viewing_sessions", sessions)
    said = [each for each in world.run(compare=False).report.as_json()["warnings"] if "programs write null" in each]
    assert len(said) == 1
    assert "creator_id undefined" in said[0]
