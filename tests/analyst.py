"""What an analyst sees who opens a warehouse.duckdb, as JSON: for whichever DuckDB runs this, old ones too.

    python tests/analyst.py warehouse.duckdb query.sql…

Uses nothing but duckdb and the standard library, so that an environment with an older DuckDB can run it.
"""

import json
import sys
from pathlib import Path

import duckdb

UNCOMMENTED = """
    select table_name from duckdb_tables() where comment is null
    union all select table_name || '.' || column_name from duckdb_columns() where comment is null and not internal
    union all select function_name from duckdb_functions() where comment is null and not internal
"""


def main(warehouse, *queries):
    with duckdb.connect(warehouse, read_only=True) as database:
        tables = [name for (name,) in database.execute("select table_name from duckdb_tables() order by 1").fetchall()]
        seen = {
            "version": duckdb.__version__,
            "uncommented": [name for (name,) in database.execute(UNCOMMENTED).fetchall()],
            "comments": database.execute(
                "select table_name, column_name, comment from duckdb_columns() where not internal order by all"
            ).fetchall(),
            "rows": {table: database.execute(f'select count(*) from "{table}"').fetchone()[0] for table in tables},
            "answers": {},
        }
        for query in queries:
            answer = database.execute(Path(query).read_text(encoding="utf-8"))
            seen["answers"][Path(query).stem] = {
                "columns": [column[0] for column in answer.description],
                "rows": answer.fetchall(),
            }
    print(json.dumps(seen, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
