"""A platform of many callers, and what each of them may see: nobody may ever be shown what is another's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random
from typing import Any

from published import Row, ranked, ts
from tokens import claims, sign

from faults.caching import SharedCache
from faults.campaign import Effort, Figure
from faults.raw import FUNDED, RANKING, Answer, Connection, request

CREATORS = [f"c{at:03}" for at in range(60)]
STREAMS = [f"s{at:03}" for at in range(80)]


class Platform:
    """Who follows whom and who has funded what, drawn at random; every user's name is in none of another's answers."""

    def __init__(self, draw: Random, users: int) -> None:
        self.users = [f"user-{at:04}" for at in range(users)]
        self.follows = {user: set(draw.sample(CREATORS, draw.randint(0, 20))) for user in self.users}
        self.funded = {user: set(draw.sample(STREAMS, draw.randint(0, 6))) for user in self.users}
        self.rented = {user: {one for one in self.funded[user] if draw.random() < 0.5} for user in self.users}
        self.tokens = {user: sign(claims(user, exp=9_999_999_999), "ec-1", "ES256") for user in self.users}

    def tables(self) -> dict[str, list[Row]]:
        """The rows to publish."""
        pairs = [("private/follows", "creator_id", self.follows), ("private/funded_streams", "stream_id", self.funded)]
        plain: Row = {"creator_id": "host", "status": "scheduled", "replay_credit_price": Decimal(5)}
        streams = [{**plain, "stream_id": one, "recording_url": f"https://cdn.example/{one}"} for one in STREAMS]
        times = {"rented_at": ts("2026-01-01T00:00:00Z"), "expires_at": ts("2096-01-01T00:00:00Z")}
        rentals = [
            {"user_id": user, "stream_id": one, **times} for user in self.users for one in sorted(self.rented[user])
        ]
        tables: dict[str, list[Row]] = {
            table: [{"user_id": user, column: one} for user in self.users for one in sorted(of[user])]
            for table, column, of in pairs
        }
        return tables | {
            "creator_rankings": ranked(*CREATORS),
            "live_streams": streams,
            "private/replay_rentals": rentals,
        }

    def problem(self, path: str, user: str | None, answer: Answer) -> str | None:
        """What is wrong with a 200 to that caller (None: anonymous); None when nothing is."""
        if answer.status != 200:
            return f"{answer.status} instead of 200"
        data = answer.json()["data"]
        if path == FUNDED:
            seen: Any = {one["id"]: (one["replayAccess"]["status"], one["recordingUrl"]) for one in data}
            rented = self.rented[str(user)]
            expected: Any = {
                one: ("rented", f"https://cdn.example/{one}") if one in rented else ("none", None)
                for one in self.funded[str(user)]
            }
        else:
            seen = {one["_id"]: one["isFollowing"] for one in data}
            expected = {one: None if user is None else one in self.follows[user] for one in CREATORS}
        return None if seen == expected else "what another may see, or not what this caller may"


def bearer(platform: Platform, user: str | None) -> list[str]:
    return [] if user is None else [f"Authorization: Bearer {platform.tokens[user]}"]


def interleaved(platform: Platform, port: int, effort: Effort) -> Figure:
    """Eight connections, each with the requests of all callers by turns, some sent before the last answer."""
    figure = Figure("answers to interleaved callers that hold another's data")
    rounds = effort.times(25, 600)

    def one_connection(number: int) -> list[str]:
        draw = effort.random(f"interleaved {number}")
        wrong = []
        with Connection(port) as connection:
            for _ in range(rounds):
                asked = [
                    (draw.choice((FUNDED, RANKING)), draw.choice(platform.users)) for _ in range(draw.randint(1, 12))
                ]
                asked = [(path, None if path == RANKING and draw.random() < 0.2 else user) for path, user in asked]
                connection.send(b"".join(request(path, *bearer(platform, user)) for path, user in asked))
                for path, user in asked:
                    problem = platform.problem(path, user, connection.receive())
                    wrong.append(f"{path} for {user}: {problem}" if problem else "")
        return wrong

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(one_connection, range(8)):
            for problem in found:
                figure.check(not problem, problem)
    return figure


def foreign_tags(platform: Platform, port: int, effort: Effort) -> Figure:
    """If-None-Match with another caller's entity tag; HEAD and Range tell no more than a GET."""
    figure = Figure("304, HEAD and Range answers that rest on another's data")
    draw = effort.random("tags")
    with Connection(port) as connection:
        users: list[str | None] = [None, *draw.sample(platform.users, effort.times(40, len(platform.users)))]
        tags = {user: connection.get(RANKING, *bearer(platform, user)).headers["etag"] for user in users}
        for user in users:
            for other in draw.sample(users, 20):
                answer = connection.get(RANKING, *bearer(platform, user), f"If-None-Match: {tags[other]}")
                same = tags[user] == tags[other]
                figure.check(
                    answer.status == (304 if same else 200), f"{answer.status} to {user} for the tag of {other}"
                )
                if same:
                    is_same = (user is None) == (other is None) and (
                        user is None or other is None or platform.follows[user] == platform.follows[other]
                    )
                    figure.check(is_same, f"{user} and {other} share a tag and not what they follow")
            for path in (RANKING, FUNDED):
                if path == FUNDED and user is None:
                    continue
                whole = connection.get(path, *bearer(platform, user))
                head = connection.get(path, *bearer(platform, user), method="HEAD")
                equal = {k: v for k, v in whole.headers.items() if k != "date"} == {
                    k: v for k, v in head.headers.items() if k != "date"
                }
                figure.check(head.status == 200 and head.body == b"" and equal, f"HEAD of {path} for {user} differs")
                part = connection.get(path, *bearer(platform, user), "Range: bytes=0-99")
                problem = platform.problem(path, user, part)
                figure.check(problem is None, f"Range of {path} for {user}: {problem}")
    return figure


def through_caches(platform: Platform, port: int, effort: Effort) -> Iterator[Figure]:
    """Callers behind one shared cache: a right one, and ones that overlook Vary or the rule about Authorization."""
    kinds = {
        "a shared cache by RFC 9111": {},
        "one that overlooks Authorization": {"heeds_authorization": False},
        "one that overlooks Vary": {"heeds_vary": False},
    }
    for name, flaws in kinds.items():
        figure = Figure(f"another's data from {name}")
        draw = effort.random(name)
        with Connection(port) as connection:

            def fetch(path: str, headers: dict[str, str], connection: Connection = connection) -> Answer:
                return connection.get(path, *(f"{key}: {value}" for key, value in headers.items()))

            cache = SharedCache(fetch, **flaws)
            for _ in range(effort.times(800, 20_000)):
                cache.now += draw.choice((0, 0, 1, 30, 61))
                user = draw.choice([None, None, *draw.sample(platform.users, 8)])
                path = RANKING if user is None or draw.random() < 0.7 else FUNDED
                headers = {} if user is None else {"authorization": f"Bearer {platform.tokens[user]}"}
                answer = cache.get(path, headers)
                if not flaws.get("heeds_vary", True) and user is not None:
                    # it may serve the anonymous answer to anybody; but it must have nothing of anybody else's
                    problem = None if _is_anonymous(answer) else platform.problem(path, user, answer)
                else:
                    problem = platform.problem(path, user, answer)
                figure.check(problem is None, f"{path} for {user}: {problem}; seed {effort.seed}")
            for answer in cache.stored():
                figure.check(_is_anonymous(answer), "an answer of one caller is in the cache")
        figure.note = f"{cache.hits:,} served from it, {cache.revalidations:,} asked again by tag"
        yield figure


def _is_anonymous(answer: Answer) -> bool:
    return (
        b'"isFollowing":true' not in answer.body
        and b'"isFollowing":false' not in answer.body
        and (b'"isFollowing":null' in answer.body)
    )
