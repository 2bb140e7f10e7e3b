"""Good lines of every entity, as several writers would write them, and what can happen to a line on its way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import oracle

from faults.line_judge import REQUIRED
from faults.values import CHOICES, snake

# --- good lines ----------------------------------------------------------------------------------------------------

OID = "64d15f9e2e6c8f4d5a12%04x"
FIRST = 1_767_225_600_000  # 2026 begins, in milliseconds since 1970
MONTH = 30 * 86_400_000


def in_words(milliseconds: int) -> str:
    moment = oracle.EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def writer(draw: Random, entity: str) -> Callable[[int], str]:
    """How one writer writes a record: which fields, their order, spelling, spacing and wrappers; by its number."""
    required = REQUIRED[entity]
    fields = [name for name in oracle.CONTRACT[entity] if "." not in name]
    if entity == "creators":
        fields.append("profilePhoto")
    fields = [name for name in fields if name in required or draw.random() < 0.6]
    draw.shuffle(fields)
    keys = {name: snake(name) if draw.random() < 0.15 else name for name in fields}
    comma, colon = draw.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,\t", " : ")])
    is_mongo, ascii_only = draw.random() < 0.25, draw.random() < 0.3
    nulls = draw.choice(["written", "left out", "none"])
    extra = draw.choice([None, None, ("__v", 0), ("extra", {"a": [1, None, "x"]}), ("profile.x", "y")])

    def line(number: int) -> str:
        pairs = []
        for name in fields:
            if name not in required and nulls != "none" and draw.random() < 0.2:
                if nulls == "written":
                    pairs.append((keys[name], "null"))
                continue
            value = _value(draw, entity, name, number, is_mongo)
            pairs.append(
                (keys[name], value if isinstance(value, str) else json.dumps(value[0], ensure_ascii=ascii_only))
            )
        if extra:
            pairs.append((extra[0], json.dumps(extra[1])))
        return "{" + comma.join(f'"{key}"{colon}{value}' for key, value in pairs) + "}"

    return line


def _value(draw: Random, entity: str, name: str, number: int, is_mongo: bool) -> str | list[Any]:
    """A good value: JSON text, or a list of the one value that is to be written as JSON."""
    if name == "profilePhoto":
        photo = {"_id": OID % number, "url": "https://x.example/é.png", "variants": {"76": "b", "40": 1}}
        return [photo | {"createdAt": in_words(FIRST), "updatedAt": None}]
    kind = oracle.CONTRACT[entity][name]
    if (entity, name) in CHOICES:
        return [draw.choice([choice for choice in CHOICES[entity, name] if choice != "captured"])]
    if kind is oracle.instant:
        # an end is after any beginning, so that a line is good before it is mutated
        at = FIRST + draw.randrange(MONTH) + (2 * MONTH if name in ("endedAt", "expiresAt") else 0)
        if is_mongo:
            return draw.choice([f'{{"$date":"{in_words(at)}"}}', f'{{"$date":{{"$numberLong":"{at}"}}}}'])
        return [draw.choice([in_words(at), in_words(at), in_words(at)[:19] + "Z", in_words(at)[:19] + "+03:00"])]
    if kind is oracle.money:
        amount = draw.randrange(100, 10**6)
        text = str(amount) if name != "refundedAmount" else draw.choice(["0", "0.5", "1"])
        return draw.choice([text, text, f"{text}.50" if "." not in text and name == "amount" else text])
    if kind is oracle.compact:
        return [[{"userId": OID % number, "share": 0.5}, None, {"at": {"$oid": OID % 7}}]]
    if kind is bool:
        return draw.choice(["true", "false"])
    if kind is int:
        revision = draw.randrange(5)
        return f'{{"$numberLong":"{revision}"}}' if is_mongo else str(revision)
    if is_mongo and (name == "_id" or name == "id" or name.endswith("Id")):
        return f'{{"$oid":"{OID % number}"}}'
    return [draw.choice([f"{name[0]}{number}", f"{name[0]}{number}", f"Ünïcödé {number} 日本", f"a b {number % 7}"])]


# --- mutations -----------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\s+')
_NUMBERS = [
    "0", "-0", "1", "-1", "1.0", "1.5", "1e2", "1E+2", "1e-2", "1e400", "-1e400", "1e-400", "0e9", "0.0", "-0.0", "007",
    "+1", ".5", "5.", "1e", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "9223372036854775807", "12.505", "12.50",
    "9223372036854775808", "-9223372036854775809", "1" * 40, "999999999999.99", "1000000000000", "1" * 1001, "１２",
]  # fmt: skip
_INSTANTS = [
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-00:01", "99999-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "now", "",
    "2024-02-29T24:00:00Z", "2016-12-31T23:59:60Z", "2016-12-31T23:58:60Z", "2026-01-05", "2026-01-05T10:00:00",
    "2026-01-05t10:00:00z", "2026-01-05 10:00:00Z", "2026-01-05T10:00Z", "2026-01-05T10:00:00.Z",
    " 2026-01-05T10:00:00Z",
    "2026-01-05T10:00:00.123456789123Z", "2026-01-05T10:00:00+14:00", "2026-01-05T10:00:00+0300", "20260105T100000Z",
    "2026-01-05T10:00:00\\u005a", "２０２６-01-05T10:00:00Z", "2026-01-05T10:00:00+23:59", "2026-01-05T10:00:00-24:00",
]  # fmt: skip
_VALUES = [
    *_NUMBERS, *(f'"{text}"' for text in _INSTANTS), "null", "true", "false", "True", "nul", "[]", "{}", "[1]", '""',
    '" "', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\udc00\\ud800"', '"\\x41"', '"\\"', '"a\tb"', '"\\/"',
    '"5"',
    '{"$oid":"64d15f9e2e6c8f4d5a123456"}', '{"$oid":"64D1"}', '{"$date":0}', '{"$date":1.5}', '{"$date":"now"}',
    '{"$date":{"$numberLong":"-1"}}', '{"$numberLong":"5"}', '{"$numberLong":5}', '{"$numberDecimal":"NaN"}',
    '{"$numberDecimal":"1.50"}', '{"$date":{"$date":0}}', '{"$numberInt":"05"}', '{"a":1,"a":2}', '{"$oid":null}',
    "[" * 50 + "]" * 50, "[" * 101 + "]" * 101, '"\ufeff"', '"\u2028"', '"\x7f"', '"active"', '"banned"', '"Active"',
]  # fmt: skip
_BYTES = [
    b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80", b"\xef\xbb\xbf", b"\r", b"\n",
    b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\x0b", b"\x1a", b"\x1b", b"\x7f", b"//", b"0", b"-",
    b"\\u0041", b"\\n", b"e", b"'", b"\xc2\xa0", b"\xe2\x80\xa8",
]  # fmt: skip


def mutated(draw: Random, line: str, others: list[str]) -> bytes:
    """The line after one to three accidents; `others` are lines that it may be mixed up with."""
    landed = line.encode()
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        landed = draw.choice(_MUTATIONS)(draw, landed, draw.choice(others))
    return landed


def _flip(draw: Random, line: bytes, _: str) -> bytes:
    at = draw.randrange(len(line) or 1)
    return line[:at] + bytes([line[at] ^ 1 << draw.randrange(8)]) + line[at + 1 :] if line else line


def _delete(draw: Random, line: bytes, _: str) -> bytes:
    at = draw.randrange(len(line) or 1)
    return line[:at] + line[at + draw.choice([1, 1, 2, 9]) :]


def _repeat(draw: Random, line: bytes, _: str) -> bytes:
    at = draw.randrange(len(line) or 1)
    end = at + draw.choice([1, 1, 3, 20])
    return line[:end] + line[at:]


def _insert(draw: Random, line: bytes, _: str) -> bytes:
    at = draw.randrange(len(line) + 1)
    return line[:at] + draw.choice(_BYTES) + line[at:]


def _cut(draw: Random, line: bytes, other: str) -> bytes:
    at = draw.randrange(len(line) + 1)
    return line[:at] + draw.choice([b"", b"", other.encode(), other.encode()[at:]])


def _tokens(line: bytes) -> list[str]:
    return _TOKEN.findall(line.decode("utf-8", "surrogateescape"))


def _joined(tokens: list[str]) -> bytes:
    return "".join(tokens).encode("utf-8", "surrogateescape")


def _swap(draw: Random, line: bytes, _: str) -> bytes:
    tokens = _tokens(line)
    if tokens:
        one, two = draw.randrange(len(tokens)), draw.randrange(len(tokens))
        tokens[one], tokens[two] = tokens[two], tokens[one]
    return _joined(tokens)


def _drop(draw: Random, line: bytes, _: str) -> bytes:
    tokens = _tokens(line)
    if tokens:
        del tokens[draw.randrange(len(tokens))]
    return _joined(tokens)


def _replace(draw: Random, line: bytes, _: str) -> bytes:
    """Another value in place of one."""
    tokens = _tokens(line)
    values = [at for at, token in enumerate(tokens) if token not in "{}[]:," and token.strip()]
    if values:
        tokens[draw.choice(values)] = draw.choice(_VALUES)
    return _joined(tokens)


def _escape(draw: Random, line: bytes, _: str) -> bytes:
    """One character of a string, key or value, as an escape."""
    tokens = _tokens(line)
    strings = [at for at, token in enumerate(tokens) if len(token) > 2 and token[0] == '"' and token.isascii()]
    if strings:
        at = draw.choice(strings)
        inside = draw.randrange(1, len(tokens[at]) - 1)
        code = draw.choice(["\\u%04x", "\\u%04X", "\\U%04x"]) % ord(tokens[at][inside])
        tokens[at] = tokens[at][:inside] + code + tokens[at][inside + 1 :]
    return _joined(tokens)


def _pairs(line: bytes) -> list[tuple[str, Any]] | None:
    try:
        pairs = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    return pairs if isinstance(pairs, list) and pairs and all(isinstance(pair, tuple) for pair in pairs) else None


def _rewritten(pairs: list[tuple[str, Any]]) -> bytes:
    def text(value: Any) -> str:
        if isinstance(value, list) and value and all(isinstance(part, tuple) for part in value):
            return "{" + ",".join(f"{json.dumps(key)}:{text(part)}" for key, part in value) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(text, value)) + "]"
        return json.dumps(value, ensure_ascii=False)

    return text(pairs).encode("utf-8", "surrogatepass")


def _reorder(draw: Random, line: bytes, _: str) -> bytes:
    pairs = _pairs(line)
    return _rewritten(draw.sample(pairs, len(pairs))) if pairs else line


def _respell(draw: Random, line: bytes, _: str) -> bytes:
    """A key in another spelling, known or not."""
    pairs = _pairs(line)
    if not pairs:
        return line
    at = draw.randrange(len(pairs))
    key = pairs[at][0]
    spellings = [
        snake(key),
        key.upper(),
        key.lower(),
        key + " ",
        f" {key}",
        key.title(),
        "",
        "id",
        "_id",
        key + "\u200b",
    ]
    pairs[at] = (draw.choice(spellings), pairs[at][1])
    return _rewritten(pairs)


def _twice(draw: Random, line: bytes, _: str) -> bytes:
    """A key once more: the same or in its other spelling, with the same value or null."""
    pairs = _pairs(line)
    if not pairs:
        return line
    key, value = draw.choice(pairs)
    pairs.insert(draw.randrange(len(pairs) + 1), (draw.choice([key, key, snake(key)]), draw.choice([value, None])))
    return _rewritten(pairs)


def _null(draw: Random, line: bytes, _: str) -> bytes:
    pairs = _pairs(line)
    if not pairs:
        return line
    at = draw.randrange(len(pairs))
    pairs[at] = (pairs[at][0], None)
    return _rewritten(pairs)


def _space(draw: Random, line: bytes, _: str) -> bytes:
    """White space, of JSON or not, around a token."""
    tokens = _tokens(line)
    tokens.insert(
        draw.randrange(len(tokens) + 1), draw.choice([" ", "\t", "\r", "  ", "\x0b", "\x0c", "\xa0", "\u2003"])
    )
    return _joined(tokens)


def _end(draw: Random, line: bytes, _: str) -> bytes:
    return line + draw.choice([b"\r", b"\r\r", b" ", b"\t\r", b",", b"}", b"\x00", b"\x1a", b"\xff", b"#", b"\r\n\r"])


_MUTATIONS = (
    _flip, _delete, _repeat, _insert, _cut, _swap, _drop, _replace, _replace, _replace, _escape, _reorder, _respell,
    _twice, _null, _space, _end,
)  # fmt: skip


# --- CSV -----------------------------------------------------------------------------------------------------------


def csv_writer(draw: Random, entity: str) -> tuple[list[str], Callable[[int], str]]:
    """The header of a file of CSV, and its lines by their numbers."""
    names = [name for name in oracle.CONTRACT[entity] if name in REQUIRED[entity] or draw.random() < 0.6]
    draw.shuffle(names)

    def line(number: int) -> str:
        cells = []
        for name in names:
            value = _value(draw, entity, name, number, is_mongo=False)
            is_left_out = name not in REQUIRED[entity] and draw.random() < 0.2
            cells.append("" if is_left_out else value if isinstance(value, str) else str(value[0]))
        return ",".join(cells)

    return names, line


def mutated_cells(draw: Random, line: str, others: list[str]) -> bytes:
    """The line after an accident or two, none of which makes a quotation mark."""
    landed = line.encode()
    for _ in range(draw.choice([1, 1, 2])):
        landed = draw.choice((_flip, _delete, _repeat, _insert, _cut, _end, _other_cell))(
            draw, landed, draw.choice(others)
        )
    return landed.replace(b'"', b"'")


def _other_cell(draw: Random, line: bytes, _: str) -> bytes:
    cells = line.split(b",")
    cells[draw.randrange(len(cells))] = draw.choice(_VALUES).strip('"').encode("utf-8", "surrogatepass")
    return b",".join(cells)
