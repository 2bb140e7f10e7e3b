"""Nothing is read as nothing: a landed file with bytes in it yields records, or it is unreadable and refuses."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import World

from pipelines.core.errors import RefusedToPublish
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.jobs.nightly import NightReport

CASES = Path(__file__).parent.parent / "cases"
GOOD = '{"sessionId":"g1","creatorId":"ada","viewerId":"v1","startedAt":"2026-01-05T10:00:00Z"}\n'


def run_case(tmp_path: Path, name: str, *, accept_rejects: bool = False, as_of: str = "2026-03-10") -> NightReport:
    """The night over a case's landing folder; its home is `tmp_path`/home."""
    settings = Settings(home=tmp_path / "home", windows=(1, 7, 30), max_window_days=30)
    roots = [CASES / name / "landing"]
    return nightly.run(settings, date.fromisoformat(as_of), roots, accept_rejects=accept_rejects, allow_incomplete=True)


def refused(tmp_path: Path, name: str) -> str:
    """Why a case is refused; with --accept-rejects it is published."""
    with pytest.raises(RefusedToPublish) as refusal:
        run_case(tmp_path, name)
    assert run_case(tmp_path, name, accept_rejects=True).published.is_current
    return str(refusal.value)


def test_csv_without_a_header_refuses(tmp_path):
    """The message quotes the line that was taken for the header and names every field that is missing."""
    why = refused(tmp_path, "csv_no_header_one_row")
    assert "viewing_sessions/h10.csv cannot be read: the header lacks the required fields " in why
    assert "sessionId, creatorId, startedAt. It begins with `s1,c1,v1,2026-03-09T10:00:00Z," in why
    assert "--accept-rejects" in why


def test_an_erasure_without_a_header_refuses(tmp_path):
    """Nobody's erasure is lost in silence."""
    why = refused(tmp_path, "erasure_no_header")
    assert "erasures/2026-03-09.csv cannot be read: the header lacks the required field userId." in why
    assert "It begins with `u9`." in why


def test_a_damaged_parquet_file_weighs_more_than_a_record(tmp_path):
    """A third of a day is in it: one rejected record of 161 would be published."""
    assert "viewing_sessions/2026-03-09_2.parquet cannot be read" in refused(tmp_path, "lost_file_truncated_parquet")


def unreadable(world: World, name: str = "bad.parquet", content: bytes = b"PAR1, and nothing more") -> Path:
    path: Path = world.settings.landing / "viewing_sessions" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_an_unreadable_file_refuses_whatever_else_landed(world):
    """It is one record of many, and over no limit."""
    world.land_text("viewing_sessions", "".join(GOOD.replace("g1", f"g{number}") for number in range(500)))
    unreadable(world)
    for _ in range(2):  # also when it has been read before
        with pytest.raises(RefusedToPublish, match=r"bad\.parquet cannot be read"):
            world.run(compare=False)


def test_an_accepted_unreadable_file_is_told_every_night_that_it_is_there(world):
    """It refuses no more, but its records are still missing: a warning and a list, until it is gone."""
    world.land_text("viewing_sessions", GOOD)
    path = unreadable(world)
    for _ in range(3):
        night = world.run(compare=False, night={"accept_rejects": True}).report.as_json()
        assert [each["file"] for each in night["unreadable"]] == ["viewing_sessions/bad.parquet"]
        assert any("bad.parquet cannot be read" in warning for warning in night["warnings"])
        world.land_text("viewing_sessions", GOOD)
    path.unlink()
    night = world.run(compare=False).report.as_json()
    assert night["unreadable"] == []
    assert not any("cannot be read" in warning for warning in night["warnings"])


def test_an_unreadable_file_that_lands_again_is_dealt_with(world):
    """Under the same name, in this format or another."""
    world.land_text("viewing_sessions", GOOD)
    path = unreadable(world)
    with pytest.raises(RefusedToPublish):
        world.run(compare=False)
    path.unlink()
    with pytest.raises(RefusedToPublish, match=r"bad\.parquet"):  # what was in it is still missing
        world.run(compare=False)
    path.with_suffix(".ndjson").write_text(GOOD.replace("g1", "g2"))
    night = world.run(compare=False, night={"accept_rejects": False, "allow_incomplete": True})
    assert night.measured("ada").sessions == 2


def test_a_good_file_that_becomes_unreadable_refuses(world):
    """That it could be read the day before does not help."""
    path = unreadable(world, "all.parquet")
    table = pa.table({"sessionId": ["a"], "creatorId": ["ada"], "startedAt": ["2026-01-05T10:00:00Z"]})
    pq.write_table(table, path)
    world.run(compare=False)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RefusedToPublish, match=r"all\.parquet cannot be read"):
        world.run(compare=False)
