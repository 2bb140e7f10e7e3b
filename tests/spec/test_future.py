"""An as_of ahead of the clock is refused, and a snapshot of a mistaken day is taken back at once."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.cli import cli
from pipelines.core.errors import NoSnapshot, RefusedToPublish, UsageError
from pipelines.core.settings import Settings
from pipelines.jobs.nightly import require_started
from pipelines.jobs.status import status
from pipelines.snapshots import manifest

TODAY = date(2026, 1, 30)
ANYWAY = {"allow_incomplete": True}


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


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])  # 14 hours ahead of UTC, and 12 behind
def test_status_foretells_it(world, zone):
    """Of a day that a run would refuse, in the zone of the policy, with the option that overrides it."""
    settings = dataclasses.replace(world.settings, day_timezone=zone)
    now = datetime(2026, 1, 30, 11, tzinfo=UTC)  # the 31st in the one, the 29th in the other
    today = {"Pacific/Kiritimati": date(2026, 1, 31), "Etc/GMT+12": date(2026, 1, 29)}[zone]
    for days in (1, 2):
        said = status(settings, today + timedelta(days=days), None, now)["next_run"]
        assert said["outcome"] == ("refuses" if days == 2 else "nothing")
        assert [why for why in said["refused_because"] if f"{days} days ahead: today is {today}" in why] == (
            said["refused_because"][:1] if days == 2 else []
        )
        assert (said["command_to_override"] or "").endswith("--allow-future") == (days == 2)


@pytest.fixture
def mistaken(world: World) -> tuple[World, list[str]]:
    """Two nights, and one of five years ahead, which is current."""
    world.busy_days("2026-01-05", 26)
    ids = [world.run(day, night=ANYWAY).snapshot_id for day in ("2026-01-30", "2026-01-31")]
    return world, [*ids, world.run("2031-01-01", night=ANYWAY).snapshot_id]


def test_it_is_taken_back_in_one_command(mistaken):
    """The newest other snapshot is current, not pinned, and the next night moves on."""
    world, (_, second, mistake) = mistaken
    assert world.current() == mistake
    assert not world.run("2026-02-01", night=ANYWAY).report.published.is_current
    manifest.remove_one(world.settings.snapshots, world.run("2026-02-01", night=ANYWAY).snapshot_id)
    assert manifest.remove_one(world.settings.snapshots, mistake).id == second
    assert world.current() == second
    assert not manifest.current(world.settings.snapshots).pinned
    assert world.run("2026-02-01", night=ANYWAY).report.published.is_current


def test_every_night_says_how_until_it_is_taken_back(mistaken):
    """It is seen by whoever looks at the next night: readers are stuck, and nothing failed."""
    world, (_, _, mistake) = mistaken
    take_back = f"`mostwatched snapshots remove {mistake}`"
    assert any(take_back in said for said in world.run("2031-01-01", night=ANYWAY).report.published.warnings)
    night = world.run("2026-02-01", night=ANYWAY)
    assert [said for said in night.report.published.warnings if take_back in said and "Readers stay on" in said]
    manifest.remove_one(world.settings.snapshots, mistake)
    manifest.remove_one(world.settings.snapshots, night.snapshot_id)
    assert world.run("2026-01-20", night=ANYWAY).report.published.warnings == (), "after a night that all is there of"


def test_a_damaged_one_does_not_take_its_place(mistaken):
    """Nor is the current one removed where no other is whole."""
    world, (first, second, mistake) = mistaken
    (world.settings.snapshots / second / "creators.parquet").unlink()  # it may be the same file as in the others
    assert manifest.remove_one(world.settings.snapshots, mistake).id == first
    with pytest.raises(NoSnapshot, match=r"no other whole snapshot.*mostwatched run --as-of DATE"):
        manifest.remove_one(world.settings.snapshots, first)
    assert world.current() == first


def test_what_becomes_current_without_a_run_may_be_another_mistake(mistaken, monkeypatch, capsys):
    """A rollback that is released, and the one that is taken back, leave readers on the newest: it is named."""
    world, (first, second, mistake) = mistaken
    other = world.run("2032-01-01", night=ANYWAY).snapshot_id
    monkeypatch.setenv("MOSTWATCHED_HOME", str(world.settings.home))

    def warned(*arguments: str) -> str:
        cli.main(["snapshots", *arguments], standalone_mode=False)
        return capsys.readouterr().err

    assert f"`mostwatched snapshots remove {mistake}`" in warned("remove", other)
    assert "mistake" not in warned("rollback", first)
    assert f"`mostwatched snapshots remove {mistake}`" in warned("rollback", "--release")
    assert "mistake" not in warned("remove", mistake)
    assert world.current() == second
