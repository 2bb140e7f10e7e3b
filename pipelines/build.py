"""The line from raw to the tables that are published, day by day: which files each model's day rests on.

Nothing here computes a number; that is done by the SQL in sql/. This module only says what each file is derived
from, in days, so that a changed input reaches what depends on it and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipelines import models, window
from pipelines.lake import RELATIONS, Lake, Step, Stored
from pipelines.raw import RawFile
from pipelines.settings import Policy
from pipelines.window import Window

Days = Mapping[date, Stored]
Parts = Mapping[date, Sequence[Stored]]  # of each day one file or several, whose rows add up

# A landed file with at least so many sessions of a day is a part of that day by itself; smaller ones share a part. So
# a few sessions that land late leave what was worked out of the day's large file as it is.
PART_ROWS = 100_000


@dataclass(frozen=True)
class Built:
    """Everything that one as_of rests on and publishes, as files of the lake."""

    as_of: date
    policy: Policy
    tables: Mapping[str, Stored]  # by model: the tables that are not kept by day
    creator_reach: Days  # the cube, for the max_window_days + 1 days before as_of
    offenders: Mapping[models.Check, Days]  # of the checks of creator_reach, by day
    session_outcomes: Sequence[Stored]  # of every day that landed
    funnel: Stored
    day_totals: Stored
    version_conflicts: Stored


def build(lake: Lake, raw: Sequence[RawFile], policy: Policy, as_of: date) -> Built:
    """Derive all that a snapshot as of `as_of` needs. Files that exist already are not built again."""
    landed = _raw_by_entity(lake, raw)
    zone = ZoneInfo(policy.day_timezone)

    parts = {day: _parts(files) for day, files in landed["viewing_sessions"].items()}
    repeated = _repeated_sessions(lake, parts)
    outcomes, viewer_days = _sessions(lake, landed, parts, repeated, policy, as_of)
    cube = _creator_reach(lake, viewer_days, policy, as_of)

    def of(entity: str) -> list[Stored]:
        return [file for files in landed[entity].values() for file in files]

    def table(model: str, inputs: Mapping[str, Sequence[Stored]], **params: object) -> Stored:
        return lake.derive_one(model, inputs, params=params)

    def known(entity: str) -> datetime:
        return _known_until(raw, entity, window.day_start(as_of, zone))

    erasures = of("erasures")
    creators = table("creators", {"raw_creators": of("creators")}, as_of_instant=known("creators"))
    live_streams, pledges = judged_pledges(lake, raw, policy, as_of)
    windows = _creator_windows(lake, cube, policy, as_of, zone)
    rankings = lake.derive_one(
        "creator_rankings",
        {
            "creator_windows": [windows[as_of]],
            "earlier_creator_windows": [windows[as_of - window.ONE_DAY]],
            "creators": [creators],
        },
    )
    longest = window.rolling(as_of, max(policy.windows))
    funnel = table(
        "funnel",
        {"session_outcomes": _flat(outcomes), "session_moves": list(repeated.moves.values()), "creators": [creators]},
        first_day=longest.first_day,
        end_day=longest.end_day,
    )
    week_and_a_day = window.rolling(as_of, 8)
    day_totals = table("day_totals", {"creator_reach": [cube[day] for day in week_and_a_day]})
    timed = ("creators", "live_streams", "pledges", "follows", "replay_rentals", "lls_streams")
    version_conflicts = table("version_conflicts", {f"raw_{entity}": of(entity) for entity in timed})
    tables = {
        "creator_rankings": rankings,
        "creators": creators,
        "live_streams": live_streams,
        "live_stream_funding": table("live_stream_funding", {"live_streams": [live_streams], "pledges": [pledges]}),
        "lls_streams": table("lls_streams", {"raw_lls_streams": of("lls_streams")}, as_of_instant=known("lls_streams")),
        "pledges": pledges,
        "funded_streams": table("funded_streams", {"pledges": [pledges]}),
        "follows": table(
            "follows",
            {"raw_follows": of("follows"), "raw_erasures": erasures},
            as_of_instant=known("follows"),
        ),
        "replay_rentals": table(
            "replay_rentals",
            {"raw_replay_rentals": of("replay_rentals"), "raw_erasures": erasures},
            as_of_instant=known("replay_rentals"),
        ),
    }
    # A day is checked when it is new, not every night again.
    offenders = {
        check: _days(lake.derive(check.name, [Step(day, {check.model: [file]}) for day, file in cube.items()]))
        for check in models.checks("creator_reach")
    }
    return Built(as_of, policy, tables, cube, offenders, _flat(outcomes), funnel, day_totals, version_conflicts)


def read_for_rejects(lake: Lake, raw: Sequence[RawFile]) -> list[Stored]:
    """The raw files that `mostwatched rejects` is answered from: rejected records, and what judges pledges."""
    judging = _raw_by_entity(lake, [folder for folder in raw if folder.entity in _JUDGING])
    rejects = [
        Stored("rejects", None, folder.key, folder.rejects_path, folder.rejects.rows, folder.rejects.sha256, "")
        for folder in raw
        if folder.rejects
    ]
    return rejects + [file for days in judging.values() for files in days.values() for file in files]


_JUDGING = ("live_streams", "pledges", "erasures")


def judged_pledges(lake: Lake, raw: Sequence[RawFile], policy: Policy, as_of: date) -> tuple[Stored, Stored]:
    """(live_streams, pledges): every newest pledge with its outcome, judged by the stream that it is for."""
    landed = _raw_by_entity(lake, [file for file in raw if file.entity in _JUDGING])
    inputs = {entity: [file for files in landed[entity].values() for file in files] for entity in list(landed)}

    def table(model: str, **also: Sequence[Stored]) -> Stored:
        until = _known_until(raw, model, window.day_start(as_of, ZoneInfo(policy.day_timezone)))
        return lake.derive_one(model, {f"raw_{model}": inputs.get(model, []), **also}, params={"as_of_instant": until})

    live_streams = table("live_streams")
    return live_streams, table("pledges", raw_erasures=inputs.get("erasures", []), live_streams=[live_streams])


def _known_until(raw: Sequence[RawFile], entity: str, as_of_instant: datetime) -> datetime:
    """The earliest instant by which all is known that is known at as_of: the same rows, night after night.

    With as_of itself every table would be built again every night; so it is only when something newer lands.
    """
    ages = [facts.newest for folder in raw if folder.entity == entity for facts in folder.files.values()]
    newest = max((age for age in ages if age is not None), default=None)
    if newest is None:
        return window.FIRST_INSTANT
    return window.EPOCH + min(newest + 1, window.milliseconds(as_of_instant)) * window.ONE_MILLISECOND


def cube_days(as_of: date, policy: Policy) -> Window:
    """The days of the cube that a snapshot holds: one more than the longest window, for previous_rank."""
    return window.rolling(as_of, policy.max_window_days + 1)


def first_day_rested_on(as_of: date, policy: Policy) -> date:
    """The first UTC day of sessions that a snapshot as of `as_of` rests on."""
    return _days_counted(as_of, policy)[0]


def _days_counted(as_of: date, policy: Policy) -> list[date]:
    """The UTC days on which sessions start that the cube rests on: its own days, and those that gaps reach back to."""
    return _days_reaching(window.rolling(as_of, 2 * policy.max_window_days + 1), policy, ZoneInfo(policy.day_timezone))


def _creator_windows(lake: Lake, cube: Days, policy: Policy, as_of: date, zone: ZoneInfo) -> Days:
    """What creators reached in the published windows, and in the same windows a day earlier, by their end."""
    steps = []
    for end in (as_of - window.ONE_DAY, as_of):
        files = [cube[day] for day in window.rolling(end, max(policy.windows))]
        lengths = [window.rolling(end, days) for days in policy.windows]
        rows = [row for length in lengths for row in window_rows(length, zone)]
        relation = pa.Table.from_pylist(rows, schema=RELATIONS["windows"])
        steps.append(Step(end, {"creator_reach": files}, {"windows": relation}, weight=_rows(files)))
    return _days(lake.derive("creator_windows", steps))


def window_rows(days: Window, zone: ZoneInfo) -> list[dict[str, object]]:
    """The rows of one window in the relation `windows`.

    A day that the zone left out holds nothing, so a window that begins with one begins with the day after it: that
    is the day into which sessions are carried.
    """
    first_day = window.first_with_length(days, zone)
    return [{"as_of": days.end_day, "window_days": days.days, "first_day": first_day, "day": day} for day in days]


# --- viewing sessions, by the UTC day on which they start ----------------------------------------------------------


def _parts(files: Sequence[Stored]) -> list[list[Stored]]:
    """The raw files of a day, as the parts that are worked out by themselves.

    Files of the same rows, landed twice, are in one part: what is derived is named by its rows, and two parts of one
    name would be counted once.
    """
    small: list[Stored] = []
    large: dict[str, list[Stored]] = {}
    for file in files:
        (small if file.rows < PART_ROWS else large.setdefault(file.digest, [])).append(file)
    return [*large.values(), small] if small else list(large.values())


@dataclass(frozen=True)
class _Repeated:
    """The sessions of which there is more than one record, wherever they are."""

    versions: Parts  # of each part of a day, in the order of the parts; of days that have any
    moves: Days  # the sessions that do not count on a day because their newest version starts on another
    resolved: Days  # the newest versions that do count on it


def _repeated_sessions(lake: Lake, parts: Mapping[date, Sequence[Sequence[Stored]]]) -> _Repeated:
    days = sorted(parts)
    keys = _in_rounds(
        lake,
        {
            "session_keys": [
                Step(day, {"raw_viewing_sessions": part}, weight=_rows(part)) for day in days for part in parts[day]
            ]
        },
    )["session_keys"]
    so_far: list[Stored] = []
    steps = []
    for day in days:
        inputs = {"session_keys": keys[day], "earlier_session_keys": tuple(so_far)}
        steps.append(Step(day, inputs, weight=_rows(keys[day])))
        so_far += keys[day]

    # By day, the files that mention it, and the days that share a session with it.
    mentioning: dict[date, list[Stored]] = defaultdict(list)
    linked: dict[date, set[date]] = defaultdict(set)
    for day, stored in _days(lake.derive("session_repeats", steps)).items():
        if stored.rows:
            earlier_days = lake.table(stored)["earlier_day"].unique().to_pylist()
            for other in {day, *earlier_days}:
                mentioning[other].append(stored)
                linked[other].add(day)
            linked[day].update(earlier_days)

    steps = [
        Step(day, {"session_keys": [part], "session_repeats": mentioning[day]}, weight=part.rows)
        for day in sorted(mentioning)
        for part in keys[day]
    ]
    repeated = _in_rounds(lake, {"repeated_session_keys": steps})["repeated_session_keys"]
    steps = [
        Step(
            day,
            {"raw_viewing_sessions": part if its_keys.rows else [], "repeated_session_keys": [its_keys]},
            weight=_rows(part),
        )
        for day in sorted(mentioning)
        for part, its_keys in zip(parts[day], repeated[day], strict=True)
    ]
    versions = _in_rounds(lake, {"repeated_session_versions": steps})["repeated_session_versions"]
    moves = lake.derive(
        "session_moves",
        [
            Step(
                day,
                {
                    "repeated_session_versions": [
                        each for other in sorted(linked[day] | {day}) for each in versions[other]
                    ]
                },
            )
            for day in sorted(mentioning)
            if linked[day] - {day}
        ],
    )
    resolved = lake.derive(
        "resolved_sessions",
        [
            Step(
                day,
                {"repeated_session_versions": versions[day], "session_moves": [moves[day]] if day in moves else []},
                weight=_rows(versions[day]),
            )
            for day in sorted(mentioning)
        ],
    )
    return _Repeated(versions, {day: stored for day, stored in _days(moves).items() if stored.rows}, _days(resolved))


def _sessions(
    lake: Lake,
    landed: Mapping[str, Mapping[date, Sequence[Stored]]],
    parts: Mapping[date, Sequence[Sequence[Stored]]],
    repeated: _Repeated,
    policy: Policy,
    as_of: date,
) -> tuple[Parts, Parts]:
    """(session_outcomes of every day, viewer_days of those that the cube rests on): all that is made of sessions."""
    by_day = landed["viewing_sessions"]
    erasures = [file for files in landed["erasures"].values() for file in files]
    erased: Mapping[date | None, Stored] = {}
    if erasures:
        erased = lake.derive(
            "erased_viewers",
            [
                Step(day, {"raw_viewing_sessions": files, "raw_erasures": erasures}, weight=_rows(files))
                for day, files in by_day.items()
            ],
        )
    zone = ZoneInfo(policy.day_timezone)
    params = {
        "min_watched_milliseconds": policy.min_watched_seconds * 1000,
        "max_session_milliseconds": policy.max_session_hours * 3_600_000,
        "leave_out_own_views": policy.leave_out_own_views,
    }
    steps = []
    for day in by_day:
        relations = {"calendar": _calendar_relation(day, policy, zone)}
        its_erased = [erased[day]] if day in erased else []
        its_versions: Sequence[Stored | None] = repeated.versions.get(day) or [None] * len(parts[day])
        for part, versions in zip(parts[day], its_versions, strict=True):
            inputs = {
                "raw_viewing_sessions": part,
                "repeated_session_versions": [] if versions is None else [versions],
                "erased_viewers": its_erased,
            }
            steps.append(Step(day, inputs, relations, params, weight=_rows(part)))
        if day in repeated.resolved and repeated.resolved[day].rows:
            resolved = repeated.resolved[day]
            inputs = {"resolved_sessions": [resolved], "erased_viewers": its_erased}
            steps.append(Step(day, inputs, relations, params, weight=resolved.rows))
    counted = set(_days_counted(as_of, policy))
    made = _in_rounds(lake, {"session_outcomes": steps, "viewer_days": [step for step in steps if step.day in counted]})
    return made["session_outcomes"], made["viewer_days"]


def _in_rounds(lake: Lake, wanted: Mapping[str, Sequence[Step]]) -> dict[str, dict[date, list[Stored]]]:
    """The files of several models by day, where a day may have several steps: the lake builds one a day at a time."""
    rounds: list[dict[str, list[Step]]] = []
    for model, steps in wanted.items():
        seen: Counter[date | None] = Counter()
        for step in steps:
            while len(rounds) <= seen[step.day]:
                rounds.append({model: [] for model in wanted})
            rounds[seen[step.day]][model].append(step)
            seen[step.day] += 1
    found: dict[str, dict[date, list[Stored]]] = {model: defaultdict(list) for model in wanted}
    for each in rounds:
        for model, files in lake.derive_together(each).items():
            for day, stored in _days(files).items():
                found[model][day].append(stored)
    return found


# --- viewers, by day of the policy ---------------------------------------------------------------------------------


def _creator_reach(lake: Lake, viewer_days: Parts, policy: Policy, as_of: date) -> Days:
    """The cube for every day that a snapshot holds."""
    zone = ZoneInfo(policy.day_timezone)
    steps = []
    for day in cube_days(as_of, policy):
        today = _reaching(viewer_days, Window(day, day + window.ONE_DAY), policy, zone)
        before = _reaching(viewer_days, Window(day - timedelta(days=policy.max_window_days), day), policy, zone)
        steps.append(
            Step(
                day,
                {"viewer_days": today, "earlier_viewer_days": before if _rows(today) else []},
                {"days": _days_relation([day])},
                {"max_window_days": policy.max_window_days},
                weight=_rows(today),
            )
        )
    return _days(lake.derive("creator_reach", steps))


def _reaching(viewer_days: Parts, days: Window, policy: Policy, zone: ZoneInfo) -> list[Stored]:
    """The files that can hold rows of some days of the policy."""
    return [file for day in _days_reaching(days, policy, zone) for file in viewer_days.get(day, ())]


def _days_reaching(days: Window, policy: Policy, zone: ZoneInfo) -> list[date]:
    """The UTC days on which sessions start that can occupy some days of the policy."""
    starts_at, ends_at = window.day_start(days.first_day, zone), window.day_start(days.end_day, zone)
    return window.utc_days(starts_at - timedelta(hours=policy.max_session_hours), ends_at)


# --- small things ----------------------------------------------------------------------------------------------------


def _raw_by_entity(lake: Lake, raw: Sequence[RawFile]) -> Mapping[str, Mapping[date, Sequence[Stored]]]:
    """The raw files of every entity by day, oldest first; of entities that have no day, all under one date."""
    found: dict[str, dict[date, list[Stored]]] = defaultdict(lambda: defaultdict(list))
    for folder in raw:
        for name, facts in folder.files.items():
            day = _NO_DAY if name == "all" else date.fromisoformat(name)
            stored = Stored(
                model=f"raw_{folder.entity}",
                day=day,
                key=folder.key,
                path=folder.folder / f"{name}.parquet",
                rows=facts.rows,
                sha256=facts.sha256,
                digest=facts.digest,
            )
            found[folder.entity][day].append(stored)
    return defaultdict(dict, {entity: dict(sorted(days.items())) for entity, days in found.items()})


_NO_DAY = date.min


def _flat(parts: Parts) -> list[Stored]:
    return [file for files in parts.values() for file in files]


def _days(files: Mapping[date | None, Stored]) -> Days:
    return {day: stored for day, stored in files.items() if day is not None}


def _rows(files: Iterable[Stored]) -> int:
    return sum(stored.rows for stored in files)


def _days_relation(days: Sequence[date]) -> pa.Table:
    return pa.Table.from_pylist([{"day": day} for day in days], schema=RELATIONS["days"])


def _calendar_relation(utc_day: date, policy: Policy, zone: ZoneInfo) -> pa.Table:
    reached = window.days_reached(utc_day, timedelta(hours=policy.max_session_hours), zone)
    return pa.Table.from_pylist([vars(day) for day in reached], schema=RELATIONS["calendar"])
