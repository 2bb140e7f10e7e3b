"""What one landed value means: JSON, Extended JSON, instants, money."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pipelines.landing.schema import Instant
from pipelines.landing.values import (
    LONE_SURROGATE,
    MAX_DEPTH,
    NEGATIVE_MONEY,
    NO_OFFSET,
    NOT_AN_INSTANT,
    OUT_OF_RANGE,
    TOO_DEEP,
    TOO_FINE_MONEY,
    TOO_MUCH_MONEY,
    Number,
    Rejected,
    compact_json,
    format_instant,
    parse_instant,
    parse_json,
    parse_money,
    parse_money_text,
)


def why(parse: object, text: str) -> str:
    with pytest.raises(Rejected) as rejected:
        parse(text)  # type: ignore[operator]
    return rejected.value.reason


def milliseconds(*when: int, ms: int = 0) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1000 + ms  # type: ignore[misc]


# --- instants ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-05T10:00:00Z", milliseconds(2026, 1, 5, 10)),
        ("2026-01-05t10:00:00z", milliseconds(2026, 1, 5, 10)),
        ("2026-01-05 10:00:00Z", milliseconds(2026, 1, 5, 10)),
        ("2026-01-05T10:00:00.5Z", milliseconds(2026, 1, 5, 10, ms=500)),
        ("2026-01-05T10:00:00.123999999999Z", milliseconds(2026, 1, 5, 10, ms=123)),
        ("2026-01-05T10:00:00+03:00", milliseconds(2026, 1, 5, 7)),
        ("2026-01-05 10:00:00+03", milliseconds(2026, 1, 5, 7)),
        ("2026-01-05T10:00:00.000000+0330", milliseconds(2026, 1, 5, 6, 30)),
        ("2026-01-05 10:00:00.000 -0800", milliseconds(2026, 1, 5, 18)),
        ("2026-01-05 10:00:00 UTC", milliseconds(2026, 1, 5, 10)),
        ("2026-01-05 10:00:00.5 UTC", milliseconds(2026, 1, 5, 10, ms=500)),
        ("2026-01-05T00:00:00-00:30", milliseconds(2026, 1, 5, 0, 30)),
        ("2026-01-05T10:00:00-00:00", milliseconds(2026, 1, 5, 10)),
        ("2024-02-29T23:59:59.999Z", milliseconds(2024, 2, 29, 23, 59, 59, ms=999)),
        ("2016-12-31T23:59:60Z", milliseconds(2017, 1, 1)),
        ("2017-01-01T02:59:60.5+03:00", milliseconds(2017, 1, 1, ms=500)),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.9999Z", -1),
    ],
)
def test_instants(text: str, instant: int) -> None:
    """RFC 3339 with an offset, or as databases write that, cut to the millisecond; a leap second is what follows."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-01-05", "2026-01-05T10:00Z", "2026-1-5T10:00:00Z", "20260105T100000Z", " 2026-01-05T10:00:00Z",
        "2026-01-05T10:00:00Z ", "2026-01-05T10:00:00Z\n", "2026-01-05T24:00:00Z", "2026-01-05T10:60:00Z",
        "2026-01-05T10:00:60Z", "2026-01-05T23:58:60Z", "2026-02-29T10:00:00Z", "2026-04-31T10:00:00Z",
        "2026-13-01T10:00:00Z", "2026-00-01T10:00:00Z", "2026-01-00T10:00:00Z", "0000-01-01T10:00:00Z",
        "2026-01-05T10:00:00.Z", "2026-01-05T10:00:00,5Z", "2026-01-05T10:00:00+3:00", "2026-01-05T10:00:00+030",
        "2026-01-05T10:00:00+0360", "2026-01-05T10:00:00+24", "2026-01-05T10:00:00  UTC", "2026-01-05T10:00:00 CET",
        "2026-01-05T10:00:00UTC+3",
        "2026-01-05T10:00:00+24:00", "2026-01-05T10:00:00+03:60", "2026-01-05T10:00:00ZZ", "+2026-01-05T10:00:00Z",
        "２０２６-01-05T10:00:00Z", "2026-01-05T10:00:00 ",
    ],
)  # fmt: skip
def test_what_is_no_instant(text: str) -> None:
    """Nothing is guessed: no other notation, no day, hour or offset that does not exist."""
    assert why(parse_instant, text) == NOT_AN_INSTANT


def test_an_instant_without_an_offset_is_told_apart() -> None:
    """It is the one mistake that a whole platform makes at once."""
    assert why(parse_instant, "2026-01-05T10:00:00") == NO_OFFSET
    assert why(parse_instant, "2026-01-05T10:00:00.123") == NO_OFFSET


def test_instants_reach_from_year_1_to_year_9999() -> None:
    """The UTC calendar's years, whole: 9999-12-31 is how many systems write "never"."""
    assert format_instant(parse_instant("0001-01-01T00:00:00Z")) == "0001-01-01T00:00:00.000Z"
    assert format_instant(parse_instant("9999-12-31T23:59:59.999Z")) == "9999-12-31T23:59:59.999Z"
    assert why(parse_instant, "0001-01-01T00:00:00+00:01") == OUT_OF_RANGE
    assert why(parse_instant, "9999-12-31T23:59:59-00:01") == OUT_OF_RANGE
    assert why(parse_instant, "9999-12-31T23:59:60Z") == OUT_OF_RANGE


# --- money ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", "0.00"), ("-0.0", "0.00"), ("5", "5.00"), ("9.99", "9.99"), ("1.500", "1.50"), ("1e2", "100.00"),
     ("12E-1", "1.20"), ("999999999999.99", "999999999999.99"), ("0e400", "0.00"), ("0.0e-12345678", "0.00")],
)  # fmt: skip
def test_money_is_exact(text: str, amount: str) -> None:
    """A JSON number is taken as its text, never through a float, and stored with two decimals."""
    assert str(parse_money(text)) == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [("-1", NEGATIVE_MONEY), ("-0.01", NEGATIVE_MONEY), ("1000000000000", TOO_MUCH_MONEY), ("1e12", TOO_MUCH_MONEY),
     ("1e999999999999", TOO_MUCH_MONEY), ("0.001", TOO_FINE_MONEY), ("1.005", TOO_FINE_MONEY),
     ("1e-999999999999", TOO_FINE_MONEY), ("1e-99999", TOO_FINE_MONEY)],
)  # fmt: skip
def test_money_that_is_rejected(text: str, reason: str) -> None:
    """Negative, of 10^12 and more, or finer than a hundredth; huge exponents cost nothing."""
    assert why(parse_money, text) == reason


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1e2", "+1", ".5", "1.", "1,5", "0x1", "NaN", "١"])
def test_money_as_text_is_a_plain_decimal(text: str) -> None:
    """Text is stricter than a number: nothing but digits, one point, a sign to complain about."""
    assert why(parse_money_text, text).startswith("not a decimal number")
    assert parse_money_text("012.5") == Decimal("12.5")


# --- JSON -------------------------------------------------------------------------------------------------------


def test_numbers_keep_their_text() -> None:
    """Integers are integers; every other number is the text that landed."""
    assert parse_json("[1, -2, 1.50, 1e5, 1E-2]") == [1, -2, Number("1.50"), Number("1e5"), Number("1E-2")]


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '[{"x":{"a":1,"b":2,"a":null}}]', '{"a":1,"\\u0061":2}'])
def test_a_key_given_twice_is_rejected_at_any_depth(text: str) -> None:
    """Which of the two was meant, nobody can say."""
    assert why(parse_json, text) == "the key is given twice"


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "[1,]", "{'a':1}", "", "[1] 2", "\ufeff{}"])
def test_json_and_nothing_else(text: str) -> None:
    """What the standard library lets pass beside JSON is rejected too."""
    assert why(parse_json, text).startswith("not valid JSON")


def test_limits_do_not_depend_on_the_caller() -> None:
    """Depth, long numbers and lone surrogates are rejected by rule, not by whatever breaks first."""
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert why(parse_json, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == TOO_DEEP
    assert why(parse_json, "[" * 200_000) == TOO_DEEP
    assert why(parse_json, "9" * 5000) == "a number is too long"
    assert why(parse_json, "1." + "9" * 5000) == "a number is too long"
    assert why(parse_json, '["\\ud800"]') == LONE_SURROGATE
    assert why(parse_json, '{"\\uDFFF":1}') == LONE_SURROGATE
    assert parse_json('["\\ud83d\\ude00"]') == ["😀"]


def test_nested_values_become_compact_text() -> None:
    """Keys in landed order, numbers as they were written, Extended JSON collapsed."""
    landed = parse_json(
        '{ "b" : [1.50, -3, null, true], "a": {"$oid": "64D15f9e2e6c8f4d5a123456"}, "é\\u0000": "\\"",'
        ' "d": {"$date": {"$numberLong": "1500"}}, "n": {"$numberDecimal": "1.10"}, "o": {"$oid": "x", "y": 1} }'
    )
    assert compact_json(landed) == (
        '{"b":[1.50,-3,null,true],"a":"64D15f9e2e6c8f4d5a123456","é\\u0000":"\\"",'
        '"d":"1970-01-01T00:00:01.500Z","n":1.10,"o":{"$oid":"x","y":1}}'
    )


@pytest.mark.parametrize(
    "text",
    ['{"$oid":"64d1"}', '{"$oid":5}', '{"$numberLong":5}', '{"$numberInt":"05"}', '{"$numberDouble":"NaN"}',
     '{"$numberDecimal":"Infinity"}', '{"$date":"yesterday"}', '{"$date":1.5}', '{"$date":true}',
     '{"$date":{"$numberInt":"5"}}'],
)  # fmt: skip
def test_extended_json_is_taken_at_its_word(text: str) -> None:
    """A wrapper must hold what its key promises."""
    with pytest.raises(Rejected):
        compact_json(parse_json(text))


def test_instants_are_shown_with_milliseconds() -> None:
    """The one form in which an instant is written into text."""
    assert format_instant(Instant(0)) == "1970-01-01T00:00:00.000Z"
    assert format_instant(Instant(-1)) == "1969-12-31T23:59:59.999Z"
