"""Every rejected record is kept and listed, whenever it was found out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import World

from pipelines.core.errors import Damaged
from pipelines.core.settings import load
from pipelines.jobs.rejects import all_rejected
from pipelines.landing.schema import REJECTS_SCHEMA
from pipelines.raw.ingest import ingest
from pipelines.raw.raw_file import rejects_in

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
    paths = list((wrong.settings.lake / model).glob(f"*.{suffix}"))
    assert paths
    for path in paths:
        path.write_bytes(b"PAR1")
    assert list(all_rejected(wrong.settings)) == right
    for path in paths:
        path.unlink()
    assert list(all_rejected(wrong.settings)) == right


def test_the_list_is_right_or_the_next_run_mends_what_it_rests_on(wrong):
    """Whichever raw file is damaged, of any entity: also one that the run reads for nothing else."""
    wrong.land_text("pledges", "{}\n", "bad.ndjson")
    wrong.land("erasures", "user | erased_at\nbob | 2026-01-06 10:00")
    wrong.sessions("creator | viewer | started_at | minutes\nada | ann | 2026-01-05 10:00 | 5")
    night = wrong.run(night={"accept_rejects": True}, compare=False)
    right = list(all_rejected(wrong.settings))
    refused = set()
    for path in sorted(wrong.settings.lake.glob("raw/*/*/*.parquet")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        if (said := refusal(wrong)) is None:
            assert list(all_rejected(wrong.settings)) == right
            path.write_bytes(whole)
            continue
        assert "again" in said
        refused.add(f"{path.parent.parent.name}/{path.stem}")
        assert wrong.run(night={"accept_rejects": True}, compare=False).snapshot_id == night.snapshot_id
        assert list(all_rejected(wrong.settings)) == right
    assert {"erasures/all", "live_streams/all", "pledges/all", "pledges/rejects"} <= refused


def refusal(world: World) -> str | None:
    """What the list says is damaged."""
    try:
        list(all_rejected(world.settings))
    except Damaged as error:
        return str(error)
    return None


MIB = 1 << 20


@pytest.mark.parametrize("row_group_size", [1 << 20, 7])
def test_rejected_records_are_read_a_few_at_a_time(tmp_path, row_group_size):
    """However long their texts are, and however many lie together in the file."""
    texts = [f"{number}" * (MIB // 2 if number % 2 else 1) for number in range(60)]
    columns = {"line": range(60), "field": [None] * 60, "reason": ["no"] * 60, "text": texts}
    path = tmp_path / "rejects.parquet"
    pq.write_table(pa.table(columns, schema=REJECTS_SCHEMA), path, row_group_size=row_group_size, use_dictionary=False)
    batches = list(rejects_in(path))
    assert pa.Table.from_batches(batches).to_pydict()["text"] == texts
    assert max(batch.nbytes for batch in batches) < 3 * MIB


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A home with 100 MB of rejected lines, and one with a single line."""
    folder = tmp_path_factory.mktemp("many")
    for name, count in (("many", 100), ("one", 1)):
        settings = load(str(folder / name), {})
        landing = settings.landing / "viewing_sessions"
        landing.mkdir(parents=True)
        with (landing / "bad.ndjson").open("w") as out:
            out.writelines(f"{number:x}" * (10**6 // len(f"{number:x}")) + "\n" for number in range(count))
        ingest(settings)
    return folder


def peak_kb(folder: Path, *arguments: str) -> int:
    """The most memory that a command takes; what it prints is thrown away."""
    child = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
    child += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [sys.executable, "-c", child, sys.executable, "-m", "pipelines.cli", "--home", str(folder), *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("rejects", "--json"), ("rejects",), ("forget", "x", "--dry-run")])
def test_memory_does_not_follow_what_was_rejected(many, how):
    """Listed, or looked through for somebody."""
    assert peak_kb(many / "many", *how) - peak_kb(many / "one", *how) < 65_000
