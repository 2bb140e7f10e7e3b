"""Archives that are damaged in every way, judged by what the standard library recovers of them byte by byte."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import zstandard

from faults.campaign import Effort, Figure
from faults.hostile_files import good, good_line
from faults.landing import PACKED, Expected, Ground, expected_lines
from faults.line_judge import Accepted, Refused, judge_line, judge_object, kept

LINES = 60
HEADER = b"userId"
DAMAGE = Refused(frozenset({None}), "")
Change = Callable[[Random, bytes, bytes], bytes]  # of two archives, one after the other

CHANGES: dict[str, Change] = {
    "a bit flipped": lambda draw, one, _: any_flipped(draw, one),
    "a bit flipped in the second part": lambda draw, one, two: one + any_flipped(draw, two),
    "a wrong checksum": lambda draw, one, _: flipped(one, -5 if one[:2] == b"\x1f\x8b" else -1, draw.randrange(8)),
    "a wrong length": lambda draw, one, _: flipped(one, -1, draw.randrange(8)),
    "cut off": lambda draw, one, _: one[: draw.randrange(len(one))],
    "cut off in the second part": lambda draw, one, two: one + two[: draw.randrange(1, len(two))],
    "two parts": lambda draw, one, two: one + two,
    "the second part first": lambda draw, one, two: two + one,
    "something after it": lambda draw, one, _: one + draw.randbytes(draw.choice([1, 20])),
    "zeros after it": lambda draw, one, _: one + bytes(draw.choice([1, 512])),
    "zeros between two": lambda draw, one, two: one + bytes(100) + two,
    "a byte lost": lambda draw, one, _: spliced(draw, one, b"", 1),
    "a byte too many": lambda draw, one, _: spliced(draw, one, draw.randbytes(1), 0),
    "not an archive": lambda draw, one, _: good_line("erasures", draw.random()) + b"\n",
    "nothing": lambda draw, one, _: b"",
}


def any_flipped(draw: Random, content: bytes) -> bytes:
    return flipped(content, draw.randrange(len(content)), draw.randrange(8))


def spliced(draw: Random, content: bytes, more: bytes, lost: int) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + more + content[at + lost :]


def flipped(content: bytes, at: int, bit: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def attack_archives(effort: Effort) -> Iterator[Figure]:
    """Land damaged archives of NDJSON and CSV, and compare."""
    figure = Figure("records of damaged archives")
    draw = effort.random("archives")
    ground = Ground(effort.scratch / "archives")
    count = 0
    for turn in range(effort.times(2, 100)):
        for name, change in CHANGES.items():
            for entity, form in (("follows", "ndjson"), ("creators", "ndjson"), ("erasures", "csv")):
                ending = draw.choice([".gz", ".zst"])
                parts = [_text(entity, form, f"{turn} {name} {part}", part == 0, draw) for part in (0, 1)]
                landed = change(draw, *(PACKED[ending](part) for part in parts))
                path = f"{entity}/{name} {turn}.{form}{ending}"
                ground.land(path, landed)
                ground.expected.append(expected(entity, path, form, ending, landed))
                count += 1
    empty = [each for each in ground.expected if not each.records and not each.blank]
    ground.expected = [each for each in ground.expected if each not in empty]  # the same bytes count once: nothing
    ground.compare(figure, f"--seed {effort.seed}")
    figure.note = f"{count} archives"
    yield figure


def _text(entity: str, form: str, label: str, is_first: bool, draw: Random) -> bytes:
    records = [good(entity, f"{label} {number} {draw.getrandbits(60)}") for number in range(LINES)]
    if form == "ndjson":
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)
    return (HEADER + b"\n") * is_first + b"".join(f"{record['userId']}\n".encode() for record in records)


def recovered(ending: str, landed: bytes) -> tuple[bytes, int | None, bool]:
    """(the text that comes out, how much of it is in sound parts if one is not, whether it breaks off)."""
    text = b""
    sound = 0
    part: Any = None
    context = zstandard.ZstdDecompressor()
    at = 0
    while at < len(landed):
        if part is None:
            if ending == ".gz" and landed[at] == 0:
                at += 1
                continue
            part = zlib.decompressobj(31) if ending == ".gz" else context.decompressobj()
        try:
            text += part.decompress(landed[at : at + 1])
        except (zlib.error, zstandard.ZstdError):
            return text, sound, False
        at += 1
        if part.eof:
            part, sound = None, len(text)
    return text, None, part is not None


def expected(entity: str, path: str, form: str, ending: str, landed: bytes) -> Expected:
    """What must be known of the file: whole lines, the unsound ones rejected, and a record of the damage.

    What is plain JSON in spite of its name is read as JSON; CSV without its header is one record that says so.
    """
    if landed.startswith(b"{"):
        return expected_lines(entity, path, landed)
    text, sound, breaks_off = recovered(ending, landed)
    found = Expected(entity, path)
    is_damaged = sound is not None or breaks_off
    lines = text.split(b"\n")
    last = lines.pop()
    if last and not is_damaged:
        lines.append(last)
    sound_lines = len(lines) if sound is None else text.count(b"\n", 0, sound)
    if form == "csv" and lines and lines[0] != HEADER:
        found.records.append((1, Refused(frozenset({None}), kept(lines[0]))))
        return found
    for number, line in enumerate(lines, 1):
        found.about[number] = repr(line[:300])
        if form == "csv" and number == 1:
            continue
        if not line.strip():
            found.blank += 1
        elif number > sound_lines:
            found.records.append((number, Refused(frozenset({None}), kept(line))))
        elif form == "csv":
            found.records.append((number, _judge_cell(entity, line)))
        else:
            found.records += [(number, verdict) for verdict in judge_line(entity, line) or ()]
    if is_damaged:
        found.records.append((len(lines) + 1, DAMAGE))
    return found


def _judge_cell(entity: str, line: bytes) -> Accepted | Refused:
    """A record of one cell."""
    try:
        value = line.decode()
    except UnicodeDecodeError:
        return Refused(frozenset({None, "userId"}), kept(line))
    if "," in value or '"' in value or "\r" in value:
        return Refused(frozenset({None, "userId"}), kept(line))
    return judge_object(entity, {"userId": value}, kept(line))
