"""Every rejected record is kept and listed, whenever it was found out."""

from __future__ import annotations

import pytest
from world import World

from pipelines.errors import Damaged
from pipelines.rejects import all_rejected

STREAM = "stream | currency\ns1 | TRY"
PLEDGES = """
    pledge | user | stream | amount | currency | status   | captured_at
    p1     | ann  | s1     | 5      | TRY      | captured | 2026-01-05 10:00
    p2     | ann  | s1     | 7.50   | USD      | captured | 2026-01-05 10:00
    p3     | ann  | s1     | 5      |          | captured | 2026-01-05 10:00
    p4     | ann  | other  | 5      | USD      | captured | 2026-01-05 10:00
"""


@pytest.fixture
def wrong(world: World) -> World:
    """One record that cannot be parsed, and one pledge in another currency than its stream."""
    world.from_nothing = True  # so that each model has one file
    world.land_text("viewing_sessions", '\n{"sessionId":"s","creatorId":"ada","startedAt":"yesterday"}\n', "bad.ndjson")
    world.land("live_streams", STREAM)
    world.land("pledges", PLEDGES, "pledges.ndjson")
    return world


def test_nothing_rejected_is_an_empty_list(world):
    """In an empty home, and in one where all is well."""
    assert list(all_rejected(world.settings)) == []
    world.land("live_streams", STREAM)
    world.run()
    assert list(all_rejected(world.settings)) == []


def test_rejected_records_say_where_and_why(wrong):
    """File, line, field, reason and the text as it stands there."""
    wrong.run(night={"accept_rejects": True}, compare=False)
    found = list(all_rejected(wrong.settings))
    assert [(each.entity, each.file, each.line, each.field) for each in found] == [
        ("viewing_sessions", "viewing_sessions/bad.ndjson", 2, "startedAt"),
        ("pledges", "pledges/pledges.ndjson", 2, "currency"),
    ]
    assert '"yesterday"' in found[0].text
    assert found[1].reason == "not the currency of the stream"
    assert '"pledge_id": "p2"' in found[1].text
    assert '"7.50"' in found[1].text


def test_a_currency_is_judged_once_something_was_published(wrong):
    """Before the first snapshot it is not known which streams there are."""
    from pipelines.ingest import ingest

    ingest(wrong.settings)
    assert [each.entity for each in all_rejected(wrong.settings)] == ["viewing_sessions"]


def test_looking_changes_nothing(wrong):
    """Listing rejected records builds no file and needs no lock."""
    wrong.run(night={"accept_rejects": True}, compare=False)
    before = {path: path.stat().st_mtime_ns for path in wrong.settings.home.rglob("*")}
    list(all_rejected(wrong.settings))
    assert {path: path.stat().st_mtime_ns for path in wrong.settings.home.rglob("*")} == before


@pytest.mark.parametrize("model", ["pledges", "live_streams"])
@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_the_list_does_not_rest_on_derived_files(wrong, model, suffix):
    """Where one of them is damaged or missing, the list is not silently shorter."""
    wrong.run(night={"accept_rejects": True}, compare=False)
    right = list(all_rejected(wrong.settings))
    (path,) = (wrong.settings.lake / model).glob(f"*.{suffix}")
    path.write_bytes(b"PAR1")
    assert list(all_rejected(wrong.settings)) == right
    path.unlink()
    assert list(all_rejected(wrong.settings)) == right


@pytest.mark.parametrize("name", ["all", "rejects"])
@pytest.mark.parametrize("entity", ["pledges", "viewing_sessions"])
def test_a_damaged_raw_file_is_an_error_with_a_way_out(wrong, entity, name):
    """The next run mends what the list rests on, though it reads it for nothing else."""
    wrong.land_text("pledges", "{}\n", "bad.ndjson")
    night = wrong.run(night={"accept_rejects": True}, compare=False)
    right = list(all_rejected(wrong.settings))
    for path in wrong.settings.lake.glob(f"raw/{entity}/*/{name}.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(Damaged, match="again"):
            list(all_rejected(wrong.settings))
        assert wrong.run(night={"accept_rejects": True}, compare=False).snapshot_id == night.snapshot_id
        assert list(all_rejected(wrong.settings)) == right
