"""A published day that lost most of its sessions refuses, unless they were taken away on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from world import World

from pipelines.core.errors import RefusedToPublish
from pipelines.jobs.erase_user import forget

SHRUNK = "2026-01-20"
FIRST, SECOND = "2026-01-30", "2026-01-31"


def sessions(day: str, count: int, **fields: object) -> list[dict[str, object]]:
    """Sessions s0, s1, … of a day: ids that are given out again every day."""
    return [
        {
            "sessionId": f"s{number}",
            "creatorId": "ada",
            "viewerId": f"v{number}",
            "startedAt": f"{day}T10:00:00Z",
            "endedAt": f"{day}T11:00:00Z",
        }
        | fields
        for number in range(count)
    ]


@pytest.fixture
def published(world: World) -> World:
    """Days up to 29 January, with a busy one among them, published."""
    world.busy_days("2026-01-05", 26, sessions=10)
    world.land("viewing_sessions", sessions(SHRUNK, 30))
    world.run(FIRST)
    return world


@pytest.mark.slow
def test_ids_that_are_given_out_again_refuse(published):
    """Thirty new sessions with the ids of thirty old ones put those aside: the day of those shrank."""
    published.land("viewing_sessions", sessions("2026-01-30", 30))
    override = {"accept_rejects": True}
    with pytest.raises(
        RefusedToPublish,
        match=f"{SHRUNK} has 10 sessions, of 40 in the last snapshot: 30 of its records were put aside",
    ):
        published.run(SECOND, night=override)
    night = published.run(SECOND, night=override | {"allow_incomplete": True})
    assert night.measured("ada", window=30).sessions == 30
    published.busy_days("2026-01-31", 1, sessions=10)
    published.run("2026-02-01")  # what was published as it is refuses no later night


@pytest.mark.parametrize("count", [15, 21])
def test_under_half_must_be_left(published, count):
    """Of 40 sessions 25 are left, or 19."""
    published.land("viewing_sessions", sessions("2026-01-30", count))
    if count * 2 < 40:
        published.run(SECOND, night={"accept_rejects": True})
        return
    with pytest.raises(RefusedToPublish, match=f"{SHRUNK} has 19 sessions, of 40"):
        published.run(SECOND, night={"accept_rejects": True})


DELIBERATE: dict[str, Callable[[World], object]] = {
    "retracted": lambda world: world.land("viewing_sessions", sessions(SHRUNK, 30, deleted=True, revision=1)),
    "moved to another day": lambda world: world.land("viewing_sessions", sessions("2026-01-19", 30, revision=1)),
    "erased": lambda world: world.land("erasures", [{"userId": f"v{number}"} for number in range(30)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DELIBERATE)
def test_what_was_taken_away_on_purpose_is_published(published, how):
    """A retraction, a correction and an erasure are meant; the run names the day."""
    DELIBERATE[how](published)
    warnings = published.run(SECOND).report.published.warnings
    assert [warning for warning in warnings if f"{SHRUNK} has 10 sessions, of 40 in the last snapshot" in warning]


def test_many_days_that_shrank_on_purpose_are_one_warning(world):
    """An erasure of somebody who was there every day, and retracted days."""
    world.busy_days("2026-01-05", 26, sessions=30)
    world.run(FIRST, compare=False)
    world.land("erasures", [{"userId": f"w{number}"} for number in range(30)])
    (warning, *others) = world.run(FIRST, compare=False, night={"allow_incomplete": True}).report.published.warnings
    assert "2026-01-05 has 0 sessions, of 30 in the last snapshot; 24 more days shrank so: newer versions" in warning
    assert not any("in the last snapshot" in other for other in others)


def test_another_policy_is_no_retraction(world):
    """Sessions that are too short now are not said to have been retracted."""
    world.busy_days("2026-01-05", 26, sessions=30)
    world.run(FIRST, compare=False)
    night = world.run(FIRST, compare=False, min_watched_seconds=86_000, night={"allow_incomplete": True})
    assert not any("in the last snapshot" in warning for warning in night.report.published.warnings)


@pytest.mark.slow
def test_who_was_forgotten_shrinks_no_day(world):
    """A day of one person's sessions is gone with them, and the next night says nothing of it."""
    world.busy_days("2026-01-05", 26, sessions=10)
    one = [each | {"sessionId": f"n{n}", "viewerId": "nina"} for n, each in enumerate(sessions(SHRUNK, 30))]
    path = world.land_text("viewing_sessions", "".join(json.dumps(each) + "\n" for each in one))
    world.run(FIRST, compare=False)
    path.unlink()
    forget(world.settings, "nina", now=datetime(2026, 1, 30, 4, tzinfo=UTC))
    assert world.run(SECOND, compare=False).report.published.warnings == ()


@pytest.mark.parametrize(
    ("mapping", "measure"),
    [
        ('rename = { viewer = "deviceId", ended = "endedAt" }', "0 signed-in viewers, of 40"),
        ('rename = { viewer = "viewerId" }\ntimezone = "UTC"', "0 watched hours, of 40"),
        ('rename = { viewer = "viewerId", ended = "endedAt" }\nnull = ["-"]', None),
    ],
)
def test_viewers_that_another_mapping_takes_away_refuse(world, mapping, measure):
    """The sessions of all days stay, and nobody retracted a viewer or an end."""
    world.settings.landing.mkdir(parents=True)
    toml = world.settings.landing / "mostwatched.toml"
    toml.write_text('[viewing_sessions]\nrename = { viewer = "viewerId", ended = "endedAt" }\n')
    renamed = {"viewerId": "viewer", "endedAt": "ended"}
    for day in range(5, 30):
        of_day = sessions(f"2026-01-{day:02d}", 40)
        world.land(
            "viewing_sessions",
            [
                {renamed.get(name, name): value for name, value in each.items()} | {"sessionId": f"{day}-{number}"}
                for number, each in enumerate(of_day)
            ],
        )
    world.run(FIRST, compare=False)
    toml.write_text(f"[viewing_sessions]\n{mapping}\n")
    if measure is None:
        assert not any(
            "in the last snapshot" in said for said in world.run(FIRST, compare=False).report.published.warnings
        )
        return
    with pytest.raises(RefusedToPublish, match=f"{measure} in the last snapshot; 24 more days shrank so, though"):
        world.run(FIRST, compare=False, night={"accept_rejects": True})
    world.run(FIRST, compare=False, night={"accept_rejects": True, "allow_incomplete": True})


@pytest.mark.parametrize(
    ("change", "measure"),
    [({"viewerId": None}, "10 signed-in viewers, of 40"), ({"endedAt": None}, "1 watched hour, of 31")],
)
def test_viewers_whom_newer_versions_take_away_are_named(published, change, measure):
    """As when a platform makes old sessions anonymous."""
    published.land("viewing_sessions", sessions(SHRUNK, 30, revision=1, **change))
    warnings = published.run(SECOND, night={"allow_incomplete": True}).report.published.warnings
    assert [
        warning for warning in warnings if f"{SHRUNK} has {measure} in the last snapshot: newer versions" in warning
    ]
