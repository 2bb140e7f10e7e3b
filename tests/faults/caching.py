"""A shared cache between callers and the API, by the rules of RFC 9111, and one that gets some of them wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults.raw import Answer

Fetch = Callable[[str, dict[str, str]], Answer]


@dataclass
class Stored:
    """One response in the cache, with the request headers that its Vary names."""

    answer: Answer
    varied_on: dict[str, str]
    at: float


class SharedCache:
    """Stores what may be stored, serves it while fresh, and asks again by its entity tag when it is not."""

    def __init__(self, fetch: Fetch, *, heeds_vary: bool = True, heeds_authorization: bool = True) -> None:
        self._fetch = fetch
        self._heeds_vary = heeds_vary
        self._heeds_authorization = heeds_authorization
        self._stored: dict[str, list[Stored]] = {}
        self.now = 0.0
        self.hits = 0
        self.revalidations = 0

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        """What the cache answers a caller with; header names in lower case."""
        found = [one for one in self._stored.get(path, []) if self._matches(one, headers)]
        for one in found:
            if self.now - one.at < _lifetime(one.answer) and not self._needs_asking(one.answer):
                self.hits += 1
                return one.answer
        tags = [one.answer.headers["etag"] for one in found if "etag" in one.answer.headers]
        if tags:
            answer = self._fetch(path, headers | {"if-none-match": ", ".join(tags)})
            if answer.status == 304:
                self.revalidations += 1
                [same] = [one for one in found if one.answer.headers.get("etag") == answer.headers.get("etag")][:1]
                same.at = self.now
                return same.answer
        else:
            answer = self._fetch(path, headers)
        if self._may_store(headers, answer):
            named = _vary(answer)
            one = Stored(answer, {name: headers.get(name, "") for name in named}, self.now)
            self._stored.setdefault(path, []).append(one)
        return answer

    def stored(self) -> list[Answer]:
        """Everything that is in the cache."""
        return [one.answer for listed in self._stored.values() for one in listed]

    def _matches(self, one: Stored, headers: dict[str, str]) -> bool:
        if not self._heeds_vary:
            return True
        return "*" not in one.varied_on and all(headers.get(name, "") == value for name, value in one.varied_on.items())

    def _needs_asking(self, answer: Answer) -> bool:
        return "no-cache" in _directives(answer)

    def _may_store(self, headers: dict[str, str], answer: Answer) -> bool:
        directives = _directives(answer)
        if answer.status != 200 or directives.keys() & {"no-store", "private"}:
            return False
        if self._heeds_authorization and "authorization" in headers:
            return bool(directives.keys() & {"public", "must-revalidate", "s-maxage"})
        return True


def _directives(answer: Answer) -> dict[str, str]:
    found = {}
    for part in answer.headers.get("cache-control", "").split(","):
        name, _, value = part.strip().partition("=")
        found[name.lower()] = value
    return found


def _lifetime(answer: Answer) -> float:
    directives = _directives(answer)
    return float(directives.get("s-maxage", directives.get("max-age", "0")))


def _vary(answer: Answer) -> list[str]:
    return [name.strip().lower() for name in answer.headers.get("vary", "").split(",") if name.strip()]
