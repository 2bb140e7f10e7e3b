"""Prepare the bytes of the response bodies from published tables. Pure functions and frozen values; no I/O, no clock.

Done once per snapshot, before it is served: `prepare_…` makes tables that all workers map (preparation.py), and a
request only cuts their bytes and splices its own few values (the timestamp, isFollowing, what a caller may see of a
stream).
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api.mapped_files import whole
from pipelines.core.errors import Damaged

WINDOW_DAYS = 30  # what the document of most-watched-creators promises
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
CALLERS_KEPT = 10_000  # of each private table; at some 250 bytes

_encode = msgspec.json.encode


# --- values ---


def json_value(value: object) -> bytes:
    """A column's value as JSON. A decimal is written as short as it is (500.00 -> 500, 9.90 -> 9.9)."""
    if isinstance(value, Decimal):
        return format(value.normalize() + 0, "f").encode()  # + 0: a negative zero is zero
    return _encode(value)


def json_object(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """A JSON object with its keys in the given order; the values are JSON already."""
    return b"{" + b",".join(b'"%b":%b' % (key.encode(), value) for key, value in pairs) + b"}"


def with_instants_as_text(table: pa.Table, unit: str = "ms") -> pa.Table:
    """The table with its timestamps as RFC 3339 text in UTC: with milliseconds, or cut to seconds."""
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            # without the zone, which is UTC: formatting then needs no time zone database on the machine
            naive = table.column(index).cast(pa.timestamp("ms"))
            if unit == "s":
                naive = pc.floor_temporal(naive, unit="second").cast(pa.timestamp("s"))
            text = pc.strftime(naive, format="%Y-%m-%dT%H:%M:%SZ")
            table = table.set_column(index, field.name, text)
    return table


def profiles(creators: pa.Table, creator_ids: pa.ChunkedArray) -> pa.Table:
    """The profile of each id, row by row, instants as text; all null for an unknown creator but the username.

    Whoever has no username is shown under their id: the documents have a text there.
    """
    rows = pc.index_in(creator_ids, value_set=ids(creators, "creator_id").combine_chunks())
    found = with_instants_as_text(creators.take(rows))
    at = found.schema.get_field_index("username")
    return found.set_column(at, "username", pc.coalesce(ids(found, "username"), creator_ids))


def ids(table: pa.Table, column: str) -> pa.ChunkedArray:
    """A column of ids in one Arrow type, whichever of its string types the file was written with."""
    return table[column].cast(pa.large_string())


_PHOTO_KEYS = ("_id", "url", "type", "variants", "createdAt", "updatedAt")
_PHOTO_COLUMNS = tuple(
    f"profile_photo_{name}" for name in ("id", "url", "type", "variants", "created_at", "updated_at")
)


def photo(profile: Mapping[str, Any]) -> bytes:
    """The profilePhoto object of a profile; null when nothing is known about the photo."""
    values = [profile[column] for column in _PHOTO_COLUMNS]
    if all(value is None for value in values):
        return b"null"
    parts = [
        spliced(value, b"null") if key == "variants" else _encode(value)
        for key, value in zip(_PHOTO_KEYS, values, strict=True)
    ]
    return json_object(zip(_PHOTO_KEYS, parts, strict=True))


def spliced(text: str | None, without: bytes) -> bytes:
    """Nested JSON as it landed (the parser has checked it), or `without` when there is none."""
    return without if text is None else text.encode()


# --- most-watched-creators ---


@dataclass(frozen=True)
class Ranking:
    """The 30-day ranking down to MAX_LIMIT, prepared so that it can be cut at any limit."""

    anonymous: bytes  # every creator's object with isFollowing null, joined by commas
    unfollowed: bytes  # the same with false, which is one letter longer
    ends: array[int]  # ends[n]: where the first n of them end in `anonymous`; in `unfollowed` that is n letters later
    followers: SortedPositions  # user_id -> positions (from 0) of the ranked creators whom that user follows

    @classmethod
    def of(cls, items: pa.Table, follows: pa.Table) -> Ranking:
        """The ranking of the tables of `prepare_ranking`."""
        open_items = items["item"].to_pylist()
        ends = array("q", [0])
        for item in open_items:
            ends.append(ends[-1] + len(item) + len(b"null}") + (len(ends) > 1))  # a comma before all but the first
        return cls(
            anonymous=b",".join([item + b"null}" for item in open_items]),
            unfollowed=b",".join([item + b"false}" for item in open_items]),
            ends=ends,
            followers=SortedPositions.of_table(follows),
        )

    @property
    def size(self) -> int:
        """How many creators there are."""
        return len(self.ends) - 1

    def anonymous_data(self, limit: int) -> bytes:
        """The JSON list of the first `limit` creators, isFollowing null."""
        return b"[%b]" % self.anonymous[: self.ends[min(limit, self.size)]]

    def followed(self, user_id: str, limit: int) -> list[int]:
        """The positions below `limit`, ascending, of the creators whom a user follows."""
        return sorted(position for position in self.followers.of(user_id) if position < limit)

    def data_for(self, followed: Sequence[int], limit: int) -> bytes:
        """The JSON list of the first `limit` creators, isFollowing true at the `followed` positions, ascending."""
        parts, done = [b"["], 0
        for position in followed:
            end = self.ends[position + 1] + position + 1
            parts += (self.unfollowed[done : end - len(b"false}")], b"true}")
            done = end
        shown = min(limit, self.size)
        parts += (self.unfollowed[done : self.ends[shown] + shown], b"]")
        return b"".join(parts)


def prepare_ranking(rankings: pa.Table, creators: pa.Table, follows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The objects (column `item`) of the 30-day ranking in order of position, and who follows whom of them."""
    wanted = pc.and_(pc.equal(rankings["window_days"], WINDOW_DAYS), pc.less_equal(rankings["position"], MAX_LIMIT))
    ranked = ids(rankings.filter(wanted).sort_by("position"), "creator_id")
    items = [
        _ranked_creator(creator_id, profile)
        for creator_id, profile in zip(ranked.to_pylist(), profiles(creators, ranked).to_pylist(), strict=True)
    ]
    return pa.table({"item": pa.array(items, pa.large_binary())}), sorted_positions(follows, "creator_id", ranked)


def _ranked_creator(creator_id: str, profile: Mapping[str, Any]) -> bytes:
    """The object up to and including `"isFollowing":`."""
    closed = json_object(
        (
            ("_id", _encode(creator_id)),
            ("username", _encode(profile["username"])),
            ("name", _encode(profile["name"])),
            ("surname", _encode(profile["surname"])),
            ("availabilityStatus", _encode(profile["availability_status"])),
            ("profilePhoto", photo(profile)),
            ("expertise", _encode(profile["expertise"])),
            ("isFollowing", b""),
        )
    )
    return closed[:-1]


# --- who may see what: a user's rows of a private table ---


@dataclass(frozen=True)
class SortedPositions:
    """The rows of a private table, sorted by user, each with the position of what it points at.

    Columns and a binary search: a million rows cost their bytes, not a million Python objects, and bytes that are
    mapped are shared by all workers. Where the last CALLERS_KEPT users were found is remembered: who asks once asks
    again, and the search costs more than all the rest.
    """

    positions: npt.NDArray[np.int32]
    rest: pa.Table  # the other columns, row by row
    rows: Callable[[str], slice]  # where the rows of one user are

    @classmethod
    def of_table(cls, table: pa.Table) -> SortedPositions:
        """Those of a table of `sorted_positions`."""
        return cls(
            positions=whole(table["position"]).to_numpy(),
            rest=table.drop_columns(["user_id", "position"]),
            rows=lru_cache(CALLERS_KEPT)(partial(rows_of, whole(table["user_id"]))),
        )

    def of(self, user_id: str) -> list[int]:
        """The positions that a user's rows point at."""
        found: list[int] = self.positions[self.rows(user_id)].tolist()
        return found


def rows_of(sorted_ids: pa.Array, wanted: str) -> slice:
    """Where an id stands in an ascending column of them."""
    # Python compares strings by code point, which is the order of their UTF-8 bytes, as in the file
    start = bisect_left(sorted_ids, wanted, key=_text)
    return slice(start, bisect_right(sorted_ids, wanted, lo=start, key=_text))


def _text(scalar: pa.Scalar) -> str:
    return scalar.as_py()  # type: ignore[no-any-return]


def sorted_positions(table: pa.Table, points_at: str, targets: pa.ChunkedArray) -> pa.Table:
    """The rows of `table` whose `points_at` is one of `targets`, by user_id; no others can be asked for.

    `points_at` becomes `position`, the place (from 0) in `targets`.
    """
    positions = pc.index_in(ids(table, points_at), value_set=targets.combine_chunks())
    known = table.drop_columns([points_at]).append_column("position", positions).filter(pc.is_valid(positions))
    users = ids(known, "user_id")
    known = known.set_column(known.schema.get_field_index("user_id"), "user_id", users)
    if len(users) > 1 and not pc.all(pc.less_equal(users.slice(0, len(users) - 1), users.slice(1))).as_py():
        known = known.sort_by("user_id")
    return known


# --- List Streams ---


class _Stream(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A stream as in the document; what is unknown is left out, not null."""

    id: str
    domain: str
    app: str
    stream: str
    created: str
    updated: str | None = None
    latest_streaming_at: str | None = msgspec.field(default=None, name="latestStreamingAt")
    status: str


FILTERS = ("domain", "app", "status")
STREAMS_HEAD, STREAMS_END = b'{"streams":[', b"]}"


@dataclass(frozen=True)
class Streams:
    """Every stream's object in order of (created, id), and what its filters look at."""

    items: pa.Array  # each object with a comma before it: objects that follow each other are a part of a body
    columns: Mapping[str, pa.Array]  # of each filter, the value of every stream
    positions: Mapping[str, npt.NDArray[np.int32]]  # of each filter, the streams in order of their value
    starts: Mapping[str, Mapping[str, tuple[int, int]]]  # of each filter and value, where its streams stand in those

    @classmethod
    def of(cls, items: pa.Table, indexes: Mapping[str, pa.Table]) -> Streams:
        """The streams of the tables of `prepare_streams`."""
        starts = {}
        for name in FILTERS:
            index = indexes[name]
            ends = np.cumsum(index["streams"].to_numpy()).tolist()
            starts[name] = dict(zip(index["value"].to_pylist(), zip([0, *ends], ends, strict=False), strict=True))
        return cls(
            items=whole(items["item"]),
            columns={name: whole(items[name]) for name in FILTERS},
            positions={name: whole(items[f"by_{name}"]).to_numpy() for name in FILTERS},
            starts=starts,
        )

    def count(self, filters: Mapping[str, str]) -> int:
        """At least as many streams as match: those of the filter that leaves fewest."""
        if not filters:
            return len(self.items)
        return min(end - start for start, end in (self._range(name, value) for name, value in filters.items()))

    def parts(self, filters: Mapping[str, str]) -> tuple[bytes, memoryview, bytes]:
        """`{"streams":[…]}` of the streams that match every filter exactly, in three parts.

        Without a filter nothing is copied; else it takes some 0.2 µs a stream of the filter that leaves fewest.
        """
        found = self.items if not filters else self.items.take(self._matching(filters))
        return STREAMS_HEAD, _joined(found), STREAMS_END

    def data(self, filters: Mapping[str, str]) -> bytes:
        """The same as one."""
        return b"".join(self.parts(filters))

    def _range(self, name: str, value: str) -> tuple[int, int]:
        return self.starts[name].get(value, (0, 0))

    def _matching(self, filters: Mapping[str, str]) -> pa.Array:
        # begin with the filter that leaves fewest, and look at what the others want of those
        ranges = {name: self._range(name, value) for name, value in filters.items()}
        rarest = min(ranges, key=lambda name: ranges[name][1] - ranges[name][0])
        start, end = ranges[rarest]
        found = pa.array(self.positions[rarest][start:end])
        for name, value in filters.items():
            if name != rarest:
                found = found.filter(pc.equal(self.columns[name].take(found), value))
        return found


def _joined(items: pa.Array) -> memoryview:
    """The bytes of items that follow each other, without the comma before the first."""
    if not len(items):
        return memoryview(b"")
    _, offsets, data = items.buffers()
    bounds = np.frombuffer(offsets, np.int64)
    return memoryview(data)[bounds[items.offset] + 1 : bounds[items.offset + len(items)]]


def prepare_streams(lls_streams: pa.Table) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Every row of lls_streams as the object of the document, and the index behind each of its three filters.

    The first table has a stream a row in order of (created, id): `item`, the filters' columns, and for each of them
    `by_…`, the numbers of the rows in order of its value. An index has a value a row, and how many `streams` have it.
    """
    ordered = lls_streams.sort_by([("created_at", "ascending"), ("stream_id", "ascending")])
    rows = with_instants_as_text(ordered, unit="s").to_pylist()
    columns = {"item": pa.array([b"," + _encode(_stream(row)) for row in rows], pa.large_binary())}
    indexes = {}
    for name in FILTERS:
        values = ids(ordered, name).combine_chunks()
        columns[name] = values
        columns[f"by_{name}"] = pc.sort_indices(values).cast(pa.int32())  # stable: equal ones stay in order
        counts = pc.value_counts(values)
        counted = pa.table({"value": counts.field("values"), "streams": counts.field("counts")})
        indexes[name] = counted.sort_by("value")
    return pa.table(columns), indexes


def _stream(row: Mapping[str, Any]) -> _Stream:
    return _Stream(
        id=row["stream_id"],
        domain=row["domain"],
        app=row["app"],
        stream=row["stream"],
        created=row["created_at"],
        updated=row["updated_at"],
        latest_streaming_at=row["latest_streaming_at"],
        status=row["status"],
    )


# --- shared ---


def digest_of(*parts: object) -> str:
    """Return sixteen hex digits of a digest of the parts, for an ETag."""
    return hashlib.sha256(_encode(parts)).hexdigest()[:16]


def require_window(windows: Sequence[int], snapshot_id: str) -> None:
    """Raises Damaged if the snapshot has no 30-day ranking: an empty list would be a wrong answer."""
    if WINDOW_DAYS not in windows:
        raise Damaged(
            f"Snapshot {snapshot_id} holds rankings over {list(windows)} days; the API serves {WINDOW_DAYS}. "
            f"Add {WINDOW_DAYS} to MOSTWATCHED_WINDOWS and run the night again."
        )
