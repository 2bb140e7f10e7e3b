"""What one landed value means: the part of the judge that knows texts, numbers, instants, money and Extended JSON."""

from __future__ import annotations

import json
import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import oracle

NUMBER_CHARS = 1000
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("creators", "status"): ("active", "banned", "deleted"),
    ("pledges", "status"): ("pending", "captured", "refunded", "failed"),
    ("lls_streams", "status"): ("active", "banned"),
}
NEVER_EMPTY = {"username", "currency", "domain", "app", "stream", "status"}  # and every id


class Bad(Exception):
    """A value that no record may have."""


@dataclass(frozen=True)
class Fraction:
    """A number that is not an integer, as it was written."""

    text: str


def typed(entity: str, name: str, kind: Callable[[Any], Any], value: Any) -> Any:
    """One value as the oracle's table has it. Raises Bad or ValueError."""
    if kind is oracle.instant:
        return _instant(value)
    if kind is oracle.money:
        return _money(value)
    if kind is oracle.compact:
        return _nested(value, dict if name.endswith("variants") else list)
    if kind is bool:
        return _truth(value)
    if kind is int:
        return _revision(value)
    return _text(entity, name, value)


TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
NOTHING = {
    *("\\N", "NULL", "null", "Null", "[NULL]", "(NULL)", "(null)", "<null>", "-", "?", "."),
    *("None", "NONE", "none", "nan", "NaN", "NAN", "NaT", "<NA>", "NA", "N/A", "n/a"),
    *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!", "#DIV/0!"),
    *("undefined", "[object Object]", "nil", "Nil", "NIL", "<nil>"),
    *(24 * "0", "-".join(length * "0" for length in (8, 4, 4, 4, 12))),
}


def _truth(value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in TRUTH and value.isascii():
        return TRUTH[value.lower()]
    raise Bad("no truth value")


def _text(entity: str, name: str, value: Any) -> str:
    oid = wrapped(value, "$oid")
    if oid is not None and isinstance(oid, str) and re.fullmatch("[0-9a-fA-F]{24}", oid):
        value = oid
    whole = wrapped(value, "$numberLong", "$numberInt")
    value = value if whole is None else _whole(whole)
    if isinstance(value, int) and not isinstance(value, bool) and (entity, name) not in CHOICES:
        value = str(value)
    if name in ("viewerId", "deviceId", "userId") and isinstance(value, str):
        if value in NOTHING:
            raise Bad("null in words")
        if re.fullmatch(r"-?[0-9][.,][0-9]+[eE]\+[0-9][0-9][0-9]?", value):
            raise Bad("a rounded number")
    if not isinstance(value, str):
        raise Bad("no text")
    last = name.rsplit(".", maxsplit=1)[-1]
    is_id = last in ("id", "_id") or last.endswith("Id")
    if value == "" and (is_id or (last in NEVER_EMPTY and (entity, last) != ("creators", "status"))):
        raise Bad("empty")
    choices = CHOICES.get((entity, name))
    if choices and value not in choices:
        raise Bad("no choice")
    if len(value) > _most_characters(last, is_id):
        raise Bad("too long")
    return value


def _most_characters(name: str, is_id: bool) -> int:
    if is_id or name in ("source", "currency", "domain", "app", "stream", "status"):
        return 200
    return 1_000 if name in ("username", "name", "surname", "title", "channelName") else 10_000


def wrapped(value: Any, *keys: str) -> Any:
    """What stands in a wrapper of Extended JSON with one of these keys; None if it is not one."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        return inner if key in keys else None
    return None


def _whole(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch("-?(0|[1-9][0-9]*)", text) or len(text) > NUMBER_CHARS:
        raise Bad("no integer")
    return int(text)


def _revision(value: Any) -> int:
    inner = wrapped(value, "$numberLong", "$numberInt")
    number = value if inner is None else _whole(inner)
    if isinstance(number, str | Fraction):
        text = number if isinstance(number, str) else number.text
        if not re.fullmatch(r"-?(0|[1-9]\d{0,30})(\.0+)?", text, re.ASCII) or len(text) > NUMBER_CHARS:
            raise Bad("no integer")
        number = int(text.partition(".")[0])
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
        raise Bad("no revision")
    return number


_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))? ?(?:[Zz]|UTC|([+-])(\d\d)(?::?(\d\d))?)", re.ASCII
)


def _instant(value: Any) -> int:
    inner = wrapped(value, "$date")
    if inner is not None:
        if isinstance(inner, dict):
            inner = _whole(wrapped(inner, "$numberLong"))
        if isinstance(inner, int) and not isinstance(inner, bool):
            return _within_years(inner)
        value = inner
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise Bad("no instant")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if not (year and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]):
        raise Bad("no day")
    offset = 60 * int(found[9] or 0) + int(found[10] or 0)
    if hour > 23 or minute > 59 or second > 60 or int(found[9] or 0) > 23 or int(found[10] or 0) > 59:
        raise Bad("no time")
    minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute + (offset if found[8] == "-" else -offset)
    if second == 60 and minutes % 1440 != 1439:
        raise Bad("no leap second")
    return _within_years((minutes * 60 + second) * 1000 + int(((found[7] or "") + "000")[:3]))


@cache
def days_since_1970(year: int, month: int, day: int) -> int:
    """Days from 1 January 1970, counted."""
    leap_days = sum((year - 1) // every * sign for every, sign in ((4, 1), (100, -1), (400, 1)))
    before = (year - 1) * 365 + leap_days + sum(monthrange(year, each)[1] for each in range(1, month)) + day - 1
    return before - 719_162


def _within_years(milliseconds: int) -> int:
    if not days_since_1970(1, 1, 1) <= milliseconds // 86_400_000 <= days_since_1970(9999, 12, 31):
        raise Bad("outside the years 1 to 9999")
    return milliseconds


_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _money(value: Any) -> Decimal:
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
        return _amount(value)
    number = wrapped(value, "$numberDecimal", "$numberDouble")
    if number is not None:
        if not isinstance(number, str) or not _JSON_NUMBER.fullmatch(number):
            raise Bad("no number")
        return _amount(number)
    whole = wrapped(value, "$numberLong", "$numberInt")
    if whole is not None:
        return _amount(str(_whole(whole)))
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise Bad("no number")
    return _amount(value.text if isinstance(value, Fraction) else str(value))


def _amount(text: str) -> Decimal:
    """At least 0, below 10^12, and no finer than a hundredth."""
    if len(text) > NUMBER_CHARS:
        raise Bad("too long")
    mantissa, _, exponent = text.lower().partition("e")
    if not Decimal(mantissa):
        return Decimal("0.00")
    if len(exponent.lstrip("+-0")) > 4:
        raise Bad("too large or too small")
    amount = Decimal(text)
    hundredths = amount.as_tuple()
    digits = "".join(map(str, hundredths.digits)).rstrip("0")
    finest = int(hundredths.exponent) + len(hundredths.digits) - len(digits)
    if amount < 0 or amount >= 10**12 or finest < -2:
        raise Bad("no amount")
    return amount.quantize(Decimal("0.01"))


def _nested(value: Any, kind: type) -> str:
    if not isinstance(value, kind) or _is_wrapper(value):
        raise Bad("another kind")
    return _compact(value)


WRAPPERS = ("$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal")


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in WRAPPERS


def _compact(value: Any) -> str:
    """JSON without spaces, numbers as they were written, wrappers of Extended JSON replaced by what is in them."""
    if _is_wrapper(value):
        ((key, inner),) = value.items()
        if key == "$date":
            return f'"{in_words(_instant(value))}"'
        if not isinstance(inner, str) or len(inner) > NUMBER_CHARS:
            raise Bad("no wrapper")
        if key == "$oid" and re.fullmatch("[0-9a-fA-F]{24}", inner):
            return f'"{inner}"'
        if key in ("$numberLong", "$numberInt"):
            return str(_whole(inner))
        if key in ("$numberDouble", "$numberDecimal") and _JSON_NUMBER.fullmatch(inner):
            return inner
        raise Bad("no wrapper")
    if isinstance(value, dict):
        return "{" + ",".join(f"{shown(key)}:{_compact(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    return shown(value)


def shown(value: Any) -> str:
    """Any value as JSON without spaces, as it landed."""
    if isinstance(value, Fraction):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{shown(key)}:{shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def in_words(milliseconds: int) -> str:
    """`2026-01-05T10:00:00.000Z`."""
    days, rest = divmod(milliseconds, 86_400_000)
    year = 1971 + days // (365 if days > 0 else 366)  # or earlier
    while days_since_1970(year, 1, 1) > days:
        year -= 1
    month = max(each for each in range(1, 13) if days_since_1970(year, each, 1) <= days)
    day = days - days_since_1970(year, month, 1) + 1
    clock = f"{rest // 3_600_000:02}:{rest // 60_000 % 60:02}:{rest // 1000 % 60:02}.{rest % 1000:03}"
    return f"{year:04}-{month:02}-{day:02}T{clock}Z"


def snake(name: str) -> str:
    """`startedAt` -> `started_at`."""
    return re.sub("([A-Z])", lambda found: "_" + found[0].lower(), name)
