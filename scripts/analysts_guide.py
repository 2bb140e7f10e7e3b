"""The generated parts of docs/how-to/ask-the-tables.md, and its picture. generate_docs.py writes them (`make guide`).

The text is written by hand. Between two comments that name a query of sql/warehouse/ stand the query and its answer on
data/sample. tests/e2e/test_analysts.py generates both again and compares, so that neither goes stale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import duckdb

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "how-to" / "ask-the-tables.md"
PICTURE = ROOT / "docs" / "analysts.svg"
QUERIES = ROOT / "sql" / "warehouse"
NOT_QUERIES = {"macros"}  # what makes the macros that the queries use


@dataclass(frozen=True)
class Answer:
    """What a query gives on the sample."""

    query: str
    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]

    def column(self, name: str) -> list[object]:
        """The values of one column."""
        return [row[self.columns.index(name)] for row in self.rows]


def names() -> list[str]:
    """The documented queries."""
    return sorted(path.stem for path in QUERIES.glob("*.sql") if path.stem not in NOT_QUERIES)


def answers(warehouse: Path) -> dict[str, Answer]:
    """Every documented query, asked."""
    found = {}
    with duckdb.connect(str(warehouse), read_only=True) as database:
        for name in names():
            query = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
            asked = database.execute(query)
            found[name] = Answer(query, [column[0] for column in asked.description], asked.fetchall())
    return found


def guide(text: str, found: dict[str, Answer]) -> str:
    """The text with every query and its answer as they are. Raises KeyError for a query that there is none of."""

    def block(match: re.Match[str]) -> str:
        answer = found[match["name"]]
        begin, end = match["begin"], match["end"]
        return f"{begin}\n```sql\n{answer.query.strip()}\n```\n\n{_table(answer)}\n{end}"

    return _BLOCK.sub(block, text)


_BLOCK = re.compile(r"(?P<begin><!-- (?P<name>\w+): begin -->)\n.*?(?P<end><!-- (?P=name): end -->)", re.DOTALL)


def _table(answer: Answer) -> str:
    rows = [answer.columns, ["---"] * len(answer.columns), *([_shown(value) for value in row] for row in answer.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


# --- the picture -----------------------------------------------------------------------------------------------------

_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600 }
    .paper { fill: #ffffff }
    .bar { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .paper { fill: #0d1117 }
      .bar { fill: #4493f8 }
    }
"""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BAR = 720, 24, 150, 560, 16  # pixels


def picture(found: dict[str, Answer]) -> str:
    """Two panels of bars: who came back by when, and the days of the week."""
    retention, weekdays = found["retention"], found["weekdays"]
    days_later = [f"{days} day{'s' * (days != 1)} later" for days in retention.column("days_later")]
    parts: list[str] = []
    y = _panel(parts, 0, "Came back by then, in percent", days_later, retention.column("percent_by_then"))
    names_of_days = [str(name) for name in weekdays.column("weekday")]
    y = _panel(parts, y, "Viewers of a day, on average", names_of_days, weekdays.column("viewers"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img"'
        f' aria-label="Who came back, and days of the week">\n  <style>{_STYLE}  </style>\n'
        f'  <rect class="paper" width="{_WIDTH}" height="{y}"/>\n  ' + "\n  ".join(parts) + "\n</svg>\n"
    )


def _panel(parts: list[str], y: int, title: str, labels: Sequence[str], values: Sequence[object]) -> int:
    """Draw bars on a scale from nought; returns where the next panel begins."""
    numbers = [float(str(value)) for value in values]
    parts.append(f'<text class="title" x="16" y="{y + 26}">{escape(title)}</text>')
    y += 38
    for label, number in zip(labels, numbers, strict=True):
        length = round((_RIGHT - _LEFT) * number / max(numbers), 1)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect class="bar" x="{_LEFT}" y="{y}" width="{length}" height="{_BAR}"/>')
        parts.append(f'<text x="{_LEFT + length + 8}" y="{y + 13}">{number:,.1f}</text>')
        y += _HEIGHT
    return y + 8
