"""The plan from raw to the published tables, day by day: the inputs of every file.

Nothing here computes a number; that is done by the SQL in sql/. This module only says what each file is derived
from, in days, so that a changed input reaches what depends on it and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines.core import calendar_days
from pipelines.core.calendar_days import InclusiveRange, Window
from pipelines.core.settings import Policy
from pipelines.lake import models, plan_states
from pipelines.lake.derive import RELATIONS, Lake, Step, Stored
from pipelines.lake.plan_sessions import Days, Landed, Parts, by_day, days_relation, flatten, rows_of, sessions
from pipelines.landing.schema import ENTITIES
from pipelines.raw.pack_parts import folders_of
from pipelines.raw.raw_file import RawFile
from pipelines.raw.raw_folder import RawFiles, by_folder

# The tables that analysts read, but for the cube, of which there is a file a day.
PUBLIC_TABLES = ("creator_rankings", "creators", "live_stream_funding", "live_streams", "lls_streams")


@dataclass(frozen=True)
class Built:
    """The files of the lake that one as_of depends on and publishes."""

    as_of: date
    policy: Policy
    tables: Mapping[str, Stored]  # by model: the tables that are not kept by day
    shown: Mapping[str, Stored]  # the same as they are published: without what rests on too few people
    creator_reach: Days  # the cube, for the max_window_days + 1 days before as_of
    offenders: Mapping[models.Check, Sequence[Stored]]  # of the checks of the public tables; of the cube, by day
    outcomes: Mapping[str, Sequence[Stored]]  # of every record that landed, by the models that the funnel reads
    funnel: Stored
    ranking_totals: Stored
    day_totals: Stored
    version_conflicts: Stored
    rejected_pledges: Stored


def reach(
    lake: Lake, landed: Landed, policy: Policy, as_of: date, days: Window
) -> tuple[Mapping[str, Sequence[Stored]], Days]:
    """Derive what of a snapshot rests on sessions alone: their outcomes, by the models that the funnel reads, and some
    days of the cube."""
    made = sessions(lake, landed, policy, _days_counted(as_of, policy))
    return made.outcomes, _creator_reach(lake, made.viewer_days, policy, days)


def build(lake: Lake, landed: Landed, policy: Policy, as_of: date) -> Built:
    """Derive all that a snapshot as of `as_of` needs. Files that exist already are not built again."""
    zone = ZoneInfo(policy.day_timezone)

    outcomes, cube = reach(lake, landed, policy, as_of, cube_days(as_of, policy))

    def of(entity: str) -> list[Stored]:
        return flatten(landed[entity])

    def table(model: str, inputs: Mapping[str, Sequence[Stored]], **params: object) -> Stored:
        return lake.derive_one(model, inputs, params=params)

    def known(newest: int | None) -> datetime:
        return _known_until(newest, calendar_days.as_of_instant(as_of, zone))

    def state(entity: str) -> _State:
        divided = plan_states.divide(of(entity), landed.newest_of_file)
        named = [
            landed.newest_of_file[file.location] for file in divided.base if file.location in landed.newest_of_file
        ]
        versions = plan_states.versions(lake, f"{entity.removesuffix('s')}_versions", divided)
        return _State(versions, divided.delta, known(max(named, default=None)), known(landed.newest.get(entity)))

    erasures = of("erasures")
    creators = table("creators", {"raw_creators": of("creators")}, as_of_instant=known(landed.newest.get("creators")))
    live_streams = known_streams(lake, landed, policy, as_of)
    windows = _creator_windows(lake, cube, policy, as_of, zone)

    def rankings(windows: Days) -> Stored:
        inputs = {
            "creator_windows": [windows[as_of]],
            "earlier_creator_windows": [windows[as_of - calendar_days.ONE_DAY]],
            "creators": [creators],
        }
        return lake.derive_one("creator_rankings", inputs)

    longest = calendar_days.rolling(as_of, max(policy.windows))
    funnel = table(
        "funnel",
        {**outcomes, "creators": [creators]},
        first_day=longest.first_day,
        end_day=longest.end_day,
    )
    day_totals = table("day_totals", {"creator_reach": [cube[day] for day in cube_days(as_of, policy)]})
    people = _private_tables(lake, state, erasures, live_streams)
    conflicts: Mapping[str, Sequence[Stored]] = {
        "creator_conflicts": [table("creator_conflicts", {"raw_creators": of("creators")})],
        "live_stream_conflicts": [table("live_stream_conflicts", {"raw_live_streams": of("live_streams")})],
        "lls_stream_conflicts": [table("lls_stream_conflicts", {"raw_lls_streams": of("lls_streams")})],
    }
    version_conflicts = table("version_conflicts", {**conflicts, **people.conflicts})
    tables = {
        "creator_rankings": rankings(windows),
        "creators": creators,
        "live_streams": live_streams,
        "lls_streams": table(
            "lls_streams",
            {"raw_lls_streams": of("lls_streams")},
            as_of_instant=known(landed.newest.get("lls_streams")),
        ),
        **people.tables,
    }
    shown = dict(tables)
    if policy.min_cell:
        params = {"min_cell": policy.min_cell}
        steps = [Step(end, {"creator_windows": [file]}, {}, params) for end, file in windows.items()]
        shown["creator_rankings"] = rankings(by_day(lake.derive("shown_creator_windows", steps)))
        funding = {"live_stream_funding": [tables["live_stream_funding"]]}
        shown["live_stream_funding"] = table("shown_stream_funding", funding, **params)
    ranking_totals = table("ranking_totals", {name: [tables[name]] for name in ("creator_rankings", "creators")})
    counts = (funnel, ranking_totals, day_totals, version_conflicts, people.rejected_pledges)
    offenders = _offenders(lake, {**tables, **people.checked_with}, cube)
    return Built(as_of, policy, tables, shown, cube, offenders, outcomes, *counts)


@dataclass(frozen=True)
class _State:
    """What is known of each key of an entity: the versions of the base, and the raw files that landed since."""

    versions: Sequence[Stored]
    delta: Sequence[Stored]
    base_until: datetime  # all of the base is known by then that is known at as_of
    until: datetime  # the same of all that landed


@dataclass(frozen=True)
class _PrivateTables:
    """What is made of follows, pledges and replay rentals."""

    tables: Mapping[str, Stored]
    checked_with: Mapping[str, Stored]  # what checks read beside the tables
    rejected_pledges: Stored
    conflicts: Mapping[str, Sequence[Stored]]  # what version_conflicts reads of them


def _private_tables(
    lake: Lake, state: Callable[[str], _State], erasures: Sequence[Stored], live_streams: Stored
) -> _PrivateTables:
    """Derive what is made of follows, pledges and replay rentals: of the base, and of what has changed since."""

    def table(model: str, inputs: Mapping[str, Sequence[Stored]], **params: object) -> Stored:
        return lake.derive_one(model, inputs, params=params)

    tables: dict[str, Stored] = {}
    conflicts: dict[str, Sequence[Stored]] = {}
    for entity in ("follows", "replay_rentals"):
        its, one = state(entity), entity.removesuffix("s")
        versions = {f"{one}_versions": its.versions}
        base = table(f"base_{entity}", versions, as_of_instant=its.base_until)
        changed = table(f"changed_{entity}", versions | {f"raw_{entity}": its.delta, "raw_erasures": erasures})
        current = {f"base_{entity}": [base], f"changed_{entity}": [changed]}
        tables[entity] = table(entity, current, as_of_instant=its.until)
        conflicts |= {f"{one}_conflicts": [table(f"{one}_conflicts", versions)], f"changed_{entity}": [changed]}

    pledges = state("pledges")
    versions = {"pledge_versions": pledges.versions}
    delta = {"raw_pledges": pledges.delta, "raw_erasures": erasures}
    streams = {"live_streams": [live_streams]}
    rejected = {"base_rejected_pledges": [table("base_rejected_pledges", versions | streams)]}
    changed_pledges = table("changed_pledges", versions | rejected | delta)
    base_pledges = table("base_pledges", versions, as_of_instant=pledges.base_until)
    of_changed = {"changed_pledges": [changed_pledges], **streams}
    current_pledges = table("pledges", {"base_pledges": [base_pledges], **of_changed}, as_of_instant=pledges.until)
    of_changed["pledges"] = [current_pledges]
    checked_with = {"pledges": current_pledges, "changed_pledges": changed_pledges}
    for model, base_model in (
        ("live_stream_funding", "base_stream_funding"),
        ("funded_streams", "base_funded_streams"),
    ):
        of_base = table(base_model, {"base_pledges": [base_pledges]})
        tables[model] = table(model, {base_model: [of_base], **of_changed})
        checked_with[base_model] = of_base
    conflicts |= {
        "pledge_conflicts": [table("pledge_conflicts", versions)],
        "changed_pledges": [changed_pledges],
        **streams,
    }
    rejected_pledges = table("rejected_pledges", rejected | delta | streams)
    return _PrivateTables(tables, checked_with, rejected_pledges, conflicts)


def _offenders(lake: Lake, tables: Mapping[str, Stored], cube: Days) -> dict[models.Check, list[Stored]]:
    """The rows that the checks find, by check: of rows that were checked before, what was found then."""
    found = {}
    for name in PUBLIC_TABLES:
        for check in models.checks(name):
            found[check] = [lake.derive_one(check.name, {source: [tables[source]] for source in check.sources})]
    for check in models.checks("creator_reach"):
        by_day = lake.derive(check.name, [Step(day, {check.model: [file]}) for day, file in sorted(cube.items())])
        found[check] = list(by_day.values())
    return found


def arranged(raw: Iterable[RawFile], entities: Collection[str] = ENTITIES) -> Landed:
    """Arrange raw files by entity and day, oldest first; those of entities that have no day under one date."""
    raw = RawFiles([folder for folder in by_folder(raw) if folder.entity in entities])
    found: dict[str, dict[date, list[Stored]]] = defaultdict(lambda: defaultdict(list))
    newest: dict[str, int] = {}
    newest_of_file: dict[str, int] = {}
    for folder in folders_of(raw):
        for name, facts in folder.files.items():
            day = None if name == "all" else date.fromisoformat(name)
            stored = Stored(
                model=f"raw_{folder.entity}",
                day=day,
                key=folder.key,
                location=f"{folder.location}/{name}.parquet",
                rows=facts.rows,
                sha256=facts.sha256,
                digest=facts.digest,
                landed_digests=folder.digests(name),
            )
            found[folder.entity][day or _NO_DAY].append(stored)
            if facts.newest is not None:
                newest[folder.entity] = max(newest.get(folder.entity, facts.newest), facts.newest)
                newest_of_file[stored.location] = facts.newest
    by_entity = {entity: dict(sorted(days.items())) for entity, days in found.items()}
    return Landed(raw, by_entity, newest, newest_of_file)


_NO_DAY = date.min


def read_for_rejects(raw: Iterable[RawFile]) -> list[Stored]:
    """Return the raw files that `mostwatched rejects` reads: rejected records, what pledges are judged by, and whose
    records are not listed."""
    judging = arranged(raw, _JUDGING).by_entity
    with_rejects = RawFiles([folder for folder in by_folder(raw) if folder.rejects])
    rejects = [
        Stored("rejects", None, folder.key, str(folder.rejects_path), facts.rows, facts.sha256, "")
        for folder in folders_of(with_rejects)
        if (facts := folder.rejects)
    ]
    return rejects + [file for days in judging.values() for file in flatten(days)]


_JUDGING = ("live_streams", "pledges", "erasures")


def known_streams(lake: Lake, landed: Landed, policy: Policy, as_of: date) -> Stored:
    """live_streams, as they were known at as_of."""
    as_of_instant = calendar_days.as_of_instant(as_of, ZoneInfo(policy.day_timezone))
    until = _known_until(landed.newest.get("live_streams"), as_of_instant)
    raw = flatten(landed["live_streams"])
    return lake.derive_one("live_streams", {"raw_live_streams": raw}, params={"as_of_instant": until})


def _known_until(newest: int | None, as_of_instant: datetime) -> datetime:
    """The earliest instant by which all is known that is known at as_of: the same rows, night after night.

    With as_of itself every table would be built again every night; so it is only when something newer lands.
    """
    if newest is None:
        return calendar_days.FIRST_INSTANT
    return (
        calendar_days.EPOCH + min(newest + 1, calendar_days.milliseconds(as_of_instant)) * calendar_days.ONE_MILLISECOND
    )


def cube_days(as_of: date, policy: Policy) -> Window:
    """The days of the cube that a snapshot holds: one more than the longest window, for previous_rank."""
    return calendar_days.rolling(as_of, policy.max_window_days + 1)


def totalled_days(as_of: date, policy: Policy) -> Window:
    """The days whose totals tell whether the last one is all there, or as many as a snapshot holds."""
    return calendar_days.rolling(as_of, min(policy.max_window_days + 1, DAYS_COMPARED))


DAYS_COMPARED = 8 * 7 + 3  # eight weeks before a day and before the two before it, and the day


def raw_sessions(raw: Sequence[RawFile], days: Collection[str]) -> list[Stored]:
    """Return the files of landed sessions of some UTC days, named 2026-01-31."""
    by_day = arranged(raw, ("viewing_sessions",))["viewing_sessions"]
    return [file for day, files in by_day.items() if day.isoformat() in days for file in files]


def first_input_day(as_of: date, policy: Policy) -> date:
    """Return the first UTC day of sessions that a snapshot as of `as_of` depends on."""
    return _days_counted(as_of, policy)[0]


def input_days(as_of: date, policy: Policy) -> InclusiveRange:
    """Return the UTC days of sessions that a snapshot as of `as_of` depends on, with those of other versions of
    them."""
    counted = _days_counted(as_of, policy)
    return InclusiveRange(counted[0], counted[-1]).widened(policy.revision_days)


def _days_counted(as_of: date, policy: Policy) -> list[date]:
    """The UTC days on which sessions start that the cube rests on: its own days, and those that gaps reach back to."""
    # safeguard: horizon-reaches-every-gap
    return _days_reaching(
        calendar_days.rolling(as_of, 2 * policy.max_window_days + 1), policy, ZoneInfo(policy.day_timezone)
    )


def _creator_windows(lake: Lake, cube: Days, policy: Policy, as_of: date, zone: ZoneInfo) -> Days:
    """What creators reached in the published windows, and in the same windows a day earlier, by their end."""
    steps = []
    for end in (as_of - calendar_days.ONE_DAY, as_of):
        files = [cube[day] for day in calendar_days.rolling(end, max(policy.windows))]
        lengths = [calendar_days.rolling(end, days) for days in policy.windows]
        rows = [row for length in lengths for row in window_rows(length, zone)]
        relation = pa.Table.from_pylist(rows, schema=RELATIONS["windows"])
        steps.append(Step(end, {"creator_reach": files}, {"windows": relation}, weight=rows_of(files)))
    return by_day(lake.derive("creator_windows", steps))


def window_rows(days: Window, zone: ZoneInfo) -> list[dict[str, object]]:
    """The rows of one window in the relation `windows`.

    A day that the zone left out holds nothing, so a window that begins with one begins with the day after it: that
    is the day into which sessions are carried.
    """
    first_day = calendar_days.first_with_length(days, zone)
    return [{"as_of": days.end_day, "window_days": days.days, "first_day": first_day, "day": day} for day in days]


# --- viewers, by day of the policy ---------------------------------------------------------------------------------


def _creator_reach(lake: Lake, viewer_days: Parts, policy: Policy, days: Window) -> Days:
    """Some days of the cube."""
    zone = ZoneInfo(policy.day_timezone)
    steps = []
    for day in days:
        today = _reaching(viewer_days, Window(day, day + calendar_days.ONE_DAY), policy, zone)
        # safeguard: gap-reaches-the-longest-range
        before = _reaching(viewer_days, Window(day - timedelta(days=policy.max_window_days), day), policy, zone)
        steps.append(
            Step(
                day,
                {"viewer_days": today, "earlier_viewer_days": before if rows_of(today) else []},
                {"days": days_relation([day])},
                {"max_window_days": policy.max_window_days},
                weight=rows_of(today),
            )
        )
    return by_day(lake.derive("creator_reach", steps))


def _reaching(viewer_days: Parts, days: Window, policy: Policy, zone: ZoneInfo) -> list[Stored]:
    """The files that can hold rows of some days of the policy."""
    return [file for day in _days_reaching(days, policy, zone) for file in viewer_days.get(day, ())]


def _days_reaching(days: Window, policy: Policy, zone: ZoneInfo) -> list[date]:
    """The UTC days on which sessions start that can occupy some days of the policy."""
    starts_at, ends_at = (
        calendar_days.day_bounds(days.first_day, zone)[0],
        calendar_days.as_of_instant(days.end_day, zone),
    )
    return calendar_days.utc_days(starts_at - timedelta(hours=policy.max_session_hours), ends_at)
