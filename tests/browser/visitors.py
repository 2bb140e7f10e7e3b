"""The platform that the browser tests look at: a hundred creators and more over two months, drawn once and for all."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from published import Row, reached

AS_OF = date(2026, 11, 21)
DAYS = 70
CREATORS = 130

NAMES = ("Ada", "Bora", "Ceren", "Deniz", "Ece", "Fırat", "Gül", "Hakan", "Işıl", "İpek", "Jale", "Kaan", "Leyla")
SURNAMES = ("Yılmaz", "Öztürk", "Çelik", "Şahin", "Güneş", "Aydın", "Koç", "Arslan", "Doğan", "Kılıç")
EXPERTISE = ("Music", "Photography", "Cooking", "Chess", "Games", "Travel", None)


def creator_id(number: int) -> str:
    return f"c{number:03}"


def _reach(draw: random.Random) -> list[Row]:
    """New viewers and returning ones of every creator and day; the later in the list, the smaller."""
    rows = []
    for number in range(1, CREATORS + 1):
        size = 4000 / (number + 3) * draw.uniform(0.8, 1.2)
        growth = draw.uniform(-0.4, 0.8)
        for at in range(DAYS):
            day = AS_OF - timedelta(days=DAYS - at)
            weekend = 1.3 if day.weekday() >= 5 else 1.0
            today = size * weekend * (1 + growth * at / DAYS) * draw.uniform(0.8, 1.2)
            for gap, share in ((None, 0.5), (1, 0.2), (3, 0.15), (7, 0.1), (40, 0.05)):
                viewers = round(today * share)
                if viewers and (gap is None or gap <= at):
                    watched = viewers * draw.randrange(10, 60) * 60_000
                    rows.append(reached(str(day), creator_id(number), viewers, gap, watched_milliseconds=watched))
            anonymous = round(today * 0.3)
            if anonymous:
                rows.append(reached(str(day), creator_id(number), anonymous, is_signed_in=False))
    return rows


def _creators(draw: random.Random) -> list[Row]:
    found = []
    for number in range(1, CREATORS + 1):
        name, surname = draw.choice(NAMES), draw.choice(SURNAMES)
        found.append(
            {"creator_id": creator_id(number), "username": f"{name.lower()}{number}", "name": name}
            | {"surname": surname, "expertise": draw.choice(EXPERTISE), "status": "active"}
        )
    found[0] |= {"name": "Zeynep", "surname": "Işık", "username": "zeynep"}
    found[1] |= {"name": "<b>Bold</b>", "surname": "\N{RIGHT-TO-LEFT OVERRIDE}evil", "username": "javascript:alert(1)"}
    found[2] |= {"status": "banned", "name": "Nobody", "surname": "Sees", "username": "banned"}
    return found


def _stream(number: int, of: str, title: str | None, goal: str | None, days: int | None, status: str) -> Row:
    start = None if days is None else datetime(2026, 11, 21, 18, tzinfo=UTC) + timedelta(days=days)
    return {
        "stream_id": f"s{number}",
        "creator_id": of,
        "status": status,
        "title": title,
        "planned_start_date": start,
        "funding_goal": None if goal is None else Decimal(goal),
        "currency": "TRY",
    }


def _funding(number: int, of: str, goal: str | None, collected: str, percentage: int | None, backers: int) -> Row:
    return {
        "stream_id": f"s{number}",
        "creator_id": of,
        "funding_goal": None if goal is None else Decimal(goal),
        "collected_funding": Decimal(collected),
        "currency": "TRY",
        "funding_percentage": percentage,
        "backers": backers,
    }


def _platform() -> Mapping[str, list[Row]]:
    draw = random.Random(20)
    reach: list[Any] = _reach(draw)
    return {
        "creator_reach": reach,
        "creators": _creators(draw),
        "live_streams": [
            _stream(1, "c001", "Açık hava konseri", "15000.00", 5, "scheduled"),
            _stream(2, "c001", "Soru & cevap", None, 2, "scheduled"),
            _stream(3, "c001", None, "500.00", None, "scheduled"),
            _stream(4, "c001", "Over", "500.00", -9, "ended"),
        ],
        "live_stream_funding": [
            _funding(1, "c001", "15000.00", "6262.50", 41, 118),
            _funding(2, "c001", None, "0.00", None, 0),
            _funding(3, "c001", "500.00", "612.00", 122, 1),
            _funding(4, "c001", "500.00", "1.00", 0, 1),
        ],
    }


PLATFORM = _platform()
