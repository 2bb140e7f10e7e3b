"""The command that says what may land: schema."""

from __future__ import annotations

import json

import click

from pipelines.cli.group import cli
from pipelines.core.errors import UsageError
from pipelines.core.text import printable


@cli.command()
@click.argument("entity", metavar="[ENTITY]", required=False)
@click.option("--markdown", "form", flag_value="markdown", help="Tables in Markdown.")
@click.option("--data-contract", "form", flag_value="data-contract", help="An Open Data Contract, as JSON.")
def schema(entity: str | None, form: str | None) -> None:
    """Print what may land, as JSON Schema 2020-12.

    It is that of a record of ENTITY, or of every entity under `$defs`, as a line of NDJSON. CSV and Parquet hold the
    same values in columns.
    """
    from pipelines.landing import json_schema
    from pipelines.landing.schema import ENTITIES

    if entity is not None and entity not in ENTITIES:
        raise UsageError(f"{printable(entity)} is no entity. What may land: {', '.join(ENTITIES)}.")
    if form == "markdown":
        entities = ENTITIES if entity is None else (entity,)
        click.echo("\n".join(line for each in entities for line in json_schema.markdown(each)).rstrip("\n"))
        return
    made = json_schema.data_contract(entity) if form else json_schema.json_schema(entity)
    click.echo(json.dumps(made, ensure_ascii=False, indent=2))
