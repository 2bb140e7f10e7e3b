"""A user who asked to be erased is in no snapshot that is published from then on."""

from __future__ import annotations

import duckdb
import pytest
from world import World

from pipelines.core.errors import RefusedToPublish


@pytest.fixture
def busy_world(world: World) -> World:
    """ann and ben watch, follow, pledge and rent."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ada     | ann    | 2026-01-05 10:00 | 5
        ada     | ben    | 2026-01-06 10:00 | 5
        bob     | ann    | 2026-01-07 10:00 | 5
    """)
    world.land(
        "live_streams",
        """
        stream | funding_goal | currency
        s1     | 100          | TRY
    """,
    )
    world.land(
        "pledges",
        """
        pledge | user | stream | amount | currency | status   | captured_at
        p1     | ann  | s1     | 30     | TRY      | captured | 2026-01-10 10:00
        p2     | ben  | s1     | 20     | TRY      | captured | 2026-01-10 10:00
    """,
    )
    world.land(
        "follows",
        """
        user | creator | updated_at
        ann  | ada     | 2026-01-10 10:00
        ben  | ada     | 2026-01-10 10:00
    """,
    )
    world.land(
        "replay_rentals",
        """
        user | stream | rented_at        | expires_at
        ann  | s1     | 2026-01-10 10:00 | 2026-01-12 10:00
        ben  | s1     | 2026-01-10 10:00 | 2026-01-12 10:00
    """,
    )
    return world


def test_the_next_run_publishes_without_the_erased_user(busy_world):
    """Sessions, pledges, follows and rentals of an erased user are dropped; those of everybody else stay."""
    before = busy_world.run()
    busy_world.land(
        "erasures",
        """
        user | erased_at
        ann  | 2026-01-20 10:00
    """,
    )
    after = busy_world.run()
    assert before.viewers() == [("ada", 2), ("bob", 1)]
    assert after.viewers() == [("ada", 1)]
    assert (after.stream("s1").collected_funding, after.stream("s1").backers) == (20, 1)
    assert (after.follows(), after.funded()) == ([("ben", "ada")], [("ben", "s1")])
    assert [row["user_id"] for row in after.rows("private/replay_rentals.parquet")] == ["ben"]
    assert "ann" in before.values()
    assert "ann" not in after.values()


def test_a_published_snapshot_does_not_change(busy_world):
    """The snapshot from before the erasure stays what it was, byte for byte."""
    before = busy_world.run()
    files = before.files()
    busy_world.land("erasures", "user\nann")
    assert busy_world.run().snapshot_id != before.snapshot_id
    assert before.files() == files


@pytest.mark.parametrize("erased_at", ["", "2026-03-01 10:00", "1999-01-01 00:00"])
def test_an_erasure_counts_whatever_its_instant(busy_world, erased_at):
    """An erasure counts in every run after it landed, also with an instant after as_of, or none."""
    busy_world.land("erasures", f"user | erased_at\nann | {erased_at}")
    assert busy_world.run().viewers() == [("ada", 1)]


def test_sessions_that_arrive_after_the_erasure_are_dropped_too(busy_world):
    """Late and corrected sessions of an erased user stay out."""
    busy_world.land("erasures", "user\nann")
    first = busy_world.run()
    busy_world.sessions("""
        creator | viewer | started_at       | minutes
        eve     | ann    | 2026-01-08 10:00 | 5
    """)
    assert busy_world.run().snapshot_id == first.snapshot_id


def test_a_record_of_an_erased_user_supersedes_nothing(world):
    """What they left counts as never landed: the version before theirs is the newest."""
    world.sessions("""
        session | revision | creator | viewer | started_at       | minutes
        s1      | 0        | ada     | ann    | 2026-01-05 10:00 | 5
        s1      | 1        | ada     | ben    | 2026-01-05 10:00 | 5
        s2      | 0        | bob     | ben    | 2026-01-05 10:00 | 5
        s2      | 1        | bob     | ann    | 2026-01-05 10:00 | 5
    """)
    world.land("erasures", "user\nann")
    night = world.run()
    assert night.viewers() == [("ada", 1), ("bob", 1)]
    assert (night.funnel()["erased"], night.funnel()["superseded"]) == (2, 0)


def test_an_erased_user_who_is_a_creator_stays_a_creator(world):
    """Erasing takes out what a user watched; what others watched of them is the others'."""
    world.sessions("""
        creator | viewer | started_at       | minutes
        ann     | ben    | 2026-01-05 10:00 | 5
        ben     | ann    | 2026-01-05 10:00 | 5
    """)
    world.land("erasures", "user\nann")
    assert world.run().viewers() == [("ann", 1)]


def test_a_device_named_like_an_erased_user_stays(world):
    """Only signed-in viewers are users."""
    world.sessions("""
        creator | device | started_at       | minutes
        ada     | ann    | 2026-01-05 10:00 | 5
    """)
    world.land("erasures", "user\nann")
    assert world.run().measured("ada").anonymous_viewers == 1


# --- what is no erasure ----------------------------------------------------------------------------------------------

OTHERS = {  # by DuckDB: records with a userId that are none of erasures, 100 of them
    "follows": "select 'v' || i as userId, 'ada' as creatorId, timestamptz '2026-01-01 00:00Z' as followedAt",
    "pledges": "select 'p' || i as pledgeId, 'v' || i as userId, 's' as streamId, 1.00 as amount, 'pending' as status",
    "replay_rentals": "select 'v' || i as userId, 's' as streamId, timestamptz '2026-01-01 00:00Z' as rentedAt, "
    "timestamptz '2026-02-01 00:00Z' as expiresAt",
}
COPY = {
    "csv": "(format csv, header)",
    "ndjson": "(format json)",
    "parquet": "(format parquet)",
}


@pytest.mark.parametrize("file_format", COPY)
@pytest.mark.parametrize("entity", OTHERS)
def test_records_of_another_entity_erase_nobody(world, entity, file_format):
    """They have a userId, and landed in the wrong folder: everybody in them would be forgotten."""
    session = {"sessionId": "s1", "creatorId": "ada", "viewerId": "v1", "startedAt": "2026-01-05T10:00:00Z"}
    world.land("viewing_sessions", [session])
    folder = world.settings.landing / "erasures"
    folder.mkdir(parents=True)
    duckdb.sql(f"copy ({OTHERS[entity]} from range(100) t(i)) to '{folder}/a.{file_format}' {COPY[file_format]}")
    with pytest.raises(RefusedToPublish, match=f"move its file to the folder of that, {entity}"):
        world.run(compare=False)
    night = world.run(compare=False, night={"accept_rejects": True})
    assert night.measured("ada").viewers == 1
    assert night.report.as_json()["new_rejected"] + night.report.as_json()["rejected"] >= 100


def test_an_erasure_may_say_more(world):
    """What a request is about does not matter: erasedAt says that it is one, or no other entity has its fields."""
    for number, more in enumerate([{"erasedAt": "2026-01-05T00:00:00Z", "creatorId": "ada"}, {"reason": "asked"}]):
        world.land("erasures", [{"userId": f"v{number}", **more}], f"{number}.ndjson")
        session = {"sessionId": f"s{number}", "creatorId": "ada", "viewerId": f"v{number}"}
        world.land("viewing_sessions", [session | {"startedAt": "2026-01-05T10:00:00Z"}], f"{number}.ndjson")
    assert world.run(compare=False).report.as_json()["funnel"]["erased"] == 2


@pytest.mark.parametrize("spelled", ["Ann", "ann ", "'ann'", "\tANN"])
def test_an_erasure_that_misses_somebody_by_its_spelling_is_worth_a_look(busy_world, spelled):
    """Ids are taken as they are: nobody is erased by it, and who asked must not wait for it in vain."""
    busy_world.land("erasures", [{"userId": spelled}, {"userId": "never seen"}, {"userId": "ben"}])
    (said,) = [each for each in busy_world.run(compare=False).report.as_json()["anomalies"] if "erasure" in each]
    assert said.startswith("1 newly landed erasure names nobody, and somebody but for upper and lower case")
    busy_world.land("erasures", [{"userId": "ann"}])  # a night later it is no news, and neither is one that is right
    assert not [each for each in busy_world.run(compare=False).report.as_json()["anomalies"] if "erasure" in each]
