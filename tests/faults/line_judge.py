"""What becomes of one landed line, worked out in the most obvious way: the judge of the attack on the input.

Shares no code with `pipelines`: the standard library's JSON, the oracle's table of typed fields, and the rules of what
lands as README.md and the contract state them. A line is blank, or holds records, each of which is accepted with just
these values or rejected for one of these fields (None: the record as a whole).
"""

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

LINE_BYTES = 1 << 20
LONG_LINE_KEPT = 1 << 16  # bytes of a longer line that are kept
NUMBER_CHARS = 1000
DEPTH = 100


class Bad(Exception):
    """A value that no record may have."""


@dataclass(frozen=True)
class Accepted:
    """A record, and its values in the order of the oracle's table: instants in milliseconds, money as Decimal."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """A record that must be rejected; `fields` are those that may be named as at fault."""

    fields: frozenset[str | None]
    text: str | None  # what must be kept of it; None: something


Verdict = Accepted | Refused


def judge_line(entity: str, landed: bytes) -> list[Verdict] | None:
    """The records of one line of NDJSON, given without its newline; None: the line is blank."""
    if len(landed) > LINE_BYTES:
        return [Refused(frozenset({None}), kept(landed[:LONG_LINE_KEPT]))]
    if not landed.strip():
        return None
    text = kept(landed)
    try:
        value = strict_json(landed.decode())
    except Twice as error:
        return [Refused(frozenset({known_spellings(entity).get(error.key)}), text)]
    except (UnicodeDecodeError, ValueError, Bad):
        return [Refused(frozenset({None}), text)]
    if entity == "lls_streams" and isinstance(value, dict) and "id" not in value:
        streams = value.get("streams")
        if isinstance(streams, list):
            return [judge_object(entity, stream, shown(stream)) for stream in streams]
    return [judge_object(entity, value, text)]


def kept(landed: bytes) -> str:
    """The text of a line as a rejected record keeps it: without a carriage return at its end, no byte lost."""
    return landed.removesuffix(b"\r").decode("utf-8", "backslashreplace")


# --- JSON ----------------------------------------------------------------------------------------------------------


class Twice(Exception):
    """An object gives one key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True)
class Fraction:
    """A number that is not an integer, as it was written."""

    text: str


def strict_json(text: str) -> Any:
    """The value of a text. Raises ValueError, Bad or Twice for one that RFC 8259 or the contract does not allow."""
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_int=_int, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        raise Bad("too deep") from None
    _look_through(value, DEPTH)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Twice(key)
        found[key] = value
    return found


def _int(text: str) -> int:
    if len(text) > NUMBER_CHARS:
        raise Bad("too long")
    return int(text)


def _float(text: str) -> Fraction:
    if len(text) > NUMBER_CHARS:
        raise Bad("too long")
    return Fraction(text)


def _constant(text: str) -> Any:
    raise Bad(text)


def _look_through(value: Any, levels: int) -> None:
    if isinstance(value, str):
        value.encode()  # half a surrogate pair has no UTF-8
    elif isinstance(value, dict | list):
        if levels == 0:
            raise Bad("too deep")
        for key in value if isinstance(value, dict) else ():
            key.encode()
        for part in value.values() if isinstance(value, dict) else value:
            _look_through(part, levels - 1)


# --- objects -------------------------------------------------------------------------------------------------------

REQUIRED: dict[str, tuple[str, ...]] = {
    "viewing_sessions": ("sessionId", "creatorId", "startedAt"),
    "creators": ("_id", "username"),
    "live_streams": ("id", "creatorId", "status"),
    "pledges": ("pledgeId", "userId", "streamId", "amount", "status"),
    "follows": ("userId", "creatorId"),
    "replay_rentals": ("userId", "streamId", "rentedAt", "expiresAt"),
    "lls_streams": ("id", "domain", "app", "stream", "created", "status"),
    "erasures": ("userId",),
}
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("creators", "status"): ("active", "banned", "deleted"),
    ("pledges", "status"): ("pending", "captured", "refunded", "failed"),
    ("lls_streams", "status"): ("active", "banned"),
}
NEVER_EMPTY = {"username", "currency", "domain", "app", "stream", "status"}  # and every id


def judge_object(entity: str, value: Any, text: str | None) -> Verdict:
    """What becomes of one landed object."""
    if not isinstance(value, dict):
        return Refused(frozenset({None}), text)
    landed, faults = _by_field(entity, value)
    values: dict[str, Any] = {}
    for name, kind in oracle.CONTRACT[entity].items():
        values[name] = oracle.DEFAULTS.get(entity, {}).get(name)
        if landed.get(name) is None:
            if name in REQUIRED[entity]:
                faults.add(name)
            continue
        try:
            values[name] = typed(entity, name, kind, landed[name])
        except (Bad, ValueError, ArithmeticError):
            faults.add(name)
    if not faults:
        faults |= _rules(entity, values)
    return Refused(frozenset(faults), text) if faults else Accepted(values)


def _by_field(entity: str, value: dict[str, Any]) -> tuple[dict[str, Any], set[str | None]]:
    """The landed values by field, in whichever spelling; and the fields that come in two."""
    landed: dict[str, Any] = {}
    faults: set[str | None] = set()
    seen: set[str] = set()
    spellings = known_spellings(entity)
    for key, part in value.items():
        if key in spellings:
            name = spellings[key]
            if name in seen:
                faults.add(name)
            seen.add(name)
            landed[name] = part
    photo = landed.pop("profilePhoto", None)
    if photo is not None and not isinstance(photo, dict):
        faults.add("profilePhoto")
    elif photo is not None:
        inner = {spelling: f"profilePhoto.{name}" for name in oracle.PHOTO for spelling in (name, snake(name))}
        for key, part in photo.items():
            if key in inner:
                if inner[key] in landed:
                    faults.add(inner[key])
                landed[inner[key]] = part
    return landed, faults


@cache
def known_spellings(entity: str) -> dict[str, str]:
    """The keys of a landed object that mean a field, and which."""
    names = [name for name in oracle.CONTRACT[entity] if "." not in name]
    if entity == "creators":
        names.append("profilePhoto")
    spellings = {spelling: name for name in names for spelling in (name, snake(name))}
    return spellings | ({"_id": "id"} if entity == "live_streams" else {})


def snake(name: str) -> str:
    """`startedAt` -> `started_at`."""
    return re.sub("([A-Z])", lambda found: "_" + found[0].lower(), name)


def _rules(entity: str, values: dict[str, Any]) -> set[str | None]:
    if entity == "viewing_sessions" and values["endedAt"] is not None and values["endedAt"] < values["startedAt"]:
        return {"endedAt"}
    faults: set[str | None] = set()
    if entity == "pledges":
        if values["status"] == "captured" and values["capturedAt"] is None:
            faults.add("capturedAt")
        if values["refundedAmount"] is not None and values["refundedAmount"] > values["amount"]:
            faults.add("refundedAmount")
    return faults


# --- values --------------------------------------------------------------------------------------------------------


def typed(entity: str, name: str, kind: Callable[[Any], Any], value: Any) -> Any:
    """One value as the oracle's table has it. Raises Bad or ValueError."""
    if kind is oracle.instant:
        return _instant(value)
    if kind is oracle.money:
        return _money(value, text_too=entity == "pledges")
    if kind is oracle.compact:
        return _nested(value, dict if name.endswith("variants") else list)
    if kind is bool:
        if not isinstance(value, bool):
            raise Bad("no truth value")
        return value
    if kind is int:
        return _revision(value)
    return _text(entity, name, value)


def _text(entity: str, name: str, value: Any) -> str:
    oid = wrapped(value, "$oid")
    if oid is not None and isinstance(oid, str) and re.fullmatch("[0-9a-fA-F]{24}", oid):
        value = oid
    if not isinstance(value, str):
        raise Bad("no text")
    last = name.rsplit(".", maxsplit=1)[-1]
    is_id = last in ("id", "_id") or last.endswith("Id")
    if value == "" and (is_id or (last in NEVER_EMPTY and (entity, last) != ("creators", "status"))):
        raise Bad("empty")
    choices = CHOICES.get((entity, name))
    if choices and value not in choices:
        raise Bad("no choice")
    return value


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
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
        raise Bad("no revision")
    return number


_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
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


def _money(value: Any, text_too: bool) -> Decimal:
    if isinstance(value, str) and text_too and re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
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
