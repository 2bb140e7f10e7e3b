"""An as_of ahead of the clock is refused, and a snapshot of a mistaken day is taken back at once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.core.errors import NoSnapshot, RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs.nightly import require_started
from pipelines.snapshots import manifest

TODAY = date(2026, 1, 30)


@given(st.integers(-400, 400))
def test_a_day_ahead_is_enough(tmp_path_factory, days):
    """Where it is tomorrow already a night may begin; what is later is a mistake."""
    settings = Settings(home=tmp_path_factory.getbasetemp())
    if days <= 1:
        require_started(settings, TODAY + timedelta(days=days), TODAY)
        return
    with pytest.raises(RefusedToPublish, match=rf"{days} days ahead.*--allow-future.*snapshots remove ID") as refusal:
        require_started(settings, TODAY + timedelta(days=days), TODAY)
    assert refusal.value.exit_code == 3


def test_an_impossible_day_is_wrong_usage(tmp_path):
    """The last day of the calendar is not refused, but asked for wrongly."""
    with pytest.raises(UsageError):
        require_started(Settings(home=tmp_path), date.max, TODAY)


@pytest.fixture
def mistaken(world: World) -> tuple[World, list[str]]:
    """Two nights, and one of five years ahead, which is current."""
    world.busy_days("2026-01-05", 26)
    ids = [world.run(day, night={"allow_incomplete": True}).snapshot_id for day in ("2026-01-30", "2026-01-31")]
    return world, [*ids, world.run("2031-01-01", night={"allow_incomplete": True}).snapshot_id]


def test_it_is_taken_back_in_one_command(mistaken):
    """The newest other snapshot is current, not pinned, and the next night moves on."""
    world, (_, second, mistake) = mistaken
    assert world.current() == mistake
    assert not world.run("2026-02-01", night={"allow_incomplete": True}).report.published.is_current
    manifest.remove_one(world.settings.snapshots, world.run("2026-02-01", night={"allow_incomplete": True}).snapshot_id)
    assert manifest.remove_one(world.settings.snapshots, mistake).id == second
    assert world.current() == second
    assert not manifest.current(world.settings.snapshots).pinned
    assert world.run("2026-02-01", night={"allow_incomplete": True}).report.published.is_current


def test_a_damaged_one_does_not_take_its_place(mistaken):
    """Nor is the current one removed where no other is whole."""
    world, (first, second, mistake) = mistaken
    (world.settings.snapshots / second / "creators.parquet").unlink()  # it may be the same file as in the others
    assert manifest.remove_one(world.settings.snapshots, mistake).id == first
    with pytest.raises(NoSnapshot, match="no other whole snapshot"):
        manifest.remove_one(world.settings.snapshots, first)
    assert world.current() == first
