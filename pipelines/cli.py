"""The command line: every command is in pipelines/commands/; here they are put together and run."""

from __future__ import annotations

import sys

from pipelines import logs
from pipelines.commands import cli, night, privacy, questions, serving, snapshots
from pipelines.errors import MostwatchedError
from pipelines.printing import printable

__all__ = ["cli", "main", "night", "privacy", "questions", "serving", "snapshots"]


def main() -> None:
    """Run the command line and exit with the documented code."""
    try:
        cli.main(standalone_mode=True)
    except MostwatchedError as error:
        if logs.are_json():
            logs.night.error(str(error), extra={"exit_code": error.exit_code})
        else:
            print(f"mostwatched: {printable(logs.without_secrets(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
