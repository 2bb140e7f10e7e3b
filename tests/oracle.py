"""What the numbers must be, worked out from the landed records in the most obvious way.

This is the judge of the system. It imports nothing from `pipelines`, uses the standard library alone, and was
written from the design, section by section: sets, `sorted`, `max`, loops over everything. It is slow on
purpose: a reader should be able to believe it without running it.

It takes *landed* records, which are plain dicts with the platform's camelCase names, already valid. Instants
are RFC 3339 texts there and whole milliseconds since 1970 (UTC) in here; money is `Decimal`; days are `date`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any
from zoneinfo import ZoneInfo

Record = Mapping[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000  # milliseconds


@dataclass(frozen=True)
class Policy:
    """What decides which sessions count and where a day begins."""

    day_timezone: str = "UTC"
    min_watched_seconds: int = 0
    leave_out_own_views: bool = True
    max_session_hours: int = 24
    revision_days: int = 35  # two records of one key that start further apart are two sessions


# --- What lands: typed fields in contract order, and which version of a record is the newest ---


def instant(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 text; what is finer than a millisecond is cut off."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def money(amount: object) -> Decimal:
    return Decimal(str(amount))


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


Types = dict[str, Callable[[Any], Any]]

PHOTO: Types = {
    "_id": str, "url": str, "type": str, "variants": compact, "createdAt": instant, "updatedAt": instant,
}  # fmt: skip
CONTRACT: dict[str, Types] = {
    # the order of the contract table, but that a session's tuple begins with deleted, endedAt
    "viewing_sessions": {
        "deleted": bool, "endedAt": instant, "sessionId": str, "creatorId": str, "startedAt": instant,
        "viewerId": str, "deviceId": str, "streamId": str, "source": str, "revision": int,
    },
    "creators": {
        "_id": str, "username": str, "name": str, "surname": str, "availabilityStatus": str,
        **{f"profilePhoto.{name}": kind for name, kind in PHOTO.items()},
        "expertise": str, "status": str, "updatedAt": instant,
    },
    "live_streams": {
        "id": str, "creatorId": str, "status": str, "title": str, "liveStreamType": str, "channelName": str,
        "broadcasters": compact, "guests": compact, "thumbnailUrl": str, "recording": bool,
        "recordingUrl": str, "accessType": str, "price": money, "interest": str, "durationGoal": money,
        "motivation": str, "isActiveReplayOnCreatorProfile": bool, "replayCreditPrice": money,
        "startedAt": instant, "plannedStartDate": instant, "endedAt": instant, "plannedEndDate": instant,
        "createdAt": instant, "updatedAt": instant, "fundingGoal": money, "currency": str,
        "miniCrowdFundings": compact,
    },
    "pledges": {
        "pledgeId": str, "userId": str, "streamId": str, "amount": money, "currency": str, "status": str,
        "capturedAt": instant, "refundedAt": instant, "refundedAmount": money, "updatedAt": instant,
    },
    "follows": {
        "userId": str, "creatorId": str, "followedAt": instant, "deleted": bool, "updatedAt": instant,
    },
    "replay_rentals": {
        "userId": str, "streamId": str, "rentedAt": instant, "expiresAt": instant, "price": money,
        "updatedAt": instant,
    },
    "lls_streams": {
        "id": str, "domain": str, "app": str, "stream": str, "created": instant, "updated": instant,
        "latestStreamingAt": instant, "status": str,
    },
    "erasures": {"userId": str, "erasedAt": instant},
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "viewing_sessions": {"source": "", "revision": 0, "deleted": False},
    "follows": {"deleted": False},
}
KEYS = {
    "viewing_sessions": ("source", "sessionId"),
    "creators": ("_id",),
    "live_streams": ("id",),
    "pledges": ("pledgeId",),
    "follows": ("userId", "creatorId"),
    "replay_rentals": ("userId", "streamId", "rentedAt"),
    "lls_streams": ("id",),
    "erasures": ("userId",),
}
# In which field a record says whose it is; creators publish themselves, and are nobody's.
PERSON = {"viewing_sessions": "viewerId", "pledges": "userId", "follows": "userId", "replay_rentals": "userId"}
# The stages of a life cycle, earliest first; a status that is none of them comes before all of them.
STAGES: dict[str, tuple[str, list[Any]]] = {
    "pledges": ("status", ["pending", "failed", "captured", "refunded"]),
    "live_streams": ("status", ["scheduled", "active", "ended"]),
    "follows": ("deleted", [False, True]),
}


def typed(entity: str, landed: Record) -> dict[str, Any]:
    """The record with every field of the contract, in that order, typed; None where nothing is known."""
    record = {}
    for name, kind in CONTRACT[entity].items():
        value: Any = landed
        for step in name.split("."):
            value = value.get(step) if value is not None else None
        record[name] = DEFAULTS.get(entity, {}).get(name) if value is None else kind(value)
    return record


def sortable(value: Any) -> tuple[Any, ...]:
    """Nulls lowest; texts in the order of their UTF-8 bytes."""
    if value is None:
        return (0,)
    return (1, value.encode() if isinstance(value, str) else value)


def content(record: Record) -> tuple[Any, ...]:
    """What the record says, as a tuple that can be compared."""
    return tuple(sortable(value) for value in record.values())


def version(entity: str, record: Record) -> int | None:
    """How new a version is: its revision, or an instant; None is older than all others."""
    if entity == "viewing_sessions":
        return record["revision"]
    if entity == "lls_streams":
        return record["created"] if record["updated"] is None else record["updated"]
    return record.get("updatedAt")


def key(entity: str, record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in KEYS[entity])


def stage(entity: str, record: Record) -> int:
    """How far its life has come: of two versions that are as new, the later stage is the newer one."""
    field, stages = STAGES.get(entity, (None, []))
    return stages.index(record[field]) if field and record[field] in stages else -1


def age(entity: str, record: Record) -> tuple[Any, ...]:
    """What puts the versions of a key in order, but for their content."""
    return sortable(version(entity, record)), stage(entity, record)


def by_key(entity: str, records: Iterable[Record]) -> dict[tuple[Any, ...], list[Record]]:
    """Key -> the different records of it, oldest first; where all else is equal the lesser content is the older."""
    versions: dict[tuple[Any, ...], dict[tuple[Any, ...], Record]] = defaultdict(dict)
    for record in records:
        versions[key(entity, record)][content(record)] = record
    return {
        of: sorted(those.values(), key=lambda record: (age(entity, record), content(record)))
        for of, those in versions.items()
    }


def newest(entity: str, records: Iterable[Record]) -> dict[tuple[Any, ...], Record]:
    """Key -> the newest version."""
    return {of: versions[-1] for of, versions in by_key(entity, records).items()}


def utc_day(session: Record) -> int:
    """The UTC day on which a session starts, in days since 1970."""
    return session["startedAt"] // (24 * HOUR)


def newer_versions(sessions: Iterable[Record], revision_days: int) -> list[tuple[Record, list[Record]]]:
    """Every different record of sessions, with the newer versions of it: those whose days are near enough."""
    return [
        (one, [other for other in versions[number + 1 :] if abs(utc_day(other) - utc_day(one)) <= revision_days])
        for versions in by_key("viewing_sessions", sessions).values()
        for number, one in enumerate(versions)
    ]


def is_another_viewing(session: Record, newer: list[Record]) -> bool:
    """Whether versions of the same revision alone outdo a session, and the one that wins is of another viewing."""
    if not newer or newer[-1]["revision"] != session["revision"] or newer[-1]["deleted"]:
        return False
    return any(newer[-1][name] != session[name] for name in ("creatorId", "startedAt", "viewerId", "deviceId"))


# --- What the words mean ---


@cache
def days_shown(minute: int, minutes: int, timezone: str) -> list[tuple[int, int, date]]:
    """(from, until, day): what the calendar on a wall of that zone shows, in so many minutes since 1970.

    By looking at it every minute, and every second of the minute in which it changes.
    """
    zone = ZoneInfo(timezone)

    def shown(second: int) -> date:
        try:
            return (EPOCH + timedelta(seconds=second)).astimezone(zone).date()
        except OverflowError:  # beyond the last day or before the first one that a calendar of ours has
            return date.max if second > 0 else date.min

    changes = []
    day = shown(minute * 60)
    since = minute * 60
    for each in range(minute, minute + minutes):
        if shown(each * 60 + 60) != day:
            second = next(second for second in range(each * 60, each * 60 + 61) if shown(second) != day)
            changes.append((since * 1000, second * 1000, day))
            day, since = shown(each * 60 + 60), second
    return [*changes, (since * 1000, (minute + minutes) * 60_000, day)]


def watched_by_day(start: int, end: int, timezone: str) -> dict[date, int]:
    """The days of a zone that a session from start to end occupies -> milliseconds of it on each.

    One of zero length occupies its instant.
    """
    watched: dict[date, int] = {}
    for hour in range(start // HOUR, max(end - 1, start) // HOUR + 1):
        for since, until, day in days_shown(hour * 60, 60, timezone):
            if since <= start < until or (start < since and since < end):
                watched[day] = watched.get(day, 0) + min(end, until) - max(start, since)
    return watched


@cache
def over_at(as_of: date, timezone: str) -> int:
    """The first instant from which on the calendar on a wall never shows a day before as_of."""
    noon = (datetime(as_of.year, as_of.month, as_of.day, 12, tzinfo=UTC) - EPOCH) // timedelta(minutes=1)
    shown = days_shown(noon - 48 * 60, 96 * 60, timezone)
    return max(until for _, until, day in shown if day < as_of)


@dataclass(frozen=True)
class Ranked:
    """One creator in one range of days."""

    position: int
    rank: int
    creator_id: str
    viewers: int
    anonymous_viewers: int
    sessions: int
    watched_seconds: int
    previous_rank: int | None = None


@dataclass(frozen=True)
class Funding:
    """How far one crowd-funded stream has come."""

    stream_id: str
    creator_id: str
    funding_goal: Decimal | None
    collected_funding: Decimal | None
    currency: str | None
    funding_percentage: int | None
    backers: int


def watched_milliseconds(session: Record) -> int:
    """Of the whole session; an open session has none until a later revision closes it."""
    return 0 if session["endedAt"] is None else session["endedAt"] - session["startedAt"]


class Oracle:
    """The right answers as of a day, from everything that has landed: entity -> records."""

    def __init__(self, landed: Mapping[str, Iterable[Record]], as_of: date, policy: Policy | None = None) -> None:
        self.as_of = as_of
        self.policy = policy or Policy()
        self.accepted = {entity: [typed(entity, record) for record in landed.get(entity, ())] for entity in CONTRACT}
        self.erased = {erasure["userId"] for erasure in self.accepted["erasures"]}  # whenever that was asked for
        # What they left counts as never landed.
        self.landed = {
            entity: [record for record in records if record.get(PERSON.get(entity)) not in self.erased]
            for entity, records in self.accepted.items()
        }
        self.now = over_at(as_of, self.policy.day_timezone)

    def watched_by_day(self, session: Record) -> dict[date, int]:
        """The days that a session occupies -> milliseconds of it on each; an open one has none."""
        end = session["startedAt"] + watched_milliseconds(session)
        return watched_by_day(session["startedAt"], end, self.policy.day_timezone)

    # --- entities

    @cache  # noqa: B019 (an oracle lives for one test)
    def known(self, entity: str) -> dict[tuple[Any, ...], Record]:
        """Key -> the newest version known as of as_of; one without an instant is always known."""
        return newest(entity, [record for record in self.landed[entity] if self._is_known(entity, record)])

    def _is_known(self, entity: str, record: Record) -> bool:
        since = version(entity, record)
        return since is None or since < self.now

    @property
    def out_of_ranking(self) -> set[str]:
        """Creators that are banned or deleted."""
        creators = self.known("creators").values()
        return {creator["_id"] for creator in creators if creator["status"] in ("banned", "deleted")}

    @property
    def follows(self) -> set[tuple[str, str]]:
        """(user, creator) for everybody who follows somebody."""
        follows = self.known("follows").values()
        return {(follow["userId"], follow["creatorId"]) for follow in follows if not follow["deleted"]}

    @property
    def rentals(self) -> list[Record]:
        return list(self.known("replay_rentals").values())

    def version_conflicts(self) -> dict[str, int]:
        """Entity -> the versions that nothing but their content puts in order: beyond the first of a key and age.

        A pledge in another currency than its stream's is rejected, and no version.
        """
        found = {}
        for entity in KEYS.keys() - {"viewing_sessions", "erasures"}:
            landed = self.landed[entity]
            if entity == "pledges":
                landed = [pledge for pledge in landed if not self.is_in_another_currency(pledge)]
            for versions in by_key(entity, landed).values():
                ages = {age(entity, record) for record in versions}
                found[entity] = found.get(entity, 0) + len(versions) - len(ages)
        return {entity: count for entity, count in found.items() if count}

    # --- sessions

    def why_it_does_not_count(self, session: Record) -> str | None:
        """Why a session is in no ranking at all; None when it is good."""
        if session["deleted"]:
            return "deleted"
        if self.policy.leave_out_own_views and session["viewerId"] == session["creatorId"]:
            return "own_view"
        if watched_milliseconds(session) < self.policy.min_watched_seconds * 1000:
            return "under_minimum"
        return None

    @cached_property
    def versions(self) -> list[tuple[Record, list[Record]]]:
        """Every different record of sessions, with the newer versions of it."""
        return newer_versions(self.landed["viewing_sessions"], self.policy.revision_days)

    @cached_property
    def sessions(self) -> list[Record]:
        """The records that no newer version supersedes. An end that is not believed is none."""
        return [
            session | {"endedAt": None}
            if watched_milliseconds(session) > self.policy.max_session_hours * HOUR
            else session
            for session, newer in self.versions
            if not newer
        ]

    @cached_property
    def good_sessions(self) -> list[Record]:
        """Those that count, of all creators, of all times."""
        return [session for session in self.sessions if self.why_it_does_not_count(session) is None]

    def funnel(self, window_days: int = 30) -> dict[str, int]:
        """What became of every accepted session record; the counts add up to `accepted`."""
        accepted, left = self.accepted["viewing_sessions"], self.landed["viewing_sessions"]
        fates = Counter(
            accepted=len(accepted),
            erased=len(accepted) - len(left),
            duplicate=len(left) - len(self.versions),
            superseded=len(self.versions) - len(self.sessions),
        )
        first_day = self.as_of - timedelta(days=window_days)
        for session in self.sessions:
            fate = self.why_it_does_not_count(session)
            if fate is None and session["creatorId"] in self.out_of_ranking:
                fate = "banned_or_deleted_creator"
            days = self.watched_by_day(session) if fate is None else []
            if days and min(days) >= self.as_of:
                fate = "not_yet"
            if days and max(days) < first_day:
                fate = "outside_window"
            fates[fate or "ranked"] += 1
        return dict(fates)

    def conflicts(self) -> int:
        """Records of sessions that are superseded by one of the same revision: by nothing but its content."""
        return sum(any(other["revision"] == session["revision"] for other in newer) for session, newer in self.versions)

    def lost(self) -> dict[str, dict[str, int]]:
        """Entity -> accepted records that are lost all the same, where there are any.

        Put aside as conflicting: of sessions only what is another viewing than the one that won, unless it was
        retracted. Rejected later: pledges in another currency than their stream's.
        """
        conflicting = self.version_conflicts()
        conflicting["viewing_sessions"] = sum(is_another_viewing(session, newer) for session, newer in self.versions)
        rejected = {"pledges": sum(map(self.is_in_another_currency, self.landed["pledges"]))}
        return {
            entity: {"rejected_later": rejected.get(entity, 0), "conflicting": conflicting.get(entity, 0)}
            for entity in sorted(conflicting.keys() | rejected.keys())
            if rejected.get(entity) or conflicting.get(entity)
        }

    def is_in_another_currency(self, pledge: Record) -> bool:
        """Whether a pledge and the stream that it is for both name a currency, and not the same."""
        stream = self.known("live_streams").get((pledge["streamId"],))
        return stream is not None and len({pledge["currency"], stream["currency"]} - {None}) > 1

    def ranking(self, first_day: date, end_day: date) -> list[Ranked]:
        """All creators with a session in [first_day, end_day), by position."""
        seen, watched = defaultdict(list), Counter[str]()
        for session in self.good_sessions:
            inside = [ms for day, ms in self.watched_by_day(session).items() if first_day <= day < end_day]
            if inside and session["creatorId"] not in self.out_of_ranking:
                seen[session["creatorId"]].append(session)
                watched[session["creatorId"]] += sum(inside)
        measured = []
        for creator_id, sessions in seen.items():
            viewers = {session["viewerId"] for session in sessions} - {None}
            devices = {session["deviceId"] for session in sessions if session["viewerId"] is None} - {None}
            watched_seconds = watched[creator_id] // 1000
            measured.append((creator_id, len(viewers), len(devices), len(sessions), watched_seconds))
        measured.sort(key=lambda row: (-row[1], -row[4], row[0].encode()))
        return [
            Ranked(position, 1 + sum(other[1] > row[1] for other in measured), *row)
            for position, row in enumerate(measured, start=1)
        ]

    def cube(self, first_day: date, end_day: date, max_window_days: int) -> list[tuple[Any, ...]]:
        """The rows of creator_reach for the days [first_day, end_day), in order."""
        watched: dict[date, dict[tuple[Any, ...], list[tuple[bool, int]]]] = defaultdict(lambda: defaultdict(list))
        for session in self.good_sessions:
            signed_in = session["viewerId"] is not None
            who = session["viewerId"] if signed_in else session["deviceId"]
            by_day = self.watched_by_day(session)
            for today, milliseconds in by_day.items():
                watched[today][session["creatorId"], signed_in, who].append((today == min(by_day), milliseconds))
        rows: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for today in [today for today in list(watched) if first_day <= today < end_day]:
            for (creator_id, signed_in, who), parts in watched[today].items():
                gaps = [
                    gap
                    for gap in range(1, max_window_days + 1)
                    if who is not None and (creator_id, signed_in, who) in watched.get(today - timedelta(days=gap), {})
                ]
                row = rows[today, creator_id, signed_in, min(gaps, default=None)]
                row[0] += who is not None
                row[1] += sum(is_first for is_first, _ in parts)
                row[2] += sum(not is_first for is_first, _ in parts)
                row[3] += sum(milliseconds for _, milliseconds in parts)
        return sorted(((*of, *row) for of, row in rows.items()), key=lambda row: [sortable(value) for value in row])

    def window(self, days: int) -> list[Ranked]:
        """The ranking of the last `days` days, with the ranks of the same window one day earlier."""
        day = timedelta(days=1)
        yesterday = self.ranking(self.as_of - (days + 1) * day, self.as_of - day)
        previous_rank = {row.creator_id: row.rank for row in yesterday}
        return [
            Ranked(**(vars(row) | {"previous_rank": previous_rank.get(row.creator_id)}))
            for row in self.ranking(self.as_of - days * day, self.as_of)
        ]

    @property
    def unknown_creators(self) -> set[str]:
        """Ranked in the last 30 days, but never landed in `creators`."""
        landed = {creator_id for (creator_id,) in self.known("creators")}
        return {row.creator_id for row in self.window(30)} - landed

    # --- funding

    def captured(self, pledge: Record) -> Decimal | None:
        """What was captured before as_of; None when nothing was."""
        taken = pledge["status"] in ("captured", "refunded") and pledge["capturedAt"] is not None
        return pledge["amount"] if taken and pledge["capturedAt"] < self.now else None

    def refunded(self, pledge: Record) -> Decimal | None:
        """What of a captured pledge was given back before as_of; None when nothing was."""
        if pledge["refundedAt"] is not None and pledge["refundedAt"] >= self.now:
            return None
        if pledge["refundedAmount"] is not None:
            return pledge["refundedAmount"]
        return pledge["amount"] if pledge["status"] == "refunded" else None

    def is_refunded_in_full(self, pledge: Record) -> bool:
        refunded = self.refunded(pledge)
        return refunded is not None and refunded >= pledge["amount"]

    @cached_property
    def captured_pledges(self) -> list[Record]:
        """Newest versions that were captured before as_of, for a known stream.

        A record in another currency than its stream's is rejected, and so no version of its pledge.
        """
        streams = self.known("live_streams")
        accepted = [pledge for pledge in self.landed["pledges"] if not self.is_in_another_currency(pledge)]
        return [
            pledge
            for pledge in newest("pledges", accepted).values()
            if (pledge["streamId"],) in streams and self.captured(pledge) is not None
        ]

    @property
    def funded(self) -> set[tuple[str, str]]:
        """(user, stream) where a captured pledge of the user's is not refunded in full."""
        return {
            (pledge["userId"], pledge["streamId"])
            for pledge in self.captured_pledges
            if not self.is_refunded_in_full(pledge)
        }

    def live_stream_funding(self) -> list[Funding]:
        """Every stream, by id, with pledges or without."""
        rows = []
        for stream in self.known("live_streams").values():
            pledges = [pledge for pledge in self.captured_pledges if pledge["streamId"] == stream["id"]]
            collected = sum((pledge["amount"] - (self.refunded(pledge) or 0) for pledge in pledges), Decimal(0))
            backers = {user for user, stream_id in self.funded if stream_id == stream["id"]}
            goal = stream["fundingGoal"]
            held = [pledge for pledge in pledges if pledge["amount"] > (self.refunded(pledge) or 0)]
            if len({pledge["currency"] for pledge in held} - {None}) > 1:
                collected = None  # nobody knows what 100 TRY and 100 USD are together
            percentage = int(collected * 100 // goal) if goal and collected is not None else None
            of = (stream["id"], stream["creatorId"])
            rows.append(Funding(*of, goal, collected, stream["currency"], percentage, len(backers)))
        return sorted(rows, key=lambda row: row.stream_id.encode())
