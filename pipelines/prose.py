"""An explanation and a comparison in words, as `mostwatched explain` and `snapshots diff` print them."""

from __future__ import annotations

import click

from pipelines.comparison import Comparison
from pipelines.explain import Explanation
from pipelines.printing import excerpt, print_table

LEFT_OUT_WORDS = {
    "duplicate": "the same version landed more than once",
    "superseded": "another version of the session is newer",
    "deleted": "retracted (deleted: true)",
    "erased": "of erased users",
    "own_view": "the creator's own views",
    "under_minimum": "shorter than MOSTWATCHED_MIN_WATCHED_SECONDS",
    "too_long": "longer than MOSTWATCHED_MAX_SESSION_HOURS",
    "not_yet": "start after the window",
    "outside_window": "ended before the window",
}


def print_explanation(one: Explanation) -> None:
    """From the landed records to the published figure, a step a line."""
    click.echo(
        f"Creator {excerpt(one.creator_id)}, the days {one.days} (end not included), snapshot {one.snapshot_id}\n"
    )
    _step(one.records, f"accepted session records name the creator, in {one.landed_files:,} landed files")
    for reason, count in one.left_out.items():
        if count:
            moved = f"; {one.moved_away:,} sessions went to another creator" if one.moved_away else ""
            words = LEFT_OUT_WORDS[reason] + (moved if reason == "superseded" else "")
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
        click.echo(f"{one.mentioned_in_rejects:,} rejected records hold this id as well: see `mostwatched rejects`.")
    click.echo(_verdict(one))


def _step(count: int, words: str, sign: str = " ") -> None:
    click.echo(f"{sign} {count:>15,}  {words}" if count >= 0 else f"- {-count:>15,}  {words}")


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
        return f"Not ranked: the creator is {one.status}. Without that the figure would be {one.viewers:,} viewers."
    return "Not ranked: no session in the window."


def print_comparison(one: Comparison, limit: int) -> None:
    """What differs between two snapshots, the best ranks first."""
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
