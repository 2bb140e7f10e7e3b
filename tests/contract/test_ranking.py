"""GET /api/v1/live-stream/most-watched-creators"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from calling import Client, StoppedClock
from published import EXAMPLE, FOLLOWER, STRANGER, many, publish, ranked
from tokens import bearer, claims, sign

PATH = "/api/v1/live-stream/most-watched-creators"
EXAMPLES = Path(__file__).parent / "examples"


def test_body_is_the_document_to_the_letter(example_client: Client) -> None:
    """The example body, key order included, but for the instant of the answer."""
    example = (EXAMPLES / "most-watched-creators.200.json").read_text("utf-8")
    body = example_client.get(PATH, headers=bearer(sign(claims(FOLLOWER)))).text
    expected = json.dumps(json.loads(example), ensure_ascii=False, separators=(",", ":"))
    cut = expected.index('"timestamp":"') + len('"timestamp":"')
    assert body[:cut] == expected[:cut]
    assert body[cut:] == '2026-05-28T20:26:40.000Z"}'


def test_is_following_is_null_without_a_token_and_true_or_false_with_one(example_client: Client) -> None:
    def following(headers: dict[str, str]) -> object:
        return example_client.get(PATH, headers=headers).json()["data"][0]["isFollowing"]

    assert following({}) is None
    assert following(bearer(sign(claims(FOLLOWER)))) is True
    assert following(bearer(sign(claims(STRANGER)))) is False


def test_following_is_told_creator_by_creator(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> None:
    follows = [("a", "c0001"), ("b", "c0002"), ("b", "c0004"), ("b", "gone"), ("ç", "c0003")]
    rows = [{"user_id": user, "creator_id": creator} for user, creator in follows]
    publish(home, many(5) | {"private/follows": rows})
    client = client_for(jwks=str(jwks_file))

    def followed(user: str, limit: int = 100) -> list[str]:
        data = client.get(f"{PATH}?limit={limit}", headers=bearer(sign(claims(user)))).json()["data"]
        assert len(data) == min(limit, 5)
        return [creator["_id"] for creator in data if creator["isFollowing"]]

    assert followed("a") == ["c0001"]
    assert followed("b") == ["c0002", "c0004"]
    assert followed("b", limit=3) == ["c0002"]
    assert followed("ç") == ["c0003"]
    assert [followed(user) for user in ("", "aa", "z", "\U0001f600")[1:]] == [[], [], []]


def test_unsorted_private_rows_are_sorted_when_loaded(
    home: Path, jwks_file: Path, client_for: Callable[..., Client]
) -> None:
    rows = [{"user_id": user, "creator_id": "c0001"} for user in ("z", "a", "m")]
    publish(home, many(1) | {"private/follows": rows})
    client = client_for(jwks=str(jwks_file))
    for user in ("a", "m", "z"):
        assert client.get(PATH, headers=bearer(sign(claims(user)))).json()["data"][0]["isFollowing"] is True


def test_unknown_creator_has_every_key_and_the_id_as_username(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, {"creator_rankings": ranked("nobody")})
    assert client_for().get(PATH).json()["data"] == [
        {
            "_id": "nobody",
            "username": "nobody",
            "name": None,
            "surname": None,
            "availabilityStatus": None,
            "profilePhoto": None,
            "expertise": None,
            "isFollowing": None,
        }
    ]


def test_profile_text_is_escaped(home: Path, client_for: Callable[..., Client]) -> None:
    """Whatever a profile holds, the body is JSON and holds just that."""
    odd = 'q"b\\n\n\x00\x1f\u2028</script>é😀\ufeff'
    publish(home, {"creator_rankings": ranked(odd), "creators": [{"creator_id": odd, "username": odd}]})
    creator = client_for().get(PATH).json()["data"][0]
    assert (creator["_id"], creator["username"]) == (odd, odd)


def test_only_the_thirty_day_window_in_order_of_position(home: Path, client_for: Callable[..., Client]) -> None:
    rows = [*ranked("x", "y", window_days=7), *reversed(ranked("b", "c", "a"))]
    publish(home, {"creator_rankings": rows})
    assert [creator["_id"] for creator in client_for().get(PATH).json()["data"]] == ["b", "c", "a"]


def test_an_empty_ranking_is_an_empty_list(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home)
    response = client_for().get(PATH)
    assert (response.status_code, response.json()["data"]) == (200, [])


def test_a_snapshot_without_the_window_is_not_served(home: Path, client_for: Callable[..., Client]) -> None:
    """An empty list would look like an answer."""
    publish(home, {"creator_rankings": ranked("a", window_days=7)}, windows=(1, 7))
    assert client_for().get(PATH).status_code == 503


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 100),
        ("?", 100),
        ("?limit=1", 1),
        ("?limit=99", 99),
        ("?limit=999", 999),
        ("?limit=1000", 1000),
        ("?limit=%31%30", 10),
        ("?other=1&limit=7&x=%ff", 7),
        ("?Limit=7", 100),
        ("?limitt=0&=&&", 100),
    ],
)
def test_limit_cuts_by_position(home: Path, client_for: Callable[..., Client], query: str, count: int) -> None:
    publish(home, many(1005))
    data = client_for().get(PATH + query).json()["data"]
    assert [creator["_id"] for creator in data] == [f"c{at:04}" for at in range(1, count + 1)]


@pytest.mark.parametrize(
    "limit",
    [
        "",
        "0",
        "1001",
        "10000",
        "-1",
        "+1",
        "1.0",
        "1e2",
        "01",
        " 1",
        "1 ",
        "１",
        "١",
        "abc",
        "null",
        "1,2",
        "%ff",
        "0x10",
    ],
)
def test_bad_limit_is_400(example_client: Client, limit: str) -> None:
    response = example_client.get(f"{PATH}?limit={limit}")
    assert response.headers["X-Invalid-Parameter"] == "limit"
    assert response.status_code == 400
    expected = json.loads((EXAMPLES / "most-watched-creators.400.json").read_text("utf-8"))
    assert response.json() | {"timestamp": expected["timestamp"]} == expected
    assert list(response.json()) == list(expected)


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=1&limit=2", "limit&limit=5", "%6cimit=1&limit=1"])
def test_limit_more_than_once_is_400(example_client: Client, query: str) -> None:
    assert example_client.get(f"{PATH}?{query}").status_code == 400


def test_headers_say_which_snapshot_and_which_days(home: Path, client: Client) -> None:
    headers = client.get(PATH).headers
    assert headers["X-Snapshot-Id"] == next(path.name for path in (home / "snapshots").glob("2026-*"))
    assert headers["X-Window"] == "2026-10-22/2026-11-21"
    assert headers["X-Data-Until"] == "2026-11-20T23:59:58.000Z"
    assert headers["Vary"] == "Authorization, Accept-Encoding"
    assert headers["Cache-Control"].startswith("public, max-age=")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "application/json"


def test_data_until_is_absent_without_sessions(home: Path, client_for: Callable[..., Client]) -> None:
    publish(home, newest_session_at=None)
    assert "X-Data-Until" not in client_for().get(PATH).headers


def test_answers_to_a_token_are_private(example_client: Client) -> None:
    headers = example_client.get(PATH, headers=bearer(sign(claims(FOLLOWER)))).headers
    assert headers["Cache-Control"].startswith("private")
    assert headers["Vary"] == "Authorization, Accept-Encoding"


def test_etag_is_weak_and_names_snapshot_and_representation(example_client: Client) -> None:
    first = example_client.get(PATH).headers
    etag = first["ETag"]
    assert etag.startswith(f'W/"{first["X-Snapshot-Id"]}-')
    follower, stranger = bearer(sign(claims(FOLLOWER))), bearer(sign(claims(STRANGER)))
    others = [
        example_client.get(f"{PATH}?limit=99").headers["ETag"],
        example_client.get(PATH, headers=follower).headers["ETag"],
        example_client.get(PATH, headers=stranger).headers["ETag"],
    ]
    assert len({etag, *others}) == 4
    assert example_client.get(f"{PATH}?limit=100").headers["ETag"] == etag
    assert not any(FOLLOWER in other or STRANGER in other for other in others)


@pytest.mark.parametrize("form", ["{}", '{}, "x"', '"a,b" , W/"y",{}', "*", " * ", "strong"])
def test_if_none_match_is_304(example_client: Client, form: str) -> None:
    fresh = example_client.get(PATH).headers
    value = fresh["ETag"].removeprefix("W/") if form == "strong" else form.replace("{}", fresh["ETag"])
    response = example_client.get(PATH, headers={"If-None-Match": value})
    assert (response.status_code, response.content) == (304, b"")
    for name in ("ETag", "Vary", "Cache-Control"):
        assert response.headers[name] == fresh[name]


def test_if_none_match_on_several_lines(example_client: Client) -> None:
    etag = example_client.get(PATH).headers["ETag"]
    assert example_client.get(PATH, headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)]).status_code == 304


@pytest.mark.parametrize("value", ['"x"', "", "x", 'W/"', "**", '"*"'])
def test_another_if_none_match_is_200(example_client: Client, value: str) -> None:
    assert example_client.get(PATH, headers={"If-None-Match": value}).status_code == 200


def test_304_for_a_token_depends_on_what_that_caller_sees(example_client: Client) -> None:
    follower, stranger = bearer(sign(claims(FOLLOWER))), bearer(sign(claims(STRANGER)))
    etag = example_client.get(PATH, headers=follower).headers["ETag"]
    assert example_client.get(PATH, headers=follower | {"If-None-Match": etag}).status_code == 304
    assert example_client.get(PATH, headers=stranger | {"If-None-Match": etag}).status_code == 200
    assert example_client.get(PATH, headers={"If-None-Match": etag}).status_code == 200


def test_a_new_snapshot_has_another_etag(home: Path, client: Client) -> None:
    etag = client.get(PATH).headers["ETag"]
    publish(home, EXAMPLE, as_of="2026-11-22")
    assert client.get(PATH, headers={"If-None-Match": etag}).status_code == 200


def test_timestamp_is_the_instant_of_the_answer(client: Client, clock: StoppedClock) -> None:
    clock.advance(3.007)
    assert client.get(PATH).json()["timestamp"] == "2026-05-28T20:26:43.007Z"
    clock.advance(60)
    assert client.get(PATH).json()["timestamp"] == "2026-05-28T20:27:43.007Z"
