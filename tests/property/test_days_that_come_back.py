"""Every change of the clocks since 1970 at which a date comes back or is left out: sessions over it, counted again.

The other count knows nothing of bounds of days. It asks DuckDB's own database of time zones for the date of every half
minute of every session.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from unit.core.test_calendar_days import ODD_DATES, changes, is_odd

from pipelines.core import calendar_days
from pipelines.lake import models
from pipelines.lake.derive import RELATIONS
from pipelines.landing.schema import RAW_SCHEMAS

HALF_MINUTE = timedelta(seconds=30)
LONGEST = timedelta(days=1)
RANGES_OF_DAYS = """
    with days as (
        select creator_id, unnest(generate_series(min(day), max(day), interval 1 day))::date as day
        from counted_again
        group by 1
    )
    select a.creator_id, a.day as first_day, b.day as last_day
    from days as a
    inner join days as b on a.creator_id = b.creator_id and a.day <= b.day
"""
COUNTED_AGAIN = """
    with moments as (
        select *, unnest(generate_series(
            started_at, greatest(started_at, coalesce(ended_at, started_at) - interval 30 seconds), interval 30 seconds
        )) as moment
        from sessions
    )
    select
        creator_id, session_id, timezone($zone, moment)::date as day,
        sum(case when ended_at > started_at then 30000 else 0 end)::bigint as watched_milliseconds
    from moments
    group by all
"""


def sessions_over(change: datetime, number: int) -> list[dict[str, object]]:
    """Sessions that begin and end at, around and between what may be the bounds of the days at a change."""
    minutes = [-25 * 60, -181, -120, -119.5, -61, -60, -59.5, -31, -1, -0.5, 0, 0.5, 59, 59.5, 60, 60.5, 119, 180]
    ends = [change + minute * timedelta(minutes=1) for minute in minutes]
    spans = [(start, end) for start in ends for end in ends if start <= end <= start + LONGEST]
    return [
        {
            "day": start.date(),
            "session_id": f"{number}/{place}",
            "creator_id": f"creator {number}",
            "viewer_id": f"viewer {place}",
            "device_id": None,
            "outcome": "counted",
            "started_at": start,
            "ended_at": None if start == end and place % 2 else end,
        }
        for place, (start, end) in enumerate(spans)
    ]


@pytest.mark.parametrize("name", ODD_DATES)
def test_sessions_over_a_date_that_comes_back_or_never_comes(name):
    """For each range of days, distinct sessions and viewers, and milliseconds; for each session its days."""
    zone = ZoneInfo(name)
    odd = [change for change in changes(zone) if is_odd(change, zone)]
    sessions = [row for number, change in enumerate(odd) for row in sessions_over(change, number)]
    days = {row["day"] for row in sessions}
    calendar = [vars(reached) for day in days for reached in calendar_days.days_reached(day, LONGEST, zone)]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("sessions", pa.Table.from_pylist(sessions))
        connection.register("raw_viewing_sessions", RAW_SCHEMAS["viewing_sessions"].empty_table())
        connection.execute("create table erased_viewers (day date, viewer_id varchar)")
        connection.execute("""
            create table session_versions (
                day date, creator_id varchar, is_newest boolean, is_conflict boolean, is_lost boolean,
                landed_records bigint
            )
        """)
        connection.register("calendar", pa.Table.from_pylist(calendar, schema=RELATIONS["calendar"]))
        for model in ("viewer_days", "session_outcomes"):
            connection.execute(f"create table {model} as {models.model(model).statement}")
        connection.execute(f"create table counted_again as {COUNTED_AGAIN}", {"zone": name})
        connection.execute(f"create table ranges as {RANGES_OF_DAYS}")
        again = connection.execute("""
            select creator_id, first_day, last_day,
                count(distinct session_id) as sessions, sum(watched_milliseconds) as watched_milliseconds
            from ranges
            inner join counted_again using (creator_id)
            where day >= first_day and day <= last_day
            group by all order by all
        """).fetchall()
        cube = connection.execute("""
            with first_days as (
                -- of a range, the first day that was not left out: into that day sessions are carried
                select creator_id, first_day, last_day, min(day) as first_one
                from ranges inner join viewer_days using (creator_id)
                where day >= first_day and day <= last_day
                group by all
            )
            select creator_id, first_day, last_day,
                sum(sessions_started) + sum(case when day = first_one then sessions_carried_in else 0 end) as sessions,
                sum(watched_milliseconds) as watched_milliseconds
            from first_days inner join viewer_days using (creator_id)
            where day >= first_day and day <= last_day
            group by all order by all
        """).fetchall()
        assert cube == again
        ends_again = connection.execute("""
            with ends as (select creator_id, min(day) as first_day, max(day) as last_day from counted_again
                group by creator_id, session_id)
            select *, count(*) from ends group by all order by all
        """).fetchall()
        ends = connection.execute("""
            select creator_id, first_day, last_day, sum(records) from session_outcomes group by all order by all
        """).fetchall()
        assert ends == ends_again
    assert len(sessions) > 100 * len(odd) > 0
