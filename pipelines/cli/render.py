"""The text that `mostwatched status`, `explain`, `snapshots diff` and `forget` print on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click

from pipelines.core.text import counted, excerpt, print_table, printable
from pipelines.jobs.erase_user import ForgetReport
from pipelines.jobs.explain import Explanation
from pipelines.snapshots.diff import Comparison

LEFT_OUT_TEXTS = {
    "duplicate": "the same version landed more than once",
    "superseded": "another version of the session is newer",
    "deleted": "retracted (deleted: true)",
    "erased": "of erased users",
    "own_view": "the creator's own views",
    "under_minimum": "shorter than MOSTWATCHED_MIN_WATCHED_SECONDS",
    "not_yet": "start after the window",
    "outside_window": "ended before the window",
}


def print_explanation(one: Explanation) -> None:
    """Print the steps from the landed records to the published figure, one on each line."""
    click.echo(
        f"Creator {excerpt(one.creator_id)}, the days {one.days} (end not included), snapshot {one.snapshot_id}\n"
    )
    _step(one.records, f"accepted session records name the creator, in {counted(one.landed_files, 'landed file')}")
    for reason, count in one.left_out.items():
        if count:
            moved = f"; {one.moved_away:,} sessions went to another creator" if one.moved_away else ""
            words = LEFT_OUT_TEXTS[reason] + (moved if reason == "superseded" else "")
            _step(-count, f"{reason.replace('_', ' ')}: {words}")
    _step(one.sessions, f"sessions in the window, {one.watched_seconds:,} watched seconds of them inside it", "=")
    for kind, daily, distinct in (
        ("signed-in viewers", one.viewer_days, one.viewers),
        ("anonymous devices", one.device_days, one.anonymous_viewers),
    ):
        click.echo()
        _step(daily, f"{kind}, each once a day")
        _step(distinct - daily, "had been there on an earlier day of the window")
        _step(distinct, f"distinct {kind}", "=")
    click.echo()
    days = [[str(day.day), day.sessions, day.viewers, day.new_viewers] for day in one.by_day if day.sessions]
    if days:
        print_table(("day", "sessions", "viewers", "new in the window"), days)
        click.echo()
    if one.mentioned_in_rejects:
        click.echo(
            f"Rejected records that hold this id as well: {one.mentioned_in_rejects:,}; see `mostwatched rejects`."
        )
    click.echo(_verdict(one))


def _step(count: int, text: str, sign: str = " ") -> None:
    click.echo(f"{sign} {count:>15,}  {text}" if count >= 0 else f"- {-count:>15,}  {text}")


def _verdict(one: Explanation) -> str:
    if not one.agrees:
        return f"This is NOT what was published: {one.published}. Please report it."
    if one.published is not None:
        row = one.published
        return (
            f"Published: {row['viewers']:,} viewers, {row['anonymous_viewers']:,} anonymous, "
            f"{row['sessions']:,} sessions, rank {row['rank']:,}, position {row['position']:,}: exactly this."
        )
    if one.is_left_out_of_the_ranking:
        viewers = counted(one.viewers, "viewer")
        return f"Not ranked: the creator is {one.status}. Without that the figure would be {viewers}."
    return "Not ranked: no session in the window."


def print_comparison(one: Comparison, limit: int) -> None:
    """Print what differs between two snapshots, the best ranks first."""
    click.echo(f"{one.before} -> {one.after}, the last {one.window_days} days of each")
    for name, (before, after) in one.policy.items():
        click.echo(f"Policy: {name} was {before}, is {after}.")
    if len(set(one.code_versions)) > 1:
        click.echo(f"Code: {one.code_versions[0]} -> {one.code_versions[1]}.")
    click.echo(f"Landed files: {one.landed_since:,} more, {one.landed_only_before:,} not any more.")
    counts = ", ".join(f"{one.count(change):,} {change}" for change in ("entered", "left", "rose", "fell"))
    click.echo(f"Creators: {counts}, {one.count('stayed'):,} stayed with other viewers, {one.unchanged:,} unchanged.")
    if not one.changes:
        return
    click.echo()
    rows = []
    for change in one.changes[:limit]:
        numbers = (change.rank_before, change.rank_after, change.viewers_before, change.viewers_after)
        because = ", ".join(
            f"{reason} {viewers:+,}" if viewers else reason for reason, viewers in change.because.items()
        )
        cells = ["-" if number is None else f"{number:,}" for number in numbers]
        rows.append([excerpt(change.creator_id), change.change, *cells, because])
    print_table(("creator", "change", "rank", "-> rank", "viewers", "-> viewers", "because"), rows)
    if len(one.changes) > limit:
        click.echo(f"... and {len(one.changes) - limit:,} more (--limit, or --json for all)")


def print_status(answer: dict[str, Any]) -> None:
    """Print the answer of `status`, one paragraph for each subject."""
    if answer["snapshot"] is None and answer["last_run"] is None and not answer["landing"]["files"]:
        click.echo(f"Nothing has landed in {answer['home']} and nothing has been published there yet.")
        return
    for subject, lines in (
        ("Snapshot", _snapshot_lines(answer["snapshot"])),
        ("Days", _day_lines(answer)),
        ("Late", _late_lines(answer["late"])),
        ("Landing", _landing_lines(answer["landing"])),
        ("Last run", _last_run_lines(answer["last_run"])),
        ("Audit", _audit_lines(answer["last_audit"])),
        ("Next run", _next_run_lines(answer)),
        ("Problems", answer["problems"]),
    ):
        for number, line in enumerate(lines):
            click.echo(f"{'' if number else subject:<10}{line}".rstrip())


SHOWN = 20  # lines of one kind; --json gives all


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"  and {more:,} more (--json gives all)"] if more > 0 else [])]


def _snapshot_lines(snapshot: dict[str, Any] | None) -> Iterator[str]:
    if snapshot is None:
        yield "none yet: nothing has been published"
        return
    age = _ago(snapshot["age_seconds"])
    yield f"{snapshot['snapshot_id']}, published {snapshot['published_at']}, {age}{', STALE' * snapshot['is_stale']}"
    newest = snapshot["newest_session_at"]
    yield f"newest session {newest}, {_ago(snapshot['newest_session_age_seconds'])}" if newest else "no session in it"
    if snapshot["is_pinned"]:
        yield "pinned: readers stay on it until `mostwatched snapshots rollback --release`"


def _ago(seconds: int) -> str:
    hours = abs(seconds) / 3600
    span = f"{hours:,.1f} hours" if hours < 72 else f"{hours / 24:,.0f} days"
    return f"{span} ago" if seconds >= 0 else f"{span} ahead of this machine's clock"


def _day_lines(answer: dict[str, Any]) -> Iterator[str]:
    days = answer["days"]
    if not days:
        yield f"none with sessions before {answer['as_of']}"
        return
    states = Counter(day["state"] for day in days)
    counts = ", ".join(f"{states[state]} {state}" for state in ("present", *_UNUSUAL) if states[state])
    yield f"{days[0]['day']} to {days[-1]['day']}: {counts}"
    for state, meaning in _UNUSUAL.items():
        of_it = [day for day in days if day["state"] == state]
        yield from _some([f"  {state:<10}  {day['day']}  {day['why'] or meaning}{_strays(day)}" for day in of_it])


_UNUSUAL = {
    "missing": "its file has not landed",
    "incomplete": "",
    "unread": "its file has landed, and the next run reads it",
    "empty": "its file landed and holds no session",
}


def _strays(day: dict[str, Any]) -> str:
    is_strange = day["sessions"] and day["state"] != "incomplete"
    return f"; {day['sessions']:,} of its sessions came in other files" if is_strange else ""


def _late_lines(late: Sequence[dict[str, Any]]) -> list[str]:
    return _some(
        [
            f"{day['day']}  {day['sessions_before']:,} -> {day['sessions']:,} sessions, "
            + ("in the current snapshot" if day["is_published"] else "not published yet")
            for day in late
        ]
    )


def _landing_lines(landing: dict[str, Any]) -> Iterator[str]:
    unread = landing["unread"]
    changed = sum(file["is_changed"] for file in unread)
    yield (
        f"{counted(landing['files'], 'file')}: {len(unread) - changed:,} new, {changed:,} changed, "
        f"{len(landing['postponed']):,} not complete yet"
        + (f"; {len(landing['gone']):,} gone, which still count" if landing["gone"] else "")
    )
    yield from _some(
        [
            f"  {'changed' if file['is_changed'] else 'new':<10}  {excerpt(file['file'])}  {file['bytes']:,} bytes"
            + (", written within the last minute" if file["may_grow"] else "")
            for file in unread
        ]
    )
    yield from _some(
        [f"  {'postponed':<10}  {excerpt(f['file'])}: {excerpt(f['reason'])}" for f in landing["postponed"]]
    )
    yield from _some([f"  {'ignored':<10}  {excerpt(f['path'])}: {excerpt(f['reason'])}" for f in landing["ignored"]])


def _last_run_lines(run: dict[str, Any] | None) -> Iterator[str]:
    if run is None:
        return
    ended = f"to {run['ended_at']}" if run["ended_at"] else f"as process {run['pid']}"
    new = counted(run["new_files"], "new file")
    yield f"{run['outcome']}: as of {run['as_of']}, from {run['started_at']} {ended}, {new}"
    if run["why"]:
        yield f"  {excerpt(run['why'], 1000)}"
    if run["report"]:
        yield f"  {excerpt(run['report'], 1000)}"
    yield from _some([f"  postponed   {excerpt(f['name'])}: {excerpt(f['reason'])}" for f in run["postponed"]])


def _audit_lines(audit: dict[str, Any] | None) -> Iterator[str]:
    if audit is None:
        return
    yield f"{audit['outcome']}: {audit['snapshot_id']}, {audit['ended_at']}"
    if audit["why"]:
        yield f"  {excerpt(audit['why'], 1000)}"
    if audit["outcome"] != "passed":
        yield f"  last passed {audit['passed_at']}" if audit["passed_at"] else "  none has passed yet"


def _next_run_lines(answer: dict[str, Any]) -> Iterator[str]:
    run = answer["next_run"]
    if run["at_work"]:
        yield f"process {run['at_work']} holds the lock now: another run would end with exit code 4"
    grounds = run["refused_because"]
    yield {
        "nothing": "would find nothing: no file has landed",
        "nothing new": "would find nothing new",
        "reads": f"would read {counted(run['reads_files'], 'file')} and publish what changes, unless refused",
        "refuses": "would refuse to publish",
        "publishes": f"would publish {run['snapshot_id'] or 'a snapshot as of ' + answer['as_of']}",
        "unknown": "cannot be predicted: see the problems",
    }[run["outcome"]]
    if days := run["builds_days"]:
        between = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield f"would work out {len(days)} day{'s' * (len(days) > 1)}: {between}"
    if grounds and run["outcome"] == "reads":
        yield "as far as has been read it would be refused:"
    yield from (f"  {excerpt(why, 1000)}" for why in grounds)
    if not run["is_current"] and run["outcome"] == "publishes":
        yield "readers would stay on the current snapshot: it is pinned, or of a later as_of"
    if run["outcome"] != "nothing new":
        yield f"  {run['command']}"
    if run["command_to_override"]:
        yield f"  {run['command_to_override']}   to publish all the same"


def print_forget_report(done: ForgetReport) -> None:
    """Print what was forgotten, what changed, and what is left to do."""
    would = "Would redact" if done.is_dry_run else "Redacted"
    records = ", ".join(f"{count:,} {entity}" for entity, count in done.records.items()) or "no record"
    rejected = counted(done.rejected_records, "rejected record")
    click.echo(f"{would} {counted(done.raw_folders, 'raw folder')}: {records}, {rejected}.")
    would = "Would remove" if done.is_dry_run else "Removed"
    click.echo(
        f"{would} {counted(done.lake_files, 'file')} of the lake and {counted(len(done.snapshots), 'snapshot')}."
    )
    for name in done.snapshots:
        click.echo(f"    {name}")
    if not done.is_dry_run:
        _print_changes(done)
    for landed in done.landed_files:
        state = "emptied" if landed.is_emptied else f"left as they are{f': {landed.problem}' if landed.problem else ''}"
        click.echo(printable(f"Landed: {landed.file} held {landed.records:,} of their records, {state}"))
    if any(not landed.is_emptied for landed in done.landed_files):
        click.echo("    Landed files are the platform's: have it remove them, or give the command with --landing-too.")
    if done.public_files:
        click.echo(f"{done.public_files:,} files hold the id as a creator's or a guest's, which is public and stays.")
    for left in done.remaining:
        click.echo(printable(f"STILL HOLDS THE ID: {left['path']}: {left['why']}"))
    if done.is_forgotten:
        click.echo("Forgotten: no file under home holds the id." + (" It had been before." * done.was_forgotten))
    elif not done.is_dry_run:
        click.echo("Not yet forgotten. Put right what is named above and give the same command again.")


def _print_changes(done: ForgetReport) -> None:
    if done.snapshot_before is None:
        click.echo("Nothing had been published.")
        return
    changed = counted(len(done.changes), "count")
    click.echo(f"Published: {done.snapshot_before} before, {done.snapshot_after} now; {changed} changed.")
    rows = []
    for change in done.changes[:CHANGES_SHOWN]:
        key = ", ".join(f"{name} {value}" for name, value in change["key"].items())
        rows.append([change["table"], key, change["column"], _shown(change["before"]), _shown(change["after"])])
    if rows:
        print_table(("table", "of", "count", "before", "after"), rows)
    if len(done.changes) > CHANGES_SHOWN:
        click.echo(f"and {len(done.changes) - CHANGES_SHOWN:,} more: --json lists them all")


CHANGES_SHOWN = 40


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
