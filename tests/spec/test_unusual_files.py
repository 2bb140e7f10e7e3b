"""What refuses nothing, since it may be meant, and is said of the files that newly landed."""

from __future__ import annotations

import pytest
from world import World

from pipelines.core.errors import RefusedToPublish

AS_OF = "2026-01-06"


def session(number: int, **fields: object) -> dict[str, object]:
    start = f"2026-01-05T{number % 24:02}:{number // 24:02}:00Z"
    return {"sessionId": f"s{number}", "creatorId": "ada", "viewerId": f"v{number}", "startedAt": start} | fields


def warnings(world: World) -> list[str]:
    warnings: list[str] = world.run(AS_OF, compare=False).report.as_json()["warnings"]
    return warnings


def test_a_file_of_which_nothing_was_accepted_is_named(world):
    """With the reason, once: it is lost whole, however small the share of the night that it is."""
    world.land("viewing_sessions", [session(number) for number in range(400)])
    world.land(
        "viewing_sessions", [session(900, startedAt="05.01.2026"), session(901, startedAt="05.01.2026")], "b.ndjson"
    )
    world.land("viewing_sessions", [session(902), session(903, startedAt="05.01.2026")], "c.ndjson")
    (said,) = warnings(world)
    assert said.startswith(
        "None of the 2 records in viewing_sessions/b.ndjson was accepted. Why: not an RFC 3339 instant"
    )
    world.land("viewing_sessions", [session(904)], "d.ndjson")
    assert warnings(world) == []


def test_many_such_files_are_counted(world):
    """Some are named."""
    world.land("viewing_sessions", [session(number) for number in range(1_000)])
    for number in range(7):
        world.land("viewing_sessions", [session(2000 + number, deleted="yes")], f"b{number}.ndjson")
    said = warnings(world)
    assert len(said) == 6
    assert said[-1] == "Of 2 more files no record was accepted: see `mostwatched rejects`."


@pytest.mark.parametrize(
    "start",
    [
        "1970-01-01T00:00:00Z",
        "0001-01-02T00:00:00Z",
        "2206-01-05T10:00:00Z",
        "2569-01-05T10:00:00Z",
        "2024-12-31T10:00:00Z",
    ],
)
def test_a_day_far_from_all_others_is_said(world, start):
    """As an instant that was never set has it, or a year that was mistyped."""
    world.land("viewing_sessions", [session(number) for number in range(50)])
    world.land("viewing_sessions", [session(900, startedAt=start), session(901)], "b.ndjson")
    (said,) = warnings(world)
    assert said == (
        f"1 newly landed session starts more than a year from all others, on {start[:10]}, in "
        "viewing_sessions/b.ndjson: see how their startedAt was written."
    )
    world.land("viewing_sessions", [session(902)], "c.ndjson")
    assert warnings(world) == []


def test_a_history_without_a_year_between_is_said_nothing_of(world):
    """Neither of old sessions, nor of those after as_of, nor of the first ones of all."""
    days = ["2024-12-20", "2025-06-01", "2025-12-31", "2026-05-05", "2027-05-06"]
    world.land("viewing_sessions", [session(number, startedAt=f"{day}T10:00:00Z") for number, day in enumerate(days)])
    world.land("viewing_sessions", [session(900)], "b.ndjson")
    assert not [each for each in warnings(world) if "more than a year" in each]


def test_a_refusal_says_what_the_records_were_rejected_for(world):
    """The commonest reasons, with how many records each has."""
    bad = [{"startedAt": "05.01.2026"}, {"startedAt": "x"}, {"deleted": "yes"}, {"revision": -1}, {"viewerId": ""}]
    world.land("viewing_sessions", [session(number, **each) for number, each in enumerate(bad)])
    with pytest.raises(
        RefusedToPublish, match=r"Why: not an RFC 3339 instant such as \S+ \(2\); .* \(1\); 2 more reasons\."
    ):
        world.run(AS_OF, compare=False)


@pytest.mark.parametrize("landed", [0, 300])
def test_an_erasure_that_is_rejected_refuses(world, landed):
    """Whatever share of them it is: somebody would go on being counted who is to be forgotten."""
    world.land("viewing_sessions", [session(number) for number in range(50)])
    world.land("erasures", [*({"userId": f"u{number}"} for number in range(landed)), {"userId": 0.5}])
    with pytest.raises(
        RefusedToPublish, match=r"records of erasures were rejected: \S+ %, and no erasure may be, in erasures/"
    ):
        world.run(AS_OF, compare=False)
    assert world.run(AS_OF, compare=False, night={"accept_rejects": True}).viewers() == [("ada", 50)]
