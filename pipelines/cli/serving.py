"""The commands that serve the read API and generate synthetic data: serve, generate."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from pipelines import remote
from pipelines.cli.group import DAY, FOLDER, as_json, cli, command, os_errors_explained
from pipelines.core import logs
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.core.text import counted, print_json, printable


@command(cli, pulls=False)
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8000,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Processes on one port."
)
@click.option(
    "--uds", type=click.Path(path_type=Path), metavar="PATH", help="Listen on a Unix socket instead, of mode 0660."
)
@click.option(
    "--fd", type=click.IntRange(min=0), metavar="N", help="Listen on an inherited socket instead; systemd's is 3."
)
def serve(settings: Settings, host: str, port: int, workers: int, uds: Path | None, fd: int | None) -> None:
    """Serve the page and the read API.

    From the current snapshot; a new one is picked up without a restart.
    """
    from pipelines.api.app import serve as serve_api

    if uds is not None and fd is not None:
        raise UsageError("--uds and --fd are two places to listen on: give one.")

    logs.configure_server(
        settings.log_format, settings.log_level
    )  # also what is said of the bucket, before there is a server
    log = logging.getLogger("mostwatched.api")
    with remote.replicating(settings, lambda problem: log.warning("%s", problem)):
        serve_api(settings, host, port, workers, uds, fd)


@cli.command()
@click.option(
    "--days", type=click.IntRange(min=1), metavar="N", required=True, help="How many days, the last being yesterday."
)
@click.option(
    "--sessions-per-day", type=click.IntRange(min=0), metavar="N", required=True, help="Viewing sessions each day."
)
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option("--as-of", type=DAY, help="The day after the last one. Default: today, UTC.")
@click.option(
    "--creators",
    type=click.IntRange(min=10),
    metavar="N",
    help="How many creators. Default: by the number of sessions.",
)
@click.option(
    "--viewers", type=click.IntRange(min=10), metavar="N", help="How many viewers. Default: by the number of sessions."
)
@click.option(
    "--mess",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="0: clean data, 1: as untidy as real data.",
)
@click.option("--gzip", "compress", is_flag=True, help="Land .gz files.")
@as_json
@click.argument("directory", type=FOLDER)
def generate(directory: Path, as_of: date | None, as_json: bool, **sizes: Any) -> None:
    """Write a synthetic platform to try things on.

    Every entity of it, into DIRECTORY as a landing folder.
    """
    from pipelines.core.progress import show_progress
    from pipelines.landing.synthetic import generate as generate_platform

    with show_progress() as progress, os_errors_explained(directory):
        summary = generate_platform(
            directory,
            as_of=as_of or datetime.now(UTC).date(),
            progress=lambda what: progress(what, 0, 1),
            **sizes,
        )
    if as_json:
        print_json(summary.as_json())
    else:
        records = ", ".join(f"{count:,} {entity}" for entity, count in summary.records.items())
        where = printable(str(directory))
        click.echo(f"{where}: {counted(summary.files, 'file')}, {summary.bytes / 1e6:,.1f} MB, {records}")
        click.echo(f"Rank it with: mostwatched run --as-of {summary.as_of} --landing {where}")
