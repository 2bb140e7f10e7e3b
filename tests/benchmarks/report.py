"""What was measured, as tables for people and as JSON with every single run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks.contenders import Runs


@dataclass(frozen=True)
class Goal:
    """What a ratio, or a figure without one, should be. `at_least` or `at_most`; the other is None."""

    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def is_met(self, value: float) -> bool:
        """Whether that value will do."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is None or value <= self.at_most


@dataclass(frozen=True)
class Row:
    """One contender at one task."""

    what: str
    contender: str
    values: Sequence[float]  # one a run, in `unit`
    unit: str = "s"
    cpu: Sequence[float] = ()  # seconds, one a run
    peak_bytes: Sequence[int] = ()
    ratio: float | None = None
    ratio_is: str = ""  # what is divided by what
    goal: Goal | None = None  # of the ratio; of the value where there is none
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def judged(self) -> float | None:
        """What the goal is about; None where there is no figure."""
        return self.ratio if self.ratio is not None or not self.values else self.value


@dataclass(frozen=True)
class Section:
    """One table."""

    name: str
    title: str
    says: str  # a sentence or two: what was asked of whom
    rows: Sequence[Row]
    facts: dict[str, Any] = field(default_factory=dict)  # what the plot needs besides


def timed(what: str, runs: Runs, **others: Any) -> Row:
    """The row of a contender that ran as processes; without figures if it failed, and saying so."""
    if runs.failure is not None:
        return Row(what, runs.name, (), note="; ".join(filter(None, (runs.failure, others.get("note", "")))))
    cpu, peaks = [run.cpu for run in runs.runs], [run.peak_bytes for run in runs.runs]
    return Row(what, runs.name, runs.walls, cpu=cpu, peak_bytes=peaks, **others)


COLUMNS = ("what", "contender", "median", "min to max", "CPU", "peak", "ratio", "goal", "")


def markdown(sections: Sequence[Section], machine: str, arguments: str) -> str:
    """The whole report."""
    parts = ["# Benchmarks", f"{machine}  \n{arguments}", verdict(sections)]
    for section in sections:
        parts += [f"## {section.title}", section.says, table(section.rows)]
    return "\n\n".join(parts) + "\n"


def table(rows: Iterable[Row]) -> str:
    """A Markdown table that can also be read as plain text."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(COLUMNS))]
    lines = ["| " + " | ".join(text.ljust(widths[n]) for n, text in enumerate(line)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def verdict(sections: Iterable[Section]) -> str:
    """How many goals were met, and which were not."""
    judged = [row for section in sections for row in section.rows if is_met(row) is not None]
    missed = [f"{row.what} ({row.judged:.3g}, goal {row.goal})" for row in judged if not is_met(row)]
    met = f"{len(judged) - len(missed)} of {len(judged)} goals are met"
    return met + (f"; not: {'; '.join(missed)}." if missed else ".")


def is_met(row: Row) -> bool | None:
    """Whether the row's goal is met; None without a goal or without a figure."""
    return None if row.goal is None or row.judged is None else row.goal.is_met(row.judged)


def as_json(sections: Sequence[Section], machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything, with every single run."""
    return {
        "machine": machine,
        "arguments": arguments,
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "facts": section.facts,
                "rows": [
                    asdict(row)
                    | {"median": row.value if row.values else None, "goal": str(row.goal or ""), "is_met": is_met(row)}
                    for row in section.rows
                ],
            }
            for section in sections
        ],
    }


def _cells(row: Row) -> tuple[str, ...]:
    if not row.values:
        return (row.what, row.contender, "-", "", "", "", "", "", row.note)
    scale = 1000 if _is_short(row.value, row.unit) else 1
    least, most = min(row.values) * scale, max(row.values) * scale
    spread = f"{number(least)} to {number(most)}" if len(row.values) > 1 else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} {row.ratio_is}"
    goal = "" if row.goal is None else f"{row.goal} {'met' if is_met(row) else 'MISSED'}"
    cpu = quantity(median(row.cpu), "s") if row.cpu else ""
    peak = f"{max(row.peak_bytes) / 1e6:,.0f} MB" if row.peak_bytes else ""
    return (row.what, row.contender, quantity(row.value, row.unit), spread, cpu, peak, ratio, goal, row.note)


def quantity(value: float, unit: str) -> str:
    """With its unit; short times in milliseconds."""
    return f"{number(value * 1000)} ms" if _is_short(value, unit) else f"{number(value)} {unit}"


def _is_short(value: float, unit: str) -> bool:
    return unit == "s" and value < 1


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, min(5, 2 - _magnitude(value)))
    return f"{value:.{digits}f}"


def _magnitude(value: float) -> int:
    return int(f"{abs(value):e}".partition("e")[2])
