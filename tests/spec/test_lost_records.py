"""Records that are put aside as conflicting versions, or rejected after they were read, count as lost everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.core.errors import RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.jobs.rejects import all_rejected
from pipelines.jobs.report.document import conflicting
from pipelines.raw.raw_file import RawFile
from pipelines.snapshots import manifest
from pipelines.snapshots.gates import Lost, too_many_lost

CASES = Path(__file__).parent.parent / "cases"
INCOMPLETE = {"allow_incomplete": True}
ANYWAY = {"allow_incomplete": True, "accept_rejects": True}


def land_case(world: World, name: str) -> None:
    for path in sorted((CASES / name / "landing").glob("*/*.ndjson")):
        world.land(path.parent.name, [json.loads(line) for line in path.read_text().splitlines()], path.name)


# --- conflicting versions


def test_one_id_for_all_refuses(world):
    """tests/cases/session_id_undefined: 49 of 53 records have the id and version of another."""
    land_case(world, "session_id_undefined")
    with pytest.raises(
        RefusedToPublish, match=r"49 of 53 newly landed records of viewing_sessions were put aside.*a\.ndjson"
    ):
        world.run("2026-03-10", night=INCOMPLETE | {"accept_rejects": False})
    assert world.run("2026-03-10", night=ANYWAY).viewers() == [("c2", 3), ("c1", 1)]


def session(number: int, **fields: object) -> dict[str, object]:
    start = f"2026-01-05T{number % 24:02}:{number // 24:02}:00Z"
    return {"sessionId": f"s{number}", "creatorId": "ada", "viewerId": f"v{number}", "startedAt": start} | fields


NOT_LOST = {
    "closed later": {"endedAt": "2026-01-06T10:00:00Z"},
    "retracted, by a record that says little": {"deleted": True, "viewerId": None},
    "corrected by a higher revision": {"viewerId": "somebody else", "revision": 1},
}
IS_LOST = {
    "another viewer": {"viewerId": "somebody else"},
    "no viewer any more": {"viewerId": None},
    "another creator": {"creatorId": "bob"},
    "another start": {"startedAt": "2026-01-07T10:00:00Z"},
    "another device": {"deviceId": "d"},
}


@pytest.mark.parametrize("how", [*NOT_LOST, *IS_LOST])
def test_only_another_viewing_is_lost(world, how):
    """A session that lands again closed, retracted or corrected is lost to nobody."""
    world.land("viewing_sessions", [session(number) for number in range(20)])
    world.run(compare=False)
    world.land("viewing_sessions", [session(number, **(NOT_LOST | IS_LOST)[how]) for number in range(5)])
    if how in NOT_LOST:
        assert world.run(night={"accept_rejects": False}).manifest["lost"] == {}
        return
    with pytest.raises(RefusedToPublish, match="5 of 5 newly landed records of viewing_sessions were put aside"):
        world.run(night={"accept_rejects": False})
    night = world.run()
    assert night.report.as_json()["lost"] == [{"entity": "viewing_sessions", "rejected_later": 0, "conflicting": 5}]
    assert night.report.facts["lost"] == night.report.as_json()["lost"]
    assert "5 records of viewing_sessions put aside" in next(conflicting(night.report.facts["lost"]))
    labels = f'entity="viewing_sessions",home="{world.settings.home}",how="conflicting"'
    assert f"mostwatched_lake_lost_records{{{labels}}} 5.0" in world.settings.metrics.read_text()
    world.land("viewing_sessions", [session(100)])
    world.run(night={"accept_rejects": False})  # what was published all the same refuses no later night


def test_a_later_revision_settles_it(world):
    """Of two that contradict each other nothing is lost once a third, of a higher revision, says what is right."""
    world.land("viewing_sessions", [session(1), session(1, viewerId="w"), session(1, viewerId="w", revision=1)])
    assert world.run(night={"accept_rejects": False}).manifest["lost"] == {}


def test_profiles_of_one_age_refuse_too(world):
    """Every entity is judged: of two versions without updatedAt the older may be the one that counts."""
    world.land("viewing_sessions", [session(1)])
    world.land("creators", [{"_id": "ada", "username": name} for name in ("ada", "lovelace")])
    said = (
        "1 of 2 newly landed records of creators were put aside, since another record with other content has the same "
        "_id and the same updatedAt, or none: .* Have updatedAt exported, which says which of them is the newest, or "
    )
    with pytest.raises(RefusedToPublish, match=said):
        world.run(night={"accept_rejects": False})


@pytest.mark.parametrize(
    ("entity", "said"),
    {
        "viewing_sessions": "same sessionId, source and the same revision: .*with a higher revision where",
        "lls_streams": "same id and the same updated, or none: .*Have updated exported",
        "replay_rentals": "same userId, streamId, rentedAt and the same updatedAt, or none: .*Have updatedAt exported",
    }.items(),
)
def test_the_message_names_the_fields_of_the_contract(entity, said):
    """Which make two records versions of one thing, and which would say which of them is the newest."""
    (refusal,) = too_many_lost(Settings(home=Path("home")), [], set(), {entity: Lost(conflicting=1)})
    assert re.search(said, refusal)


# --- rejected after they were read


def test_a_currency_that_changes_refuses(world):
    """tests/cases/stream_currency_typo: 50 pledges that had landed before are rejected from then on."""
    land_case(world, "stream_currency_typo")
    before = world.run("2026-01-19", night=INCOMPLETE)
    assert before.stream("l1").funding_percentage == 100
    assert before.manifest["rejected_by_reason"] == {}
    with pytest.raises(RefusedToPublish, match="50 records of pledges were rejected later, as not of the currency"):
        world.run("2026-01-20", night=INCOMPLETE | {"accept_rejects": False})
    assert world.current() == before.snapshot_id
    assert len(list(all_rejected(world.settings))) == 50, "`mostwatched rejects`, as the refusal says"
    night = world.run("2026-01-20", night=ANYWAY)
    reason = "not the currency of the stream"
    assert night.manifest["rejected_by_reason"] == {"pledges": {reason: 50}}
    report = night.report.as_json()
    assert (report["records"], report["accepted"], report["rejected"]) == (53, 3, 50)
    facts = night.report.facts
    assert facts["records"] == {"records": 53, "accepted": 3, "rejected": 50}
    (row,) = facts["rejected"]
    assert (row["entity"], row["reason"], row["records"]) == ("pledges", reason, 50)
    assert world.run("2026-01-20", night=INCOMPLETE | {"accept_rejects": False}).snapshot_id == night.snapshot_id


def test_pledges_that_land_after_their_stream_count_too(world):
    """They are judged beside those that are rejected at once."""
    world.land("viewing_sessions", [session(1)])
    world.land("live_streams", "stream | currency\ns1 | TRY")
    world.land_text("pledges", '{"pledgeId":"bad"}\n')
    world.land(
        "pledges",
        "user | stream | amount | currency | status\n"
        "ann | s1 | 5 | USD | pending\n" + "ann | s1 | 5 | TRY | pending\n" * 8,
    )
    said = r"2 of 10 newly landed records of pledges were lost \(1 rejected, 1 rejected later.*20 %, limit 1 %"
    with pytest.raises(RefusedToPublish, match=said):
        world.run(night={"accept_rejects": False})


def test_a_roll_back_takes_what_was_accepted_with_it(world):
    """Readers are on the snapshot before: what it rests on was accepted, and no more."""
    world.land("viewing_sessions", [session(number) for number in range(20)])
    world.run(compare=False)
    world.land("viewing_sessions", [session(1, viewerId="w"), session(30)])
    world.run()
    manifest.roll_back(world.settings.snapshots, None)
    assert manifest.current(world.settings.snapshots).lost == {}
    manifest.release(world.settings.snapshots)
    assert manifest.current(world.settings.snapshots).lost == {
        "viewing_sessions": {"rejected_later": 0, "conflicting": 1}
    }


@given(st.integers(1, 1000), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_share_is_of_all_that_is_lost(records, rejected, later, aside):
    """At the limit it is published, over it refused, whichever way records are lost."""
    rejected = min(rejected, records)
    file = RawFile("", "k", "pledges", "a.ndjson", "", 0, 1, records, records - rejected, rejected, 0, {}, {}, {}, None)
    settings = Settings(home=Path("home"))
    newly_lost = {"pledges": Lost(later, aside + 7).since(Lost(0, 7))}
    found = list(too_many_lost(settings, [file], set(), newly_lost))
    assert bool(found) == (rejected + later + aside > settings.max_rejected_share * max(records, later + aside))
