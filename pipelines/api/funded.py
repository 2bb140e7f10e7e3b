"""The body of `funded`: a caller's scheduled streams, and what that caller may see of each.

A stream's object is prepared as a stranger sees it; for its hosts and guests, and for whoever has rented it, the values
that depend on the caller (recordingUrl, replayAccess, role) are spliced in. Objects are made when a stream is first
asked for, not when the snapshot is loaded: a platform has many more scheduled streams than callers in a night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.api import envelope
from pipelines.api.responses import (
    SortedPositions,
    ids,
    json_object,
    json_value,
    photo,
    profiles,
    sorted_positions,
    spliced,
    with_instants_as_text,
)

PIECES_KEPT = 10_000  # streams; about 2 kB each

_GONE = ("banned", "deleted")  # creators whose streams are not served, as they are not ranked

_encode = msgspec.json.encode

# the document's keys between replayAccess and role, with the column behind each
_PLAIN_KEYS = (
    ("status", "status"),
    ("accessType", "access_type"),
    ("price", "price"),
    ("interest", "interest"),
    ("durationGoal", "duration_goal"),
    ("motivation", "motivation"),
    ("isActiveReplayOnCreatorProfile", "is_active_replay_on_creator_profile"),
    ("replayCreditPrice", "replay_credit_price"),
    ("startedAt", "started_at"),
    ("plannedStartDate", "planned_start_date"),
    ("endedAt", "ended_at"),
    ("plannedEndDate", "planned_end_date"),
    ("createdAt", "created_at"),
    ("updatedAt", "updated_at"),
    ("fundingGoal", "funding_goal"),
    ("collectedFunding", "collected_funding"),
    ("fundingPercentage", "funding_percentage"),
)


@dataclass(frozen=True)
class Rental:
    """A caller's rental of one stream's replay; instants in milliseconds since 1970, UTC."""

    expires_at: int
    rented_at: int
    price: Decimal | None


@dataclass(frozen=True)
class Pieces:
    """One scheduled stream: its prepared bytes around the caller's values, and the facts that decide those values."""

    for_strangers: bytes  # to whom it is neither theirs nor rented: nearly everybody
    cuts: tuple[int, int, int, int]  # in that: where recordingUrl begins, where replayAccess ends, where role is
    recording_url: bytes
    creator_id: str
    hosts: frozenset[str]
    guests: frozenset[str]
    replay_credit_price: Decimal | None


@dataclass(frozen=True)
class Funded:
    """Who has funded which scheduled stream. Positions number those streams, soonest planned start first."""

    callers: SortedPositions
    rentals: SortedPositions
    pieces: Callable[[int], Pieces]

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table]) -> Funded:
        """What the tables of `prepare_funded` say."""
        scheduled, their_creators = tables["scheduled"], tables["their_creators"]

        @lru_cache(maxsize=PIECES_KEPT)
        def pieces(at: int) -> Pieces:
            return _pieces(scheduled.slice(at, 1).to_pylist()[0], their_creators.slice(at, 1).to_pylist()[0])

        return cls(
            callers=SortedPositions.of_table(tables["funded_streams"]),
            rentals=SortedPositions.of_table(tables["replay_rentals"]),
            pieces=pieces,
        )

    def data_for(self, user_id: str, now_ms: int) -> bytes:
        """The JSON list of the scheduled streams that a user has funded, as that user may see them now."""
        positions = sorted(set(self.callers.of(user_id)))  # safeguard: own-streams-alone
        if not positions:
            return b"[]"
        rentals = self._latest_rentals(user_id)
        streams = [stream_for(self.pieces(at), user_id, rentals.get(at), now_ms) for at in positions]
        return b"[%b]" % b",".join(streams)

    def _latest_rentals(self, user_id: str) -> dict[int, Rental]:
        """Of each stream that a user has rented, the rental that expires last."""
        rows = self.rentals.rows(user_id)
        if rows.start == rows.stop:
            return {}
        positions = self.rentals.positions[rows].tolist()
        details = self.rentals.rest.slice(rows.start, rows.stop - rows.start).to_pylist()
        latest: dict[int, Rental] = {}
        for at, row in zip(positions, details, strict=True):
            rental = Rental(row["expires_at"], row["rented_at"], row["price"])
            known = latest.get(at)
            if known is None or (rental.expires_at, rental.rented_at) > (known.expires_at, known.rented_at):
                latest[at] = rental
        return latest


def stream_for(stream: Pieces, user_id: str, rental: Rental | None, now_ms: int) -> bytes:
    """One stream's object as one caller may see it at one instant."""
    called = role(stream, user_id)
    if called == "viewer" and rental is None:  # safeguard: prepared-for-strangers
        return stream.for_strangers
    status = access_status(is_owner=user_id == stream.creator_id, rental=rental, now_ms=now_ms)
    url = stream.recording_url if status in ("owner", "rented") else b"null"  # safeguard: recording-not-for-everybody
    access = replay_access(status, stream.replay_credit_price, rental, now_ms)
    url_from, access_to, role_from, role_to = stream.cuts
    whole = stream.for_strangers
    between = whole[access_to:role_from]
    return b"".join((whole[:url_from], url, _ACCESS, access, between, _encode(called), whole[role_to:]))


_ACCESS = b',"replayAccess":'


def access_status(*, is_owner: bool, rental: Rental | None, now_ms: int) -> str:
    """owner (the caller is the creator), rented (a rental not yet over), expired, or none."""
    if is_owner:
        return "owner"
    if rental is None:
        return "none"
    return "rented" if now_ms < rental.expires_at else "expired"


def replay_access(status: str, credit_price: Decimal | None, rental: Rental | None, now_ms: int) -> bytes:
    """The replayAccess object; whole seconds remain, rounded down, and none once it has expired."""
    price = rental.price if rental is not None and rental.price is not None else credit_price
    rented_at = expires_at = remaining = b"null"
    if rental is not None:
        rented_at = b'"%b"' % envelope.instant(rental.rented_at)
        expires_at = b'"%b"' % envelope.instant(rental.expires_at)
        remaining = b"%d" % max(0, (rental.expires_at - now_ms) // 1000)
    return json_object(
        (
            ("status", _encode(status)),
            ("canRent", _encode(credit_price is not None and status != "owner")),
            ("canViewRecording", _encode(status in ("owner", "rented"))),
            ("price", json_value(price)),
            ("rentedAt", rented_at),
            ("expiresAt", expires_at),
            ("remainingSeconds", remaining),
        )
    )


def role(stream: Pieces, user_id: str) -> str:
    """host: the creator or a broadcaster; guest; else viewer."""
    if user_id == stream.creator_id or user_id in stream.hosts:
        return "host"
    return "guest" if user_id in stream.guests else "viewer"


def people(text: str | None) -> frozenset[str]:
    """The user ids in a landed `broadcasters` or `guests`: ids as they are, or objects with one."""
    found: set[str] = set()
    try:
        listed = json.loads(text) if text is not None else []
    except (ValueError, RecursionError):  # nested beyond sense; nobody in there is recognised
        listed = []
    for item in listed if isinstance(listed, list) else []:
        values = [item.get(key) for key in ("_id", "id", "userId")] if isinstance(item, dict) else [item]
        found.update(value for value in values if isinstance(value, str))
    return frozenset(found)


def prepare_funded(
    live_streams: pa.Table,
    funding: pa.Table,
    creators: pa.Table,
    funded_streams: pa.Table,
    replay_rentals: pa.Table,
) -> dict[str, pa.Table]:
    """What `funded` needs, from the published tables and the two private ones.

    `scheduled` has a stream a row, soonest planned start first, and `their_creators` the creator of each; the private
    tables point at those rows.
    """
    gone = ids(creators, "creator_id").filter(pc.is_in(creators["status"], pa.array(_GONE)))
    is_theirs = pc.is_in(ids(live_streams, "creator_id"), value_set=gone.combine_chunks())
    is_shown = pc.and_(pc.equal(live_streams["status"], "scheduled"), pc.invert(is_theirs))
    scheduled = live_streams.filter(is_shown)  # safeguard: no-stream-of-a-banned-creator
    soonest_first = [("planned_start_date", "ascending", "at_end"), ("stream_id", "ascending", "at_end")]
    scheduled = scheduled.take(pc.sort_indices(scheduled, soonest_first))
    stream_ids = ids(scheduled, "stream_id")
    funding_rows = pc.index_in(stream_ids, value_set=ids(funding, "stream_id").combine_chunks())
    for column in ("collected_funding", "funding_percentage"):
        scheduled = scheduled.append_column(column, funding[column].take(funding_rows))
    scheduled = with_instants_as_text(scheduled)
    return {
        "scheduled": scheduled,
        "their_creators": profiles(creators, ids(scheduled, "creator_id")),
        "funded_streams": sorted_positions(funded_streams, "stream_id", stream_ids),
        "replay_rentals": sorted_positions(_in_milliseconds(replay_rentals), "stream_id", stream_ids),
    }


def _in_milliseconds(rentals: pa.Table) -> pa.Table:
    for name in ("rented_at", "expires_at"):
        index = rentals.schema.get_field_index(name)
        rentals = rentals.set_column(index, name, rentals[name].cast(pa.timestamp("ms")).cast(pa.int64()))
    return rentals


def _pieces(stream: Mapping[str, Any], profile: Mapping[str, Any]) -> Pieces:
    """Cut one stream's object where the caller's values go."""
    creator = json_object(
        (
            ("_id", _encode(stream["creator_id"])),
            ("username", _encode(profile["username"])),
            ("name", _encode(profile["name"])),
            ("surname", _encode(profile["surname"])),
            ("profilePhoto", photo(profile)),
            ("availabilityStatus", _encode(profile["availability_status"])),
        )
    )
    before_recording_url = json_object(
        (
            ("id", _encode(stream["stream_id"])),
            ("title", _encode(stream["title"])),
            ("liveStreamType", _encode(stream["live_stream_type"])),
            ("channelName", _encode(stream["channel_name"])),
            ("broadcasters", spliced(stream["broadcasters"], b"[]")),
            ("guests", spliced(stream["guests"], b"[]")),
            ("creator", creator),
            ("thumbnailUrl", _encode(stream["thumbnail_url"])),
            ("recording", _encode(stream["recording"])),
            ("recordingUrl", b""),
        )
    )
    plain = json_object((key, json_value(stream[column])) for key, column in _PLAIN_KEYS)
    credit_price = stream["replay_credit_price"]
    parts = (
        before_recording_url[:-1],
        b"null" + _ACCESS + replay_access("none", credit_price, None, 0),
        b",%b" % plain[1:-1] + b',"role":',
        b'"viewer"',
        b',"miniCrowdFundings":%b}' % spliced(stream["mini_crowd_fundings"], b"[]"),
    )
    url_from, access_to, role_from, role_to, _ = accumulate(map(len, parts))
    return Pieces(
        for_strangers=b"".join(parts),
        cuts=(url_from, access_to, role_from, role_to),
        recording_url=_encode(stream["recording_url"]),
        creator_id=stream["creator_id"],
        hosts=people(stream["broadcasters"]),
        guests=people(stream["guests"]),
        replay_credit_price=credit_price,
    )
