"""One picture of several reports: `python -m tests.benchmarks.picture PICTURE.svg REPORT.json...`.

Big sizes are measured section by section, perhaps on several evenings; docs/evidence.md shows them together.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Row, Section
from tests.benchmarks.svg import draw

_OF_A_ROW = tuple(Row.__dataclass_fields__)


def sections_of(report: dict[str, Any]) -> list[Section]:
    """The sections of a bench.json, as they were measured; without the sentences above the tables."""
    return [
        Section(each["name"], each["title"], "", [_row(row) for row in each["rows"]], each["facts"])
        for each in report["sections"]
    ]


def _row(row: dict[str, Any]) -> Row:
    fields = {name: row[name] for name in _OF_A_ROW}
    return Row(**fields | {"goal": None})


def _with_sizes_of(before: Section | None, section: Section) -> Section:
    """A section, with the sizes that were measured before and not again."""
    if before is None or "points" not in section.facts:
        return section
    points = {point["sessions"]: point for point in (*before.facts["points"], *section.facts["points"])}
    return replace(section, facts=section.facts | {"points": [points[sessions] for sessions in sorted(points)]})


def main(target: Path, reports: list[Path]) -> None:
    """Draw the sections of all reports; of a section that is in several, the last one's, and growth of all sizes."""
    sections: dict[str, Section] = {}
    for report in reports:
        for section in sections_of(json.loads(report.read_bytes())):
            sections[section.name] = _with_sizes_of(sections.get(section.name), section)
    target.write_text(draw(list(sections.values())), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
