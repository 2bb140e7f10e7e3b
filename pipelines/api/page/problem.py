"""Error pages: no snapshot, an unknown creator, an invalid range."""

from __future__ import annotations

from pipelines.api.page.layout import RANKING, Frame


def no_snapshot(frame: Frame) -> str:
    """Nothing has been published yet; the page looks again by itself."""
    lang = frame.language
    return _problem(lang("none_title"), lang("none"), f'<a class="button" href="{RANKING}">{lang("again")}</a>')


def not_readable(frame: Frame) -> str:
    """There is a snapshot, and what the page needs of it cannot be loaded."""
    lang = frame.language
    again = f'<a class="button" href="{frame.link()}">{lang("again")}</a>'
    return _problem(lang("unreadable_title"), lang("unreadable"), again)


def bad_request(frame: Frame, why: str) -> str:
    """A range that is not held, or an address that somebody has changed by hand."""
    lang = frame.language
    return _problem(lang("bad_title"), why, f'<a class="button" href="{RANKING}">{lang("to_ranking")}</a>')


def not_found(frame: Frame) -> str:
    """No creator of that id is listed."""
    lang = frame.language
    to_ranking = f'<a class="button" href="{RANKING}">{lang("to_ranking")}</a>'
    return _problem(lang("missing_title"), lang("missing"), to_ranking)


def _problem(title: str, why: str, way_out: str) -> str:
    return f'<div class="problem" data-part="results"><h1>{title}</h1><p>{why}</p><p>{way_out}</p></div>'
