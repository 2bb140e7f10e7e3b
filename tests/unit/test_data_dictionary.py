"""sql/README.md says of every model what its header says. Run this file, without pytest, to write it anew."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines import models, publish
from pipelines.contracts import ENTITIES
from pipelines.lake import RELATIONS

README = models.sql_folder() / "README.md"
BEGIN, END = "<!-- the headers, in order: begin -->\n", "<!-- the headers, in order: end -->\n"
PUBLIC = {*publish.PUBLIC_TABLES, "creator_reach"}


def dictionary() -> str:
    """Two tables: the models in the order of the line, and the columns of what is published."""
    rows = ["| model | what it does | grain | reads |", "|---|---|---|---|"]
    for name in models.LINE:
        model = models.model(name)
        reads = ", ".join(f"`{source}`" for source in model.sources)
        link = f"[{name}]({name}.sql){_mark(name)}"
        rows.append(f"| {link} | {_beginning(model.purpose)} | {_cell(model.grain)} | {reads} |")
    for name in models.LINE:
        if _mark(name):
            keys = ", ".join(models.model(name).keys)
            rows += ["", f"### {name}", "", f"By {keys}.", "", "| column | meaning |", "|---|---|"]
            rows += [f"| {column} | {_cell(comment)} |" for column, comment in models.model(name).columns.items()]
    return "\n".join(rows) + "\n"


def _mark(name: str) -> str:
    return " **P**" if name in PUBLIC else " **p**" if name in publish.PRIVATE_TABLES else ""


def _beginning(purpose: str) -> str:
    """Its first sentence; the second as well where that is a mere title."""
    title, _, rest = purpose.partition(". ")
    first = f"{title}. {rest.partition('. ')[0]}" if len(title) < 20 else title
    return first.rstrip(".") + "."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_dictionary(text: str) -> str:
    """The README with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + dictionary() + END + rest.partition(END)[2]


def test_the_readme_says_what_the_headers_say():
    """Purposes, grains, sources and columns are those of the files; run this file to write them again."""
    text = README.read_text(encoding="utf-8")
    assert BEGIN in text
    assert END in text
    assert with_dictionary(text) == text


def test_the_readme_names_everything_that_a_model_can_read():
    """Raw tables and the relations that build.py makes are explained by hand: none is forgotten."""
    words = set(re.findall(r"`(\w+)`", README.read_text(encoding="utf-8").split(BEGIN)[0]))
    assert {f"raw_{entity}" for entity in ENTITIES} | set(RELATIONS) <= words


def test_the_links_of_the_readme_lead_somewhere():
    """A newcomer can click through."""
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (README.parent / target).exists(), target


if __name__ == "__main__":
    Path(README).write_text(with_dictionary(README.read_text(encoding="utf-8")), encoding="utf-8")
