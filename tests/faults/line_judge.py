"""What becomes of one landed line, worked out in the most obvious way: the judge of the attack on the input.

Shares no code with `pipelines`: the standard library's JSON, the oracle's table of typed fields, and the rules of what
lands as docs/reference/landed-fields.md and the contract state them. A line is blank, or holds records, each of which
is accepted with just these values or rejected for one of these fields (None: the record as a whole).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import oracle

from faults.values import NUMBER_CHARS, Bad, Fraction, shown, snake, typed

LINE_BYTES = 1 << 20
LONG_LINE_KEPT = 1 << 16  # bytes of a longer line that are kept
DEPTH = 100


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


def split_values(text: bytes) -> tuple[list[tuple[int, bytes]], int, int | None]:
    """(the line on which each value of a text of JSON begins, and its bytes; how many lines are blank; the line on
    which an array is damaged, or does not end).

    A value is an object or an element of an array; what is neither ends with its line, or before an object that
    follows an object in it. A damaged array goes on with an object that begins a line behind the same white space as
    the element that was damaged; one behind other white space is a part of that element.
    """
    content = re.sub(r"\r(?!\n)", "\n", text.decode("latin-1"))
    lines = content.replace(_MARK, "").split("\n")
    blank = sum(not line.strip(" \t\r") for line in lines[:-1]) + (lines[-1] != "" and not lines[-1].strip(" \t\r"))
    found: list[tuple[int, bytes]] = []
    at, line, is_in_array = 0, 1, False
    damaged: int | None = None
    is_behind_value = is_failed = False
    element: str | None = None  # the white space before the last element that is an object on a line of its own
    lost: str | None = None  # the same, once the array is damaged
    while True:
        begin = at
        while at < len(content) and (content[at] in " \t\r\n" or content.startswith(_MARK, at)):
            at += len(_MARK) if content.startswith(_MARK, at) else 1
        line += content.count("\n", begin, at)
        if at >= len(content):
            return found, blank, damaged if damaged or not is_in_array else line
        before = content[content.rfind("\n", 0, at) + 1 : at].replace(_MARK, "")
        indent = None if before.strip(" \t\r") else before
        if is_in_array and is_behind_value and content[at] not in ",]":
            lost = lost if is_failed else element
            damaged, is_in_array = damaged or line, False
        if not is_in_array and content[at] == "{" and lost is not None and lost == indent:
            is_in_array, lost = True, None
        is_behind_value = is_failed = False
        if (content[at] == "[") > is_in_array or (is_in_array and content[at] in ",]"):
            is_in_array = content[at] != "]"
            element, lost = (None, None) if content[at] == "[" else (element, lost)
            at += 1
            continue
        is_behind_value = True
        element = indent if is_in_array and content[at] == "{" and indent is not None else element
        end, is_value = _end_of_value(content, at, is_in_array, is_lost=lost is not None)
        if is_in_array and not is_value:
            damaged, lost, is_failed = damaged or line, element, True
        found.append((line, content[at:end].replace("\n", " ").replace("\r", " ").encode("latin-1")))
        line += content.count("\n", at, end)
        at = end


def _end_of_value(content: str, at: int, is_in_array: bool, *, is_lost: bool) -> tuple[int, bool]:
    if is_in_array or (content[at] == "{" and not is_lost):
        try:
            _, end = _LENIENT.raw_decode(content, at)
        except (ValueError, RecursionError):
            pass
        else:
            space = _SPACES.match(content, end)
            if is_in_array or (space and content[space.end() : space.end() + 1] in ("", "\n", "{", "[")):
                return end, True
    end_of_line = content.find("\n", at)
    end_of_line = len(content) if end_of_line < 0 else end_of_line
    after = _FOLLOWED.search(content, at + 1, end_of_line)
    return (after.start() + 1 if after else end_of_line), False


_MARK = b"\xef\xbb\xbf".decode("latin-1")
_SPACES = re.compile(r"[ \t\r]*")
_FOLLOWED = re.compile(r"\}[ \t]*(?=\{)")
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str)


def judge_line(entity: str, landed: bytes) -> list[Verdict] | None:
    """The records of one line of NDJSON, given without its newline; None: the line is blank."""
    if len(landed) > LINE_BYTES:
        return [Refused(frozenset({None}), kept(landed[:LONG_LINE_KEPT]))]
    while landed.startswith(b"\xef\xbb\xbf"):
        landed = landed[3:]
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


# --- CSV -----------------------------------------------------------------------------------------------------------


def judge_cells(entity: str, header: list[str], landed: bytes) -> Verdict | None:
    """The record of one line of CSV without quotation marks, under a header of known columns; None: it is blank."""
    text = kept(landed)
    if not landed.strip():
        return None
    try:
        cells = landed.decode().rstrip("\r").split(",")
    except UnicodeDecodeError:
        return Refused(frozenset({None}), text)
    if len(cells) != len(header) or any("\r" in cell for cell in cells):
        return Refused(frozenset({None}), text)
    return judge_object(entity, {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}, text)


def _cell(name: str, cell: str) -> str | Fraction | None:
    """What a cell is: nothing, its text, or in an id the number that a spreadsheet or a column of floats made of it."""
    is_id = name.endswith(("Id", "_id")) or name in ("id", "currency")
    if is_id and re.fullmatch(r"-?([1-9][0-9]*\.0|[0-9]\.[0-9]+[eE]\+[0-9]+)", cell):
        return Fraction(cell)
    if name in ("amount", "refundedAmount", "price") and re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?[eE][+-]?\d+", cell):
        return Fraction(cell)  # R writes 1e+05
    return cell or None
