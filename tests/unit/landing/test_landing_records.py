"""Which landed objects become records, and what is said about the others."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from pipelines.landing.records import (
    MAX_UNKNOWN_NAMES,
    MISSING,
    NULL_AS_TEXT,
    NULL_SPELLINGS,
    ROUNDED,
    TWO_SPELLINGS,
    Acceptor,
)
from pipelines.landing.schema import (
    CAPTURED_WITHOUT_INSTANT,
    ENDED_BEFORE_STARTED,
    ENTITIES,
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    RAW_SCHEMAS,
    REFUND_TOO_LARGE,
    landed_fields,
)
from pipelines.landing.values import NO_OFFSET, Rejected

AT = "2026-01-05T10:00:00Z"
AT_MS = 1767607200000
OID = "64d15f9e2e6c8f4d5a123456"
LEAST: dict[str, dict[str, Any]] = {
    "viewing_sessions": {"sessionId": "s", "creatorId": "c", "startedAt": AT},
    "creators": {"_id": "c", "username": "ada"},
    "live_streams": {"id": "l", "creatorId": "c", "status": "scheduled"},
    "pledges": {"pledgeId": "p", "userId": "u", "streamId": "l", "amount": 5, "status": "pending"},
    "follows": {"userId": "u", "creatorId": "c"},
    "replay_rentals": {"userId": "u", "streamId": "l", "rentedAt": AT, "expiresAt": AT},
    "lls_streams": {"id": "l", "domain": "d", "app": "a", "stream": "s", "created": AT, "status": "active"},
    "erasures": {"userId": "u"},
}


def accept(entity: str, landed: dict[str, Any] | str = "", **more: Any) -> dict[str, Any]:
    text = landed if isinstance(landed, str) and landed else json.dumps(LEAST[entity] | (landed or {}) | more)
    return msgspec.structs.asdict(Acceptor(entity).accept_json(text))


def reject(entity: str, landed: dict[str, Any] | str = "", **more: Any) -> tuple[str | None, str]:
    with pytest.raises(Rejected) as rejected:
        accept(entity, landed, **more)
    return rejected.value.field, rejected.value.reason


@pytest.mark.parametrize("entity", ENTITIES)
def test_the_required_fields_suffice(entity: str) -> None:
    """Everything else may be absent or null, which is the same."""
    absent = accept(entity)
    optional = {each.name: None for each in landed_fields(entity) if not each.required and "." not in each.name}
    assert accept(entity, optional) == absent


@pytest.mark.parametrize("entity", ENTITIES)
def test_each_required_field_is_required(entity: str) -> None:
    """Absent, or null, is "missing", and the field is named as it lands."""
    for name in LEAST[entity]:
        assert reject(entity, {name: None}) == (name, MISSING)
        assert reject(entity, json.dumps({k: v for k, v in LEAST[entity].items() if k != name})) == (name, MISSING)


@pytest.mark.parametrize("entity", ENTITIES)
def test_no_value_is_bent_into_another_type(entity: str) -> None:
    """What would lose something, or have to be guessed: 1.5 is no id, 1e2 no integer, 2 not true, 5 no instant."""
    wrong: dict[str, list[str]] = {
        "str": ["5.0", "1.5", "true", "[]", "{}", '{"$date":5}', '{"$numberLong":5}'],
        "int": [
            '"five"',
            '""',
            '"1.5"',
            '"+5"',
            '"05"',
            "1.5",
            "1e2",
            "true",
            "[]",
            '{"$numberDouble":"5"}',
            '{"$numberLong":5}',
        ],
        "bool": ["2", "-1", "1.0", '"yes"', '"\u212aalse"', '""', "[]"],
        "Instant": ["5", "1.5", "true", '"5"', '{"$oid":"' + OID + '"}', '{"$numberLong":"5"}'],
        "Money": ["true", "[]", '"five"', '"1e2"', '{"$date":5}', '{"$numberDecimal":"NaN"}'],
        "JsonObject": ["[]", '"{}"', "5"],
        "JsonArray": ["{}", '"[]"', "5"],
    }
    for each in landed_fields(entity):
        if "." in each.name:
            continue
        for text in wrong[each.kind.__name__]:
            least = json.dumps({k: v for k, v in LEAST[entity].items() if k != each.name})
            field, reason = reject(entity, f'{least[:-1]}{"," if len(least) > 2 else ""}"{each.name}":{text}}}')
            assert field == each.name
            assert reason


def test_one_value_is_one_value_in_every_notation() -> None:
    """As formats without a type for it write it: nothing is lost, and no two ids become one."""
    for written in (5, "5", {"$numberLong": "5"}, {"$numberInt": "5"}):
        assert accept("viewing_sessions", viewerId=written)["viewer_id"] == "5"
        assert accept("viewing_sessions", revision=written)["revision"] == 5
    assert accept("viewing_sessions", sessionId=12345678901234567890123)["session_id"] == "12345678901234567890123"
    assert accept("viewing_sessions", json.dumps(LEAST["viewing_sessions"])[:-1] + ',"revision":5.0}')["revision"] == 5
    for true, false in ((True, False), ("true", "false"), ("t", "f"), ("True", "FALSE"), (1, 0), ("1", "0")):
        found = [accept("viewing_sessions", deleted=each)["deleted"] for each in (true, false)]
        assert found == [True, False]
    assert accept("live_streams", price="9.99")["price"] == accept("live_streams", price=9.99)["price"]


@pytest.mark.parametrize("text", sorted(NULL_SPELLINGS))
def test_null_as_a_text_is_nobody(text: str) -> None:
    """It would be one viewer that all anonymous ones are; in a title, and in words that only begin so, it is a text."""
    for name in ("viewerId", "deviceId"):
        assert reject("viewing_sessions", {name: text}) == (name, NULL_AS_TEXT)
    assert reject("follows", userId=text) == ("userId", NULL_AS_TEXT)
    assert reject("viewing_sessions", endedAt=text) == ("endedAt", NULL_AS_TEXT)
    assert accept("viewing_sessions", viewerId=f"{text}1")["viewer_id"] == f"{text}1"
    assert accept("live_streams", title=text)["title"] == text


@pytest.mark.parametrize("text", ["1.77305E+12", "1,77305E+12", "-1.0E+12", "1.7730504e+18", "1.7976931348623157e+308"])
def test_a_rounded_id_is_nobody(text: str) -> None:
    """A spreadsheet makes one id of all that begin alike. What only looks a little like it is an id, as all else is."""
    for name in ("viewerId", "deviceId"):
        assert reject("viewing_sessions", {name: text}) == (name, ROUNDED)
    for other in (f"{text}0a", text.replace("+", ""), f"a{text}", "user+1e@x", "1.5E+1", "1E+02"):
        assert accept("viewing_sessions", viewerId=other)["viewer_id"] == other
    assert accept("viewing_sessions", sessionId=text)["session_id"] == text


@pytest.mark.parametrize("entity", ENTITIES)
def test_both_spellings_are_one_field(entity: str) -> None:
    """snake_case is accepted; both at once are not, even where one of them is null."""
    columns = {"_id": "_id", "id": "id"}
    snake = {columns.get(k, msgspec_snake(k)): v for k, v in LEAST[entity].items()}
    assert accept(entity, json.dumps(snake)) == accept(entity)
    for name in LEAST[entity]:
        if msgspec_snake(name) != name:
            assert reject(entity, {msgspec_snake(name): None}) == (name, TWO_SPELLINGS)


def msgspec_snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def test_a_session_with_everything() -> None:
    """Every field arrives in its column."""
    landed = {
        "endedAt": "2026-01-05T13:00:00.1239+03:00", "viewerId": "v", "deviceId": "d", "streamId": "l", "source": "web",
        "deleted": True, "revision": 2**63 - 1,
    }  # fmt: skip
    assert accept("viewing_sessions", landed) == {
        "session_id": "s", "creator_id": "c", "started_at": AT_MS, "ended_at": AT_MS + 123, "viewer_id": "v",
        "device_id": "d", "stream_id": "l", "source": "web", "deleted": True, "revision": 2**63 - 1,
    }  # fmt: skip


def test_a_source_that_is_not_there_is_empty() -> None:
    """Absent, null and "" are the same source, so that they are the same session."""
    assert [accept("viewing_sessions", more)["source"] for more in ({}, {"source": None}, {"source": ""})] == [""] * 3


@pytest.mark.parametrize("revision", [-1, 2**63, 10**40])
def test_revisions_fit_64_bits(revision: int) -> None:
    """From 0 to 2^63-1."""
    assert reject("viewing_sessions", revision=revision) == ("revision", "not an integer from 0 to 2^63-1")


@pytest.mark.parametrize("name", ["sessionId", "creatorId", "viewerId", "deviceId", "streamId"])
def test_an_empty_id_is_rejected(name: str) -> None:
    """An id that is not there is null; "" would be one viewer that everybody is."""
    field, reason = reject("viewing_sessions", {name: ""})
    assert field == name
    assert "use null" in reason


@pytest.mark.parametrize(
    ("entity", "name", "longest"),
    [
        *(
            ("viewing_sessions", name, MAX_ID_CHARS)
            for name in ("sessionId", "creatorId", "viewerId", "deviceId", "source")
        ),
        *(("creators", name, MAX_NAME_CHARS) for name in ("username", "name", "surname")),
        ("creators", "_id", MAX_ID_CHARS),
        ("live_streams", "title", MAX_NAME_CHARS),
        ("live_streams", "motivation", MAX_TEXT_CHARS),
        ("pledges", "userId", MAX_ID_CHARS),
        ("erasures", "userId", MAX_ID_CHARS),
    ],
)
def test_a_text_has_a_greatest_length(entity: str, name: str, longest: int) -> None:
    """In characters, not in bytes: what is longer would stand in every table, page and answer."""
    accept(entity, **{name: "日" * longest})
    assert reject(entity, **{name: "x" * (longest + 1)}) == (name, f"the text is longer than {longest:,} characters")


def test_every_text_has_a_greatest_length() -> None:
    """A text without one would be a way to fill the memory: a new field cannot forget it."""
    texts = [each for entity in ENTITIES for each in landed_fields(entity) if each.kind is str and not each.choices]
    assert texts
    assert [each.name for each in texts if each.max_chars is None] == []


def test_a_session_may_end_when_it_starts_but_not_before() -> None:
    """Compared as cut to the millisecond."""
    assert accept("viewing_sessions", endedAt=AT)["ended_at"] == AT_MS
    assert accept("viewing_sessions", startedAt="2026-01-05T10:00:00.0009Z", endedAt=AT)["ended_at"] == AT_MS
    assert reject("viewing_sessions", endedAt="2026-01-05T09:59:59.999Z") == ("endedAt", ENDED_BEFORE_STARTED)


def test_an_instant_without_an_offset_names_its_field() -> None:
    """The commonest mistake has a reason of its own."""
    assert reject("viewing_sessions", startedAt="2026-01-05T10:00:00") == ("startedAt", NO_OFFSET)


def test_extended_json_is_what_mongoexport_writes() -> None:
    """Object ids, dates and 64-bit integers, each in all its forms."""
    for date in ({"$date": AT}, {"$date": AT_MS}, {"$date": {"$numberLong": str(AT_MS)}}):
        record = accept(
            "viewing_sessions",
            {"_id": {"$oid": OID}, "creatorId": {"$oid": OID}, "startedAt": date, "revision": {"$numberLong": "7"}},
        )
        assert (record["creator_id"], record["started_at"], record["revision"]) == (OID, AT_MS, 7)
    assert accept("viewing_sessions", revision={"$numberInt": "7"})["revision"] == 7


def test_a_creator_is_flat_in_raw() -> None:
    """The photo's fields become columns; its variants stay JSON, in landed order."""
    photo = {"_id": {"$oid": OID}, "url": "u", "type": "image", "variants": {"76": "b", "40": 1.50}, "updated_at": AT}
    creator = accept("creators", profilePhoto=photo | {"size": 1}, availabilityStatus="", status="banned")
    assert creator["profile_photo_id"] == OID
    assert creator["profile_photo_variants"] == '{"76":"b","40":1.5}'
    assert creator["profile_photo_created_at"] is None
    assert creator["profile_photo_updated_at"] == AT_MS
    assert creator["availability_status"] == ""
    assert reject("creators", profilePhoto="u") == ("profilePhoto", "expected an object, got text")
    assert reject("creators", profilePhoto={"createdAt": 5})[0] == "profilePhoto.createdAt"
    assert reject("creators", status="Banned") == ("status", "not one of active, banned, deleted")


def test_a_live_stream_keeps_its_lists_as_json() -> None:
    """broadcasters, guests and miniCrowdFundings, with object ids collapsed; `_id` is another spelling of `id`."""
    text = (
        '{"_id":{"$oid":"%s"},"creatorId":"c","status":"x","broadcasters":[{"_id":{"$oid":"%s"},"share":0.50}],'
        '"guests":[],"price":9.99,"durationGoal":60,"fundingGoal":{"$numberDecimal":"1E+3"},"recording":false}'
    )
    stream = accept("live_streams", text % (OID, OID))
    assert stream["stream_id"] == OID
    assert stream["broadcasters"] == f'[{{"_id":"{OID}","share":0.50}}]'
    assert (stream["guests"], stream["mini_crowd_fundings"], stream["recording"]) == ("[]", None, False)
    assert (stream["price"], stream["duration_goal"], stream["funding_goal"]) == (
        Decimal("9.99"), Decimal("60.00"), Decimal("1000.00")
    )  # fmt: skip
    assert reject("live_streams", guests=[{"at": {"$date": "x"}}])[0] == "guests"
    assert reject("live_streams", price=[]) == ("price", "expected a number, got a list")


@pytest.mark.parametrize(
    "amount", ["12.5", "12.50", '"12.5"', '{"$numberDecimal":"12.50"}', '{"$numberDouble":"12.5"}', "1.25e1"]
)
def test_a_pledge_is_exact_in_every_form(amount: str) -> None:
    """A number, a decimal text or Extended JSON: the same amount."""
    text = '{"pledgeId":"p","userId":"u","streamId":"l","status":"pending","amount":' + amount + "}"
    assert accept("pledges", text)["amount"] == Decimal("12.50")


def test_a_pledge_says_when_it_was_captured_and_refunds_no_more_than_it_is() -> None:
    """Rules over two fields name the field that is to be changed."""
    assert accept("pledges", status="captured", capturedAt=AT)["captured_at"] == AT_MS
    assert reject("pledges", status="captured") == ("capturedAt", CAPTURED_WITHOUT_INSTANT)
    assert accept("pledges", status="refunded", refundedAmount=5)["refunded_amount"] == Decimal("5.00")
    assert reject("pledges", status="refunded", refundedAmount=5.01) == ("refundedAmount", REFUND_TOO_LARGE)
    assert reject("pledges", amount=-1)[0] == "amount"
    assert reject("pledges", status="Captured")[1] == "not one of pending, captured, refunded, failed"


def test_unknown_fields_are_counted_and_never_fatal() -> None:
    """Of accepted records, nested ones with their path, in bounded memory."""
    acceptor = Acceptor("creators")
    for extra in ({"age": 1}, {"age": None, "profilePhoto": {"hash": [1, {"x": 2}]}}, {"profilePhoto.url": "u"}):
        acceptor.accept_json(json.dumps(LEAST["creators"] | extra))
    assert acceptor.unknown_fields == {"age": 2, "profilePhoto.hash": 1, "profilePhoto.url": 1}
    with pytest.raises(Rejected):
        acceptor.accept({"new": 1})
    for number in range(MAX_UNKNOWN_NAMES + 10):
        acceptor.accept(LEAST["creators"] | {f"{number} " + "x" * 200: 1})
    assert len(acceptor.unknown_fields) == MAX_UNKNOWN_NAMES + 1
    assert max(map(len, acceptor.unknown_fields)) <= 100


def test_a_key_given_twice_names_the_field_it_is() -> None:
    """In either spelling; anything else concerns the record as a whole."""
    assert reject("erasures", '{"user_id":"u","user_id":"u"}')[0] == "userId"
    assert reject("erasures", '{"userId":"u","x":1,"x":1}')[0] is None


@pytest.mark.parametrize("text", ["5", '"text"', "[]", "null", "true", "1.5"])
def test_a_record_is_an_object(text: str) -> None:
    """Any other JSON value is not a record."""
    assert reject("erasures", text) == (None, "not a JSON object")


@pytest.mark.parametrize("entity", ENTITIES)
def test_raw_has_the_contract_s_columns(entity: str) -> None:
    """In contract order, `line` last, and not null where the contract has a value for sure."""
    schema = RAW_SCHEMAS[entity]
    fields = landed_fields(entity)
    assert schema.names == [*(each.column for each in fields), "line"]
    assert [each.name for each in schema if not each.nullable] == [
        *(each.column for each in fields if each.required or each.default is not None), "line"
    ]  # fmt: skip
    assert {str(each.type) for each in schema} <= {
        "string", "int64", "bool", "timestamp[ms, tz=UTC]", "decimal128(18, 2)"
    }  # fmt: skip
    assert schema.field("line").type == pa.int64()
