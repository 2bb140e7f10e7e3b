"""The peers: each answers "the 100 creators with the most distinct signed-in viewers" from scratch over Parquet.

    python -m tests.benchmarks.peers NAME --parquet DIR --memory BYTES --spill DIR --range FIRST:END [--range ...]

prints {"seconds": [of each range], "answers": [[[creator, viewers], ...] of each range]}. A range is of days, its end
not included. A view counts in every range that it overlaps; one without an end, or of no length, occupies its start.
Every peer gets the files of the days that can matter (a session lasts a day at most), its own best plain formulation,
all cores, and as much memory as it is told.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path

TOP = 100

Answer = list[tuple[str, int]]
Ask = Callable[[date, date], Answer]


@dataclass(frozen=True)
class Means:
    """What a peer works with."""

    parquet: Path  # a folder with one file a day
    memory_bytes: int
    spill: Path

    def files(self, first: date, end: date) -> list[str]:
        """The files with sessions that can overlap [first, end)."""
        days = (first + timedelta(days=n) for n in range(-1, (end - first).days))
        return [str(path) for day in days if (path := self.parquet / f"{day}.parquet").exists()]


def _inside(first: str, end: str) -> str:
    """The sessions that overlap the range, as SQL."""
    return f"viewer_id is not null and started_at < {end} and (started_at >= {first} or ended_at > {first})"


def duckdb(means: Means) -> Ask:
    """Distinct pairs, counted."""
    return _duckdb(
        means,
        """
        select creator_id, count(*) as viewers
        from (select distinct creator_id, viewer_id from read_parquet($files) where {inside})
        group by creator_id
        order by viewers desc, creator_id
        limit {top}
        """,
    )


def duckdb_distinct(means: Means) -> Ask:
    """As one would write it first."""
    return _duckdb(
        means,
        """
        select creator_id, count(distinct viewer_id) as viewers
        from read_parquet($files)
        where {inside}
        group by creator_id
        order by viewers desc, creator_id
        limit {top}
        """,
    )


def _duckdb(means: Means, statement: str) -> Ask:
    import duckdb

    connection = duckdb.connect(config={"memory_limit": f"{means.memory_bytes}B", "temp_directory": str(means.spill)})
    text = statement.format(inside=_inside("$first::timestamptz", "$end::timestamptz"), top=TOP)

    def ask(first: date, end: date) -> Answer:
        bound = {"files": means.files(first, end), "first": f"{first} 00:00:00+00", "end": f"{end} 00:00:00+00"}
        return connection.execute(text, bound).fetchall()

    return ask


def clickhouse(means: Means) -> Ask:
    """ClickHouse in process: its exact distinct aggregate."""
    from chdb.session import Session

    session = Session(str(means.spill / "clickhouse"))

    def ask(first: date, end: date) -> Answer:
        names = ",".join(Path(file).stem for file in means.files(first, end))
        inside = _inside(f"toDateTime64('{first}', 6, 'UTC')", f"toDateTime64('{end}', 6, 'UTC')")
        statement = f"""
            select creator_id, uniqExact(viewer_id) as viewers
            from file('{means.parquet}/{{{names}}}.parquet', Parquet)
            where {inside}
            group by creator_id
            order by viewers desc, creator_id
            limit {TOP}
            settings max_memory_usage = {means.memory_bytes}
        """
        rows = json.loads(session.query(statement, "JSONCompact").bytes())["data"]
        return [(creator, int(viewers)) for creator, viewers in rows]

    return ask


def polars(means: Means) -> Ask:
    """Distinct pairs on the streaming engine, counted. Polars has no memory limit to be told."""
    import polars as pl

    def ask(first: date, end: date) -> Answer:
        begins, ends = (pl.lit(f"{day}T00:00:00Z").str.to_datetime(time_zone="UTC") for day in (first, end))
        started, ended = pl.col("started_at"), pl.col("ended_at")
        rows = (
            pl.scan_parquet(means.files(first, end))
            .filter(pl.col("viewer_id").is_not_null() & (started < ends) & ((started >= begins) | (ended > begins)))
            .select("creator_id", "viewer_id")
            .unique()
            .group_by("creator_id")
            .agg(pl.len().alias("viewers"))
            .sort(["viewers", "creator_id"], descending=[True, False])
            .head(TOP)
            .collect(engine="streaming")
        )
        return list(zip(rows["creator_id"].to_list(), rows["viewers"].to_list(), strict=True))

    return ask


def datafusion(means: Means) -> Ask:
    """As one would write it first; it finds the row groups that matter by their statistics."""
    from datafusion import RuntimeEnvBuilder, SessionContext

    runtime = RuntimeEnvBuilder().with_disk_manager_os().with_fair_spill_pool(means.memory_bytes)
    context = SessionContext(runtime=runtime)
    context.register_parquet("views", means.parquet)

    def ask(first: date, end: date) -> Answer:
        inside = _inside(f"timestamp '{first}T00:00:00Z'", f"timestamp '{end}T00:00:00Z'")
        rows = context.sql(
            f"""
            select creator_id, count(distinct viewer_id) as viewers
            from views
            where {inside}
            group by creator_id
            order by viewers desc, creator_id
            limit {TOP}
            """
        ).to_pydict()
        return list(zip(rows["creator_id"], rows["viewers"], strict=True))

    return ask


PEERS: dict[str, Callable[[Means], Ask]] = {
    "duckdb": duckdb,
    "duckdb-distinct": duckdb_distinct,
    "clickhouse": clickhouse,
    "polars": polars,
    "datafusion": datafusion,
}


class _NoPandas(MetaPathFinder):
    """Pandas as if it were not installed: no peer uses it, but PyArrow, and so DataFusion, would load it: a second."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Nothing is found here; what is called pandas is not found anywhere else either."""
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _range(text: str) -> tuple[date, date]:
    first, _, end = text.partition(":")
    return date.fromisoformat(first), date.fromisoformat(end)


def main() -> None:
    """Ask the peer of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--parquet", type=Path, required=True)
    parser.add_argument("--memory", type=int, required=True, help="bytes")
    parser.add_argument("--spill", type=Path, required=True)
    parser.add_argument("--range", type=_range, action="append", required=True, help="FIRST:END")
    asked = parser.parse_args()
    asked.spill.mkdir(parents=True, exist_ok=True)
    sys.meta_path.insert(0, _NoPandas())
    ask = PEERS[asked.name](Means(asked.parquet, asked.memory, asked.spill))
    seconds, answers = [], []
    for first, end in asked.range:
        started = time.perf_counter()
        answers.append(ask(first, end))
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "answers": answers}))


if __name__ == "__main__":
    main()
