"""Error pages: no snapshot, an unknown creator, an invalid range."""

from __future__ import annotations

from pipelines.api.page.layout import RANKING, Frame


def no_snapshot(frame: Frame) -> str:
    """Nothing has been published yet; the page looks again by itself."""
    words = frame.words
    return _problem(words("none_title"), words("none"), f'<a class="button" href="{RANKING}">{words("again")}</a>')


def not_readable(frame: Frame) -> str:
    """There is a snapshot, and what the page needs of it cannot be loaded."""
    words = frame.words
    again = f'<a class="button" href="{frame.link()}">{words("again")}</a>'
    return _problem(words("unreadable_title"), words("unreadable"), again)


def not_understood(frame: Frame, why: str) -> str:
    """A range that is not held, or an address that somebody has changed by hand."""
    words = frame.words
    return _problem(words("bad_title"), why, f'<a class="button" href="{RANKING}">{words("to_ranking")}</a>')


def not_found(frame: Frame) -> str:
    """No creator of that id is listed."""
    words = frame.words
    to_ranking = f'<a class="button" href="{RANKING}">{words("to_ranking")}</a>'
    return _problem(words("missing_title"), words("missing"), to_ranking)


def _problem(title: str, why: str, way_out: str) -> str:
    return f'<div class="problem" data-part="results"><h1>{title}</h1><p>{why}</p><p>{way_out}</p></div>'
