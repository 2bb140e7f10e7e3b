"""Jinja2 templates, the only way to HTML and Markdown: what a template puts in is escaped, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import jinja2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

Template: TypeAlias = jinja2.Template
Templates = Mapping[str, Template]


def load(
    folder: Path,
    shown: Callable[[str], str] | None = None,
    names: Iterable[str] | None = None,
    **filters: Callable[..., object],
) -> Templates:
    """Compile the templates of a folder, or those of these file names, by file name.

    Every text that a template puts in goes through `shown`, and every value is then escaped as HTML unless it is
    Markup: what a macro wrote, or what `shown` has escaped for another language. An undefined name is an error.
    """
    # safeguard: name-is-text-on-a-page
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_of_texts(shown) if shown is not None else None,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= filters
    return {name: environment.get_template(name) for name in names or environment.list_templates()}


def _of_texts(shown: Callable[[str], str]) -> Callable[[object], object]:
    def finalize(value: object) -> object:
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return finalize
