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


def test_a_file_that_is_mostly_rejected_is_named(world):
    """What is read once more by a new mapping is new, too: beside it a day in local time is under the limit."""
    world.land("viewing_sessions", [session(number) for number in range(400)])
    assert warnings(world) == []
    local = [session(900 + number, startedAt="2026-01-05T10:00:00") for number in range(2)]
    world.land("viewing_sessions", [*local, session(902)], "b.ndjson")
    (world.settings.landing / "mostwatched.toml").write_text('[viewing_sessions]\nnull = ["-"]\n')
    (said,) = warnings(world)
    assert said.startswith(
        "2 of the 3 records in viewing_sessions/b.ndjson were rejected. Why: the instant has no offset"
    )
    assert said.endswith("See `mostwatched rejects`, then land them corrected.")


def test_many_such_files_are_counted(world):
    """Some are named."""
    world.land("viewing_sessions", [session(number) for number in range(1_000)])
    for number in range(7):
        world.land("viewing_sessions", [session(2000 + number, deleted="yes")], f"b{number}.ndjson")
    said = warnings(world)
    assert len(said) == 6
    assert said[-1] == "Of 2 more files most records were rejected: see `mostwatched rejects`."


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


# --- what is ignored, and holds records ------------------------------------------------------------------------------

SESSION = '{"sessionId":"g1","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}\n'
FOLLOW = '{"userId":"u1","creatorId":"ada"}\n'
ERASURE = "userId\nv1\n"
HOLDS = {  # a path that is no landed file, what is in it -> the entity whose records it probably holds
    "viewing_session/a.ndjson": (SESSION, "viewing_sessions"),
    "Viewing-Sessions/2026/a.ndjson": (SESSION, "viewing_sessions"),
    "viewing_sessions.ndjson": (SESSION, "viewing_sessions"),
    "export/viewing_sessions/a.ndjson": (SESSION, "viewing_sessions"),
    "fans/a.ndjson": (FOLLOW, "follows"),
    "2026-01-05.csv": ("sessionId,creatorId,startedAt\ns1,ada,2026-01-05T10:00:00Z\n", "viewing_sessions"),
    "Erasures/a.csv": (ERASURE, "erasures"),
    "gdpr/a.csv": (ERASURE, "erasures"),
    "erasures/a.txt": ("v1\nv2\n", "erasures"),
    "viewing_sessions/a.txt": ("sessionId\tcreatorId\tstartedAt\ns1\tada\t2026-01-05T10:00:00Z\n", "viewing_sessions"),
    "viewing_sessions/a.psv": ("id|channel|start\ns1|ada|2026-01-05T10:00:00Z\n", "viewing_sessions"),
}
HOLDS_NOTHING = {
    "notes/README.md": "What lands here.\n",
    "notes/a.json": '{"name": "ada"}\n',
    "viewing_sessions/README.txt": "What lands here, and when:\nevery day, at three.\n",
    "erasures/README.txt": "Whom to forget.\n",
    "erasures/a.csv.md5": "d41d8cd98f00b204e9800998ecf8427e  a.csv\n",
    "viewing_sessions/a.ndjson.done": "",
}


def ignored_data(world: World) -> list[str]:
    """What a night says of ignored paths; it is said in its report, too."""
    report = world.run(compare=False).report
    said = [each for each in report.as_json()["warnings"] if "probably holds records" in each]
    assert report.facts is not None
    assert set(said) <= set(report.facts["warnings"])
    return said


@pytest.mark.parametrize("name", HOLDS)
def test_records_where_nothing_is_read_are_warned_of(world, name):
    """Night by night, until they are moved: beside files that are read nothing else would miss them."""
    text, entity = HOLDS[name]
    path = world.settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    world.land_text("viewing_sessions", SESSION.replace("g1", "other"))
    for _ in range(2):
        (said,) = ignored_data(world)
        assert str(world.settings.landing / name.partition("/")[0]) in said
        assert f"probably holds records of {entity}: land them in the folder {entity}" in said
    path.unlink()
    assert ignored_data(world) == []


@pytest.mark.parametrize("name", ["erasures", "viewing_sessions/linked", "viewing_sessions/b.ndjson"])
def test_links_are_warned_of(world, name):
    """They are not followed, and what they lead to is not read."""
    world.land_text("viewing_sessions", SESSION)
    (world.settings.landing / name).symlink_to(world.settings.landing / "viewing_sessions")
    (said,) = ignored_data(world)
    assert "links are not followed, land the f" in said


def test_notes_beside_records_are_not_warned_of(world):
    """They lie there for good."""
    for name, text in HOLDS_NOTHING.items():
        path = world.settings.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    world.land_text("viewing_sessions", SESSION)
    assert ignored_data(world) == []
