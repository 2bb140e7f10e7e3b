"""Write the pages that the code knows: docs/reference/, sql/README.md and the analysts' page. `make guide`.

A page is generated whole, or between two comments in a page that is otherwise written by hand. The first line of each
page says which. tests/unit/test_reference.py and tests/e2e/test_analysts.py generate the pages again and compare.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import analysts_guide
import click
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipelines.api import contract as api_contract
from pipelines.api.app import create_app
from pipelines.api.keys import ALGORITHMS
from pipelines.api.tokens import MAX_TOKEN_BYTES
from pipelines.cli import cli
from pipelines.core import errors, settings
from pipelines.jobs import nightly
from pipelines.jobs.audit_run import audit_current
from pipelines.lake import models, plan
from pipelines.lake.derive import Lake
from pipelines.lake.engines.duckdb import DuckDBEngine
from pipelines.landing import json_schema, schema
from pipelines.snapshots import manifest, publish, warehouse

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
SQL_README = models.sql_folder() / "README.md"
SAMPLE_AS_OF = date(2013, 7, 1)
PUBLISHED = {*publish.PUBLIC_TABLES, "creator_reach"}  # for everybody
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"


def main() -> None:
    """Write every page anew."""
    for path, page in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="mostwatched-docs-") as folder:
        home = settings.load(Path(folder) / "home", environ={})
        nightly.run(home, SAMPLE_AS_OF, [ROOT / "data" / "sample"])
        audit_current(home, 1)
        METRICS.write_text(metrics(home), encoding="utf-8")
        answers = analysts_guide.answers(manifest.open_current(home.snapshots).path / "warehouse.duckdb")
    guide = analysts_guide.GUIDE
    guide.write_text(analysts_guide.guide(guide.read_text(encoding="utf-8"), answers), encoding="utf-8")
    analysts_guide.PICTURE.write_text(analysts_guide.picture(answers), encoding="utf-8")


def whole(source: str, rows: Iterator[str]) -> str:
    """A page that nobody edits."""
    return "\n".join([f"<!-- Generated from {source} by scripts/generate_docs.py: run `make guide`. -->", *rows]) + "\n"


def part(text: str, rows: Iterator[str]) -> str:
    """A page with its generated part as it should be. Raises ValueError for a page without the two comments."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no generated part")
    return before + BEGIN + "\n" + "\n".join(rows) + END + after


def cell(text: object) -> str:
    """A text as a cell of a table: on one line, with its bars escaped."""
    return re.sub(r"\|", r"\\|", " ".join(str(text).split()))


def table(header: str, *rows: tuple[object, ...]) -> list[str]:
    """A table; the header is `a | b`."""
    ruler = "|---" * len(header.split(" | ")) + "|"
    return [f"| {header} |", ruler, *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""]


# --- commands and exit codes -----------------------------------------------------------------------------------------


def commands(_: str) -> str:
    """Every command with its options."""
    return whole("the command line's own help", _commands())


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "    mostwatched [--home DIRECTORY] COMMAND [OPTIONS] [ARGUMENTS]"
    yield ""
    yield "`mostwatched COMMAND --help` prints the same. [Exit codes](exit-codes.md) and [the keys that `--json`"
    yield "prints](json.md) have pages of their own. Options of every command, before its name:"
    yield ""
    yield from _options(cli)
    for name in cli.list_commands(click.Context(cli)):
        yield from _command(name, cli.commands[name])


def _command(name: str, command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            yield from _command(f"{name} {inner}", each)
        return
    arguments = [
        each.make_metavar(click.Context(command)) for each in command.params if isinstance(each, click.Argument)
    ]
    yield f"## {name}"
    yield ""
    yield f"    mostwatched {' '.join([name, '[OPTIONS]', *arguments])}"
    yield ""
    yield from inspect.cleandoc(command.help or "").splitlines()
    yield ""
    yield from _options(command)


def _options(command: click.Command) -> list[str]:
    context = click.Context(command)
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    return table("option | what it does", *(_option(each, context) for each in options))


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    assert record is not None
    return f"`{record[0]}`", record[1]


def exit_codes(_: str) -> str:
    """What a command ends with."""
    return whole("pipelines' errors", _exit_codes())


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes"
    yield ""
    yield "Every command ends with one of these. Each error also writes one sentence to stderr, with what to do."
    yield ""
    meanings: dict[int, list[str]] = {0: ["Done."]}
    for kind in _kinds(errors.MostwatchedError):
        meaning = " ".join((kind.__doc__ or "").split()).replace(f" Exit code {kind.exit_code}.", "")
        meanings.setdefault(kind.exit_code, []).append(meaning)
    meanings[1].append("`snapshots verify` found damage, or `audit` a value that differs.")
    meanings[2].append("An unknown command, option or argument.")
    meanings[3].append("[What to do](../how-to/handle-a-refused-run.md).")
    yield from table("code | meaning", *((code, " ".join(said)) for code, said in sorted(meanings.items())))


def _kinds(kind: type[errors.MostwatchedError]) -> Iterator[type[errors.MostwatchedError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from _kinds(each)


# --- settings --------------------------------------------------------------------------------------------------------


def settings_page(text: str) -> str:
    """Names, defaults and which of them are policy; what each means is written by hand in the page and kept.

    Raises KeyError for a setting that the page says nothing of yet.
    """
    said = dict(re.findall(r"^\| (MOSTWATCHED_\w+) \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    policy = {field.name for field in fields(settings.Policy)}
    rows = [
        (
            settings.variable(field.name),
            default(field.default),
            "yes" if field.name in policy else "",
            said[settings.variable(field.name)],
        )
        for field in fields(settings.Settings)
        if field.name in settings.names()
    ]
    return part(text, iter(table("variable | default | policy | what it sets", *rows)))


def default(value: object) -> str:
    """A default as somebody would write it in the environment."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case Path():
            return str(value) if value.parts[0] == "~" else f"./{value}"
        case _:
            return str(value)


# --- landed fields ---------------------------------------------------------------------------------------------------


def landed_fields(text: str) -> str:
    """The contract of every entity, field by field."""
    return part(text, _landed_fields())


def _landed_fields() -> Iterator[str]:
    for entity in schema.ENTITIES:
        yield from json_schema.markdown(entity)


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(text: str) -> str:
    """What is published, column by column, from the headers of the models and the types of the files."""
    return part(text, _tables())


def _tables() -> Iterator[str]:
    types = published_types()
    for name in models.LINE:
        if is_published(name):
            yield from _columns(name, types[name])
    yield "### snapshot_facts"
    yield ""
    yield "In warehouse.duckdb alone: one row."
    yield ""
    yield from table("column | meaning", *warehouse.FACTS_COMMENTS.items())
    yield "### The macros of warehouse.duckdb"
    yield ""
    said = [comment.partition(": ") for comment in warehouse.MACRO_COMMENTS.values()]
    yield from table("macro | meaning", *((f"`{head}`", meaning) for head, _, meaning in said))


def sql_readme(text: str) -> str:
    """The models in the order of the line, then the columns of those that are not published."""
    return part(text, _models())


def _models() -> Iterator[str]:
    rows = []
    for name in models.LINE:
        model = models.model(name)
        file = next(models.sql_folder().rglob(f"{name}.sql")).relative_to(models.sql_folder())
        mark = f" [{mark_of(name)}](../docs/reference/tables.md#{name})" if mark_of(name) else ""
        reads = ", ".join(f"`{source}`" for source in model.sources)
        rows.append((f"[{name}]({file.as_posix()}){mark}", _beginning(model.purpose), model.grain, reads))
    yield from table("model | what it does | grain | reads", *rows)
    yield "## What is worked out on the way"
    yield ""
    for name in models.LINE:
        if not is_published(name):
            yield from _columns(name, {})


def _columns(name: str, types: Mapping[str, str]) -> Iterator[str]:
    model = models.model(name)
    yield f"### {name}"
    yield ""
    if types:
        yield f"{_beginning(model.purpose)} One row: {model.grain.removeprefix('one row ')}."
    yield f"By {', '.join(model.keys)}."
    yield ""
    if types:
        rows = [(column, types[column], comment) for column, comment in model.columns.items()]
        yield from table("column | type | meaning", *rows)
    else:
        yield from table("column | meaning", *model.columns.items())


def is_published(name: str) -> bool:
    """Whether a snapshot holds this model's table."""
    return bool(mark_of(name))


def mark_of(name: str) -> str:
    """Who may read a model's table: public, private (the API alone), or empty for what is not published."""
    return "public" if name in PUBLISHED else "private" if name in publish.PRIVATE_TABLES else ""


def published_types() -> dict[str, dict[str, str]]:
    """The SQL types of the columns of everything that is published, from tables over no records."""
    with tempfile.TemporaryDirectory(prefix="mostwatched-types-") as folder:
        lake = Lake(Path(folder), lambda: DuckDBEngine("500MB", 1, Path(folder) / "spill"))
        try:
            built = plan.build(lake, plan.arranged([]), settings.Policy(), date(2026, 1, 31))
            files = {name: built.tables[name] for name in (*publish.PUBLIC_TABLES, *publish.PRIVATE_TABLES)}
            files["creator_reach"] = next(iter(built.creator_reach.values()))
            return {
                name: {field.name: _sql(field.type) for field in pq.read_schema(stored.path)}
                for name, stored in files.items()
            }
        finally:
            lake.close()


def _sql(kind: pa.DataType) -> str:
    """What DuckDB calls a type that Parquet holds."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    return _TYPES[str(kind)]


_TYPES = {
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "string": "VARCHAR",
}


def _beginning(purpose: str) -> str:
    """The first sentence of a purpose; the second as well where the first is a mere title."""
    title, _, rest = purpose.partition(". ")
    first = f"{title}. {rest.partition('. ')[0]}" if len(title) < 20 else title
    return first.rstrip(".") + "."


# --- the HTTP API ----------------------------------------------------------------------------------------------------


TOKENS = """## Tokens

A bearer token is a JWT that is signed with one of {algorithms}, by a key of MOSTWATCHED_JWKS: a file, or a URL with
http or https. A symmetric key is taken from a file alone.

- It has at most {kibibytes} KiB, an `exp` that is still to come, an `nbf` (if any) that is not, both in seconds,
  perhaps with a fraction, and the user's id in the claim that MOSTWATCHED_JWT_SUBJECT_CLAIM names. The issuer's clock
  may differ from ours by MOSTWATCHED_JWT_LEEWAY_SECONDS.
- Its `iss` is MOSTWATCHED_JWT_ISSUER, and its `aud` is or holds MOSTWATCHED_JWT_AUDIENCE, where those are set. Without
  an audience set, a token that has an `aud` is meant for somebody else and refused (RFC 8725, 3.9), unless
  MOSTWATCHED_JWT_ANY_AUDIENCE is true. `mostwatched serve` warns at start of what is not set.
- Its header holds `alg`, perhaps `kid`, and perhaps `typ`: `JWT` or `at+jwt`, with or without `application/`. Other
  parameters, such as `x5t`, `jku`, `nonce` or `cat`, are ignored; a token with `crit` is refused. No key is ever taken
  from a token.
- A secret for HS256, HS384, HS512 has at least 32, 48, 64 bytes, an RSA key 2,048 bits.

Anything else in an Authorization header is answered with 401, never as if the header were not there; `WWW-Authenticate`
says in `error_description` what is wrong, as far as a developer may know. Without MOSTWATCHED_JWKS every token is 401.
While a key set at a URL has not been loaded yet, a token is answered with 503 and Retry-After, and so is `/readyz`.
"""


def http_api(_: str) -> str:
    """Every path with its parameters, answers and an example."""
    return whole("openapi.yaml", _http_api())


def _http_api() -> Iterator[str]:
    contract = api_contract.load()
    yield "# The HTTP API"
    yield ""
    yield contract["info"]["summary"]
    yield ""
    yield contract["info"]["description"].strip()
    yield ""
    yield "A running server has the same as OpenAPI at `/openapi.json` and as a page at `/docs`, with the schema of"
    yield "every body. [Call the API](../how-to/call-the-api.md) shows it with curl."
    yield ""
    yield TOKENS.format(algorithms=", ".join(ALGORITHMS), kibibytes=MAX_TOKEN_BYTES // 1024)
    for path, methods in contract["paths"].items():
        yield from _path(contract, path, methods["get"])


def _path(contract: Mapping[str, Any], path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"## GET {path}"
    yield ""
    yield f"{operation['summary'].rstrip('.')}."
    yield ""
    if "description" in operation:
        yield operation["description"].strip()
        yield ""
    parameters = [api_contract.resolved(contract, each) for each in operation.get("parameters", ())]
    if parameters:
        rows = ((f"`{each['name']}`", each["in"], _schema(each["schema"]), each["description"]) for each in parameters)
        yield from table("parameter | in | value | what", *rows)
    answers = ((status, api_contract.resolved(contract, each)) for status, each in operation["responses"].items())
    rows_of_answers = (
        (status, " ".join(f"`{name}`" for name in each.get("headers", ())), each["description"])
        for status, each in answers
    )
    yield from table("answer | headers | what", *rows_of_answers)


def _schema(schema: Mapping[str, Any]) -> str:
    said = [f"one of {', '.join(schema['enum'])}" if "enum" in schema else str(schema.get("format", schema["type"]))]
    if "minimum" in schema:
        said.append(f"{schema['minimum']} to {schema['maximum']}")
    if "default" in schema:
        said.append(f"default {schema['default']}")
    return ", ".join(said)


# --- metrics ---------------------------------------------------------------------------------------------------------

METRICS = REFERENCE / "metrics.md"


def metrics(home: settings.Settings) -> str:
    """What a run, an audit and the API of a home say to Prometheus, and the alerts on it."""
    return whole("a run on data/sample, its audit, the API's /metrics, and dashboards/alerts.yml", _metrics(home))


def _metrics(home: settings.Settings) -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Prometheus reads them from two places. [Watch the nightly run](../how-to/watch-the-nightly-run.md) says how"
    yield "they are collected."
    yield ""
    yield "## Of the runs and audits"
    yield ""
    yield "Two files for the node_exporter's textfile collector, in `HOME/metrics/`: `mostwatched.prom`, rewritten by"
    yield "every run, and `mostwatched-audit.prom`, rewritten by every audit of the current snapshot. A Pushgateway"
    yield "gets the same, in the jobs `mostwatched-run` and `mostwatched-audit`. The label `home` names the home."
    yield ""
    files = sorted(home.metrics.parent.glob("*.prom"), reverse=True)
    yield from _families("".join(path.read_text(encoding="utf-8") for path in files))
    yield "## Of the API"
    yield ""
    yield "At `/metrics`, for all workers of a server. No counter goes back while the server lives, also when workers"
    yield "are replaced. Two servers count for themselves: scrape each at an address of its own, not behind a balancer."
    yield ""
    yield from _families(asyncio.run(_scraped(home)))
    yield "## Alerts"
    yield ""
    yield "The rules of [dashboards/alerts.yml](../../dashboards/alerts.yml). The dashboard for Grafana is"
    yield "[dashboards/mostwatched.json](../../dashboards/mostwatched.json)."
    yield ""
    (group,) = yaml.safe_load((ROOT / "dashboards" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rows = (
        (rule["alert"], rule["labels"]["severity"], rule["annotations"]["summary"], rule["annotations"]["todo"])
        for rule in group["rules"]
    )
    yield from table("alert | severity | what happened | what to do", *rows)


async def _scraped(home: settings.Settings) -> str:
    app = create_app(home)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        for path in ("/api/v1/live-stream/most-watched-creators", "/lls/v1.0/stream"):
            await client.get(path)
        return (await client.get("/metrics")).text


def _families(text: str) -> list[str]:
    """The families of an exposition: name, kind, labels, meaning."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    rows = []
    for name, meaning in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE):
        labels = dict.fromkeys(
            label
            for found in re.findall(rf"^{name}(?:_bucket|_count|_sum|_total)?{{(.*)}} ", text, re.MULTILINE)
            for label in re.findall(r'(\w+)="', found)
            if label != "le"
        )
        rows.append((f"`{name}`", kinds[name], ", ".join(labels), meaning))
    return table("metric | kind | labels | what", *rows)


PAGES: Mapping[Path, Callable[[str], str]] = {
    REFERENCE / "commands.md": commands,
    REFERENCE / "exit-codes.md": exit_codes,
    REFERENCE / "settings.md": settings_page,
    REFERENCE / "landed-fields.md": landed_fields,
    REFERENCE / "tables.md": tables,
    REFERENCE / "http-api.md": http_api,
    SQL_README: sql_readme,
}


if __name__ == "__main__":
    main()
