"""A home, or a landing folder, on object storage: `--home s3://BUCKET/PREFIX`.

    objects.py    operations on a bucket, by obstore
    uploads.py    uploads of larger files, by boto3
    mirror.py     the local copy of a home that runs work in: pull, fetch, push
    landing.py    downloads what has landed in a bucket and is not in raw yet
    replica.py    a local copy of the current snapshot, for the read API
    httpfs.py     a database file that DuckDB reads where it lies

For a home that is a folder all of it does nothing, and imports nothing.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipelines.core.settings import Settings

if TYPE_CHECKING:
    from pipelines.lake.engines.duckdb import Connection
    from pipelines.landing import LandedFile
    from pipelines.raw.raw_file import RawFile
    from pipelines.remote.httpfs import Access
    from pipelines.remote.landing import Pending
    from pipelines.remote.mirror import Mirror
    from pipelines.remote.objects import Objects

Landing: TypeAlias = Path | str  # a folder, or the URL of one

_mounted: list[Mirror] = []


@contextmanager
def mounted(settings: Settings, only: str | None = None) -> Iterator[Mirror | None]:
    """Inside, the home is the copy of the one in its bucket, just pulled; nothing for a home that is a folder.

    `only` names the one folder of it that is needed, for who only reads.
    """
    if settings.home_url is None:
        yield None
        return
    if _mounted:
        _mounted[-1].pull()
        yield _mounted[-1]
        return
    from pipelines.core import durable_files
    from pipelines.remote.mirror import FOLDERS, Mirror

    durable_files.make_folder(settings.home)
    mirror = Mirror(_objects(settings, settings.home_url), settings.home)
    mirror.pull((only,) if only else FOLDERS)
    _mounted.append(mirror)
    try:
        with durable_files.fetching_from(mirror):
            yield mirror
    finally:
        _mounted.pop()


def push(settings: Settings) -> None:
    """Write what this home has that its bucket has not; nothing for a home that is a folder."""
    if settings.home_url is not None:
        _mounted[-1].push()


def complete(settings: Settings) -> None:
    """Bring all of this home here, and remove copies of what landed; nothing for a home that is a folder."""
    if settings.home_url is not None:
        _mounted[-1].complete()
        shutil.rmtree(settings.home / "landed", ignore_errors=True)


def tidy(settings: Settings) -> None:
    """Remove from the bucket what has been removed here since it was pulled; nothing for a home that is a folder."""
    if settings.home_url is not None:
        _mounted[-1].push()
        _mounted[-1].tidy()


def access(settings: Settings) -> Access:
    """What DuckDB needs to read the home in its bucket itself. Raises UsageError where there are no credentials."""
    from pipelines.remote.objects import access

    assert settings.home_url is not None
    return access(settings.home_url, settings.s3_endpoint)


def attach(settings: Settings, connection: Connection, name: str, database: str) -> bool:
    """Attach a file of this home as `database` where it lies in its bucket, to be read.

    False where that cannot be: for a home that is a folder, without httpfs, or if it cannot read the file.
    """
    if settings.home_url is None:
        return False
    from pipelines.core import logs
    from pipelines.lake.engines import duckdb as engine
    from pipelines.remote import httpfs

    if not httpfs.is_possible(connection):
        return False
    there = access(settings)
    try:
        httpfs.attach(connection, there, f"{there.scope}/{name}", database)
    except engine.Error as error:
        reason, file = there.without_secrets(str(error).split("\n")[0]), name.rpartition("/")[2]
        logs.run_log.warning("DuckDB's httpfs cannot read %s in its bucket (%s): it is fetched.", file, reason)
        return False
    return True


def _objects(settings: Settings, url: str) -> Objects:
    from pipelines.remote.objects import Objects

    return Objects(url, settings.s3_endpoint, settings.s3_timeout_seconds)


def local_landing(
    settings: Settings, landing: Iterable[Landing] | None, is_in_raw: Callable[[str, str, str, str], bool]
) -> tuple[list[Path] | None, list[tuple[LandedFile, str]]]:
    """(the landing folders as local ones, what has landed in buckets and is in raw, each with the sha256 of its bytes).

    See `pipelines.remote.landing.download_new`.
    """
    if landing is None:
        return None, []
    folders: list[Path] = []
    in_raw: list[tuple[LandedFile, str]] = []
    for each in landing:
        if isinstance(each, str):
            from pipelines.remote.landing import download_new

            folder, known = download_new(settings, _objects(settings, each), is_in_raw)
            folders.append(folder)
            in_raw += known
        else:
            folders.append(each)
    return folders, in_raw


def list_pending(
    settings: Settings,
    landing: Iterable[Landing],
    is_in_raw: Callable[[str, str, str, str], bool],
    raw: Iterable[RawFile],
) -> list[Pending]:
    """List what has landed in those landing folders that are in buckets: see
    `pipelines.remote.landing.list_pending`."""
    urls = [each for each in landing if isinstance(each, str)]
    if not urls:
        return []
    from pipelines.remote.landing import list_pending

    raw = list(raw)
    return [list_pending(settings, _objects(settings, url), is_in_raw, raw) for url in urls]


def landed_copies(settings: Settings, url: str, folder: Path, entities: Collection[str]) -> Iterator[str]:
    """Yield the name of each object of some entities in a landing folder in a bucket, while its copy is in `folder`."""
    from pipelines.remote.landing import copies

    return copies(_objects(settings, url), folder, entities)


@contextmanager
def replicating(settings: Settings, log: Callable[[str], None]) -> Iterator[None]:
    """Keep a local copy of the bucket's current snapshot up to date inside, in a thread, for the read API to serve.

    While the bucket cannot be reached, the last one is served.
    """
    if settings.home_url is None:
        yield
        return
    from pipelines.core import durable_files
    from pipelines.remote.replica import Replica

    durable_files.make_folder(settings.snapshots)
    replica = Replica(_objects(settings, settings.home_url), settings.home)
    over = threading.Event()

    def sync() -> None:
        while True:
            try:
                replica.sync()
            except Exception as error:  # whatever it is, the last snapshot can be served, and the next look may succeed
                log(str(error))
            if over.wait(settings.s3_look_every_seconds):
                return

    thread = threading.Thread(target=sync, name="sync with the bucket", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
