"""A hook of mkdocs, for `make docs`: links from a page to files outside of docs/.

On a code host they lead to the file. The site does not hold those files: there the text stays and names the file. A
file that is missing is a warning, which fails the strict build.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as the site shows it."""
    here = (DOCS / page.file.src_uri).parent

    def shown(match: re.Match[str]) -> str:
        is_picture, text, target = match.groups()
        path = (here / target).resolve()
        if DOCS in path.parents:
            return match[0]
        if not path.exists():
            LOG.warning("%s links to %s, which is not there", page.file.src_uri, target)
        name = path.relative_to(ROOT).as_posix()
        return f"{text} (`{name}`)" if is_picture or text.strip("`") != name.rstrip("/") else f"`{name}`"

    return _LINK.sub(shown, markdown)
