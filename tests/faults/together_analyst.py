"""A process that asks published snapshots by DuckDB and by the command line, over and over.

`python -m faults.together_analyst PLAN`: PLAN is a file of JSON, {"home": …, "seed": …, "pause": seconds between
questions, "result": path}. It ends when its stdin does, and then writes to `result` what it saw (`Seen`).
"""

from __future__ import annotations

import hashlib
import io
import json
import select
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from pipelines import cli

# What can be asked of the tables, whichever way they are opened. `reach` has one file a day.
QUESTIONS = {
    "names": """
        select r.position, r.viewers, c.username from creator_rankings r join creators c using (creator_id)
        where r.window_days = 30 order by r.position
    """,
    "cube": """
        select day, sum(viewers)::bigint, sum(watched_milliseconds)::bigint from creator_reach group by 1 order by 1
    """,
    "money": """
        select s.stream_id, s.title, f.collected_funding::varchar
        from live_streams s join live_stream_funding f using (stream_id) order by 1
    """,
}
MACRO = "select position, creator_id, viewers from ranking($as_of::date, 30) order by position"
TABLES = ("creator_rankings", "creators", "live_streams", "live_stream_funding")
HELD = 20  # questions asked of one opened warehouse, before it is closed and the current one is opened


@dataclass
class Seen:
    """What one analyst saw; instants by the clock that all processes share."""

    answers: Counter[str] = field(default_factory=Counter)  # by the way they were asked
    kept: dict[str, dict[str, str]] = field(default_factory=dict)  # of each question, by snapshot, a digest
    gone: list[tuple[str, float, str]] = field(default_factory=list)  # snapshot, when it was asked, the error
    after_removal: int = 0  # answers from a snapshot that was held open and no longer there
    problems: list[str] = field(default_factory=list)

    def keep(self, way: str, question: str, snapshot_id: str, rows: Any) -> None:
        """Every answer of a snapshot must be the first one."""
        self.answers[way] += 1
        digest = digest_of(rows)
        kept = self.kept.setdefault(question, {}).setdefault(snapshot_id, digest)
        if digest != kept:
            self.problem(f"{way}: {question} of {snapshot_id} had two answers: {rows!r}"[:2000])

    def problem(self, text: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(text)


def digest_of(rows: Any) -> str:
    """A digest of the rows of an answer."""
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def pointed_at(snapshots: Path) -> str:
    """The current snapshot, as anybody reads it."""
    return str(json.loads((snapshots / "current.json").read_bytes())["snapshot_id"])


def of_parquet(folder: Path, question: str) -> list[Any]:
    """Ask the Parquet files of a snapshot's folder."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for table in TABLES:
            connection.execute(f"create view {table} as from read_parquet('{folder}/{table}.parquet')")
        connection.execute(f"create view creator_reach as from read_parquet('{folder}/creator_reach/*.parquet')")
        return connection.execute(QUESTIONS[question]).fetchall()


def warehouse(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open the snapshot's own database."""
    return duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True, config={"threads": 1})


def of_warehouse(connection: duckdb.DuckDBPyConnection, question: str, snapshot_id: str) -> list[Any]:
    """Ask an opened database."""
    if question == "macro":
        return connection.execute(MACRO, {"as_of": snapshot_id[:10]}).fetchall()
    return connection.execute(QUESTIONS[question]).fetchall()


class Analyst:
    """Asks in turn: the files, the database, one that it holds open, and the command line."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.home, self.snapshots = Path(plan["home"]), Path(plan["home"]) / "snapshots"
        self.draw = Random(plan["seed"])
        self.seen = Seen()
        self.held: duckdb.DuckDBPyConnection | None = None
        self.held_id, self.held_for = "", 0

    def ask(self) -> None:
        """One question of each kind."""
        for way in (self._parquet, self._warehouse, self._held, self._commands):
            asked, snapshot_id = time.monotonic(), "current.json"
            try:
                snapshot_id = pointed_at(self.snapshots)
                way(snapshot_id)
            except (duckdb.Error, OSError, ValueError, LookupError, TypeError) as error:
                self.seen.gone.append((snapshot_id, asked, f"{way.__name__}: {error}"))

    def _parquet(self, snapshot_id: str) -> None:
        question = self.draw.choice(list(QUESTIONS))
        self.seen.keep("files", question, snapshot_id, of_parquet(self.snapshots / snapshot_id, question))

    def _warehouse(self, snapshot_id: str) -> None:
        question = self.draw.choice([*QUESTIONS, "macro"])
        with warehouse(self.snapshots / snapshot_id) as connection:
            stated = connection.execute("select cast(as_of as varchar) from snapshot_facts").fetchall()
            if stated != [(snapshot_id[:10],)]:
                self.seen.problem(f"the database of {snapshot_id} says that it is of {stated}")
            self.seen.keep("database", question, snapshot_id, of_warehouse(connection, question, snapshot_id))

    def _held(self, snapshot_id: str) -> None:
        """One that stays open keeps answering, whatever becomes of its snapshot."""
        if self.held is None:
            self.held = warehouse(self.snapshots / snapshot_id)
            self.held_id, self.held_for = snapshot_id, 0
        question = self.draw.choice([*QUESTIONS, "macro"])
        try:
            rows = of_warehouse(self.held, question, self.held_id)
        except duckdb.Error as error:
            self.seen.problem(f"{self.held_id}, held open: {error}")
        else:
            self.seen.keep("held open", question, self.held_id, rows)
            self.seen.after_removal += not (self.snapshots / self.held_id).exists()
        self.held_for += 1
        if self.held_for == HELD:
            self.held.close()
            self.held = None

    def _commands(self, _: str) -> None:
        """`top` answers from one snapshot; none of these fails with anything but a sentence."""
        for arguments in (["top", "--limit", "40"], ["snapshots", "list"], ["snapshots", "verify"]):
            code, out, err = command(["--home", str(self.home), *arguments, "--json"])
            name = " ".join(arguments[:2])
            if code == 0 and arguments[0] == "top":
                rows = [(row["position"], row["creator_id"], row["viewers"]) for row in json.loads(out)]
                self.seen.kept.setdefault("top", {})[digest_of(rows)] = ""
            if code == 0:
                self.seen.answers["commands"] += 1
            elif code == 1 and (err.startswith("mostwatched: ") or arguments[1] == "verify"):
                self.seen.gone.append((f"{name}", time.monotonic(), err or out))
            else:
                self.seen.problem(f"{name}: exit code {code}: {err[-1500:]}{out[-300:]}")


def command(arguments: list[str]) -> tuple[int, str, str]:
    """The command line in this process: exit code, stdout, stderr. A traceback is exit code 70."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        sys.argv = ["mostwatched", *arguments]
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception as error:
            code = 70
            err.write(f"{type(error).__name__}: {error}")
    return code, out.getvalue(), err.getvalue()


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    analyst = Analyst(plan)
    while not select.select([sys.stdin], [], [], plan["pause"])[0]:
        analyst.ask()
    Path(plan["result"]).write_text(json.dumps(vars(analyst.seen)))


if __name__ == "__main__":
    main()
