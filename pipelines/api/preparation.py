"""What a snapshot's answers are made of, prepared once for all workers: files in a folder, mapped into memory by each.

Preparing a large snapshot takes seconds, holds the interpreter's lock for long stretches, and needs several times the
memory of what comes of it. So it is done in a process of its own, `python -m pipelines.api.preparation`, whose memory
goes with it; one worker starts it, the others wait for its files. The workers then hold the same pages.

The folder is for its user alone (private tables are in it), and goes with the server. The files of a snapshot that is
no longer served are removed; who has them mapped can still read them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.api import insight
from pipelines.api.funded import Funded, prepare_funded
from pipelines.api.mapped_files import map_table, write_table
from pipelines.api.responses import (
    FILTERS,
    Ranking,
    Streams,
    prepare_ranking,
    prepare_streams,
    require_window,
)
from pipelines.core.errors import Damaged, MostwatchedError, NoSnapshot, UsageError
from pipelines.core.scratch import scratch_folder
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import Snapshot

DOCUMENTED, QUERIES = "documented", "queries"  # the parts: of the documented endpoints, and of the pages and ranges
OWN_PROCESS_BYTES = 2 << 20  # of Parquet; with less, starting a process costs more than the work
NICE = 5  # of that process: those who wait for answers come first

_INDEX = "streams-by-{}"
_BEFORE = "before"  # not .json: those are the figures of the workers, in the same folder


def prepare_documented(snapshot: Snapshot, folder: Path, before: Path | None = None) -> None:
    """Write what the documented endpoints serve of a snapshot. Raises Damaged."""
    require_window(snapshot.manifest["windows"], snapshot.id)
    creators = snapshot.table("creators.parquet")
    items, follows = prepare_ranking(
        snapshot.table("creator_rankings.parquet"), creators, snapshot.table("private/follows.parquet")
    )
    tables = {"ranking": items, "follows": follows}
    tables |= prepare_funded(
        snapshot.table("live_streams.parquet"),
        snapshot.table("live_stream_funding.parquet"),
        creators,
        snapshot.table("private/funded_streams.parquet"),
        snapshot.table("private/replay_rentals.parquet"),
    )
    tables["streams"], indexes = prepare_streams(snapshot.table("lls_streams.parquet"))
    tables |= {_INDEX.format(name): index for name, index in indexes.items()}
    for name, table in tables.items():
        write_table(folder / f"{name}.arrow", table)


def map_documented(folder: Path) -> tuple[Ranking, Funded, Streams]:
    """What `prepare_documented` has written."""
    tables: Mapping[str, pa.Table] = {path.stem: map_table(path) for path in folder.glob("*.arrow")}
    streams = Streams.of(tables["streams"], {name: tables[_INDEX.format(name)] for name in FILTERS})
    return Ranking.of(tables["ranking"], tables["follows"]), Funded.of(tables), streams


_PREPARE: Mapping[str, Callable[[Snapshot, Path, Path | None], None]] = {
    DOCUMENTED: prepare_documented,
    QUERIES: insight.prepare,
}


class Preparer:
    """Prepares the parts of snapshots in a folder, each once however many processes share the folder."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is the server's scratch folder; without one, a temporary one is made at the first need."""
        self._given = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}  # by part
        self._is_closed = False

    @cached_property
    def _folder(self) -> Path:
        if self._given is not None:
            return self._given
        self._own = tempfile.TemporaryDirectory(prefix="mostwatched-", ignore_cleanup_errors=True)
        return Path(self._own.name)

    @contextmanager
    def prepared(self, part: str, snapshot: Snapshot, before: Snapshot | None = None) -> Iterator[Path]:
        """The folder of a part of a snapshot, which stays there inside; prepared first if it is not there.

        What was prepared of the snapshot `before` is made use of. Raises Damaged, NoSnapshot, MostwatchedError.
        """
        with self._locked(part):  # safeguard: snapshot-prepared-once
            final = self._path(part, snapshot)
            if not final.is_dir():
                final.parent.mkdir(mode=0o700, exist_ok=True)
                held = None if before is None else self._path(part, before)
                with tempfile.TemporaryDirectory(dir=final.parent, ignore_cleanup_errors=True) as temporary:
                    self._prepare(part, snapshot, Path(temporary), held if held and held.is_dir() else None)
                    Path(temporary).rename(final)
            yield final

    def keep(self, snapshots: Collection[Snapshot]) -> None:
        """Remove what was prepared of all other snapshots. Mapped files stay readable to who has them mapped."""
        kept = {self._path(DOCUMENTED, snapshot).parent for snapshot in snapshots}
        with self._locked(DOCUMENTED), self._locked(QUERIES):
            for path in self._folder.iterdir():
                if path.is_dir() and path not in kept:  # safeguard: prepared-files-removed
                    shutil.rmtree(path, ignore_errors=True)

    def record_before(self, served: Snapshot, before: Mapping[str, object]) -> None:
        """Tell workers that start later which snapshot was served before this one."""
        recorded = {"served": served.manifest_sha256, "before": before}
        with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
            json.dump(recorded, file)
        Path(file.name).replace(self._folder / _BEFORE)

    def recorded_before(self, served: Snapshot) -> Mapping[str, Any] | None:
        """What `record_before` was given for a served snapshot by any worker; None of another one."""
        try:
            recorded = json.loads((self._folder / _BEFORE).read_bytes())
        except FileNotFoundError:
            return None
        before: Mapping[str, Any] = recorded["before"]
        return before if recorded["served"] == served.manifest_sha256 else None

    def close(self) -> None:
        """End what is being prepared."""
        self._is_closed = True
        for child in list(self._children.values()):
            child.kill()

    def _path(self, part: str, snapshot: Snapshot) -> Path:
        # the same rows in other files are another manifest: they are not taken for those that could not be read
        return self._folder / f"{snapshot.id}-{snapshot.manifest_sha256[:16]}" / part

    @contextmanager
    def _locked(self, part: str) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # safeguard: lost-folder-made-again
        with (self._folder / f"{part}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prepare(self, part: str, snapshot: Snapshot, folder: Path, before: Path | None) -> None:
        if sum(facts["bytes"] for facts in snapshot.files.values()) < OWN_PROCESS_BYTES:
            _PREPARE[part](snapshot, folder, before)
            return
        asked = {
            "part": part,
            "snapshots": str(snapshot.path.parent),
            "snapshot_id": snapshot.id,
            "manifest_sha256": snapshot.manifest_sha256,
            "folder": str(folder),
            "before": before and str(before),
        }
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asked)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._children[part] = child
        if self._is_closed:
            child.kill()
        said, _ = child.communicate()
        del self._children[part]
        if child.returncode == 0:
            return
        try:
            problem = json.loads(said)
            kind, message = _ERRORS[problem["error"]], str(problem["message"])
        except (ValueError, KeyError):
            kind, message = MostwatchedError, f"Preparing snapshot {snapshot.id} ended with {child.returncode}."
        raise kind(message)


_ERRORS: Mapping[str, type[MostwatchedError]] = {kind.__name__: kind for kind in (Damaged, NoSnapshot, UsageError)}


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for the files of one server, for its user alone, gone with it; what killed servers left goes, too.

    It stands where TMPDIR says. Raises MostwatchedError where none can be made.
    """
    try:
        parent = Path(tempfile.gettempdir()) / f"mostwatched-{os.getuid()}"
        try:
            parent.mkdir(mode=0o700)
        except FileExistsError:
            status = parent.lstat()
            if parent.is_symlink() or not parent.is_dir() or status.st_uid != os.getuid() or status.st_mode & 0o077:
                parent = Path(tempfile.mkdtemp(prefix="mostwatched-"))  # safeguard: scratch-of-nobody-else
        with scratch_folder(parent, "serve") as folder:
            yield folder
    except OSError as error:
        raise MostwatchedError(
            f"There is no folder for temporary files ({error.strerror or error}). Name one with TMPDIR: it holds what "
            "a snapshot's answers are made of."
        ) from error


def main(argument: str) -> int:
    """Prepare one part, as `Preparer` asks for it. The last line on stdout says what went wrong."""
    asked = json.loads(argument)
    os.nice(NICE)
    pa.set_cpu_count(1)
    try:
        snapshot = manifest.open_snapshot(Path(asked["snapshots"]), asked["snapshot_id"], asked["manifest_sha256"])
        before = asked["before"] and Path(asked["before"])
        _PREPARE[asked["part"]](snapshot, Path(asked["folder"]), before)
    except MostwatchedError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
