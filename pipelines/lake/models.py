"""The SQL models: one `select` a file in sql/, each with a header that says what its rows are.

The header is read, not trusted: tests compare it with what the statement really uses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

# A source of this prefix: files of the model named after it, of days before the step's own, or of less of the base.
EARLIER = "earlier_"

# The models in the order of the line: each reads only raw, relations made by plan.py, and models before it.
LINE = (
    "erased_viewers",
    "session_keys",
    "session_repeats",
    "repeated_session_keys",
    "repeated_session_versions",
    "session_versions",
    "sessions",
    "session_outcomes",
    "monthly_outcomes",
    "yearly_outcomes",
    "viewer_days",
    "creator_reach",
    "creator_windows",
    "shown_creator_windows",
    "creators",
    "creator_rankings",
    "live_streams",
    "pledge_versions",
    "base_rejected_pledges",
    "base_pledges",
    "base_stream_funding",
    "base_funded_streams",
    "changed_pledges",
    "pledges",
    "live_stream_funding",
    "shown_stream_funding",
    "funded_streams",
    "follow_versions",
    "base_follows",
    "changed_follows",
    "follows",
    "replay_rental_versions",
    "base_replay_rentals",
    "changed_replay_rentals",
    "replay_rentals",
    "lls_streams",
    "funnel",
    "ranking_totals",
    "day_totals",
    "creator_conflicts",
    "live_stream_conflicts",
    "lls_stream_conflicts",
    "pledge_conflicts",
    "follow_conflicts",
    "replay_rental_conflicts",
    "version_conflicts",
    "rejected_pledges",
)


@dataclass(frozen=True)
class Model:
    """One SQL file: its statement and what its header says of it."""

    name: str
    statement: str  # as written, comments and all
    purpose: str
    grain: str
    keys: tuple[str, ...]  # what tells rows apart; also the order in which they are stored
    sources: tuple[str, ...]
    params: tuple[str, ...]
    columns: dict[str, str]  # what each column of the result means, in the order of the final select
    is_stored: bool = True  # or made again for the models that read it
    is_batched: bool = False  # whether several days may share a statement: each row meets rows of its own day alone
    has_reach: bool = False  # or those of days that the statement itself names by theirs, so that all else is left out
    is_keyed_by_raw: bool = False  # or by its sources, which must then be found before it is
    is_sliced: bool = False  # whether rows meet those of the same value of its first key alone, which all sources have

    @cached_property
    def canonical(self) -> str:
        """The statement without comments and spacing: what a derived file is named by."""
        return without_comments(self.statement)

    def digest(self, params: Mapping[str, object]) -> hashlib._Hash:
        """The sha256 of what a step with these parameters is keyed by, to which its key adds the step's inputs."""
        given = tuple(params.items())
        if given not in self._digests:  # a night asks for thousands of files of the same few statements
            digest = hashlib.sha256()
            for made in (self, *(self.lineage if self.is_keyed_by_raw else self.ephemeral)):
                digest.update(f"{made.canonical}\norder by {', '.join(made.keys)}".encode())
                for param in params if made.is_keyed_by_raw else made.params:
                    digest.update(f"\n{param}={params.get(param)!r}".encode())
            self._digests[given] = digest
        return self._digests[given].copy()

    @cached_property
    def _digests(self) -> dict[tuple[tuple[str, object], ...], hashlib._Hash]:
        return {}

    def mentions(self, column: str) -> bool:
        """Whether the statement may read a column of that name."""
        return re.search(rf"\b{re.escape(column)}\b", self.canonical) is not None

    @cached_property
    def ephemeral(self) -> tuple[Model, ...]:
        """The models that must be made for this one, since they are not stored."""
        return tuple(model(source) for source in self.sources if source in LINE and not model(source).is_stored)

    @cached_property
    def lineage(self) -> tuple[Model, ...]:
        """The models between raw and this one, in the order of the line."""
        names = {source.removeprefix(EARLIER) for source in self.sources} & set(LINE) - {self.name}
        below = {each.name for name in names for each in model(name).lineage}
        return tuple(model(name) for name in LINE if name in names | below)

    @cached_property
    def leaf_sources(self) -> tuple[str, ...]:
        """The sources that are files or relations: its own, and those of what is made for it."""
        made = {each.name: each.sources for each in self.ephemeral}
        names = [name for source in self.sources for name in made.get(source, (source,))]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Check:
    """A check of a model: a query for offending rows, which passes without any."""

    model: str
    number: int  # of those of its model, from 1
    title: str
    fails: bool  # a failing check refuses the publish; the others warn
    statement: str

    @property
    def name(self) -> str:
        """The name of the check as a model of its offenders."""
        return f"{self.model}.check-{self.number}"

    def as_model(self) -> Model:
        """The offenders as rows, in any order that is always the same."""
        grain, keys = "one row per offender", ("all",)
        return Model(self.name, self.statement, self.title, grain, keys, self.sources, (), {}, is_batched=True)

    @property
    def sources(self) -> tuple[str, ...]:
        """The models that the query reads, each once: the one that it guards, and others that it compares it with."""
        return tuple(dict.fromkeys(name for name in _READ.findall(without_comments(self.statement)) if name in LINE))


def sql_folder() -> Path:
    """Where the SQL files are: beside the package in a checkout, inside it when installed as a wheel."""
    beside = Path(__file__).resolve().parents[2] / "sql"
    return beside if beside.is_dir() else Path(str(files("pipelines") / "sql"))


def sql_file(name: str) -> Path | None:
    """The file of a model, or of the checks beside one; None where there is none.

    Its folder is for readers alone: no model, table or derived file is named after it.
    """
    return next(sql_folder().glob(f"*/{name}.sql"), None)


@cache
def model(name: str) -> Model:
    """The model of that name, or that of a check's offenders. Raises LookupError, naming the known ones."""
    guarded, is_check, number = name.partition(".check-")
    if is_check:
        return checks(guarded)[int(number) - 1].as_model()
    if name not in LINE:
        raise LookupError(f"There is no model {name!r}. Models are: {', '.join(LINE)}.")
    path = sql_file(name)
    if path is None:
        raise FileNotFoundError(f"{sql_folder()} has no file {name}.sql in any of its folders. Install it again.")
    return parse(name, path.read_text(encoding="utf-8"))


@cache
def checks(name: str) -> tuple[Check, ...]:
    """The checks that stand beside a model, in `<model>.checks.sql`; none where there is no such file."""
    path = sql_file(f"{name}.checks")
    if path is None:
        return ()
    return tuple(
        Check(name, number, match["title"].strip(), match["severity"] == "fail", match["statement"].strip())
        for number, match in enumerate(_CHECK.finditer(path.read_text(encoding="utf-8")), 1)
    )


def parse(name: str, statement: str) -> Model:
    """A model from its file's text. Raises ValueError when a line of the header is missing."""
    header = statement[: len(statement) - len(_HEADER.sub("", statement, count=1))]
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(header):  # a field that is too long for a line stands on several
        fields[match["field"]] = ", ".join(filter(None, (fields.get(match["field"]), match["value"].strip())))
    missing = {"grain", "keys", "sources", "params"} - set(fields)
    if missing:
        raise ValueError(f"{name}.sql has no line `-- {min(missing)}:` in its header")
    purpose = " ".join(line.removeprefix("--").strip() for line in _FIELD.split(header, maxsplit=1)[0].splitlines())
    return Model(
        name=name,
        statement=statement,
        purpose=purpose.strip(),
        grain=fields["grain"],
        keys=_names(fields["keys"]),
        sources=_names(fields["sources"]),
        params=_names(fields["params"]),
        is_stored=not fields.get("stored", "yes").startswith("no"),
        is_batched=fields.get("batched", "no").startswith("yes"),
        has_reach=fields.get("batched", "no").startswith("yes, by its reach"),
        is_keyed_by_raw=fields.get("keyed", "").startswith("by raw"),
        is_sliced=fields.get("sliced", "no").startswith("yes"),
        columns={match["name"]: match["comment"].strip() for match in _COLUMN.finditer(_final_select(statement))},
    )


def without_comments(statement: str) -> str:
    """A statement with comments dropped and runs of white space folded, strings left alone."""
    kept = _TOKEN.sub(lambda match: match[0] if match[0].startswith("'") else " ", statement)
    return kept.strip()


def _names(text: str) -> tuple[str, ...]:
    """The names in `a (remark), b`; none in `none`."""
    bare = re.sub(r"\([^)]*\)", "", text)
    found = tuple(part.strip() for part in bare.split(",") if part.strip())
    return () if found == ("none",) else found


def _final_select(statement: str) -> str:
    """The part from the last `select` that begins a line: the contract of the model (its first part in a union)."""
    starts = [match.start() for match in re.finditer(r"^select\b", statement, re.MULTILINE)]
    first = starts[0] if "\nunion all\n" in statement else starts[-1]
    return statement[first:]


_HEADER = re.compile(r"\A(?:--[^\n]*\n)+")
_FIELD = re.compile(
    r"^-- (?P<field>grain|keys|stored|batched|sliced|keyed|sources|params):(?P<value>.*)$", re.MULTILINE
)
_COLUMN = re.compile(r"(?P<name>\w+),?\s*-- (?P<comment>[^\n]+)$", re.MULTILINE)
_TOKEN = re.compile(r"'(?:[^']|'')*'|(?:--[^\n]*|\s)+")  # a string, or a run of comments and white space
_READ = re.compile(r"\b(?:from|join)\s+(\w+)")
_CHECK = re.compile(
    r"^-- check: (?P<title>.+?)\s+severity: (?P<severity>fail|warn)\s*\n(?P<statement>.*?)(?=^-- check: |\Z)",
    re.MULTILINE | re.DOTALL,
)
