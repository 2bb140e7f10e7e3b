"""The commands of README.md, the tutorial and the how-tos, run in the order in which a reader meets them.

A `sh` block is run, in a copy of the checkout whose .venv stands for an installed one. All blocks of a page are one
shell. The README comes first, and every other page begins where it ends. What a `text` block below shows must be
printed (`…` stands for anything), and `# exits with 3` says that a command must. Only the server's port is another one.
A `console` block is not run, for the reason that the page gives above it; those tests are skipped with that reason.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["docs/tutorial.md", *(f"docs/how-to/{path.name}" for path in sorted((ROOT / "docs/how-to").glob("*.md")))]
COPIED = ("Makefile", "pyproject.toml", "README.md", "pipelines", "sql", "scripts", "dashboards", "docs")
RUN_SECONDS = 600  # the README took 75 to 134 s on a machine that others were using

pytestmark = [pytest.mark.xdist_group("documents"), pytest.mark.timeout(RUN_SECONDS + 60)]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line above it."""

    language: str
    text: str
    above: str


@dataclass(frozen=True)
class Done:
    """How the commands of a page ended, and what the page's blocks printed, each by its place."""

    code: int
    printed: dict[int, str]
    everything: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(language, body, above)
        for above, language, body in re.findall(r"^([^\n]*)\n```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def checkout(folder: Path) -> Path:
    """A copy of the checkout with a .venv as `make test` leaves it, made of the Python that runs the tests."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder)
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy2(path, folder)
    shutil.copytree(ROOT / "data/sample", folder / "data/sample")
    (folder / "tests").mkdir()
    shutil.copy2(ROOT / "tests/oracle.py", folder / "tests")
    (folder / "build").mkdir()
    wrap(folder)
    return folder


def wrap(folder: Path) -> None:
    """Make .venv: its programs run the copy's code, and `serve` listens on the port of the tests."""
    programs = folder / ".venv/bin"
    shutil.rmtree(folder / ".venv", ignore_errors=True)
    programs.mkdir(parents=True)
    python = f'#!/bin/sh\nexport PYTHONPATH="{folder}"\nexec "{sys.executable}"'
    served = 'for word; do [ "$word" = serve ] && set -- "$@" --port "$DOCUMENTED_PORT"; done\n'
    for name, text in {
        "python": f'{python} "$@"\n',
        "mostwatched": f'{python.replace("exec", served + "exec")} -m pipelines.cli "$@"\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for mark in (".installed", ".installed-dev"):
        (folder / ".venv" / mark).touch()


def run(page: str, folder: Path) -> Done:
    """All `sh` blocks of a page as one shell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks(page)):
        if block.language == "sh":
            body = re.sub(
                r"^(.*?\S) +# exits with (\d).*$",
                r"code=0; \1 || code=$?; test $code = \2 || { echo exit code $code, not \2; exit 99; }",
                block.text.replace("localhost:8000", f"localhost:{port}"),
                flags=re.MULTILINE,
            )
            lines += [f"echo; echo '@@ {number}'", body]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    environ = ours | {
        "DOCUMENTED_PORT": port,
        "PREFECT_HOME": str(folder.parent / "prefect"),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    environ.pop("MAKEFLAGS", None)
    output = folder.parent / f"{Path(page).stem}.txt"
    with output.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(lines)],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(RUN_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # a server that a page left, or a page that hangs
    everything = output.read_text(encoding="utf-8", errors="replace")
    _, *parts = re.split(r"^@@ (\d+)\n", everything, flags=re.MULTILINE)
    return Done(code, dict(zip(map(int, parts[::2]), parts[1::2], strict=True)), everything)


def check(page: str, done: Done) -> None:
    """The commands succeeded and printed what the page shows."""
    assert done.code == 0, f"{page}: exit code {done.code}\n{done.everything[-6000:]}"
    for number, block in enumerate(blocks(page)):
        if block.language == "text":
            shown = [re.escape(" ".join(part.split())) for part in block.text.split("…")]
            printed = " ".join(done.printed[number - 1].split())
            assert re.search(".*".join(shown), printed), f"{page} shows\n{block.text}\nand printed is\n{printed}"


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Done]]:
    """A copy of the checkout in which the README's commands have been run."""
    for tool in ("bash", "make", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"the pages' commands need {tool}, which is not installed here")
    folder = checkout(tmp_path_factory.mktemp("documents") / "checkout")
    yield folder, run("README.md", folder)
    shutil.rmtree(folder.parent, ignore_errors=True)


def test_the_readme(readme):
    """`make run`, and then every command in turn."""
    check("README.md", readme[1])


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page(readme, tmp_path, page):
    """Each page from where the README ends, by itself."""
    folder, done = readme
    assert done.code == 0, "the README's commands failed: see its test"
    mine = tmp_path / "checkout"
    shutil.copytree(folder, mine, symlinks=True)
    wrap(mine)
    check(page, run(page, mine))
    shutil.rmtree(mine)


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (page, number)
        for page in ["README.md", *PAGES]
        for number, block in enumerate(blocks(page))
        if block.language == "console"
    ],
)
def test_commands_that_cannot_run_here(page, number):
    """Each is skipped, with its page's reason."""
    block = blocks(page)[number]
    reason = re.fullmatch(r"<!-- not run: (.+) -->", block.above)
    assert reason is not None, f"{page}: a console block without the reason why it is not run"
    commands = len(re.findall(r"^[^\s#].*", re.sub(r"\\\n", "", block.text), re.MULTILINE))
    pytest.skip(f"{page}: {commands} command{'s' * (commands != 1)} not run: {reason[1]}")


def test_a_command_that_fails_is_found(tmp_path, monkeypatch):
    """And one that prints something else than is shown, and one that ends with another code."""
    page = tmp_path / "page.md"
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    for text, problem in (
        ("```sh\nfalse\n```\n", "exit code 1"),
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "page.md shows"),
        ("```sh\ntrue # exits with 3\n```\n", "exit code 99"),
    ):
        page.write_text(f"\n{text}")
        with pytest.raises(AssertionError, match=problem):
            check("page.md", run("page.md", tmp_path))
    page.write_text("\n```sh\nfalse # exits with 1\necho one, two, three\n```\n\n```text\none, … three\n```\n")
    check("page.md", run("page.md", tmp_path))
