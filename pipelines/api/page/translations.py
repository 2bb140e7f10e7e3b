"""The languages of the pages: their texts with values put in, and how each writes numbers, dates and spans of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from markupsafe import Markup, escape

from pipelines.api.answers import Range
from pipelines.api.page import texts

DEFAULT = "en"

_SHOWN_DAYS = 5  # of a list
_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "tr": ("Oca", "Şub", "Mar", "Nis", "May", "Haz", "Tem", "Ağu", "Eyl", "Eki", "Kas", "Ara"),
}


@dataclass(frozen=True)
class Language:
    """One lang."""

    code: str
    name: str
    texts: Mapping[str, str]
    thousands: str
    decimal: str

    def __call__(self, key: str, **values: object) -> str:
        """A text, with its values put in."""
        return self.texts[key].format(**values)

    def markup(self, key: str, **values: Markup | int) -> Markup:
        """A text with parts of a page put in."""
        return escape(self.texts[key]).format(**values)

    def counted(self, key: str, n: int) -> str:
        """A text that differs for one and for many."""
        return self(f"{key}_one" if n == 1 else f"{key}_many", n=self.number(n))

    def number(self, n: int) -> str:
        """A whole number: 1,234 or 1.234."""
        return f"{n:,}".replace(",", self.thousands)

    def money(self, amount: Decimal, currency: str | None) -> str:
        """An amount, with cents where it has any: 1,234.50 TRY."""
        text = f"{amount:,.2f}" if amount % 1 else f"{amount:,.0f}"
        written = text.translate({ord(","): self.thousands, ord("."): self.decimal})
        return f"{written} {currency}" if currency else written

    def percent(self, n: int) -> str:
        """50% or %50."""
        return f"%{self.number(n)}" if self.code == "tr" else f"{self.number(n)}%"

    def change(self, now: int, before: int) -> str | None:
        """By how many percent a figure differs from one before: +4%, −3%; None where there was nothing before."""
        if before <= 0:
            return None
        percent = round((now - before) * 100 / before)
        sign = "+" if percent > 0 else "\N{MINUS SIGN}" if percent < 0 else ""
        return f"{sign}{self.percent(abs(percent))}"

    def hours(self, seconds: int) -> str:
        """Hours of a number of seconds, with one decimal below a hundred."""
        if seconds >= 100 * 3600:
            return self.number(round(seconds / 3600))
        return f"{seconds / 3600:.1f}".replace(".", self.decimal)

    def day(self, day: date) -> str:
        """30 Jun 2013."""
        return f"{day.day} {_MONTHS[self.code][day.month - 1]} {day.year}"

    def short_day(self, day: date) -> str:
        """30 Jun."""
        return f"{day.day} {_MONTHS[self.code][day.month - 1]}"

    def month(self, day: date) -> str:
        """Jun 2013."""
        return f"{_MONTHS[self.code][day.month - 1]} {day.year}"

    def days(self, days: Range) -> str:
        """1 Jun – 30 Jun 2013; the year once where it is one."""
        if days.days == 1:
            return self("range_one", first=self.day(days.first))
        first = self.short_day(days.first) if days.first.year == days.last.year else self.day(days.first)
        return self("range_many", first=first, last=self.day(days.last))

    def some_days(self, days: Sequence[date]) -> str:
        """12 Feb 2026, 24 Feb 2026; of many the first ones, and how many more."""
        shown = ", ".join(map(self.day, days[:_SHOWN_DAYS]))
        more = len(days) - _SHOWN_DAYS
        return self("and_more", days=shown, n=self.number(more)) if more > 0 else shown

    def instant(self, moment: datetime) -> str:
        """30 Jun 2013, 23:59 UTC."""
        utc = moment.astimezone(UTC)
        return f"{self.day(utc.date())}, {utc:%H:%M} UTC"

    def age(self, hours: int) -> str:
        """How long ago, in whole hours or days."""
        if hours < 1:
            return self("age_minutes")
        return self("age_hours", n=hours) if hours < 48 else self("age_days", n=self.number(hours // 24))


LANGUAGES: Mapping[str, Language] = {
    "en": Language("en", "English", texts.ENGLISH, thousands=",", decimal="."),
    "tr": Language("tr", "Türkçe", texts.TURKISH, thousands=".", decimal=","),
}


def preferred(accept_language: str) -> str:
    """The language that an Accept-Language header wants most; DEFAULT when it wants none of ours."""
    wanted = []
    for at, part in enumerate(accept_language.split(",")):
        tag, _, weight = part.partition(";")
        code = tag.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if code in LANGUAGES and quality > 0:
            wanted.append((-quality, at, code))
    return min(wanted)[2] if wanted else DEFAULT
