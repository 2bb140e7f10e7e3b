"""Export the rows of a Parquet file as another program does: `python exporting.py KIND SOURCE TARGET`.

Run by the Python of an environment that has the programs (`make exporters`), and imports nothing of this project.
"""

from __future__ import annotations

import sys
from pathlib import Path


def clickhouse_csv(source: str, target: Path) -> None:
    """As `select … format CSVWithNames` of ClickHouse."""
    import chdb

    target.write_bytes(chdb.query(f"select * from file('{source}', Parquet)", "CSVWithNames").bytes())


def clickhouse_json(source: str, target: Path) -> None:
    """As `select … format JSONEachRow` of ClickHouse."""
    import chdb

    target.write_bytes(chdb.query(f"select * from file('{source}', Parquet)", "JSONEachRow").bytes())


def pandas_csv(source: str, target: Path) -> None:
    """As `frame.to_csv` of pandas."""
    import pandas

    pandas.read_parquet(source).to_csv(target, index=False)


def pandas_parquet(source: str, target: Path) -> None:
    """As `frame.to_parquet` of pandas."""
    import pandas

    pandas.read_parquet(source).to_parquet(target)


def pandas_json(source: str, target: Path) -> None:
    """As `frame.to_json` of pandas, a record a line."""
    import pandas

    pandas.read_parquet(source).to_json(target, orient="records", lines=True, date_format="iso")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
