"""docs/reference/json.md holds every key that the commands print as JSON, with its type, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import forged
import pytest
from click.testing import CliRunner
from world import World, days

from pipelines.cli import cli
from pipelines.jobs.audit_run import audit_current
from pipelines.landing import Postponed, Source
from pipelines.snapshots import manifest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
ONE: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and not INSTANT.fullmatch(value) and not DAY.fullmatch(value),
    "day": lambda value: isinstance(value, str) and bool(DAY.fullmatch(value)),
    "instant": lambda value: isinstance(value, str) and bool(INSTANT.fullmatch(value)),
    "whole number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "true or false": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
SEVERAL = {"text": "text", "days": "day", "objects": "object", "whole numbers": "whole number"}


def is_a(value: Any, kind: str) -> bool:
    """Whether a value is of a type as the document writes it."""
    if kind in ONE:
        return ONE[kind](value)
    if kind.startswith("list of ") and kind.removeprefix("list of ") in SEVERAL:
        each = SEVERAL[kind.removeprefix("list of ")]
        return isinstance(value, list) and all(is_a(one, each) for one in value)
    kinds = [part for part in re.split(r", or |, | or (?!false)", kind) if part]
    assert len(kinds) > 1, f"{kind} is no type"
    return any(is_a(value, part) for part in kinds)


def documented(command: str) -> dict[str, str]:
    """The keys of a command, with their types."""
    (section,) = re.findall(rf"^## mostwatched {command}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", section, re.MULTILINE))


def printed(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key in an answer, as the document writes it, with its value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            path = f"{key}.{name}" if key else name
            yield path, inner
            yield from printed(inner, path)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                yield from printed(inner, f"{key}[]")


def compare(command: str, *answers: Any) -> None:
    """Every key that was printed is documented with that type, and every one that is documented was printed."""
    known = documented(command)
    unseen = set(known)
    for answer in answers:
        for key, value in printed(answer):
            name = key if key in known else f"{key.rpartition('.')[0]}.*"
            assert name in known, f"{key} is not documented"
            assert is_a(value, known[name]), f"{key} is {value!r}, not {known[name]}"
            unseen.discard(name)
    assert not unseen, f"nothing that was printed has {sorted(unseen)}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two nights of which there is something to tell: late, rejected, ignored, postponed, a leap, two ids alike."""
    world = World(tmp_path_factory.mktemp("told"))
    world.busy_days("2026-01-16", 14, sessions=40)
    world.run("2026-01-30", compare=False)
    audit_current(world.settings, 1)
    leap = "\n".join(f"busy | n{number} | 2026-01-30 12:00 | 10" for number in range(200))
    world.sessions(f"creator | viewer | started_at | minutes\n{leap}\nada | v1 | 2026-01-20 12:00 | 5")
    alike = {"sessionId": "alike", "creatorId": "ada", "viewerId": "v1 ", "startedAt": "2026-01-20T13:00:00Z"}
    world.land("viewing_sessions", [alike])
    other = {"sessionId": "u", "creatorId": "ada", "startedAt": "2026-01-20T12:00:00Z", "user_id": "v2"}
    world.land_text("viewing_sessions", json.dumps(other) + "\n")
    again = "session | creator | viewer | started_at\ns | ada | v2 | 2026-01-20 12:00\ns | ada | v3 | 2026-01-20 12:00"
    world.sessions(again)
    world.land_text("follows", "{}\n")
    world.land_text("pledges", "{}\n", "postponed.ndjson")
    (world.settings.landing / "note.txt").write_text("?")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Source, "check_unchanged", changing)
        world.run("2026-01-31", compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    return world


def changing(source: Source) -> None:
    """As Source.check_unchanged, of a file that changes while it is read."""
    if source.path.name == "postponed.ndjson":
        raise Postponed("it changed while it was read")


def asked(world: World, *arguments: object) -> Any:
    """What a command prints."""
    told = {"MOSTWATCHED_MAX_WINDOW_DAYS": "30", "MOSTWATCHED_THREADS": "1"}
    words = ["--home", str(world.settings.home), *map(str, arguments), "--json"]
    done = CliRunner(env=told).invoke(cli, words, catch_exceptions=False)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_report(world):
    """Of a first night and of the one after it."""
    compare("report", *(asked(world, "report", "--as-of", f"2026-01-{day}") for day in (30, 31)))


def test_a_backfill(world):
    """A list of what `run` gives, which the page shows as one object."""
    answer = asked(
        world, "backfill", "--from", "2026-01-29", "--to", "2026-01-30", "--accept-rejects", "--allow-incomplete"
    )
    assert [night["as_of"] for night in answer] == days("2026-01-29", 2)
    for night in answer:
        assert outer_keys("run") == list(night)


def outer_keys(command: str) -> list[str]:
    """The keys of the object, or of each object in the list, that the page shows for a command; none from within it."""
    (section,) = re.findall(rf"^## mostwatched {command}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    keys, depth = [], 0
    for mark in re.findall(r'[\[\]{}]|"\w+"', section[section.index("{") :]):
        depth += (mark in "[{") - (mark in "]}")
        if depth == 0:
            break
        if depth == 1 and mark[0] == '"':
            keys.append(mark.strip('"'))
    return keys


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("top", ()),
        ("rejects", ()),
        ("status", ("--as-of", "2026-01-31")),
        ("explain", ("ada",)),
        ("snapshots prune", ("--dry-run",)),
        ("forget", ("v1", "--dry-run")),
    ],
)
def test_an_object_that_is_shown_as_one(world, command, arguments):
    """Its keys are those that the page shows, in any order."""
    answer = asked(world, *command.split(), *arguments)
    one = answer[0] if isinstance(answer, list) else answer
    assert sorted(outer_keys(command)) == sorted(one)


@pytest.mark.slow
def test_a_difference(world):
    """Of the two nights."""
    before, *_, after = sorted(path.name for path in world.settings.snapshots.glob("2026-*"))
    assert sorted(outer_keys("snapshots diff")) == sorted(asked(world, "snapshots", "diff", before, after))


def test_snapshots(world):
    """Listed, and checked: a whole one and a damaged one."""
    compare("snapshots list", asked(world, "snapshots", "list"))
    whole = asked(world, "snapshots", "verify")
    (world.run("2026-01-28", compare=False, night={"accept_rejects": True}).snapshot.path / "report.html").write_text(
        ""
    )
    compare("snapshots verify", whole, asked(world, "snapshots", "verify"))


def test_an_audit(world):
    """A snapshot that says what landed, and one that does not."""
    right = asked(world, "audit")
    snapshot = manifest.open_current(world.settings.snapshots)
    whole = snapshot.table("creator_rankings.parquet")
    forged.replace(snapshot, "creator_rankings.parquet", forged.changed(whole, "viewers", 0, 7).slice(0, 3))
    wrong = asked(world, "audit", snapshot.id)
    assert (right["agrees"], wrong["agrees"]) == (True, False)
    compare("audit", right, wrong)


def test_a_platform(world, tmp_path):
    """Its files and records."""
    compare("generate", asked(world, "generate", "--days", 1, "--sessions-per-day", 10, tmp_path / "platform"))


def test_a_key_that_is_not_documented_is_found():
    """And one that is and was not printed, and one of another type."""
    answer = {"first_day": "2026-01-01", "as_of": "2026-01-02", "files": 1, "bytes": 2, "records": {"pledges": 1}}
    compare("generate", answer)
    for wrong in (answer | {"more": 1}, answer | {"files": "1"}, {**answer, "records": {}}, answer | {"as_of": "soon"}):
        with pytest.raises(AssertionError):
            compare("generate", wrong)
