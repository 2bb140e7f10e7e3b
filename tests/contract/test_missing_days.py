"""Readers are told which days the figures leave out: in headers, bodies, on the pages, and by /readyz."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from calling import Client
from published import CREATOR_ID, EXAMPLE, publish

from pipelines.core import durable_files
from pipelines.core.completeness import Completeness
from pipelines.snapshots.manifest import POINTER

RANKING = "/api/v1/live-stream/most-watched-creators"
OWN = "/api/v1/creators/ranking"
REACH = f"/api/v1/creators/reach?creatorId={CREATOR_ID}"
WHOLE = Completeness(date(2026, 1, 1))
HOLES = Completeness(date(2026, 1, 1), (date(2026, 11, 3), date(2026, 11, 18)), (date(2026, 11, 12),))
BEHIND = Completeness(date(2026, 1, 1), tuple(date(2026, 11, day) for day in range(1, 21)))
YOUNG = Completeness(date(2026, 11, 5))


@pytest.fixture
def client_of(home: Path, client_for: Callable[..., Client]) -> Callable[..., Client]:
    """A client of the example platform, of whose days so much is known."""

    def make(completeness: Completeness | None, **more: Any) -> Client:
        publish(home, EXAMPLE, completeness=completeness, **more)
        return client_for()

    return make


@pytest.mark.parametrize(
    ("known", "is_complete", "state", "turkish"),
    [
        (WHOLE, "true", "Up to date", "Güncel"),
        (HOLES, "false", "2 days missing", "2 gün eksik"),
        (Completeness(WHOLE.first_day, HOLES.missing[:1]), "false", "1 day missing", "1 gün eksik"),
        (Completeness(WHOLE.first_day, (), HOLES.incomplete), "false", "1 day incomplete", "1 gün tamamlanmamış"),
        (BEHIND, "false", "Data until 31 Oct 2026", "31 Eki 2026 gününe kadar veri var"),
        (YOUNG, "false", "Data since 5 Nov 2026", "5 Kas 2026 gününden beri veri var"),
        (Completeness(), "false", "No data", "Veri yok"),
        (None, None, "Up to date", "Güncel"),  # of a snapshot that an earlier version published
    ],
)
def test_headers_and_the_page(
    client_of: Callable[..., Client], known: Completeness | None, is_complete: str | None, state: str, turkish: str
) -> None:
    """The documented ranking has a header, the page says it where it says how old the data is."""
    client = client_of(known)
    answer = client.get(RANKING)
    assert answer.headers.get("X-Data-Complete") == is_complete
    assert answer.headers["X-Day-Timezone"] == "UTC"
    again = client.get(RANKING, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.headers.get("X-Data-Complete")) == (304, is_complete)
    for lang, said in (("en", state), ("tr", turkish)):
        for path in (f"/?lang={lang}", f"/creator?id={CREATOR_ID}&lang={lang}"):
            page = client.get(path).text
            shown = re.search(r'<span class="state"><i class="dot"></i>(.*?)</span>', page, re.DOTALL)
            assert shown is not None
            assert html.unescape(shown[1].strip()) == said


def test_the_pages_name_the_days(client_of: Callable[..., Client]) -> None:
    page = client_of(HOLES).get("/").text
    assert "No sessions of these days have landed: 3 Nov 2026, 18 Nov 2026." in page
    assert "under half of the sessions that such days usually have: 12 Nov 2026." in page


def test_of_many_days_the_pages_name_some(client_of: Callable[..., Client]) -> None:
    assert "4 Nov 2026, 5 Nov 2026 and 15 more." in client_of(BEHIND).get("/").text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("days=30", (False, HOLES.missing, HOLES.incomplete)),
        ("days=2", (True, (), ())),
        ("from=2026-11-10&to=2026-11-18", (False, (), HOLES.incomplete)),
        ("from=2026-11-13&to=2026-11-18", (True, (), ())),
    ],
)
@pytest.mark.parametrize("path", [f"{OWN}?", f"{REACH}&"])
def test_bodies_say_it_of_the_range_that_was_asked_for(
    client_of: Callable[..., Client], path: str, query: str, expected: tuple[bool, Any, Any]
) -> None:
    data = client_of(HOLES).get(path + query).json()["data"]
    is_complete, missing, incomplete = expected
    assert data["completeness"] == {
        "isComplete": is_complete,
        "firstDay": "2026-01-01",
        "missingDays": [str(day) for day in missing],
        "incompleteDays": [str(day) for day in incomplete],
    }
    assert data["window"]["timezone"] == "UTC"


def test_days_that_did_not_land_have_no_figures(client_of: Callable[..., Client]) -> None:
    """Null and empty cells, not zeros; a day without viewers that did land has zeros."""
    client = client_of(Completeness(date(2026, 11, 5), HOLES.missing))
    by_day = {day.pop("day"): day for day in client.get(f"{REACH}&days=30").json()["data"]["byDay"]}
    absent = {day for day, figures in by_day.items() if set(figures.values()) == {None}}
    assert absent & set(map(str, HOLES.missing)) == {"2026-11-03", "2026-11-18"} & by_day.keys()
    assert "2026-11-18" in absent
    assert all(day in absent for day in by_day if day < "2026-11-05")
    assert set(by_day["2026-11-17"].values()) == {0}
    assert by_day["2026-11-19"]["viewers"] == 3
    rows: list[Mapping[str, str]] = list(csv.DictReader(io.StringIO(client.get(f"{REACH}&format=csv").text)))
    assert {row["day"] for row in rows if row["viewers"] == ""} == absent
    assert {row["day"] for row in rows if row["viewers"] == "0"} >= {"2026-11-17"}
    page = client.get(f"/creator?id={CREATOR_ID}").text
    assert "<td>not landed</td>" in page
    assert 'class="missing"' in page


def test_charts_of_days_that_landed_have_no_gaps(client_of: Callable[..., Client]) -> None:
    page = client_of(WHOLE).get(f"/creator?id={CREATOR_ID}").text
    assert 'class="missing"' not in page
    assert "not landed" not in page


def test_what_becomes_known_later_is_told(home: Path, client_of: Callable[..., Client]) -> None:
    """An empty file of a missing day lands: the snapshot stays the same, its pointer says more."""
    client = client_of(HOLES)
    assert client.get(RANKING).headers["X-Data-Complete"] == "false"
    assert client.get(OWN).json()["data"]["completeness"]["isComplete"] is False
    pointer = home / "snapshots" / POINTER
    said = durable_files.verify_checksum(pointer.read_bytes())
    said |= {"completeness": WHOLE.as_json(), "published_at": "2026-05-28T20:00:00.000Z"}
    pointer.write_bytes(durable_files.json_bytes(durable_files.with_checksum(said)))
    assert client.get(RANKING).headers["X-Data-Complete"] == "true"
    assert client.get(OWN).json()["data"]["completeness"]["isComplete"] is True


@pytest.mark.parametrize(
    ("newest", "status"),
    [
        ("2026-11-20T23:59:58.000Z", 200),
        ("2026-11-19T00:00:00.000Z", 200),
        ("2026-11-18T23:59:59.999Z", 503),
        ("2026-10-20T10:00:00.000Z", 503),
        (None, 503),
    ],
)
def test_readiness_judges_the_age_of_the_data(
    client_of: Callable[..., Client], newest: str | None, status: int
) -> None:
    """At the end of the days that the snapshot is of: a run of last night over data of last month is not ready."""
    answer = client_of(WHOLE, newest_session_at=newest).get("/readyz")
    assert answer.status_code == status
    if status == 503:
        assert ("ends at" if newest else "holds no session") in answer.json()["errors"][0]
