"""The frame around every page: head, freshness, switches of language and theme. HTML in, HTML out."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

from pipelines.api.page import assets
from pipelines.api.page.translations import LANGUAGES, Language

THEMES = ("auto", "light", "dark")
RANKING = "./"  # addresses are relative, so that the pages work behind a prefix as well
CREATOR = "creator"

_NO_TEXT = (*range(9), 11, 12, *range(14, 32), *range(127, 160))  # but for tabs and ends of lines
_CONTROLS = dict.fromkeys(_NO_TEXT, "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Freshness:
    """The age of the data that is shown."""

    snapshot_id: str
    published: datetime
    data_until: datetime | None
    age_hours: int
    stale_hours: int
    is_stale: bool


@dataclass(frozen=True)
class Frame:
    """The context of a page: language, theme, path and parameters."""

    language: Language
    theme: str
    here: str  # RANKING or CREATOR
    params: Mapping[str, str] = field(default_factory=dict)  # what was asked for, but for language and theme

    def link(self, to: str | None = None, /, **changes: str | int | None) -> str:
        """An address as an attribute's value: this page's, with some parameters changed, or left out (None)."""
        merged = {**(self.params if to is None else {}), **changes}
        sent = urlencode({name: value for name, value in merged.items() if value not in (None, "")})
        return text(f"{self.here if to is None else to}?{sent}" if sent else (self.here if to is None else to))


def text(value: str) -> str:
    """A text for an element or an attribute, whoever chose it."""
    return html.escape(value.translate(_CONTROLS), quote=True)  # safeguard: name-is-text-on-a-page


def name(value: str) -> str:
    """A name that others chose: letters that run from right to left do not turn round what stands beside it."""
    return f"<bdi>{text(value)}</bdi>"


def hidden(said: str) -> str:
    """Return a text for screen readers alone."""
    return f'<span class="vh">{said}</span>'


def document(frame: Frame, title: str, main: str, fresh: Freshness | None, *, refreshes: bool = False) -> bytes:
    """A whole page around `main`. It is painted once it is there to its end: what comes late would move the rest."""
    lang = frame.language
    theme = f' data-theme="{frame.theme}"' if frame.theme != "auto" else ""
    again = ' data-again="5"' if refreshes else ""
    return f"""<!doctype html>
<html lang="{lang.code}"{theme}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="expect" href="#end" blocking="render">
<link rel="icon" href="{assets.address("icon.svg")}" type="image/svg+xml">
<link rel="stylesheet" href="{assets.address("page.css")}">
<script type="module" src="{assets.address("page.js")}"></script>
</head>
<body{again} data-failed="{text(lang("failed"))}">
<a class="skip" href="#content">{lang("skip")}</a>
<header class="top">
<div class="bar">
<a class="brand" href="{RANKING}" aria-label="{lang("title")}">{_MARK}<span>{lang("title")}</span></a>
{_switches(frame)}
</div>
</header>
{_status(lang, fresh)}
<main id="content" tabindex="-1">
{_stale(lang, fresh)}
{main}
</main>
<footer class="foot" id="end"><p><a href="docs">{lang("api")}</a></p></footer>
<p id="announce" class="vh" role="status"></p>
</body>
</html>
""".encode()


_MARK = (
    '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><rect x="3" y="11" width="4.5" height="10" rx="1.5"/>'
    '<rect x="9.75" y="3" width="4.5" height="18" rx="1.5"/>'
    '<rect x="16.5" y="7" width="4.5" height="14" rx="1.5"/></svg>'
)


def _switches(frame: Frame) -> str:
    lang = frame.language
    languages = "".join(
        f'<a href="{frame.link(lang=code)}" lang="{code}" hreflang="{code}" aria-label="{other.name}"'
        f"{current(code == lang.code)}>{code.upper()}</a>"
        for code, other in LANGUAGES.items()
    )
    themes = "".join(
        f'<a href="{frame.link(theme=theme)}" data-theme-choice="{theme}"{current(theme == frame.theme)}>'
        f"{_ICONS[theme]}{hidden(lang(f'theme_{theme}'))}</a>"
        for theme in THEMES
    )
    return (
        f'<nav class="switch" aria-label="{lang("language")}">{languages}</nav>'
        f'<nav class="switch" aria-label="{lang("theme")}" id="themes">{themes}</nav>'
    )


_ICONS = {
    "auto": '<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="7"/>'
    '<path class="solid" d="M10 3a7 7 0 0 1 0 14Z"/></svg>',
    "light": '<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="3.5"/>'
    '<path d="M10 1.8v2.4M10 15.8v2.4M1.8 10h2.4M15.8 10h2.4'
    'M4.2 4.2l1.7 1.7M14.1 14.1l1.7 1.7M4.2 15.8l1.7-1.7M14.1 5.9l1.7-1.7"/></svg>',
    "dark": '<svg viewBox="0 0 20 20" aria-hidden="true">'
    '<path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7Z"/></svg>',
}


def current(is_current: bool) -> str:
    """Marks what was chosen."""
    return ' aria-current="true"' if is_current else ""


def _status(lang: Language, fresh: Freshness | None) -> str:
    if fresh is None:
        return f'<div class="status" data-part="status"><p><span>{lang("none_title")}</span></p></div>'
    state = "stale" if fresh.is_stale else "fresh"
    spans = "".join(f' data-{unit}="{text(lang.texts[f"age_{unit}"])}"' for unit in ("hours", "days"))
    age = f'<time datetime="{fresh.published.isoformat()}" data-age{spans}>{lang.age(fresh.age_hours)}</time>'
    published = f'<span class="wide">{lang.instant(fresh.published)}, </span>{age}'
    until = ""
    if fresh.data_until is not None:
        when = f'<time datetime="{fresh.data_until.isoformat()}">{lang.instant(fresh.data_until)}</time>'
        until = f'<span class="wide"><b>{lang("data_until")}</b> {when}</span>'
    return (
        f'<div class="status {state}" data-part="status"><p>'
        f'<span class="state"><i class="dot"></i>{lang(state)}</span>'
        f"<span><b>{lang('snapshot')}</b> <code>{text(fresh.snapshot_id)}</code></span>"
        f"<span><b>{lang('published')}</b> {published}</span>"
        f"{until}</p></div>"
    )


def _stale(lang: Language, fresh: Freshness | None) -> str:
    if fresh is None or not fresh.is_stale:
        return ""
    return f'<p class="banner" role="note">{lang("stale_banner", hours=lang.number(fresh.stale_hours))}</p>'
