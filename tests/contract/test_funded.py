"""GET /api/v1/live-stream/funded"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from calling import Client, StoppedClock
from published import CREATOR_ID, EXAMPLE, FOLLOWER, STREAM, publish, ts
from tokens import NOW, bearer, claims, sign

PATH = "/api/v1/live-stream/funded"
EXAMPLES = Path(__file__).parent / "examples"

Funded = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def funded(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> Funded:
    """What a caller sees of the given streams, all of which `backer` has funded."""

    def call(
        streams: list[Mapping[str, Any]],
        caller: str = "backer",
        rentals: list[Mapping[str, Any]] | None = None,
        **tables: list[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        ids = [stream["stream_id"] for stream in streams]
        users = sorted({"backer", caller})
        publish(
            home,
            {
                "live_streams": sorted(streams, key=lambda stream: stream["stream_id"]),
                "private/funded_streams": [
                    {"user_id": user, "stream_id": one} for user in users for one in sorted(ids)
                ],
                "private/replay_rentals": rentals or [],
                **tables,
            },
        )
        client = client_for(jwks=str(jwks_file))
        response = client.get(PATH, headers=bearer(sign(claims(caller))))
        assert response.status_code == 200
        return response.json()["data"]

    return call


def stream(stream_id: str = "s1", **values: Any) -> dict[str, Any]:
    """A scheduled stream with as little as may be."""
    return {"stream_id": stream_id, "creator_id": "host", "status": "scheduled", **values}


def test_body_is_the_document_to_the_letter(client: Client, clock: StoppedClock) -> None:
    """The example body, key order included.

    Two of its values contradict the document's own text or the meaning of its fields, and README settles
    them: only scheduled streams are listed, and an owner has nothing to rent.
    """
    clock.us = round((ts("2026-01-15T10:30:00.000Z").timestamp() - 3600) * 1_000_000)
    example = json.loads((EXAMPLES / "funded.200.json").read_text("utf-8"))
    example["data"][0]["status"] = "scheduled"
    example["data"][0]["replayAccess"]["canRent"] = False
    example["timestamp"] = "2026-01-15T09:30:00.000Z"
    token = sign(claims(CREATOR_ID, exp=2_000_000_000))
    expected = json.dumps(example, ensure_ascii=False, separators=(",", ":"))
    assert client.get(PATH, headers=bearer(token)).text == expected


def test_without_a_token_it_is_the_documents_401(example_client: Client) -> None:
    response = example_client.get(PATH)
    expected = json.loads((EXAMPLES / "funded.401.json").read_text("utf-8"))
    assert response.status_code == 401
    assert list(response.json().items())[:4] == list(expected.items())[:4]
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_nobody_sees_what_another_has_funded(example_client: Client) -> None:
    response = example_client.get(PATH, headers=bearer(sign(claims(FOLLOWER))))
    assert (response.status_code, response.json()["data"]) == (200, [])


def test_it_is_never_stored(example_client: Client) -> None:
    headers = example_client.get(PATH, headers=bearer(sign(claims(CREATOR_ID)))).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Vary"] == "Authorization"
    assert "ETag" not in headers


def test_only_scheduled_streams(funded: Funded) -> None:
    states = ["scheduled", "active", "ended", "Scheduled", "cancelled"]
    data = funded([stream(f"s{at}", status=status) for at, status in enumerate(states)])
    assert [one["id"] for one in data] == ["s0"]


def test_no_streams_of_banned_and_deleted_creators(funded: Funded) -> None:
    states = {"a": "active", "b": "banned", "c": None, "d": "deleted"}
    creators = [{"creator_id": name, "status": status} for name, status in states.items()]
    streams = [stream(f"s {name}", creator_id=name) for name in (*states, "without a profile")]
    assert {one["id"] for one in funded(streams, creators=creators)} == {"s a", "s c", "s without a profile"}


def test_soonest_planned_start_first_then_unplanned_then_by_id(funded: Funded) -> None:
    starts = {
        "a": None,
        "b": "2026-06-02T00:00:00Z",
        "c": "2026-06-01T00:00:00Z",
        "d": None,
        "e": "2026-06-01T00:00:00Z",
    }
    streams = [stream(name, planned_start_date=start and ts(start)) for name, start in starts.items()]
    assert [one["id"] for one in funded(streams)] == ["c", "e", "b", "a", "d"]


def test_every_key_is_there_when_nothing_is_known(funded: Funded) -> None:
    [body] = funded([stream()])
    example = json.loads((EXAMPLES / "funded.200.json").read_text("utf-8"))["data"][0]
    assert list(body) == list(example)
    assert list(body["replayAccess"]) == list(example["replayAccess"])
    assert list(body["creator"]) == list(example["creator"])
    known = {
        "id": "s1",
        "broadcasters": [],
        "guests": [],
        "miniCrowdFundings": [],
        "creator": dict.fromkeys(example["creator"]) | {"_id": "host", "username": "host"},
        "replayAccess": dict.fromkeys(example["replayAccess"])
        | {"status": "none", "canRent": False, "canViewRecording": False},
        "status": "scheduled",
        "role": "viewer",
    }
    assert body == dict.fromkeys(example) | known


def test_nested_json_is_passed_on_as_it_landed(funded: Funded) -> None:
    texts = {"broadcasters": '["x",{"_id":"y","n":1.50}]', "guests": "[]", "mini_crowd_fundings": '[{"goal":10}]'}
    [body] = funded([stream(**texts)])
    assert body["broadcasters"] == ["x", {"_id": "y", "n": 1.5}]
    assert body["miniCrowdFundings"] == [{"goal": 10}]


@pytest.mark.parametrize(
    ("value", "text"),
    [("500.00", "500"), ("9.99", "9.99"), ("9.90", "9.9"), ("0.00", "0"), ("1000000", "1000000"), ("0.01", "0.01")],
)
def test_numbers_are_as_short_as_they_are(
    home: Path, jwks_file: Path, client_for: Callable[..., Client], value: str, text: str
) -> None:
    publish(
        home,
        {
            "live_streams": [stream(price=Decimal(value), funding_goal=Decimal(value))],
            "live_stream_funding": [
                {"stream_id": "s1", "collected_funding": Decimal(value), "funding_percentage": 100}
            ],
            "private/funded_streams": [{"user_id": "u", "stream_id": "s1"}],
        },
    )
    body = client_for(jwks=str(jwks_file)).get(PATH, headers=bearer(sign(claims("u")))).text
    assert f'"price":{text},"interest"' in body
    assert f'"fundingGoal":{text},"collectedFunding":{text},"fundingPercentage":100,' in body


@pytest.mark.parametrize(
    ("caller", "role"),
    [
        ("host", "host"),
        ("co", "host"),
        ("co2", "host"),
        ("both", "host"),
        ("guest", "guest"),
        ("g2", "guest"),
        ("g3", "guest"),
        ("backer", "viewer"),
        ("7", "viewer"),
        ("name", "viewer"),
    ],
)
def test_role(funded: Funded, caller: str, role: str) -> None:
    """Broadcasters and guests are ids, or objects with one under _id, id or userId."""
    one = stream(
        broadcasters='["co",{"_id":"co2","name":"name"},"both",7,null,[]]',
        guests='[{"id":"guest"},{"userId":"g2"},"g3","both"]',
    )
    assert funded([one], caller)[0]["role"] == role


def _rental(hours: float, *, price: str | None = "5.00", stream_id: str = "s1", user: str = "backer") -> dict[str, Any]:
    now = ts("2026-05-28T20:26:40.000Z")
    assert now.timestamp() == NOW
    return {
        "user_id": user,
        "stream_id": stream_id,
        "rented_at": now - timedelta(days=2),
        "expires_at": now + timedelta(hours=hours),
        "price": price and Decimal(price),
    }


def _access(**values: Any) -> dict[str, Any]:
    rental = {"price": 5, "rentedAt": "2026-05-26T20:26:40.000Z"}
    return {"status": "rented", "canRent": True, "canViewRecording": True} | rental | values


REPLAYABLE = stream(replay_credit_price=Decimal("3.50"), recording_url="https://cdn.example.com/r.mp4")


@pytest.mark.parametrize(
    ("caller", "rentals", "access"),
    [
        ("backer", [_rental(1)], _access(expiresAt="2026-05-28T21:26:40.000Z", remainingSeconds=3600)),
        (
            "backer",
            [_rental(1, price=None)],
            _access(price=3.5, expiresAt="2026-05-28T21:26:40.000Z", remainingSeconds=3600),
        ),
        (
            "backer",
            [_rental(-1)],
            _access(status="expired", canViewRecording=False, expiresAt="2026-05-28T19:26:40.000Z", remainingSeconds=0),
        ),
        (
            "backer",
            [_rental(0)],
            _access(status="expired", canViewRecording=False, expiresAt="2026-05-28T20:26:40.000Z", remainingSeconds=0),
        ),
        ("backer", [_rental(1.999 / 3600)], _access(expiresAt="2026-05-28T20:26:41.999Z", remainingSeconds=1)),
        (
            "backer",
            [_rental(2, price="7"), _rental(3, price="8"), _rental(1, price="9")],
            _access(price=8, expiresAt="2026-05-28T23:26:40.000Z", remainingSeconds=10800),
        ),
        (
            "backer",
            [_rental(1, user="another"), _rental(1, stream_id="s2")],
            dict.fromkeys(("rentedAt", "expiresAt", "remainingSeconds"))
            | {"status": "none", "canRent": True, "canViewRecording": False, "price": 3.5},
        ),
        (
            "host",
            [],
            dict.fromkeys(("rentedAt", "expiresAt", "remainingSeconds"))
            | {"status": "owner", "canRent": False, "canViewRecording": True, "price": 3.5},
        ),
    ],
)
def test_replay_access(funded: Funded, caller: str, rentals: list[Any], access: dict[str, Any]) -> None:
    """The rental that expires last decides; the end of a rental is exclusive; seconds are rounded down."""
    rentals = sorted(rentals, key=lambda row: (row["user_id"], row["stream_id"]))
    [body] = funded([REPLAYABLE], caller, rentals)
    assert body["replayAccess"] == access
    assert body["recordingUrl"] == ("https://cdn.example.com/r.mp4" if access["canViewRecording"] else None)


def test_remaining_seconds_run_while_a_snapshot_is_served(
    home: Path, jwks_file: Path, client_for: Callable[..., Client], clock: StoppedClock
) -> None:
    rows = [{"user_id": "backer", "stream_id": "s1"}]
    publish(
        home, {"live_streams": [REPLAYABLE], "private/funded_streams": rows, "private/replay_rentals": [_rental(1)]}
    )
    client = client_for(jwks=str(jwks_file))

    def access() -> tuple[object, ...]:
        [body] = client.get(PATH, headers=bearer(sign(claims("backer", exp=NOW + 9999)))).json()["data"]
        return body["replayAccess"]["status"], body["replayAccess"]["remainingSeconds"], body["recordingUrl"] is None

    assert access() == ("rented", 3600, False)
    clock.advance(3599.001)
    assert access() == ("rented", 0, False)
    clock.advance(0.999)
    assert access() == ("expired", 0, True)


def test_instants_have_three_digits_of_milliseconds(funded: Funded) -> None:
    [body] = funded([stream(started_at=ts("2026-01-15T10:30:00.007Z"), ended_at=ts("1969-12-31T23:59:59.999Z"))])
    assert body["startedAt"] == "2026-01-15T10:30:00.007Z"
    assert body["endedAt"] == "1969-12-31T23:59:59.999Z"


def test_the_subject_claim_can_be_another(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> None:
    publish(home, EXAMPLE)
    client = client_for(jwks=str(jwks_file), jwt_subject_claim="userId")
    [body] = client.get(PATH, headers=bearer(sign(claims("ignored", userId=CREATOR_ID)))).json()["data"]
    assert body["id"] == STREAM["stream_id"]
