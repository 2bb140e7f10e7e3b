"""A platform in a temporary folder: land records, run the night, read what was published.

Everything is real: files in a landing folder, the nightly job, DuckDB, Parquet. Nothing is mocked. Every
night that a test runs is compared with the oracle as well, whatever else the test asserts.

Tables of records are written as text, one record a line, columns named by the landed field (`creator_id`) or,
shorter, by the thing itself (`creator`); an empty cell is an absent field:

    creator | viewer | started_at       | minutes
    ada     | v1     | 2026-01-05 10:00 | 5
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import oracle
import stand_ins
from oracle import CONTRACT, Funding, Ranked, Record

from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.snapshots import manifest as snapshots
from pipelines.snapshots import ranking

AS_OF = date(2026, 1, 31)  # the 30 days before it are January's first thirty

IDS = {"viewing_sessions": "sessionId", "creators": "_id", "live_streams": "id", "pledges": "pledgeId"}
SHORT = {name.removesuffix("Id"): name for fields in CONTRACT.values() for name in fields if name.endswith("Id")}
LENGTHS = {"hours": 3600, "minutes": 60, "seconds": 1}  # columns that say how long a session lasts


def day(text: str | date) -> date:
    return text if isinstance(text, date) else date.fromisoformat(text)


def days(first: str | date, count: int) -> list[str]:
    """`count` days from `first` on, as texts."""
    return [(day(first) + timedelta(days=number)).isoformat() for number in range(count)]


def rows(text: str) -> list[dict[str, str]]:
    """The lines of a table in text, each as column -> cell, without the empty cells; a line may end early."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    assert all(len(cells) <= len(head) for cells in lines), "a line with more cells than columns"
    return [{column: cell for column, cell in zip(head, cells, strict=False) if cell} for cells in lines]


def instant_text(text: str) -> str:
    """`2026-01-05 10:00` is that moment in UTC; a text with an offset stays what it is."""
    moment = datetime.fromisoformat(text)
    return text.replace(" ", "T") if moment.tzinfo else moment.isoformat() + "Z"


def field(entity: str, column: str) -> str:
    """The landed name of a column: `creator` and `creator_id` are both `creatorId`, and `_id` in creators."""
    first, *others = column.split("_") if not column.startswith("_") else [column]
    name = first + "".join(other.title() for other in others)
    name = name if name in CONTRACT[entity] else SHORT.get(name, name)
    if name in CONTRACT[entity]:
        return name
    assert name.removesuffix("Id").lower() in entity, f"{column} is no field of {entity}"
    return IDS[entity]


def cell_value(entity: str, name: str, cell: str) -> Any:
    kind = CONTRACT[entity][name]
    if kind is oracle.instant:
        return instant_text(cell)
    if kind is oracle.money:
        return int(cell) if cell.isdigit() else float(cell)
    return {"yes": True, "no": False}[cell] if kind is bool else kind(cell)


def records(entity: str, text: str, numbers: Iterator[int]) -> list[Record]:
    """The records of a table in text; sessions and pledges without an id get one of their own."""
    found = []
    for row in rows(text):
        lengths = {column: float(row.pop(column)) for column in LENGTHS if column in row}
        record = {field(entity, column): None for column in row}
        for column, cell in row.items():
            name = field(entity, column)
            record[name] = cell_value(entity, name, cell)
        for column, length in lengths.items():
            end = datetime.fromisoformat(record["startedAt"]) + timedelta(seconds=length * LENGTHS[column])
            record["endedAt"] = end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if entity in ("viewing_sessions", "pledges"):
            record = {IDS[entity]: f"{entity[0]}{next(numbers)}"} | record
        if entity == "creators":
            record = {"username": record["_id"]} | record
        if entity == "live_streams":
            record = {"creatorId": "ada", "status": "scheduled"} | record
        found.append(record)
    return found


class Night:
    """What one run published, read from the snapshot's own files."""

    def __init__(self, world: World, settings: Settings, report: nightly.NightReport) -> None:
        self.world, self.settings, self.report = world, settings, report
        self.snapshot_id = report.snapshot_id
        self.snapshot = snapshots.open_snapshot(settings.snapshots, report.snapshot_id)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.snapshot.table(table).to_pylist()

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return self.snapshot.manifest

    def ranking(self, window: int = 30) -> list[Ranked]:
        """The published ranking, by position."""
        rows = [row for row in self.rows("creator_rankings.parquet") if row.pop("window_days") == window]
        return sorted((Ranked(**row) for row in rows), key=lambda row: row.position)

    def viewers(self, window: int = 30) -> list[tuple[str, int]]:
        """(creator, distinct viewers), by position."""
        return [(row.creator_id, row.viewers) for row in self.ranking(window)]

    def measured(self, creator_id: str, window: int = 30) -> Ranked:
        """One creator's row."""
        (row,) = [row for row in self.ranking(window) if row.creator_id == creator_id]
        return row

    def top(self, first: str | date, end: str | date) -> list[Ranked]:
        """What `mostwatched top --from --to` answers for the days [first, end)."""
        asked = ranking.window_from_options(self.snapshot, None, day(first), day(end))
        return [Ranked(**row) for row in ranking.ranking(self.settings, self.snapshot, asked)]

    def warehouse(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the snapshot's warehouse.duckdb, as an analyst would."""
        with duckdb.connect(str(self.snapshot.path / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def funding(self) -> list[Funding]:
        return [Funding(**row) for row in self.rows("live_stream_funding.parquet")]

    def stream(self, stream_id: str) -> Funding:
        (row,) = [row for row in self.funding() if row.stream_id == stream_id]
        return row

    def pairs(self, table: str) -> list[tuple[str, str]]:
        """The rows of a private table of two columns."""
        return [tuple(row.values()) for row in self.rows(f"private/{table}.parquet")]

    def follows(self) -> list[tuple[str, str]]:
        return self.pairs("follows")

    def funded(self) -> list[tuple[str, str]]:
        return self.pairs("funded_streams")

    def funnel(self) -> dict[str, int]:
        """What this run says became of every accepted session; `accepted` is the sum of the others."""
        return {fate: count for fate, count in self.report.funnel.items() if fate != "conflicts"}

    def conflicts(self) -> int:
        """Versions of sessions that were decided by their content, not by their revision."""
        return self.report.funnel["conflicts"]

    def unknown_creators(self) -> int:
        """How many ranked creators have no profile."""
        return self.manifest["unknown_creators"]

    def values(self) -> set[Any]:
        """Every value in every Parquet file of the snapshot."""
        tables = [name for name in self.manifest["files"] if name.endswith(".parquet")]
        return {value for table in tables for row in self.rows(table) for value in row.values()}

    def files(self) -> dict[str, bytes]:
        """Every file of the snapshot, to see that it never changes."""
        root = self.snapshot.path
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class World:
    """A platform's landing folder and our home, in `folder`."""

    def __init__(self, folder: Path, *, from_nothing: bool = False, **settings: Any) -> None:
        """`from_nothing`: its lake begins without the files that stand in for nothing, see stand_ins.py."""
        self.from_nothing = from_nothing
        self.landed: dict[str, list[Record]] = {entity: [] for entity in CONTRACT}
        usual = {"max_window_days": 30, "threads": 1, "memory_limit": "500MB"}
        self.settings = dataclasses.replace(Settings(home=folder / "home"), **(usual | settings))
        self.numbers = itertools.count(1)
        self.names = itertools.count(1)

    def begin_as(self, other: World) -> None:
        """Begin with all that landed in another world, and with what its nights made of it."""
        shutil.copytree(other.settings.home, self.settings.home)
        self.landed = {entity: list(landed) for entity, landed in other.landed.items()}
        self.numbers, self.names = copy.copy(other.numbers), copy.copy(other.names)

    # --- land

    def land(self, entity: str, landed: str | Iterable[Record], name: str | None = None) -> Path:
        """Drop a file of records (dicts, or a table in text) into the landing folder."""
        found = records(entity, landed, self.numbers) if isinstance(landed, str) else list(landed)
        self.landed[entity] += found
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
        return self.land_text(entity, lines, name)

    def land_text(self, entity: str, text: str, name: str | None = None) -> Path:
        """Drop a file with exactly this text. The oracle does not learn of it."""
        path = self.settings.landing / entity / (name or f"{next(self.names):03}.ndjson")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def sessions(self, table: str, name: str | None = None) -> Path:
        return self.land("viewing_sessions", table, name)

    def busy_days(self, first: str, count: int, sessions: int = 4, creator: str = "busy") -> None:
        """`sessions` sessions of as many viewers on each of `count` days."""
        self.sessions(
            "creator | viewer | started_at | minutes\n"
            + "\n".join(
                f"{creator} | w{number} | {on} 12:00 | 10" for on in days(first, count) for number in range(sessions)
            )
        )

    # --- run

    def run(
        self,
        as_of: str | date = AS_OF,
        *,
        compare: bool = True,
        night: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Night:
        """Run the night as of a day and open what it published; `night` are arguments of the run itself.

        Unless told not to `compare`, everything published must be what the oracle says, and however many versions of
        one age there are among the records, they refuse nothing.
        """
        changed = dataclasses.replace(self.settings, **settings)
        if not self.from_nothing and not changed.lake.exists():
            stand_ins.lay(changed.lake)
        arguments = {"accept_rejects": compare} | dict(night or {})
        done = Night(self, changed, nightly.run(changed, day(as_of), **arguments))
        if compare:
            self.compare(done)
        return done

    def current(self) -> str | None:
        """The id of the snapshot that readers see."""
        pointer = snapshots.current(self.settings.snapshots)
        return pointer and pointer.snapshot_id

    def oracle(self, as_of: str | date, settings: Settings | None = None) -> oracle.Oracle:
        """The right answers for everything landed so far."""
        said = settings or self.settings
        fields = [field.name for field in dataclasses.fields(oracle.Policy)]
        policy = oracle.Policy(**{name: getattr(said, name) for name in fields})
        return oracle.Oracle(self.landed, day(as_of), policy)

    def compare(self, night: Night) -> None:
        """Assert that everything in the snapshot is what the oracle says."""
        right = self.oracle(night.snapshot.as_of, night.settings)
        for window in night.settings.windows:
            assert night.ranking(window) == right.window(window), f"ranking of {window} days"
        funnel = right.funnel(max(night.settings.windows))
        assert sum(funnel.values()) == 2 * funnel["accepted"], "the oracle's funnel balances"
        if night.funnel()["expired"]:  # of what retention removed nobody can say any more what became of it
            assert sum(night.funnel().values()) == 2 * funnel["accepted"]
            assert all(night.funnel()[fate] == funnel.get(fate, 0) for fate in ("accepted", "ranked", "not_yet"))
        else:
            assert night.funnel() == {fate: funnel.get(fate, 0) for fate in night.funnel()}
            assert night.conflicts() == right.conflicts()
        if night.report.published.is_new:  # or the same rows were published before, with the manifest of their day
            assert night.manifest["version_conflicts"] == right.version_conflicts()
            assert night.manifest["lost"] == right.lost()
        assert night.funding() == right.live_stream_funding()
        assert night.follows() == sorted(right.follows)
        assert night.funded() == sorted(right.funded)
        assert [row["creator_id"] for row in night.rows("creators.parquet")] == sorted(
            creator["_id"] for creator in right.known("creators").values()
        )
