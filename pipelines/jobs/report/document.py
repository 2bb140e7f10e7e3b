"""The content of a report, in reading order: the facts of a run as sections made of a few kinds of blocks.

HTML and Markdown are two templates over the same sections, so that no reader of one misses what the other says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from pipelines.core.text import counted

SHOWN = 20  # rows of one kind; the JSON holds all
LEAST_SHARE_SHOWN = 0.005  # of a run, for a step to have a bar of its own


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str
    kind: ClassVar = "text"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]
    kind: ClassVar = "bullets"


@dataclass(frozen=True)
class Table:
    """Rows of cells; numbers stand to the right, None is a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    kind: ClassVar = "table"

    @property
    def heads(self) -> list[tuple[str, str]]:
        """The name of each column and its class: number, shape, or none."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.columns)
        return [
            (name, "number" if _is_numeric(cells) else "shape" if name.startswith("shape") else "")
            for name, cells in zip(self.columns, columns, strict=True)
        ]


@dataclass(frozen=True)
class Bar:
    """One step of a run."""

    group: str
    label: str
    after_seconds: float
    seconds: float


@dataclass(frozen=True)
class Bars:
    """A bar chart of the steps of a run: when each began and how long it took."""

    bars: Sequence[Bar]
    total_seconds: float
    kind: ClassVar = "bars"

    @property
    def groups(self) -> Iterator[tuple[str, list[Bar]]]:
        """The bars of each stage."""
        return ((name, list(bars)) for name, bars in groupby(self.bars, key=lambda bar: bar.group))


Block = Text | Bullets | Table | Bars


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    outcome: str  # published, unchanged, refused or failed
    lead: str  # one sentence
    figures: Sequence[tuple[str, str]]  # the few numbers that are looked at first: what, how many
    sections: Sequence[Section]


def document(facts: dict[str, Any]) -> Document:
    """The report of a run, from the documented object of `mostwatched report --json`."""
    sections = (
        Section("Why it was not published", list(_why(facts))),
        Section("Worth a look", list(_worth_a_look(facts))),
        Section("The funnel: what became of the sessions", list(_funnel(facts))),
        Section("Rejected lines", list(_rejected(facts))),
        Section("Unknown fields", list(_unknown(facts))),
        Section("Late and missing days", list(_revised_days(facts))),
        Section("Changes since the previous snapshot", list(_change(facts))),
        Section("Checks", [*_checks(facts), *_last_audit(facts)]),
        Section("Durations", list(_durations(facts))),
        Section("Landed files", list(_landed(facts))),
        Section("Versions and policy", list(_made_with(facts))),
    )
    return Document(
        title=f"Nightly run as of {facts['as_of']}",
        outcome=facts["outcome"],
        lead=_lead(facts),
        figures=list(_figures(facts)),
        sections=[section for section in sections if section.blocks],
    )


def _is_numeric(cells: Sequence[Any]) -> bool:
    """Whether a column is of numbers, shares or differences, which stand to the right."""
    said = [cell for cell in cells if cell is not None]
    return bool(said) and all(isinstance(cell, int) or _NUMBER.fullmatch(cell) for cell in said)


_NUMBER = re.compile(r"[+-]?[\d,.]+%?")


def seconds(number: float) -> str:
    """Format a length of time for people: 2.50 s, 3 min 5 s, 1 h 2 min."""
    if number < 60:
        return f"{number:.2f} s" if number < 10 else f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _lead(facts: dict[str, Any]) -> str:
    snapshot = facts["snapshot_id"]
    stays = "" if facts["is_current"] in (True, None) else " Readers stay on a later or pinned one."
    return {
        "published": f"Snapshot {snapshot} was published.{stays}",
        "unchanged": f"Nothing that is published has changed: {snapshot} had been published before.{stays}",
        "refused": "Nothing was published: it could have misled. The last snapshot stays current.",
        "failed": "The run failed. The last snapshot stays current.",
    }[facts["outcome"]]


def _figures(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    landed, change, funnel = facts["landed"], facts["change"], facts["funnel"]
    if landed:
        yield "new records", f"{landed['new_records']:,}"
        yield "of them rejected", f"{landed['new_rejected']:,}"
    if funnel:
        yield "sessions ranked", f"{funnel['ranked']:,}"
    if change:
        creators = next(row for row in change["totals"] if row["what"] == "creators")
        yield "creators ranked", f"{creators['after']:,}"
    yield "worth a look", f"{len(facts['anomalies']):,}"
    yield "days late or missing", f"{len(facts['late']) + len(facts['missing_days']):,}"
    yield "duration", seconds(facts["seconds"])


def _why(facts: dict[str, Any]) -> Iterator[Block]:
    if facts["grounds"]:
        yield Bullets(facts["grounds"])
    elif facts["why"]:
        yield Text(facts["why"])


def _worth_a_look(facts: dict[str, Any]) -> Iterator[Block]:
    found = [one["sentence"] + "." for one in (*facts["anomalies"], *facts.get("similar_ids", ()))]
    found += [*facts["warnings"], *facts["problems"]]
    if found:
        yield Bullets([*found[:SHOWN], *_more(found)])
    elif facts["snapshot_id"]:
        yield Text("Nothing: no creator's reach and no day stands far outside its history.")


def _funnel(facts: dict[str, Any]) -> Iterator[Block]:
    funnel = facts["funnel"]
    if not funnel:
        return
    accepted = funnel["accepted"]
    yield Text(f"{accepted:,} accepted sessions of the whole lake are ranked or left out, each for one reason.")
    rows = [
        (name.replace("_", " "), count, f"{count / accepted:.1%}" if accepted else None)
        for name, count in funnel.items()
        if count and name not in ("accepted", "conflicts")
    ]
    yield Table(("outcome", "sessions", "share"), rows)
    if funnel["conflicts"]:
        yield Text(f"{funnel['conflicts']:,} of those superseded lost to another version of the same revision.")


def _rejected(facts: dict[str, Any]) -> Iterator[Block]:
    for sentence in conflicting(facts.get("lost", [])):
        yield Text(sentence)
    rows = facts["rejected"]
    if not rows:
        if facts["landed"]:
            yield Text("None.")
        return
    yield Table(
        ("entity", "reason", "this run", "in all"),
        [(row["entity"], row["reason"], row["new_records"], row["records"]) for row in rows[:SHOWN]],
    )
    samples = [(row["reason"], sample) for row in rows[:SHOWN] for sample in row["samples"]]
    if samples:
        yield Text(
            "What such lines look like, letters shown as x and digits as 9. `mostwatched rejects` shows the lines "
            "themselves."
        )
        shown = [
            (f"{sample['file']} line {sample['line']:,}", sample["field"], reason, sample["shape"])
            for reason, sample in samples
        ]
        yield Table(("where", "field", "reason", "shape of the line"), shown)
    if len(rows) > SHOWN:
        yield Text(f"And {len(rows) - SHOWN:,} more reasons.")


def _unknown(facts: dict[str, Any]) -> Iterator[Block]:
    rows = facts.get("unknown_fields", [])
    if rows:
        yield Text("New records have fields that the contract does not know, and that are not read:")
        shown = [(row["entity"], row["field"], row["records"], row["resembles"]) for row in rows[:SHOWN]]
        yield Table(("entity", "field", "records", "resembles"), shown)
        if len(rows) > SHOWN:
            yield Text(f"And {len(rows) - SHOWN:,} more.")


def conflicting(lost: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each entity of which records were put aside as conflicting versions."""
    for counts in lost:
        if records := counts["conflicting"]:
            yield (
                f"{counted(records, 'record')} of {counts['entity']} put aside: another has the same id and version, "
                "and nothing but its content says which of them is right."
            )


def _revised_days(facts: dict[str, Any]) -> Iterator[Block]:
    if facts["late"]:
        yield Text("Revised days, which the previous snapshot held with other figures:")
        rows = [(row["day"], row["sessions_before"], row["sessions"]) for row in facts["late"][:SHOWN]]
        yield Table(("day", "sessions before", "sessions now"), rows)
    if facts["missing_days"]:
        yield Text("Missing: the sessions of " + ", ".join(facts["missing_days"]) + ".")
    if not facts["late"] and not facts["missing_days"] and facts["snapshot_id"]:
        yield Text("None.")


def _change(facts: dict[str, Any]) -> Iterator[Block]:
    change = facts["change"]
    if not change:
        if facts["snapshot_id"]:
            yield Text("There is no previous snapshot.")
        return
    moved = ", ".join(f"{change[name]:,} {name}" for name in ("entered", "left", "rose", "fell", "stayed"))
    yield Text(
        f"Compared with {change['snapshot_id']}, the last {change['window_days']} days of each: {moved}; "
        f"{change['landed_since']:,} more landed files."
    )
    for name in change["policy"]:
        yield Text(f"The policy differs: {name}.")
    if len(set(change["code_versions"])) > 1:
        yield Text("The code differs: {} was {}.".format(*reversed(change["code_versions"])))
    totals = [
        (row["what"].replace("_", " "), row["before"], row["after"], f"{row['after'] - row['before']:+,}")
        for row in change["totals"]
    ]
    yield Table(("in all", "before", "now", "change"), totals)
    if change["movers"]:
        yield Text("The largest differences in viewers; `mostwatched snapshots diff` says why:")
        rows = [
            (
                row["creator_id"],
                row["rank_before"],
                row["rank_after"],
                row["viewers_before"],
                row["viewers_after"],
                f"{(row['viewers_after'] or 0) - (row['viewers_before'] or 0):+,}",
            )
            for row in change["movers"]
        ]
        yield Table(("creator", "rank before", "rank", "viewers before", "viewers", "change"), rows)


def _checks(facts: dict[str, Any]) -> Iterator[Block]:
    checks = facts["checks"]
    if not checks:
        return
    wrong = [check for check in checks if check["offenders"]]
    yield Text(f"{len(checks) - len(wrong):,} of {len(checks):,} checks of the published tables hold.")
    shown = [
        (check["table"], check["check"], check["severity"], check["offenders"])
        for check in sorted(checks, key=lambda check: -check["offenders"])
    ]
    yield Table(("table", "check", "if not", "offenders"), shown)


def _last_audit(facts: dict[str, Any]) -> Iterator[Block]:
    audit = facts.get("last_audit")
    if audit is None:
        return
    passed = f"An audit last passed at {audit['passed_at']}, of {audit['passed_snapshot_id']}."
    yield Text(passed if audit["passed_at"] else "No audit has passed yet.")
    if audit["outcome"] != "passed":
        yield Text(f"The last one, at {audit['ended_at']}, did not pass: {audit['why']}")


def _durations(facts: dict[str, Any]) -> Iterator[Block]:
    total = facts["seconds"]
    kept = [row for row in facts["durations"] if row["seconds"] >= LEAST_SHARE_SHOWN * total]
    bars = [Bar(row["stage"], row["step"], row["after_seconds"], row["seconds"]) for row in kept]
    if bars:
        yield Bars(bars, total)
        rest = sum(row["seconds"] for row in facts["durations"]) - sum(bar.seconds for bar in bars)
        more = len(facts["durations"]) - len(bars)
        if more:
            yield Text(f"{more:,} shorter steps took {seconds(rest)} together.")


def _landed(facts: dict[str, Any]) -> Iterator[Block]:
    landed = facts["landed"]
    if not landed:
        return
    yield Text(
        f"{landed['files']:,} landed files, {landed['new_files']:,} of them new, with {landed['new_records']:,} "
        f"records: {landed['new_accepted']:,} accepted and {landed['new_rejected']:,} rejected."
    )
    if facts["records"]:
        lake = facts["records"]
        yield Text(
            f"The lake: {lake['records']:,} records = {lake['accepted']:,} accepted + {lake['rejected']:,} rejected."
        )
    for what, name in (
        ("Postponed to the next run", "postponed"),
        ("Unreadable", "unreadable"),
        ("Ignored", "ignored"),
    ):
        rows = landed.get(name, [])
        if rows:
            yield Text(f"{what}:")
            yield Bullets([*(f"{row['file']}: {row['reason']}" for row in rows[:SHOWN]), *_more(rows)])


def _made_with(facts: dict[str, Any]) -> Iterator[Block]:
    ended = facts["ended_at"] or "(at work when this was written)"
    yield Text(
        f"Code {facts['code_version']}, from {facts['started_at']} to {ended}; the newest session that counts: "
        f"{facts['newest_session_at'] or 'unknown'}."
    )
    yield Table(("policy", "value"), [(name, str(value)) for name, value in facts["policy"].items()])


def _more(rows: Sequence[Any]) -> list[str]:
    return [f"and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else []
