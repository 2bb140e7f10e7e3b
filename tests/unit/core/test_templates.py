"""Templates: what they put in is escaped, and what they do not know is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

import pipelines
from pipelines.core import templates

PACKAGE = Path(pipelines.__file__).parent
TEMPLATES = [path for folder in PACKAGE.rglob("templates") for path in folder.iterdir()]


def render(folder: Path, source: str, **values: object) -> str:
    (folder / "a.html").write_text(source)
    return templates.load(folder, str.upper, twice=lambda text: text * 2)["a.html"].render(values)


def test_texts_are_escaped_and_markup_is_not(tmp_path):
    """As an element and as an attribute; a macro's result is markup, what it is given is not."""
    source = (
        """{% macro bold(text) %}<b title="{{ text }}">{{ text | twice }}</b>{% endmacro %}{{ bold(name) }}{{ own }}"""
    )
    written = render(tmp_path, source, name="<'\"&", own=Markup("<br>"))
    escaped = "&lt;&#39;&#34;&amp;"
    assert written == f'<b title="{escaped}">{escaped}{escaped}</b><br>'


def test_every_text_is_shown_as_was_asked_for_and_nothing_else_is(tmp_path):
    assert render(tmp_path, "{{ name }} {{ count }} {{ own }}", name="a", count=1, own=Markup("<i>")) == "A 1 <i>"


def test_what_nobody_gave_is_an_error(tmp_path):
    with pytest.raises(UndefinedError):
        render(tmp_path, "{{ nmae }}", name="a")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_says_that_a_text_is_safe(path):
    """Nor that it does not escape."""
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", path.read_text("utf-8"))
