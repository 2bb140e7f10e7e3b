"""What is measured: a home with days of history, a night that has landed, and the same sessions for the peers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import tell
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed, must, python

AS_OF = date(2026, 11, 1)  # the day after the night's
VERSION = 1  # raise it when the same arguments make another platform: kept homes are then made again

# Lands and is ingested in pieces when landed files are dropped: some 260 bytes a session.
_SESSIONS_A_PIECE = 15_000_000


@dataclass(frozen=True)
class Workload:
    """One platform, prepared. Everything in `folder` but `night` and `parquet` can be changed by the product's code."""

    folder: Path
    sessions: int
    days: int
    memory_limit: str

    @property
    def base(self) -> Path:
        """The home on the evening before: never run in, only copied."""
        return self.folder / "base"

    @property
    def after(self) -> Path:
        """The home after the night, with its snapshot published."""
        return self.folder / "after"

    @property
    def night(self) -> Path:
        """The landing folder of the night."""
        return self.folder / "night"

    @property
    def night_file(self) -> Path:
        """Its one file: `sessions` lines."""
        return self.night / "viewing_sessions" / f"{AS_OF - timedelta(days=1)}.ndjson"

    @property
    def parquet(self) -> Path:
        """What the peers read: one file a day, the night's too."""
        return self.folder / "parquet"

    @property
    def first_day(self) -> date:
        """The first day on which something landed."""
        return AS_OF - timedelta(days=self.days + 1)

    @property
    def env(self) -> dict[str, str]:
        """The product's settings."""
        return {"MOSTWATCHED_MEMORY_LIMIT": self.memory_limit}

    @contextmanager
    def copy(self, home: Path, *, without: tuple[str, ...] = ()) -> Iterator[Path]:
        """A copy of a home that may be run in, removed afterwards. `without` names folders to leave out."""
        target = self.folder / "copy"
        shutil.rmtree(target, ignore_errors=True)
        copy_home(home, target, without)
        try:
            yield target
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def discard(self, options: Options) -> None:
        """Free its disk, unless it is to be kept."""
        if not options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def top(self, home: Path, *arguments: object) -> list[tuple[str, int]]:
        """(creator, viewers) of the first 100 positions, as the product answers."""
        rows = json.loads(must(product(home, "top", "--json", *arguments), env=self.env).stdout.splitlines()[-1])
        return [(row["creator_id"], row["viewers"]) for row in rows]


def product(home: Path, *arguments: object) -> list[str]:
    """A command line of the product."""
    return python("pipelines.cli", "--home", home, *arguments)


def night(home: Path, as_of: date, landing: Path) -> list[str]:
    """The command line of the nightly job."""
    return product(home, "run", "--direct", "--json", "--as-of", as_of, "--landing", landing)


def copy_home(source: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    """Copy a home: immutable files by a second name, which costs nothing, and the rest really."""

    def link_or_copy(one: str, other: str) -> None:
        if one.endswith((".parquet", ".duckdb")):
            os.link(one, other)
        else:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link_or_copy, ignore=shutil.ignore_patterns(".lock", *without))


def prepare(options: Options, root: Path, sessions: int) -> Workload:
    """Make the platform, or take up the one that was kept; then run its night once, so that everything is warm."""
    workload = Workload(root / f"{sessions}x{options.days}", sessions, options.days, options.memory_limit)
    made_from = {"version": VERSION, "sessions": sessions, "days": options.days, "seed": options.seed}
    marker = workload.folder / "prepared.json"
    if _read(marker) != made_from:
        shutil.rmtree(workload.folder, ignore_errors=True)
        tell(f"preparing {options.days} days and a night of {sessions:,} sessions")
        _land(options, workload)
        marker.write_text(json.dumps(made_from))
    # Another time changes nothing, unless the product's code has changed since.
    must(night(workload.base, AS_OF - timedelta(days=1), _base_landing(workload)), env=workload.env)
    shutil.rmtree(workload.after, ignore_errors=True)
    copy_home(workload.base, workload.after)
    must(night(workload.after, AS_OF, workload.night), env=workload.env)
    convert(workload, workload.after, workload.parquet)
    return workload


def convert(workload: Workload, home: Path, target: Path) -> None:
    """Write what a home's raw holds as the peers read it; days that are there stay."""
    days = [workload.first_day + timedelta(days=n) for n in range(workload.days + 1)]
    must(python("tests.benchmarks.convert", home / "lake" / "raw", target, *days))


def _land(options: Options, workload: Workload) -> None:
    """Generate the platform; with --drop-landing piece by piece, each ingested and removed before the next."""
    common = ("--sessions", workload.sessions, "--days", workload.days + 1, "--seed", options.seed, "--as-of", AS_OF)
    landing = _base_landing(workload)
    piece = max(1, _SESSIONS_A_PIECE // workload.sessions) if options.drop_landing else workload.days
    for first in range(0, workload.days, piece):
        end = min(first + piece, workload.days)
        others = () if first else ("--records",)
        must(python("tests.benchmarks.landing", landing, *common, "--first", first, "--end", end, *others))
        if options.drop_landing:
            must(python("tests.benchmarks.ingest_once", workload.base, landing), env=workload.env)
            shutil.rmtree(landing)
            landing.mkdir()
            tell(f"  {end} of {workload.days} days are in")
    arguments = (*common, "--first", workload.days, "--end", workload.days + 1)
    must(python("tests.benchmarks.landing", workload.night, *arguments))
    if not workload.night_file.is_file():
        raise Failed(f"The generator has not written {workload.night_file.name}.")


def _base_landing(workload: Workload) -> Path:
    return workload.folder / "landing"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
