"""One picture of several reports: `python -m tests.benchmarks.picture PICTURE.svg REPORT.json...`.

Big sizes are measured section by section, perhaps on several evenings; the README shows them together.
"""

from __future__ import annotations

import json
import sys
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


def main(target: Path, reports: list[Path]) -> None:
    """Draw the sections of all reports; of a section that is in several, the last one's."""
    sections: dict[str, Section] = {}
    for report in reports:
        sections |= {section.name: section for section in sections_of(json.loads(report.read_bytes()))}
    target.write_text(draw(list(sections.values())), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
