"""Users who pledge, follow and call the API: `python -m tests.benchmarks.callers --help`.

Writes a landing folder with the pledges and follows of users who are nobody else's, a JWKS with one RSA key of 2048
bits, and tokens of some of those users, one a line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import RSAKey

from pipelines.landing.synthetic import platform_of, sessions

_PLEDGES_A_USER = 10
_FOLLOWS_A_CALLER = 20
_TOKENS = 500  # more than any cache of the last few would hold
_VALID_SECONDS = 6 * 3600


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.callers")
    parser.add_argument("directory", type=Path, help="for landing/, jwks.json and tokens.txt")
    parser.add_argument("--pledges", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True, help="of the platform, a day")
    parser.add_argument("--days", type=int, required=True, help="of the platform")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    asked = parser.parse_args()
    made = platform_of(days=asked.days, sessions_per_day=asked.sessions, seed=asked.seed, as_of=asked.as_of, mess=0.0)
    landing = asked.directory / "landing"
    _write(landing / "pledges" / "callers.ndjson", _pledges(made, asked.pledges))
    _write(landing / "follows" / "callers.ndjson", _follows(made))
    key = RSAKey.generate_key(2048, {"kid": "benchmarks", "use": "sig", "alg": "RS256"})
    (asked.directory / "jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    expires = int(time.time()) + _VALID_SECONDS
    users = max(1, min(_TOKENS, asked.pledges // _PLEDGES_A_USER))
    tokens = (
        jwt.encode({"alg": "RS256", "kid": key.kid}, {"sub": _user(n), "exp": expires}, key) for n in range(users)
    )
    (asked.directory / "tokens.txt").write_text("\n".join(tokens) + "\n")


def _user(number: int) -> str:
    return f"ca11e400{number:016x}"


def _pledges(made: sessions.Platform, count: int) -> Iterator[str]:
    """Captured pledges of ten scheduled streams for every user, where there are as many."""
    scheduled = max(5, made.streams // 2)
    streams = [sessions.object_id(made, "stream", made.streams + n) for n in range(scheduled)]
    for number in range(count):
        user, place = divmod(number, _PLEDGES_A_USER)
        yield (
            f'{{"pledgeId":"ca11ed6e{number:016x}","userId":"{_user(user)}",'
            f'"streamId":"{streams[(user * 7 + place) % scheduled]}","amount":{5 + number % 300},"currency":"TRY",'
            f'"status":"captured","capturedAt":"{made.first_day}T12:00:00Z","updatedAt":"{made.first_day}T12:00:00Z"}}\n'
        )


def _follows(made: sessions.Platform) -> Iterator[str]:
    """Every caller follows some of the creators."""
    creators = [sessions.object_id(made, "creator", n) for n in range(min(made.creators, 200))]
    for caller in range(_TOKENS):
        for creator in {creators[(caller + n * 7) % len(creators)]: None for n in range(_FOLLOWS_A_CALLER)}:
            yield (
                f'{{"userId":"{_user(caller)}","creatorId":"{creator}","followedAt":"{made.first_day}T12:00:00Z",'
                f'"updatedAt":"{made.first_day}T12:00:00Z"}}\n'
            )


def _write(path: Path, lines: Iterator[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)


if __name__ == "__main__":
    main()
