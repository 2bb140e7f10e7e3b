"""A signal that is gone refuses, half of one is worth a look, and an unknown field is named with what it resembles."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.core.errors import RefusedToPublish
from pipelines.raw import ingest
from pipelines.raw.raw_file import RawFile
from pipelines.raw.unknown_fields import unknown_fields
from pipelines.raw.writer import WrittenFile
from pipelines.snapshots import publish
from pipelines.snapshots.signals import LEAST_SESSIONS, find_signals

CASES = Path(__file__).parent.parent / "cases"
STRICT = {"accept_rejects": False}
NEW = "2026-01-30"


def session(day: str, number: int, **fields: object) -> dict[str, object]:
    """A session of one of 9 creators and 7 viewers, at a time of its own, on a device, with an end."""
    start = f"{day}T{10 + number % 10}:{number // 10:02}"
    return {
        "sessionId": f"{day}-{number}",
        "creatorId": f"c{number % 9}",
        "viewerId": f"v{number % 7}",
        "deviceId": f"d{number}",
        "streamId": "live",
        "startedAt": f"{start}:00Z",
        "endedAt": f"{start}:30Z",
    } | fields


def whole(day: str) -> list[dict[str, object]]:
    return [session(day, number) for number in range(100)]


def land_records(world: World, name: str, records: list[dict[str, object]]) -> None:
    world.land_text("viewing_sessions", "".join(json.dumps(each) + "\n" for each in records), name)


def land(world: World, day: str, count: int = 100, rename: dict[str, str] | None = None, **fields: object) -> None:
    """Land the sessions of a day; `fields` take the place of theirs, those that are `rename`d have another name."""
    records = [session(day, number, **fields) for number in range(count)]
    records = [{(rename or {}).get(name, name): value for name, value in each.items()} for each in records]
    land_records(world, f"{day}.ndjson", records)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nine ordinary days that are published, to be copied."""
    world = World(tmp_path_factory.mktemp("made"))
    for number in range(9):
        land(world, str(date(2026, 1, 21) + timedelta(days=number)))
    world.run(NEW, compare=False, night=STRICT)
    return world


@pytest.fixture
def ordinary(world: World, made: World) -> World:
    world.begin_as(made)
    return world


def run(world: World, **night: bool):
    return world.run("2026-01-31", compare=False, night=STRICT | night)


# --- a first night


def test_all_new_sessions_without_a_viewer_refuse_on_a_first_night(world):
    """tests/cases/renamed_optional_field: the field that holds the viewers is named, with what it resembles."""
    (path,) = (CASES / "renamed_optional_field" / "landing").glob("*/*.ndjson")
    world.land_text("viewing_sessions", path.read_text(), "a.ndjson")
    with pytest.raises(RefusedToPublish) as refusal:
        world.run("2026-03-10", compare=False, night=STRICT | {"allow_incomplete": True})
    assert "have neither viewerId nor deviceId, in viewing_sessions/a.ndjson, but 40 records have viewerID" in str(
        refusal.value
    )
    assert 'rename = { viewerID = "viewerId" }' in str(refusal.value)
    with pytest.raises(RefusedToPublish, match="viewerID"):  # a rerun, although nothing new has landed
        world.run("2026-03-10", compare=False, night=STRICT | {"allow_incomplete": True})
    night = world.run("2026-03-10", compare=False, night={"accept_rejects": True})
    unknown = [{"entity": "viewing_sessions", "field": "viewerID", "records": 40, "resembles": "viewerId"}]
    assert night.report.as_json()["unknown_fields"] == unknown
    assert night.report.facts["unknown_fields"] == unknown
    labels = f'entity="viewing_sessions",field="viewerID",home="{world.settings.home}",resembles="viewerId"'
    assert f"mostwatched_run_unknown_field_records{{{labels}}} 40.0" in world.settings.metrics.read_text()
    assert "viewerID" in night.report.page.read_text()
    land(world, "2026-03-09", 5)
    assert world.run("2026-03-10", compare=False, night=STRICT).viewers()[0][1] > 0, "published once, it is settled"


def test_nobody_and_no_other_name_for_them(world):
    """Then it is not known what is missing: --allow-incomplete overrides it."""
    land(world, NEW, viewerId=None, deviceId=None)
    with pytest.raises(RefusedToPublish, match=r"100 of 100 .* nobody would be counted.*--allow-incomplete"):
        run(world, accept_rejects=True)
    assert run(world, allow_incomplete=True).viewers()[0][1] == 0


@pytest.mark.parametrize(
    "fields",
    [{"viewerId": None}, {"deviceId": None}, {"endedAt": None}, {"creatorId": "one"}, {"streamId": None}],
)
def test_what_a_platform_never_had_is_not_missed(world, fields):
    """All anonymous, all on air, one creator alone: on a first night nobody knows better."""
    land(world, NEW, **fields)
    run(world)


def test_a_few_sessions_say_nothing(world):
    """A small home may well begin with some that name nobody."""
    land(world, NEW, LEAST_SESSIONS - 1, viewerId=None, deviceId=None)
    run(world)


# --- later nights

GONE = {
    "neither viewer nor device": ({"viewerId": None, "deviceId": None}, "neither viewerId nor deviceId"),
    "no viewer": ({"viewerId": None}, "no viewerId"),
    "no device": ({"deviceId": None}, "no deviceId"),
    "no end": ({"endedAt": None}, "no endedAt"),
    "no stream": ({"streamId": None}, "no streamId"),
    "one creator": ({"creatorId": "c1"}, "the same creatorId"),
    "one viewer": ({"viewerId": "everybody"}, "the same viewerId"),
    "one end": ({"endedAt": "2026-01-31T23:00:00Z"}, "the same endedAt"),
    "one device": ({"deviceId": "unknown"}, "the same deviceId"),
    "one instant": ({"startedAt": f"{NEW}T10:00:00Z", "endedAt": f"{NEW}T11:00:00Z"}, "the same startedAt"),
}


@pytest.mark.parametrize("what", GONE)
def test_a_signal_that_is_gone_refuses(ordinary, what):
    """What nearly all had on the days before and nearly all lack now."""
    fields, said = GONE[what]
    land(ordinary, NEW, **fields)
    with pytest.raises(RefusedToPublish, match=f"100 of 100 newly landed sessions have {said}.*{NEW}.ndjson"):
        run(ordinary)
    anomalies = run(ordinary, allow_incomplete=True).report.as_json()["anomalies"]
    assert [one for one in anomalies if f"100 of 100 newly landed sessions have {said}" in one], "but not in silence"
    land(ordinary, "2026-01-31", 5, **fields)
    run(ordinary)  # published once, it is settled, and a few sessions say nothing


def test_sessions_that_end_where_they_start_refuse(ordinary):
    """Nobody watched anything: the end was written into both fields."""
    land_records(ordinary, "new.ndjson", [each | {"endedAt": each["startedAt"]} for each in whole(NEW)])
    with pytest.raises(RefusedToPublish, match=r"100 of 100 .* have an endedAt that is their startedAt.*so of 0%"):
        run(ordinary)


@pytest.mark.parametrize("what", [what for what in GONE if what != "one instant"])
def test_a_day_among_others_that_land_at_once_is_judged_by_itself(ordinary, what):
    """Beside two days that are all right the third has a third of the new sessions."""
    fields, said = GONE[what]
    for number, day in enumerate(("2026-01-30", "2026-01-31", "2026-02-01")):
        land(ordinary, day, **(fields if number == 1 else {}))
    with pytest.raises(RefusedToPublish, match=f"100 of 100 newly landed sessions have {said}, of 2026-01-31, in "):
        ordinary.run("2026-02-02", compare=False, night=STRICT)


def test_what_trickles_in_of_old_days_is_no_whole_day(ordinary):
    """A late file of a few anonymous sessions of each day before: what was there of those days is more."""
    for number in range(5):
        day = str(date(2026, 1, 21) + timedelta(days=number))
        late = [each | {"sessionId": f"late {each['sessionId']}", "viewerId": None} for each in whole(day)[:30]]
        land_records(ordinary, f"late {day}.ndjson", late)
    land_records(ordinary, f"{NEW}.ndjson", [session(NEW, number) for number in range(600)])
    run(ordinary)


@pytest.mark.parametrize("lacks", [True, False])
def test_days_of_long_before_are_not_compared_with_later_ones(ordinary, lacks):
    """A backfill of a year ago, when there were no viewers and no devices, beside a new day that lacks some or not."""
    for number in range(20):
        day = str(date(2025, 1, 21) + timedelta(days=number))
        old = [session(day, each, viewerId=None, deviceId=None, streamId=None, endedAt=None) for each in range(150)]
        land_records(ordinary, f"{day}.ndjson", old)
    land(ordinary, NEW, **({"viewerId": None} if lacks else {}))
    if not lacks:
        assert run(ordinary).report.as_json()["anomalies"] == []
        return
    with pytest.raises(RefusedToPublish, match="100 of 100 newly landed sessions have no viewerId, in"):
        run(ordinary)


@pytest.mark.parametrize("stray", ["2035-01-01", "1970-01-01"])
def test_a_clock_that_is_wrong_hides_nothing(ordinary, stray):
    """The sessions that are new are compared with the days before most of them, not before the last."""
    land_records(ordinary, f"{NEW}.ndjson", [*(each | {"viewerId": None} for each in whole(NEW)), session(stray, 1)])
    with pytest.raises(RefusedToPublish, match=r"100 of 10[01] newly landed sessions have no viewerId"):
        run(ordinary)


@pytest.mark.parametrize("shared", [True, False], ids=["a folder for all", "a folder a file"])
def test_what_all_have_is_seen_in_short_files(ordinary, monkeypatch, shared):
    """Of many sessions a sample is asked, which is to hold some of any file, however short it is."""
    monkeypatch.setattr(publish, "ROWS_SAMPLED", 20)
    if not shared:
        monkeypatch.setattr(ingest, "SMALL_BYTES", 0)
    for number in range(100):
        text = json.dumps(session(NEW, number, creatorId="c1")) + "\n"
        ordinary.land_text("viewing_sessions", text, f"{NEW} {number}.ndjson")
    with pytest.raises(RefusedToPublish, match="100 of 100 newly landed sessions have the same creatorId"):
        run(ordinary)


@pytest.mark.parametrize(
    ("renamed", "field", "other"),
    [("viewerId", "viewerId", "user_id"), ("endedAt", "endedAt", "endTime"), ("viewerId", "viewerId", "VIEWER")],
)
def test_a_field_of_another_name_refuses_as_lost(ordinary, renamed, field, other):
    """Its values are there and are not read: that is for --accept-rejects, as with a record that is rejected."""
    land(ordinary, NEW, rename={renamed: other})
    with pytest.raises(RefusedToPublish, match=f"no {field}, .* have {other}, .* resembles {field}.*--accept-rejects"):
        run(ordinary, allow_incomplete=True)
    run(ordinary, accept_rejects=True)


def test_half_gone_is_worth_a_look(ordinary):
    """It refuses nothing, and stands among the anomalies."""
    land(ordinary, NEW, 50)
    records = [session(NEW, number, viewerId=None) for number in range(50, 100)]
    ordinary.land_text("viewing_sessions", "".join(json.dumps(each) + "\n" for each in records), "anonymous.ndjson")
    anomalies = run(ordinary).report.as_json()["anomalies"]
    assert "50 of 100 newly landed sessions have no viewerId" in anomalies[0]
    assert "on the days before 100% had it" in anomalies[0]


@pytest.mark.parametrize(
    ("count", "fields"),
    [
        (60, {"creatorId": "c1"}),
        (45, {"startedAt": f"{NEW}T10:00:00Z"}),
        (12, {"deviceId": "0"}),
        (12, {"deviceId": "unknown"}),
    ],
)
def test_many_alike_are_worth_a_look(ordinary, count, fields):
    """Such as the devices of all that have none, where a program writes 0 for nothing."""
    records = [session(NEW, number, **(fields if number < count else {})) for number in range(100)]
    land_records(ordinary, "alike.ndjson", records)
    (anomaly,) = run(ordinary).report.as_json()["anomalies"]
    (field,) = fields
    assert f" of 100 newly landed sessions have the same {field}, in viewing_sessions/alike.ndjson" in anomaly


def test_an_ordinary_day_says_nothing(ordinary):
    """Nor does a field that is unknown and resembles nothing, or one of the contract's that are all there."""
    records = [session(NEW, number, quality="hd", client="ios", user_id="u") for number in range(100)]
    ordinary.land_text("viewing_sessions", "".join(json.dumps(each) + "\n" for each in records))
    night = run(ordinary)
    assert night.report.as_json()["anomalies"] == []
    assert [(one.field, one.resembles) for one in night.report.published.unknown_fields] == [
        ("client", "deviceId"),
        ("user_id", "viewerId"),
        ("quality", None),
    ]


def land_in(world: World, folder: str, **fields: object) -> None:
    path = world.settings.landing / "viewing_sessions" / folder / "a.ndjson"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(session(NEW, number, **fields)) + "\n" for number in range(100)))


def test_a_folder_that_resembles_a_field_is_named(ordinary):
    """Below `isDeleted=true/` nothing is deleted. Days and regions are no fields, and resemble none."""
    land_in(ordinary, "day=2026-01-30/region=eu/isDeleted=true/streamId=live")
    unknown = run(ordinary).report.as_json()["unknown_fields"]
    assert unknown == [{"entity": "viewing_sessions", "field": "isDeleted", "records": 100, "resembles": "deleted"}]


def test_a_folder_that_holds_what_all_lack_refuses(ordinary):
    """As a field of another name does; the remedy helps."""
    land_in(ordinary, "viewer%5Fkey=ann", viewerId=None)
    with pytest.raises(
        RefusedToPublish, match=r'100 records have viewer_key, .*rename = \{ viewer_key = "viewerId" \}'
    ):
        run(ordinary)
    (ordinary.settings.landing / "mostwatched.toml").write_text(
        '[viewing_sessions]\nrename = { viewer_key = "viewerId" }'
    )
    night = run(ordinary, allow_incomplete=True)  # for they all have one viewer
    assert night.report.as_json()["unknown_fields"] == []
    assert max(count for _, count in night.viewers(window=1)) == 1


# --- the bounds


def file(key: str, day: str, rows: int, lacking: int) -> RawFile:
    missing = {"viewer_id": lacking, "device_id": rows, "ended_at": 0, "stream_id": rows, "person": lacking}
    written = {day: WrittenFile(rows, 1, "", "", missing=missing)}
    return RawFile("", key, "viewing_sessions", f"{key}.ndjson", "", 0, 1, rows, rows, 0, 0, {}, {}, written, None)


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_tenth_of_what_was_there_is_enough(had, have):
    """Where at least half had it: a tenth of that or less is gone, six tenths or less are worth a look."""
    found = find_signals([file("old", "2026-01-29", 100, 100 - had), file("new", NEW, 100, 100 - have)], {"old"})
    gone = had >= 50 and have * 10 <= had
    half = had >= 50 and not gone and have * 10 <= 6 * had
    assert (bool(found.gone), bool(found.weaker), found.unread) == (gone, half, [])


@given(st.integers(0, 60), st.integers(0, 60))
def test_of_a_few_nothing_is_said(rows, rows_before):
    """Neither of a few new sessions, nor beside a few of before."""
    files = [file("old", "2026-01-29", rows_before, 0), file("new", NEW, rows, rows)]
    is_judged = rows >= LEAST_SESSIONS
    assert bool(find_signals(files, {"old"}).gone) == is_judged


def test_a_file_of_random_keys_names_few(tmp_path):
    """The fields in most records are named, and those that resemble one of the contract come first."""
    names = {f"k{number:04}": number for number in range(1000)} | {"viewerID": 2000}
    one = RawFile("", "k", "viewing_sessions", "a", "", 0, 1, 0, 0, 0, 0, names, {}, {}, None)
    found = unknown_fields([one])
    assert (found[0].field, found[0].resembles, len(found)) == ("viewerID", "viewerId", 50)
    assert re.fullmatch(r"k09\d\d", found[-1].field)


@pytest.mark.parametrize(
    ("name", "resembles"), [("viewerID", "viewerId"), ("endTime", "endedAt"), ("device_uuid", "deviceId")]
)
def test_what_one_writer_of_several_calls_otherwise_is_warned_of(world, name, resembles):
    """It is a fifth of the new sessions, and refuses nothing: of that writer all is lost."""
    session = {"creatorId": "ada", "startedAt": "2026-01-05T10:00:00Z"}
    more = {"viewerId": "v", "endedAt": "2026-01-05T10:30:00Z", "deviceId": "d"}
    world.land("viewing_sessions", [session | more | {"sessionId": f"s{number}"} for number in range(40)])
    odd = {(name if key == resembles else key): value for key, value in more.items()}
    world.land("viewing_sessions", [session | odd | {"sessionId": f"o{number}"} for number in range(10)], "odd.ndjson")
    said = [each for each in world.run(compare=False).report.as_json()["warnings"] if "odd.ndjson" in each]
    assert said == [
        f"10 sessions in viewing_sessions/odd.ndjson have no {resembles}, but {name}, which the contract does not know"
        f": have it exported as {resembles}, or say in mostwatched.toml under [viewing_sessions]: rename = {{ {name} = "
        f'"{resembles}" }}.'
    ]
