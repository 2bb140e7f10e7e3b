"""Landing folders in buckets: what is not in raw yet is brought here to be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines import store
from pipelines.bucket.mirror import read_record
from pipelines.bucket.objects import Found, Objects, each
from pipelines.settings import Settings

IsInRaw = Callable[[str, str], bool]


def brought(settings: Settings, objects: Objects, is_in_raw: IsInRaw) -> Path:
    """A folder here that holds what landed in a bucket and is not in raw.

    `is_in_raw(entity, sha256)` tells whether raw holds what a landed file of these bytes comes to. An object that
    changes while it is fetched waits for the next run, like any file.
    """
    name = hashlib.sha256(objects.url.encode()).hexdigest()[:16]
    folder = settings.home / "landed" / name
    record = settings.lake / f"landed-{name}.json"
    known = read_record(record)  # name -> [etag, sha256]
    found = {name: one for name, one in objects.listed().items() if _may_land(name)}
    wanted = {name for name, one in found.items() if not _is_known(known.get(name), one, name, is_in_raw)}
    store.make_folder(folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()

    def bring(name: str) -> None:
        final = folder / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = store.temporary_beside(final)
        try:
            if objects.download(name, temporary, found[name].etag) is None:
                return
            known[name] = [found[name].etag, store.sha256_of(temporary)]
            modified = int(found[name].modified.timestamp() * 1e9)
            os.utime(temporary, ns=(modified, modified))
            temporary.rename(final)
        finally:
            temporary.unlink(missing_ok=True)

    each(bring, sorted(name for name in wanted if not _is_here(folder / name, known.get(name), found[name])))
    files = {name: known[name] for name in sorted(known) if name in found}
    store.make_folder(settings.lake)
    store.write_json(record, store.sealed({"url": objects.url, "files": files}))
    return folder


def _is_known(known: list[Any] | None, found: Found, name: str, is_in_raw: IsInRaw) -> bool:
    return known is not None and known[0] == found.etag and is_in_raw(name.partition("/")[0], known[1])


def _is_here(path: Path, known: list[Any] | None, found: Found) -> bool:
    with suppress(OSError):
        return known is not None and known[0] == found.etag and path.stat().st_size == found.size
    return False


def _may_land(name: str) -> bool:
    return not any(part.startswith((".", "_")) or part in ("", "..") for part in name.split("/"))
