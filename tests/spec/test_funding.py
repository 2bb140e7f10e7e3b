"""How far a crowd-funded stream has come, and who has funded it."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest
from calling import Client, StoppedClock
from oracle import Funding
from world import World

from pipelines.api.app import create_app
from pipelines.jobs.rejects import all_rejected
from pipelines.snapshots.audit import audit

CASES = Path(__file__).parent.parent / "cases"

# what a pledge says beside its user, stream and amount -> what of its 100 is collected as of 2026-01-31
RULES = {
    "captured | 2026-01-10 10:00 | | ": 100,
    "pending | | | ": 0,
    "pending | 2026-01-10 10:00 | | ": 0,
    "failed | | | ": 0,
    "failed | 2026-01-10 10:00 | | ": 0,
    "captured | 2026-01-30 23:59:59.999 | | ": 100,
    "captured | 2026-01-31 00:00 | | ": 0,
    "refunded | 2026-01-10 10:00 | 2026-01-12 10:00 | ": 0,
    "refunded | 2026-01-10 10:00 | 2026-01-12 10:00 | 100": 0,
    "refunded | 2026-01-10 10:00 | 2026-01-12 10:00 | 30.25": Decimal("69.75"),
    "refunded | 2026-01-10 10:00 | 2026-01-30 23:59:59.999 | 30": 70,
    "refunded | 2026-01-10 10:00 | 2026-01-31 00:00 | 30": 100,
    "refunded | 2026-01-10 10:00 | 2026-02-12 10:00 | ": 100,
    "refunded | 2026-01-10 10:00 | | ": 0,
    "refunded | 2026-01-10 10:00 | | 30": 70,
    "refunded | 2026-02-10 10:00 | 2026-02-12 10:00 | 30": 0,
    "refunded | | | 30": 0,
    "refunded | | 2026-01-12 10:00 | ": 0,
    "captured | 2026-01-10 10:00 | 2026-01-12 10:00 | 30": 70,
    "captured | 2026-01-10 10:00 | 2026-02-12 10:00 | 30": 100,
    "captured | 2026-01-10 10:00 | | 0": 100,
    "captured | 2026-01-10 10:00 | | 100": 0,
}


@pytest.fixture(scope="module")
def by_the_rules(tmp_path_factory):
    """One stream for each rule, with one pledge of 100, all in one night."""
    world = World(tmp_path_factory.mktemp("rules"))
    world.land(
        "live_streams",
        "stream|funding_goal|currency\n" + "".join(f"s{n}|100|TRY\n" for n in range(len(RULES))),
    )
    head = "user|stream|amount|currency|status|captured_at|refunded_at|refunded_amount\n"
    world.land("pledges", head + "\n".join(f"ann|s{n}|100|TRY|{rule}" for n, rule in enumerate(RULES)))
    return world.run()


@pytest.mark.parametrize("rule", RULES)
def test_what_of_a_pledge_is_collected(by_the_rules, rule):
    """Collected is what was captured less what was refunded, each by its own instant before as_of."""
    stream_id = f"s{list(RULES).index(rule)}"
    assert by_the_rules.stream(stream_id).collected_funding == RULES[rule]


@pytest.mark.parametrize("rule", RULES)
def test_who_has_funded_a_stream(by_the_rules, rule):
    """A user has funded a stream when a captured pledge of theirs is not refunded in full."""
    stream_id = f"s{list(RULES).index(rule)}"
    has_funded = RULES[rule] > 0
    assert (("ann", stream_id) in by_the_rules.funded()) == has_funded
    assert by_the_rules.stream(stream_id).backers == has_funded


def test_every_stream_has_a_row(world):
    """A stream without pledges has 0 collected, and without a goal no percentage."""
    world.land(
        "live_streams",
        """
        stream | creator | funding_goal | currency
        s1     | ada     | 100          | TRY
        s2     | ada     | 0            | TRY
        s3     | bob     |              |
    """,
    )
    zero = Decimal(0)
    assert world.run().funding() == [
        Funding("s1", "ada", Decimal(100), zero, "TRY", 0, 0),
        Funding("s2", "ada", Decimal(0), zero, "TRY", None, 0),
        Funding("s3", "bob", None, zero, None, None, 0),
    ]


@pytest.mark.parametrize(
    ("goal", "amounts", "percentage"),
    [
        ("1000", ["500"], 50),
        ("3", ["1"], 33),
        ("3", ["2"], 66),
        ("100", ["99.99"], 99),
        ("100", ["99.99", "0.01"], 100),
        ("100", ["250"], 250),
        ("0.3", ["0.1", "0.1", "0.1"], 100),
        ("0.7", ["0.1", "0.2", "0.39"], 98),
        ("0.01", ["999999999999"], 9999999999990000),
        ("999999999999", ["999999999998.99"], 99),
    ],
)
def test_the_percentage_is_exact_rounded_down_and_not_capped(tmp_path, goal, amounts, percentage):
    """`floor(collected * 100 / goal)` in exact decimals."""
    world = World(tmp_path)
    world.land("live_streams", f"stream | funding_goal\ns1 | {goal}")
    world.land(
        "pledges",
        "user | stream | amount | status | captured_at\n"
        + "\n".join(
            f"u{number} | s1 | {amount} | captured | 2026-01-10 10:00" for number, amount in enumerate(amounts)
        ),
    )
    assert world.run().stream("s1").funding_percentage == percentage


def test_a_pledge_of_nothing_backs_unless_it_is_refunded(world):
    """Captured, and not refunded in full: so say the table, the private one and the audit, which counts it again."""
    world.land("live_streams", "stream | funding_goal\ns1 | 100\ns2 | 100")
    world.land(
        "pledges",
        """
        user | stream | amount | status   | captured_at      | refunded_at
        ann  | s1     | 0      | captured | 2026-01-10 10:00 |
        ben  | s1     | 0      | refunded | 2026-01-10 10:00 | 2026-01-12 10:00
        cat  | s2     | 0.00   | refunded | 2026-01-10 10:00 | 2026-02-12 10:00
    """,
    )
    night = world.run()
    assert [night.stream(name).backers for name in ("s1", "s2")] == [1, 1]
    assert night.funded() == [("ann", "s1"), ("cat", "s2")]
    assert audit(night.settings, night.snapshot, 1).differing == 0


def test_backers_are_distinct_users(world):
    """A user with several pledges is one backer, for as long as one of them is not refunded in full."""
    world.land("live_streams", "stream | funding_goal\ns1 | 100")
    world.land(
        "pledges",
        """
        user | stream | amount | status   | captured_at      | refunded_at
        ann  | s1     | 10     | captured | 2026-01-10 10:00 |
        ann  | s1     | 20     | captured | 2026-01-11 10:00 |
        ann  | s1     | 30     | refunded | 2026-01-11 10:00 | 2026-01-12 10:00
        ben  | s1     | 40     | refunded | 2026-01-11 10:00 | 2026-01-12 10:00
        cat  | s1     | 50     | pending  |                  |
        dan  | s1     | 60     | captured | 2026-01-12 10:00 |
    """,
    )
    night = world.run()
    assert night.stream("s1") == Funding("s1", "ada", Decimal(100), Decimal(90), None, 90, 2)
    assert night.funded() == [("ann", "s1"), ("dan", "s1")]


def test_another_currency_is_left_out(world):
    """A pledge in a currency other than the stream's does not count; where either is unknown, it does."""
    world.land(
        "live_streams",
        """
        stream | funding_goal | currency
        s1     | 100          | TRY
        s2     | 100          |
    """,
    )
    world.land(
        "pledges",
        """
        user | stream | amount | currency | status   | captured_at
        ann  | s1     | 10     | TRY      | captured | 2026-01-10 10:00
        ben  | s1     | 20     | EUR      | captured | 2026-01-10 10:00
        cat  | s1     | 40     |          | captured | 2026-01-10 10:00
        dan  | s2     | 80     | EUR      | captured | 2026-01-10 10:00
    """,
    )
    night = world.run()
    assert [(row.collected_funding, row.backers) for row in night.funding()] == [(50, 2), (80, 1)]
    assert night.funded() == [("ann", "s1"), ("cat", "s1"), ("dan", "s2")]


def test_currencies_are_not_added_up(world):
    """tests/cases/currencies_added_up: 100 TRY, 100 USD and 100 EUR for a stream without a currency are no sum."""
    for path in sorted((CASES / "currencies_added_up" / "landing").glob("*/*.ndjson")):
        world.land(path.parent.name, [json.loads(line) for line in path.read_text().splitlines()])
    night = world.run("2026-03-10", night={"allow_incomplete": True})
    assert night.stream("st1") == Funding("st1", "c1", Decimal(1000), None, None, None, 3)
    (warning,) = night.report.published.warnings
    assert "the pledges of a stream without a currency are in one, or nothing is added up" in warning
    assert "stream_id st1, collected_funding None, backers 3" in warning
    assert night.funded() == [("u0", "st1"), ("u1", "st1"), ("u2", "st1")]
    (row,) = night.warehouse("select collected_funding, funding_percentage, backers from live_stream_funding")
    assert row == (None, None, 3)
    assert audit(night.settings, night.snapshot, 1).differing == 0
    client = Client(create_app(night.settings, StoppedClock().clock))
    reach = client.get("/api/v1/creators/reach?creatorId=c1&days=30").json()["data"]
    (stream,) = [one for one in reach["scheduledStreams"] if one["id"] == "st1"]
    assert (stream["collectedFunding"], stream["fundingPercentage"], stream["backers"]) == (None, None, 3)
    page = client.get("/creator?id=c1").text
    assert "Pledges are in several currencies, which are not added up" in page
    assert "Too few backers" not in page
    assert "3 backers" in page


def test_only_money_that_is_held_disagrees(world):
    """What was refunded in full, is pending, or names no currency adds nothing that could be wrong."""
    world.land("live_streams", "stream | funding_goal\nrefunded | 100\npending | 100\nunnamed | 100\npartly | 100")
    world.land(
        "pledges",
        """
        user | stream   | amount | currency | status   | captured_at      | refunded_at      | refunded_amount
        ann  | refunded | 30     | TRY      | captured | 2026-01-10 10:00 |                  |
        ben  | refunded | 20     | USD      | refunded | 2026-01-10 10:00 | 2026-01-11 10:00 |
        ann  | pending  | 30     | TRY      | captured | 2026-01-10 10:00 |                  |
        ben  | pending  | 20     | USD      | pending  |                  |                  |
        ann  | unnamed  | 30     | TRY      | captured | 2026-01-10 10:00 |                  |
        ben  | unnamed  | 20     |          | captured | 2026-01-10 10:00 |                  |
        ann  | partly   | 30     | TRY      | captured | 2026-01-10 10:00 |                  |
        ben  | partly   | 20     | USD      | captured | 2026-01-10 10:00 | 2026-01-11 10:00 | 19
    """,
    )
    night = world.run()
    assert {row.stream_id: row.collected_funding for row in night.funding()} == {
        "refunded": 30,
        "pending": 30,
        "unnamed": 50,
        "partly": None,
    }
    assert len(night.report.published.warnings) == 1
    early = world.run("2026-01-11", night={"allow_incomplete": True})  # before anything was refunded
    assert early.stream("refunded").collected_funding is None


def test_a_record_in_another_currency_is_no_version(world):
    """It is rejected, so that the newest one in the stream's currency counts, whichever landed first."""
    world.land("live_streams", "stream | funding_goal | currency\ns1 | 100 | TRY\ns2 | 100 | EUR")
    world.land(
        "pledges",
        """
        pledge | user | stream | amount | currency | status   | captured_at      | updated_at
        p      | ann  | s1     | 10     | TRY      | captured | 2026-01-10 10:00 | 2026-01-10 10:00
        p      | ann  | s1     | 20     | USD      | captured | 2026-01-10 10:00 | 2026-01-12 10:00
        q      | ben  | s1     | 7      | USD      | captured | 2026-01-10 10:00 | 2026-01-10 10:00
        q      | ben  | s1     | 8      | TRY      | captured | 2026-01-10 10:00 | 2026-01-12 10:00
        r      | cat  | s1     | 9      | EUR      | captured | 2026-01-10 10:00 | 2026-01-10 10:00
        r      | cat  | s2     | 9      | EUR      | captured | 2026-01-10 10:00 | 2026-01-12 10:00
    """,
    )
    night = world.run()
    assert [(row.collected_funding, row.backers) for row in night.funding()] == [(18, 2), (9, 1)]
    found = [(each.line, each.field) for each in all_rejected(world.settings)]
    assert found == [(2, "currency"), (3, "currency"), (5, "currency")]


def test_only_the_newest_version_of_a_pledge_counts(world):
    """A pledge's newest version counts, once, even when that version was written after as_of."""
    world.land("live_streams", "stream | funding_goal\ns1 | 100\ns2 | 100")
    world.land(
        "pledges",
        """
        pledge | user | stream | amount | status   | captured_at      | refunded_at      | updated_at
        p1     | ann  | s1     | 10     | pending  |                  |                  | 2026-01-09 10:00
        p1     | ann  | s1     | 10     | captured | 2026-01-10 10:00 |                  | 2026-01-10 10:00
        p1     | ann  | s1     | 10     | refunded | 2026-01-10 10:00 | 2026-02-10 10:00 | 2026-02-10 10:00
        p2     | ben  | s1     | 20     | captured | 2026-01-10 10:00 |                  | 2026-01-10 10:00
        p2     | ben  | s2     | 30     | captured | 2026-01-10 10:00 |                  | 2026-01-11 10:00
        p3     | cat  | s2     | 40     | captured | 2026-01-10 10:00 |                  |
        p3     | cat  | s2     | 50     | pending  |                  |                  | 2026-01-01 10:00
    """,
    )
    january, february = world.run("2026-01-31"), world.run("2026-02-28")
    assert [row.collected_funding for row in january.funding()] == [10, 30]
    assert [row.collected_funding for row in february.funding()] == [0, 30]


def test_a_stream_is_what_it_was_known_to_be(world):
    """Versions of a stream from as_of on are not known yet; its goal is the newest known one."""
    world.land(
        "live_streams",
        """
        stream | funding_goal | updated_at
        s1     | 100          | 2026-01-09 10:00
        s1     | 200          | 2026-01-20 10:00
        s1     | 400          | 2026-01-31 00:00
        s2     | 100          | 2026-02-01 00:00
    """,
    )
    world.land(
        "pledges",
        """
        user | stream | amount | status   | captured_at
        ann  | s1     | 50     | captured | 2026-01-05 10:00
    """,
    )
    nights = [world.run(as_of).funding() for as_of in ("2026-01-15", "2026-01-31", "2026-02-01", "2026-02-02")]
    percentages = [[(row.stream_id, row.funding_percentage) for row in funding] for funding in nights]
    assert percentages == [[("s1", 50)], [("s1", 25)], [("s1", 12)], [("s1", 12), ("s2", 0)]]


def test_pledges_to_an_unknown_stream_have_no_row(world):
    """A pledge to a stream that never landed is in no row of the funding, and nobody has funded that."""
    world.land("live_streams", "stream | funding_goal\ns1 | 100")
    world.land(
        "pledges",
        """
        user | stream | amount | status   | captured_at
        ann  | s9     | 50     | captured | 2026-01-05 10:00
    """,
    )
    night = world.run()
    assert [(row.stream_id, row.collected_funding) for row in night.funding()] == [("s1", 0)]
    assert night.funded() == []


def test_money_for_an_unknown_stream_is_said(world):
    """Until the stream lands: the next night is quiet, as it is of what was given back or never captured."""
    world.land("live_streams", "stream | funding_goal\ns1 | 100")
    world.land(
        "pledges",
        """
        pledge | user | stream | amount | status   | captured_at      | refunded_at
        p1     | ann  | s1     | 50     | captured | 2026-01-05 10:00 |
        p2     | ann  | S1     | 50     | captured | 2026-01-05 10:00 |
        p3     | bob  | S1     | 50     | captured | 2026-01-05 10:00 |
        p4     | bob  | s7     | 50     | pending  |                  |
        p5     | bob  | s8     | 50     | refunded | 2026-01-05 10:00 | 2026-01-06 10:00
    """,
    )
    (warning,) = world.run().report.published.warnings
    assert "what was collected is for streams that are known" in warning
    assert "1 row, such as stream_id S1, backers 2" in warning
    world.land("live_streams", "stream | funding_goal\nS1 | 100", "later.ndjson")
    assert world.run().report.published.warnings == ()


def test_five_hundred_published_percentages(world, test_data):
    """The percentages of 500 real campaigns come out as their site published them."""
    with (test_data / "funding" / "fongogo_published_percentages.csv").open(newline="") as file:
        campaigns = list(csv.DictReader(file))
    numbers = range(len(campaigns))
    world.land(
        "live_streams",
        [
            {
                "id": f"s{n:03}",
                "creatorId": "ada",
                "status": "scheduled",
                "fundingGoal": float(campaigns[n]["goal"]),
            }
            for n in numbers
        ],
    )
    captured = {"status": "captured", "capturedAt": "2026-01-05T10:00:00Z"}
    world.land(
        "pledges",
        [
            {
                "pledgeId": f"p{n}",
                "userId": "ann",
                "streamId": f"s{n:03}",
                "amount": float(campaigns[n]["collected"]),
            }
            | captured
            for n in numbers
        ],
    )
    published = [int(campaign["published_percentage"]) for campaign in campaigns]
    assert len(published) == 500
    assert [row.funding_percentage for row in world.run().funding()] == published


def test_a_status_that_is_spelled_otherwise_is_said(world):
    """It is taken as it is, and no user has funded a scheduled stream by it."""
    at = {"creatorId": "ada", "fundingGoal": "100", "currency": "USD"}
    world.land("live_streams", [at | {"id": "s1", "status": "Scheduled"}, at | {"id": "s2", "status": "paused"}])
    (warning,) = world.run(compare=False).report.as_json()["warnings"][:1]
    assert "a stream's status is spelled as the contract spells it" in warning
    assert "stream_id s1, status Scheduled" in warning
