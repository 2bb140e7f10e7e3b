"""Who follows whom, and who has rented which replay."""

from __future__ import annotations

from datetime import UTC, datetime


def test_a_follow_counts_until_it_is_undone(world):
    """The newest version of a follow says whether the user follows the creator."""
    world.land(
        "follows",
        """
        user | creator | deleted | updated_at
        ann  | ada     |         | 2026-01-05 10:00
        ann  | bob     |         | 2026-01-05 10:00
        ann  | bob     | yes     | 2026-01-06 10:00
        ben  | ada     |         | 2026-01-05 10:00
        ben  | ada     | yes     | 2026-01-06 10:00
        ben  | ada     | no      | 2026-01-07 10:00
        ben  | bob     | yes     | 2026-01-07 10:00
    """,
    )
    assert world.run().follows() == [("ann", "ada"), ("ben", "ada")]


def test_an_unfollow_after_as_of_is_not_known_yet(world):
    """A backfill sees the follows of its own day."""
    world.land(
        "follows",
        """
        user | creator | deleted | updated_at
        ann  | ada     |         | 2026-01-05 10:00
        ann  | ada     | yes     | 2026-01-20 00:00
        ben  | ada     |         | 2026-01-20 00:00
    """,
    )
    assert world.run("2026-01-20").follows() == [("ann", "ada")]
    assert world.run("2026-01-21").follows() == [("ben", "ada")]


def test_a_follow_without_an_instant_is_the_oldest(world):
    """A follow without updatedAt is always known, and any dated version is newer."""
    world.land(
        "follows",
        """
        user | creator | deleted | updated_at
        ann  | ada     |         |
        ben  | ada     |         |
        ben  | ada     | yes     | 2026-01-20 00:00
    """,
    )
    assert world.run("2026-01-20").follows() == [("ann", "ada"), ("ben", "ada")]
    assert world.run("2026-01-21").follows() == [("ann", "ada")]


def test_at_equal_instants_the_unfollow_is_the_later_stage(world):
    """An unfollow ends a follow of the same instant, whatever else either says."""
    world.land(
        "follows",
        """
        user | creator | followed_at      | deleted | updated_at
        ann  | ada     | 2026-01-05 10:00 |         | 2026-01-05 10:00
        ann  | ada     | 2026-01-05 10:00 | yes     | 2026-01-05 10:00
        ben  | ada     | 2026-01-05 11:00 |         | 2026-01-05 10:00
        ben  | ada     | 2026-01-05 10:00 | yes     | 2026-01-05 10:00
    """,
    )
    assert world.run().follows() == []


def test_rentals_are_kept_each_with_its_newest_version(world):
    """A user may rent one replay several times; each rental is its newest known version."""
    world.land(
        "replay_rentals",
        """
        user | stream | rented_at        | expires_at       | price | updated_at
        ann  | s1     | 2026-01-05 10:00 | 2026-01-07 10:00 | 5     | 2026-01-05 10:00
        ann  | s1     | 2026-01-05 10:00 | 2026-01-08 10:00 | 4.50  | 2026-01-06 10:00
        ann  | s1     | 2026-01-05 10:00 | 2026-01-09 10:00 | 4     | 2026-01-31 00:00
        ann  | s1     | 2026-01-15 10:00 | 2026-01-17 10:00 |       |
        ann  | s0     | 2026-01-15 10:00 | 2026-01-17 10:00 |       |
    """,
    )
    rentals = world.run().rows("private/replay_rentals.parquet")
    found = [(row["stream_id"], row["rented_at"].day, row["expires_at"].day, row["price"]) for row in rentals]
    assert [(*rental[:3], rental[3] and float(rental[3])) for rental in found] == [
        ("s0", 15, 17, None),
        ("s1", 5, 8, 4.5),
        ("s1", 15, 17, None),
    ]
    assert rentals[1]["expires_at"] == datetime(2026, 1, 8, 10, tzinfo=UTC)


def test_lls_streams_are_known_by_updated_else_created(world):
    """A List Streams entry's version is `updated`, or `created` where it was never updated."""
    world.land(
        "lls_streams",
        """
        id | domain | app | stream | created          | updated          | status
        l1 | d      | a   | one    | 2026-01-05 10:00 |                  | active
        l1 | d      | a   | one    | 2026-01-05 10:00 | 2026-01-06 10:00 | banned
        l1 | d      | a   | one    | 2026-01-05 10:00 | 2026-01-31 10:00 | active
        l2 | d      | a   | two    | 2026-01-31 10:00 |                  | active
    """,
    )
    first = world.run("2026-01-31").rows("lls_streams.parquet")
    second = world.run("2026-02-01").rows("lls_streams.parquet")
    assert [(row["stream_id"], row["status"]) for row in first] == [("l1", "banned")]
    assert [(row["stream_id"], row["status"]) for row in second] == [("l1", "active"), ("l2", "active")]
