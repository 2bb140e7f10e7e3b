"""What can refuse a publish, and what overrides it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from world import AS_OF

from pipelines.core.errors import RefusedToPublish
from pipelines.jobs import nightly

GOOD = '{{"sessionId":"g{n}","creatorId":"ada","viewerId":"v{n}","startedAt":"2026-01-05T10:00:00Z"}}\n'
BAD = '{"sessionId":"b","creatorId":"ada","startedAt":"yesterday"}\n'


def good(first: int, count: int) -> str:
    return "".join(GOOD.format(n=n) for n in range(first, first + count))


def test_too_many_rejected_records_refuse(world):
    """Over the limit of rejected records nothing is published; the message gives both shares and a way out."""
    world.land_text("viewing_sessions", good(1, 10))
    first = world.run(compare=False)
    world.land_text("viewing_sessions", good(11, 9) + BAD)
    with pytest.raises(RefusedToPublish, match="accept-rejects") as refusal:
        world.run(compare=False)
    assert refusal.value.exit_code == 3
    assert "were rejected: 10 %, limit 1 % (MOSTWATCHED_MAX_REJECTED_SHARE)" in str(refusal.value)
    assert world.current() == first.snapshot_id


def test_accepting_rejects_publishes(world):
    """`--accept-rejects` publishes what is good of them."""
    world.land_text("viewing_sessions", good(1, 9) + BAD)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    night = world.run(compare=False, night={"accept_rejects": True})
    assert night.viewers() == [("ada", 9)]
    assert world.current() == night.snapshot_id


def test_rejects_that_a_snapshot_rests_on_refuse_no_more(world):
    """Accepted once, the rejected records of a file do not refuse the next night."""
    world.land_text("viewing_sessions", good(1, 9) + BAD)
    world.run(compare=False, night={"accept_rejects": True})
    world.land_text("viewing_sessions", good(11, 5))
    assert world.run(compare=False).viewers() == [("ada", 14)]


def test_a_refusal_is_repeated_until_it_is_dealt_with(world):
    """A rerun of a refused night is refused again, although nothing new has landed since."""
    world.land_text("viewing_sessions", good(1, 9) + BAD)
    for _ in range(2):
        with pytest.raises(RefusedToPublish):
            world.run(compare=False)


def test_at_the_limit_is_not_over_it(world):
    """A share of exactly the limit is published."""
    world.land_text("viewing_sessions", good(1, 9) + BAD)
    assert world.run(compare=False, max_rejected_share=Decimal("0.1")).viewers() == [("ada", 9)]


def test_the_share_is_per_entity(world):
    """Many good sessions do not hide a bad file of pledges."""
    world.land_text("viewing_sessions", good(1, 200))
    world.land_text("pledges", '{"pledgeId":"p1"}\n')
    with pytest.raises(RefusedToPublish, match="pledges"):
        world.run(compare=False)


def test_a_last_day_that_is_not_all_there_refuses(world):
    """A last day of under half the median of the seven days before is probably not all there."""
    world.busy_days("2026-01-23", 7, sessions=4)
    world.busy_days("2026-01-30", 1, sessions=1)
    with pytest.raises(RefusedToPublish, match="allow-incomplete"):
        world.run()
    assert world.current() is None
    night = world.run(night={"allow_incomplete": True})
    assert night.measured("busy", window=1).sessions == 1
    assert world.current() == night.snapshot_id


def test_a_last_day_without_a_single_session_refuses(world):
    """An empty last day after seven busy ones is refused as well."""
    world.busy_days("2026-01-23", 7)
    with pytest.raises(RefusedToPublish, match="allow-incomplete"):
        world.run()


def test_half_the_median_is_enough(world):
    """Half of the median of the seven days before is complete."""
    world.busy_days("2026-01-23", 7, sessions=4)
    world.busy_days("2026-01-30", 1, sessions=2)
    world.run()


def test_without_seven_days_before_nothing_is_refused(world):
    """Where nothing had landed seven days before, nothing can be said about the last."""
    world.busy_days("2026-01-24", 6, sessions=4)
    world.run()


def test_an_outage_is_refused_for_more_than_a_night(world):
    """A day without sessions is one of the seven; once most of them are, nothing is expected of the last any more."""
    world.busy_days("2026-01-20", 7, sessions=4)
    for as_of in ("2026-01-28", "2026-01-29", "2026-01-30", "2026-01-31"):
        with pytest.raises(RefusedToPublish, match="allow-incomplete"):
            world.run(as_of)
    assert len(world.run("2026-02-01").report.published.warnings) == 1


def test_days_without_sessions_are_named(world):
    """An as_of far ahead is published, and says so; a full day says nothing."""
    world.busy_days("2026-01-23", 7)
    assert world.run("2026-01-30").report.published.warnings == ()
    (warning,) = world.run("2031-01-01").report.published.warnings
    assert "from 2026-01-30 on, up to 2031-01-01" in warning


def test_the_rest_of_the_day_completes_it(world):
    """Once the rest of the day has landed, the same night is published."""
    world.busy_days("2026-01-23", 7, sessions=4)
    world.busy_days("2026-01-30", 1, sessions=1)
    with pytest.raises(RefusedToPublish):
        world.run()
    world.busy_days("2026-01-30", 1, sessions=3, creator="rest")
    assert world.run().measured("rest", window=1).viewers == 3


def test_one_bad_file_does_not_stop_a_run(world):
    """A file that is no text at all is rejected, and the rest is published."""
    world.land_text("viewing_sessions", good(1, 3))
    (world.settings.landing / "viewing_sessions" / "broken.ndjson.gz").write_bytes(b"\x1f\x8b\x08 not gzip")
    (world.settings.landing / "viewing_sessions" / "broken.parquet").write_bytes(b"PAR1 not parquet")
    report = nightly.run(world.settings, AS_OF, accept_rejects=True)
    assert report.as_json()["accepted"] == 3
