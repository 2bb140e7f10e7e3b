"""The served snapshot, and the watcher of `current.json` that replaces it.

One thread reads `current.json` about twice a second, loads what it points at, and then swaps a single reference. So
what is served follows the pointer, in the order of its moves, half a second and the time of loading behind it. A
request reads that reference once, so no answer mixes two snapshots. When the new snapshot cannot be loaded, the old one
stays, the reason is logged, and loading is tried again now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pipelines.api.funded import Funded
from pipelines.api.preparation import DOCUMENTED, Preparer, map_documented
from pipelines.api.responses import WINDOW_DAYS, Ranking, Streams
from pipelines.core.calendar_days import rolling
from pipelines.core.completeness import Completeness
from pipelines.core.errors import MostwatchedError
from pipelines.snapshots import manifest

LOOK_EVERY_SECONDS = 0.5
LOOK_ON_SECONDS = 5.0  # while the pointer moves on faster than what it points at can be loaded
RETRY_AFTER_SECONDS = 10.0  # after a failed load of the same pointer: it may have been a passing fault of the disk

log = logging.getLogger("mostwatched.api")


@dataclass(frozen=True, eq=False)  # one is another only if it is the same object: its tables are large
class Serving:
    """One snapshot, ready to be served."""

    snapshot: manifest.Snapshot
    snapshot_id: str
    published_ms: int  # milliseconds since 1970, UTC
    window: str  # 2026-10-22/2026-11-21
    data_until: str | None  # the newest session
    zone: str  # in which its days begin and end
    completeness: Completeness | None  # of its days; None where an earlier version published it
    ranking: Ranking
    funded: Funded
    streams: Streams

    @property
    def is_complete(self) -> bool | None:
        """Whether all days of the documented ranking landed; None if nobody noted that."""
        if self.completeness is None:
            return None
        return self.completeness.is_complete(rolling(self.snapshot.as_of, WINDOW_DAYS))

    def is_behind(self, hours: int) -> bool:
        """Whether its newest session begins more than so many hours before the end of its days, or there is none."""
        end = datetime.combine(self.snapshot.as_of, datetime.min.time(), ZoneInfo(self.zone))
        return self.data_until is None or milliseconds(end) - milliseconds(self.data_until) > hours * 3_600_000

    def data_age_seconds(self, now_ms: int) -> int | None:
        """Whole seconds since its newest session began, by the clock; None without one."""
        return None if self.data_until is None else max(0, now_ms - milliseconds(self.data_until)) // 1000


def load(snapshots_dir: Path, pointer: manifest.Pointer, preparer: Preparer) -> Serving:
    """Prepare everything that the documented endpoints serve of one snapshot. Raises Damaged."""
    snapshot = manifest.open_snapshot(snapshots_dir, pointer.snapshot_id, pointer.manifest_sha256)
    first_day = snapshot.as_of - timedelta(days=WINDOW_DAYS)
    with preparer.prepared(DOCUMENTED, snapshot) as folder:
        ranking, funded, streams = map_documented(folder)
    return Serving(
        snapshot=snapshot,
        snapshot_id=snapshot.id,
        published_ms=milliseconds(pointer.published_at),
        window=f"{first_day.isoformat()}/{snapshot.as_of.isoformat()}",
        data_until=snapshot.manifest["freshness"]["newest_session_at"],
        zone=str(snapshot.manifest["policy"]["day_timezone"]),
        completeness=pointer.completeness or snapshot.completeness,
        ranking=ranking,
        funded=funded,
        streams=streams,
    )


def milliseconds(instant: str | datetime) -> int:
    """Milliseconds since 1970 of an RFC 3339 text, or of a datetime (UTC when it names no zone)."""
    parsed = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp() * 1000)


class Watcher:
    """Keeps `serving` at what `current.json` points at."""

    def __init__(
        self,
        snapshots_dir: Path,
        on_load: Callable[[Serving | None], None] = lambda _: None,
        preparer: Preparer | None = None,
    ) -> None:
        """`on_load` is called after every attempt, with the new snapshot or None for a failure."""
        self.serving: Serving | None = None
        self._directory = snapshots_dir
        self._on_load = on_load
        self._preparer = preparer or Preparer()
        self._seen: bytes | None = None
        self._retry_at: float | None = None
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_watching(self) -> bool:
        """Whether a thread watches in the background; when not, a request has to `refresh`."""
        return self._thread is not None

    def start(self) -> None:
        """Look once, and from then on in the background. Starting twice is the same as once."""
        self.refresh()
        with self._one_at_a_time:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._watch, name="snapshot watcher", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the background look."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def refresh(self) -> None:
        """Load what `current.json` points at, if that has changed since the last look. Never raises."""
        with self._one_at_a_time:
            give_up_at = time.monotonic() + LOOK_ON_SECONDS
            while True:
                content = self._pointer()
                is_due = self._retry_at is not None and time.monotonic() >= self._retry_at
                if content is None or (content == self._seen and not is_due):
                    return
                self._seen, self._retry_at = content, None
                if self._replace(content):
                    return
                self._seen = None
                if time.monotonic() > give_up_at:
                    return

    def _pointer(self) -> bytes | None:
        """What `current.json` says, every byte: its times and size may be those of another that said something else.

        None when there is none yet, or the directory is away: what is being served stays.
        """
        try:
            return (self._directory / manifest.POINTER).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"unreadable: {error}".encode()  # no pointer either, and said once

    def _replace(self, content: bytes) -> bool:
        """Serve what the pointer says. False when it cannot be, and the pointer has moved on in the meantime."""
        started = time.monotonic()
        try:
            pointer = manifest.pointer_of(self._directory / manifest.POINTER, content)
            now_serving = self.serving
            if now_serving is not None and now_serving.snapshot.manifest_sha256 == pointer.manifest_sha256:
                # the same snapshot published again (or pinned): only its age has changed, and what is known of it
                self.serving = replace(
                    now_serving,
                    published_ms=milliseconds(pointer.published_at),
                    completeness=pointer.completeness or now_serving.snapshot.completeness,
                )
            else:
                self.serving = load(self._directory, pointer, self._preparer)  # safeguard: failed-load-replaces-nothing
        except Exception as error:  # whatever is wrong with the new one, the old one is still right
            if self._pointer() not in (content, None):
                return False  # most likely pruned while it was read: no fault, and there is a newer one to look at
            self._retry_at = time.monotonic() + RETRY_AFTER_SECONDS
            still = self.serving.snapshot_id if self.serving is not None else None
            log.error(
                "the new snapshot cannot be loaded",
                extra={"reason": str(error), "still_serving": still},
                exc_info=None if isinstance(error, MostwatchedError) else error,
            )
            self._on_load(None)
        else:
            took_ms = round((time.monotonic() - started) * 1000)
            log.info("serving", extra={"snapshot_id": self.serving.snapshot_id, "loaded_in_ms": took_ms})
            self._on_load(self.serving)
        return True

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_SECONDS):
            self.refresh()
