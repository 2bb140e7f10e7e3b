"""What is strange beside the snapshot before is said, and refuses nothing."""

from __future__ import annotations

import pytest
from world import World

FIRST, SECOND = "2026-01-30", "2026-01-31"
CREATORS = [f"c{number:02}" for number in range(20)]


def sessions(world: World, day: str, creators: list[str]) -> None:
    lines = [f"{creator} | v{number % 7} | {day} 10:{number} | 5" for number, creator in enumerate(creators, 10)]
    world.sessions("\n".join(["creator | viewer | started_at | minutes", *lines]))


@pytest.fixture
def ordinary(world: World) -> World:
    """Twenty creators with profiles, who are followed and hold streams; published."""
    for number in range(1, 30):
        sessions(world, f"2026-01-{number:02}", CREATORS)
    world.land("creators", [{"_id": creator, "username": creator} for creator in CREATORS])
    world.land("follows", [{"userId": f"u{number}", "creatorId": "c01"} for number in range(20)])
    world.run(FIRST, compare=False)
    return world


def warnings(world: World) -> list[str]:
    return list(world.run(SECOND, compare=False).report.as_json()["warnings"])


def test_an_ordinary_night_says_nothing(ordinary):
    """Nor do a few bans and a few new creators without a profile."""
    sessions(ordinary, "2026-01-30", [*CREATORS, *(f"new{number}" for number in range(9))])
    banned = [{"_id": creator, "username": creator, "status": "banned"} for creator in CREATORS[:9]]
    ordinary.land("creators", [each | {"updatedAt": "2026-01-30T10:00:00Z"} for each in banned])
    assert warnings(ordinary) == []


def test_all_creators_banned(ordinary):
    """The ranking is empty."""
    sessions(ordinary, "2026-01-30", CREATORS)
    banned = [{"_id": creator, "username": creator, "status": "banned"} for creator in CREATORS]
    ordinary.land("creators", [each | {"updatedAt": "2026-01-30T10:00:00Z"} for each in banned])
    (warning,) = warnings(ordinary)
    assert "creator_rankings has 0 rows, of 60 in the last snapshot." in warning


def test_all_follows_deleted(ordinary):
    """And the private tables are looked at as well."""
    sessions(ordinary, "2026-01-30", CREATORS)
    follows = [{"userId": f"u{number}", "creatorId": "c01", "deleted": True} for number in range(11)]
    ordinary.land("follows", [each | {"updatedAt": "2026-01-30T10:00:00Z"} for each in follows])
    (warning,) = warnings(ordinary)
    assert "follows has 9 rows, of 20 in the last snapshot." in warning


def test_creators_of_another_spelling(ordinary):
    """From one day on all ids are in capitals: nobody's profile is found."""
    sessions(ordinary, "2026-01-30", [creator.upper() for creator in CREATORS])
    (warning,) = warnings(ordinary)
    assert warning.startswith("20 of 40 ranked creators have no profile, and were not ranked so in the last snapshot")


def test_where_it_was_so_before_nothing_is_said(world):
    """A platform that lands no profiles; and a snapshot of long before, which is no measure."""
    sessions(world, "2026-01-01", CREATORS)
    world.run("2026-01-02", compare=False)
    sessions(world, "2026-01-02", [*CREATORS, *(f"new{number}" for number in range(5))])
    assert world.run("2026-01-03", compare=False).report.published.warnings == ()
    night = world.run("2026-03-30", compare=False, night={"allow_incomplete": True})
    assert not any("in the last snapshot" in warning for warning in night.report.published.warnings)
