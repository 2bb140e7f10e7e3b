"""The records of a synthetic platform other than viewing sessions: profiles, streams, pledges, follows and so on.

There are few of these, so they are plain dictionaries. Each comes with the day on which it lands, counted
from the first; a later version of a record lands later and has a later updatedAt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

from pipelines.landing.synthetic.draws import Draws

DAY = 86_400_000  # milliseconds
_HOUR = 3_600_000
_MINUTE = 60_000

Record = dict[str, object]
Landing = tuple[str, int, Record]  # entity, day on which it lands, the record

_GIVEN_NAMES = (
    "Ada", "Deniz", "Efe", "Elif", "Emre", "Ines", "Jonas", "Kerem", "Leyla", "Lina",
    "Maya", "Mert", "Noor", "Ozan", "Selin", "Sofia", "Tomas", "Yara", "Zeynep", "Zoe",
)  # fmt: skip
_SURNAMES = (
    "Acar", "Aydın", "Berg", "Costa", "Demir", "Diaz", "Eren", "Fischer", "Kaya", "Kim",
    "Klein", "Moreau", "Novák", "Okafor", "Öztürk", "Rossi", "Şahin", "Silva", "Weber", "Yılmaz",
)  # fmt: skip
_EXPERTISE = ("Photography", "Music", "Cooking", "Chess", "History", "Travel", "Fitness", "Gardening", None)
_TITLES = (
    "First light",
    "Ask me anything",
    "Behind the scenes",
    "A long evening",
    "From scratch",
    "Yeni ürün tanıtımı",
)
_GOALS: tuple[float | int | None, ...] = (
    1000,
    250,
    None,
    0,
    2500.5,
    99.99,
    5000,
)  # null and 0: no percentage


@dataclass(frozen=True)
class Cast:
    """Who is on the platform, by number, and when the records are from."""

    seed: int
    first_day: date
    days: int
    creators: int
    viewers: int
    streams: int  # past ones, the n-th of them of the n-th creator
    scheduled: int  # streams still to come at the end, open for funding
    creator_id: Callable[[int], str]
    viewer_id: Callable[[int], str]
    stream_id: Callable[[int], str]

    def draws(self, name: str) -> Draws:
        """The stream of that name."""
        return Draws(self.seed, name)

    @cached_property
    def start(self) -> datetime:
        """The first instant of the first day, in UTC and without saying so."""
        return datetime.combine(self.first_day, datetime.min.time())

    def at(self, milliseconds: int) -> str:
        """RFC 3339 of an instant counted from the start, in UTC."""
        return (self.start + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"

    def creator_of(self, stream: int) -> int:
        """Whose stream it is: past ones go round, the scheduled ones belong to anybody among the first."""
        if stream < self.streams:
            return stream % self.creators
        return self.draws("creator of stream").below(stream, min(self.creators, max(10, self.streams)))


def landings(cast: Cast) -> Iterator[Landing]:
    """Every record but the sessions, in the contract's order of entities."""
    yield from _creators(cast)
    yield from stream_records(cast)
    yield from _erasures(cast)


def stream_records(cast: Cast) -> Iterator[Landing]:
    """Every record but those of the creators themselves, their sessions, and the erasures."""
    yield from _live_streams(cast)
    yield from _pledges(cast)
    yield from _follows(cast)
    yield from _replay_rentals(cast)
    yield from _lls_streams(cast)


def is_banned(creator: int) -> bool:
    """One creator in a thousand, and so one among the most popular."""
    return creator % 1000 == 3


def is_deleted(creator: int) -> bool:
    """One creator in a thousand."""
    return creator % 1000 == 7


def is_unknown(creator: int) -> bool:
    """One creator in a thousand streams without ever landing in `creators`."""
    return creator % 1000 == 5


def _creators(cast: Cast) -> Iterator[Landing]:
    when, changes = cast.draws("creator updated"), cast.draws("creator changes")
    for creator in range(cast.creators):
        if is_unknown(creator):
            continue
        profile = creator_profile(cast, creator) | {
            "status": "active",
            "updatedAt": cast.at(-1 - when.below(creator, 300 * 24) * _HOUR),
        }
        yield "creators", 0, profile
        status = "banned" if is_banned(creator) else "deleted" if is_deleted(creator) else "active"
        if status != "active" or changes.chance(creator, 2):
            moment = when.below(creator + cast.creators, cast.days * 24 * 60) * _MINUTE
            change: Record = {"status": status, "expertise": "Live music", "updatedAt": cast.at(moment)}
            yield "creators", moment // DAY, profile | change


def creator_profile(cast: Cast, creator: int) -> Record:
    """A made-up profile; one in four creators has no photo."""
    draws = cast.draws("profile")
    given = _GIVEN_NAMES[draws.below(creator * 8, len(_GIVEN_NAMES))]
    surname = _SURNAMES[draws.below(creator * 8 + 1, len(_SURNAMES))]
    profile: Record = {
        "_id": cast.creator_id(creator),
        "username": f"{given.lower()}{creator}",
        "name": given,
        "surname": surname,
        "availabilityStatus": "available" if draws.chance(creator * 8 + 2, 80) else "busy",
        "profilePhoto": None,
        "expertise": _EXPERTISE[draws.below(creator * 8 + 3, len(_EXPERTISE))],
    }
    if draws.chance(creator * 8 + 4, 75):
        photo = f"{draws.one(creator * 8 + 5):016x}"
        address = "https://cdn.example.com/profiles/" + photo
        profile["profilePhoto"] = {
            "_id": "9f070000" + photo,
            "url": address + ".jpg",
            "type": "image",
            "variants": {"40": address + "/40.webp", "76": address + "/76.webp"},
            "createdAt": cast.at(-400 * DAY),
            "updatedAt": cast.at(-400 * DAY + draws.below(creator * 8 + 6, 90) * DAY),
        }
    return profile


def _live_streams(cast: Cast) -> Iterator[Landing]:
    draws = cast.draws("live stream")
    for stream in range(cast.streams + cast.scheduled):
        day = draws.below(stream * 8, cast.days)
        created = day * DAY + draws.below(stream * 8 + 1, 12 * _HOUR)
        planned = _planned_start(cast, stream, created)
        scheduled = _scheduled_stream(cast, stream, created, planned)
        yield "live_streams", day, scheduled
        if stream >= cast.streams:
            continue
        started = created + draws.below(stream * 8 + 2, 10 * _HOUR)
        live: Record = {"status": "live", "startedAt": cast.at(started), "updatedAt": cast.at(started)}
        yield "live_streams", started // DAY, scheduled | live
        ended = started + 20 * _MINUTE + draws.below(stream * 8 + 3, 80 * _MINUTE)
        if ended >= cast.days * DAY:
            continue  # still running at the end
        finished: Record = {
            "status": "ended",
            "startedAt": cast.at(started),
            "endedAt": cast.at(ended),
            "recording": True,
            "recordingUrl": f"https://cdn.example.com/recordings/{cast.stream_id(stream)}.mp4",
            "updatedAt": cast.at(ended),
        }
        yield "live_streams", ended // DAY, scheduled | finished


def _planned_start(cast: Cast, stream: int, created: int) -> int:
    draws = cast.draws("planned start")
    if stream < cast.streams:
        return created + draws.below(stream, 12) * _HOUR
    return (cast.days + 1 + draws.below(stream, 20)) * DAY + draws.below(stream + (1 << 32), 24) * _HOUR


def _scheduled_stream(cast: Cast, stream: int, created: int, planned: int) -> Record:
    draws = cast.draws("stream details")
    creator = cast.creator_of(stream)
    number = stream * 16
    title = _TITLES[draws.below(number, len(_TITLES))]
    helpers = [cast.viewer_id(draws.below(number + 1 + n, cast.viewers)) for n in range(2)]
    is_together = draws.chance(number + 3, 30)
    goal = _GOALS[draws.below(number + 4, len(_GOALS))]
    duration = 30 + 15 * draws.below(number + 5, 7)
    return {
        "id": cast.stream_id(stream),
        "creatorId": cast.creator_id(creator),
        "status": "scheduled",
        "title": title,
        "liveStreamType": "together" if is_together else "solo",
        "channelName": f"{title.lower().replace(' ', '-')}-{draws.one(number + 6) & 0xFFFF:04x}",
        "broadcasters": [{"_id": helpers[0], "username": helpers[0].lower()}] if is_together else [],
        "guests": [{"_id": helpers[1], "username": helpers[1].lower()}] if is_together else [],
        "thumbnailUrl": f"https://cdn.example.com/streams/{cast.stream_id(stream)}.png",
        "recording": False,
        "recordingUrl": None,
        "accessType": "paid" if draws.chance(number + 7, 40) else "free",
        "price": 9.99 if draws.chance(number + 7, 40) else None,
        "interest": ("music", "travel", "games", "science")[draws.below(number + 8, 4)],
        "durationGoal": duration,
        "motivation": None if draws.chance(number + 9, 50) else "I will show what I have been working on.",
        "isActiveReplayOnCreatorProfile": draws.chance(number + 10, 50),
        "replayCreditPrice": (None, 25, 50)[draws.below(number + 11, 3)],
        "startedAt": None,
        "plannedStartDate": cast.at(planned),
        "endedAt": None,
        "plannedEndDate": cast.at(planned + duration * _MINUTE),
        "createdAt": cast.at(created),
        "updatedAt": cast.at(created),
        "fundingGoal": goal,
        "currency": "TRY",
        "miniCrowdFundings": [{"title": "A better microphone", "goal": 100}] if draws.chance(number + 12, 20) else [],
    }


def _pledges(cast: Cast) -> Iterator[Landing]:
    """Three to twelve pledges for each scheduled stream, in every state that a pledge can be in."""
    draws = cast.draws("pledge")
    last = cast.days * DAY - 1
    for stream in range(cast.streams, cast.streams + cast.scheduled):
        for place in range(3 + draws.below(stream, 10)):
            number = (stream * 16 + place + 1) << 4
            made = draws.below(number, cast.days * 24 * 60) * _MINUTE
            cents = 500 + draws.below(number + 3, 30_000)
            pledge: Record = {
                "pledgeId": f"91ed6e00{draws.one(number + 1):016x}",
                "userId": cast.viewer_id(draws.below(number + 2, cast.viewers)),
                "streamId": cast.stream_id(stream),
                "amount": cents / 100,
                "currency": "TRY",
                "status": "pending",
                "updatedAt": cast.at(made),
            }
            yield "pledges", made // DAY, pledge
            fate = draws.below(number + 4, 100)
            if fate < 10:
                continue  # stays pending
            settled = min(made + 1 + draws.below(number + 5, 2 * DAY), last)
            if fate < 20:
                yield "pledges", settled // DAY, pledge | {"status": "failed", "updatedAt": cast.at(settled)}
                continue
            captured: Record = {
                "status": "captured",
                "capturedAt": cast.at(settled),
                "updatedAt": cast.at(settled),
            }
            yield "pledges", settled // DAY, pledge | captured
            if fate < 35 and settled < last:
                returned = min(settled + 1 + draws.below(number + 6, 5 * DAY), last)
                partly: Record = {"refundedAmount": (cents // 2) / 100} if fate < 28 else {}
                refunded: Record = {
                    "status": "refunded",
                    "refundedAt": cast.at(returned),
                    "updatedAt": cast.at(returned),
                }
                yield "pledges", returned // DAY, pledge | captured | refunded | partly


def _follows(cast: Cast) -> Iterator[Landing]:
    """One follow for every second viewer, mostly of the popular; one in eight is taken back."""
    draws = cast.draws("follow")
    for follow in range(min(cast.viewers // 2 + 1, 50_000)):
        moment = draws.below(follow * 8, cast.days * 24 * 60) * _MINUTE
        most = 1 + draws.below(follow * 8 + 1, cast.creators)
        record: Record = {
            "userId": cast.viewer_id(draws.below(follow * 8 + 2, cast.viewers)),
            "creatorId": cast.creator_id(draws.below(follow * 8 + 3, most)),
            "followedAt": cast.at(moment),
            "updatedAt": cast.at(moment),
        }
        yield "follows", moment // DAY, record
        if draws.chance(follow * 8 + 4, 12):
            gone = min(moment + 1 + draws.below(follow * 8 + 5, 10 * DAY), cast.days * DAY - 1)
            yield "follows", gone // DAY, record | {"deleted": True, "updatedAt": cast.at(gone)}


def _replay_rentals(cast: Cast) -> Iterator[Landing]:
    """Rentals for three days each, of past streams' recordings and, in advance, of streams to come."""
    draws = cast.draws("rental")
    for rental in range(min(cast.viewers // 10 + 4, 20_000)):
        moment = draws.below(rental * 8, cast.days * 24 * 60) * _MINUTE
        if rental % 4 == 0:  # still running at the end
            moment = cast.days * DAY - 1 - draws.below(rental * 8 + 1, min(3, cast.days) * 24 * 60) * _MINUTE
        record: Record = {
            "userId": cast.viewer_id(draws.below(rental * 8 + 2, cast.viewers)),
            "streamId": cast.stream_id(draws.below(rental * 8 + 3, cast.streams + cast.scheduled)),
            "rentedAt": cast.at(moment),
            "expiresAt": cast.at(moment + 3 * DAY),
            "price": (25, 50)[draws.below(rental * 8 + 4, 2)],
            "updatedAt": cast.at(moment),
        }
        yield "replay_rentals", moment // DAY, record


def _lls_streams(cast: Cast) -> Iterator[Landing]:
    """Streams of the live streaming service; on the first day as it lists them, later the changes to some."""
    draws = cast.draws("lls")
    for stream in range(min(cast.streams, 500)):
        number = stream * 8
        created = -1 - draws.below(number, 100 * 24) * _HOUR
        digits = f"{draws.one(number + 1):016x}{draws.one(number + 2):016x}"
        record: Record = {
            "id": "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:])),
            "domain": "live.example.com" if draws.chance(number + 3, 80) else "replay.example.com",
            "app": "live" if draws.chance(number + 4, 70) else "vod",
            "stream": f"stream{stream + 101}",
            "created": _whole_seconds(cast.at(created)),
            "status": "banned" if draws.chance(number + 5, 10) else "active",
        }
        yield "lls_streams", 0, record
        if draws.chance(number + 6, 40):
            moment = draws.below(number + 7, cast.days * 24 * 60) * _MINUTE
            instant = _whole_seconds(cast.at(moment))
            yield "lls_streams", moment // DAY, record | {"updated": instant, "latestStreamingAt": instant}


def _whole_seconds(instant: str) -> str:
    return instant.partition(".")[0] + "Z"


def _erasures(cast: Cast) -> Iterator[Landing]:
    """A few users who asked to be forgotten, one of them among the keenest."""
    draws = cast.draws("erasure")
    for erasure in range(min(3, cast.viewers)):
        moment = draws.below(erasure, cast.days * 24 * 60) * _MINUTE
        user = cast.viewer_id(draws.below(erasure + 8, cast.viewers // (1 + 9 * erasure) or 1))
        yield "erasures", moment // DAY, {"userId": user, "erasedAt": cast.at(moment)}
