"""The context of a page, and its HTML from templates/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from pipelines.api.page import assets, charts, ranking
from pipelines.api.page.translations import LANGUAGES, Language
from pipelines.core import templates
from pipelines.core.calendar_days import Window
from pipelines.core.completeness import Completeness

THEMES = ("auto", "light", "dark")
RANKING = "./"  # addresses are relative, so that the pages work behind a prefix as well
CREATOR = "creator"
RANGE = ("days", "first", "last")  # the parameters that choose it

_CONTROLS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tabs and ends of lines: no text


@dataclass(frozen=True)
class Freshness:
    """The age of the data that is shown."""

    snapshot_id: str
    published: datetime
    data_until: datetime | None
    age_hours: int  # of the snapshot
    data_age_hours: int  # of its newest session; 0 without one
    stale_hours: int
    is_stale: bool
    is_old: bool  # whether the last day that is counted ended longer ago than the data may be old
    completeness: Completeness  # of the last days of the snapshot
    days: Window  # those

    @property
    def state(self) -> str:
        """The key of the text that says how far the data can be relied on."""
        if self.is_stale:
            return "stale"
        if self.data_through is not None:
            return "behind"
        if self.is_old:  # safeguard: no-green-light-over-old-data
            return "old"
        if self.completeness.missing:
            return "gaps"
        if self.completeness.incomplete:
            return "incomplete"
        return "fresh" if self.completeness.is_complete(self.days) else "young"

    @property
    def last_day(self) -> date:
        """The last day that is counted."""
        return self.days.end_day - timedelta(days=1)

    @property
    def data_through(self) -> date | None:
        """The last day that landed, where those after it did not."""
        if not self.completeness.did_not_land(self.last_day):
            return None
        return next((day for day in reversed(list(self.days)) if not self.completeness.did_not_land(day)), None)


@dataclass(frozen=True)
class Frame:
    """The context of a page: language, theme, path and parameters."""

    language: Language
    theme: str
    here: str  # RANKING or CREATOR
    params: Mapping[str, str] = field(default_factory=dict)  # what was asked for, but for language and theme

    @property
    def chosen(self) -> dict[str, str]:
        """The parameters that choose the range."""
        return {name: self.params[name] for name in RANGE if name in self.params}

    def link(self, to: str | None = None, /, **changes: str | int | None) -> str:
        """An address: this page's, with some parameters changed, or left out (None); or of `to`, with those alone."""
        merged = {**(self.params if to is None else {}), **changes}
        sent = urlencode({name: value for name, value in merged.items() if value not in (None, "")})
        address = self.here if to is None else to
        return f"{address}?{sent}" if sent else address


_WRITING = (
    "markup",
    "counted",
    "number",
    "money",
    "percent",
    "hours",
    "day",
    "short_day",
    "month",
    "change",
    "days",
    "some_days",
    "instant",
    "age",
)

# In every language, so that its texts are compiled in.
_TEMPLATES = {
    lang.code: templates.load(
        Path(__file__).with_name("templates"),
        **{name: getattr(lang, name) for name in _WRITING},
        text=lang,
        asset=assets.address,
        hue=ranking.hue,
        initials=ranking.initials,
        sparkline=charts.sparkline,
    )
    for lang in LANGUAGES.values()
}


def render(template: str, frame: Frame, fresh: Freshness | None, **values: object) -> bytes:
    """A whole page. It is painted once it is there to its end: what comes late would move the rest."""
    compiled = _TEMPLATES[frame.language.code][template]
    html = compiled.render(values, frame=frame, fresh=fresh, languages=LANGUAGES, themes=THEMES)
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", html).encode()  # safeguard: page-without-control-characters
