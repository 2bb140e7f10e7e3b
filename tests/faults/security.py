"""Who gets further than they should: queries that want files, and other users of the machine.

Every figure tries what once succeeded, and variations of it. What needs another user needs root, and says so.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from everything import EVERYTHING
from other_user import as_nobody
from world import World

from faults.campaign import Effort, Figure, not_tried
from pipelines.core.errors import MostwatchedError
from pipelines.snapshots import manifest, range_query

CANARY = "canary-7f1c"
ROOT = Path(__file__).parents[2]


def attack(effort: Effort) -> Iterator[Figure]:
    """Build a home, and try to get at it."""
    world = World(effort.scratch / "security")
    for entity, table in EVERYTHING.items():
        world.land(entity, table)
    world.run(compare=False, night={"accept_rejects": True, "allow_incomplete": True})
    yield queries(effort, world)
    yield another_user(world)
    yield swapped_names(effort)


# --- who asks in SQL -------------------------------------------------------------------------------------------------

_READS = (
    "select * from '{path}'",
    "select * from read_text('{path}')",
    "select * from read_blob('{path}')",
    "select * from read_csv('{path}', header = false)",
    "select * from read_csv_auto(['{path}'])",
    "select * from read_json('{path}')",
    "select * from read_ndjson_objects('{path}')",
    "select * from read_parquet('{path}')",
    "select * from parquet_scan('{path}')",
    "select * from parquet_metadata('{path}')",
    "select * from parquet_schema('{path}')",
    "select * from sniff_csv('{path}')",
    "select * from glob('{path}*')",
)
_WRITES = (
    "copy (select 1) to '{path}'",
    "copy creators to '{path}' (format parquet)",
    "export database '{path}.d'",
    "attach '{path}' as other",
    "attach '{path}' as other (read_only)",
    "attach 'duckdb:{path}' as other",
    "import database '{path}'",
    "load '{path}'",
    "install '{path}'",
    "set temp_directory = '{path}'; create temp table t as select range from range(10)",
    "set log_query_path = '{path}'",
    "set profiling_output = '{path}'",
    "set secret_directory = '{path}'",
    "set extension_directory = '{path}'; install httpfs",
    "set allowed_paths = ['{path}']",
    "set file_search_path = '{path}'",
    "pragma enable_profiling = 'json'; set profiling_output = '{path}'; select 1",
    "call enable_logging(storage = 'file', storage_path = '{path}')",
    "create persistent secret s (type http, bearer_token 'x')",
    "set enable_external_access = true",
    "set global lock_configuration = false",
)
_WRAPPED = (
    "{query}",
    "with x as ({query}) select * from x",
    "select (select count(*) from ({query}))",
    "create temp view v as {query}; from v",
    "create temp macro m() as table {query}; from m()",
    "prepare p as {query}; execute p",
    "explain analyze {query}",
    "create temp table t as {query}; from t",
    "select * from query('{quoted}')",
    "begin; {query}; commit",
    "use memory; {query}",
    "reset enable_external_access; {query}",
)


def queries(effort: Effort, world: World) -> Figure:
    """Statements that want a file, another database, the network or a setting, alone and inside others."""
    figure = Figure("queries that want more than the snapshot")
    draw = effort.random("queries")
    beside = effort.scratch / "beside"
    beside.mkdir()
    (beside / "secret.csv").write_text(f"{CANARY}\n")
    home = world.settings.home
    targets = [
        beside / "secret.csv",
        beside / "new",
        home / "snapshots" / "current.json",
        *home.glob("lake/raw/*/*/all.parquet"),
        *home.rglob("private/*.parquet"),
    ]
    snapshot = manifest.open_current(world.settings.snapshots)
    before = _state(home, beside)
    for number in range(effort.times(300, 20_000)):
        query = _drawn(draw, targets)
        said = ""
        with (
            suppress(MostwatchedError),
            range_query.open_warehouse(world.settings, snapshot) as connection,
        ):
            said = repr(list(range_query.run_query(connection, world.settings, query).rows))
        figure.check(
            CANARY not in said and "user_id" not in said and _state(home, beside) == before,
            f"{query!r} of number {number}, --seed {effort.seed}: {said[:200]}",
        )
    return figure


def _drawn(draw: Random, targets: list[Path]) -> str:
    path = str(draw.choice(targets))
    path = draw.choice(
        [path, path, f"file://{path}", f"{Path(path).parent}/../{Path(path).parent.name}/{Path(path).name}"]
    )
    if draw.random() < 0.4:
        return draw.choice(_WRITES).format(path=path)
    query = draw.choice(_READS).format(path=path)
    return draw.choice(_WRAPPED).format(query=query, quoted=query.replace("'", "''"))


def _state(*folders: Path) -> dict[str, tuple[int, int]]:
    """The size and time of every file, without the folders that come and go with a query."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- who shares the machine ------------------------------------------------------------------------------------------


def _reached(home: Path, every: list[str]) -> list[str]:
    """What of a home this user finds by walking it, opens by its name, or locks."""
    reached = []
    for folder, folders, files in os.walk(home):
        reached += [os.path.join(folder, name) for name in (*folders, *files)]  # noqa: PTH118 (as os.walk names them)
    for path in every:
        for way in (os.O_RDONLY, os.O_WRONLY):
            with suppress(OSError):
                descriptor = os.open(path, way | os.O_NONBLOCK)
                reached.append(path)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return reached


def another_user(world: World) -> Figure:
    """Another user walks the home, opens every file by its name, and takes every lock."""
    what = "files and folders of a home, for another user of the machine"
    if os.getuid() != 0:
        return not_tried(what, "only root can be another user")
    home = world.settings.home
    for folder in (home.parent, *home.parent.parents):  # what leads to the home is not ours to try
        with suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    every = [str(path) for path in home.rglob("*")]
    reached = set(as_nobody(lambda: _reached(home, every)))
    figure = Figure(what, note=f"{len(every):,} of them")
    for path in every:
        figure.check(path not in reached, f"{path} is open to everybody")
    return figure


# --- who lands files -------------------------------------------------------------------------------------------------

_RACES = "tests/spec/test_shared_folders.py"


def swapped_names(effort: Effort) -> Figure:
    """Another user swaps names in a landing folder while somebody is forgotten there: see what the test promises."""
    what = "names swapped in a landing folder, in seven ways, while somebody is forgotten there"
    if os.getuid() != 0:
        return not_tried(what, "only root can be another user")
    figure = Figure(what)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", _RACES, "-k", "swapped"]
    for _ in range(effort.times(1, 50)):
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        figure.check(ran.returncode == 0, ran.stdout[-600:])
    return figure
