"""What `mostwatched status` says of landing folders in a bucket: the same as of folders, and it only looks."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from machines import ACCEPT, AS_OF, Machines
from s3 import Bucket
from world import World

from pipelines import remote as in_bucket
from pipelines.core import durable_files
from pipelines.jobs import nightly, status

pytestmark = pytest.mark.xdist_group("bucket")

ON = date.fromisoformat(AS_OF)
NOW = datetime(2026, 2, 1, 4, tzinfo=UTC)
LINE = b'{"userId":"%s","creatorId":"c"}\n'
NAMES = {  # of what landed: entity, format, and all that is not read for its name
    "follows/a.ndjson": LINE % b"a",
    "follows/2026/01/b.csv": b"userId,creatorId\nb,c\n",
    "follows/c.ndjson.part": LINE % b"c",
    "follows/.d.ndjson": LINE % b"d",
    "follows/_tmp/e.ndjson": LINE % b"e",
    "follows/_tmp/f.ndjson": LINE % b"f",
    "follows/g.txt": b"g",
    "follows/2026/part-0": LINE % b"part",
    "follows/m.txt": LINE % b"m",
    "creators/h.csv": b"_id,username\nh,h\n",
    "_hidden/i.ndjson": LINE % b"i",
    "strangers/j.ndjson": LINE % b"j",
    "strangers/k.ndjson": LINE % b"k",
    "pledges": b"no folder",
    "follows/\u00f6\u202e.ndjson": LINE % b"l",
}


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: ((at := path.lstat()).st_ino, at.st_mtime_ns) for path in folder.rglob("*")}


def asked(world: World, *landing: Path | str) -> dict[str, Any]:
    before = files(world.settings.home)
    answer = status.status(world.settings, ON, list(landing), NOW)
    assert files(world.settings.home) == before, "it only looks"
    return answer


@pytest.fixture
def world(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> World:
    """A home in a folder that reads what lands in a bucket."""
    world = World(tmp_path / "world")
    vars(world.settings)["s3_endpoint"] = bucket.server.url
    return world


def test_the_same_of_a_bucket_as_of_a_folder(bucket: Bucket, world: World, tmp_path: Path) -> None:
    """Every name that can land, complete or not, is judged as the next run will: before it and after it."""
    folder, url = tmp_path / "drop", f"{bucket.url}/drop"
    other = World(tmp_path / "other")

    def land(name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        bucket.write(f"drop/{name}", content)

    def said(answer: dict[str, Any], root: object) -> Any:
        landing = dict(answer["landing"])
        landing["unread"] = [each | {"may_grow": None} for each in landing["unread"]]
        landing["ignored"] = [str(each).replace(str(root), "") for each in landing["ignored"]]
        return landing, answer["next_run"]["outcome"], answer["next_run"]["reads_files"], answer["problems"]

    def both() -> Any:
        there, here = said(asked(world, url), url), said(asked(other, folder), folder)
        assert there == here
        return there

    for name, content in NAMES.items():
        land(name, content)
    assert both()[2] == 6  # also CSV of creators: it is refused, not passed over
    for each, where in ((world, url), (other, folder)):
        nightly.run(each.settings, ON, [where], **ACCEPT)
    landing, _, reads, _ = both()
    assert (landing["files"], reads) == (6, 0)
    land("follows/a.ndjson", LINE % b"another")
    land("follows/new.ndjson", LINE % b"new")
    landing, outcome, reads, _ = both()
    assert (outcome, reads) == ("reads", 2)
    assert [each["is_changed"] for each in landing["unread"]] == [True, False]
    bucket.remove("drop/follows/2026/01/b.csv")
    (folder / "follows/2026/01/b.csv").unlink()
    assert [each["file"] for each in both()[0]["gone"]] == ["follows/2026/01/b.csv"]


def test_an_accepted_unreadable_file_stays_a_warning(bucket: Bucket, world: World, tmp_path: Path) -> None:
    """In every later night, until something readable lands under its name: of a bucket as of a folder."""
    folder, url = tmp_path / "drop", f"{bucket.url}/drop"
    (folder / "follows").mkdir(parents=True)
    other = World(tmp_path / "other")

    def warnings(**accept: bool) -> list[list[str]]:
        nights = [nightly.run(each.settings, ON, [where], **accept) for each, where in ((world, url), (other, folder))]
        assert len({each.snapshot_id for each in nights}) == 1
        return [[one for one in each.published.warnings if "a.parquet" in one] for each in nights]

    for name, content in {"follows/a.parquet": b"PAR1 damaged", "follows/b.ndjson": LINE % b"b"}.items():
        (folder / name).write_bytes(content)
        bucket.write(f"drop/{name}", content)
    first = warnings(**ACCEPT)
    assert first[0] == first[1] != []
    assert warnings() == first
    (folder / "follows/a.ndjson").write_bytes(LINE % b"a")
    bucket.write("drop/follows/a.ndjson", LINE % b"a")
    bucket.remove("drop/follows/a.parquet")
    (folder / "follows/a.parquet").unlink()
    assert warnings() == [[], []]


def test_objects_without_an_extension_are_fetched_once(bucket: Bucket, world: World) -> None:
    """They are as Firehose writes them: what a run has read it neither fetches again nor keeps."""
    url = f"{bucket.url}/drop"
    bucket.write("drop/follows/part-0", LINE % b"a")
    nightly.run(world.settings, ON, [url], **ACCEPT)
    for _ in range(2):
        before = len(bucket.server.requests)
        assert nightly.run(world.settings, ON, [url]).ingested.new_files == 0
        assert not [path for _, path in bucket.server.requests[before:] if "part-0" in path]
    assert not list(world.settings.home.rglob("part-0"))


def test_not_a_byte_is_fetched(bucket: Bucket, world: World) -> None:
    """However much has landed, it is listed; and where there was no home there is none afterwards."""
    bucket.write("drop/follows/a.ndjson", LINE % b"a")
    asked_before = len(bucket.server.requests)
    answer = asked(world, f"{bucket.url}/drop")
    assert [each["file"] for each in answer["landing"]["unread"]] == ["follows/a.ndjson"]
    assert not world.settings.home.exists()
    paths = [path for _, path in bucket.server.requests[asked_before:]]
    assert paths
    assert not [path for path in paths if path.endswith(".ndjson")]


def test_a_run_at_work_is_left_alone(bucket: Bucket, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it fetches what landed, and while it reads that: it ends as if nobody had asked."""
    url = f"{bucket.url}/drop"
    for number in range(4):
        bucket.write(f"drop/follows/{number}.ndjson", LINE % b"u%d" % number)
    answers: list[int] = []
    writing = threading.Lock()
    sha256_of = durable_files.sha256_of

    def asked_meanwhile(path: Path) -> str:
        """Asked when a file has been fetched and does not have its name yet."""
        if "landed" in path.parts and writing.acquire(blocking=False):
            answers.append(status.status(world.settings, ON, [url], NOW)["next_run"]["reads_files"])
            writing.release()
        return sha256_of(path)

    monkeypatch.setattr("pipelines.core.durable_files.sha256_of", asked_meanwhile)
    done = nightly.run(world.settings, ON, [url], **ACCEPT)
    assert done.ingested.new_records == 4
    assert set(answers) == {4}


def test_one_in_a_home_in_a_bucket(bucket: Bucket, machines: Machines) -> None:
    """What a machine has read, another one knows of."""
    url = f"{bucket.url}/drop"
    bucket.write("drop/follows/a.ndjson", LINE % b"a")
    nightly.run(machines.settings("one"), ON, [url], **ACCEPT)
    bucket.write("drop/follows/b.ndjson", LINE % b"b")
    settings = machines.settings("two")
    with in_bucket.mounted(settings):
        answer = status.status(settings, ON, [url], NOW + timedelta(days=1))
    assert [each["file"] for each in answer["landing"]["unread"]] == ["follows/b.ndjson"]
    assert (answer["landing"]["files"], answer["landing"]["gone"]) == (2, [])
