"""The lake's one rule: a file is a pure function of its inputs, and is named by them.

    key = sha256(the model's SQL without comments + the parameters it declares + the row digests of its inputs)

`Lake.derive` returns the file of that key, building it if it is not there. Idempotent reruns, crash recovery, late
data, corrections, backfills and a changed query are all the same thing: a key changed, so that file, and what
depends on its rows, is built again and nothing else. There is no other state to repair.

An input counts by the digest of its rows, not by how they came about: a rebuilt file with the same rows stops the
rebuild there. What is keyed by raw (the sums of old months) names raw itself and the SQL of every model on the way, so
that the models on the way need not be looked for.

The rows of a file depend on its own step and on nothing else: not on what else was missing, nor on the engine. Days
share a statement only where a model says that it may: since its rows meet those of their own day alone, and each step
reads files of its own day alone; or since the statement itself says, by their days, which rows meet. All else (the gaps
of the cube, the versions of a session on several days) is one statement a step, which sees the inputs of that step and
no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from pipelines.core import durable_files
from pipelines.core.errors import Damaged, is_file_damage
from pipelines.core.progress import Progress, no_progress
from pipelines.core.row_digest import row_digest, row_digests
from pipelines.lake import models
from pipelines.lake.engines import Engine, EphemeralModel, Relation
from pipelines.landing.schema import RAW_SCHEMAS
from pipelines.raw.raw_file import RUN_AGAIN

# A batch of days is one statement. Its target rows are held at once by the engine, at some 500 bytes each for the
# widest model; four million of them stay inside the default memory limit of 2 GB without spilling.
BATCH_ROWS = 4_000_000
_SPREAD_BYTES = 256 << 20  # what is less to read is read here sooner than it is given away
_VERIFIERS = 2  # sha256 runs outside the interpreter lock: one thread a core of a small machine


@dataclass(frozen=True)
class Stored:
    """One file of the lake that exists: rows of one model (or of raw), for one day or for all."""

    model: str
    day: date | None
    key: str
    location: str  # of the file
    rows: int
    sha256: str  # of the file
    digest: str  # of the rows
    step: Step | None = field(default=None, compare=False, repr=False)  # how to make it again; None: raw
    landed_digests: tuple[str, ...] = ()  # of a file of raw in which several landed files have rows: of each one's

    @cached_property
    def path(self) -> Path:
        """The file. A Path is made when one is asked for: most of a long history is known and never opened."""
        return Path(self.location)

    @property
    def is_there(self) -> bool:
        """False only for what a `dry_run` did not find."""
        return self.digest != ""


@dataclass(frozen=True)
class Step:
    """One file to derive: a model, a day (or None for all), and all that decides its rows."""

    day: date | None
    inputs: Mapping[str, Sequence[Stored]]
    relations: Mapping[str, pa.Table] = field(default_factory=dict)  # small tables made by us: days, windows
    params: Mapping[str, object] = field(default_factory=dict)
    weight: int = 0  # rows of the day itself, to size batches by
    # What the statement reads, where the model is keyed by raw: worked out of `inputs`, once it must be built.
    sources: Callable[[], Mapping[str, Sequence[Stored]]] | None = None

    @property
    def is_single_day(self) -> bool:
        """Whether every input is of the day itself, or of no day."""
        return all(stored.day in (self.day, None) for files in self.inputs.values() for stored in files)


class RawDamaged(Damaged):
    """A raw file is not what was parsed: it must be parsed again from what landed."""

    def __init__(self, stored: Stored, problem: str) -> None:
        """`stored` is the damaged file."""
        super().__init__(f"{problem} {RUN_AGAIN}")
        self.stored = stored


class Lake:
    """Derived files under one folder, and the engine that builds them."""

    def __init__(self, folder: Path, engine: Callable[[], Engine], progress: Progress = no_progress) -> None:
        """`engine` is called when something must be built for the first time: a night without news needs none."""
        self.folder = folder
        self._start_engine = engine
        self._engine: Engine | None = None
        self._progress = progress
        self._checked: set[Path] = set()
        self._known: dict[str, Stored] = {}  # by location
        self._only_finding = self.asks_for_parts = False
        self.built: dict[str, int] = {}  # files built by this run, by model
        self.touched: set[str] = set()  # where every derived file is that was asked for and is there

    def close(self) -> None:
        """End the engine, if one was started."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def derive(self, model: str, steps: Sequence[Step]) -> dict[date | None, Stored]:
        """Return the files of `model` for every step, by day: found, or built.

        Deriving any steps in any grouping gives what deriving each alone gives: see `_batches`.
        """
        return self.derive_together({model: steps})[model]

    def derive_together(self, wanted: Mapping[str, Sequence[Step]]) -> dict[str, dict[date | None, Stored]]:
        """The files of several models, by model and day.

        Models that read the same ephemeral one are built together, batch by batch, so that it is made once for all.
        """
        found: dict[str, dict[date | None, Stored]] = {model: {} for model in wanted}
        missing: dict[date | None, dict[str, tuple[Step, str]]] = {}
        digests = _digests(
            relation for steps in wanted.values() for step in steps for relation in step.relations.values()
        )

        for model, steps in wanted.items():
            for step in steps:
                inputs = [stored for files in step.inputs.values() for stored in files]
                if step.inputs and not any(stored.rows or not stored.is_there for stored in inputs):
                    found[model][step.day] = self.empty(model)
                    continue
                key = key_of(models.model(model), step, lambda relation: digests[id(relation)])
                # safeguard: nothing-is-found-by-what-is-missing
                stored = None if any(map(_is_missing, inputs)) else self._find(model, step, key)
                if stored is not None:
                    found[model][step.day] = stored
                elif self._only_finding:
                    found[model][step.day] = _missing(model, step, key, self._path(model, step.day, key))
                else:
                    missing.setdefault(step.day, {})[model] = (step, key)
        self._build_missing(list(missing.values()), found)
        self.touched.update(stored.location for files in found.values() for stored in files.values())
        return found

    def _build_missing(
        self,
        missing: Sequence[Mapping[str, tuple[Step, str]]],
        found: Mapping[str, dict[date | None, Stored]],
    ) -> None:
        """Build what is missing of each day, batch by batch, and add it to what was found."""
        done = 0
        for batch in _batches(missing):
            steps = [step for day in batch for step, _ in day.values()]
            ephemeral = self._ephemeral(steps, readers=list(dict.fromkeys(name for day in batch for name in day)))
            for name in found:
                if of_this_model := [day[name] for day in batch if name in day]:
                    self._progress(name, done, len(missing))
                    found[name].update(self._build(name, of_this_model, ephemeral))
            done += len(batch)
        if missing:
            self._progress(" and ".join(found), done, len(missing))

    def derive_one(
        self,
        model: str,
        inputs: Mapping[str, Sequence[Stored]],
        *,
        relations: Mapping[str, pa.Table] | None = None,
        params: Mapping[str, object] | None = None,
        sources: Callable[[], Mapping[str, Sequence[Stored]]] | None = None,
    ) -> Stored:
        """The one file of a model that is not kept by day."""
        return self.derive(model, [Step(None, inputs, relations or {}, params or {}, sources=sources)])[None]

    @contextmanager
    def dry_run(self, also_parts: bool = False) -> Iterator[set[str]]:
        """Build nothing inside: a file that is not there counts as without rows. Yields where the files asked for are.

        With `also_parts` those too that sums are made of: they are kept, so that little must be built for a late file.
        """
        self._only_finding, self.asks_for_parts, self.touched = True, also_parts, set()
        try:
            yield self.touched
        finally:
            self._only_finding = self.asks_for_parts = False

    def derived_files(self) -> Iterator[Path]:
        """Every file of the lake that was derived, and its sidecar: all but raw and the cache of landed files."""
        for folder in self.folder.iterdir() if self.folder.exists() else ():
            if folder.is_dir() and folder.name != "raw":
                yield from (path for path in folder.rglob("*") if path.is_file())

    def remove_empty_folders(self) -> None:
        """Tidy up after files were removed."""
        for folder in [*self.folder.glob("*/day=*"), *self.folder.glob("[!.]*")]:
            if folder.is_dir() and folder.name != "raw" and not any(folder.iterdir()):
                folder.rmdir()

    def table(self, stored: Stored) -> pa.Table:
        """The rows of a small file: of the very bytes that were checked."""
        stored = self._known.get(stored.location, stored)  # mended since, it may be written in other bytes
        try:
            rows = durable_files.checked_table(stored.path, stored.sha256)
        except Damaged as error:
            stored = self._repair(stored, str(error))
            rows = durable_files.checked_table(stored.path, stored.sha256)
        self._checked.add(stored.path)
        return rows

    def checked(self, files: Iterable[Stored]) -> list[Stored]:
        """Return the files, each verified against its sha256 before its first use in this run.

        A damaged file is removed and derived again. Raises RawDamaged for a raw one.
        """
        files = list(files)
        # safeguard: derived-file-verified-before-use
        unchecked = [stored for stored in files if stored.path not in self._checked]
        problems = dict(
            zip(unchecked, self._problems([(stored.path, stored.sha256) for stored in unchecked]), strict=True)
        )
        self._checked.update(stored.path for stored, problem in problems.items() if problem is None)
        return [self._repair(stored, problem) if (problem := problems.get(stored)) else stored for stored in files]

    def _problems(self, files: Sequence[tuple[Path, str]]) -> list[str | None]:
        """Return what is wrong with each file (path, sha256), if anything. The engine's workers share large reads."""
        if self._engine is not None and sum(path.stat().st_size for path, _ in files if path.exists()) > _SPREAD_BYTES:
            for path, _ in files:
                durable_files.fetched(path)  # whoever reads it elsewhere cannot fetch it
            return self._engine.map_tasks(_problem, files)
        with ThreadPoolExecutor(_VERIFIERS) as pool:
            return list(pool.map(_problem, files))

    def _repair(self, stored: Stored, problem: str) -> Stored:
        if stored.step is None:
            raise RawDamaged(stored, problem)
        if self._only_finding:
            raise Damaged(f"{problem} The next run builds it again.")
        _sidecar(stored.path).unlink(missing_ok=True)
        stored.path.unlink(missing_ok=True)
        self._known.pop(stored.location, None)
        rebuilt = self._build(stored.model, [(stored.step, stored.key)])[stored.day]
        if rebuilt.digest != stored.digest:  # safeguard: rebuilt-file-has-the-same-rows
            raise Damaged(f"{problem} Built again it has other rows. Run again, and report this if it comes back.")
        return rebuilt

    def empty(self, model: str) -> Stored:
        """The rows of a model over nothing: none. One file serves every day on which nothing landed."""
        step = Step(None, {})
        key = key_of(models.model(model), step)
        stored = self._find(model, step, key)
        if stored is None and self._only_finding:
            stored = _missing(model, step, key, self._path(model, None, key))
        stored = stored or self._build(model, [(step, key)])[None]
        self.touched.add(stored.location)
        return stored

    def existing(self, model: str, step: Step) -> Stored | None:
        """The file of a step, if it is there."""
        return self._find(model, step, key_of(models.model(model), step))

    def _find(self, model: str, step: Step, key: str) -> Stored | None:
        location = self._location(model, step.day, key)
        if location in self._known:
            return self._known[location]
        try:
            with open(f"{location.removesuffix('.parquet')}.json", "rb") as sidecar:  # noqa: PTH123 (of thousands)
                facts = durable_files.verify_checksum(sidecar.read())
            stored = Stored(
                model, step.day, facts["key"], location, facts["rows"], facts["sha256"], facts["digest"], step
            )
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, OSError) and not is_file_damage(error):
                raise  # it may exist: `prune` would remove it
            return None  # a file without its sidecar does not exist
        if stored.key != key or not durable_files.exists(location):
            return None  # nor does one that is another's, file and sidecar
        self._known[location] = stored
        return stored

    def _build(
        self, name: str, batch: Sequence[tuple[Step, str]], ephemeral: Mapping[str, EphemeralModel] | None = None
    ) -> dict[date | None, Stored]:
        """Run one statement for all steps of a batch and keep a file for each."""
        model = models.model(name)
        steps = [step for step, _ in batch]
        if ephemeral is None:
            ephemeral = self._ephemeral(steps, readers=[name])
        if self._engine is None:
            self._engine = self._start_engine()
        targets = {step.day: self._path(name, step.day, key) for step, key in batch}
        temporary = {day: durable_files.temporary_beside(path) for day, path in targets.items()}
        try:
            sources = {**self._sources(model, steps), **{made.name: ephemeral[made.name] for made in model.ephemeral}}
            digests = self._engine.write(model, sources, _params(model, steps), temporary)
            for step, key in batch:
                final = targets[step.day]
                rows, digest = digests[step.day].rows, digests[step.day].hexdigest()
                sha256 = durable_files.sha256_of(temporary[step.day])
                durable_files.fsync(temporary[step.day])  # safeguard: derived-file-fsynced
                temporary[step.day].rename(final)
                # Written last: with its sidecar the file exists. The folder is fsynced with it.
                facts = {"key": key, "rows": rows, "sha256": sha256, "digest": digest}
                durable_files.write_json(_sidecar(final), durable_files.with_checksum(facts))
                self._known[str(final)] = Stored(name, step.day, key, str(final), rows, sha256, digest, step)
                self._checked.add(final)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
        days = sum(bool(step.inputs) for step in steps)  # without what stands in for nothing
        if days and name in models.LINE:
            self.built[name] = self.built.get(name, 0) + days
        return {day: self._known[str(path)] for day, path in targets.items()}

    def _ephemeral(self, steps: Sequence[Step], readers: Sequence[str]) -> dict[str, EphemeralModel]:
        """The models that are made for their readers in a batch of steps, by name."""
        reading = [models.model(name) for name in readers]
        made = {model.name: model for reader in reading for model in reader.ephemeral}
        return {
            name: EphemeralModel(
                model,
                self._sources(model, steps),
                _params(model, steps),
                [column for column in model.columns if any(reader.mentions(column) for reader in reading)],
            )
            for name, model in made.items()
        }

    def _sources(self, model: models.Model, steps: Sequence[Step]) -> dict[str, Relation]:
        """What each source of a model is for a batch of steps: all files and rows that any of them reads."""
        read = [step.inputs if step.sources is None else step.sources() for step in steps]
        sources: dict[str, Relation] = {}
        for source in model.sources:
            if source not in model.leaf_sources:  # it is made for the model, of other sources
                continue
            tables = [step.relations[source] for step in steps if source in step.relations]
            if tables or source in RELATIONS:
                sources[source] = _distinct(tables, RELATIONS[source])
                continue
            files = {stored.path: stored for inputs in read for stored in inputs.get(source, ()) if stored.rows}
            if files:
                sources[source] = [stored.path for stored in self.checked(files.values())]
            elif source.startswith("raw_"):
                sources[source] = RAW_SCHEMAS[source.removeprefix("raw_")].empty_table()
            elif source == models.EARLIER + model.name:
                sources[source] = versions_schema(model).empty_table()
            else:
                sources[source] = [self.checked([self.empty(source.removeprefix(models.EARLIER))])[0].path]
        return sources

    def _path(self, model: str, day: date | None, key: str) -> Path:
        return Path(self._location(model, day, key))

    def _location(self, model: str, day: date | None, key: str) -> str:
        folder = f"{self.folder}/{model}"
        return f"{folder}/{key}.parquet" if day is None else f"{folder}/day={day}/{key}.parquet"


# The relations that plan.py makes itself, and their columns.
RELATIONS = {
    "days": pa.schema([("day", pa.date32())]),
    # which days of the policy a session can occupy that starts on a UTC day: calendar_days.DayReached
    "calendar": pa.schema(
        [
            *(("utc_day", pa.date32()), ("day", pa.date32()), ("starts_at", pa.int64()), ("ends_at", pa.int64())),
            *(("other_day", pa.date32()), ("other_from", pa.int64()), ("other_until", pa.int64())),
        ]
    ),
    "windows": pa.schema(
        [("as_of", pa.date32()), ("window_days", pa.int16()), ("first_day", pa.date32()), ("day", pa.date32())]
    ),
}


def versions_schema(model: models.Model) -> pa.Schema:
    """The columns of a model that is folded from earlier files of its own: those of raw, and numbers of records."""
    raw = next(source for source in model.sources if source.startswith("raw_"))
    schema = RAW_SCHEMAS[raw.removeprefix("raw_")]
    return pa.schema(
        [schema.field(name) if name in schema.names else pa.field(name, pa.int64()) for name in model.columns]
    )


def key_of(model: models.Model, step: Step, digest_of: Callable[[pa.Table], str] = row_digest) -> str:
    """The name of the file that `step` derives: 64 hexadecimal digits. `digest_of` gives the digest of a relation."""
    digest = model.digest(step.params)
    for source in sorted({*step.inputs, *step.relations}) if model.is_keyed_by_raw else model.leaf_sources:
        digest.update(f"\n{source}".encode())
        if source in step.relations:
            digest.update(digest_of(step.relations[source]).encode())
        files = [stored for stored in step.inputs.get(source, ()) if stored.rows]
        # safeguard: key-holds-what-landed-not-what-shares-a-folder
        parts = sorted([each for stored in files for each in stored.landed_digests or (stored.digest,)])
        digest.update("".join(parts).encode())  # safeguard: key-holds-digests-of-inputs
    return digest.hexdigest()


def _digests(relations: Iterable[pa.Table]) -> dict[int, str]:
    """The row_digest of each relation, by its id: those of many days at once, which takes a tenth of the time."""
    by_schema: dict[pa.Schema, dict[int, pa.Table]] = defaultdict(dict)
    for relation in relations:
        by_schema[relation.schema][id(relation)] = relation
    return {
        number: digest
        for tables in by_schema.values()
        for number, digest in zip(
            tables,
            row_digests(pa.concat_tables(tables.values()), [table.num_rows for table in tables.values()]),
            strict=True,
        )
    }


def _batches(
    missing: Sequence[Mapping[str, tuple[Step, str]]],
) -> Iterable[list[Mapping[str, tuple[Step, str]]]]:
    """Days that share a statement, in the given order: as many as fit into memory, of steps that read their own day.

    Or of steps of a model whose statement itself says, by their days, which rows may meet.

    In a statement for several days, the rows of one must not meet those of another that its own step does not read. A
    gap of the cube once looked for earlier visits before the first day of its batch alone, and missed those between.
    """
    batch: list[Mapping[str, tuple[Step, str]]] = []
    weight = 0
    for day in missing:
        weighs = max(step.weight for step, _ in day.values())
        # safeguard: days-that-read-others-are-built-alone
        is_alone = not all(_may_share(models.model(name), step) for name, (step, _) in day.items())
        if batch and (is_alone or weight + weighs > BATCH_ROWS):
            yield batch
            batch, weight = [], 0
        if is_alone:
            yield [day]
            continue
        batch.append(day)
        weight += weighs
    if batch:
        yield batch


def _may_share(model: models.Model, step: Step) -> bool:
    return model.is_batched and (step.is_single_day or model.has_reach)


def _params(model: models.Model, steps: Sequence[Step]) -> dict[str, object]:
    """The parameters of a batch: the same for every step of it."""
    return {param: steps[0].params.get(param, _NOTHING.get(param)) for param in model.params}


# Values for deriving a model over nothing, where no step gives any.
_NOTHING: dict[str, object] = {
    "min_watched_milliseconds": 0,
    "max_session_milliseconds": 0,
    "leave_out_own_views": True,
    "max_window_days": 1,
    "revision_days": 0,
    "as_of_instant": None,
    "first_day": None,
    "end_day": None,
}


def _distinct(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    if not tables:
        return schema.empty_table()
    rows = {tuple(row.values()) for table in tables for row in table.to_pylist()}
    names = schema.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in sorted(rows)], schema=schema)


def _missing(model: str, step: Step, key: str, path: Path) -> Stored:
    return Stored(model, step.day, key, str(path), 0, "", "", step)


def _is_missing(stored: Stored) -> bool:
    """Whether a `dry_run` did not find it and its rows are not known: without them no key of what rests on it is."""
    return not stored.is_there and stored.step is not None and bool(stored.step.inputs)


def _problem(file: tuple[Path, str]) -> str | None:
    try:
        durable_files.verify(*file)
    except Damaged as error:
        return str(error)
    return None


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")
