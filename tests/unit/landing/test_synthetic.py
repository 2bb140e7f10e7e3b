"""The synthetic platform: the same everywhere, and as untidy as it says."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.core.errors import UsageError
from pipelines.landing.synthetic import GeneratedSummary, generate
from pipelines.landing.synthetic.draws import Draws, Popularity, hexadecimal, hexadecimal_of_one

AS_OF = date(2026, 3, 2)
# Of the platform below, by file name and content. Changes only when the generator means to make other data.
PLATFORM_SHA256 = "21e3291d1670caf99ffad76d277eeacc77136c7bfa9b2b6c4486f2561d7963c4"


def a_platform(directory: Path, **changes: Any) -> GeneratedSummary:
    arguments: dict[str, Any] = {"days": 6, "sessions_per_day": 2000, "seed": 7, "as_of": AS_OF}
    return generate(directory, **(arguments | changes))


def digest_of(directory: Path) -> str:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(directory)} {sha256(path.read_bytes()).hexdigest()}\n" for path in files]
    return sha256("".join(lines).encode()).hexdigest()


def sessions_by_day(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The sessions by the day of the file they landed in, without the broken lines at its end."""
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines() if not is_broken(line)]
        for path in sorted((directory / "viewing_sessions").iterdir())
    }


def is_broken(line: str) -> bool:
    return "cut off" in line or "ffffffffffffff0" in line


def records(directory: Path, entity: str) -> list[dict[str, Any]]:
    """Every record of the entity, in order of landing."""
    found: list[dict[str, Any]] = []
    for path in sorted((directory / entity).iterdir()):
        if path.suffix == ".json":
            found += json.loads(path.read_text())["streams"]
        else:
            found += map(json.loads, path.read_text().splitlines())
    return found


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("platform")
    a_platform(directory)
    return directory


@pytest.fixture(scope="module")
def versions(platform: Path) -> dict[str, list[dict[str, Any]]]:
    """The versions of each session, in order of landing."""
    by_id: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for day, landed in sessions_by_day(platform).items():
        for session in landed:
            by_id[session["sessionId"]].append(session | {"landed": day})
    return by_id


def test_the_same_arguments_give_the_same_bytes_on_every_machine(platform: Path) -> None:
    """Down to the last byte: nothing depends on the clock, the hash seed, threads or the platform."""
    assert digest_of(platform) == PLATFORM_SHA256


def test_another_seed_gives_another_platform(platform: Path, tmp_path: Path) -> None:
    """No id of one platform occurs in the other."""
    a_platform(tmp_path, seed=8)
    ids = {session["sessionId"] for day in sessions_by_day(tmp_path).values() for session in day}
    assert not ids & {session["sessionId"] for day in sessions_by_day(platform).values() for session in day}


def test_compressed_files_hold_the_same_lines(platform: Path, tmp_path: Path) -> None:
    a_platform(tmp_path, compress=True)
    for path in platform.rglob("*.*json"):
        packed = tmp_path / path.relative_to(platform)
        assert gzip.decompress(packed.with_name(packed.name + ".gz").read_bytes()) == path.read_bytes()


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    told: list[str] = []
    summary = a_platform(tmp_path, progress=told.append)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (summary.first_day, summary.as_of) == (date(2026, 2, 24), AS_OF)
    assert summary.files == len(written)
    assert summary.bytes == sum(path.stat().st_size for path in written)
    lines = Counter[str]()
    for path in written:
        if path.suffix == ".ndjson":
            lines[path.parent.name] += path.read_bytes().count(b"\n")
    lines["lls_streams"] += len(json.loads(next(tmp_path.glob("lls_streams/*.json")).read_text())["streams"])
    assert summary.records == lines
    assert len(told) == 6
    assert json.loads(json.dumps(summary.as_json()))["as_of"] == "2026-03-02"


def test_without_mess_every_session_lands_once_on_its_day(tmp_path: Path) -> None:
    a_platform(tmp_path, mess=0)
    for day, landed in sessions_by_day(tmp_path).items():
        assert len({session["sessionId"] for session in landed}) == len(landed) == 2000
        assert all(session["startedAt"].startswith(day) and session["endedAt"] for session in landed)
        assert not any("revision" in session or "deleted" in session for session in landed)


def test_some_sessions_arrive_late(versions: dict[str, list[dict[str, Any]]]) -> None:
    """A first version that landed one to three days after the session began."""
    delays = Counter(
        (date.fromisoformat(first["landed"]) - date.fromisoformat(first["startedAt"][:10])).days
        for first, *_ in versions.values()
    )
    assert set(delays) == {0, 1, 2, 3}
    assert sum(delays[late] for late in (1, 2, 3)) > 100


def test_open_sessions_are_closed_by_a_later_revision(versions: dict[str, list[dict[str, Any]]]) -> None:
    """On the day they end, which is not always the day they began."""
    opened = [each for each in versions.values() if each[0]["endedAt"] is None]
    closed = [each for each in opened if len(each) > 1]
    assert len(opened) > 500
    assert len(opened) - len(closed) < 10  # those still watching at the very end
    assert all(each[1]["revision"] == 1 and each[1]["endedAt"][:10] == each[1]["landed"] for each in closed)
    assert any(each[0]["landed"] != each[1]["landed"] for each in closed)


def test_corrections_move_sessions_also_to_another_day(versions: dict[str, list[dict[str, Any]]]) -> None:
    corrected = [
        each for each in versions.values() if len(each) == 2 and each[0]["endedAt"] != each[1]["endedAt"] is not None
    ]
    moved = [each for each in corrected if each[0]["startedAt"] != each[1]["startedAt"]]
    assert moved
    assert all(each[0]["startedAt"][:10] != each[1]["startedAt"][:10] for each in moved)
    assert len(corrected) > len(moved)


def test_some_sessions_are_retracted_or_repeated(versions: dict[str, list[dict[str, Any]]]) -> None:
    """Repeated: the same line, twice in one file and once in the next day's."""
    assert any(each[-1].get("deleted") and each[-1]["revision"] == 1 for each in versions.values())
    repeated = [each for each in versions.values() if len(each) == 3]
    assert repeated
    for first, second, third in repeated:
        assert first == second
        assert {**third, "landed": None} == {**first, "landed": None}
        assert third["landed"] > first["landed"]


def test_some_sessions_run_over_midnight_or_cannot_be_believed(
    versions: dict[str, list[dict[str, Any]]],
) -> None:
    ended = [each[-1] for each in versions.values() if each[-1]["endedAt"]]
    assert any(session["startedAt"][:10] < session["endedAt"][:10] for session in ended)
    assert any(session["startedAt"] == session["endedAt"] for session in ended)
    spans = [
        date.fromisoformat(session["endedAt"][:10]) - date.fromisoformat(session["startedAt"][:10]) for session in ended
    ]
    assert any(span.days >= 1 for span in spans)


def test_there_are_all_kinds_of_viewers(versions: dict[str, list[dict[str, Any]]]) -> None:
    """Signed in with and without a device, anonymous, neither, and creators who watch themselves."""
    sessions = [each[0] for each in versions.values()]
    kinds = Counter(("viewerId" in session, "deviceId" in session) for session in sessions)
    assert set(kinds) == {(True, True), (True, False), (False, True), (False, False)}
    assert any(session.get("viewerId") == session["creatorId"] for session in sessions)


def test_viewers_come_back_to_their_favourites(versions: dict[str, list[dict[str, Any]]]) -> None:
    """So that the gap between two days with the same pair varies."""
    days: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in versions.values():
        if "viewerId" in each[0]:
            days[each[0]["viewerId"], each[0]["creatorId"]].add(each[0]["startedAt"][:10])
    assert Counter(map(len, days.values()))[3] > 10


def test_some_lines_are_broken(tmp_path: Path) -> None:
    """Few enough not to refuse a publish, and none in a small platform."""
    a_platform(tmp_path, sessions_per_day=3000, days=1)
    *_, cut_off, no_such_month, no_creator = (tmp_path / "viewing_sessions/2026-03-01.ndjson").read_text().splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut_off)
    assert json.loads(no_such_month)["startedAt"].startswith("2026-13")
    assert "creatorId" not in json.loads(no_creator)


def test_creators_are_active_banned_deleted_or_unknown(
    platform: Path, versions: dict[str, list[dict[str, Any]]]
) -> None:
    profiles = records(platform, "creators")
    assert {profile["status"] for profile in profiles} == {"active", "banned", "deleted"}
    watched = {each[0]["creatorId"] for each in versions.values()}
    assert len(watched - {profile["_id"] for profile in profiles}) == 1


def test_pledges_are_in_every_state(platform: Path) -> None:
    pledges = records(platform, "pledges")
    assert {pledge["status"] for pledge in pledges} == {"pending", "captured", "refunded", "failed"}
    refunds = [pledge for pledge in pledges if pledge["status"] == "refunded"]
    assert {"refundedAmount" in refund for refund in refunds} == {True, False}
    assert all(refund.get("refundedAmount", 0) <= refund["amount"] for refund in refunds)
    assert all("capturedAt" in pledge for pledge in pledges if pledge["status"] in {"captured", "refunded"})


def test_scheduled_streams_are_still_to_come_and_some_have_no_goal(platform: Path) -> None:
    newest = {stream["id"]: stream for stream in records(platform, "live_streams")}
    scheduled = [stream for stream in newest.values() if stream["status"] == "scheduled"]
    assert len(scheduled) >= 5
    assert all(stream["plannedStartDate"] > "2026-03-02" for stream in scheduled)
    assert {pledge["streamId"] for pledge in records(platform, "pledges")} <= {each["id"] for each in scheduled}
    assert "ended" in {stream["status"] for stream in newest.values()}


def test_some_rentals_are_over_and_some_still_run(platform: Path) -> None:
    expiries = [rental["expiresAt"] for rental in records(platform, "replay_rentals")]
    assert min(expiries) < "2026-03-02" <= max(expiries)


def test_some_users_unfollow_and_some_are_erased(platform: Path) -> None:
    follows = records(platform, "follows")
    assert any(follow.get("deleted") for follow in follows)
    assert not all(follow.get("deleted") for follow in follows)
    assert len(records(platform, "erasures")) == 3


@pytest.mark.parametrize("entity", ["creators", "live_streams", "pledges", "follows", "replay_rentals"])
def test_a_version_lands_on_the_day_it_was_made(platform: Path, entity: str) -> None:
    """And so before as_of; profiles of the first day may be older."""
    for path in sorted((platform / entity).iterdir()):
        updated = {json.loads(line)["updatedAt"][:10] for line in path.read_text().splitlines()}
        assert max(updated) <= path.stem
        assert path.stem == "2026-02-24" or min(updated) == path.stem


def test_a_platform_may_have_no_sessions(tmp_path: Path) -> None:
    summary = a_platform(tmp_path, sessions_per_day=0, days=2)
    assert summary.records["viewing_sessions"] == 0
    assert summary.records["creators"] > 0


@pytest.mark.parametrize(
    "impossible",
    [{"days": 0}, {"sessions_per_day": -1}, {"creators": 9}, {"viewers": 2**31}, {"mess": -0.1}, {"mess": 6}],
)
def test_a_platform_that_cannot_be_is_wrong_usage(tmp_path: Path, impossible: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="it must be from"):
        a_platform(tmp_path, **impossible)


def test_a_column_of_draws_is_the_draws_one_by_one() -> None:
    counters = [0, 1, 2, 1 << 32, (1 << 63) + 5]
    draws = Draws(3, "a stream")
    column = pl.Series(counters, dtype=pl.UInt64)
    assert draws.column(column).to_list() == [draws.one(counter) for counter in counters]
    assert draws.column_below(column, 1000).to_list() == [draws.below(counter, 1000) for counter in counters]
    assert hexadecimal(draws.column(column)).to_list() == [hexadecimal_of_one(draws.one(n)) for n in counters]


def test_draws_follow_splitmix64() -> None:
    """Against the published first outputs of splitmix64 seeded with 1234567."""
    draws = Draws(0, "")
    draws._key = (1234567 + 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    assert [draws.one(n) for n in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_popularity_falls_like_a_harmonic_series() -> None:
    draws = Draws(1, "x").column(pl.int_range(0, 100_000, dtype=pl.UInt64, eager=True))
    counts = Counter(Popularity(100).column(draws).to_list())
    assert set(counts) <= set(range(100))
    assert counts[0] / counts[8] == pytest.approx(5, rel=0.1)  # 1/2 to 1/10
