"""What the commands share: their group, common options, and the settings that they are called with.

Each command parses arguments, calls one function and prints what it returns. `--json` prints one object or list as the
last line of stdout; progress and errors go to stderr. Imports that cost time are made by the command that needs them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

from pipelines import __version__, remote
from pipelines.core import logs
from pipelines.core.errors import MostwatchedError, os_error_message
from pipelines.core.home_modes import private_umask
from pipelines.core.settings import ENGINES, Settings, is_url, load, unknown_variables, wanted_log_format
from pipelines.core.text import printable

if TYPE_CHECKING:
    from pipelines.snapshots.manifest import Snapshot

Command = TypeVar("Command", bound=Callable[..., Any])


class Day(click.ParamType[date]):
    """A calendar day as YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day that was written."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2026-11-21", param, ctx)


class Text(click.ParamType[str]):
    """Text, which is what ids and queries are; an argument can be any bytes."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail(f"{printable(str(value))} is not UTF-8", param, ctx)
        return str(value)


class Id(Text):
    """An id; `-` for the one on stdin, since other users of the machine can read the arguments of a process."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id, of stdin without the end of its line."""
        if value != "-":
            return super().convert(value, param, ctx)
        try:
            text = sys.stdin.buffer.read().decode().removesuffix("\n")
        except UnicodeDecodeError:
            self.fail("what stands on stdin is not UTF-8", param, ctx)
        if not text:
            self.fail("nothing stands on stdin", param, ctx)
        return text


DAY = Day()
TEXT = Text()
ID = Id()
COUNT = click.IntRange(1, 2**31 - 1)  # of rows
FOLDER = click.Path(file_okay=False, path_type=Path)


class LandingFolder(click.ParamType["Path | str"]):
    """A folder, or the URL of one in a bucket."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """A path, unless it is a URL."""
        if isinstance(value, Path) or is_url(value):
            given: Path | str = value
            return given
        folder: Path = FOLDER.convert(value, param, ctx)
        return folder


as_json = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header, safe to open in a spreadsheet.")
direct = click.option("--direct", is_flag=True, help="Without Prefect.")
engine = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="What runs the SQL (MOSTWATCHED_ENGINE; duckdb). spark: past one machine.",
)
landing = click.option(
    "--landing",
    multiple=True,
    type=LandingFolder(),
    help="Read what landed from here instead of HOME/landing: a folder, or s3://BUCKET/PREFIX; repeatable.",
)
accept_rejects = click.option("--accept-rejects", is_flag=True, help="Publish however many records were rejected.")
allow_incomplete = click.option("--allow-incomplete", is_flag=True, help="Publish though days or fields seem missing.")
allow_future = click.option("--allow-future", is_flag=True, help="Publish an as_of more than a day ahead of the clock.")


class OrderedGroup(click.Group):
    """A group that lists its commands in the order of first use."""

    ORDER = (
        "run",
        "status",
        "report",
        "top",
        "sql",
        "explain",
        "rejects",
        "snapshots",
        "audit",
        "backfill",
        "forget",
        "serve",
        "generate",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Those of ORDER, and any other after them."""
        return sorted(self.commands, key=[*self.ORDER, *self.commands].index)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run as click does, once the log format is known, so that errors about options use it too."""
        logs.configure(wanted_log_format())
        return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke as click does; where stderr is JSON, without the empty line that click writes there after ^C."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError):
            if logs.are_json():
                raise click.Abort from None
            raise


@click.group(cls=OrderedGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--home",
    metavar="DIRECTORY",
    help="Where landing/, lake/ and snapshots/ are (MOSTWATCHED_HOME; ./data), or s3://BUCKET/PREFIX.",
)
@click.version_option(__version__, prog_name="mostwatched")
@click.pass_context
def cli(context: click.Context, home: str | None) -> None:
    """Which creators reached the most different people: every night, exactly.

    Exit codes: 0 done, 1 failed (or: verify found damage), 2 wrong usage, 3 refused to publish, 4 busy.
    """
    context.obj = home
    for name in unknown_variables():
        logs.run_log.warning("%s is not a setting and is ignored; the README lists those there are.", name)


def command(
    group: click.Group, name: str | None = None, *, pulls: bool = True, only: str | None = None, **more: Any
) -> Callable[[Command], Command]:
    """Define a command whose function gets the settings as its first argument.

    A home in a bucket is pulled before, or `only` the folder of it that the command reads; not for who `pulls` later
    or not at all, such as whoever locks the home first.
    """

    def decorate(function: Command) -> Command:
        @click.option("--home", "home_after", metavar="DIRECTORY", hidden=True, help="As before the command.")
        @functools.wraps(function)
        def with_settings(*args: Any, home_after: str | None, **kwargs: Any) -> Any:
            settings = load(home_after or click.get_current_context().obj)
            pulled = remote.mounted(settings, only) if pulls else nullcontext()
            with private_umask(), os_errors_explained(settings.home), pulled:
                return function(settings, *args, **kwargs)

        group.command(name, **more)(with_settings)
        return function

    return decorate


@contextmanager
def os_errors_explained(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system inside into a sentence with a remedy."""
    try:
        yield
    except Exception as error:
        refusal = os_error_message(error, folder)
        if refusal is None:
            raise
        raise MostwatchedError(refusal) from error


def snapshot_or_current(settings: Settings, snapshot_id: str | None) -> Snapshot:
    """The snapshot that was asked for, or the current one."""
    from pipelines.snapshots import manifest

    if snapshot_id is None:
        return manifest.open_current(settings.snapshots)
    return manifest.open_snapshot(settings.snapshots, snapshot_id)


def today(settings: Settings) -> date:
    """The calendar day it is now in the policy's zone. Only the command line and the flows ask the clock."""
    return datetime.now(ZoneInfo(settings.day_timezone)).date()
