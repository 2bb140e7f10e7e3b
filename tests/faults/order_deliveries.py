"""The same records delivered split, repeated, shuffled, renamed, packed, late, in one run or over many nights.

A history of random records is landed at once and compared with the oracle; then it is delivered in other ways, each of
which must end in the same snapshot id. Most deliveries are ingested and built over the derived files of those before:
these are named by the rows they were made from, so that what a delivery changed is built again and the rest is found,
or the rule of the lake is broken and the id is another one. The others begin with nothing and are whole runs, over one
night or several, each night compared with the oracle.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import zstandard
from noise import land_noise
from world import AS_OF, World

from faults.campaign import Effort, Figure
from faults.forked import ChildFailed, in_child
from pipelines.core.errors import MostwatchedError
from pipelines.lake import plan
from pipelines.lake.derive import Lake
from pipelines.lake.engines.duckdb import DuckDBEngine
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import ingest
from pipelines.snapshots import publish

DELIVERIES = 20  # of one history; the first of them a whole run, over one night or several
ACCEPT = {"accept_rejects": True, "allow_incomplete": True}


def attack(effort: Effort, folder: Path) -> Iterator[Figure]:
    """Two figures: deliveries, and the nights among them that were compared with the oracle."""
    delivered = Figure("deliveries of random histories that end in one id")
    nights = Figure("nights of them that are as the oracle says")
    for number in range(effort.times(8, 500)):
        here = folder / str(number)
        try:
            compared, wrong = in_child(_history, effort.random(f"history {number}"), here)
        except ChildFailed as error:
            compared, wrong = 0, [str(error)]
        delivered.tried += DELIVERIES
        delivered.wrong += [f"history {number}: {problem}" for problem in wrong]
        nights.tried += compared
        shutil.rmtree(here, ignore_errors=True)
    yield delivered
    yield nights


def _history(draw: Random, folder: Path) -> tuple[int, list[str]]:
    """(nights compared, what was wrong)."""
    world = World(folder)
    land_noise(world, seed=draw.randrange(1 << 30), sessions=draw.choice([3, 10, 25]), days=draw.choice([1, 3, 6]))
    records = world.landed
    right = world.run(night=ACCEPT).snapshot_id
    compared, wrong = 1, []
    engine = DuckDBEngine("500MB", 1, folder / "spill")
    for number in range(DELIVERIES):
        is_whole = number == 0
        _forget(world, everything=is_whole)
        try:
            if is_whole:
                compared += _over_nights(world, records, draw, right)
            else:
                _in_one(world, records, draw, right, engine)
        except (AssertionError, MostwatchedError) as error:
            wrong.append(f"delivery {number}: {str(error)[:600]}")
    engine.close()
    return compared, wrong


def _forget(world: World, *, everything: bool) -> None:
    """Remove what landed, and all that was made of it but the derived files."""
    home = world.settings.home
    for folder in [home] if everything else [home / "landing", home / "lake/raw", home / "snapshots"]:
        shutil.rmtree(folder, ignore_errors=True)
    (home / "lake/landed.json").unlink(missing_ok=True)
    world.landed = {entity: [] for entity in world.landed}


def _in_one(world: World, records: dict[str, list[Any]], draw: Random, right: str, engine: DuckDBEngine) -> None:
    """Land the sessions, and some of the rest, in a random way, ingest and build."""
    varied = {"viewing_sessions", *(entity for entity in records if draw.random() < 0.3)}
    for entity in records.keys() - varied:
        world.land(entity, records[entity])
    for entity, part in _parts({entity: records[entity] for entity in sorted(varied)}, draw):
        _land(world, entity, part, draw)
    ingest(world.settings)
    raw = raw_files(world.settings)
    lake = Lake(world.settings.lake, lambda: engine)
    built = plan.build(lake, plan.arranged(raw), world.settings.policy, AS_OF)
    found = publish.id_of(built)
    assert found == right, f"ended in {found} instead of {right}"
    _same_funnel(world, publish.read_funnel(lake, built, raw)[0])


def _over_nights(world: World, records: dict[str, list[Any]], draw: Random, right: str) -> int:
    """Land the records in a random way over some nights; returns how many of them the oracle has confirmed."""
    nights = draw.choice([1, 2, 3])
    parts = [(draw.randrange(nights), *part) for part in _parts(records, draw)]
    for night in range(nights):
        for _, entity, part in (each for each in parts if each[0] == night):
            _land(world, entity, part, draw)
        is_last = night == nights - 1
        as_of = AS_OF if is_last or draw.random() < 0.5 else AS_OF - timedelta(days=draw.randrange(1, 4))
        done = world.run(as_of, compare=not is_last, night=ACCEPT)
    assert done.snapshot_id == right, f"{nights} nights ended in {done.snapshot_id} instead of {right}"
    _same_funnel(world, done.report.funnel)
    return nights - 1


def _same_funnel(world: World, funnel: dict[str, int]) -> None:
    """The books of what was landed, repeated records and all."""
    oracle = world.oracle(AS_OF)
    right = oracle.funnel() | {"conflicts": oracle.conflicts()}
    assert funnel == {fate: right.get(fate, 0) for fate in funnel}, f"the funnel is {funnel} instead of {right}"


def _parts(records: dict[str, list[Any]], draw: Random) -> list[tuple[str, list[Any]]]:
    """Every record at least once, shuffled, in files of one entity each, in any order."""
    parts = []
    for entity, those in records.items():
        again = [record for record in those if draw.random() < 0.15]
        parts += [(entity, part) for part in _split(draw.sample(those + again, len(those) + len(again)), draw)]
    return draw.sample(parts, len(parts))


def _split(records: list[Any], draw: Random) -> list[list[Any]]:
    """The records in one to four parts, some of which may be empty."""
    cuts = sorted(draw.randrange(len(records) + 1) for _ in range(draw.choice([0, 0, 0, 1, 3])))
    return [records[first:end] for first, end in zip([0, *cuts], [*cuts, len(records)], strict=True)]


def _land(world: World, entity: str, part: list[Any], draw: Random) -> None:
    """Land some records under a random name, packed or not, and now and then the same bytes twice."""
    stem = f"{draw.choice(['', 'a/', 'z/2026-01-05/'])}{draw.randrange(1 << 40):x}"
    path = world.land(entity, part, f"{stem}.{draw.choice(['ndjson', 'jsonl'])}")
    if draw.random() < 0.1:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    as_it_is = path
    match draw.randrange(8):
        case 0:
            path = as_it_is.with_name(as_it_is.name + ".gz")
            path.write_bytes(gzip.compress(as_it_is.read_bytes()))
            as_it_is.unlink()
        case 1:
            path = as_it_is.with_name(as_it_is.name + ".zst")
            path.write_bytes(zstandard.compress(as_it_is.read_bytes()))
            as_it_is.unlink()
        case 2:
            shutil.copyfile(path, path.with_name(f"again-{path.name}"))
        case 3:
            path.write_text("".join(json.dumps(dict(reversed(record.items()))) + "\n\n" for record in part))
    content = path.read_bytes()
    others = (world.settings.landing / entity).rglob("*.*")
    if any(other.read_bytes() == content for other in others if other.name not in (path.name, f"again-{path.name}")):
        # two of the parts are the same records in the same way: the same bytes, which count once under all their names
        del world.landed[entity][len(world.landed[entity]) - len(part) :]
