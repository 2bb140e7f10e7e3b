"""Write the data dictionary of sql/README.md from the headers of the models. `make guide`.

What a model does, its grain, what it reads and what its columns mean is said once, in the header and the last select of
its file; types are those of the tables that it really makes. tests/unit/test_data_dictionary.py compares.
"""

from __future__ import annotations

import re
import tempfile
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.settings import Policy
from pipelines.lake import models, plan
from pipelines.lake.derive import Lake
from pipelines.lake.engines.duckdb import DuckDBEngine
from pipelines.snapshots import publish, warehouse

README = models.sql_folder() / "README.md"
MACROS = models.sql_folder() / "warehouse" / "macros.sql"
BEGIN, END = "<!-- the headers, in order: begin -->\n", "<!-- the headers, in order: end -->\n"
PUBLIC = {*publish.PUBLIC_TABLES, "creator_reach"}


def main() -> None:
    """Write it anew."""
    README.write_text(with_dictionary(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_dictionary(text: str) -> str:
    """The README with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + dictionary() + END + rest.partition(END)[2]


def dictionary() -> str:
    """The models in the order of the line; then the columns of each, of the warehouse's own table, and the macros."""
    rows = ["| model | what it does | grain | reads |", "|---|---|---|---|"]
    for name in models.LINE:
        model = models.model(name)
        reads = ", ".join(f"`{source}`" for source in model.sources)
        link = f"[{name}]({models.sql_file(name).relative_to(README.parent)}){_mark(name)}"
        rows.append(f"| {link} | {_beginning(model.purpose)} | {_cell(model.grain)} | {reads} |")
    types = published_types()
    rows += ["", "## What is published"]
    for name in models.LINE:
        if _mark(name):
            rows += _columns(name, types[name])
    rows += [
        "",
        "### snapshot_facts",
        "",
        "In warehouse.duckdb alone: one row.",
        "",
        "| column | meaning |",
        "|---|---|",
    ]
    rows += [f"| {column} | {comment} |" for column, comment in warehouse.FACTS_COMMENTS.items()]
    rows += ["", "### The macros of warehouse.duckdb", "", "| macro | meaning |", "|---|---|"]
    rows += [f"| {_head(comment)} | {comment.partition(': ')[2]} |" for comment in warehouse.MACRO_COMMENTS.values()]
    rows += ["", "## What is worked out on the way"]
    for name in models.LINE:
        if not _mark(name):
            rows += _columns(name, {})
    return "\n".join(rows) + "\n"


def _columns(name: str, types: dict[str, str]) -> list[str]:
    model = models.model(name)
    rows = ["", f"### {name}", "", f"By {', '.join(model.keys)}.", ""]
    rows += ["| column | type | meaning |", "|---|---|---|"] if types else ["| column | meaning |", "|---|---|"]
    for column, comment in model.columns.items():
        kind = f" {types[column]} |" if types else ""
        rows.append(f"| {column} |{kind} {_cell(comment)} |")
    return rows


def published_types() -> dict[str, dict[str, str]]:
    """The types of the columns of everything that is published, as SQL names them: of tables made of nothing."""
    with tempfile.TemporaryDirectory(prefix="mostwatched-types-") as folder:
        lake = Lake(Path(folder), lambda: DuckDBEngine("500MB", 1, Path(folder) / "spill"))
        try:
            built = plan.build(lake, [], Policy(), date(2026, 1, 31))
            files = {name: built.tables[name] for name in (*publish.PUBLIC_TABLES, *publish.PRIVATE_TABLES)}
            files["creator_reach"] = next(iter(built.creator_reach.values()))
            return {
                name: {field.name: _sql(field.type) for field in pq.read_schema(stored.path)}
                for name, stored in files.items()
            }
        finally:
            lake.close()


def _sql(kind: pa.DataType) -> str:
    """What DuckDB calls a type that Parquet holds."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    return _TYPES[str(kind)]


_TYPES = {
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "string": "VARCHAR",
}


def _mark(name: str) -> str:
    return " **P**" if name in PUBLIC else " **p**" if name in publish.PRIVATE_TABLES else ""


def _beginning(purpose: str) -> str:
    """Its first sentence; the second as well where that is a mere title."""
    title, _, rest = purpose.partition(". ")
    first = f"{title}. {rest.partition('. ')[0]}" if len(title) < 20 else title
    return first.rstrip(".") + "."


def _head(comment: str) -> str:
    return f"`{comment.partition(': ')[0]}`"


def _cell(text: str) -> str:
    return re.sub(r"\|", r"\\|", text)


if __name__ == "__main__":
    main()
