"""The query service: loads the cube of the served snapshot in the background, and runs queries on a thread of its own.

The prepared endpoints never wait for it. The cube of a large platform takes seconds to load; until then queries are
answered from the previous snapshot, and without one they wait. An answer comes from one snapshot alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from pipelines.api import insight as insights
from pipelines.api.compression import OpenBody, opened
from pipelines.api.fair_queue import FairQueue
from pipelines.api.insight import Insight
from pipelines.api.preparation import QUERIES, Preparer
from pipelines.api.snapshot_watcher import Serving
from pipelines.core.calendar_days import Window
from pipelines.core.completeness import Completeness
from pipelines.core.errors import MostwatchedError
from pipelines.snapshots import manifest
from pipelines.snapshots.manifest import Snapshot

RETRY_AFTER_SECONDS = 10.0  # after a failed load: it may have been a passing fault of the disk
KEPT_BYTES = 16 << 20  # of rendered answers; a page of a hundred creators is some 150 kB

T = TypeVar("T")

log = logging.getLogger("mostwatched.api")


@dataclass(frozen=True)
class Rendered:
    """A body, or the data of one, and where the part after it is to be had."""

    body: bytes
    next: str | None = None  # relative to the address that was asked


@dataclass(frozen=True, eq=False)
class ReadySnapshot:
    """A snapshot loaded for queries, with a cache of bodies."""

    insight: Insight
    snapshot: Snapshot
    published_ms: int
    data_until: str | None
    zone: str  # in which its days begin and end
    completeness: Completeness | None  # of its days; None where nobody noted that
    bodies: OrderedDict[tuple[object, ...], Rendered] = field(default_factory=OrderedDict)
    packed_bodies: OrderedDict[tuple[object, ...], OpenBody] = field(default_factory=OrderedDict)

    @property
    def snapshot_id(self) -> str:
        """Its name."""
        return self.snapshot.id

    def did_not_land(self, day: date) -> bool:
        """Whether nothing of a day landed, as far as anybody noted that."""
        return self.completeness is not None and self.completeness.did_not_land(day)

    def is_complete(self, first: date, end: date) -> bool:
        """Whether all days from one to another (exclusive) landed, as far as anybody noted that."""
        asked = Window(first, end)
        return self.completeness is None or self.completeness.within(asked).is_complete(asked)

    def body(self, key: tuple[object, ...], write: Callable[[], Rendered]) -> Rendered:
        """Return what `write` returns, cached under `key`, which must hold everything that it depends on."""
        found = self.bodies.get(key)
        if found is None:
            found = write()
            if len(found.body) > KEPT_BYTES:
                return found
            self.bodies[key] = found
            while sum(len(one.body) for one in self.bodies.values()) > KEPT_BYTES:
                self.bodies.popitem(last=False)
        self.bodies.move_to_end(key)
        return found

    def packed(self, key: tuple[object, ...], encoding: bytes, *parts: bytes) -> OpenBody:
        """Return the parts of a body compressed, cached under `key` as by `body`."""
        key = (*key, encoding)
        found = self.packed_bodies.get(key)
        if found is None:
            found = self.packed_bodies[key] = opened(encoding, *parts)
            while sum(len(one.start) for one in self.packed_bodies.values()) > KEPT_BYTES:
                self.packed_bodies.popitem(last=False)
        return found

    def drop_caches(self) -> None:
        """Free what was worked out for answers. On the thread that answers."""
        self.bodies.clear()
        self.packed_bodies.clear()
        self.insight.drop_rankings()


class NotReady(Exception):
    """No answer can be given yet; try again in some seconds."""


class NotKept(Exception):
    """The snapshot that was asked for by its id is not one of those that answer; the message says which do."""


class QueryService:
    """Keeps a `ReadySnapshot` for the served snapshot and for the one before it, and runs one query at a time.

    The one before is for those who are in the middle of its pages. It stays mapped, although its prepared files are
    gone, and answers for as long as the snapshot itself is stored: one that is pruned, or removed for somebody who is
    forgotten, answers no more. A worker that takes the place of another prepares it again: which one it is, the workers
    note in the folder that they share.
    """

    def __init__(self, preparer: Preparer) -> None:
        self._preparer = preparer
        self._ready: ReadySnapshot | None = None
        self._before: ReadySnapshot | None = None
        self._failed: tuple[str, float] | None = None  # a snapshot's id, and when it was tried
        self._pending: Future[None] | None = None
        self._wanted: Serving | None = None
        self._restoring: tuple[str, Future[None]] | None = None  # the snapshot before, by its id
        self._lock = threading.Lock()
        self._queue = FairQueue()
        # Questions and loading each on a thread of their own: neither can take more than a core, nor hold up the other.
        self._thinking = ThreadPoolExecutor(1, "questions")
        self._loading = ThreadPoolExecutor(1, "cube")

    def prepare(self, serving: Serving | None) -> Future[None] | None:
        """Load `serving` for queries. Returns what to wait for, or None."""
        if serving is None:
            return None
        with self._lock:
            ready = self._ready
            if ready is not None and ready.snapshot_id == serving.snapshot_id:
                if ready.published_ms != serving.published_ms:  # published again: its age, and what is known of it
                    self._ready = _ready(ready.insight, serving)
                return None
            if self._failed is not None and self._failed[0] == serving.snapshot_id:
                if time.monotonic() < self._failed[1] + RETRY_AFTER_SECONDS:
                    return None
                self._failed = None
            if self._pending is None or self._wanted is None or self._wanted.snapshot_id != serving.snapshot_id:
                self._wanted = serving
                self._pending = self._loading.submit(self._load, serving)
            return self._pending

    def holds(self, snapshot_id: str) -> bool:
        """Whether a snapshot can be asked by its id without loading anything."""
        return any(one is not None and one.snapshot_id == snapshot_id for one in (self._ready, self._before))

    async def ask(
        self,
        serving: Serving,
        question: Callable[[ReadySnapshot], T],
        lane: str,
        client: str,
        *,
        wait: bool,
        snapshot_id: str | None = None,
    ) -> T:
        """Run `question` on the served snapshot, or on the previous one while this one is being loaded.

        With `wait` only on this one; with a `snapshot_id` on that one alone. Raises NotReady, NotKept, Busy (see
        FairQueue), and whatever `question` raises.
        """
        if snapshot_id is not None:
            await self._restored(serving, snapshot_id)
        async with self._queue.turn(lane, client):
            pending = self.prepare(serving)
            is_new = snapshot_id == serving.snapshot_id and not self.holds(serving.snapshot_id)
            if pending is not None and (wait or is_new or self._ready is None):
                await asyncio.wrap_future(pending)
            ready = self._ready
            if ready is None or (is_new and not self.holds(serving.snapshot_id)):
                raise NotReady("The snapshot's cube cannot be read")
            if snapshot_id is not None:
                ready = self._pinned(ready, snapshot_id)
            return await asyncio.get_running_loop().run_in_executor(self._thinking, question, ready)

    async def _restored(self, serving: Serving, snapshot_id: str) -> None:
        """Wait for a snapshot that is being loaded again; before one's turn, so that nobody else waits for it."""
        if (pending := self.prepare(serving)) is not None and self._ready is None:
            await asyncio.shield(asyncio.wrap_future(pending))
        if (restoring := self._restoring) is not None and restoring[0] == snapshot_id:
            await asyncio.shield(asyncio.wrap_future(restoring[1]))

    def _pinned(self, ready: ReadySnapshot, snapshot_id: str) -> ReadySnapshot:
        kept = [ready] if self._before is None else [ready, self._before]
        # safeguard: removed-snapshot-answers-no-more
        kept = [one for one in kept if one is ready or one.snapshot.path.exists()]
        for one in kept:
            if one.snapshot_id == snapshot_id:
                return one
        raise NotKept(
            f"Snapshot {snapshot_id} is not kept here: there is {' and '.join(one.snapshot_id for one in kept)}. "
            "Ask for the first part again, without snapshot"
        )

    def close(self) -> None:
        """Run no more queries."""
        self._thinking.shutdown(wait=False, cancel_futures=True)
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _load(self, serving: Serving) -> None:
        started = time.monotonic()
        snapshot = serving.snapshot
        before = self._ready
        try:
            held = None if before is None else before.snapshot
            with self._preparer.prepared(QUERIES, snapshot, held) as folder:
                insight = insights.load(snapshot, folder)
        except Exception as error:  # whatever is wrong with it, the one before is still right
            with self._lock:
                self._failed = (snapshot.id, time.monotonic())
            log.error(
                "the cube cannot be loaded",
                extra={"reason": str(error), "snapshot_id": snapshot.id},
                exc_info=None if isinstance(error, MostwatchedError) else error,
            )
        else:
            with self._lock:
                self._ready = _ready(insight, serving)
                if before is not None and before.snapshot_id != snapshot.id:
                    self._before = before
                    with suppress(RuntimeError):  # the server stops
                        self._thinking.submit(before.drop_caches)
            if self._before is not None:
                with suppress(OSError):
                    self._preparer.record_before(snapshot, _as_record(self._before))
            elif (
                recorded := self._preparer.recorded_before(snapshot)
            ) is not None:  # safeguard: snapshot-before-found-again
                with suppress(RuntimeError):
                    self._restoring = recorded["snapshot_id"], self._loading.submit(self._restore, serving, recorded)
            took_ms = round((time.monotonic() - started) * 1000)
            log.info("answering questions", extra={"snapshot_id": snapshot.id, "loaded_in_ms": took_ms})
        finally:
            with self._lock:
                in_use = [each.snapshot for each in (self._ready, self._wanted) if each is not None]
                if self._wanted is not None and self._wanted.snapshot_id == snapshot.id:
                    self._pending = self._wanted = None
            with suppress(OSError):
                self._preparer.keep(in_use)

    def _restore(self, serving: Serving, recorded: Mapping[str, Any]) -> None:
        """Load the snapshot before again, as the workers had it whose place this one takes."""
        try:
            snapshot = manifest.open_snapshot(
                serving.snapshot.path.parent, recorded["snapshot_id"], recorded["manifest_sha256"]
            )
            with self._preparer.prepared(QUERIES, snapshot, serving.snapshot) as folder:
                insight = insights.load(snapshot, folder)
        except Exception as error:  # pruned, most likely: it answers no more, as it does not from the other workers
            log.info("the snapshot before is not loaded", extra={"reason": str(error)})
            return
        completeness = Completeness.from_json(recorded["completeness"]) if recorded["completeness"] else None
        found = ReadySnapshot(
            insight,
            snapshot,
            recorded["published_ms"],
            snapshot.manifest["freshness"]["newest_session_at"],
            str(snapshot.manifest["policy"]["day_timezone"]),
            completeness,
        )
        with self._lock:
            if self._before is None:
                self._before = found
        with suppress(OSError):
            self._preparer.keep([serving.snapshot])


def _as_record(one: ReadySnapshot) -> Mapping[str, object]:
    return {
        "snapshot_id": one.snapshot_id,
        "manifest_sha256": one.snapshot.manifest_sha256,
        "published_ms": one.published_ms,
        "completeness": one.completeness and one.completeness.as_json(),
    }


def _ready(insight: Insight, serving: Serving) -> ReadySnapshot:
    return ReadySnapshot(
        insight, serving.snapshot, serving.published_ms, serving.data_until, serving.zone, serving.completeness
    )
