"""The documents as a whole: the README's length, links and anchors, questions and where they are answered."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES_OF_THE_README = 200
READERS_PAGES = [ROOT / "README.md", ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]

# What people come with; each is asked in the README or in docs/index.md, in these words, and leads to a page or a file.
QUESTIONS = (
    "where is the ranking defined?",
    "which sessions count?",
    "where is the cube built?",
    "how is a funding percentage computed?",
    "which fields may land, and of which type?",
    "why was a line rejected?",
    "how do I land my own CSV?",
    "how do I add a field?",
    "how do I change the window?",
    "which algorithms may a token have?",
    "how do I put it behind nginx?",
    "how do I run it every night?",
    "why was a night not published?",
    "why is a number what it is?",
    "how do I restore a backup?",
    "how is a person forgotten?",
    "how do I move to Spark, and when?",
    "how do I move to object storage?",
    "which settings are there?",
    "what do the exit codes mean?",
    "what does a word mean here?",
    "what is not promised?",
)


def documents() -> list[Path]:
    """Every page of the checkout, as git knows it and as it will."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:  # no clone: an unpacked archive
        folders = ("", "docs/**/", "sql/", "tests/**/", "data/sample/")
        return sorted({path for folder in folders for path in ROOT.glob(f"{folder}*.md")})
    return sorted(path for path in {ROOT / name for name in done.stdout.splitlines()} if path.exists())


def without_code(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^    .*$", "", without_fences(text), flags=re.MULTILINE)


def without_fences(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    text = without_fences(path.read_text(encoding="utf-8"))
    for title in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        found.add(next(each for number in range(99) if (each := f"{name}-{number}" if number else name) not in found))
    return found


def links(path: Path) -> Iterator[tuple[str, str]]:
    """Text and target of a page's links and pictures, but for those that lead to other hosts."""
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            yield text, target


def problem(path: Path, target: str) -> str | None:
    """What is wrong with a link from a page; None: nothing."""
    name, _, anchor = unquote(target).partition("#")
    there = (path.parent / name).resolve() if name else path
    if not there.exists():
        return f"{path.relative_to(ROOT)} links to {target}, which is not there"
    if ROOT not in (there, *there.parents):
        return f"{path.relative_to(ROOT)} links to {target}, outside of the checkout"
    if anchor and anchor not in anchors(there):
        return f"{path.relative_to(ROOT)} links to {target}, but {there.name} has no such heading"
    return None


def test_the_readme_is_a_page():
    """It says what this is, and leads on."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_THE_README


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    """To a file of the checkout, and to a heading of it where it names one."""
    assert [said for _, target in links(path) if (said := problem(path, target))] == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_its_link(question):
    """In a table of questions, whose answer leads somewhere."""
    rows = []
    for path in (ROOT / "README.md", ROOT / "docs/index.md"):
        for answer in re.findall(
            rf"^\| {re.escape(question)} \| (.+) \|$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            rows += [(path, target) for target in re.findall(r"\]\(([^)]+)\)", answer)]
    assert rows, f"nothing answers: {question}"
    assert [said for path, target in rows if (said := problem(path, target))] == []


def test_every_page_is_reached_from_the_index():
    """By links, from docs/index.md."""
    reached, waiting = set(), [ROOT / "docs/index.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.exists():
            continue
        reached.add(path)
        waiting += [(path.parent / target.partition("#")[0]).resolve() for _, target in links(path)]
    assert {path for path in documents() if ROOT / "docs" in path.parents} <= reached


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(path):
    """`tests/spec/test_x.py` and `scripts/x.py` in the text are files of the checkout."""
    text = without_code(path.read_text(encoding="utf-8"))
    if path.name == "CHANGELOG.md":  # it says what was
        return
    named = set(re.findall(r"(?<![\w/.])((?:tests|scripts|pipelines|sql|docs)/[\w/.-]*\.(?:py|sql|md|yaml))\b", text))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("path", READERS_PAGES, ids=lambda path: path.name)
def test_every_command_is_run_or_says_why_not(path):
    """Commands stand in `sh` blocks, which are run, or in `console` blocks, with the reason why not above them.

    Above a program stands the test that runs it.
    """
    text = path.read_text(encoding="utf-8")
    languages = "sh|console|text|sql|ini|nginx|toml|python|ts|vcl"
    known = re.findall(rf"^```(?:{languages})\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert text.count("```") == 2 * len(known)
    reasons = re.findall(r"^<!-- not run: .+ -->\n```console$", text, re.MULTILINE)
    assert len(reasons) == len(re.findall(r"^```console$", text, re.MULTILINE))
    programs = re.findall(r"^<!-- run by tests/.+ -->\n```(?:python|ts|vcl)$", text, re.MULTILINE)
    assert len(programs) == len(re.findall(r"^```(?:python|ts|vcl)$", text, re.MULTILINE))
    assert not re.findall(r"^    (?:\$|make|mostwatched|curl|python|pip|prefect|export)\b.*", text, re.MULTILINE)


@pytest.mark.parametrize("path", READERS_PAGES, ids=lambda path: path.name)
def test_a_request_that_is_refused_fails(path):
    """curl takes a 401 for a success unless it is told otherwise."""
    for block in re.findall(r"^```sh\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.findall(r"\bcurl .*", block):
            assert re.match(r"curl -fsS\b", line), line


def test_a_link_that_leads_nowhere_is_found():
    """A file, a heading, and a place outside."""
    readme = ROOT / "README.md"
    assert "not there" in str(problem(readme, "docs/nowhere.md"))
    assert "no such heading" in str(problem(readme, "docs/index.md#nowhere"))
    assert "outside" in str(problem(readme, "../"))
    assert problem(readme, "docs/index.md#documentation") is None
