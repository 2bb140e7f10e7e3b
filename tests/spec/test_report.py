"""Every run leaves a report: in its snapshot, and under reports/, however it ended."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from world import AS_OF, World

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, RefusedToPublish, UsageError
from pipelines.jobs import nightly, prune, report
from pipelines.jobs.report import formats
from pipelines.jobs.report.document import document
from pipelines.snapshots import manifest

GOOD = '{"sessionId":"%s","creatorId":"ada","viewerId":"%s","startedAt":"2026-01-%02dT10:00:00Z"}\n'
SECRET = "user-4711"
OVERRIDE = {"accept_rejects": True, "allow_incomplete": True}


def land_days(world: World, *numbers: int, sessions: int = 4) -> None:
    """A file a day of January, named by it."""
    for number in numbers:
        lines = "".join(GOOD % (f"{number}-{each}", f"w{each}", number) for each in range(sessions))
        world.land_text("viewing_sessions", lines, f"2026-01-{number:02}.ndjson")


def left(world: World, as_of: date = AS_OF) -> dict[str, Any]:
    """The facts of the last run, and that its page says the same."""
    facts = report.read(world.settings, as_of)
    page = (world.settings.reports / f"{as_of}.html").read_bytes()
    assert page == formats.html(document(facts))
    return facts


class Page(HTMLParser):
    """The texts of a page, its elements, and that they are closed in turn."""

    VOID = frozenset({"meta", "rect", "line"})

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page.decode())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_a_file_whose_name_is_no_text_costs_no_report(world):
    """It is named in the report as landed files are in rejected records, and the page can be read anywhere."""
    land_days(world, 29, 30)
    Path(os.fsdecode(os.fsencode(world.settings.landing) + b"/\xff\x1b.txt")).write_text("?")
    world.run(compare=False)
    (ignored,) = left(world)["landed"]["ignored"]
    assert ignored["file"] == f"{world.settings.landing}/\\xff\\x1b.txt"
    assert r"\xff\x1b.txt" in Page((world.settings.reports / f"{AS_OF}.html").read_bytes()).words


def test_the_snapshot_holds_the_report_of_the_run_that_published_it(world):
    """Covered by the manifest, and no part of the id: the same rows in another home, another day, are the same one."""
    land_days(world, 29, 30)
    night = world.run(compare=False)
    page = night.files()["report.html"]
    facts = night.manifest["files"]["report.html"]
    assert facts["sha256"] == hashlib.sha256(page).hexdigest()
    assert facts["rows_sha256"] is None
    words = Page(page).words
    assert f"Snapshot {night.snapshot_id} was published" in words
    for section in ("The funnel", "Rejected lines", "Late and missing days", "Checks", "Durations"):
        assert section in words
    (night.snapshot.path / "report.html").write_bytes(page.replace(b"published", b"forgotten"))
    assert "report.html is damaged" in night.snapshot.damage()[0]


def test_a_run_that_changes_nothing_leaves_the_snapshot_and_its_own_report(world):
    """The snapshot keeps the report of its own run; reports/ holds that of the last."""
    land_days(world, 29, 30)
    first = world.run(compare=False)
    files = first.files()
    again = world.run(compare=False)
    assert first.files() == files
    facts = left(world)
    assert (facts["outcome"], facts["snapshot_id"], facts["is_current"]) == ("unchanged", first.snapshot_id, True)
    assert again.report.facts == facts
    assert again.report.as_json()["report"] == str(world.settings.reports / f"{AS_OF}.html")


def test_it_says_what_became_of_every_record(world):
    """The funnel is the run's, rejected records are counted by reason, for this run and in all."""
    land_days(world, 29, 30)
    world.land_text("follows", "{}\n{}\n5\n")
    world.run(compare=False, night=OVERRIDE)
    world.land_text("follows", '{"userId":1}\n')
    night = world.run(compare=False, night=OVERRIDE)
    facts = left(world)
    assert facts["funnel"] == night.report.funnel
    counted = {(row["entity"], row["reason"]): (row["new_records"], row["records"]) for row in facts["rejected"]}
    assert sum(records for _, records in counted.values()) == facts["records"]["rejected"] == 4
    assert sum(new for new, _ in counted.values()) == facts["landed"]["new_rejected"] == 1
    assert facts["rejected"][0]["new_records"] == 1, "what is new comes first"
    assert [row["offenders"] for row in facts["checks"]] == [0] * len(night.manifest["checks"])


def test_samples_of_rejected_lines_hold_nobody(world):
    """What a line looks like is shown, and where it stands; ids, names and amounts are not."""
    land_days(world, 29, 30)
    line = json.dumps({"userId": SECRET, "creatorId": "Ada Lovelace", "followedAt": "2026-13-05", "x": 4711})
    world.land_text("follows", line + "\n" + SECRET + "\n" + f'"{SECRET}": {SECRET}\n')
    world.run(compare=False, night=OVERRIDE)
    facts = left(world)
    samples = [sample for row in facts["rejected"] for sample in row["samples"]]
    assert sorted(sample["line"] for sample in samples) == [1, 2, 3]
    first = next(sample for sample in samples if sample["line"] == 1)
    assert first["shape"] == (
        '{"userId": "xxxx-9999", "creatorId": "xxx xxxxxxxx", "followedAt": "9999-99-99", "x": 9999}'
    )
    assert first["field"] == "followedAt"
    for path in (*world.settings.reports.iterdir(), *world.settings.snapshots.rglob("report.html")):
        for word in (SECRET, "4711", "Lovelace"):
            assert word.encode() not in path.read_bytes(), path


def test_no_viewer_is_in_it(world):
    """Of people there are counts."""
    for number in (28, 29, 30):
        lines = "".join(GOOD % (f"{number}-{each}", f"{SECRET}-{each}", number) for each in range(4))
        world.land_text("viewing_sessions", lines, f"2026-01-{number}.ndjson")
    world.run(compare=False)
    for path in (*world.settings.reports.iterdir(), *world.settings.snapshots.rglob("report.html")):
        assert SECRET.encode() not in path.read_bytes(), path


def test_it_compares_with_the_snapshot_before(world):
    """Who entered, left, rose and fell, totals, the largest differences, and late days."""
    land_days(world, *range(20, 30))
    before = world.run("2026-01-30", compare=False)
    assert left(world, date(2026, 1, 30))["change"] is None
    land_days(world, 30)
    world.sessions("creator | viewer | started_at\nbob | v1 | 2026-01-30 11:00\nada | v9 | 2026-01-25 11:00")
    world.run(compare=False)
    facts = left(world)
    change = facts["change"]
    assert facts["previous_snapshot_id"] == change["snapshot_id"] == before.snapshot_id
    assert {name: change[name] for name in ("entered", "left", "rose", "fell", "stayed")} == {
        "entered": 1,
        "left": 0,
        "rose": 0,
        "fell": 0,
        "stayed": 1,
    }
    assert {row["what"]: (row["before"], row["after"]) for row in change["totals"]}["creators"] == (1, 2)
    movers = [(row["creator_id"], row["viewers_before"], row["viewers_after"]) for row in change["movers"]]
    assert movers == [("ada", 4, 5), ("bob", None, 1)]
    assert facts["late"] == [{"day": "2026-01-25", "sessions_before": 4, "sessions": 5}]


def test_a_refused_run_leaves_one_too(world):
    """With every ground, and what was worked out before; no snapshot is there."""
    land_days(world, *range(20, 30))
    land_days(world, 30, sessions=1)
    world.land_text("pledges", '{"pledgeId":"p1"}\n')
    with pytest.raises(RefusedToPublish) as refusal:
        world.run(compare=False)
    facts = left(world)
    assert (facts["outcome"], facts["snapshot_id"], facts["why"]) == ("refused", None, str(refusal.value))
    assert len(facts["grounds"]) == 2
    assert facts["funnel"]["ranked"] == 41
    words = Page((world.settings.reports / f"{AS_OF}.html").read_bytes()).words
    assert "--allow-incomplete" in words
    assert "--accept-rejects" in words


def test_a_failed_run_leaves_one_too(world):
    """As far as it came, with what it failed of."""
    land_days(world, 29, 30)
    world.run(compare=False)
    (raw,) = list(world.settings.lake.glob("raw/viewing_sessions/*/2026-01-29.parquet"))
    (world.settings.landing / "viewing_sessions/2026-01-29.ndjson").unlink()
    raw.parent.joinpath("index.json").write_bytes(b"{")
    with pytest.raises(Damaged) as damage:
        world.run(compare=False)
    facts = left(world)
    assert (facts["outcome"], facts["why"], facts["funnel"]) == ("failed", str(damage.value), None)
    assert facts["durations"]


def test_a_backfill_leaves_one_for_each_night(world):
    """Also of the nights that it could not publish."""
    world.busy_days("2026-01-05", 9)
    told: list[dict[str, Any]] = []
    list(nightly.backfill(world.settings, date(2026, 1, 14), date(2026, 1, 15), on_report=told.append))
    outcomes = [report.read(world.settings, date(2026, 1, day))["outcome"] for day in (14, 15)]
    assert outcomes == ["published", "refused"] == [facts["outcome"] for facts in told]


def test_missing_days_are_named(world):
    """A day of the last two weeks of which nothing landed; an empty file is a delivery."""
    land_days(world, *range(10, 20), 21, 23, 24, *range(26, 31))
    world.land_text("viewing_sessions", "", "2026-01-22.ndjson")
    world.run(compare=False)
    assert left(world)["missing_days"] == ["2026-01-20", "2026-01-25"]


def test_durations_add_up_to_the_time_of_the_stages(world):
    """Every moment of a stage belongs to one step, and the picture shows the steps."""
    land_days(world, 29, 30)
    world.run(compare=False)
    facts = left(world)
    assert {row["stage"] for row in facts["durations"]} == {"ingest", "build", "publish"}
    took = sum(row["seconds"] for row in facts["durations"])
    assert 0.5 * facts["seconds"] < took <= facts["seconds"] + 0.001 * len(facts["durations"])
    names = [row["step"] for row in facts["durations"]]
    assert {"read viewing_sessions", "viewer_days", "creator_reach", "write the snapshot", "write the report"} <= {
        *names
    }
    page = Page((world.settings.reports / f"{AS_OF}.html").read_bytes())
    assert page.elements.count("svg") == 1
    assert page.elements.count("rect") >= 3


HOSTILE = '<script>alert(1)</script>"\x1b[31m|`\u202e'


def test_a_page_shows_what_others_wrote_and_obeys_none_of_it(world):
    """Names of creators and files are text, in HTML and in Markdown; nothing is loaded from anywhere."""
    land_days(world, 29, 30)
    world.run("2026-01-30", compare=False)
    for day in (28, 29):
        record = {
            "sessionId": f"h{day}",
            "creatorId": HOSTILE,
            "viewerId": "v",
            "startedAt": f"2026-01-{day}T10:00:00Z",
        }
        world.land_text("viewing_sessions", json.dumps(record) + "\n", f"{day}<b>.ndjson")
    world.land_text("follows", HOSTILE + "\n", "a<i>|x.ndjson")
    night = world.run(compare=False, night=OVERRIDE)
    page = Page(night.files()["report.html"])
    assert not {"script", "b", "i", "img", "link", "iframe"} & set(page.elements)
    assert "<script>alert(1)</script>" in page.words
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("href", "src")]
    for text in (night.files()["report.html"].decode(), formats.markdown(document(left(world)))):
        assert all(char.isprintable() or char == "\n" for char in text)
    written = formats.markdown(document(left(world)))
    assert "<script>" not in written
    assert not re.search(r"(?<!\\)<", written.replace("```", ""))


@pytest.mark.parametrize("half", ["html", "json"])
def test_half_a_report_that_the_power_left_is_removed(world, half):
    """Of two removals that nothing made durable either may come back."""
    land_days(world, 29, 30)
    for day in (AS_OF - timedelta(days=1), AS_OF):
        world.run(day, compare=False, night=OVERRIDE)
    settings = dataclasses.replace(world.settings, keep_snapshots=1)
    left = settings.reports / f"2026-01-30.{half}"
    content = left.read_bytes()
    prune.prune(settings)
    left.write_bytes(content)
    prune.prune(settings)
    assert sorted(path.name for path in settings.reports.iterdir()) == ["2026-01-31.html", "2026-01-31.json"]


def test_a_prune_that_was_killed_leaves_no_half_of_a_report(world, monkeypatch):
    """Whichever part of it went first, the next prune finds the rest."""
    land_days(world, 29, 30)
    for day in (AS_OF - timedelta(days=1), AS_OF):
        world.run(day, compare=False, night=OVERRIDE)
    settings = dataclasses.replace(world.settings, keep_snapshots=1)
    unlink = Path.unlink

    def dies_between(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path.parent == settings.reports:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dies_between)
        with pytest.raises(KeyboardInterrupt):
            prune.prune(settings)
    prune.prune(settings)
    assert sorted(path.name for path in settings.reports.iterdir()) == ["2026-01-31.html", "2026-01-31.json"]


def test_reports_go_with_the_snapshots_they_are_about(world):
    """`prune` removes those older than the oldest snapshot that it keeps."""
    land_days(world, 29, 30)
    for day in (AS_OF - timedelta(days=1), AS_OF):
        world.run(day, compare=False, night=OVERRIDE)
    prune.prune(world.settings.__class__(**vars(world.settings) | {"keep_snapshots": 1}))
    assert sorted(path.name for path in world.settings.reports.iterdir()) == [
        "2026-01-31.html",
        "2026-01-31.json",
    ]
    assert manifest.open_current(world.settings.snapshots).as_of == AS_OF


def test_asking_for_a_report_that_is_not_there_names_those_that_are(world):
    """And a damaged one says which run writes it again."""
    with pytest.raises(UsageError, match="`mostwatched run` leaves one"):
        report.read(world.settings, None)
    land_days(world, 29, 30)
    world.run(compare=False)
    with pytest.raises(UsageError, match=r"as of 2026-02-05 .*2026-01-31"):
        report.read(world.settings, date(2026, 2, 5))
    assert report.read(world.settings, None)["as_of"] == "2026-01-31"
    (world.settings.reports / "2026-01-31.json").write_text("{")
    with pytest.raises(Damaged, match="The next run as of 2026-01-31 writes it again"):
        report.read(world.settings, None)


def test_the_last_report_is_that_of_the_run_that_ended_last(world):
    """Whatever the files' own times say: in a copy of a bucket they are those of the download."""
    land_days(world, 28, 29, 30)
    days = [AS_OF, AS_OF - timedelta(days=1)]
    for day in days:
        world.run(day, compare=False, night=OVERRIDE)
    for second, day in enumerate(reversed(days)):
        os.utime(world.settings.reports / f"{day}.json", (second, second))
    assert report.read(world.settings, None)["as_of"] == "2026-01-30"


def test_a_report_that_was_changed_is_never_shown(world):
    """A letter of a name or a digit of a figure: it is damaged, also for who asks for the last of all."""
    land_days(world, 29, 30)
    for day in (AS_OF, AS_OF - timedelta(days=1)):
        world.run(day, compare=False, night=OVERRIDE)
    path = world.settings.reports / f"{AS_OF}.json"
    written = path.read_bytes()
    for place in range(0, len(written), 7):
        path.write_bytes(written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :])
        for asked in (AS_OF, None):
            with pytest.raises(Damaged, match=r"2026-01-31\.json cannot be read: .+ report --as-of DATE"):
                report.read(world.settings, asked)
    assert report.read(world.settings, date(2026, 1, 30))["as_of"] == "2026-01-30"
    for cut in (0, 1, len(written) // 2, len(written) - 1):
        path.write_bytes(written[:cut])
        with pytest.raises(Damaged):
            report.read(world.settings, AS_OF)


def test_a_report_without_a_seal_is_shown(world):
    """As they were written before there was one; without what belongs in it, it is damaged all the same."""
    land_days(world, 29, 30)
    world.run(compare=False)
    path = world.settings.reports / f"{AS_OF}.json"
    facts = left(world)
    durable_files.write_json(path, facts)
    assert left(world) == facts
    for name in ("as_of", "outcome", "ended_at", "landed", "funnel", "policy"):
        durable_files.write_json(path, {each: facts[each] for each in facts if each != name})
        with pytest.raises(Damaged):
            report.read(world.settings, None)


def test_what_cannot_be_worked_out_is_said_and_stops_nothing(world):
    """A snapshot before that is damaged costs the comparison, not the night."""
    land_days(world, 29, 30)
    before = world.run("2026-01-30", compare=False)
    (before.snapshot.path / "creator_rankings.parquet").unlink()
    (before.snapshot.path / "creator_rankings.parquet").write_bytes(b"")
    night = world.run(compare=False)
    facts = left(world)
    assert night.report.published.is_new
    assert facts["change"] is None
    assert "the change could not be worked out" in facts["problems"][0]


def test_a_report_that_cannot_be_written_stops_nothing(world, capsys):
    """Where its folder should be stands a file: the night is published, and it is said."""
    land_days(world, 29, 30)
    world.settings.home.mkdir(exist_ok=True)
    world.settings.reports.write_text("in the way")
    night = world.run(compare=False)
    assert night.report.published.is_current
    assert night.report.page is None
