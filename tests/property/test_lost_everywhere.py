"""What is lost is counted once, and alike wherever it is said: against a plain recount of the landed records."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from effort import effort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import World

from pipelines.core.text import print_summary

Record = dict[str, Any]
DAY = "2026-01-20"
ANYWAY = {"accept_rejects": True, "allow_incomplete": True}
AGES = [None, "2026-01-10T00:00:00Z", "2026-01-11T00:00:00Z"]


def records(**fields: Any) -> st.SearchStrategy[list[Record]]:
    """Up to a dozen records of fields that are drawn; None is an absent one."""
    one = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in fields.items()})
    present = one.map(lambda record: {name: value for name, value in record.items() if value is not None})
    return st.lists(present, max_size=12)


ENTITIES = {
    "viewing_sessions": records(
        sessionId=["s1", "s2", "s3"],
        creatorId=["ada", "bob"],
        viewerId=["ann", "ben", None],
        startedAt=[f"{DAY}T10:00:00Z", f"{DAY}T11:00:00Z"],
        endedAt=[f"{DAY}T12:00:00Z", None],
        revision=[None, None, 1],
        deleted=[None, None, None, True],
    ),
    "pledges": records(
        pledgeId=["p1", "p2", "p3"],
        userId=["ann", "ben"],
        streamId=["tl", "any", "nowhere"],
        amount=[5, 7],
        currency=["TRY", "USD", None],
        status=["pending", "failed"],
        updatedAt=AGES,
    ),
    "creators": records(_id=["ada", "bob"], username=["a", "b"], updatedAt=AGES),
    "follows": records(
        userId=["ann", "ben"],
        creatorId=["ada"],
        followedAt=AGES[1:],
        deleted=[None, None, True],
        updatedAt=AGES,
    ),
    "erasures": records(userId=["ann"]).map(lambda found: found[:1]),
    "live_streams": st.sampled_from([[], [{"id": "tl", "currency": "USD", "updatedAt": AGES[2]}]]),
}
STREAMS = [{"id": "tl", "currency": "TRY", "updatedAt": AGES[1]}, {"id": "any", "updatedAt": AGES[1]}]
Night = dict[str, list[Record]]
NIGHTS: st.SearchStrategy[list[Night]] = st.lists(st.fixed_dictionaries(ENTITIES), min_size=2, max_size=3)


# --- the plain recount ----------------------------------------------------------------------------------------------


def distinct(found: Iterable[Record]) -> list[Record]:
    return [json.loads(text) for text in sorted({json.dumps(each, sort_keys=True) for each in found})]


def contradicting(found: Iterable[Record], *names: str) -> int:
    """How many records beyond the first have the same values of some fields, and others of another."""
    groups = Counter(tuple(each.get(name) for name in names) for each in distinct(found))
    return sum(count - 1 for count in groups.values())


def lost_sessions(found: Iterable[Record]) -> int:
    """Those of another viewing than the version that counts, of its revision."""
    by_id: dict[str, list[Record]] = defaultdict(list)
    for each in distinct({"deleted": False, "revision": 0} | each for each in found):
        by_id[each["sessionId"]].append(each)
    lost = 0
    for versions in by_id.values():
        newest = [each for each in versions if each["revision"] == max(one["revision"] for one in versions)]
        names = ("endedAt", "creatorId", "startedAt", "viewerId")
        winner = max(newest, key=lambda each: [(each.get(name) is not None, each.get(name) or "") for name in names])
        viewing = ("creatorId", "startedAt", "viewerId")
        if not any(each["deleted"] for each in newest):
            lost += sum(any(each.get(name) != winner.get(name) for name in viewing) for each in newest)
    return lost


def recount(landed: Mapping[str, list[Record]]) -> dict[str, tuple[int, int]]:
    """(rejected later, conflicting), by entity, of all that landed."""
    erased = {each["userId"] for each in landed["erasures"]}
    currency = {
        each["id"]: each.get("currency") for each in sorted(landed["live_streams"], key=lambda s: s["updatedAt"])
    }
    pledges = [each for each in landed["pledges"] if each["userId"] not in erased]
    wrong = [
        each
        for each in pledges
        if currency.get(each["streamId"]) and each.get("currency") not in (None, currency[each["streamId"]])
    ]
    right = [each for each in pledges if each not in wrong]
    follows = [{"deleted": False} | each for each in landed["follows"] if each["userId"] not in erased]
    counted = {
        "creators": (0, contradicting(landed["creators"], "_id", "updatedAt")),
        "follows": (0, contradicting(follows, "userId", "creatorId", "updatedAt", "deleted")),
        "pledges": (len(wrong), contradicting(right, "pledgeId", "updatedAt", "status")),
        "viewing_sessions": (
            0,
            lost_sessions(each for each in landed["viewing_sessions"] if each.get("viewerId") not in erased),
        ),
    }
    return {entity: counts for entity, counts in counted.items() if any(counts)}


# --- where it is said -----------------------------------------------------------------------------------------------


@settings(max_examples=effort(6, 20, 200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NIGHTS)
def test_what_is_lost_is_counted_alike_everywhere(tmp_path_factory, capsys, nights):
    """In the run's JSON and its lines, the manifest, the report and the metrics, night after night."""
    world = World(tmp_path_factory.mktemp("lost"))
    landed: Night = {entity: [] for entity in ENTITIES}
    nights[0]["live_streams"] = STREAMS
    for number, night in enumerate(nights):
        for entity, found in night.items():
            common = {"creatorId": "ada", "status": "scheduled"} if entity == "live_streams" else {}
            lines = "".join(json.dumps(common | each) + "\n" for each in found)
            if found:
                world.land_text(entity, lines, f"{number}.ndjson")
            landed[entity] += found
        done = world.run(compare=False, night=ANYWAY)
        expected = [
            {"entity": entity, "rejected_later": later, "conflicting": aside}
            for entity, (later, aside) in sorted(recount(landed).items())
        ]
        said, facts = done.report.as_json(), done.report.facts
        assert said["lost"] == expected
        assert facts["lost"] == expected
        records, later = sum(map(len, distinct_files(nights[: number + 1]))), sum(e["rejected_later"] for e in expected)
        counts = {"records": records, "accepted": records - later, "rejected": later}
        assert {name: said[name] for name in counts} == counts
        assert facts["records"] == counts
        assert sum(row["records"] for row in facts["rejected"]) == later
        if said["is_new"]:
            assert [{"entity": entity} | each for entity, each in done.manifest["lost"].items()] == expected
            reasons = done.manifest["rejected_by_reason"]
            assert sum(count for by_reason in reasons.values() for count in by_reason.values()) == later
        metrics = world.settings.metrics.read_text()
        capsys.readouterr()
        print_summary(said, [])
        printed = capsys.readouterr().out
        for each in expected:
            for how in ("rejected_later", "conflicting"):
                labels = f'entity="{each["entity"]}",home="{world.settings.home}",how="{how}"'
                assert f"mostwatched_lake_lost_records{{{labels}}} {float(each[how])}" in metrics
            (line,) = [one for one in printed.splitlines() if one.startswith(f"Lost: of {each['entity']} ")]
            assert [int(word) for word in line.split() if word.isdigit()] == [n for n in list(each.values())[1:] if n]
        assert printed.count("Lost: ") == len(expected)


def distinct_files(nights: Iterable[Night]) -> list[list[Record]]:
    """The records of each landed file: of two of one entity with the same bytes one is read."""
    files = {(entity, json.dumps(found)): found for night in nights for entity, found in night.items()}
    return list(files.values())
