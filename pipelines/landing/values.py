"""What one landed value means: strict JSON, MongoDB Extended JSON, instants, amounts of money.

Pure functions. Each either returns a value or raises `Rejected` with a reason that names no value, so that
reasons can be counted; the record's text is kept beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from pipelines.landing.schema import Instant, Money

MAX_NUMBER_CHARS = 1000  # bounds the time one number can take; a double written out in full is shorter
MAX_DEPTH = 100  # levels of nesting; keeps acceptance independent of how deep our own call stack is
MILLISECONDS_PER_DAY = 86_400_000


class Rejected(Exception):
    """A record cannot be accepted: the field at fault (None: the record as a whole), and why."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


class DuplicateKey(Rejected):
    """An object gives one key twice; `field` is that key, at whatever depth it stands."""

    REASON = "the key is given twice"

    def __init__(self, key: str) -> None:
        super().__init__(key, self.REASON)


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number that is not an integer, as the text that landed."""

    text: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A value of a kind that no JSON text has, out of a Parquet file: never accepted."""

    kind: str  # in words: "a date"
    text: str  # to show it by


LOCAL_TIME = "a time without an offset"  # a Foreign kind
OUTSIDE = "an instant outside the years 1 to 9999"  # another


# --- JSON -------------------------------------------------------------------------------------------------------

LONE_SURROGATE = "half a surrogate pair is not a character"
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
NOT_JSON = "not valid JSON"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str) -> Any:
    """The value of a JSON text, with numbers other than integers as `Number`.

    Stricter than the standard library's `json.loads`: a key given twice, NaN and Infinity, numbers of more than
    MAX_NUMBER_CHARS characters, nesting deeper than MAX_DEPTH and lone surrogates are `Rejected`.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise Rejected(None, TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Rejected(
            None, f"{NOT_JSON}: {_JSON_REASONS.get(error.msg, error.msg[:1].lower() + error.msg[1:])}"
        ) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):  # safeguard: nesting-limited
        raise Rejected(None, TOO_DEEP)
    if _SURROGATE_ESCAPE.search(text) and _has_lone_surrogate(value):  # safeguard: half-surrogate-rejected
        raise Rejected(None, LONE_SURROGATE)
    return value


_JSON_REASONS = {
    "Unterminated string starting at": "a string does not end",
    "Extra data": "something follows the value",
    "Expecting value": "a value is missing or misspelt",
}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):  # safeguard: key-given-twice-rejected
        seen: set[str] = set()
        raise DuplicateKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return fields


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:  # safeguard: long-number-rejected
        raise Rejected(None, "a number is too long")
    return int(text)


def _number(text: str) -> Number:
    if len(text) > MAX_NUMBER_CHARS:
        raise Rejected(None, "a number is too long")
    return Number(text)


def _constant(_: str) -> NoReturn:
    raise Rejected(None, f"{NOT_JSON}: NaN and Infinity are not numbers")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _depth_exceeds(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_depth_exceeds(each, levels - 1) for each in (value.values() if isinstance(value, dict) else value))


def _has_lone_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, list):
        return any(map(_has_lone_surrogate, value))
    if isinstance(value, dict):
        return any(map(_has_lone_surrogate, value)) or any(map(_has_lone_surrogate, value.values()))
    return False


def compact_json(value: Any) -> str:
    """A nested value as JSON text without spaces: keys in landed order, numbers as landed, Extended JSON collapsed.

    Raises Rejected for what JSON cannot hold.
    """
    if isinstance(value, dict) and is_extended(value):
        value = unwrap(value)
    if isinstance(value, Foreign):
        raise Rejected(None, f"{value.kind} has no JSON form")
    return _compact(value, compact_json)


def shown_json(value: Any) -> str:
    """Any landed value as JSON text for a person to read: nothing collapsed, what JSON cannot hold as its text."""
    return json.dumps(value.text, ensure_ascii=False) if isinstance(value, Foreign) else _compact(value, shown_json)


def _compact(value: Any, part: Callable[[Any], str]) -> str:
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case Instant():
            return json.dumps(format_instant(value))
        case int():
            return str(value)
        case Number():
            return value.text
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{','.join(map(part, value))}]"
        case dict():
            return "{" + ",".join(f"{part(key)}:{part(each)}" for key, each in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no JSON form")


# --- MongoDB Extended JSON --------------------------------------------------------------------------------------

MALFORMED_EXTENDED = "not a value of MongoDB Extended JSON"
EXTENDED_KEYS = {"$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal"}
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_SHOWN_OBJECT_ID = re.compile(r"""ObjectI[dD]\(("|'|)([0-9a-fA-F]{24})\1\)""")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def is_extended(value: dict[str, Any]) -> bool:
    """Whether an object is one of the wrappers that `mongoexport` writes: exactly one key, and one of those."""
    return len(value) == 1 and next(iter(value)) in EXTENDED_KEYS


def unwrap(value: dict[str, Any]) -> Any:
    """The value inside an Extended JSON wrapper: str, Instant, int or Number.

    Raises Rejected without a field when the wrapper does not hold what its key promises.
    """
    ((key, inner),) = value.items()
    if key == "$date":
        return _extended_date(inner)
    if isinstance(inner, str) and len(inner) <= MAX_NUMBER_CHARS:
        if key == "$oid" and _OBJECT_ID.fullmatch(inner):
            return inner
        if key in ("$numberLong", "$numberInt") and _INTEGER.fullmatch(inner):
            return int(inner)
        if key in ("$numberDouble", "$numberDecimal") and _NUMBER.fullmatch(inner):
            return Number(inner)
    raise Rejected(None, MALFORMED_EXTENDED)


def shown_object_id(text: str) -> str | None:
    """The id in `ObjectId(64d15f9e2e6c8f4d5a123456)`, as mongoexport writes it in CSV; None for any other text."""
    found = _SHOWN_OBJECT_ID.fullmatch(text)
    return found[2] if found else None


def _extended_date(inner: Any) -> Instant:
    if isinstance(inner, str):
        return parse_instant(inner)
    if isinstance(inner, dict) and list(inner) == ["$numberLong"]:
        inner = unwrap(inner)
    if type(inner) is not int:
        raise Rejected(None, MALFORMED_EXTENDED)
    return instant_within_range(inner)


# --- instants ---------------------------------------------------------------------------------------------------

NOT_AN_INSTANT = "not an RFC 3339 instant such as 2026-01-05T10:00:00Z"
NO_OFFSET = 'the instant has no offset: add Z or +03:00, or say timezone = "…" in mostwatched.toml'
NO_TIME_ZONE = (
    'the column has no time zone: write a timestamp that is adjusted to UTC, or say timezone = "…" in mostwatched.toml'
)
TIME_TWICE = "this local time comes twice in the time zone of mostwatched.toml: export it with an offset or in UTC"
NO_SUCH_TIME = "this local time is left out in the time zone of mostwatched.toml: export it with an offset or in UTC"
OUT_OF_RANGE = "the instant is outside the years 1 to 9999"
# As RFC 3339 has it, and as databases write it: an offset of hours alone or without its colon, "UTC" for Z, a space
# before either.
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"( ?(?:[Zz]|UTC)| ?([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_INSTANT = (date.min.toordinal() - _EPOCH_DAY) * MILLISECONDS_PER_DAY
LAST_INSTANT = (date.max.toordinal() + 1 - _EPOCH_DAY) * MILLISECONDS_PER_DAY - 1


def parse_instant(text: str, zone: ZoneInfo | None = None) -> Instant:
    """The instant of an RFC 3339 text in UTC, cut (never rounded) to the millisecond.

    A leap second, 23:59:60 UTC, is the instant that follows it. A text without an offset is a local time of `zone`; one
    that comes twice there, or not at all, is no instant. Raises Rejected without a field.
    """
    found = _INSTANT.fullmatch(text)
    if not found:
        raise Rejected(None, NOT_AN_INSTANT)
    year, month, day, hour, minute, second, fraction, offset, sign, offset_hour, offset_minute = found.groups()
    if offset is None and zone is None:  # safeguard: instant-needs-an-offset
        raise Rejected(None, NO_OFFSET)
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        raise Rejected(None, NOT_AN_INSTANT) from None
    seconds = int(second)
    minutes = int(hour) * 60 + int(minute)
    if int(hour) > 23 or int(minute) > 59 or seconds > 60:
        raise Rejected(None, NOT_AN_INSTANT)
    if offset is None and zone is not None:
        minutes -= _offset_minutes(date.fromordinal(days + _EPOCH_DAY), int(hour), int(minute), zone)
    if sign is not None:
        offset_minute = offset_minute or "0"
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            raise Rejected(None, NOT_AN_INSTANT)
        minutes -= int(sign + "1") * (int(offset_hour) * 60 + int(offset_minute))
    if seconds == 60 and minutes % 1440 != 1439:
        raise Rejected(None, NOT_AN_INSTANT)
    milliseconds = int(fraction[:3].ljust(3, "0")) if fraction else 0
    return instant_within_range(days * MILLISECONDS_PER_DAY + (minutes * 60 + seconds) * 1000 + milliseconds)


def _offset_minutes(day: date, hour: int, minute: int, zone: ZoneInfo) -> int:
    """The offset of a local time. Raises Rejected for one that comes twice or not at all: nothing is guessed."""
    first, second = (
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)
    )
    assert first is not None
    assert second is not None
    if first != second:  # safeguard: local-time-is-not-guessed
        raise Rejected(None, TIME_TWICE if first > second else NO_SUCH_TIME)
    if first % timedelta(minutes=1):  # before there were time zones
        raise Rejected(None, NOT_AN_INSTANT)
    return first // timedelta(minutes=1)


EPOCH_UNITS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}  # in a second
NUMBER_AS_INSTANT = (
    'a number is no instant: say epoch = "s" (or "ms", "us", "ns") in mostwatched.toml for what it counts since 1970'
)
_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def looks_like_epoch(text: str) -> bool:
    """Whether a text is a number, such as a count of seconds."""
    return len(text) <= MAX_NUMBER_CHARS and _PLAIN_DECIMAL.fullmatch(text) is not None


def parse_epoch(text: str, unit: str) -> Instant:
    """The instant so many `unit`s after 1970 in UTC, cut to the millisecond. Raises Rejected without a field."""
    if not _NUMBER.fullmatch(text) or len(text) > MAX_NUMBER_CHARS or _EXPONENT.search(text):
        raise Rejected(None, NOT_AN_INSTANT)
    count = Decimal(text)
    if abs(count) >= _EPOCH_LIMIT:
        raise Rejected(None, OUT_OF_RANGE)
    milliseconds = _EXACT.copy().multiply(count, 1000 // EPOCH_UNITS[unit] or 1)
    return instant_within_range(_floor(milliseconds, max(1, EPOCH_UNITS[unit] // 1000)))


_EPOCH_LIMIT = Decimal(10) ** 21  # beyond the year 9999 in nanoseconds too


def _floor(number: Decimal, divisor: int) -> int:
    """Rounded down, also before 1970."""
    whole = number.to_integral_value(ROUND_FLOOR)
    return int(whole) // divisor


def instant_within_range(milliseconds: int) -> Instant:
    """The instant so many milliseconds after 1970 in UTC; Rejected outside the years 1 to 9999."""
    if not FIRST_INSTANT <= milliseconds <= LAST_INSTANT:
        raise Rejected(None, OUT_OF_RANGE)
    return Instant(milliseconds)


def format_instant(instant: Instant) -> str:
    """`2026-01-05T10:00:00.000Z`."""
    days, rest = divmod(int(instant), MILLISECONDS_PER_DAY)
    seconds, milliseconds = divmod(rest, 1000)
    day = date.fromordinal(days + _EPOCH_DAY)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"
    return f"{day.year:04}-{day.month:02}-{day.day:02}T{clock}Z"


# --- money ------------------------------------------------------------------------------------------------------

MAX_MONEY = Decimal(10) ** 12  # exclusive; ten thousand such amounts still fit the DECIMAL(18,2) of a sum
NEGATIVE_MONEY = "the amount is negative"
TOO_MUCH_MONEY = "the amount is not below 10^12"
TOO_FINE_MONEY = "the amount has more than two decimals"
_CENT = Decimal("0.01")
# Not the thread's context, which anybody may have changed. No number is longer than MAX_NUMBER_CHARS. Used as a copy:
# a context keeps flags of what was done with it, and several threads parse at once.
_EXACT = Context(prec=MAX_NUMBER_CHARS + 20)
_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]+)$")


def parse_money(text: str) -> Money:
    """The amount that a JSON number's text stands for, exactly. Raises Rejected without a field."""
    exponent = _EXPONENT.search(text)
    if exponent and len(exponent[1]) > 6:  # more than Decimal itself can hold
        if not Decimal(text[: exponent.start()]):
            return Money("0.00")
        raise Rejected(None, TOO_MUCH_MONEY if "e-" not in text.lower() else TOO_FINE_MONEY)
    amount = Decimal(text)
    if amount < 0:
        raise Rejected(None, NEGATIVE_MONEY)
    if amount >= MAX_MONEY:
        raise Rejected(None, TOO_MUCH_MONEY)
    if not amount:
        return Money("0.00")
    cents = amount.quantize(_CENT, context=_EXACT.copy())
    if cents != amount:  # safeguard: money-has-two-decimals
        raise Rejected(None, TOO_FINE_MONEY)
    return Money(cents)


def parse_money_text(text: str) -> Money:
    """The amount of a plain decimal text such as "12.50": no exponent, no sign but "-", no spaces."""
    if len(text) > MAX_NUMBER_CHARS or not _PLAIN_DECIMAL.fullmatch(text):
        raise Rejected(None, "not a decimal number such as 12.50")
    return parse_money(text)


# --- whole numbers and truth values -----------------------------------------------------------------------------

NOT_AN_INTEGER = "expected an integer"
NOT_A_BOOLEAN = "expected true or false"
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]{0,30}))(?:\.0+)?")
_BOOLEANS = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False}


def parse_whole_number(text: str) -> int:
    """The integer of a text or of a JSON number: `3`, and `3.0`, as a column with holes often becomes.

    Raises Rejected without a field.
    """
    found = _WHOLE.fullmatch(text)
    if not found or len(text) > MAX_NUMBER_CHARS:
        raise Rejected(None, NOT_AN_INTEGER)
    return int(found[1])


def parse_boolean(text: str) -> bool:
    """`true` or `false`, as `t`, `True`, `TRUE` and `1` too. Raises Rejected without a field."""
    value = _BOOLEANS.get(text.lower())
    if value is None or len(text) > 5:
        raise Rejected(None, NOT_A_BOOLEAN)
    return value
